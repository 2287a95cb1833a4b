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
use kernel::sync::Arc;

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
    fn release(this: &Arc<Self>);

    fn bind(this: &Arc<Self>, address: &[u8]) -> Result;
    fn connect(this: &Arc<Self>, address: &[u8]) -> Result;
    fn listen(this: &Arc<Self>, backlog: i32) -> Result;
    fn shutdown(this: &Arc<Self>, receive: bool, send: bool) -> Result;

    /// Our address, or the peer's.
    fn name(this: &Arc<Self>, peer: bool) -> Result<SockAddr>;

    /// The poll events that are true now.
    fn poll(this: &Arc<Self>) -> u32;

    /// `EPIPE` also raises SIGPIPE, unless the caller did not want it.
    fn send(this: &Arc<Self>, call: &mut SendCall<'_>) -> Result<usize>;
    fn recv(this: &Arc<Self>, call: &mut RecvCall<'_>) -> Result<usize>;

    /// What FIONREAD and SIOCOUTQ give, in bytes.
    fn input_len(this: &Arc<Self>) -> usize;
    fn output_len(this: &Arc<Self>) -> usize;

    /// An option of any level. `value` is cut off behind the longest that any option has.
    fn set_option(this: &Arc<Self>, level: u32, name: u32, value: KVec<u8>) -> Result;

    /// An option of any level but SOL_SOCKET.
    fn option(this: &Arc<Self>, level: u32, name: u32) -> Result<OptionValue>;
}

/// What getsockopt gives.
pub(crate) enum OptionValue {
    Int(i32),
    Info(KBox<uapi::sp_info>),
    /// What this TCP socket says.
    Tcp(Arc<Stream>),
}
