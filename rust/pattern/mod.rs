// SPDX-License-Identifier: GPL-2.0

//! The patterns: what a message means, and which pipe is next.
//!
//! A pattern is arithmetic on values. It knows pipes by [`PipeId`], never blocks, reads no clock and
//! takes no lock: `rust/socket/` feeds it one event at a time under the socket's lock and then, with
//! the lock released, does what the returned [`Effects`] ask for. Only [`Handle::push`], which
//! appends to a pipe's queue, and questions about the caller leave a machine.
//!
//! Words: a *peer* is a pipe as the patterns see it, with the queue of messages received from it; it
//! outlives its pipe until that queue is drained. A peer is *up* between the greetings and its close,
//! and *writable* while its pipe holds less than SO_SNDBUF of unsent messages.

#[cfg(any(test, SP_KUNIT))]
pub(crate) mod bench;
mod hands;
pub(crate) mod intake;
pub(crate) mod peers;
mod pipeline;
pub(crate) mod pubsub;
mod recent;
pub(crate) mod rep;
pub(crate) mod req;
pub(crate) mod role;
mod rota;
mod slab;
pub(crate) mod trie;

use crate::address::Address;
use crate::bytes::{
    Slice,
    Source, //
};
use crate::caller::Caller;
use crate::error::Refusal;
use crate::ids::PipeId;
use crate::mem::{
    accounted,
    Arc,
    KVec,
    NoMemory,
    NO_SLEEP, //
};
use crate::message::queue::Queue;
use crate::message::run::Taken;
use crate::message::tags::{
    RequestId,
    Tags, //
};
use crate::message::{
    Bytes,
    Message,
    Msg, //
};
use crate::stats::{
    Counters,
    Reason, //
};
use crate::time::{
    Instant,
    Millis, //
};
use peers::Peers;
pub(crate) use trie::TrieError as TopicError;

/// How many peers are looked at, or given a message, before the socket's lock is released for others.
pub(crate) const STEP: usize = 64;

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

    /// Several messages that were collected to be given to pipes.
    type Many: Many;

    /// Appends a message to what the pipe has to send. Never fails: a pipe that is not up drops it, and the
    /// pattern is told by [`Pattern::gone`].
    fn push(&self, msg: Msg) -> Room;

    /// Makes room for a copy of a short body without tags behind what the pipe has to send; false if such a body
    /// is to be pushed instead.
    fn takes_copy(&self, len: usize) -> bool;

    /// Copies a short body of `len` bytes, behind these tags, behind what the pipe has to send; `None` if it is to be
    /// pushed instead, or cannot be read.
    fn copy(&self, tags: &[u8], len: usize, body: &mut impl Source) -> Option<Room>;

    /// Copies messages behind what the pipe has to send; `None` if it takes none of them so.
    fn take_all(&self, all: &Self::Many) -> Option<Room>;
}

/// Who is given messages that were collected, and how many of them it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pipe: u32,
    has: usize,
}

impl Place {
    /// Whether the pipe of this id has had its turn, or whoever had the id then.
    pub(crate) fn is_behind(&self, id: PipeId) -> bool {
        id.0 < self.pipe
    }
}

/// How far they were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    All(Effects),
    /// Enough for one step.
    Part,
    /// Memory is short.
    Short,
}

/// Messages that were collected.
pub(crate) trait Many {
    fn count(&self) -> usize;
    fn each(&self) -> impl Iterator<Item = &[u8]>;
}

/// Which pipes have been given something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    Nothing,
    One(PipeId),
    /// The pipes that are up from this id on, before the other one.
    Span(PipeId, PipeId),
}

/// Which sleeping receivers to wake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Nobody,
    One,
    /// One for each of so many messages.
    Some(u16),
    All,
}

impl Wake {
    /// One for each of so many messages.
    fn each(messages: usize) -> Wake {
        match messages {
            1 => Wake::One,
            _ => u16::try_from(messages).map_or(Wake::All, Wake::Some),
        }
    }
}

/// What is to be done when the socket's lock is released.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) flush: Flush,
    pub(crate) readers: Wake,
    /// Wake those who wait to send.
    pub(crate) writers: bool,
    /// Call [`Pattern::purge`]: what is queued may not be wanted any more.
    pub(crate) purge: bool,
    /// For want of memory some were not given a message.
    pub(crate) starved: bool,
}

impl Effects {
    pub(crate) const NONE: Effects = Effects {
        flush: Flush::Nothing,
        readers: Wake::Nobody,
        writers: false,
        purge: false,
        starved: false,
    };

    pub(crate) fn flush(flush: Flush) -> Effects {
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

    /// There is room to send, or something to send back.
    fn wake_writers() -> Effects {
        Effects {
            writers: true,
            ..Effects::NONE
        }
    }
}

/// What became of a message that arrived.
#[must_use]
pub(crate) enum Received {
    /// It waits for the program; wake as told.
    Kept(Wake),
    /// It is not for the program. It comes back to be dropped outside the lock.
    Discarded(Msg, Reason),
    /// The peer must not send this, or it cannot be kept: its pipe is to end.
    Fatal(Msg, Reason),
}

/// The options that machines have, as they are now.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// How long to wait for a reply before the request is sent again; `None` is for ever.
    pub(crate) resend: Option<Millis>,
}

