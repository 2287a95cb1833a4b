// SPDX-License-Identifier: GPL-2.0

//! The patterns: what a message means, and which pipe is next.
//!
//! A pattern is arithmetic on values. It knows pipes by [`PipeId`], never blocks, reads no clock and
//! takes no lock: `rust/socket/` feeds it one event at a time under the socket's lock and then, with
//! the lock released, does what the returned [`Effects`] ask for. The only call that leaves a machine is
//! [`Handle::push`], which appends to a pipe's queue.
//!
//! Words: a *peer* is a pipe as the patterns see it, with the queue of messages received from it; it
//! outlives its pipe until that queue is drained. A peer is *up* between the greetings and its close,
//! and *writable* while its pipe holds less than SO_SNDBUF of unsent messages.

#[cfg(SP_KUNIT)]
pub(crate) mod bench;
pub(crate) mod hands;
pub(crate) mod intake;
pub(crate) mod pubsub;
pub(crate) mod recent;
pub(crate) mod rep;
pub(crate) mod req;
pub(crate) mod rota;
pub(crate) mod slab;
pub(crate) mod trie;

use crate::address::Address;
use crate::caller::Caller;
use crate::error::Refusal;
use crate::mem::{
    accounted,
    Arc,
    NoMemory,
    NO_SLEEP, //
};
use crate::message::queue::Queue;
use crate::message::tags::{
    RequestId,
    Tags,
    TAG, //
};
use crate::message::{
    Bytes,
    Message,
    Msg, //
};
use crate::stats::{
    count,
    Counters, //
};
use hands::Hands;
use intake::{
    Intake,
    Limits,
    Share, //
};
use recent::{
    Recent,
    RECENT, //
};
use rota::{
    Priority,
    Ranks,
    Rota, //
};
use slab::Slab;

/// Names a pipe of one socket for as long as its peer exists; then it may name another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PipeId(pub(crate) u32);

/// A point in time, in milliseconds of a clock that never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Now(pub(crate) u64);

impl Now {
    pub(crate) fn after(self, ms: u64) -> Now {
        Now(self.0.saturating_add(ms))
    }
}

/// The most pipes a socket can have (the uapi's SP_PIPES_MAX).
const PIPES_MAX: u32 = crate::uapi::SP_PIPES_MAX;

/// What a pipe says after a message was appended to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It takes another one.
    More,
    /// It is full; it will be reported writable again.
    Full,
}

/// What a pattern can do with a pipe.
pub(crate) trait Handle {
    /// Who calls on the socket that the pipe belongs to.
    type Caller: Caller;

    /// Appends a message to what the pipe has to send. Never fails: a pipe that is dying drops it, and
    /// the pattern is told of the close.
    fn push(&self, msg: Msg) -> Room;
}

/// Which pipes have been given something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    Nothing,
    One(PipeId),
    All,
}

/// Which sleeping receivers to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Nobody,
    One,
    All,
}

/// What is to be done when the socket's lock is released.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) flush: Flush,
    pub(crate) readers: Wake,
}

impl Effects {
    pub(crate) const NONE: Effects = Effects {
        flush: Flush::Nothing,
        readers: Wake::Nobody,
    };

    fn flush(flush: Flush) -> Effects {
        Effects {
            flush,
            ..Effects::NONE
        }
    }

    fn wake(readers: Wake) -> Effects {
        Effects {
            readers,
            ..Effects::NONE
        }
    }
}

/// How many pipes that have lost their peer, and are held back with what it has sent, may be added to a full
/// socket: as many as listen(2) lets wait by default.
const LOST_MAX: u32 = 128;

/// What became of a message that arrived.
#[must_use]
pub(crate) enum Received {
    /// It waits for the program; wake as told.
    Kept(Wake),
    /// It is not for the program. It comes back to be dropped outside the lock.
    Discarded(Msg),
    /// The peer must not send this: close its pipe.
    Fatal(Msg),
    /// It is longer than the program takes: close its pipe.
    TooLong(Msg),
}

/// A refused send hands the message back.
pub(crate) struct Refused {
    pub(crate) why: Refusal,
    pub(crate) msg: Msg,
}

/// What a blocked receive waits for, so that it notices when that is gone.
#[derive(Default)]
pub(crate) struct Ticket(Option<RequestId>);

/// A look at the next message, which stays where it is.
pub(crate) struct Peeked {
    pub(crate) bytes: Arc<Bytes>,
    pub(crate) skip: usize,
    pub(crate) from: Address,
}

