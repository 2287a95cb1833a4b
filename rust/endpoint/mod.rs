// SPDX-License-Identifier: GPL-2.0

//! What was bound and connected: listeners and dialers, which make pipes.
//!
//! They all live in one [`Endpoints`] under a mutex of the socket: making, using and closing a listener or
//! a dialer never overlaps, and closing the socket ends the making of pipes by setting `closed` under it.
//! Programs keep it busy with calls of theirs, so no work waits for it but those made for that.

pub(crate) mod backoff;
pub(crate) mod dialer;
pub(crate) mod listener;
pub(crate) mod pace;
pub(crate) mod template;

use crate::address::Address;
use crate::pipe::Upper;
use crate::uapi;
use dialer::Dialer;
use kernel::prelude::*;
use listener::{
    Accepts,
    Listener, //
};
use template::Template;

/// The backlog of a listener for which listen() was not called.
const BACKLOG: i32 = 128;

/// The endpoints of one socket.
pub(crate) struct Endpoints<S: Accepts + Upper> {
    pub(crate) dialers: KVec<Dialer<S>>,
    /// The index of the dialer to look at first.
    pub(crate) turn: usize,
    pub(crate) listeners: KVec<Listener<S>>,
    /// The address of the endpoint bound last.
    pub(crate) last_bound: Address,
    pub(crate) backlog: i32,
    pub(crate) template: Template,
    /// The socket is closed: no more pipes.
    pub(crate) closed: bool,
    /// It receives no more: likewise.
    pub(crate) shut: bool,
    next: u64,
}

impl<S: Accepts + Upper> Endpoints<S> {
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
            next: 0,
        }
    }

    /// A number for one more endpoint.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there are as many as may be, `EINVAL` if there are to be no more.
    pub(crate) fn number(&mut self) -> Result<u64> {
        if self.shut {
            return Err(EINVAL);
        }
        let count = self.dialers.len().saturating_add(self.listeners.len());
        // CAST: A small constant.
        if count >= uapi::SP_ENDPOINTS_MAX as usize {
            return Err(ENOSPC);
        }
        Ok(self.serial())
    }

    /// A number that was not given out before.
    pub(crate) fn serial(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    pub(crate) fn listener(&mut self, endpoint: u64) -> Option<&mut Listener<S>> {
        self.listeners.iter_mut().find(|l| l.endpoint == endpoint)
    }
}
