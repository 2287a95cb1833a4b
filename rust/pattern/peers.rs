// SPDX-License-Identifier: GPL-2.0

//! The peers of one socket: who can take a message, who holds one, whose turn it is; and the requests of
//! theirs in hand.

mod giving;
mod taking;

use super::hands::Hands;
use super::intake::{
    Intake,
    Limits,
    Share, //
};
use super::recent::{
    Recent,
    RECENT, //
};
use super::rota::{
    Ranks,
    Rota, //
};
use super::slab::Slab;
use super::Handle;
use crate::ids::{
    PipeId,
    PipeName, //
};
use crate::mem::{
    accounted,
    NoMemory,
    NO_SLEEP, //
};
use crate::message::queue::Queue;
use crate::message::Message;
use crate::options::Priorities;

/// The most pipes a socket can have (the uapi's SP_PIPES_MAX).
const PIPES_MAX: u32 = crate::uapi::SP_PIPES_MAX;

/// How many pipes that have lost their peer, and are held back with what it has sent, may be added to a full
/// socket: as many as listen(2) lets wait by default.
const GONE_MAX: u32 = 128;

struct Peer<H> {
    /// `None` once the pipe has ended.
    handle: Option<H>,
    up: bool,
    /// It is gone, and the pipe still has what it has sent.
    gone: bool,
    priorities: Priorities,
    queue: Queue,
    share: Share,
    /// What was collected is not for it.
    late: bool,
    /// How many messages were not given to its pipe, because that was full.
    dropped: u64,
    /// Tells it from others that had its place before.
    serial: u64,
    /// What was queued by [`Peers::enqueue_new`].
    recent: Recent,
}

/// The peers of one socket: who can take a message, who holds one; and the requests of theirs in hand.
///
/// # Invariants
///
/// `piped` are the ids of peers that have a pipe, `ups` of those that are up; `leaving` have a pipe.
/// `writable` holds only ids of peers that are up; `readable` exactly those whose queue is not empty;
/// `intake` lets only those wait that have a pipe. `bytes` is the sum over all queues. A peer without a handle has a queue that is not empty,
/// or is a place that was reserved and has not got its pipe yet.
pub(crate) struct Peers<H: Handle> {
    slab: Slab<Peer<H>>,
    piped: Rota,
    ups: Rota,
    writable: Ranks,
    /// One of them has been given so much that it is no more.
    filled: bool,
    readable: Ranks,
    intake: Intake,
    /// The pipes that have more to read than the socket receives any more.
    leaving: Rota,
    up: u32,
    gone: u32,
    bytes: usize,
    pub(super) hands: Hands<H::Caller>,
}

impl<H: Handle> Peers<H> {
    pub(crate) const fn new() -> Self {
        Peers {
            slab: Slab::new(PIPES_MAX),
            piped: Rota::new(),
            ups: Rota::new(),
            writable: Ranks::new(),
            filled: false,
            readable: Ranks::new(),
            intake: Intake::new(),
            leaving: Rota::new(),
            up: 0,
            gone: 0,
            bytes: 0,
            hands: Hands::new(),
        }
    }

    /// Makes a place for a pipe that is about to be made, with a number that no other one has or had.
    ///
    /// # Errors
    ///
    /// [`NoMemory`], also when there are too many pipes.
    pub(crate) fn reserve(
        &mut self,
        priorities: Priorities,
        serial: u64,
    ) -> Result<PipeId, NoMemory> {
        let peer = Peer {
            handle: None,
            up: false,
            gone: false,
            priorities,
            queue: Queue::new(),
            share: Share::new(),
            late: false,
            dropped: 0,
            serial,
            recent: Recent::new(),
        };
        let id = self.slab.insert(peer).map_err(|_| NoMemory)?;
        let reserved = self.reserve_places(id, priorities);
        if reserved.is_err() {
            self.slab.remove(id);
        }
        reserved.map(|()| PipeId(id))
    }

    fn reserve_places(&mut self, id: u32, priorities: Priorities) -> Result<(), NoMemory> {
        let Priorities { send, receive } = priorities;
        let flags = accounted(NO_SLEEP);
        self.piped.reserve(id, flags)?;
        self.ups.reserve(id, flags)?;
        self.leaving.reserve(id, flags)?;
        self.writable.reserve(id, send, flags)?;
        self.readable.reserve(id, receive, flags)?;
        self.intake.reserve(id, receive, flags)
    }

