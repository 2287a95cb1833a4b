// SPDX-License-Identifier: GPL-2.0

//! When what was sent goes out: at once, or with what follows.
//!
//! Most of what a short message costs is TCP's work for a segment, and a sleep and a wake-up at the other end.
//! So a message that follows another one of the socket closely, see `cadence.rs`, or is sent before others of one
//! sendmmsg(2), or with MSG_MORE, only waits in its pipe (the next ones are perhaps just written there, `loan.rs`), or to
//! be given to all (`edition.rs`), until [`enough`] has been gathered, or what a pipe may hold is nearly reached; or until
//! a thread has had its turn that was woken with the first of them: on another CPU, if one is idle, at once; else when the
//! sender sleeps, or its time slice is over. The thread takes the CPU from nobody, or floods would go out one by one; and
//! it waits for nobody, for it is many sockets': it has a work send what there is. Any other message goes at once, as if
//! there were no gathering, and takes along what its pipe has; so does one of a real-time task, which the thread would
//! have to wait for.
//!
//! So no pipe is full for messages that TCP would have taken: what waits for more is less than its room, and
//! who sends waits for a work that is just sending the rest. The memory for more is given back once a socket has been
//! quiet for a while.
//!
//! Only where nobody waits for one message to send the next, see [`Role::gathers`](super::Role). Whoever does
//! something of use between two sends is not close.

use super::cadence::Cadence;
use super::loan::Bounds;
use super::{
    Socket,
    State,
    Todo, //
};
use crate::ids::PipeId;
use crate::message::OVERHEAD;
use crate::net::task;
use crate::net::thread::{
    self,
    HasLater,
    Later, //
};
use crate::net::work::{
    self,
    Lane, //
};
use crate::pattern::{
    Effects,
    Flush, //
};
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::workqueue::WorkItem;

/// How much is gathered before it is sent without waiting for the work, in bytes of bodies: as much as is copied
/// together for one packet; and where they are too long for that, enough for some.
const fn enough(len: usize) -> usize {
    if len > LONGEST {
        256 << 10
    } else {
        56 << 10
    }
}

/// The longest body that is sent without a message of its own, in bytes. It is on the stack meanwhile.
pub(super) const SHORT: usize = 1 << 10;

/// The longest body that is worth another copy where messages follow each other closely, in bytes; and where
/// each has many copies made under the socket's lock.
pub(super) const LONGEST: usize = 8 << 10;
const LONGEST_TO_ALL: usize = 1 << 10;

/// A body up to so long takes next to no time to be copied, in bytes.
pub(super) const TINY: usize = 256;

/// How far apart the ids of pipes may be whose messages are gathered at a time.
const FAR: u32 = 64;

/// Tells the work that sends what was gathered from others of a socket.
pub(super) const GATHER: u64 = 3;

/// What was pushed to pipes and is not sent yet.
#[derive(Clone, Copy)]
pub(super) struct Gathered {
    /// The pipes that have some of it are from this one on, before the other one.
    from: PipeId,
    behind: PipeId,
    /// What it counts for, and how long the bodies are, in bytes; the work is to find the pipes also once this was
    /// sent.
    charge: usize,
    bodies: usize,
}

impl Gathered {
    /// What all pipes have.
    pub(super) const ALL: Self = Gathered {
        from: PipeId(0),
        behind: PipeId(u32::MAX),
        charge: 0,
        bodies: 0,
    };

    /// Whether any of it is not in TCP yet, or given to it: who is about to do that may have lost the CPU. They are no
    /// more pipes than are gathered for.
    fn waits(&self, state: &State) -> bool {
        let mut from = self.from.0;
        let mut waits = state.has_edition();
        while let Some((id, pipe)) = state.peers.up_from(from).filter(|_| !waits) {
            if id.0 >= self.behind.0 {
                break;
            }
            waits = pipe.waits();
            from = id.next();
        }
        waits
    }

    /// So much more was given to the same ones.
    pub(super) fn add(&mut self, charge: usize, bodies: usize) {
        self.charge = self.charge.saturating_add(charge);
        self.bodies = self.bodies.saturating_add(bodies);
    }