/// Who comes first for sending and for receiving.
#[derive(Clone, Copy)]
pub(crate) struct Priorities {
    pub(crate) send: Priority,
    pub(crate) receive: Priority,
}

struct Peer<H> {
    /// `None` once the pipe is closed.
    handle: Option<H>,
    up: bool,
    /// It is gone, and the pipe still has what it has sent.
    lost: bool,
    priorities: Priorities,
    queue: Queue,
    share: Share,
    /// How many messages were not given to its pipe, because that was full.
    dropped: u64,
    /// Tells it from others that had its place before.
    serial: u64,
    /// What was queued by [`Peers::enqueue_new`].
    recent: Recent,
}

/// A pipe as long as it is up, whoever has its place then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pipe: PipeId,
    serial: u64,
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
    readable: Ranks,
    intake: Intake,
    /// Those that have sent more than is received any more.
    leaving: Rota,
    up: u32,
    lost: u32,
    bytes: usize,
    hands: Hands<H::Caller>,
}

impl<H: Handle> Peers<H> {
    pub(crate) const fn new() -> Self {
        Peers {
            slab: Slab::new(PIPES_MAX),
            piped: Rota::new(),
            ups: Rota::new(),
            writable: Ranks::new(),
            readable: Ranks::new(),
            intake: Intake::new(),
            leaving: Rota::new(),
            up: 0,
            lost: 0,
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
            lost: false,
            priorities,
            queue: Queue::new(),
            share: Share::new(),
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
    fn origin(&self, id: PipeId) -> Option<Origin> {
        let peer = self.slab.get(id.0).filter(|peer| peer.up)?;
        let serial = peer.serial;
        Some(Origin { pipe: id, serial })
    }

    /// The peer of that name, if it is still up.
    fn find(&self, origin: Origin) -> Option<PipeId> {
        let now = self.origin(origin.pipe)?;
        (now == origin).then_some(origin.pipe)
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
    #[cfg(SP_KUNIT)]
    pub(crate) fn charge(&self) -> usize {
        self.intake.held()
    }

    /// What the program would see of one queue, in bytes.
    pub(crate) fn queued(&self, id: PipeId) -> usize {
        self.slab.get(id.0).map_or(0, |peer| peer.queue.bytes())
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
    pub(crate) fn lose(&mut self, id: PipeId) -> bool {
        if !self.is_up(id) {
            return false;
        }
        self.down(id);
        if let Some(peer) = self.slab.get_mut(id.0) {
            peer.lost = true;
            self.lost = self.lost.saturating_add(1);
        }
        true
    }

    pub(crate) fn is_lost(&self, id: PipeId) -> bool {
        self.slab.get(id.0).is_some_and(|peer| peer.lost)
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
        self.lost > LOST_MAX && self.intake.is_loaded()
    }

    /// Forgets the pipe; its received messages stay readable.
    pub(crate) fn closed(&mut self, id: PipeId) -> Option<H> {
        self.down(id);
        self.abandon(id);
        let peer = self.slab.get_mut(id.0)?;
        if core::mem::replace(&mut peer.lost, false) {
            self.lost = self.lost.saturating_sub(1);
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
        match goes {
            true => peer.handle.as_ref(),
            false => None,
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

    /// Appends to the pipe's queue, and notes when it is full.
    fn push(&mut self, id: PipeId, msg: Msg) {
        if self.handle(id).map(|pipe| pipe.push(msg)) == Some(Room::Full) {
            self.writable.remove(id.0);
        }
    }

    /// The pipe whose turn it is to be given a message.
    fn next_writable(&mut self) -> Option<PipeId> {
        self.writable.serve().map(PipeId)
    }

    fn enqueue(&mut self, id: PipeId, mut msg: Msg) {
        match self.slab.get_mut(id.0) {
            Some(peer) => {
                self.intake.queued(&mut peer.share, &mut msg);
                self.bytes = self.bytes.saturating_add(msg.user_len());
                peer.queue.push(msg);
                self.readable.insert(id.0, peer.priorities.receive);
            }
            None => self.intake.release(&mut msg),
        }
    }

    /// Queues a request, unless one that is among the last of this peer's that wait has the same digest.
    /// Then the request comes back.
    fn enqueue_new(&mut self, id: PipeId, msg: Msg, digest: u64) -> Result<(), Msg> {
        if let Some(peer) = self.slab.get_mut(id.0) {
            if peer.recent.has(digest, peer.queue.len()) {
                return Err(msg);
            }
            peer.recent.add(digest);
        }
        self.enqueue(id, msg);
        Ok(())
    }

    /// Takes out the requests of a peer that have these tags, if there is one among the last that wait; if
    /// no more than those wait, for all of them are looked at; and if nobody has been shown one of this
    /// peer, who may count on finding it.
    fn retract(&mut self, id: PipeId, tags: &Tags, digest: u64) -> Queue {
        match self.slab.get_mut(id.0) {
            Some(peer)
                if peer.queue.len() <= RECENT
                    && peer.recent.has(digest, peer.queue.len())
                    && !self.readable.prefers(id.0) =>
            {
                peer.recent.remove(digest);
            }
            Some(_) | None => return Queue::new(),
        }
        let others = |msg: &Message| msg.tags.as_bytes() != tags.as_bytes();
        let purged = self.purge_from(id.0, others);
        purged.map_or(Queue::new(), |(gone, _)| gone)
    }

    /// Takes the message whose turn it is, and tells whose it was and whether that peer is still up.
    fn dequeue(&mut self) -> Option<(PipeId, Msg, bool)> {
        let id = self.readable.serve()?;
        let peer = self.slab.get_mut(id)?;
        let mut msg = peer.queue.pop()?;
        let (alive, gone) = (peer.up, peer.handle.is_none());
        let rank = peer.priorities.receive;
        self.intake.taken(id, rank, &mut peer.share, &mut msg);
        self.bytes = self.bytes.saturating_sub(msg.user_len());
        if peer.queue.is_empty() {
            self.readable.remove(id);
            if gone {
                self.slab.remove(id);
            }
        }
        Some((PipeId(id), msg, alive))
    }

    /// Takes any received message out, to drop it; for a socket that nobody reads any more.
    pub(crate) fn discard(&mut self) -> Option<Msg> {
        self.dequeue().map(|(_, msg, _)| msg)
    }

    /// The message that `dequeue` is going to return, also if others arrive before.
    fn front(&mut self) -> Option<&mut Message> {
        let id = self.readable.prefer()?;
        self.slab.get_mut(id)?.queue.front()
    }

    /// Takes out the queued messages that `keep` refuses, one peer's at a time from `from` on, and
    /// returns them with the id to go on from.
    fn purge_from(
        &mut self,
        from: u32,
        keep: impl FnMut(&Message) -> bool,
    ) -> Option<(Queue, u32)> {
        let id = self.slab.next_from(from)?;
        let peer = self.slab.get_mut(id)?;
        let mut purged = peer.queue.purge(keep);
        self.bytes = self.bytes.saturating_sub(purged.bytes());
        let rank = peer.priorities.receive;
        let mut gone = Queue::new();
        while let Some(mut msg) = purged.pop() {
            self.intake.taken(id, rank, &mut peer.share, &mut msg);
            gone.push(msg);
        }
        if peer.queue.is_empty() && !gone.is_empty() {
            self.readable.remove(id);
            // Its pipe is closed: a place that is only reserved has had no messages.
            if peer.handle.is_none() {
                self.slab.remove(id);
            }
        }
        Some((gone, id.saturating_add(1)))
    }
}

/// What a machine works on beside its own state.
pub(crate) struct World<'a, H: Handle> {
    pub(crate) peers: &'a mut Peers<H>,
    pub(crate) stats: &'a mut Counters,
    /// What is to be dropped when the lock is released: a long message takes its time.
    pub(crate) trash: &'a mut Queue,
    pub(crate) now: Now,
    /// Who calls; `None` in an event that is no call.
    pub(crate) caller: Option<&'a H::Caller>,
}

impl<H: Handle> World<'_, H> {
    /// Counts a message that is not given to a peer which is up, because its pipe is full.
    fn drop_for(&mut self, to: PipeId) {
        count(&mut self.stats.tx_dropped);
        if let Some(peer) = self.peers.slab.get_mut(to.0) {
            count(&mut peer.dropped);
        }
    }
}

/// One role of one pattern. Every method is called with the socket's lock held.
pub(crate) trait Pattern {
    /// Sends a message, or hands it back.
    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, msg: Msg) -> Result<Effects, Refused>;

    /// Goes on with a send that has not reached everybody yet; false once it has, and always where a
    /// message goes to one peer. No other send is to come between.
    fn go_on<H: Handle>(&mut self, _w: &mut World<'_, H>) -> bool {
        false
    }

    /// Takes the next message. `ticket` is the same for all tries of one blocked call.
    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        ticket: &mut Ticket,
    ) -> Result<Msg, Refusal>;

    /// Whether the caller may receive at all.
    fn admits<H: Handle>(&self, _w: &World<'_, H>) -> bool {
        true
    }

    /// The message that `recv` would take; it stays the next one.
    fn front<'a, H: Handle>(
        &'a mut self,
        peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal>;

    /// A look at the message that `recv` would take.
    fn peek<H: Handle>(&mut self, w: &mut World<'_, H>) -> Result<Peeked, Refusal> {
        if !self.admits(w) {
            return Err(Refusal::State);
        }
        let msg = self.front(w.peers)?;
        Ok(Peeked {
            bytes: msg.share(NO_SLEEP).map_err(|_| Refusal::NoMemory)?,
            skip: msg.skipped(),
            from: msg.from,
        })
    }

    /// How long the message is that `recv` would take, in bytes.
    fn next_len<H: Handle>(&mut self, w: &mut World<'_, H>) -> Option<usize> {
        let admitted = self.admits(w);
        let msg = self.front(w.peers).ok().filter(|_| admitted)?;
        Some(msg.user_len())
    }

    /// Whether `send` would do anything else than refuse with `Again`, `State` or `Direction`.
    fn can_send<H: Handle>(&self, peers: &Peers<H>, caller: &H::Caller) -> bool;

    /// Whether `recv` would do anything else than refuse with `Again`, `State` or `Direction`.
    fn can_recv<H: Handle>(&self, peers: &Peers<H>, caller: &H::Caller) -> bool;

    /// A message arrived on a pipe that is up.
    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, from: PipeId, msg: Msg) -> Received;

    /// A message that is longer than the program takes arrived on a pipe that is up, and begins with `tag`.
    /// The pipe is closed next.
    fn too_long<H: Handle>(&mut self, _w: &mut World<'_, H>, _tag: [u8; TAG]) -> Effects {
        Effects::NONE
    }

    /// A pipe is up, or has room again.
    fn writable<H: Handle>(&mut self, _w: &mut World<'_, H>) -> Effects {
        Effects::NONE
    }

    /// Whether the program has a request in hand that came through this pipe, which is up.
    fn in_hand<H: Handle>(&self, _peers: &Peers<H>, _id: PipeId) -> bool {
        false
    }

    /// A pipe is gone, or closing; it is not up any more.
    fn closed<H: Handle>(&mut self, _w: &mut World<'_, H>, _id: PipeId) -> Effects {
        Effects::NONE
    }

    /// The time that `deadline` told has come (or not: a call too early does nothing).
    fn expired<H: Handle>(&mut self, _w: &mut World<'_, H>) -> Effects {
        Effects::NONE
    }

    /// The earliest time at which calling `expired` can matter.
    fn deadline(&self) -> Option<Now> {
        None
    }
}

/// The machine of a socket.
pub(crate) enum Machine {
    Req(req::Req),
    Rep(rep::Rep),
    Pub(pubsub::Pub),
    Sub(pubsub::Sub),
}

/// Calls a method of whichever machine it is.
macro_rules! each {
    ($self:ident, $machine:ident => $call:expr) => {
        match $self {
            Machine::Req($machine) => $call,
            Machine::Rep($machine) => $call,
            Machine::Pub($machine) => $call,
            Machine::Sub($machine) => $call,
        }
    };
}

impl Pattern for Machine {
    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, msg: Msg) -> Result<Effects, Refused> {
        each!(self, m => m.send(w, msg))
    }

    fn go_on<H: Handle>(&mut self, w: &mut World<'_, H>) -> bool {
        each!(self, m => m.go_on(w))
    }

    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        ticket: &mut Ticket,
    ) -> Result<Msg, Refusal> {
        each!(self, m => m.recv(w, ticket))
    }

