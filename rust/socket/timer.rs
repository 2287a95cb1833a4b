// SPDX-License-Identifier: GPL-2.0

//! What happens at some time.
//!
//! One delayed work serves the times of the socket and its pipes (resend, greeting and message deadlines,
//! lingering), another one those of the endpoints (redial, accepting again), for which it takes their
//! mutex: each looks at what is due and computes when to look again. They may run too early, never too
//! late.

use super::{
    Origin,
    Socket,
    State, //
};
use crate::net::work::{
    self,
    Lane, //
};
use crate::pattern::{
    Effects,
    Pattern, //
};
use crate::pipe::Pipe;
use crate::time::{
    earlier,
    Instant,
    Millis, //
};
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::workqueue::WorkItem;

/// By how much a deadline of a pipe may be late, so that one look serves many pipes.
const SLACK: Millis = Millis(100);

/// Tells the work of the endpoints from others of a socket.
pub(super) const ATTEND: u64 = 1;

impl WorkItem for Socket {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.tick();
    }
}

impl WorkItem<ATTEND> for Socket {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.state.lock().attending = None;
        let next = this.endpoints.lock().attend(&this);
        if let Some(time) = next {
            this.attend_in(time.since(work::now()));
        }
    }
}

impl Socket {
    /// Sets the delayed work to the machine's deadline. Under the socket's lock.
    pub(super) fn arm(self: &Arc<Self>, state: &mut State) {
        if let Some(due) = state.machine.deadline() {
            self.arm_at(state, due);
        }
    }

    /// Has the delayed work run so soon at the latest. Under the socket's lock.
    pub(super) fn arm_in(self: &Arc<Self>, state: &mut State, time: Millis) {
        self.arm_at(state, work::now().after(time));
    }

    fn arm_at(self: &Arc<Self>, state: &mut State, at: Instant) {
        // The timer keeps the socket, so there must be none once its last pipe has gone.
        let over = state.closing && state.pipes == 0;
        if !over && state.timer.is_none_or(|timer| at < timer) {
            state.timer = Some(at);
            work::rearm::<_, 0>(Lane::Quick, self, at.since(work::now()));
        }
    }

    /// Has the endpoints attended to so soon at the latest. Under the socket's lock.
    pub(super) fn attend_soon(self: &Arc<Self>, state: &mut State, time: Millis) {
        let at = work::now().after(time);
        if !state.closing && state.attending.is_none_or(|time| at < time) {
            state.attending = Some(at);
            work::rearm::<_, ATTEND>(Lane::Patient, self, time);
        }
    }

    /// Has the endpoints attended to so soon at the latest. From any context.
    pub(super) fn attend_in(self: &Arc<Self>, time: Millis) {
        self.attend_soon(&mut self.state.lock(), time);
    }

    /// Has the delayed work run so soon at the latest. From any context.
    pub(super) fn tick_in(self: &Arc<Self>, time: Millis) {
        self.arm_in(&mut self.state.lock(), time);
    }

    /// Has the delayed work check the pipes so soon at the latest. From any context.
    pub(super) fn check_pipes_in(self: &Arc<Self>, time: Millis) {
        let at = work::now().after(time);
        let mut state = self.state.lock();
        if state.check.is_none_or(|check| at < check) {
            state.check = Some(at);
            self.arm_at(&mut state, at);
        }
    }

    /// The time that closing pipes have may be another one.
    pub(super) fn close_timeout_changed(self: &Arc<Self>) {
        let concerned = {
            let state = self.state.lock();
            // Read under the lock, so that of two changes the later one stays.
            let timeout = self.net.close_timeout();
            self.limits.close_timeout.store(timeout.0, Relaxed);
            // Also where only some were removed.
            state.closing || state.pipes > state.peers.count_up()
        };
        if concerned {
            // So late that it does not matter how often: see `SLACK`.
            self.check_pipes_in(SLACK);
        }
    }

    fn tick(self: &Arc<Self>) {
        let now = work::now();
        let (todo, check, aborted, idle, mut next) = {
            let mut state = self.state.lock();
            state.timer = None;
            let effects = state.with(now, |machine, world| machine.expired(world));
            let todo = state.todo(effects.unwrap_or(Effects::NONE));
            let due = state.with(now, |machine, _| machine.deadline());
            let check = state.check.take_if(|check| *check <= now).is_some();
            let next = earlier(due.flatten(), state.check);
            let idle = !state.peers.some_readable();
            (todo, check, state.aborted, idle, next)
        };
        self.perform(todo, Origin::Task);
        if aborted {
            self.each_pipe(Pipe::abort);
        }
        if check {
            self.pool.close();
            let mut first = None;
            self.each_pipe(|pipe| first = earlier(first, pipe.check(now, idle)));
            if let Some(time) = first {
                // Late rather than often: see `SLACK`.
                self.check_pipes_in(time.since(now).and(SLACK));
            }
        }
        next = earlier(next, self.press(now));
        next = earlier(next, self.see_off(now));
        if let Some(time) = next {
            self.tick_in(time.since(now));
        }
    }
}