    /// Gives a reserved place its pipe.
    pub(crate) fn attach(&mut self, id: PipeId, handle: H) {
        if let Some(peer) = self.slab.get_mut(id.0) {
            peer.handle = Some(handle);
            self.piped.insert(id.0);
        }
    }

    /// Gives a reserved place back that never got a pipe.
    pub(crate) fn unreserve(&mut self, id: PipeId) {
        self.slab.remove(id.0);
    }

    pub(crate) fn handle(&self, id: PipeId) -> Option<&H> {
        self.slab.get(id.0)?.handle.as_ref()
    }

    /// The first pipe at or after `from`, to go through all of them without holding a borrow.
    pub(crate) fn handle_from(&self, from: u32) -> Option<(PipeId, &H)> {
        let id = PipeId(self.piped.first_from(from)?);
        Some((id, self.handle(id)?))
    }

    /// The first pipe at or after `from` whose peer is up.
    pub(crate) fn up_from(&self, from: u32) -> Option<(PipeId, &H)> {
        let id = PipeId(self.ups.first_from(from)?);
        Some((id, self.handle(id)?))
    }

    pub(crate) fn is_up(&self, id: PipeId) -> bool {
        self.slab.get(id.0).is_some_and(|peer| peer.up)
    }

    /// Names a peer that is up.
    pub(super) fn origin(&self, id: PipeId) -> Option<PipeName> {
        let peer = self.slab.get(id.0).filter(|peer| peer.up)?;
        let serial = peer.serial;
        Some(PipeName { id, serial })
    }

    /// The peer of that name, if it is still up.
    pub(super) fn find(&self, origin: PipeName) -> Option<PipeId> {
        let now = self.origin(origin.id)?;
        (now == origin).then_some(origin.id)
    }

    /// Forgets the requests in hand. What is returned is to be dropped with the lock released.
    pub(crate) fn forget_requests(&mut self) -> Hands<H::Caller> {
        core::mem::replace(&mut self.hands, Hands::new())
    }

    /// How many peers are up.
    pub(crate) fn count_up(&self) -> u32 {
        self.up
    }

    pub(crate) fn some_writable(&self) -> bool {
        !self.writable.is_empty()
    }

    pub(crate) fn some_readable(&self) -> bool {
        !self.readable.is_empty()
    }

    /// What counts for SO_RCVBUF, in bytes.
    #[cfg(any(test, SP_KUNIT))]
    pub(crate) fn charge(&self) -> usize {
        self.intake.held()
    }

    /// What the program would see of one queue, in bytes.
    pub(crate) fn queued(&self, id: PipeId) -> usize {
        self.slab.get(id.0).map_or(0, |peer| peer.queue.bytes())
    }

    /// A message was not given to its pipe, because that is full.
    pub(super) fn dropped_many_for(&mut self, id: PipeId, messages: usize) {
        if let Some(peer) = self.slab.get_mut(id.0) {
            let messages = u64::try_from(messages).unwrap_or(0);
            peer.dropped = peer.dropped.wrapping_add(messages);
        }
    }

    /// What was collected before is not for this peer, which is up since.
    pub(crate) fn set_late(&mut self, id: PipeId) {
        if let Some(peer) = self.slab.get_mut(id.0) {
            peer.late = true;
        }
    }

    pub(super) fn is_late(&self, id: PipeId) -> bool {
        self.slab.get(id.0).is_some_and(|peer| peer.late)
    }

    /// Whether that is so; the next is for it.
    pub(super) fn take_late(&mut self, id: PipeId) -> bool {
        let peer = self.slab.get_mut(id.0);
        peer.is_some_and(|peer| core::mem::take(&mut peer.late))
    }

    /// How many messages for a peer were dropped, because its pipe was full.
    pub(crate) fn dropped(&self, id: PipeId) -> u64 {
        self.slab.get(id.0).map_or(0, |peer| peer.dropped)
    }