    fn admits<H: Handle>(&self, w: &World<'_, H>) -> bool {
        each!(self, m => m.admits(w))
    }

    fn front<'a, H: Handle>(
        &'a mut self,
        peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal> {
        each!(self, m => m.front(peers))
    }

    fn can_send<H: Handle>(&self, peers: &Peers<H>, caller: &H::Caller) -> bool {
        each!(self, m => m.can_send(peers, caller))
    }

    fn can_recv<H: Handle>(&self, peers: &Peers<H>, caller: &H::Caller) -> bool {
        each!(self, m => m.can_recv(peers, caller))
    }

    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, from: PipeId, msg: Msg) -> Received {
        each!(self, m => m.received(w, from, msg))
    }

    fn too_long<H: Handle>(&mut self, w: &mut World<'_, H>, tag: [u8; TAG]) -> Effects {
        each!(self, m => m.too_long(w, tag))
    }

    fn writable<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        each!(self, m => m.writable(w))
    }

    fn in_hand<H: Handle>(&self, peers: &Peers<H>, id: PipeId) -> bool {
        each!(self, m => m.in_hand(peers, id))
    }

    fn closed<H: Handle>(&mut self, w: &mut World<'_, H>, id: PipeId) -> Effects {
        each!(self, m => m.closed(w, id))
    }

    fn expired<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        each!(self, m => m.expired(w))
    }

    fn deadline(&self) -> Option<Now> {
        each!(self, m => m.deadline())
    }
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_peers)]
mod tests {
    use super::bench::{
        is_sound,
        message,
        Bench,
        Fault, //
    };
    use super::pubsub::Sub;
    use super::*;

