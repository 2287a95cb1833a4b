// SPDX-License-Identifier: GPL-2.0

//! What the suites of the patterns share: one machine, pipes that keep what they are given, a clock
//! that the test sets.
//!
//! A [`Bench`] does what `rust/socket/` does around a machine. It feeds one event at a time and keeps
//! the [`Effects`] for the test to look at. After each event it checks what always holds: the
//! invariants of [`Peers`], and that the readiness told before a call was the truth about it.
//!
//! Nothing here asserts, because only a test's own `assert!` reports to KUnit: what went wrong comes
//! back as a [`Fault`].

use core::cell::Cell;

use super::peers::Peers;
use super::{
    Effects,
    Handle,
    Many,
    Pattern,
    Received,
    Refused,
    Room,
    Ticket,
    Wake,
    World, //
};
use crate::bytes::Source;
use crate::caller::{
    Birth,
    Caller,
    Company,
    Key,
    Name, //
};
use crate::error::Refusal;
use crate::ids::PipeId;
use crate::mem::{
    Arc,
    KVec,
    NoMemory,
    GFP_KERNEL, //
};
use crate::message::queue::Queue;
use crate::message::run::{
    Contents,
    Taken, //
};
use crate::message::tags::Tags;
use crate::message::{
    Bytes,
    Message,
    Msg, //
};
use crate::options::Priorities;
use crate::stats::Counters;
use crate::stats::Reason;
use crate::time::Instant;

/// What a test does not go on after, unless it expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The machine refused.
    Refused(Refusal),
    /// `can_send`, `can_recv` or `next_len` had told otherwise.
    Readiness,
    /// An invariant of the peers does not hold.
    Unsound,
    /// A message came back with other bytes.
    Changed,
    NoMemory,
}

/// A refusal to compare `.err()` with.
pub(crate) const fn refused(why: Refusal) -> Option<Fault> {
    Some(Fault::Refused(why))
}

impl From<NoMemory> for Fault {
    fn from(_: NoMemory) -> Self {
        Fault::NoMemory
    }
}

/// What a machine made of a message that arrived: [`Received`] without the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Kept(Wake),
    Discarded(Reason),
    Fatal(Reason),
}

/// A message as it comes from a program, or with its tags as it comes from a peer.
pub(crate) fn message(tags: &[u8], body: &[u8]) -> Result<Msg, NoMemory> {
    let mut msg = Message::of(body, GFP_KERNEL)?;
    msg.tags = Tags::of(tags)?;
    Ok(msg)
}

/// Whether these are the bytes of a body.
fn has(bytes: &Bytes, body: &[u8]) -> bool {
    let pieces = bytes.chunks_from(0).flat_map(|piece| piece.bytes());
    pieces.flatten().eq(body)
}

/// Whether this is what the program is given.
fn holds(taken: &Taken, body: &[u8]) -> bool {
    match taken.contents() {
        Contents::Whole(bytes) => has(bytes, body),
        Contents::Part(bytes) => bytes == body,
    }
}

/// What was pushed to a pipe. No pipe if there was no room for it.
struct Frame {
    to: Option<PipeId>,
    msg: Msg,
}

/// A name of a process or a thread.
pub(crate) struct Called {
    key: Key,
    over: fn(Key) -> bool,
}

impl Name for Called {
    fn key(&self) -> Key {
        self.key
    }

    fn is_over(&self) -> bool {
        (self.over)(self.key)
    }

    fn has_exited(&self) -> bool {
        (self.over)(self.key)
    }
}

/// Who calls, as the test has it.
#[derive(Clone, Copy)]
pub(crate) struct Somebody {
    pub(crate) process: Key,
    pub(crate) thread: Key,
    pub(crate) birth: Birth,
    pub(crate) company: Company,
    pub(crate) now: u64,
    /// Which processes are over, when a name taken by this call is asked.
    pub(crate) over: fn(Key) -> bool,
}

impl Caller for Somebody {
    type Name = Called;

    fn process(&self) -> Key {
        self.process
    }