    fn and(self, other: Gathered) -> Gathered {
        Gathered {
            from: PipeId(self.from.0.min(other.from.0)),
            behind: PipeId(self.behind.0.max(other.behind.0)),
            charge: self.charge.saturating_add(other.charge),
            bodies: self.bodies.saturating_add(other.bodies),
        }
    }
}

/// A send under way.
pub(super) struct Begun {
    /// It follows another one closely, or there is more of the same call.
    pub(super) close: bool,
    more: bool,
    /// When it began, if that was asked for.
    at: Option<u64>,
    /// How often its task had lost the CPU by then, if it goes alone.
    switches: Option<u64>,
    cadence: Cadence,
}

impl HasLater for Socket {
    fn later(&self) -> &Later<Self> {
        &self.later
    }

    /// Waits for nobody, for there are other sockets.
    fn run(this: Arc<Self>) {
        let waits = {
            let mut state = this.state.lock();
            this.end_loan(&mut state);
            let waits = state.gathered.is_some_and(|all| all.waits(&state));
            if !waits {
                state.gathered = None;
            }
            waits
        };
        if waits {
            work::enqueue::<_, GATHER>(Lane::Quick, this);
        }
    }
}

impl WorkItem<GATHER> for Socket {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.role.sends_to_all {
            return this.send_edition();
        }
        let gathered = {
            let mut state = this.state.lock();
            this.end_loan(&mut state);
            state.gathered.take()
        };
        this.send_gathered(gathered);
    }
}

impl State {
    /// Notes what a send gave to pipes, which is so long; `None` if it gave nothing to any, or to one that
    /// is too far from the others: whoever sends what was gathered looks at those between, too.
    fn gather(&mut self, flush: Flush, bodies: usize) -> Option<Gathered> {
        let (from, behind) = match flush {
            Flush::Nothing => return None,
            Flush::One(id) => (id, PipeId(id.next())),
            // They are no more than `STEP`, or a send does not gather.
            Flush::Span(from, behind) => (from, behind),
        };
        let this = Gathered {
            from,
            behind,
            charge: bodies.saturating_add(OVERHEAD),
            bodies,
        };
        let all = self.gathered.map_or(this, |before| before.and(this));
        let far = all.behind.0.saturating_sub(all.from.0) > FAR;
        if far && matches!(flush, Flush::One(_)) {
            return None;
        }
        Some(*self.gathered.insert(all))
    }
}

impl Socket {
    /// How much of what a pipe may hold may wait for more: half where what finds no room is dropped, for as much may be
    /// on its way to TCP meanwhile.
    fn most_gathered(&self) -> usize {
        let sndbuf = self.limits.sndbuf.load(Relaxed);
        match self.role.sends_to_all {
            true => sndbuf / 2,
            false => sndbuf.saturating_sub(sndbuf / 4),
        }
    }

    /// Whether what is gathered goes at once, however little it is. Where a full pipe is waited for, or another one is
    /// given what it has no room for, whoever sends next is to find it full only if TCP is.
    fn is_full(&self, state: &State) -> bool {
        match self.role.sends_to_all {
            true => state.has_full_edition(),
            false => state.peers.has_filled(),
        }
    }

    /// Adds what a send that follows closely gave to pipes to what others gave to the same ones. True if that is all
    /// there is to be done of it; those that follow may go along then. Under the socket's lock.
    #[inline]
    pub(super) fn joins(&self, state: &mut State, effects: Effects, len: usize) -> bool {
        let room = self.most_gathered();
        let full = self.is_full(state);
        let Some(all) = &mut state.gathered else {
            return false;
        };
        let (from, behind) = match effects.flush {
            Flush::Nothing => return false,
            Flush::One(id) => (id.0, id.next()),
            Flush::Span(from, behind) => (from.0, behind.0),
        };
        let bodies = all.bodies.saturating_add(len);
        let charge = all.charge.saturating_add(len).saturating_add(OVERHEAD);
        let joins = from >= all.from.0
            && behind <= all.behind.0
            && charge < room
            && bodies < enough(len)
            && !full
            && effects == Effects::flush(effects.flush)
            && state.trash.is_empty();
        if joins {
            (all.charge, all.bodies) = (charge, bodies);
            if let Flush::One(id) = effects.flush {
                let more = Bounds {
                    charge: room.saturating_sub(charge),
                    bodies: enough(len).saturating_sub(bodies),
                };
                self.begin_loan(state, id, more);
            }
        }
        joins
    }

