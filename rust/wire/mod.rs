// SPDX-License-Identifier: GPL-2.0

//! What is spoken on a connection: bytes in, messages out, and the other way round. Pure.

pub(crate) mod sp;

use crate::address::Address;
#[cfg(any(test, SP_KUNIT))]
use crate::bytes::Slice;
use crate::bytes::{
    AppendError,
    Input,
    Room,
    Source, //
};
use crate::mem::Flags;
use crate::message::tags::{
    Tagged,
    Tags, //
};
use crate::message::{
    Kept,
    Msg, //
};
use crate::stats::Reason;
use sp::{
    Decoder,
    Greeting, //
};

/// Who talks to whom.
#[derive(Clone, Copy)]
pub(crate) struct Types {
    /// The endpoint type in our greeting, and the one that the peer must have.
    pub(crate) own: u16,
    pub(crate) peer: u16,
    /// What is in front of the bodies that arrive.
    pub(crate) tagged: Tagged,
    /// The first bytes of these are looked at.
    pub(crate) filters: bool,
}

/// What is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The longest body, in bytes.
    pub(crate) body: usize,
    /// The most tags in front of one that has a stack of them.
    pub(crate) tags: usize,
}

/// What a session reports, and asks, while it reads.
pub(crate) trait Sink {
    /// Both greetings are good and said. Tells whether messages may come now.
    fn greeted(&mut self) -> bool;

    /// Whether a frame of so many bytes may be begun, which is `whole` there or in part. If not, it is asked
    /// again when there is more, or when the session is told to go on.
    fn admit(&mut self, len: usize, whole: bool) -> bool;

    /// Whether the frame that was admitted may hold so many bytes more.
    fn stretch(&mut self, bytes: usize) -> bool;

    /// A whole message, or a run of them. What is short enough was not `admitted` before.
    ///
    /// # Errors
    ///
    /// Why it is not taken.
    fn message(&mut self, msg: Msg, admitted: bool) -> Result<(), Unwelcome>;

    /// Who the peer is.
    fn from(&self) -> Address {
        Address::Unspec
    }

    /// A message that is too long arrives behind these tags. The connection is of no more use.
    fn too_long(&mut self, tags: &Tags);

    /// A message is thrown away, that was perhaps admitted.
    fn discarded(&mut self, why: Reason);
}

/// Why a message is not taken.
pub(crate) enum Unwelcome {
    /// There is no room: it is to be admitted first.
    NoRoom(Msg),
    /// The connection is of no more use.
    Violation(Violation),
}

/// What a peer did wrong, so that its connection is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) Reason);

/// How much may be done before others get their turn.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Everything was taken.
    Hungry,
    /// Messages are not to come yet, or there is no room for another one.
    Held,
    /// Out of memory; to be tried again.
    NoMemory,
    /// The budget is spent, and there is more.
    Spent,
    /// The connection is of no more use.
    Violated(Violation),
}

/// Both directions of one connection, but for the messages that go out: those are [`sp::Frame`]s.
pub(crate) struct Session {
    greeting: Greeting,
    decoder: Decoder,
}

impl Session {
    pub(crate) const fn new(types: Types) -> Self {
        Session {
            greeting: Greeting {
                endpoint_type: types.own,
            },
            decoder: Decoder::new(types.peer, types.tagged, types.filters),
        }
    }

    /// What this end has to say before anything else; `None` once it is said.
    pub(crate) fn to_say(&self) -> Option<impl AsRef<[u8]>> {
        (!self.decoder.ready).then(|| self.greeting.to_bytes())
    }

    /// It was said. The peer's greeting may wait for that: the session is to go on.
    pub(crate) fn said(&mut self) {
        self.decoder.ready = true;
    }

    /// Reads until something stops it.
    pub(crate) fn feed(
        &mut self,
        input: &mut impl Input<Kept = Kept>,
        sink: &mut impl Sink,
        limits: Limits,
        budget: &mut Budget,
        flags: Flags,
    ) -> Stop {
        self.decoder.feed(input, sink, limits, budget, flags)
    }

    /// The length of the frame that is under way, from the first byte of its header on; 0 as long as that
    /// is not whole, and if it is too long.
    pub(crate) fn begun(&self) -> Option<usize> {
        self.decoder.begun()
    }

    /// Whether a message is under way that would be missed.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.decoder.is_unfinished()
    }

    /// How many bytes are held of the message under way.
    pub(crate) fn have(&self) -> usize {
        self.decoder.have()
    }

    /// Reads no more, and returns the message under way for the caller to drop.
    pub(crate) fn abandon(&mut self) -> Option<Msg> {
        self.decoder.abandon()
    }
}

/// No bytes.
pub(crate) struct Empty;

impl Source for Empty {
    fn append(&mut self, _to: &mut impl Room, _n: usize) -> Result<(), AppendError> {
        Err(AppendError::Fault)
    }

    fn read_exact(&mut self, _to: &mut [u8]) -> Result<(), AppendError> {
        Err(AppendError::Fault)
    }
}

impl Input for Empty {
    type Kept = Kept;

    fn piece(&mut self, _n: usize, _last: Option<&Kept>) -> (usize, Option<usize>) {
        (0, None)
    }

    fn keep(&mut self, _n: usize, _pins: usize) -> Option<Kept> {
        None
    }

    fn remaining(&self) -> usize {
        0
    }

    fn available(&self) -> usize {
        0
    }

    fn cramped(&self, _missing: usize) -> bool {
        false
    }

    fn read(&mut self, _to: &mut [u8]) -> usize {
        0
    }

    fn skip(&mut self, _n: usize) -> usize {
        0
    }

    fn put_back(&mut self, _n: usize) {}
}

#[cfg(any(test, SP_KUNIT))]
impl Input for Slice<'_> {
    type Kept = Kept;

    fn piece(&mut self, n: usize, _last: Option<&Kept>) -> (usize, Option<usize>) {
        (n, self.pins)
    }

    fn keep(&mut self, n: usize, _pins: usize) -> Option<Kept> {
        let kept = Kept::of(self.rest().get(..n)?)?;
        self.at += n;
        Some(kept)
    }

    fn remaining(&self) -> usize {
        self.rest().len()
    }

    fn available(&self) -> usize {
        self.rest().len()
    }

    fn cramped(&self, missing: usize) -> bool {
        missing > self.room
    }

    fn read(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.remaining());
        to.split_at_mut(n)
            .0
            .copy_from_slice(self.rest().split_at(n).0);
        self.at += n;
        n
    }

    fn skip(&mut self, n: usize) -> usize {
        let n = n.min(self.remaining());
        self.at += n;
        n
    }

    fn put_back(&mut self, n: usize) {
        self.at -= n;
    }
}