/// A refused send hands the message back.
pub(crate) struct Refused {
    pub(crate) why: Refusal,
    pub(crate) msg: Msg,
}

/// What a blocked receive waits for, so that it notices when that is gone.
#[derive(Default)]
pub(crate) struct Ticket(Option<RequestId>);

/// What a machine works on beside its own state.
pub(crate) struct World<'a, H: Handle> {
    pub(crate) peers: &'a mut Peers<H>,
    pub(crate) stats: &'a mut Counters,
    /// What is to be dropped when the lock is released: a long message takes its time.
    pub(crate) trash: &'a mut Queue,
    pub(crate) now: Instant,
    /// Who calls; `None` in an event that is no call.
    pub(crate) caller: Option<&'a H::Caller>,
}

impl<H: Handle> World<'_, H> {
    /// Counts a message that is not given to a peer which is up, because its pipe is full.
    fn drop_for(&mut self, to: PipeId) {
        self.drop_many_for(to, 1);
    }

    /// The same for so many.
    fn drop_many_for(&mut self, to: PipeId, messages: usize) {
        self.stats.discarded_all(Reason::Full, messages);
        self.peers.dropped_many_for(to, messages);
    }

    /// Gives a short body to a peer that has room.
    ///
    /// # Errors
    ///
    /// [`NoMemory`]: nothing has happened.
    fn copy_or_push(&mut self, to: PipeId, body: &[u8]) -> Result<(), NoMemory> {
        if !self.peers.copy_to(to, body) {
            let flags = accounted(NO_SLEEP);
            let msg = Message::new(Bytes::of(body, flags)?, flags)?;
            self.peers.push(to, msg);
        }
        Ok(())
    }

    /// Gives a body to peers that are up, from one on and to so many; for who has no room it is dropped.
    /// Returns whom to go on with, if there are more, and whether memory was short.
    fn push_to_all(
        &mut self,
        body: &Arc<Bytes>,
        from: PipeId,
        most: usize,
    ) -> (Option<PipeId>, bool) {
        let (mut next, mut starved) = (from.0, false);
        for _ in 0..most {
            let Some((to, _)) = self.peers.up_from(next) else {
                return (None, starved);
            };
            next = to.next();
            if !self.peers.is_writable(to) {
                self.drop_for(to);
                continue;
            }
            match Message::sharing(body.clone(), Tags::new(), accounted(NO_SLEEP)) {
                Ok(copy) => self.peers.push(to, copy),
                Err(NoMemory) => {
                    starved = true;
                    self.drop_for(to);
                }
            }
        }
        (Some(PipeId(next)), starved)
    }
}

/// One role of one pattern. Every method is called with the socket's lock held. A role that says nothing
/// else receives from its peers in turn, and sends nothing.
pub(crate) trait Pattern {
    /// Whether the role receives at all. Where it does not, that is refused.
    const RECEIVES: bool = true;

    /// An option may have changed.
    fn settings<H: Handle>(&mut self, _w: &mut World<'_, H>, _settings: &Settings) -> Effects {
        Effects::NONE
    }

    /// Sends a message, or hands it back.
    fn send<H: Handle>(&mut self, _w: &mut World<'_, H>, msg: Msg) -> Result<Effects, Refused> {
        let why = Refusal::Direction;
        Err(Refused { why, msg })
    }

    /// Sends a short message that is still elsewhere; `None` if nobody was given it, and it is to be a message
    /// of its own, which `send` takes.
    fn send_short<H: Handle>(&mut self, w: &mut World<'_, H>, body: &[u8]) -> Option<Effects> {
        self.send_from(w, body.len(), &mut Slice::new(body))
    }

    /// The same where it is copied once, so that it is read where it is; `None` also if it cannot be read.
    fn send_from<H: Handle>(
        &mut self,
        _w: &mut World<'_, H>,
        _len: usize,
        _body: &mut impl Source,
    ) -> Option<Effects> {
        None
    }

    /// Whether short messages may be collected now, for [`Self::send_all`] to send them.
    fn collects<H: Handle>(&self, _w: &World<'_, H>) -> bool {
        false
    }

    /// Sends what was collected, from somewhere on, except to peers that are late; that has succeeded before. If that was
    /// not all, which it is if it is `forced`, it goes on from where `at` is then. Only called if [`Self::collects`] said
    /// so before.
    fn send_all<H: Handle>(
        &mut self,
        _w: &mut World<'_, H>,
        _all: &H::Many,
        _at: &mut Place,
        _forced: bool,
    ) -> Given {
        Given::All(Effects::NONE)
    }

    /// Goes on with a send that has not reached everybody yet; `None` once it has, and always where a
    /// message goes to one peer. No other send is to come between.
    fn go_on<H: Handle>(&mut self, _w: &mut World<'_, H>) -> Option<Effects> {
        None
    }