    /// What the program would see of all queues, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn opened(&mut self, id: PipeId) {
        if let Some(peer) = self.slab.get_mut(id.0) {
            if !peer.up {
                peer.up = true;
                self.up = self.up.saturating_add(1);
                self.ups.insert(id.0);
                self.writable.insert(id.0, peer.priorities.send);
            }
        }
    }

    pub(crate) fn set_writable(&mut self, id: PipeId, writable: bool) {
        match self.slab.get(id.0) {
            Some(peer) if writable && peer.up => {
                self.writable.insert(id.0, peer.priorities.send);
            }
            Some(_) | None => self.writable.remove(id.0),
        }
    }

    /// Gives a peer nothing more to send; it is not up any more.
    pub(crate) fn down(&mut self, id: PipeId) {
        self.writable.remove(id.0);
        self.ups.remove(id.0);
        if let Some(peer) = self.slab.get_mut(id.0) {
            if core::mem::replace(&mut peer.up, false) {
                self.up = self.up.saturating_sub(1);
            }
        }
    }

    /// A peer that is up is gone, and its pipe has yet to read what it has sent: nothing can be sent to it,
    /// and the pattern is told when that is read. Tells whether it was up.
    pub(crate) fn set_gone(&mut self, id: PipeId) -> bool {
        if !self.is_up(id) {
            return false;
        }
        self.down(id);
        if let Some(peer) = self.slab.get_mut(id.0) {
            peer.gone = true;
            self.gone = self.gone.saturating_add(1);
        }
        true
    }

    pub(crate) fn is_gone(&self, id: PipeId) -> bool {
        self.slab.get(id.0).is_some_and(|peer| peer.gone)
    }

    /// Nothing more is received, and this pipe has more: it is to end when nothing of it is left.
    pub(crate) fn leave(&mut self, id: PipeId) {
        if self.handle(id).is_some() {
            self.leaving.insert(id.0);
        }
    }

    /// It is being ended.
    pub(crate) fn left(&mut self, id: PipeId) {
        self.leaving.remove(id.0);
    }

    pub(crate) fn some_leave(&self) -> bool {
        self.leaving.first_from(0).is_some()
    }

    /// The first pipe at or after `from` that is to end, and whether the program has yet to take something
    /// of it.
    pub(crate) fn leaving_from(&self, from: u32) -> Option<(PipeId, &H, bool)> {
        let id = PipeId(self.leaving.first_from(from)?);
        let queued = self.slab.get(id.0).is_some_and(|p| !p.queue.is_empty());
        Some((id, self.handle(id)?, queued))
    }

    /// Whether there are enough pipes that only wait for the program to read.
    pub(crate) fn crowded(&self) -> bool {
        self.gone > GONE_MAX && self.intake.is_loaded()
    }

    /// Forgets the pipe; its received messages stay readable.
    pub(crate) fn detach(&mut self, id: PipeId) -> Option<H> {
        self.down(id);
        self.abandon(id);
        let peer = self.slab.get_mut(id.0)?;
        if core::mem::replace(&mut peer.gone, false) {
            self.gone = self.gone.saturating_sub(1);
        }
        let handle = peer.handle.take();
        self.piped.remove(id.0);
        self.leaving.remove(id.0);
        if peer.queue.is_empty() {
            self.slab.remove(id.0);
        }
        handle
    }

    /// Whether a peer can be given a message.
    pub(crate) fn is_writable(&self, id: PipeId) -> bool {
        self.writable.contains(id.0)
    }

    /// Sets what the socket may hold. [`Self::resume`] is to be called afterwards.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.intake.set_limits(limits);
    }

    /// Whether a pipe may begin a frame of so many bytes, `whole` if all of them are there. If not,
    /// [`Self::resume`] names it when it may.
    pub(crate) fn admit(&mut self, id: PipeId, len: usize, whole: bool) -> bool {
        match self.slab.get_mut(id.0).filter(|p| p.handle.is_some()) {
            Some(peer) => {
                let rank = peer.priorities.receive;
                self.intake.ask(id.0, rank, &mut peer.share, len, whole)
            }
            None => false,
        }
    }

    /// Whether a message that is offered may hold so many bytes more than it is long. If not, it is to be admitted
    /// without them.
    pub(crate) fn has_room_for(&self, extra: usize) -> bool {
        extra == 0 || self.intake.has_room_for(extra)
    }

    /// Whether a run may be taken in. If not, each of its messages is to be asked for.
    pub(crate) fn admit_run(&mut self, id: PipeId, charge: usize) -> bool {
        match self.slab.get_mut(id.0).filter(|p| p.handle.is_some()) {
            Some(peer) => self.intake.ask_run(id.0, &mut peer.share, charge),
            None => false,
        }
    }

    /// Whether the frame that was admitted may hold so many bytes more than it has reserved.
    pub(crate) fn stretch(&mut self, id: PipeId, bytes: usize) -> bool {
        let peer = self.slab.get_mut(id.0);
        peer.is_some_and(|peer| self.intake.stretch(&mut peer.share, bytes))
    }

    /// The frame that was admitted is a message now. To be followed by [`Self::settled`].
    pub(crate) fn arrived(&mut self, id: PipeId, msg: &mut Message) {
        if let Some(peer) = self.slab.get_mut(id.0) {
            self.intake.arrived(id.0, &mut peer.share, msg);
        }
    }

    /// What arrived was queued, or was not.
    pub(crate) fn settled(&mut self, id: PipeId) {
        if let Some(peer) = self.slab.get(id.0) {
            self.intake.settled(id.0, &peer.share);
        }
    }

    /// Gives back what a message that is not queued has reserved.
    pub(crate) fn release(&mut self, msg: &mut Message) {
        self.intake.release(msg);
    }

    /// The pipe reads no further.
    pub(crate) fn abandon(&mut self, id: PipeId) {
        if let Some(peer) = self.slab.get_mut(id.0) {
            self.intake.abandon(id.0, &mut peer.share);
        }
    }

    /// Whether somebody who was refused may go on.
    pub(crate) fn moves(&self) -> bool {
        self.intake.moves(self.first_in_line())
    }

    fn first_in_line(&self) -> Option<&Share> {
        let id = self.intake.first_in_line()?;
        self.slab.get(id).map(|peer| &peer.share)
    }

    /// A pipe that was refused and whose turn it is to go on.
    pub(crate) fn resume(&mut self) -> Option<&H> {
        let next = self.intake.next_whole();
        let id = next.or_else(|| self.intake.first_in_line())?;
        let peer = self.slab.get_mut(id)?;
        let goes = match next {
            Some(_) => self.intake.call(id, &mut peer.share),
            None => self.intake.let_in(id, &mut peer.share),
        };
        if goes {
            peer.handle.as_ref()
        } else {
            None
        }
    }

    /// As [`Intake::contended`].
    pub(crate) fn contended(&self) -> Option<u32> {
        self.intake.contended(self.first_in_line())
    }

    /// The first pipe at or after `from` that has a reservation for the frame under way.
    pub(crate) fn holder_from(&self, from: u32) -> Option<(PipeId, &H)> {
        let id = PipeId(self.intake.holder_from(from)?);
        Some((id, self.handle(id)?))
    }
}

