// SPDX-License-Identifier: GPL-2.0

//! Takes a byte stream apart: one greeting, then frames.
//!
//! ```text
//!  0                   8
//! +---------------------+---------------------+------ - - -
//! | greeting            | length L, 64 bit BE | L bytes: tags and body
//! +---------------------+---------------------+------ - - -
//! ```
//!
//! The decoder is fed whatever has arrived, in any split, and keeps what it needs between two feeds: at
//! most eight bytes of a header, or a message under way. It stops for three reasons that are no fault of
//! the peer's (no more bytes, no admission, no memory) and for those that are. A length is only a claim:
//! it is compared with the limit at once, and memory is taken as bytes arrive.

use super::header::{
    self,
    Progress, //
};
use crate::mem::{
    Flags,
    NoMemory, //
};
use crate::message::{
    AppendError,
    Bytes,
    Message,
    Msg,
    Source, //
};

/// Bytes that have arrived.
pub(crate) trait Input: Source {
    /// How many are left.
    fn remaining(&self) -> usize;

    /// Takes bytes from the front until `to` is full or none are left, and returns how many.
    fn read(&mut self, to: &mut [u8]) -> usize;
}

/// What the decoder reports, and asks, while it works.
pub(crate) trait Sink {
    /// The peer's greeting is good. Frames may be decoded now, or not yet.
    fn greeted(&mut self) -> bool;

    /// The longest message that is accepted now, tags included, in bytes.
    fn limit(&mut self) -> u64;

    /// Whether there is room to begin another message. If not, the decoder asks again when it is fed
    /// the next time.
    fn admit(&mut self) -> bool;

    /// Some more bytes of an unfinished message are held.
    fn grown(&mut self, bytes: usize);

    /// A whole message of `bytes` bytes, of which nothing is held as unfinished any more. Returns false
    /// if the peer must not send this.
    fn message(&mut self, msg: Msg) -> bool;
}

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Not a greeting, or not of a peer for this role.
    Greeting,
    /// Longer than the limit.
    Oversize,
    /// A message that this peer must not send.
    Message,
}

/// Why decoding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Everything was taken.
    Hungry,
    /// Frames are not to be decoded yet, or there is no room for another message.
    Held,
    /// Out of memory; to be tried again.
    NoMemory,
    /// The connection is of no more use.
    Violated(Violation),
}

enum State {
    Greeting {
        bytes: [u8; 8],
        have: usize,
    },
    /// Greeted; the sink has not agreed to frames yet.
    Ready,
    Length {
        bytes: [u8; 8],
        have: usize,
    },
    /// A length was read; the sink has not admitted the message yet.
    Waiting {
        len: usize,
    },
    Body {
        len: usize,
        msg: Option<Msg>,
    },
    Violated(Violation),
}

/// The state of one connection's receive side.
pub(crate) struct Decoder {
    state: State,
    /// The endpoint type that the peer must have.
    peer: u16,
}

impl Decoder {
    pub(crate) const fn new(peer: u16) -> Self {
        Decoder {
            state: State::Greeting {
                bytes: [0; 8],
                have: 0,
            },
            peer,
        }
    }

    /// The length of the message that is under way, with how much of it has arrived, in bytes. `None`
    /// between two messages and before the first byte of one.
    pub(crate) fn partial(&self) -> Option<(usize, usize)> {
        match &self.state {
            State::Body {
                len,
                msg: Some(msg),
            } => Some((*len, msg.bytes().len())),
            _ => None,
        }
    }

    /// Drops a message under way, and tells how many bytes of it were held.
    pub(crate) fn abandon(&mut self) -> (usize, Option<Msg>) {
        let held = self.partial().map_or(0, |(_, have)| have);
        match &mut self.state {
            State::Body { msg, .. } => (held, msg.take()),
            _ => (held, None),
        }
    }

    /// Decodes until something stops it.
    pub(crate) fn feed(
        &mut self,
        input: &mut impl Input,
        sink: &mut impl Sink,
        flags: Flags,
    ) -> Stop {
        loop {
            match self.step(input, sink, flags) {
                Ok(()) => {}
                Err(stop) => {
                    if let Stop::Violated(violation) = stop {
                        self.state = State::Violated(violation);
                    }
                    return stop;
                }
            }
        }
    }

