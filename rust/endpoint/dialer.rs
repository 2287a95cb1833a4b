// SPDX-License-Identifier: GPL-2.0

//! A dialer: one address that the socket stays connected to.
//!
//! It has at most one pipe. When that ends, for whatever reason, the dialer waits as [`Backoff`] tells
//! and dials again, later where many of its user's dialers fail ([`Pace`]), for as long as it lives, and
//! always on the same TCP socket: it was made in connect(2) by a task with its own cgroup, label and
//! permissions, and a new one made by a worker would have others.

use super::backoff::{
    Backoff,
    Reconnect, //
};
use super::pace::{
    Failing,
    Pace,
    LOOK_AGAIN,
    SETTLED, //
};
use super::{
    Endpoints,
    Host,
    Plan, //
};
use crate::address::Address;
use crate::ids::EndpointId;
use crate::mem::NO_SLEEP;
use crate::net::stream::TcpSocket;
use crate::net::work;
use crate::options::Priorities;
use crate::pipe::{
    End,
    Pipe,
    MEMORY_DELAY, //
};
use crate::time::{
    earlier,
    Instant,
    Millis, //
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// How many microseconds dialing goes on before others get their turn, on the workqueue and for the
/// endpoints, ...
const ATTEND_TIME: u64 = 2000;

/// ... where a dialer counts for this many at least.
const ATTEND_LEAST: u64 = 100;

pub(crate) struct Dialer<H: Host> {
    pub(crate) endpoint: EndpointId,
    /// The priorities of its pipes.
    priorities: Priorities,
    pub(crate) address: Address,
    pub(crate) tcp: TcpSocket,
    /// The pipe on `tcp`, until it is noticed here that it is over.
    pub(crate) pipe: Option<Arc<Pipe<H>>>,
    /// When to dial next, if there is no pipe, and others do not keep it waiting.
    next: Option<Instant>,
    /// How often it dialed again.
    pub(crate) retries: u64,
    backoff: Backoff,
    failing: Option<Failing>,
    /// When the last pipe was found to be over, and what is drawn for the wait since: as the settings have
    /// it, and as the others do.
    since: Instant,
    own_draw: u32,
    draw: u32,
}

impl<H: Host> Dialer<H> {
    pub(crate) fn new(
        endpoint: EndpointId,
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
            since: Instant(0),
            own_draw: 0,
            draw: 0,
        }
    }

    /// Starts one attempt to connect. What becomes of it, the pipe tells, also where TCP refuses at once.
    ///
    /// # Errors
    ///
    /// What TCP refuses with, like [`TcpSocket::connect`].
    pub(crate) fn dial(&mut self, host: &Arc<H>, serial: u64) -> Result {
        self.next = None;
        let plan = Plan {
            endpoint: self.endpoint,
            priorities: self.priorities,
            serial,
            peer: self.address,
            stream: self.tcp.stream().clone(),
            tcp: None,
        };
        match H::make_pipe(host, plan, NO_SLEEP) {
            Ok(pipe) => {
                self.pipe = Some(pipe.clone());
                let attached = pipe.attach();
                let started = attached.and_then(|()| self.tcp.connect(&self.address.emit()));
                if started.is_err() {
                    pipe.end(End::Disconnected);
                }
                started
            }
            Err(_) => {
                self.next = Some(work::now().after(MEMORY_DELAY));
                H::attend_in(host, MEMORY_DELAY);
                Ok(())
            }
        }
    }

    /// Lets the pipe, if there is one, deliver what it has.
    pub(crate) fn close(self) {
        if let Some((pipe, tcp)) = self.into_pipe() {
            pipe.close(Some(tcp));
        }
    }

    /// The pipe, if there is one, and its connection, for the caller to close.
    pub(crate) fn into_pipe(self) -> Option<(Arc<Pipe<H>>, TcpSocket)> {
        Some((self.pipe?, self.tcp))
    }

    /// Whether the pipe is over and [`Self::ended`] is due.
    fn has_ended(&self) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.is_over())
    }

    /// The pipe is over: closes the connection, and sets the time to dial again.
    fn ended(&mut self, now: Instant, reconnect: Reconnect, pace: &Arc<Pace>) {
        let Reconnect { ivl, max } = reconnect;
        let pipe = self.pipe.take();
        self.tcp.close();
        if let Some(lived) = pipe.and_then(|pipe| pipe.lived()) {
            self.backoff.lived(lived.0, ivl);
        }
        self.failing.get_or_insert_with(|| Failing::new(pace));
        (self.since, self.own_draw, self.draw) = (now, work::random(), work::random());
        let wait = self.backoff.next(ivl, max, self.own_draw);
        self.next = Some(now.after(Millis(wait.into())));
    }

    /// The settings have changed: it waits no longer than it would have with these from the beginning. A
    /// wait is not lengthened.
    pub(crate) fn reconnect_changed(&mut self, reconnect: Reconnect) {
        let Reconnect { ivl, max } = reconnect;
        let wait = self.backoff.again(ivl, max, self.own_draw);
        let at = self.since.after(Millis(wait.into()));
        self.next = self.next.map(|next| next.min(at));
    }

    /// When it is going to dial, as things are now.
    fn due(&self, pace: &Pace) -> Option<Instant> {
        let own = self.next?;
        Some(match self.failing {
            Some(_) => own.max(self.since.after(pace.wait(self.draw))),
            None => own,
        })
    }

    fn is_due(&self, now: Instant, pace: &Pace) -> bool {
        self.due(pace).is_some_and(|due| due <= now)
    }

    /// When to ask [`Self::is_due`] again: others that keep it waiting may cease to fail.
    fn look_again(&self, now: Instant, pace: &Pace) -> Option<Instant> {
        let own = self.next?;
        Some(self.due(pace)?.min(own.max(now.after(LOOK_AGAIN))))
    }

    /// Counts as failing no more once the pipe has been up for a while. Returns when that is going to be.
    fn settle(&mut self, now: Instant) -> Option<Instant> {
        self.failing.as_ref()?;
        let settled = self.pipe.as_ref()?.up_since()?.after(SETTLED);
        if settled > now {
            return Some(settled);
        }
        self.failing = None;
        None
    }
}