#[cfg(any(test, SP_KUNIT))]
impl<H: Handle> Peers<H> {
    /// Whether the invariants hold, with so many places that are reserved and have no pipe.
    pub(super) fn is_sound(&self, mut reserved: u32) -> bool {
        // Past the ids that a test uses, so that bits without a peer are seen.
        const IDS: u32 = 80;
        let (mut up, mut charge, mut bytes) = (0, 0, 0);
        let (mut writable, mut readable) = (false, false);
        for id in 0..IDS {
            let Some(peer) = self.slab.get(id) else {
                if self.writable.contains(id)
                    || self.readable.contains(id)
                    || self.piped.contains(id)
                    || self.ups.contains(id)
                    || self.leaving.contains(id)
                {
                    return false;
                }
                continue;
            };
            if self.readable.contains(id) == peer.queue.is_empty() {
                return false;
            }
            if self.writable.contains(id) && !peer.up || peer.up && peer.handle.is_none() {
                return false;
            }
            if self.piped.contains(id) != peer.handle.is_some() || self.ups.contains(id) != peer.up
            {
                return false;
            }
            if self.leaving.contains(id) && peer.handle.is_none() {
                return false;
            }
            if peer.handle.is_none() && peer.queue.is_empty() {
                let Some(rest) = reserved.checked_sub(1) else {
                    return false;
                };
                reserved = rest;
            }
            up += u32::from(peer.up);
            charge += peer.share.held();
            bytes += peer.queue.bytes();
            writable |= self.writable.contains(id);
            readable |= self.readable.contains(id);
        }
        reserved == 0
            && up == self.count_up()
            && charge == self.charge()
            && bytes == self.bytes()
            && writable == self.some_writable()
            && readable == self.some_readable()
            && self.slab.next_from(IDS).is_none()
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_peers))]
mod tests {
    use super::super::bench::{
        message,
        Bench,
        Fault, //
    };
    use super::super::pubsub::Sub;
    use super::*;
    use crate::address::Address;
    use crate::mem::GFP_KERNEL;
    use crate::message::run::{
        Contents,
        Ends, //
    };
    use crate::message::{
        Bytes,
        Msg, //
    };

