// SPDX-License-Identifier: GPL-2.0

//! Who reads on. When a pipe may is told in `pattern/intake.rs`; here it is asked and done.

use super::{
    Socket,
    State, //
};
use crate::message::queue::Queue;
use crate::net::work::{
    self,
    Lane, //
};
use crate::pattern::intake;
use crate::pipe::LOOK_INTERVAL;
use crate::time::{
    Instant,
    Millis, //
};
use crate::wire::Budget;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::workqueue::WorkItem;

/// How many pipes go on reading in one call, and in one turn of the work that continues it.
const RESUME_BATCH: usize = 4;

/// What they read in one call, together: a tenth of a millisecond or so.
const RESUME_BUDGET: Budget = Budget {
    frames: 64,
    bytes: 256 << 10,
};

/// Tells the work that lets pipes go on from others of a socket.
pub(super) const READING: u64 = 2;

impl WorkItem<READING> for Socket {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let trash = core::mem::replace(&mut this.state.lock().trash, Queue::new());
        drop(trash);
        this.resume();
    }
}

impl Socket {
    /// SO_RCVBUF, SO_SNDBUF, SP_RCVMAXSIZE, SP_SNDMAXSIZE or SP_MAXTTL may have changed.
    pub(super) fn limits_changed(self: &Arc<Self>) {
        let mut state = self.state.lock();
        self.settle(&mut state);
        // Read under the lock, so that of two changes the later one stays.
        let (body, tags) = (self.options.rcvmaxsize(), self.options.max_ttl());
        self.limits.body.store(body, Relaxed);
        self.limits.tags.store(tags.into(), Relaxed);
        self.limits.sndbuf.store(self.sk.sndbuf(), Relaxed);
        let tags = self.role.tagged.longest(tags.into());
        state.peers.set_limits(intake::Limits {
            rcvbuf: self.sk.rcvbuf(),
            longest: body.saturating_add(tags),
        });
        self.let_go_on(&state);
        self.take_connections(&mut state);
    }

    /// Lets pipes read on that were refused, as many as may and within a budget; what is left to be done
    /// then, the work does. In task context.
    pub(super) fn resume(self: &Arc<Self>) {
        let mut budget = RESUME_BUDGET;
        for _ in 0..RESUME_BATCH {
            let next = {
                let mut state = self.state.lock();
                if state.closing {
                    None
                } else {
                    state.peers.resume().cloned()
                }
            };
            let Some(pipe) = next else {
                break;
            };
            pipe.resume(&mut budget);
            if budget.frames == 0 || budget.bytes == 0 {
                break;
            }
        }
        let mut state = self.state.lock();
        self.let_go_on(&state);
        self.press_on(&mut state);
        self.take_connections(&mut state);
    }

    /// Has the work let pipes go on that were refused, if some may, and empty the trash. Under the
    /// socket's lock.
    pub(super) fn let_go_on(self: &Arc<Self>, state: &State) {
        if !state.closing && state.peers.moves() || !state.trash.is_empty() {
            work::enqueue::<_, READING>(Lane::Quick, self.clone());
        }
    }

    /// Looks at those whose reservations others wait for; returns when to look next.
    pub(super) fn press(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let spell = {
            let mut state = self.state.lock();
            let spell = state.peers.contended();
            state.pressing = spell.is_some();
            spell?
        };
        let mut from = 0;
        loop {
            let next = {
                let state = self.state.lock();
                state.peers.holder_from(from).map(|(id, p)| (id, p.clone()))
            };
            let Some((id, pipe)) = next else {
                return Some(now.after(LOOK_INTERVAL));
            };
            pipe.press(spell);
            from = id.next();
        }
    }

    /// Has those looked at whose reservations others wait for, from now on and again and again. Under the
    /// socket's lock.
    pub(super) fn press_on(self: &Arc<Self>, state: &mut State) {
        if !state.pressing && !state.closing && state.peers.contended().is_some() {
            state.pressing = true;
            self.arm_in(state, Millis::ZERO);
        }
    }

    /// Whether a new connection is better left in TCP for now. Then the endpoints are attended to when it is not.
    pub(super) fn must_wait(&self) -> bool {
        let mut state = self.state.lock();
        state.turned_away |= state.peers.crowded();
        state.turned_away
    }

    /// Takes connections again if they were turned away and there is room now. Under the socket's lock.
    pub(super) fn take_connections(self: &Arc<Self>, state: &mut State) {
        if state.turned_away && !state.peers.crowded() {
            state.turned_away = false;
            self.attend_soon(state, Millis::ZERO);
        }
    }
}