    fn thread(&self) -> Key {
        self.thread
    }

    fn process_name(&self) -> Called {
        Called {
            key: self.process,
            over: self.over,
        }
    }

    fn thread_name(&self) -> Called {
        Called {
            key: self.thread,
            over: self.over,
        }
    }

    fn birth(&self) -> Birth {
        self.birth
    }

    fn company(&self) -> Company {
        self.company
    }

    fn now(&self) -> u64 {
        self.now
    }
}

/// A pipe that keeps what it is given, in one log with the others.
pub(crate) struct Mock {
    id: PipeId,
    /// How many messages it still takes.
    room: Cell<u32>,
    /// What it has to send is nothing to copy behind.
    busy: Cell<bool>,
    log: Arc<Cell<KVec<Frame>>>,
}

impl Many for KVec<KVec<u8>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(|body| body.as_slice())
    }
}

impl Handle for Mock {
    type Caller = Somebody;
    type Many = KVec<KVec<u8>>;

    fn push(&self, msg: Msg) -> Room {
        let left = self.room.get().checked_sub(1);
        let to = left.map(|_| self.id);
        let mut log = self.log.replace(KVec::new());
        // A frame that gets lost for want of memory is missed by the test.
        let _ = log.push(Frame { to, msg }, GFP_KERNEL);
        self.log.set(log);
        self.room.set(left.unwrap_or(0));
        match self.room.get() {
            0 => Room::Full,
            _ => Room::More,
        }
    }

    fn takes_copy(&self, _len: usize) -> bool {
        !self.busy.get()
    }

    fn copy(&self, tags: &[u8], len: usize, body: &mut impl Source) -> Option<Room> {
        if self.busy.get() {
            return None;
        }
        let mut bytes = Bytes::new();
        while bytes.len() < len {
            let rest = len.saturating_sub(bytes.len());
            bytes.append(body, rest, len, GFP_KERNEL).ok()?;
        }
        let tags = Tags::of(tags).ok()?;
        Some(self.push(Message::tagged(bytes, tags, GFP_KERNEL).ok()?))
    }

    fn take_all(&self, all: &KVec<KVec<u8>>) -> Option<Room> {
        let count = u32::try_from(all.len()).ok()?;
        if self.busy.get() || self.room.get() < count {
            return None;
        }
        let mut room = None;
        for body in all.each() {
            room = Some(self.push(message(b"", body).ok()?));
        }
        room
    }
}

/// A machine with its peers, counters and clock.
pub(crate) struct Bench<P> {
    pub(crate) machine: P,
    pub(crate) peers: Peers<Mock>,
    pub(crate) stats: Counters,
    /// What the machine has thrown away.
    pub(crate) trash: Queue,
    pub(crate) now: Instant,
    /// Who makes the next call.
    pub(crate) caller: Somebody,
    /// What the last event asked for.
    pub(crate) effects: Effects,
    /// The priorities of the pipes to come.
    pub(crate) priorities: Priorities,
    /// The number of the last pipe.
    serial: u64,
    /// The last message was sent as a short one, if the machine takes such: every other is.
    short: bool,
    log: Arc<Cell<KVec<Frame>>>,
}

impl<P: Pattern> Bench<P> {
    pub(crate) fn new(machine: P) -> Result<Self, Fault> {
        Ok(Bench {
            machine,
            peers: Peers::new(),
            stats: Counters::default(),
            trash: Queue::new(),
            now: Instant(0),
            caller: Somebody {
                process: 1,
                thread: 1,
                birth: Birth {
                    parent: 0,
                    at: 0,
                    adopted: false,
                },
                company: Company::Nobody,
                now: 0,
                over: |_| false,
            },
            effects: Effects::NONE,
            priorities: Priorities {
                send: 8,
                receive: 8,
            },
            serial: 0,
            short: false,
            log: Arc::new(Cell::new(KVec::new()), GFP_KERNEL).map_err(NoMemory::from)?,
        })
    }