    /// A bench for its peers; the machine has no part in these tests.
    fn bench() -> Result<Bench<Sub>, Fault> {
        Bench::new(Sub::new())
    }

    /// The body of the message whose turn it is.
    fn take<H: Handle>(peers: &mut Peers<H>) -> Option<u8> {
        let (_, taken, _) = peers.dequeue()?;
        match taken.contents() {
            Contents::Whole(bytes) => bytes.head().first().copied(),
            Contents::Part(body) => body.first().copied(),
        }
    }

    /// The body of the message that is to be next.
    fn front<H: Handle>(peers: &mut Peers<H>) -> Option<u8> {
        peers.front()?.bytes().head().first().copied()
    }

    /// Takes out of all queues what `keep` refuses, and counts it.
    fn purge<H: Handle>(peers: &mut Peers<H>, keep: impl Fn(u8) -> bool) -> usize {
        let (mut from, mut count) = (0, 0);
        while let Some((mut gone, next)) =
            peers.purge_from(from, |_, body| body.first().is_some_and(|byte| keep(*byte)))
        {
            while gone.pop().is_some() {
                count += 1;
            }
            from = next;
        }
        count
    }

    #[test]
    fn given_in_turn_with_others() -> Result<(), Fault> {
        let mut bench = Bench::new(Sub::new())?;
        let (one, two) = (bench.open(9)?, bench.open(9)?);
        bench.peers.enqueue(one, run_of(b'1')?);
        bench.peers.enqueue(two, run_of(b'2')?);
        let mut names = [0; 4];
        for name in &mut names {
            let given = bench.peers.give_first(|body, _| {
                *name = body.first().copied().unwrap_or(0);
                true
            });
            assert_eq!(given, Some(8));
        }
        assert_eq!(&names, b"1212");
        // Who is refused has its turn still.
        assert!(bench.peers.give_first(|_, _| false).is_none());
        assert_eq!(front(&mut bench.peers), Some(b'1'));
        assert_eq!(bench.peers.bytes(), 2 * 160 - 4 * 8);
        Ok(())
    }

    /// Several messages that have come together.
    fn run_of(name: u8) -> Result<Msg, Fault> {
        let mut ends = Ends::new(0);
        for nth in 1..=20 {
            ends.push(nth * 8);
        }
        let bytes = Bytes::of(&[name; 160], GFP_KERNEL)?;
        Ok(Message::run(bytes, ends, Address::Unspec, GFP_KERNEL).ok_or(NoMemory)?)
    }

    #[test]
    fn run_does_not_begin_with_what_has_reserved() -> Result<(), Fault> {
        let mut bench = bench()?;
        let one = bench.open(9)?;
        bench.open(9)?;
        let limits = |rcvbuf| Limits {
            rcvbuf,
            longest: 1 << 20,
        };
        bench.peers.set_limits(limits(4000));
        bench
            .peers
            .enqueue(one, Message::of(&[b'1'; 4000], GFP_KERNEL)?);
        // It is not all there, and waits; the program makes room, and it may come.
        assert!(!bench.peers.admit(one, 8, false));
        assert_eq!(take(&mut bench.peers), Some(b'1'));
        assert!(bench.peers.resume().is_some());
        // By now there is more, that would make a run.
        bench.peers.set_limits(limits(9000));
        assert!(!bench.peers.admit_run(one, run_of(b'1')?.charge()));
        assert!(bench.peers.admit(one, 8, true));
        let mut msg = message(b"", b"12345678")?;
        bench.peers.arrived(one, &mut msg);
        bench.peers.enqueue(one, msg);
        bench.peers.settled(one);
        assert!(bench.peers.admit_run(one, run_of(b'1')?.charge()));
        Ok(())
    }

