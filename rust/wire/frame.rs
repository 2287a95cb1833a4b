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
//! most eight bytes of a header, or a message under way. It stops for four reasons that are no fault of
//! the peer's (no more bytes, no admission, no memory, enough done) and for those that are. A length is
//! only a claim: it is compared with the limit at once, a short frame is left where it is until it is
//! whole, and memory is taken as bytes arrive. Of a frame that is too long only the tag is read, by those
//! who want to know what it answers.

use super::header::{
    self,
    Progress, //
};
use crate::bytes::{
    AppendError,
    Input, //
};
use crate::mem::{
    Flags,
    NoMemory, //
};
use crate::message::tags::TAG;
use crate::message::{
    Bytes,
    Message,
    Msg,
    SMALL, //
};

/// What the decoder reports, and asks, while it works.
pub(crate) trait Sink {
    /// The peer's greeting is good. Frames may be decoded now, or not yet.
    fn greeted(&mut self) -> bool;

    /// The longest frame that is accepted now, in bytes.
    fn limit(&mut self) -> u64;

    /// Whether [`Self::too_long`] is to be called with the first tag of a frame that is longer.
    fn wants_tag(&self) -> bool;

    /// A frame that is longer begins with these bytes. The connection is of no more use.
    fn too_long(&mut self, tag: [u8; TAG]);

    /// Whether a message of so many bytes may be begun, which is `whole` there or in part. If not, the
    /// decoder asks again when it is fed the next time.
    fn admit(&mut self, len: usize, whole: bool) -> bool;

    /// A whole message.
    ///
    /// # Errors
    ///
    /// What the peer did wrong by sending this.
    fn message(&mut self, msg: Msg) -> Result<(), Violation>;
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
    /// Urgent data, which the protocol does not have.
    Urgent,
}

/// How much may be done before others get their turn.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
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
    /// The budget is spent, and there is more.
    Spent,
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
    /// A length above the limit was read, and the sink wants the tag behind it.
    TooLong {
        tag: [u8; TAG],
        have: usize,
    },
    Violated(Violation),
    /// Nobody wants more.
    Abandoned,
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

    /// The length of the frame that is under way, from the first byte of its header on; 0 as long as that
    /// is not whole, and if it is too long.
    pub(crate) fn begun(&self) -> Option<usize> {
        match &self.state {
            State::Length { have: 1.., .. } | State::TooLong { .. } => Some(0),
            State::Waiting { len } | State::Body { len, .. } => Some(*len),
            State::Greeting { .. }
            | State::Ready
            | State::Length { .. }
            | State::Violated(_)
            | State::Abandoned => None,
        }
    }

    /// How many bytes are held of the message under way.
    pub(crate) fn have(&self) -> usize {
        match &self.state {
            State::Body { msg: Some(msg), .. } => msg.bytes().len(),
            _ => 0,
        }
    }

    /// Decodes no more, and returns the message under way for the caller to drop.
    pub(crate) fn abandon(&mut self) -> Option<Msg> {
        match core::mem::replace(&mut self.state, State::Abandoned) {
            State::Body { msg, .. } => msg,
            _ => None,
        }
    }

    /// Decodes until something stops it.
    pub(crate) fn feed(
        &mut self,
        input: &mut impl Input,
        sink: &mut impl Sink,
        budget: &mut Budget,
        flags: Flags,
    ) -> Stop {
        loop {
            match self.step(input, sink, budget, flags) {
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
        budget: &mut Budget,
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
            State::Length { have: 0, .. } if budget.frames == 0 && input.remaining() > 0 => {
                return Err(Stop::Spent);
            }
            State::Length { bytes, have } => {
                fill(bytes, have, input);
                if *have < bytes.len() {
                    return Err(Stop::Hungry);
                }
                let len = header::frame_len(*bytes)
                    .ok()
                    .filter(|len| *len <= sink.limit())
                    .and_then(|len| usize::try_from(len).ok());
                self.state = match len {
                    Some(len) => State::Waiting { len },
                    None => Self::too_long(sink)?,
                };
            }
            State::TooLong { tag, have } => {
                fill(tag, have, input);
                if *have < tag.len() {
                    return Err(Stop::Hungry);
                }
                sink.too_long(*tag);
                return Err(Stop::Violated(Violation::Oversize));
            }
            State::Waiting { len } => {
                let len = *len;
                // It may be another one since the length was read.
                if u64::try_from(len).map_or(true, |len| len > sink.limit()) {
                    self.state = Self::too_long(sink)?;
                    return Ok(());
                }
                let there = input.available();
                let missing = len.saturating_sub(there);
                let patient = len <= SMALL && !input.cramped(missing);
                if missing > 0 && (there == 0 || patient) {
                    return Err(Stop::Hungry);
                }
                if !sink.admit(len, missing == 0) {
                    return Err(Stop::Held);
                }
                self.state = State::Body { len, msg: None };
            }
            State::Body { len, msg } => {
                let whole = Self::body(*len, msg, input, budget, flags)?;
                self.state = Self::next_frame();
                budget.frames = budget.frames.saturating_sub(1);
                sink.message(whole).map_err(Stop::Violated)?;
            }
            State::Abandoned => return Err(Stop::Held),
            State::Violated(violation) => return Err(Stop::Violated(*violation)),
        }
        Ok(())
    }

    /// Adds what has arrived to the message under way, and returns it when it is whole.
    fn body(
        len: usize,
        slot: &mut Option<Msg>,
        input: &mut impl Input,
        budget: &mut Budget,
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
            let there = input.remaining();
            if there > 0 && budget.bytes == 0 {
                return Err(Stop::Spent);
            }
            match bytes.append(input, there.min(budget.bytes), len, flags) {
                Ok(0) => return Err(Stop::Hungry),
                Ok(n) => budget.bytes = budget.bytes.saturating_sub(n),
                Err(AppendError::NoMemory | AppendError::Fault) => return Err(Stop::NoMemory),
            }
        }
        slot.take().ok_or(Stop::NoMemory)
    }

    /// What to do about a frame that is longer than the limit.
    fn too_long(sink: &impl Sink) -> Result<State, Stop> {
        match sink.wants_tag() {
            true => Ok(State::TooLong {
                tag: [0; TAG],
                have: 0,
            }),
            false => Err(Stop::Violated(Violation::Oversize)),
        }
    }

    const fn next_frame() -> State {
        State::Length {
            bytes: [0; 8],
            have: 0,
        }
    }
}