impl<H: Host> Endpoints<H> {
    /// Notices whose pipes are over and dials what is due, but not so much at once that
    /// others have to wait for long; and accepts what was left in TCP. Returns when to be called again.
    pub(crate) fn attend(&mut self, host: &Arc<H>) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let now = work::now();
        let pace = host.pace();
        let mut next = None;
        let mut left = ATTEND_TIME;
        for _ in 0..self.dialers.len() {
            if left == 0 {
                // Those after the last one come first then.
                next = Some(now);
                break;
            }
            if self.turn >= self.dialers.len() {
                self.turn = 0;
            }
            let Some(dialer) = self.dialers.get_mut(self.turn) else {
                break;
            };
            self.turn = self.turn.saturating_add(1);
            if dialer.has_ended() {
                dialer.ended(now, host.reconnect(), pace);
                left = left.saturating_sub(ATTEND_LEAST);
            }
            if dialer.is_due(now, pace) {
                let start = work::now_us();
                host.reconnects();
                dialer.retries = dialer.retries.wrapping_add(1);
                dialer.tcp.disconnect();
                // Not all options outlive that (TCP_MAXSEG does not).
                self.template.prepare(dialer.tcp.stream());
                // Whatever it is: a reason to dial again.
                let _ = dialer.dial(host, self.serials.next());
                let spent = work::now_us().saturating_sub(start);
                pace.spent(spent);
                left = left.saturating_sub(spent.max(ATTEND_LEAST));
            }
            let look = earlier(dialer.look_again(now, pace), dialer.settle(now));
            next = earlier(next, look);
        }
        for listener in self.listeners.iter_mut() {
            listener.try_again();
        }
        next
    }
}
