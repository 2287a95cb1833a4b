// SPDX-License-Identifier: GPL-2.0

//! What a protocol family does.

use super::calls::{
    RecvCall,
    SendCall, //
};
use crate::net::netns::Namespace;
use crate::net::sock::SkRef;
use crate::net::stream::{
    SockAddr,
    Stream, //
};
use crate::uapi;
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};

/// What a protocol family does. All methods but `release` may be called by several tasks at once, in
/// task context, and may sleep.
pub(crate) trait Family: Send + Sync + Sized + 'static {
    /// What each network namespace has.
    type Net: Namespace;

    /// What all sockets have in common.
    type Common: Send + Sync + 'static;

    /// Makes what all sockets have in common, once.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn common() -> Result<Arc<Self::Common>>;

    /// Makes a socket; `sk` is its sock, and `net` its namespace's.
    ///
    /// # Errors
    ///
    /// The errors of socket(2): `ESOCKTNOSUPPORT`, `EPROTONOSUPPORT`, `ENOMEM`.
    fn create(
        sk: SkRef,
        net: Arc<Self::Net>,
        common: Arc<Self::Common>,
        socket_type: u32,
        protocol: u32,
    ) -> Result<Arc<Self>>;

    /// The last user has let go; nothing else is called any more, except by a thread that holds a
    /// reference of its own.
    fn release(this: ArcBorrow<'_, Self>);

    fn bind(this: ArcBorrow<'_, Self>, address: &[u8]) -> Result;
    fn connect(this: ArcBorrow<'_, Self>, address: &[u8]) -> Result;
    fn listen(this: ArcBorrow<'_, Self>, backlog: i32) -> Result;
    fn shutdown(this: ArcBorrow<'_, Self>, receive: bool, send: bool) -> Result;

    /// Our address, or the peer's.
    fn name(this: ArcBorrow<'_, Self>, peer: bool) -> Result<SockAddr>;

    /// The poll events that are true now.
    fn poll(this: ArcBorrow<'_, Self>) -> u32;

    /// `EPIPE` also raises SIGPIPE, unless the caller did not want it.
    fn send(this: ArcBorrow<'_, Self>, call: &mut SendCall<'_>) -> Result<usize>;
    fn recv(this: ArcBorrow<'_, Self>, call: &mut RecvCall<'_>) -> Result<usize>;

    /// What FIONREAD and SIOCOUTQ give, in bytes.
    fn input_len(this: ArcBorrow<'_, Self>) -> usize;
    fn output_len(this: ArcBorrow<'_, Self>) -> usize;

    /// An option of any level. `value` is cut off behind the longest that any option has.
    fn set_option(this: ArcBorrow<'_, Self>, level: u32, name: u32, value: KVec<u8>) -> Result;

    /// An option of any level but SOL_SOCKET.
    fn option(this: ArcBorrow<'_, Self>, level: u32, name: u32) -> Result<OptionValue>;
}

/// What getsockopt gives.
pub(crate) enum OptionValue {
    Int(i32),
    Info(KBox<uapi::sp_info>),
    /// What this TCP socket says.
    Tcp(Arc<Stream>),
}