    /// Has the pipes given, or given back, what the socket has for them. Under the socket's lock; see
    /// [`Self::publish_at_once`].
    #[inline]
    pub(super) fn settle(&self, state: &mut State) {
        self.publish_at_once(state);
        self.end_loan(state);
    }

    /// What is to be done of a send of a body of this length, `close` if it follows another one closely.
    /// Under the socket's lock.
    pub(super) fn todo_of_send(
        self: &Arc<Self>,
        state: &mut State,
        effects: Effects,
        len: usize,
        close: bool,
    ) -> Todo {
        if !close && !matches!(effects.flush, Flush::Span(..)) {
            return state.todo(effects);
        }
        let first = state.gathered.is_none();
        let Some(gathered) = state.gather(effects.flush, len) else {
            return state.todo(effects);
        };
        let mut todo = state.todo(Effects {
            flush: Flush::Nothing,
            ..effects
        });
        let goes = !close
            || gathered.charge >= self.most_gathered()
            || gathered.bodies >= enough(len)
            || self.is_full(state);
        if goes {
            todo.gathered = Some(gathered);
            state.close_edition();
            state.peers.forget_filled();
        }
        if first && todo.gathered.is_some() {
            state.gathered = None;
        } else if first {
            // Under the lock: whatever is gathered, a work is going to look, whoever loses the CPU now.
            thread::enqueue(self.clone());
        }
        if let (Some(_), Some(rest)) = (&todo.gathered, &mut state.gathered) {
            // It is about to be sent; should that take long, the work helps.
            (rest.charge, rest.bodies) = (0, 0);
        }
        todo
    }

    /// Begins a send; `more` is sent by the same call.
    #[inline]
    pub(super) fn begin_send(&self, more: bool) -> Begun {
        let mut cadence = Cadence::of(self.cadence.load(Relaxed));
        let mut at = None;
        let close = self.role.gathers
            && cadence.begin(more, || *at.insert(work::now_ns()))
            // The work would have to wait for a task that goes before it.
            && !task::is_urgent();
        Begun {
            close,
            more,
            at,
            switches: (at.is_some() && !close).then(task::switches),
            cadence,
        }
    }

    /// Whether the last send has followed another one closely.
    pub(super) fn is_busy(&self) -> bool {
        Cadence::of(self.cadence.load(Relaxed)).is_streak()
    }

    /// How long a message is at most that is copied instead of being one of its own.
    #[inline]
    pub(super) fn longest_copied(&self, close: bool) -> usize {
        match (close, self.role.sends_to_all) {
            (false, _) => SHORT,
            (true, false) => LONGEST,
            (true, true) => LONGEST_TO_ALL,
        }
    }

    /// A send of so many bytes has ended, which did nothing but join others if it has `joined`. How long sending takes is
    /// asked of short ones: a long one says nothing about the machine.
    #[inline]
    pub(super) fn end_send(&self, begun: Begun, len: usize, joined: bool) {
        if !self.role.gathers {
            return;
        }
        let Begun {
            more,
            at,
            switches,
            mut cadence,
            ..
        } = begun;
        match at {
            _ if more => {}
            Some(at) if joined && len <= TINY => cadence.joined(at),
            Some(_) | None => {
                // Else the time of the one who was just woken would be taken for the sender's.
                task::give_way();
                let now = work::now_ns();
                let lone = len <= SHORT && switches == Some(task::switches());
                if let (Some(at), true) = (at, lone) {
                    cadence.took(now.saturating_sub(at));
                }
                cadence.end(now);
            }
        }
        self.cadence.store(cadence.bits(), Relaxed);
    }

    /// In task context.
    pub(super) fn send_gathered(&self, gathered: Option<Gathered>) {
        let Some(Gathered { from, behind, .. }) = gathered else {
            return;
        };
        self.walk(
            from.0,
            |state, from| state.peers.up_from(from).filter(|(id, _)| id.0 < behind.0),
            |pipe| pipe.flush(),
        );
    }
}