    /// Takes the next message. `ticket` is the same for all tries of one blocked call.
    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        _ticket: &mut Ticket,
    ) -> Result<(Taken, Effects), Refusal> {
        if !Self::RECEIVES {
            return Err(Refusal::Direction);
        }
        let (_, taken, _) = w.peers.dequeue().ok_or(Refusal::Again)?;
        Ok((taken, Effects::NONE))
    }

    /// Gives the next message to `give`, with who sent it, if that needs nothing else, and takes it if that has taken
    /// it. Tells how long it is; `None` if it is to be taken by [`Self::recv`].
    fn recv_now<H: Handle>(
        &mut self,
        _w: &mut World<'_, H>,
        _give: impl FnOnce(&[u8], &Address) -> bool,
    ) -> Option<usize> {
        None
    }

    /// Whether the caller may receive at all.
    fn admits<H: Handle>(&self, _w: &World<'_, H>) -> bool {
        true
    }

    /// The message that `recv` would take, or a run that it is the first of; it stays the next one.
    fn front<'a, H: Handle>(
        &'a mut self,
        peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal> {
        if !Self::RECEIVES {
            return Err(Refusal::Direction);
        }
        peers.front().ok_or(Refusal::Again)
    }

    /// A look at the message that `recv` would take.
    fn peek<H: Handle>(&mut self, w: &mut World<'_, H>) -> Result<Taken, Refusal> {
        if !self.admits(w) {
            return Err(Refusal::State);
        }
        let msg = self.front(w.peers)?;
        Taken::look(msg, NO_SLEEP).map_err(|NoMemory| Refusal::NoMemory)
    }

    /// How long the message is that `recv` would take, in bytes.
    fn next_len<H: Handle>(&mut self, w: &mut World<'_, H>) -> Option<usize> {
        let admitted = self.admits(w);
        let msg = self.front(w.peers).ok().filter(|_| admitted)?;
        Some(msg.first_len())
    }

    /// Whether `send` would do anything else than refuse with `Again`, `State` or `Direction`.
    fn can_send<H: Handle>(&self, _peers: &Peers<H>, _caller: &H::Caller) -> bool {
        false
    }

    /// Whether `recv` would do anything else than refuse with `Again`, `State` or `Direction`.
    fn can_recv<H: Handle>(&self, peers: &Peers<H>, _caller: &H::Caller) -> bool {
        peers.some_readable()
    }

    /// A message arrived on a pipe that is up, or a run of them, which have no tags.
    fn received<H: Handle>(&mut self, _w: &mut World<'_, H>, _from: PipeId, msg: Msg) -> Received {
        Received::Fatal(msg, Reason::Malformed)
    }

    /// A message that is longer than the program takes arrives on a pipe that is up, behind these tags. The
    /// pipe ends next.
    fn too_long<H: Handle>(&mut self, _w: &mut World<'_, H>, _tags: &Tags) -> Effects {
        Effects::NONE
    }

    /// A pipe is up. `None` if it is one too many: it ends then.
    fn opened<H: Handle>(&mut self, w: &mut World<'_, H>, _id: PipeId) -> Option<Effects> {
        Some(self.writable(w))
    }

    /// A pipe is up, or has room again.
    fn writable<H: Handle>(&mut self, _w: &mut World<'_, H>) -> Effects {
        Effects::wake_writers()
    }

    /// Whether the program has a request in hand that came through this pipe, which is up.
    fn in_hand<H: Handle>(&self, _peers: &Peers<H>, _id: PipeId) -> bool {
        false
    }

    /// A pipe is gone, or closing; it is not up any more.
    fn gone<H: Handle>(&mut self, _w: &mut World<'_, H>, _id: PipeId) -> Effects {
        Effects::NONE
    }

    /// The time that `deadline` told has come (or not: a call too early does nothing).
    fn expired<H: Handle>(&mut self, _w: &mut World<'_, H>) -> Effects {
        Effects::NONE
    }

    /// The earliest time at which calling `expired` can matter.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Adds a topic; each needs an [`Self::unsubscribe`] of its own. Only called where the role has the
    /// option, as the next one.
    ///
    /// # Errors
    ///
    /// Why the topics are as they were.
    fn subscribe(&mut self, _topic: KVec<u8>) -> Result<(), TopicError> {
        Err(TopicError::Absent)
    }

    /// Takes a topic back.
    ///
    /// # Errors
    ///
    /// [`TopicError::Absent`].
    fn unsubscribe(&mut self, _topic: &[u8]) -> Result<Effects, TopicError> {
        Err(TopicError::Absent)
    }

    /// Takes what is not wanted any more out of one peer's queue, the first at or after `from`. Returns it
    /// for the caller to drop, and where to go on.
    fn purge<H: Handle>(&self, _peers: &mut Peers<H>, _from: u32) -> Option<(Queue, u32)> {
        None
    }
}