    /// A bench for its peers; the machine has no part in these tests.
    fn bench() -> Result<Bench<Sub>, Fault> {
        Bench::new(Sub::new())
    }

    /// The body of the message whose turn it is.
    fn take<H: Handle>(peers: &mut Peers<H>) -> Option<u8> {
        let (_, msg, _) = peers.dequeue()?;
        msg.bytes().head().first().copied()
    }

    /// The body of the message that is to be next.
    fn front<H: Handle>(peers: &mut Peers<H>) -> Option<u8> {
        peers.front()?.bytes().head().first().copied()
    }

    /// Takes out of all queues what `keep` refuses, and counts it.
    fn purge<H: Handle>(peers: &mut Peers<H>, keep: impl Fn(u8) -> bool) -> usize {
        let (mut from, mut count) = (0, 0);
        while let Some((mut gone, next)) = peers.purge_from(from, |msg| {
            msg.bytes().head().first().is_some_and(|byte| keep(*byte))
        }) {
            while gone.pop().is_some() {
                count += 1;
            }
            from = next;
        }
        count
    }

    #[test]
    fn reserved_given_back_frees_its_id() -> Result<(), Fault> {
        let mut bench = bench()?;
        let first = bench.reserve()?;
        let second = bench.reserve()?;
        assert!(first != second);
        assert!(is_sound(&bench.peers, 2));
        assert!(bench.peers.handle(first).is_none());
        assert!(bench.peers.handle_from(0).is_none());
        bench.peers.unreserve(first);
        assert!(is_sound(&bench.peers, 1));
        assert_eq!(bench.reserve()?, first);
        Ok(())
    }

