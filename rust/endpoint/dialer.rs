// SPDX-License-Identifier: GPL-2.0

//! A dialer: one address that the socket stays connected to.
//!
//! It has at most one pipe. When that ends, for whatever reason, the dialer waits as [`Backoff`] tells
//! and dials again, later where many of its user's dialers fail ([`Pace`]), for as long as it lives, and
//! always on the same TCP socket: it was made in connect(2) by a task with its own cgroup, label and
//! permissions, and a new one made by a worker would have others.

use super::backoff::Backoff;
use super::pace::{
    Failing,
    Pace,
    LOOK_AGAIN,
    SETTLED, //
};
use crate::address::Address;
use crate::net::stream::TcpSocket;
use crate::net::work;
use crate::pattern::Priorities;
use crate::pipe::{
    Pipe,
    Upper, //
};
use kernel::sync::Arc;

pub(crate) struct Dialer<U: Upper> {
    pub(crate) endpoint: u64,
    /// Those of its pipes.
    pub(crate) priorities: Priorities,
    pub(crate) address: Address,
    pub(crate) tcp: TcpSocket,
    /// The pipe on `tcp`, until it is noticed here that it is over.
    pub(crate) pipe: Option<Arc<Pipe<U>>>,
    /// When to dial next, in milliseconds, if there is no pipe, and others do not keep it waiting.
    pub(crate) next: Option<u64>,
    /// How often it dialed again.
    pub(crate) retries: u64,
    backoff: Backoff,
    failing: Option<Failing>,
    /// When the last pipe was found to be over, in milliseconds, and what is drawn for the wait since: as
    /// the settings have it, and as the others do.
    since: u64,
    own_draw: u32,
    draw: u32,
}

impl<U: Upper> Dialer<U> {
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
            failing: None,
            since: 0,
            own_draw: 0,
            draw: 0,
        }
    }

    /// Whether the pipe is over and [`Self::ended`] is due.
    pub(crate) fn has_ended(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.is_over())
    }

    /// The pipe is over: hangs up, and sets the time to dial again. `reconnect` is the interval and its
    /// maximum.
    pub(crate) fn ended(&mut self, now: u64, reconnect: (u32, u32), pace: &Arc<Pace>) {
        let (interval, max) = reconnect;
        let pipe = self.pipe.take();
        self.tcp.hang_up();
        if let Some(lived) = pipe.and_then(|pipe| pipe.lived()) {
            self.backoff.lived(lived, interval);
        }
        self.failing.get_or_insert_with(|| Failing::new(pace));
        (self.since, self.own_draw, self.draw) = (now, work::random(), work::random());
        let wait = u64::from(self.backoff.next(interval, max, self.own_draw));
        self.next = Some(now.saturating_add(wait));
    }

    /// The settings have changed: it waits no longer than it would have with these from the beginning. A
    /// wait is not lengthened.
    pub(crate) fn reconnect_changed(&mut self, reconnect: (u32, u32)) {
        let (interval, max) = reconnect;
        let wait = u64::from(self.backoff.again(interval, max, self.own_draw));
        let at = self.since.saturating_add(wait);
        self.next = self.next.map(|next| next.min(at));
    }

    /// When it is going to dial, as things are now.
    fn due(&self, pace: &Pace) -> Option<u64> {
        let own = self.next?;
        Some(match self.failing {
            Some(_) => own.max(self.since.saturating_add(pace.wait(self.draw))),
            None => own,
        })
    }

    pub(crate) fn is_due(&self, now: u64, pace: &Pace) -> bool {
        self.due(pace).is_some_and(|due| due <= now)
    }

    /// When to ask [`Self::is_due`] again: others that keep it waiting may cease to fail.
    pub(crate) fn look_again(&self, now: u64, pace: &Pace) -> Option<u64> {
        let own = self.next?;
        Some(self.due(pace)?.min(own.max(now.saturating_add(LOOK_AGAIN))))
    }

    /// Counts as failing no more once the pipe has been up for a while. Returns when that is going to be.
    pub(crate) fn settle(&mut self, now: u64) -> Option<u64> {
        self.failing.as_ref()?;
        let settled = self.pipe.as_ref()?.up_since()?.saturating_add(SETTLED);
        if settled > now {
            return Some(settled);
        }
        self.failing = None;
        None
    }
}
