// SPDX-License-Identifier: GPL-2.0

//! What was bound and connected: listeners and dialers, which make pipes.
//!
//! They all live in one [`Endpoints`] under a mutex of the socket: making, using and closing a listener or
//! a dialer never overlaps, and closing the socket ends the making of pipes by setting `closed` under it.
//! Programs keep it busy with calls of theirs, so no work waits for it but those made for that.
//!
//! What endpoints need of the socket that they belong to, [`Host`] has.

pub(crate) mod backoff;
pub(crate) mod dialer;
pub(crate) mod listener;
pub(crate) mod pace;
pub(crate) mod template;

use crate::address::Address;
use crate::ids::{
    EndpointId,
    PipeName, //
};
use crate::mem::Flags;
use crate::net::stream::{
    Stream,
    TcpSocket, //
};
use crate::options::Priorities;
use crate::pipe::{
    Pipe,
    Upper, //
};
use crate::time::Millis;
use crate::uapi;
use backoff::Reconnect;
use dialer::Dialer;
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    Mutex, //
};
use listener::Listener;
use pace::Pace;
use template::Template;

/// The backlog of a listener for which listen() was not called.
const BACKLOG: i32 = 128;

/// The socket that endpoints belong to.
pub(crate) trait Host: Upper {
    fn endpoints(&self) -> &Mutex<Endpoints<Self>>;
    fn reconnect(&self) -> Reconnect;
    fn pace(&self) -> &Arc<Pace>;

    /// Makes a pipe and a place for it among the peers. Under the endpoints' mutex, so not while the socket
    /// is being closed. What a peer or the clock has caused is to be made with flags that do not wait, so
    /// that nobody else can have the control group's OOM killer called.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn make_pipe(this: &Arc<Self>, plan: Plan, flags: Flags) -> Result<Arc<Pipe<Self>>>;

    /// Whether a new connection is better left in TCP for now. Then [`Endpoints::attend`] is called when it
    /// is not.
    fn turns_away(&self) -> bool;

    /// [`Endpoints::attend`] is to be called so soon. From any context.
    fn attend_in(this: &Arc<Self>, time: Millis);

    /// A dialer tries again.
    fn reconnects(&self);

    /// A connection was accepted so long ago, by the number of others since, that it is ended if it has not
    /// greeted.
    fn overdue(&self, pipe: PipeName);
}

/// A pipe that is to be made.
pub(crate) struct Plan {
    pub(crate) endpoint: EndpointId,
    pub(crate) priorities: Priorities,
    pub(crate) serial: u64,
    pub(crate) peer: Address,
    pub(crate) stream: Arc<Stream>,
    /// The connection, if the pipe is to own it.
    pub(crate) tcp: Option<TcpSocket>,
}

/// Gives out numbers, each once.
pub(crate) struct Serials(u64);

impl Serials {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
}

/// The endpoints of one socket.
pub(crate) struct Endpoints<S: Host> {
    pub(crate) dialers: KVec<Dialer<S>>,
    /// The index of the dialer to look at first.
    turn: usize,
    pub(crate) listeners: KVec<Listener<S>>,
    /// The address of the endpoint bound last.
    pub(crate) last_bound: Address,
    pub(crate) backlog: i32,
    pub(crate) template: Template,
    /// The socket is closed: no more pipes.
    pub(crate) closed: bool,
    /// It receives no more: likewise.
    pub(crate) shut: bool,
    /// Numbers endpoints and pipes.
    pub(crate) serials: Serials,
}

impl<S: Host> Endpoints<S> {
    pub(crate) fn new() -> Self {
        Endpoints {
            dialers: KVec::new(),
            turn: 0,
            listeners: KVec::new(),
            last_bound: Address::Unspec,
            backlog: BACKLOG,
            template: Template::new(),
            closed: false,
            shut: false,
            serials: Serials(0),
        }
    }

    /// A name for one more endpoint.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there are as many as may be, `EINVAL` if there are to be no more.
    pub(crate) fn name(&mut self) -> Result<EndpointId> {
        if self.shut {
            return Err(EINVAL);
        }
        let count = self.dialers.len().saturating_add(self.listeners.len());
        // CAST: A small constant.
        if count >= uapi::SP_ENDPOINTS_MAX as usize {
            return Err(ENOSPC);
        }
        Ok(EndpointId(self.serials.next()))
    }

    fn listener(&mut self, endpoint: EndpointId) -> Option<&mut Listener<S>> {
        self.listeners.iter_mut().find(|l| l.endpoint == endpoint)
    }

    /// Takes out the endpoint of this address that was added last; `is_it` compares.
    pub(crate) fn take(&mut self, is_it: impl Fn(Address) -> bool) -> Option<Endpoint<S>> {
        let numbered = self.dialers.iter().zip(0_usize..);
        let dialer = numbered
            .filter(|(dialer, _)| is_it(dialer.address))
            .map(|(dialer, index)| (dialer.endpoint, index))
            .max();
        let numbered = self.listeners.iter().zip(0_usize..);
        let listener = numbered
            .filter(|(listener, _)| is_it(listener.address))
            .map(|(listener, index)| (listener.endpoint, index))
            .max();
        // The greater name is the later one, and none is the least.
        let (_, index) = dialer.max(listener)?;
        if dialer > listener {
            self.dialers.remove(index).ok().map(Endpoint::Dialer)
        } else {
            self.listeners.remove(index).ok().map(Endpoint::Listener)
        }
    }
}

/// One that was taken out.
pub(crate) enum Endpoint<S: Host> {
    Dialer(Dialer<S>),
    Listener(Listener<S>),
}