/// Goes on filling what `have` bytes are there of.
fn fill(bytes: &mut [u8], have: &mut usize, input: &mut impl Input) {
    let rest = bytes.get_mut(*have..).unwrap_or(&mut []);
    *have = have.saturating_add(input.read(rest));
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_frame)]
mod tests {
    use super::super::header::REQ;
    use super::*;
    use crate::bytes::{Slice, Source};
    use crate::mem::KVec;
    use kernel::prelude::*;

    /// Keeps what comes out: bodies one after the other, each behind its length.
    struct Log {
        seen: KVec<u8>,
        messages: usize,
        /// What was admitted last.
        admitted: Option<(usize, bool)>,
        limit: u64,
        room: bool,
        ready: bool,
        welcome: bool,
        /// Whether the tag of a frame that is too long is wanted, and which one came.
        wants_tag: bool,
        tag: Option<[u8; TAG]>,
    }

    impl Log {
        fn new(limit: u64) -> Self {
            Log {
                // At once what most tests need: the debug kernel is slow to allocate.
                seen: KVec::with_capacity(16, GFP_KERNEL).unwrap_or_default(),
                messages: 0,
                admitted: None,
                limit,
                room: true,
                ready: true,
                welcome: true,
                wants_tag: false,
                tag: None,
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

        fn wants_tag(&self) -> bool {
            self.wants_tag
        }

        fn too_long(&mut self, tag: [u8; TAG]) {
            self.tag = Some(tag);
        }

        fn admit(&mut self, len: usize, whole: bool) -> bool {
            self.admitted = self.room.then_some((len, whole));
            self.room
        }

        fn message(&mut self, msg: Msg) -> Result<(), Violation> {
            self.messages += 1;
            let _ = self.seen.push(msg.bytes().len() as u8, GFP_KERNEL);
            for chunk in msg.bytes().chunks_from(0) {
                let _ = self.seen.extend_from_slice(chunk, GFP_KERNEL);
            }
            self.welcome.then_some(()).ok_or(Violation::Message)
        }
    }

    /// Decodes all there is.
    fn feed(decoder: &mut Decoder, input: &mut impl Input, log: &mut Log) -> Stop {
        let mut budget = Budget {
            frames: usize::MAX,
            bytes: usize::MAX,
        };
        decoder.feed(input, log, &mut budget, GFP_KERNEL)
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
                    let stop = feed(&mut decoder, &mut input, &mut log);
                    assert_eq!(stop, Stop::Hungry);
                    assert_eq!(input.remaining(), 0);
                }
                assert_eq!(log.seen.as_slice(), SEEN);
                assert_eq!(decoder.have(), 0);
            }
        }
    }

    #[test]
    fn one_byte_at_a_time_decodes_the_same() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        for byte in STREAM {
            let one = [*byte];
            let stop = feed(&mut decoder, &mut Slice(&one), &mut log);
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
            feed(&mut decoder, &mut Slice(&STREAM[..8]), &mut log);
            let stop = feed(&mut decoder, &mut Slice(&len.to_be_bytes()), &mut log);
            let wanted = match fine {
                true => Stop::Hungry,
                false => Stop::Violated(Violation::Oversize),
            };
            assert_eq!(stop, wanted);
            assert_eq!(decoder.have(), 0);
        }
    }

    #[test]
    fn length_above_limit_shows_the_tag_to_who_wants_it() {
        const TOO_LONG: &[u8] = b"\0SP\0\0\x30\0\0\
            \xff\0\0\0\0\0\0\x09\x80\0\0\x01rest";
        for cut in 0..=TOO_LONG.len() {
            let mut decoder = Decoder::new(REQ);
            let mut log = Log::new(8);
            log.wants_tag = true;
            let (now, later) = TOO_LONG.split_at(cut);
            let stop = feed(&mut decoder, &mut Slice(now), &mut log);
            assert!((stop == Stop::Hungry) == (cut < 20));
            assert_eq!(log.tag.is_some(), cut >= 20);
            assert_eq!(decoder.begun(), (9..20).contains(&cut).then_some(0));
            let stop = feed(&mut decoder, &mut Slice(later), &mut log);
            assert_eq!(stop, Stop::Violated(Violation::Oversize));
            assert_eq!(log.tag, Some([0x80, 0, 0, 1]));
            assert_eq!((decoder.begun(), log.messages), (None, 0));
        }
    }

    #[test]
    fn no_room_holds_until_admitted() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        log.room = false;
        let mut input = Slice(STREAM);
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Held);
        assert_eq!(input.remaining(), STREAM.len() - 16);
        assert_eq!(log.messages, 0);
        log.room = true;
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Hungry);
        assert_eq!(log.seen.as_slice(), SEEN);
    }

    #[test]
    fn not_ready_holds_after_greeting() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        log.ready = false;
        let mut input = Slice(STREAM);
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Held);
        assert_eq!(input.remaining(), STREAM.len() - 8);
        log.ready = true;
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Hungry);
        assert_eq!(log.messages, 3);
    }

    #[test]
    fn unwelcome_message_violates_for_good() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        log.welcome = false;
        let wanted = Stop::Violated(Violation::Message);
        assert_eq!(feed(&mut decoder, &mut Slice(STREAM), &mut log), wanted);
        assert_eq!(feed(&mut decoder, &mut Slice(STREAM), &mut log), wanted);
        assert_eq!(log.messages, 1);
    }

    #[test]
    fn half_a_message_is_begun_until_abandoned() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        assert_eq!(decoder.begun(), None);
        feed(&mut decoder, &mut Slice(&STREAM[..8]), &mut log);
        assert_eq!(decoder.begun(), None);
        feed(&mut decoder, &mut Slice(&STREAM[8..9]), &mut log);
        assert_eq!(decoder.begun(), Some(0));
        feed(&mut decoder, &mut Slice(&STREAM[9..16]), &mut log);
        assert_eq!((decoder.begun(), log.admitted), (Some(3), None));
        feed(&mut decoder, &mut Slice(&STREAM[16..18]), &mut log);
        assert_eq!(log.admitted, Some((3, false)));
        assert_eq!((decoder.begun(), decoder.have()), (Some(3), 2));
        assert!(decoder.abandon().is_some());
        assert_eq!((decoder.begun(), decoder.have()), (None, 0));
        let stop = feed(&mut decoder, &mut Slice(&STREAM[18..]), &mut log);
        assert_eq!((stop, log.messages), (Stop::Held, 0));
    }

    #[test]
    fn short_frame_is_left_until_whole_where_there_is_room() {
        /// Has room for what is missing.
        struct Roomy<'a>(Slice<'a>);

        impl Source for Roomy<'_> {
            fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
                self.0.append(to, n)
            }
        }

        impl Input for Roomy<'_> {
            fn remaining(&self) -> usize {
                self.0.remaining()
            }

            fn available(&self) -> usize {
                self.0.available()
            }

            fn cramped(&self, missing: usize) -> bool {
                missing == 0
            }

            fn read(&mut self, to: &mut [u8]) -> usize {
                self.0.read(to)
            }
        }

        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        let mut input = Roomy(Slice(&STREAM[..18]));
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Hungry);
        assert_eq!((input.remaining(), log.admitted), (2, None));
        let mut input = Roomy(Slice(&STREAM[16..]));
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Hungry);
        assert_eq!(log.seen.as_slice(), SEEN);
    }

    #[test]
    fn limit_lowered_while_waiting_violates() {
        let mut decoder = Decoder::new(REQ);
        let mut log = Log::new(3);
        log.room = false;
        let mut input = Slice(STREAM);
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Held);
        log.limit = 2;
        log.room = true;
        let wanted = Stop::Violated(Violation::Oversize);
        assert_eq!(feed(&mut decoder, &mut input, &mut log), wanted);
    }

    #[test]
    fn spent_budget_goes_on_where_it_was() {
        for (frames, bytes) in [(1, usize::MAX), (usize::MAX, 1), (1, 1)] {
            let mut decoder = Decoder::new(REQ);
            let mut log = Log::new(3);
            let mut input = Slice(STREAM);
            let mut turns = 0;
            loop {
                let mut budget = Budget { frames, bytes };
                match decoder.feed(&mut input, &mut log, &mut budget, GFP_KERNEL) {
                    Stop::Spent => turns += 1,
                    stop => {
                        assert_eq!(stop, Stop::Hungry);
                        break;
                    }
                }
                // More turns than there are bytes: it does not go on.
                if turns > STREAM.len() {
                    break;
                }
            }
            assert!((2..=STREAM.len()).contains(&turns));
            assert_eq!(log.seen.as_slice(), SEEN);
        }
    }
}