    fn with<R>(&mut self, event: impl FnOnce(&mut P, &mut World<'_, Mock>) -> R) -> R {
        self.run(false, event)
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut P, &mut World<'_, Mock>) -> R) -> R {
        self.run(true, call)
    }

    fn run<R>(&mut self, call: bool, event: impl FnOnce(&mut P, &mut World<'_, Mock>) -> R) -> R {
        let mut world = World {
            peers: &mut self.peers,
            stats: &mut self.stats,
            trash: &mut self.trash,
            now: self.now,
            caller: call.then_some(&self.caller),
        };
        event(&mut self.machine, &mut world)
    }

    /// Makes a place for a pipe.
    pub(crate) fn reserve(&mut self) -> Result<PipeId, NoMemory> {
        self.serial += 1;
        self.peers.reserve(self.priorities, self.serial)
    }

    /// Makes a pipe that is not up yet and will take `room` messages.
    pub(crate) fn pipe(&mut self, room: u32) -> Result<PipeId, Fault> {
        let id = self.reserve()?;
        let mock = Mock {
            id,
            room: Cell::new(room),
            busy: Cell::new(false),
            log: self.log.clone(),
        };
        self.peers.attach(id, mock);
        self.sound()?;
        Ok(id)
    }

    /// Makes a pipe and greets.
    pub(crate) fn open(&mut self, room: u32) -> Result<PipeId, Fault> {
        let id = self.pipe(room)?;
        self.peers.opened(id);
        let effects = self.with(|machine, world| machine.opened(world, id));
        self.room(effects.ok_or(Fault::Readiness)?)?;
        Ok(id)
    }

    /// What the pipe has to send is nothing that a short message could be copied behind.
    pub(crate) fn busy(&mut self, id: PipeId) {
        if let Some(mock) = self.peers.handle(id) {
            mock.busy.set(true);
        }
    }

    /// Gives a full pipe room for so many messages.
    pub(crate) fn drain(&mut self, id: PipeId, room: u32) -> Result<(), Fault> {
        if let Some(mock) = self.peers.handle(id) {
            mock.room.set(room);
        }
        self.peers.set_writable(id, true);
        let effects = self.with(|machine, world| machine.writable(world));
        self.room(effects)
    }

    /// Keeps what a machine makes of more room, beside telling those who wait for it.
    fn room(&mut self, effects: Effects) -> Result<(), Fault> {
        self.effects = Effects {
            writers: false,
            ..effects
        };
        if effects.writers {
            self.sound()
        } else {
            Err(Fault::Readiness)
        }
    }

    pub(crate) fn close(&mut self, id: PipeId) -> Result<(), Fault> {
        self.peers.detach(id);
        self.effects = self.with(|machine, world| machine.gone(world, id));
        self.sound()
    }

    /// Sets the clock and lets the machine look at it.
    pub(crate) fn at(&mut self, ms: u64) -> Result<(), Fault> {
        self.now = Instant(ms);
        self.effects = self.with(|machine, world| machine.expired(world));
        self.sound()
    }

    /// An event that only this machine has.
    pub(crate) fn act(
        &mut self,
        event: impl FnOnce(&mut P, &mut World<'_, Mock>) -> Effects,
    ) -> Result<(), Fault> {
        self.effects = self.with(event);
        self.sound()
    }

    pub(crate) fn send(&mut self, body: &[u8]) -> Result<(), Fault> {
        let msg = message(b"", body)?;
        let told = self.machine.can_send(&self.peers, &self.caller);
        self.short = !self.short;
        let short = self
            .short
            .then(|| self.call(|machine, world| machine.send_short(world, body)))
            .flatten();
        let sent = match short {
            Some(effects) => Ok(effects),
            None => self.call(|machine, world| machine.send(world, msg)),
        };
        while self.with(|machine, world| machine.go_on(world)).is_some() {
            self.sound()?;
        }
        self.sound()?;
        match sent {
            Ok(effects) if told => {
                self.effects = effects;
                Ok(())
            }
            Err(Refused { msg, .. }) if !has(msg.bytes(), body) => Err(Fault::Changed),
            Err(Refused { why, .. }) if !told || why == Refusal::NoMemory => {
                Err(Fault::Refused(why))
            }
            Ok(_) | Err(_) => Err(Fault::Readiness),
        }
    }

    /// A first try to receive: what the program gets.
    pub(crate) fn recv(&mut self) -> Result<Taken, Fault> {
        self.recv_again(&mut Ticket::default())
    }

    /// One try of a blocked receive.
    pub(crate) fn recv_again(&mut self, ticket: &mut Ticket) -> Result<Taken, Fault> {
        let told = self.machine.can_recv(&self.peers, &self.caller);
        let len = self.call(|machine, world| machine.next_len(world));
        let received = self.call(|machine, world| machine.recv(world, ticket));
        self.sound()?;
        match received {
            Ok((taken, effects)) if told && len == Some(taken.len()) => {
                self.effects = effects;
                Ok(taken)
            }
            Err(why @ (Refusal::Again | Refusal::State | Refusal::Direction)) if !told => {
                Err(Fault::Refused(why))
            }
            // Whether these are readable depends on who asks.
            Err(why @ Refusal::Cancelled) => Err(Fault::Refused(why)),
            Err(why @ (Refusal::Reset | Refusal::TooLong | Refusal::NoMemory)) if told => {
                Err(Fault::Refused(why))
            }
            Ok(_) | Err(_) => Err(Fault::Readiness),
        }
    }

    /// Whether a receive gives this body.
    pub(crate) fn gets(&mut self, body: &[u8]) -> bool {
        self.recv().is_ok_and(|taken| holds(&taken, body))
    }

    /// What MSG_PEEK shows.
    pub(crate) fn peek(&mut self) -> Result<Taken, Fault> {
        let peeked = self.call(|machine, world| machine.peek(world));
        self.sound()?;
        peeked.map_err(Fault::Refused)
    }

    /// Whether MSG_PEEK shows this body.
    pub(crate) fn shows(&mut self, body: &[u8]) -> bool {
        self.peek().is_ok_and(|taken| holds(&taken, body))
    }

    /// A message arrives whose bytes are those of `tags` and then those of `body`.
    pub(crate) fn arrives(
        &mut self,
        from: PipeId,
        tags: &[u8],
        body: &[u8],
    ) -> Result<Fate, Fault> {
        let msg = message(tags, body)?;
        let received = self.with(|machine, world| machine.received(world, from, msg));
        self.sound()?;
        let (fate, msg) = match received {
            Received::Kept(wake) => return Ok(Fate::Kept(wake)),
            Received::Discarded(msg, why) => (Fate::Discarded(why), msg),
            Received::Fatal(msg, why) => (Fate::Fatal(why), msg),
        };
        match fate {
            Fate::Discarded(why) | Fate::Fatal(why) => self.stats.discarded(why),
            Fate::Kept(_) => {}
        }
        if msg.tags.as_bytes() == tags && has(msg.bytes(), body) {
            Ok(fate)
        } else {
            Err(Fault::Changed)
        }
    }

    /// A message begins to arrive that is too long.
    pub(crate) fn too_long(&mut self, tags: &[u8]) -> Result<(), Fault> {
        let tags = Tags::of(tags)?;
        self.effects = self.with(|machine, world| machine.too_long(world, &tags));
        self.sound()
    }

    /// Whether these frames, each a pipe, its tags and its body, went out since the last call, in this
    /// order and no others.
    pub(crate) fn sent(&mut self, frames: &[(PipeId, &[u8], &[u8])]) -> bool {
        let mut log = self.log.replace(KVec::new());
        let as_told = log.len() == frames.len()
            && log.iter().zip(frames).all(|(frame, (to, tags, body))| {
                frame.to == Some(*to)
                    && frame.msg.tags.as_bytes() == *tags
                    && has(frame.msg.bytes(), body)
            });
        log.clear();
        self.log.set(log);
        as_told
    }

    fn sound(&self) -> Result<(), Fault> {
        if self.peers.is_sound(0) {
            Ok(())
        } else {
            Err(Fault::Unsound)
        }
    }
}