    #[test]
    fn run_is_taken_and_purged_as_its_messages() -> Result<(), Fault> {
        let mut bench = bench()?;
        let (one, two) = (bench.open(1)?, bench.open(1)?);
        bench.peers.enqueue(one, run_of(b'1')?);
        bench.peers.enqueue(two, run_of(b'2')?);
        assert!(bench.peers.is_sound(0) && bench.peers.intake.active == 2);
        assert_eq!(bench.peers.bytes(), 2 * 160);
        // In turn.
        for name in [b'1', b'2', b'1', b'2'] {
            assert_eq!(take(&mut bench.peers), Some(name));
        }
        assert!(bench.peers.is_sound(0) && bench.peers.bytes() == 2 * 144);
        purge(&mut bench.peers, |name| name != b'1');
        assert!(bench.peers.is_sound(0) && bench.peers.intake.active == 1);
        assert_eq!((bench.peers.queued(one), bench.peers.queued(two)), (0, 144));
        // What is left of one whose pipe has ended goes with its place.
        bench.peers.detach(two);
        assert_eq!(take(&mut bench.peers), Some(b'2'));
        purge(&mut bench.peers, |_| false);
        assert!(bench.peers.is_sound(0) && !bench.peers.some_readable());
        assert!(bench.peers.bytes() == 0 && bench.peers.intake.active == 0);
        Ok(())
    }

    #[test]
    fn reserved_given_back_frees_its_id() -> Result<(), Fault> {
        let mut bench = bench()?;
        let first = bench.reserve()?;
        let second = bench.reserve()?;
        assert!(first != second);
        assert!(bench.peers.is_sound(2));
        assert!(bench.peers.handle(first).is_none());
        assert!(bench.peers.handle_from(0).is_none());
        bench.peers.unreserve(first);
        assert!(bench.peers.is_sound(1));
        assert_eq!(bench.reserve()?, first);
        Ok(())
    }

    #[test]
    fn reserved_purged_keeps_its_place() -> Result<(), Fault> {
        // The socket's lock is released while the pipe is made.
        let mut bench = bench()?;
        let id = bench.reserve()?;
        assert_eq!(purge(&mut bench.peers, |_| false), 0);
        assert!(bench.peers.is_sound(1));
        assert!(bench.pipe(1) != Ok(id));
        Ok(())
    }