    fn step(
        &mut self,
        input: &mut impl Input,
        sink: &mut impl Sink,
        flags: Flags,
    ) -> Result<(), Stop> {
        match &mut self.state {
            State::Greeting { bytes, have } => {
                fill(bytes, have, input);
                let seen = bytes.get(..*have).unwrap_or(bytes);
                match header::check_prefix(seen, self.peer) {
                    Ok(Progress::Complete) => {}
                    Ok(Progress::More) => return Err(Stop::Hungry),
                    Err(_) => return Err(Stop::Violated(Violation::Greeting)),
                }
                self.state = match sink.greeted() {
                    true => Self::next_frame(),
                    false => State::Ready,
                };
            }
            State::Ready => match sink.greeted() {
                true => self.state = Self::next_frame(),
                false => return Err(Stop::Held),
            },
            State::Length { bytes, have } => {
                fill(bytes, have, input);
                if *have < bytes.len() {
                    return Err(Stop::Hungry);
                }
                let len = header::frame_len(*bytes)
                    .ok()
                    .filter(|len| *len <= sink.limit())
                    .and_then(|len| usize::try_from(len).ok())
                    .ok_or(Stop::Violated(Violation::Oversize))?;
                self.state = State::Waiting { len };
            }
            State::Waiting { len } => {
                if !sink.admit() {
                    return Err(Stop::Held);
                }
                self.state = State::Body {
                    len: *len,
                    msg: None,
                };
            }
            State::Body { len, msg } => {
                let whole = Self::body(*len, msg, input, sink, flags)?;
                self.state = Self::next_frame();
                if !sink.message(whole) {
                    return Err(Stop::Violated(Violation::Message));
                }
            }
            State::Violated(violation) => return Err(Stop::Violated(*violation)),
        }
        Ok(())
    }

    /// Adds what has arrived to the message under way, and returns it when it is whole.
    fn body(
        len: usize,
        slot: &mut Option<Msg>,
        input: &mut impl Input,
        sink: &mut impl Sink,
        flags: Flags,
    ) -> Result<Msg, Stop> {
        if slot.is_none() {
            if len > 0 && input.remaining() == 0 {
                return Err(Stop::Hungry);
            }
            *slot = Some(Message::new(Bytes::new(), flags).map_err(|NoMemory| Stop::NoMemory)?);
        }
        let bytes = slot.as_mut().and_then(|msg| msg.bytes_mut());
        let bytes = bytes.ok_or(Stop::NoMemory)?;
        while bytes.len() < len {
            match bytes.append(input, input.remaining(), len, flags) {
                Ok(0) => return Err(Stop::Hungry),
                Ok(n) => sink.grown(n),
                Err(AppendError::NoMemory | AppendError::Fault) => return Err(Stop::NoMemory),
            }
        }
        slot.take().ok_or(Stop::NoMemory)
    }

    const fn next_frame() -> State {
        State::Length {
            bytes: [0; 8],
            have: 0,
        }
    }
}

/// Goes on filling a header of which `have` bytes are there.
fn fill(bytes: &mut [u8; 8], have: &mut usize, input: &mut impl Input) {
    let rest = bytes.get_mut(*have..).unwrap_or(&mut []);
    *have = have.saturating_add(input.read(rest));
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_frame)]
mod tests {
    use super::super::header::REQ;
    use super::*;
    use crate::mem::KVec;
    use kernel::prelude::*;

