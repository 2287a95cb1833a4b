// SPDX-License-Identifier: GPL-2.0

//! A dialer: one address that the socket stays connected to.
//!
//! It has at most one pipe. When that ends, for whatever reason, the dialer waits as [`Backoff`] tells
//! and dials again, for as long as it lives, and always on the same TCP socket: it was made in connect(2)
//! by a task with its own cgroup, label and permissions, and a new one made by a worker would have
//! others.

use super::backoff::Backoff;
use crate::address::Address;
use crate::net::stream::TcpSocket;
use crate::net::work;
use crate::pattern::{
    PipeId,
    Priorities, //
};

pub(crate) struct Dialer {
    pub(crate) endpoint: u64,
    /// Those of its pipes.
    pub(crate) priorities: Priorities,
    pub(crate) address: Address,
    pub(crate) tcp: TcpSocket,
    /// The pipe on `tcp`, if there is one, with its serial number: once it has ended, its id may already
    /// be another one's.
    pub(crate) pipe: Option<(PipeId, u64)>,
    /// When to dial next, in milliseconds, if there is no pipe.
    pub(crate) next: Option<u64>,
    /// How often it dialed again.
    pub(crate) retries: u64,
    backoff: Backoff,
}

impl Dialer {
    pub(crate) fn new(
        endpoint: u64,
        priorities: Priorities,
        address: Address,
        tcp: TcpSocket,
    ) -> Self {
        Dialer {
            endpoint,
            priorities,
            address,
            tcp,
            pipe: None,
            next: None,
            retries: 0,
            backoff: Backoff::new(),
        }
    }

    /// The pipe has ended, which was up since `up_since`: hangs up, and sets the time to dial again.
    /// Returns in how many milliseconds that is. `reconnect` is the interval and its maximum.
    pub(crate) fn ended(&mut self, up_since: Option<u64>, now: u64, reconnect: (u32, u32)) -> u64 {
        let (interval, max) = reconnect;
        self.pipe = None;
        self.tcp.hang_up();
        if let Some(since) = up_since {
            self.backoff.lived(now.saturating_sub(since), interval);
        }
        let wait = u64::from(self.backoff.next(interval, max, work::random()));
        self.next = Some(now.saturating_add(wait));
        wait
    }
}