    #[test]
    fn not_up_set_writable_stays_as_it_is() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.pipe(9)?;
        bench.peers.set_writable(pipe, true);
        assert!(!bench.peers.some_writable());
        bench.peers.opened(pipe);
        assert!(bench.peers.some_writable());
        bench.peers.set_writable(pipe, false);
        assert!(!bench.peers.some_writable());
        bench.peers.set_writable(pipe, true);
        assert_eq!(bench.peers.next_writable(), Some(pipe));
        Ok(())
    }

    #[test]
    fn up_opened_again_counts_once() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        let other = bench.open(1)?;
        bench.peers.opened(pipe);
        assert_eq!(bench.peers.count_up(), 2);
        bench.close(pipe)?;
        bench.close(pipe)?;
        assert_eq!(bench.peers.count_up(), 1);
        // Of no effect, as nobody has this id.
        bench.peers.opened(pipe);
        bench.peers.set_writable(pipe, true);
        assert_eq!(bench.peers.next_writable(), Some(other));
        assert!(bench.peers.is_sound(0));
        Ok(())
    }

    #[test]
    fn up_filled_is_writable_when_it_has_room() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(2)?;
        for writable in [true, false] {
            assert_eq!(bench.peers.next_writable(), Some(pipe));
            bench.peers.push(pipe, message(b"", b"x")?);
            assert_eq!(bench.peers.some_writable(), writable);
        }
        bench.drain(pipe, 1)?;
        assert!(bench.peers.some_writable());
        assert!(bench.sent(&[(pipe, b"", b"x"), (pipe, b"", b"x")]));
        Ok(())
    }

    #[test]
    fn down_with_a_message_left_is_not_there_to_be_answered() -> Result<(), Fault> {
        // Its id will be another pipe's, and nobody tells the pattern then.
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        bench.peers.enqueue(pipe, message(b"", b"a")?);
        bench.peers.enqueue(pipe, message(b"", b"b")?);
        let alive = bench.peers.dequeue().map(|(_, _, alive)| alive);
        assert_eq!(alive, Some(true));
        bench.peers.down(pipe);
        let alive = bench.peers.dequeue().map(|(_, _, alive)| alive);
        assert_eq!(alive, Some(false));
        assert!(bench.peers.is_sound(0));
        Ok(())
    }

    #[test]
    fn closed_with_nothing_left_gives_its_id_back() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        assert!(bench.peers.detach(pipe).is_some());
        assert!(bench.peers.detach(pipe).is_none());
        assert_eq!(bench.open(1)?, pipe);
        Ok(())
    }

    #[test]
    fn closed_drained_gives_its_id_back() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        bench.peers.enqueue(pipe, message(b"", b"1")?);
        bench.peers.enqueue(pipe, message(b"", b"2")?);
        bench.close(pipe)?;
        assert!(!bench.peers.some_writable());
        assert_eq!(take(&mut bench.peers), Some(b'1'));
        assert!(bench.peers.is_sound(0));
        let other = bench.open(1)?;
        assert!(other != pipe);
        let last = bench.peers.dequeue();
        assert!(last.is_some_and(|(from, _, alive)| from == pipe && !alive));
        assert_eq!(bench.open(1)?, pipe);
        Ok(())
    }

    #[test]
    fn closed_purged_gives_its_id_back() -> Result<(), Fault> {
        let mut bench = bench()?;
        let (pipe, other) = (bench.open(1)?, bench.open(1)?);
        for id in [pipe, other] {
            bench.peers.enqueue(id, message(b"", b"1")?);
            bench.peers.enqueue(id, message(b"", b"2")?);
        }
        bench.close(pipe)?;
        assert_eq!(purge(&mut bench.peers, |byte| byte == b'2'), 2);
        assert!(bench.peers.is_sound(0));
        assert_eq!(purge(&mut bench.peers, |_| false), 2);
        assert!(bench.peers.is_sound(0));
        assert_eq!((bench.peers.charge(), bench.peers.bytes()), (0, 0));
        assert!(bench.peers.handle(other).is_some());
        assert_eq!(bench.open(1)?, pipe);
        Ok(())
    }

    #[test]
    fn closed_message_arrived_counts_for_nothing() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        bench.close(pipe)?;
        bench.peers.enqueue(pipe, message(b"", b"1")?);
        assert!(bench.peers.is_sound(0));
        assert_eq!(bench.peers.charge(), 0);
        assert!(bench.peers.dequeue().is_none());
        Ok(())
    }

    #[test]
    fn leaving_is_wanted_while_something_is_queued() -> Result<(), Fault> {
        let mut bench = bench()?;
        let (pipe, other) = (bench.open(1)?, bench.open(1)?);
        let looks = |bench: &Bench<Sub>, from| {
            let next = bench.peers.leaving_from(from);
            next.map(|(id, _, queued)| (id, queued))
        };
        assert!(!bench.peers.some_leave());
        bench.peers.enqueue(other, message(b"", b"1")?);
        bench.peers.leave(other);
        bench.peers.leave(pipe);
        assert_eq!(looks(&bench, 0), Some((pipe, false)));
        assert_eq!(looks(&bench, pipe.0 + 1), Some((other, true)));
        assert_eq!(take(&mut bench.peers), Some(b'1'));
        assert_eq!(looks(&bench, pipe.0 + 1), Some((other, false)));
        bench.peers.left(other);
        bench.close(pipe)?;
        assert!(!bench.peers.some_leave());
        // Nobody is there any more.
        bench.peers.leave(pipe);
        assert!(!bench.peers.some_leave() && bench.peers.is_sound(0));
        Ok(())
    }

    #[test]
    fn messages_waiting_count_whole_and_without_their_tags() -> Result<(), Fault> {
        use crate::message::OVERHEAD;
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        bench.peers.enqueue(pipe, message(b"", b"12345")?);
        bench.peers.enqueue(pipe, message(b"tags", b"123")?);
        assert_eq!(bench.peers.charge(), 5 + 7 + 2 * OVERHEAD);
        assert_eq!(bench.peers.bytes(), 5 + 3);
        drop(bench.peers.discard());
        assert_eq!(bench.peers.charge(), 7 + OVERHEAD);
        assert_eq!(bench.peers.bytes(), 3);
        drop(bench.peers.discard());
        assert!(bench.peers.discard().is_none());
        assert_eq!((bench.peers.charge(), bench.peers.bytes()), (0, 0));
        Ok(())
    }

    #[test]
    fn front_looked_at_is_next_whatever_arrives() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipes = [bench.open(1)?, bench.open(1)?, bench.open(1)?];
        assert_eq!(front(&mut bench.peers), None);
        bench.peers.enqueue(pipes[1], message(b"", b"1")?);
        assert_eq!(front(&mut bench.peers), Some(b'1'));
        bench.peers.enqueue(pipes[0], message(b"", b"0")?);
        bench.peers.enqueue(pipes[2], message(b"", b"2")?);
        assert_eq!(front(&mut bench.peers), Some(b'1'));
        for byte in [b'1', b'2', b'0'] {
            assert_eq!(take(&mut bench.peers), Some(byte));
        }
        // Once more where the round begins.
        bench.peers.enqueue(pipes[0], message(b"", b"0")?);
        assert_eq!(front(&mut bench.peers), Some(b'0'));
        bench.peers.enqueue(pipes[1], message(b"", b"1")?);
        assert_eq!(take(&mut bench.peers), Some(b'0'));
        Ok(())
    }

    #[test]
    fn walk_meets_every_pipe_that_lives() -> Result<(), Fault> {
        let mut bench = bench()?;
        let greeting = bench.pipe(1)?;
        let (closed, up) = (bench.open(1)?, bench.open(1)?);
        bench.peers.enqueue(closed, message(b"", b"1")?);
        bench.close(closed)?;
        bench.reserve()?;
        let met = |from| bench.peers.handle_from(from).map(|(id, _)| id);
        assert_eq!(met(0), Some(greeting));
        assert_eq!(met(greeting.0 + 1), Some(up));
        assert_eq!(met(up.0 + 1), None);
        assert_eq!(met(u32::MAX), None);
        Ok(())
    }

    #[test]
    fn priorities_rank_before_turns() -> Result<(), Fault> {
        let mut bench = bench()?;
        let last = [bench.open(9)?, bench.open(9)?];
        bench.priorities = Priorities {
            send: 1,
            receive: 7,
        };
        let first = [bench.open(9)?, bench.open(9)?];
        for id in [first[0], first[1], first[0]] {
            assert_eq!(bench.peers.next_writable(), Some(id));
        }
        bench.peers.set_writable(first[0], false);
        bench.peers.set_writable(first[1], false);
        assert_eq!(bench.peers.next_writable(), Some(last[0]));
        bench.peers.set_writable(first[1], true);
        assert_eq!(bench.peers.next_writable(), Some(first[1]));

        for (id, body) in [
            (last[0], b'a'),
            (last[1], b'b'),
            (first[1], b'c'),
            (first[0], b'd'),
        ] {
            bench.peers.enqueue(id, message(b"", &[body])?);
        }
        // Its pipe is gone, its message is not.
        bench.peers.detach(first[0]);
        assert_eq!(take(&mut bench.peers), Some(b'd'));
        assert_eq!(take(&mut bench.peers), Some(b'c'));
        // Seen, so next, whoever comes first.
        assert_eq!(front(&mut bench.peers), Some(b'a'));
        bench.peers.enqueue(first[1], message(b"", b"e")?);
        for body in [b'a', b'e', b'b'] {
            assert_eq!(take(&mut bench.peers), Some(body));
        }
        Ok(())
    }

    #[test]
    fn any_state_random_events_keep_the_invariants() -> Result<(), Fault> {
        let mut bench = bench()?;
        let mut random = 0x2545_f491_u32;
        for step in 0..200_u32 {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let id = PipeId((random >> 8) % 6);
            let up = bench.peers.is_up(id);
            match random % 16 {
                0..=2 if bench.peers.count_up() < 4 => drop(bench.open(2)?),
                3 => bench.close(id)?,
                4 | 5 if up => bench.drain(id, 2)?,
                6 | 7 => drop(bench.peers.dequeue()),
                8 => drop(front(&mut bench.peers)),
                9 if step % 8 == 0 => drop(purge(&mut bench.peers, |byte| byte != b'0')),
                10 | 11 => {
                    if let Some(to) = bench.peers.next_writable() {
                        bench.peers.push(to, message(b"", b"x")?);
                    }
                }
                12.. if up => {
                    let body = [b'0' + (random >> 16) as u8 % 2, b'x'];
                    bench.peers.enqueue(id, message(b"", &body)?);
                }
                _ => {}
            }
            assert!(bench.peers.is_sound(0));
        }
        while bench.peers.discard().is_some() {}
        assert!(bench.peers.is_sound(0));
        assert_eq!((bench.peers.charge(), bench.peers.bytes()), (0, 0));
        Ok(())
    }
}