    /// A slice that arrives.
    struct Slice<'a>(&'a [u8]);

    impl Source for Slice<'_> {
        fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
            let (now, later) = self.0.split_at_checked(n).ok_or(AppendError::Fault)?;
            to.extend_from_slice(now, GFP_KERNEL)
                .map_err(|_| AppendError::NoMemory)?;
            self.0 = later;
            Ok(())
        }
    }

    impl Input for Slice<'_> {
        fn remaining(&self) -> usize {
            self.0.len()
        }

        fn read(&mut self, to: &mut [u8]) -> usize {
            let n = to.len().min(self.0.len());
            let (now, later) = self.0.split_at(n);
            to.split_at_mut(n).0.copy_from_slice(now);
            self.0 = later;
            n
        }
    }

    /// Keeps what comes out: bodies one after the other, each behind its length.
    struct Log {
        seen: KVec<u8>,
        messages: usize,
        held: usize,
        limit: u64,
        room: bool,
        ready: bool,
        welcome: bool,
    }

    impl Log {
        fn new(limit: u64) -> Self {
            Log {
                // At once what most tests need: the debug kernel is slow to allocate.
                seen: KVec::with_capacity(16, GFP_KERNEL).unwrap_or_default(),
                messages: 0,
                held: 0,
                limit,
                room: true,
                ready: true,
                welcome: true,
            }
        }
    }

    impl Sink for Log {
        fn greeted(&mut self) -> bool {
            self.ready
        }

        fn limit(&mut self) -> u64 {
            self.limit
        }

        fn admit(&mut self) -> bool {
            self.room
        }

        fn grown(&mut self, bytes: usize) {
            self.held += bytes;
        }

        fn message(&mut self, msg: Msg) -> bool {
            self.held -= msg.bytes().len();
            self.messages += 1;
            let _ = self.seen.push(msg.bytes().len() as u8, GFP_KERNEL);
            for chunk in msg.bytes().chunks_from(0) {
                let _ = self.seen.extend_from_slice(chunk, GFP_KERNEL);
            }
            self.welcome
        }
    }

    const STREAM: &[u8] = b"\0SP\0\0\x30\0\0\
        \0\0\0\0\0\0\0\x03abc\
        \0\0\0\0\0\0\0\0\
        \0\0\0\0\0\0\0\x01z";
    const SEEN: &[u8] = b"\x03abc\0\x01z";

    #[test]
    fn any_split_decodes_the_same() {
        for first in 0..=STREAM.len() {
            // Between the cuts: a byte, a body, a header.
            for middle in [1, 3, 8] {
                let second = STREAM.len().min(first + middle);
                let mut decoder = Decoder::new(REQ);
                let mut log = Log::new(3);
                let cuts = [0, first, second, STREAM.len()];
                for pair in cuts.windows(2) {
                    let mut input = Slice(&STREAM[pair[0]..pair[1]]);
                    let stop = decoder.feed(&mut input, &mut log, GFP_KERNEL);
                    assert_eq!(stop, Stop::Hungry);
                    assert_eq!(input.remaining(), 0);
                }
                assert_eq!(log.seen.as_slice(), SEEN);
                assert_eq!(log.held, 0);
            }
        }
    }

    #[test]
    fn one_byte_at_a_time_decodes_the_same() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        for byte in STREAM {
            let one = [*byte];
            let stop = decoder.feed(&mut Slice(&one), &mut log, GFP_KERNEL);
            assert_eq!(stop, Stop::Hungry);
        }
        assert_eq!(log.seen.as_slice(), SEEN);
    }

    #[test]
    fn length_above_limit_violates_before_body() {
        for (len, limit, fine) in [
            (8_u64, 8, true),
            (9, 8, false),
            (1, 0, false),
            (0, 0, true),
            (1 << 63, u64::MAX, false),
            (u64::MAX, u64::MAX, false),
        ] {
            let mut decoder = Decoder::new(REQ);
            let mut log = Log::new(limit);
            decoder.feed(&mut Slice(&STREAM[..8]), &mut log, GFP_KERNEL);
            let stop = decoder.feed(&mut Slice(&len.to_be_bytes()), &mut log, GFP_KERNEL);
            let wanted = match fine {
                true => Stop::Hungry,
                false => Stop::Violated(Violation::Oversize),
            };
            assert_eq!(stop, wanted);
            assert!(decoder.partial().is_none());
        }
    }

    #[test]
    fn no_room_holds_until_admitted() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        log.room = false;
        let mut input = Slice(STREAM);
        assert_eq!(decoder.feed(&mut input, &mut log, GFP_KERNEL), Stop::Held);
        assert_eq!(input.remaining(), STREAM.len() - 16);
        assert_eq!(log.messages, 0);
        log.room = true;
        assert_eq!(decoder.feed(&mut input, &mut log, GFP_KERNEL), Stop::Hungry);
        assert_eq!(log.seen.as_slice(), SEEN);
    }

    #[test]
    fn not_ready_holds_after_greeting() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        log.ready = false;
        let mut input = Slice(STREAM);
        assert_eq!(decoder.feed(&mut input, &mut log, GFP_KERNEL), Stop::Held);
        assert_eq!(input.remaining(), STREAM.len() - 8);
        log.ready = true;
        assert_eq!(decoder.feed(&mut input, &mut log, GFP_KERNEL), Stop::Hungry);
        assert_eq!(log.messages, 3);
    }

    #[test]
    fn unwelcome_message_violates_for_good() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        log.welcome = false;
        let wanted = Stop::Violated(Violation::Message);
        assert_eq!(
            decoder.feed(&mut Slice(STREAM), &mut log, GFP_KERNEL),
            wanted
        );
        assert_eq!(
            decoder.feed(&mut Slice(STREAM), &mut log, GFP_KERNEL),
            wanted
        );
        assert_eq!(log.messages, 1);
    }

    #[test]
    fn half_a_message_is_partial_until_abandoned() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        decoder.feed(&mut Slice(&STREAM[..18]), &mut log, GFP_KERNEL);
        assert_eq!(decoder.partial(), Some((3, 2)));
        assert_eq!(log.held, 2);
        assert_eq!(decoder.abandon().0, 2);
    }
}