    #[test]
    fn reserved_purged_keeps_its_place() -> Result<(), Fault> {
        // The socket's lock is released while the pipe is made.
        let mut bench = bench()?;
        let id = bench.reserve()?;
        assert_eq!(purge(&mut bench.peers, |_| false), 0);
        assert!(is_sound(&bench.peers, 1));
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
        assert!(is_sound(&bench.peers, 0));
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
        assert!(is_sound(&bench.peers, 0));
        Ok(())
    }

    #[test]
    fn closed_with_nothing_left_gives_its_id_back() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        assert!(bench.peers.closed(pipe).is_some());
        assert!(bench.peers.closed(pipe).is_none());
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
        assert!(is_sound(&bench.peers, 0));
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
        assert!(is_sound(&bench.peers, 0));
        assert_eq!(purge(&mut bench.peers, |_| false), 2);
        assert!(is_sound(&bench.peers, 0));
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
        assert!(is_sound(&bench.peers, 0));
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
        assert!(!bench.peers.some_leave() && is_sound(&bench.peers, 0));
        Ok(())
    }

    #[test]
    fn messages_waiting_count_whole_and_without_their_tags() -> Result<(), Fault> {
        use crate::message::OVERHEAD;
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        bench.peers.enqueue(pipe, message(b"", b"12345")?);
        let mut tagged = message(b"tags", b"123")?;
        tagged.skip_tags(4);
        bench.peers.enqueue(pipe, tagged);
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
        bench.peers.closed(first[0]);
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
            assert!(is_sound(&bench.peers, 0));
        }
        while bench.peers.discard().is_some() {}
        assert!(is_sound(&bench.peers, 0));
        assert_eq!((bench.peers.charge(), bench.peers.bytes()), (0, 0));
        Ok(())
    }
}
