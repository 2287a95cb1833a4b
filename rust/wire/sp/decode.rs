// SPDX-License-Identifier: GPL-2.0

//! Takes a byte stream apart: one greeting, then frames, and each of these into tags and a body.
//!
//! ```text
//!  0                   8
//! +---------------------+---------------------+------ - - -
//! | greeting            | length L, 64 bit BE | L bytes: tags and body
//! +---------------------+---------------------+------ - - -
//! ```
//!
//! The decoder is fed whatever has arrived, in any split, and keeps what it needs between two feeds: at
//! most the bytes of a header, or a message under way. It stops for four reasons that are no fault of
//! the peer's (no more bytes, no room, no memory, enough done) and for those that are. A length is only a
//! claim: it is compared with the limit at once, a short frame is left where it is until it is whole, and
//! memory is taken as bytes arrive. Of a frame that is too long only the tag of a reply is read, which
//! tells what it answers.
//!
//! A short frame that is whole in one piece is made a message first and offered then; where that is
//! refused, its bytes are put back, and the next time it is admitted first, as any other. Several that
//! have no tags are made a run; where that is refused, each is offered alone.

use super::arriving::{
    fill,
    read,
    read_tags,
    several,
    violated,
    whole,
    Halt,
    Partial, //
};
use super::greeting::{
    check_prefix,
    Progress,
    GREETING, //
};
use super::HEADER;
use crate::bytes::Input;
use crate::mem::Flags;
use crate::message::run;
use crate::message::tags::Tagged;
use crate::message::{
    Kept,
    Msg,
    HEAD,
    SMALL, //
};
use crate::stats::Reason;
use crate::wire::{
    Budget,
    Limits,
    Sink,
    Stop,
    Unwelcome,
    Violation, //
};

enum State {
    Greeting {
        bytes: [u8; GREETING],
        have: usize,
    },
    /// The peer has greeted; we have not, or messages are not to come yet.
    Ready,
    Length {
        bytes: [u8; HEADER],
        have: usize,
    },
    /// A length was read. `first`: the frame is to be admitted before it is read.
    Waiting {
        len: usize,
        first: bool,
    },
    /// A frame that was admitted.
    Frame(Partial),
    /// A length above the limit was read; what the frame answers is to be known.
    TooLong(Partial),
    /// The rest of a frame that nobody is to have.
    Skip {
        len: usize,
        left: usize,
    },
    Violated(Violation),
    /// Nobody wants more.
    Abandoned,
}

/// The state of one connection's receive side.
pub(in crate::wire) struct Decoder {
    state: State,
    /// The endpoint type that the peer must have.
    peer: u16,
    tagged: Tagged,
    /// Where bodies are kept from: behind what is looked at.
    kept_from: usize,
    /// Our own greeting is out.
    pub(in crate::wire) ready: bool,
}

impl Decoder {
    pub(in crate::wire) const fn new(peer: u16, tagged: Tagged, filters: bool) -> Self {
        Decoder {
            state: State::Greeting {
                bytes: [0; GREETING],
                have: 0,
            },
            peer,
            tagged,
            kept_from: if filters { HEAD } else { 0 },
            ready: false,
        }
    }

    pub(in crate::wire) fn begun(&self) -> Option<usize> {
        match &self.state {
            State::Length { have: 1.., .. } | State::TooLong(_) => Some(0),
            State::Waiting { len, .. }
            | State::Frame(Partial { len, .. })
            | State::Skip { len, .. } => Some(*len),
            State::Greeting { .. }
            | State::Ready
            | State::Length { .. }
            | State::Violated(_)
            | State::Abandoned => None,
        }
    }

    pub(in crate::wire) fn is_unfinished(&self) -> bool {
        self.begun().is_some() && !matches!(self.state, State::Skip { .. })
    }

    pub(in crate::wire) fn have(&self) -> usize {
        match &self.state {
            State::Frame(frame) => frame.msg.as_ref().map_or(0, |msg| msg.len()),
            _ => 0,
        }
    }

    pub(in crate::wire) fn abandon(&mut self) -> Option<Msg> {
        match core::mem::replace(&mut self.state, State::Abandoned) {
            State::Frame(frame) => frame.msg,
            _ => None,
        }
    }

    pub(in crate::wire) fn feed(
        &mut self,
        input: &mut impl Input<Kept = Kept>,
        sink: &mut impl Sink,
        limits: Limits,
        budget: &mut Budget,
        flags: Flags,
    ) -> Stop {
        let mut runs = self.tagged == Tagged::Nothing;
        loop {
            match self.step(input, sink, limits, budget, flags, &mut runs) {
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
        input: &mut impl Input<Kept = Kept>,
        sink: &mut impl Sink,
        limits: Limits,
        budget: &mut Budget,
        flags: Flags,
        runs: &mut bool,
    ) -> Result<(), Stop> {
        match &mut self.state {
            State::Greeting { bytes, have } => {
                fill(bytes, have, input);
                let seen = bytes.get(..*have).unwrap_or(bytes);
                match check_prefix(seen, self.peer) {
                    Ok(Progress::Complete) => self.state = State::Ready,
                    Ok(Progress::More) => return Err(Stop::Hungry),
                    Err(_) => return Err(violated(Reason::Greeting)),
                }
            }
            State::Ready => {
                if self.ready && sink.greeted() {
                    self.next_frame()
                } else {
                    return Err(Stop::Held);
                }
            }
            State::Length { have: 0, .. } if budget.frames == 0 && input.remaining() > 0 => {
                return Err(Stop::Spent);
            }
            State::Length { have: 0, .. } if input.remaining() == 0 => return Err(Stop::Hungry),
            State::Length { bytes, have } => {
                let header = match *have {
                    0 => input.read_array(),
                    _ => None,
                };
                if let Some(header) = header {
                    *bytes = header;
                } else {
                    fill(bytes, have, input);
                    if *have < bytes.len() {
                        return Err(Stop::Hungry);
                    }
                }
                // 2^63 and above nobody can mean.
                let len = i64::try_from(u64::from_be_bytes(*bytes)).ok();
                let len = len.and_then(|len| usize::try_from(len).ok());
                self.state = match len.filter(|len| *len <= self.longest(limits)) {
                    Some(len) => State::Waiting { len, first: false },
                    None => self.too_long(limits)?,
                };
            }
            State::TooLong(frame) => {
                match read_tags(frame, self.tagged, input) {
                    Ok(()) => sink.too_long(&frame.tags),
                    Err(Halt::Stop(Stop::Hungry)) => return Err(Stop::Hungry),
                    Err(_) => {}
                }
                return Err(violated(Reason::Oversize));
            }
            State::Waiting { len, first } => {
                let (len, first) = (*len, *first);
                // The limit may be another one since the length was read.
                if len > self.longest(limits) {
                    self.state = self.too_long(limits)?;
                    return Ok(());
                }
                if !first && len <= SMALL && len <= input.remaining() {
                    let more = input.remaining().saturating_sub(len) > HEADER;
                    if *runs && more && len <= run::LITTLE {
                        *runs = self.offer_run(len, input, sink, limits, budget, flags)?;
                        if *runs {
                            return Ok(());
                        }
                    }
                    return self.offer(len, input, sink, limits, budget, flags);
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
                self.state = State::Frame(Partial::new(len, limits));
            }
            State::Frame(frame) => match read(
                frame,
                self.tagged,
                self.kept_from,
                input,
                sink,
                budget,
                flags,
            ) {
                Ok(msg) => {
                    self.next_frame();
                    budget.frames = budget.frames.saturating_sub(1);
                    match sink.message(msg, true) {
                        Ok(()) => {}
                        Err(Unwelcome::Violation(violation)) => {
                            return Err(Stop::Violated(violation));
                        }
                        // It was admitted.
                        Err(Unwelcome::NoRoom(msg)) => drop(msg),
                    }
                }
                Err(halt) => {
                    let (len, left) = (frame.len, frame.left);
                    self.halted(len, left, halt, sink, budget)?;
                }
            },
            State::Skip { left, .. } => {
                *left = left.saturating_sub(input.skip(*left));
                match left {
                    0 => self.next_frame(),
                    _ => return Err(Stop::Hungry),
                }
            }
            State::Abandoned => return Err(Stop::Held),
            State::Violated(violation) => return Err(Stop::Violated(*violation)),
        }
        Ok(())
    }

    /// Makes a message of a frame that is all there, and puts it back if nobody takes it.
    fn offer(
        &mut self,
        len: usize,
        input: &mut impl Input<Kept = Kept>,
        sink: &mut impl Sink,
        limits: Limits,
        budget: &mut Budget,
        flags: Flags,
    ) -> Result<(), Stop> {
        // Behind what needs no bytes there may be none, and then nobody would come back.
        if budget.bytes == 0 && len > 0 {
            return Err(Stop::Spent);
        }
        let before = input.remaining();
        match whole(len, self.tagged, limits, self.kept_from == 0, input, flags) {
            Ok(msg) => match sink.message(msg, false) {
                Ok(()) => {
                    self.next_frame();
                    budget.frames = budget.frames.saturating_sub(1);
                    budget.bytes = budget.bytes.saturating_sub(len);
                    Ok(())
                }
                Err(Unwelcome::Violation(violation)) => Err(Stop::Violated(violation)),
                Err(Unwelcome::NoRoom(msg)) => {
                    drop(msg);
                    input.put_back(len);
                    self.state = State::Waiting { len, first: true };
                    Ok(())
                }
            },
            Err(halt) => {
                let read = before.saturating_sub(input.remaining());
                if matches!(halt, Halt::Stop(_)) {
                    input.put_back(read);
                }
                self.halted(len, len.saturating_sub(read), halt, sink, budget)
            }
        }
    }

    /// Makes a run of several frames that are all there, `len` that of the first, and puts them back if nobody takes
    /// it. Tells whether it was taken.
    fn offer_run(
        &mut self,
        len: usize,
        input: &mut impl Input<Kept = Kept>,
        sink: &mut impl Sink,
        limits: Limits,
        budget: &mut Budget,
        flags: Flags,
    ) -> Result<bool, Stop> {
        let Some((msg, used)) = several(len, limits, *budget, input, sink.from(), flags) else {
            return Ok(false);
        };
        let messages = msg.messages();
        match sink.message(msg, false) {
            Ok(()) => {
                self.next_frame();
                budget.frames = budget.frames.saturating_sub(messages);
                budget.bytes = budget.bytes.saturating_sub(used);
                Ok(true)
            }
            Err(Unwelcome::Violation(violation)) => Err(Stop::Violated(violation)),
            Err(Unwelcome::NoRoom(msg)) => {
                drop(msg);
                input.put_back(used);
                Ok(false)
            }
        }
    }

    /// A frame with so many bytes left does not become a message, now or ever.
    fn halted(
        &mut self,
        len: usize,
        left: usize,
        halt: Halt,
        sink: &mut impl Sink,
        budget: &mut Budget,
    ) -> Result<(), Stop> {
        match halt {
            Halt::Stop(stop) => Err(stop),
            Halt::TooLong => Err(violated(Reason::Oversize)),
            Halt::Discard(why) => {
                self.state = State::Skip { len, left };
                budget.frames = budget.frames.saturating_sub(1);
                sink.discarded(why);
                Ok(())
            }
        }
    }

    /// The longest frame that can be good.
    fn longest(&self, limits: Limits) -> usize {
        limits.body.saturating_add(self.tagged.longest(limits.tags))
    }

    /// What to do about a frame that is longer than that.
    fn too_long(&self, limits: Limits) -> Result<State, Stop> {
        match self.tagged {
            Tagged::Once => Ok(State::TooLong(Partial::new(usize::MAX, limits))),
            Tagged::Nothing | Tagged::Stack => Err(violated(Reason::Oversize)),
        }
    }

    fn next_frame(&mut self) {
        self.state = State::Length {
            bytes: [0; HEADER],
            have: 0,
        };
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_decode))]
mod tests {
    use super::super::arriving::KEPT;
    use super::*;
    use crate::bytes::Slice;
    use crate::mem::{
        KVec,
        GFP_KERNEL, //
    };
    use crate::message::queue::Queue;
    use crate::message::run::{
        Contents,
        Taken, //
    };
    use crate::message::tags::Tags;
    use crate::message::OVERHEAD;

    const REQ: u16 = 0x30;

    /// Keeps what comes out: bodies one after the other, each behind its length.
    struct Log {
        seen: KVec<u8>,
        messages: usize,
        /// How often something came.
        calls: usize,
        /// Runs are taken.
        runs: bool,
        /// The tags of the last one.
        tags: KVec<u8>,
        /// What the last one counts for.
        charge: usize,
        /// What was admitted last.
        admitted: Option<(usize, bool)>,
        limits: Limits,
        room: bool,
        /// How many bytes more than their length frames may hold.
        stretch: usize,
        ready: bool,
        welcome: bool,
        /// What was thrown away, and why the last one was.
        discarded: usize,
        why: Option<Reason>,
        /// What a message that was too long answered.
        answered: Option<KVec<u8>>,
    }

    impl Log {
        fn note(&mut self, taken: &Taken) {
            self.messages += 1;
            let _ = self.seen.push(taken.len() as u8, GFP_KERNEL);
            match taken.contents() {
                Contents::Part(body) => {
                    let _ = self.seen.extend_from_slice(body, GFP_KERNEL);
                }
                Contents::Whole(bytes) => {
                    for chunk in bytes.chunks_from(0) {
                        let _ = self.seen.extend_from_slice(chunk.seen(), GFP_KERNEL);
                    }
                }
            }
        }

        fn new(body: usize) -> Self {
            Log {
                // At once what most tests need: the debug kernel is slow to allocate.
                seen: KVec::with_capacity(16, GFP_KERNEL).unwrap_or_default(),
                messages: 0,
                calls: 0,
                runs: true,
                tags: KVec::new(),
                charge: 0,
                admitted: None,
                limits: Limits { body, tags: 8 },
                room: true,
                stretch: 0,
                ready: true,
                welcome: true,
                discarded: 0,
                why: None,
                answered: None,
            }
        }
    }

    fn copy(bytes: &[u8]) -> KVec<u8> {
        let mut copy = KVec::new();
        let _ = copy.extend_from_slice(bytes, GFP_KERNEL);
        copy
    }

    impl Sink for Log {
        fn greeted(&mut self) -> bool {
            self.ready
        }

        fn admit(&mut self, len: usize, whole: bool) -> bool {
            self.admitted = self.room.then_some((len, whole));
            self.room
        }

        fn stretch(&mut self, bytes: usize) -> bool {
            let left = self.stretch.checked_sub(bytes);
            self.stretch = left.unwrap_or(self.stretch);
            left.is_some()
        }

        fn message(&mut self, msg: Msg, admitted: bool) -> Result<(), Unwelcome> {
            if !admitted && !self.room {
                return Err(Unwelcome::NoRoom(msg));
            }
            if !self.runs && msg.messages() > 1 {
                return Err(Unwelcome::NoRoom(msg));
            }
            self.calls += 1;
            self.tags = copy(msg.tags.as_bytes());
            self.charge = msg.charge();
            let mut queue = Queue::new();
            queue.push(msg);
            while let Some(taken) = queue.take_first() {
                self.note(&taken);
            }
            while let Some(msg) = queue.pop() {
                self.note(&Taken::whole(msg));
            }
            let violation = Unwelcome::Violation(Violation(Reason::Malformed));
            self.welcome.then_some(()).ok_or(violation)
        }

        fn too_long(&mut self, tags: &Tags) {
            self.answered = Some(copy(tags.as_bytes()));
        }

        fn discarded(&mut self, why: Reason) {
            self.discarded += 1;
            self.why = Some(why);
        }
    }

    /// A decoder whose own greeting is out.
    fn decoder(tagged: Tagged) -> Decoder {
        let mut decoder = Decoder::new(REQ, tagged, false);
        decoder.ready = true;
        decoder
    }

    /// Decodes all there is.
    fn feed(decoder: &mut Decoder, input: &mut impl Input<Kept = Kept>, log: &mut Log) -> Stop {
        let mut budget = Budget {
            frames: usize::MAX,
            bytes: usize::MAX,
        };
        let limits = log.limits;
        decoder.feed(input, log, limits, &mut budget, GFP_KERNEL)
    }

    /// The same with bytes that come in one piece.
    fn arrives(decoder: &mut Decoder, bytes: &[u8], log: &mut Log) -> Stop {
        feed(decoder, &mut Slice::new(bytes), log)
    }

    const HELLO: &[u8] = b"\0SP\0\0\x30\0\0";
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
                let mut decoder = decoder(Tagged::Nothing);
                let mut log = Log::new(3);
                let cuts = [0, first, second, STREAM.len()];
                for pair in cuts.windows(2) {
                    let mut input = Slice::new(&STREAM[pair[0]..pair[1]]);
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
        let mut decoder = decoder(Tagged::Nothing);
        let mut log = Log::new(3);
        for byte in STREAM {
            let stop = arrives(&mut decoder, &[*byte], &mut log);
            assert_eq!(stop, Stop::Hungry);
        }
        assert_eq!(log.seen.as_slice(), SEEN);
    }

    /// A frame of `above` tags with distinct bytes, the bottom if there is one, and a body.
    fn stacked(above: usize, bottom: bool, body: &[u8]) -> KVec<u8> {
        let mut tags = KVec::new();
        for number in 0..above {
            // The other three bytes may have their top bit set: only the first counts.
            let tag = [0x7f, 0xff, (number >> 8) as u8, number as u8];
            let _ = tags.extend_from_slice(&tag, GFP_KERNEL);
        }
        if bottom {
            let _ = tags.extend_from_slice(&[0x80, 0, 0, 1], GFP_KERNEL);
        }
        let len = (tags.len() + body.len()) as u64;
        let mut frame = copy(&len.to_be_bytes());
        let _ = frame.extend_from_slice(&tags, GFP_KERNEL);
        let _ = frame.extend_from_slice(body, GFP_KERNEL);
        frame
    }

    /// What a frame becomes that arrives as `cut` says: in one piece, or in two.
    fn fate(tagged: Tagged, frame: &[u8], cut: usize, log: &mut Log) -> Stop {
        let mut decoder = decoder(tagged);
        arrives(&mut decoder, HELLO, log);
        let (now, later) = frame.split_at(cut.min(frame.len()));
        arrives(&mut decoder, now, log);
        let stop = arrives(&mut decoder, later, log);
        if stop == Stop::Hungry {
            // Whatever it was, the next one is decoded.
            let next = stacked(0, true, b"next");
            assert_eq!(arrives(&mut decoder, &next, log), Stop::Hungry);
            assert!(log.seen.ends_with(b"next"));
        }
        stop
    }

    #[test]
    fn complete_stack_is_kept_up_to_the_limit() {
        // Conformance cases 32, 33.
        for above in [0, 1, 2, 3, 4, 5, 7, 8, 14, 253, 254] {
            let frame = stacked(above, true, b"body");
            for max in [1, 2, 4, 5, 8, 15, 254, 255] {
                for cut in [0, 9, 13, frame.len() - 1] {
                    let mut log = Log::new(4);
                    log.limits.tags = max;
                    let fits = above < max;
                    let frames = 4 + 4 * max;
                    let stop = fate(Tagged::Stack, &frame, cut, &mut log);
                    if above * 4 + 8 > frames {
                        // By its length.
                        assert_eq!(stop, violated(Reason::Oversize));
                        continue;
                    }
                    assert_eq!((stop, log.messages), (Stop::Hungry, 1 + usize::from(fits)));
                    let why = (!fits).then_some(Reason::TooManyTags);
                    assert_eq!(log.why, why);
                }
            }
        }
    }

    #[test]
    fn complete_stack_goes_back_as_it_came() {
        for above in [0, 1, 3, 4, 5, 100] {
            let frame = stacked(above, true, b"b");
            for cut in 0..frame.len().min(60) {
                let mut decoder = decoder(Tagged::Stack);
                let mut log = Log::new(1000);
                log.limits.tags = 255;
                arrives(&mut decoder, HELLO, &mut log);
                arrives(&mut decoder, &frame[..cut], &mut log);
                arrives(&mut decoder, &frame[cut..], &mut log);
                assert_eq!(log.tags.as_slice(), &frame[8..frame.len() - 1]);
                assert_eq!(log.seen.as_slice(), b"\x01b");
            }
        }
    }

    #[test]
    fn stack_without_a_bottom_is_malformed() {
        // Conformance case 34. The limit does not matter as long as the bottom is missing.
        for max in [1, 8, 255] {
            for (above, rest) in [(0, 0), (0, 3), (1, 0), (1, 2), (2, 0), (5, 3), (255, 3)] {
                let frame = stacked(above, false, [0; 3].split_at(rest).0);
                for cut in [0, 8, 10, 14] {
                    let mut log = Log::new(2000);
                    log.limits.tags = max;
                    assert_eq!(fate(Tagged::Stack, &frame, cut, &mut log), Stop::Hungry);
                    assert_eq!((log.why, log.discarded), (Some(Reason::Malformed), 1));
                }
            }
        }
    }

    #[test]
    fn stack_beyond_any_limit_has_too_many_tags() {
        for (above, bottom) in [
            (255, true),
            (256, true),
            (300, true),
            (256, false),
            (300, false),
        ] {
            let mut log = Log::new(2000);
            log.limits.tags = 255;
            let frame = stacked(above, bottom, b"abc");
            assert_eq!(fate(Tagged::Stack, &frame, 0, &mut log), Stop::Hungry);
            assert_eq!((log.why, log.discarded), (Some(Reason::TooManyTags), 1));
        }
    }

    #[test]
    fn reply_has_one_tag_whatever_it_is() {
        // Conformance cases 21, 35: what is not ours is for the pattern to say.
        let cases: [(&[u8], Option<&[u8]>); 6] = [
            (b"\x80\0\0\x01R", Some(b"\x80\0\0\x01")),
            (b"\0\0\0\x07\x80\0\0\x01R", Some(b"\0\0\0\x07")),
            (b"\xff\xff\xff\xff", Some(b"\xff\xff\xff\xff")),
            (b"", None),
            (b"\x80", None),
            (b"\x80\0\0", None),
        ];
        for (bytes, tag) in cases {
            let frame = stacked(0, false, bytes);
            for cut in 0..frame.len() {
                let mut decoder = decoder(Tagged::Once);
                let mut log = Log::new(20);
                arrives(&mut decoder, HELLO, &mut log);
                arrives(&mut decoder, &frame[..cut], &mut log);
                arrives(&mut decoder, &frame[cut..], &mut log);
                assert_eq!(log.messages, usize::from(tag.is_some()));
                assert_eq!(log.tags.as_slice(), tag.unwrap_or(b""));
                assert_eq!(log.discarded, usize::from(tag.is_none()));
            }
        }
    }

    #[test]
    fn body_above_limit_violates_whatever_tags_it_has() {
        // Conformance case 13.
        for (above, body, fine) in [(0, 5, true), (0, 6, false), (7, 5, true), (7, 6, false)] {
            let frame = stacked(above, true, [7; 6].split_at(body).0);
            for cut in [0, 10, frame.len() - 1] {
                let mut log = Log::new(5);
                let stop = fate(Tagged::Stack, &frame, cut, &mut log);
                let wanted = if fine {
                    Stop::Hungry
                } else {
                    violated(Reason::Oversize)
                };
                assert_eq!(stop, wanted);
            }
        }
    }

    #[test]
    fn limit_changed_is_for_the_frames_to_come() {
        // The tags arrive under one limit, the bottom and the body under another.
        for (before, after, taken) in [(2, 8, false), (4, 1, true)] {
            let frame = stacked(3, true, &[7; 100]);
            let mut decoder = decoder(Tagged::Stack);
            let mut log = Log::new(120);
            arrives(&mut decoder, HELLO, &mut log);
            log.limits.tags = before;
            arrives(&mut decoder, &frame[..8 + 12], &mut log);
            log.limits = Limits {
                body: if taken { 10 } else { 1000 },
                tags: after,
            };
            assert_eq!(arrives(&mut decoder, &frame[20..], &mut log), Stop::Hungry);
            assert_eq!(log.messages, usize::from(taken));
            let why = (!taken).then_some(Reason::TooManyTags);
            assert_eq!(log.why, why);
            if taken {
                assert_eq!(log.tags.as_slice(), &frame[8..24]);
            }
        }
    }

    #[test]
    fn frame_being_skipped_is_begun_and_not_unfinished() {
        let mut decoder = decoder(Tagged::Stack);
        let mut log = Log::new(1000);
        arrives(&mut decoder, HELLO, &mut log);
        let frame = stacked(9, true, &[7; 100]);
        log.limits.body = 2000;
        arrives(&mut decoder, &frame[..40], &mut log);
        assert!(decoder.is_unfinished());
        arrives(&mut decoder, &frame[40..60], &mut log);
        assert_eq!(log.why, Some(Reason::TooManyTags));
        assert_eq!(decoder.begun(), Some(frame.len() - 8));
        assert!(!decoder.is_unfinished());
    }

    #[test]
    fn empty_frame_needs_no_budget_of_bytes() {
        let mut decoder = decoder(Tagged::Nothing);
        let mut log = Log::new(3);
        let mut budget = Budget {
            frames: 10,
            bytes: 3,
        };
        let limits = log.limits;
        let input = &mut Slice::new(&STREAM[..8 + 11 + 8]);
        let stop = decoder.feed(input, &mut log, limits, &mut budget, GFP_KERNEL);
        assert_eq!((stop, budget.bytes), (Stop::Hungry, 0));
        assert_eq!(log.messages, 2);
    }

    #[test]
    fn length_above_limit_violates_before_body() {
        // Conformance cases 13, 14.
        for (len, limit, fine) in [
            (8_u64, 8, true),
            (9, 8, false),
            (1, 0, false),
            (0, 0, true),
            (1 << 63, usize::MAX, false),
            (u64::MAX, usize::MAX, false),
        ] {
            let mut decoder = decoder(Tagged::Nothing);
            let mut log = Log::new(limit);
            arrives(&mut decoder, HELLO, &mut log);
            let stop = arrives(&mut decoder, &len.to_be_bytes(), &mut log);
            let wanted = if fine {
                Stop::Hungry
            } else {
                violated(Reason::Oversize)
            };
            assert_eq!(stop, wanted);
            assert_eq!(decoder.have(), 0);
        }
    }

    #[test]
    fn length_above_limit_tells_what_it_answers() {
        const TOO_LONG: &[u8] = b"\0SP\0\0\x30\0\0\
            \xff\0\0\0\0\0\0\x09\x80\0\0\x01rest";
        for cut in 0..=TOO_LONG.len() {
            let mut decoder = decoder(Tagged::Once);
            let mut log = Log::new(8);
            let (now, later) = TOO_LONG.split_at(cut);
            let stop = arrives(&mut decoder, now, &mut log);
            assert!((stop == Stop::Hungry) == (cut < 20));
            assert_eq!(log.answered.is_some(), cut >= 20);
            assert_eq!(decoder.begun(), (9..20).contains(&cut).then_some(0));
            let stop = arrives(&mut decoder, later, &mut log);
            assert_eq!(stop, violated(Reason::Oversize));
            assert_eq!(log.answered.as_deref(), Some(b"\x80\0\0\x01" as &[u8]));
            assert_eq!((decoder.begun(), log.messages), (None, 0));
        }
    }

    #[test]
    fn no_room_holds_until_admitted() {
        let mut decoder = decoder(Tagged::Nothing);
        let mut log = Log::new(3);
        log.room = false;
        let mut input = Slice::new(STREAM);
        for _ in 0..3 {
            // It was put back where it was.
            assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Held);
            assert_eq!(input.remaining(), STREAM.len() - 16);
            assert_eq!((log.messages, decoder.begun()), (0, Some(3)));
        }
        log.room = true;
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Hungry);
        // The others needed no leave.
        assert_eq!(log.admitted, Some((3, true)));
        assert_eq!(log.seen.as_slice(), SEEN);
    }

    #[test]
    fn not_ready_holds_after_greeting() {
        for (said, welcome) in [(false, true), (true, false), (false, false)] {
            let mut decoder = Decoder::new(REQ, Tagged::Nothing, false);
            let mut log = Log::new(3);
            (decoder.ready, log.ready) = (said, welcome);
            let mut input = Slice::new(STREAM);
            assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Held);
            assert_eq!(input.remaining(), STREAM.len() - 8);
            (decoder.ready, log.ready) = (true, true);
            assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Hungry);
            assert_eq!(log.messages, 3);
        }
    }

    #[test]
    fn unwelcome_message_violates_for_good() {
        let mut decoder = decoder(Tagged::Nothing);
        let mut log = Log::new(3);
        log.welcome = false;
        let wanted = violated(Reason::Malformed);
        assert_eq!(arrives(&mut decoder, STREAM, &mut log), wanted);
        assert_eq!(arrives(&mut decoder, STREAM, &mut log), wanted);
        assert_eq!(log.calls, 1);
    }

    /// So many frames, each a byte longer than the one before.
    fn frames(count: u8) -> KVec<u8> {
        let mut bytes = KVec::new();
        for len in 0..count {
            let _ = bytes.extend_from_slice(&u64::from(len).to_be_bytes(), GFP_KERNEL);
            for _ in 0..len {
                let _ = bytes.push(len, GFP_KERNEL);
            }
        }
        bytes
    }

    /// A decoder that is past the greeting, and how often something comes of these frames in a feed.
    fn calls(bytes: &[u8], log: &mut Log, frames: usize) -> (Stop, usize) {
        let mut decoder = decoder(Tagged::Nothing);
        arrives(&mut decoder, HELLO, log);
        let mut budget = Budget {
            frames,
            bytes: usize::MAX,
        };
        let (limits, mut input) = (log.limits, Slice::new(bytes));
        let stop = decoder.feed(&mut input, log, limits, &mut budget, GFP_KERNEL);
        if stop == Stop::Hungry {
            assert_eq!(input.remaining(), 0);
        }
        (stop, log.calls)
    }

    #[test]
    fn frames_that_are_there_come_as_runs() {
        let all = frames(100);
        let mut log = Log::new(100);
        let (stop, calls) = calls(&all, &mut log, usize::MAX);
        assert_eq!((stop, log.messages), (Stop::Hungry, 100));
        assert!(calls < 10);
        let mut single = Log::new(100);
        single.runs = false;
        assert_eq!(self::calls(&all, &mut single, usize::MAX).1, 100);
        assert_eq!(log.seen.as_slice(), single.seen.as_slice());
    }

    #[test]
    fn run_ends_where_the_budget_does() {
        let mut log = Log::new(100);
        let (stop, _) = calls(&frames(100), &mut log, 7);
        assert_eq!((stop, log.messages), (Stop::Spent, 7));
    }

    #[test]
    fn run_ends_before_a_frame_that_is_too_long() {
        let mut log = Log::new(8);
        let (stop, _) = calls(&frames(20), &mut log, usize::MAX);
        assert_eq!((stop, log.messages), (violated(Reason::Oversize), 9));
    }

    #[test]
    fn tags_make_no_runs() {
        let mut bytes = KVec::new();
        for _ in 0..5 {
            let _ = bytes.extend_from_slice(&stacked(0, true, b"body"), GFP_KERNEL);
        }
        let mut log = Log::new(100);
        let mut decoder = decoder(Tagged::Once);
        arrives(&mut decoder, HELLO, &mut log);
        arrives(&mut decoder, &bytes, &mut log);
        assert_eq!((log.messages, log.calls), (5, 5));
    }

    #[test]
    fn half_a_message_is_begun_until_abandoned() {
        let mut decoder = decoder(Tagged::Nothing);
        let mut log = Log::new(3);
        assert_eq!(decoder.begun(), None);
        arrives(&mut decoder, &STREAM[..8], &mut log);
        assert_eq!(decoder.begun(), None);
        arrives(&mut decoder, &STREAM[8..9], &mut log);
        assert_eq!(decoder.begun(), Some(0));
        arrives(&mut decoder, &STREAM[9..16], &mut log);
        assert_eq!((decoder.begun(), log.admitted), (Some(3), None));
        arrives(&mut decoder, &STREAM[16..18], &mut log);
        assert_eq!(log.admitted, Some((3, false)));
        assert_eq!((decoder.begun(), decoder.have()), (Some(3), 2));
        assert!(decoder.abandon().is_some());
        assert_eq!((decoder.begun(), decoder.have()), (None, 0));
        let stop = arrives(&mut decoder, &STREAM[18..], &mut log);
        assert_eq!((stop, log.messages), (Stop::Held, 0));
    }

    #[test]
    fn short_frame_is_left_until_whole_where_there_is_room() {
        let mut decoder = decoder(Tagged::Nothing);
        let mut log = Log::new(3);
        let mut input = Slice::new(&STREAM[..18]);
        input.room = usize::MAX;
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Hungry);
        assert_eq!((input.remaining(), log.admitted), (2, None));
        assert_eq!(arrives(&mut decoder, &STREAM[16..], &mut log), Stop::Hungry);
        assert_eq!(log.seen.as_slice(), SEEN);
    }

    #[test]
    fn limit_lowered_while_waiting_violates() {
        let mut decoder = decoder(Tagged::Nothing);
        let mut log = Log::new(3);
        log.room = false;
        let mut input = Slice::new(STREAM);
        assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Held);
        log.limits.body = 2;
        log.room = true;
        let wanted = violated(Reason::Oversize);
        assert_eq!(feed(&mut decoder, &mut input, &mut log), wanted);
    }

    #[test]
    fn spent_budget_goes_on_where_it_was() {
        for (frames, bytes) in [(1, usize::MAX), (usize::MAX, 1), (1, 1)] {
            let mut decoder = decoder(Tagged::Nothing);
            let mut log = Log::new(3);
            let mut input = Slice::new(STREAM);
            let mut turns = 0;
            loop {
                let mut budget = Budget { frames, bytes };
                let limits = log.limits;
                match decoder.feed(&mut input, &mut log, limits, &mut budget, GFP_KERNEL) {
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
            assert!((1..=STREAM.len()).contains(&turns));
            assert_eq!(log.seen.as_slice(), SEEN);
        }
    }

    /// How long the body of a long frame is here, and what it counts for without anything extra.
    const LONG: usize = SMALL + 3 * KEPT + 5;
    const CHARGE: usize = LONG + OVERHEAD;

    /// A greeting and such a frame.
    static LONG_STREAM: [u8; 16 + LONG] = {
        let mut bytes = [0; 16 + LONG];
        let mut n = 0;
        while n < bytes.len() {
            bytes[n] = (n % 251) as u8;
            n += 1;
        }
        let front = (0x0053_5000_0030_0000_u128 << 64 | LONG as u128).to_be_bytes();
        let mut n = 0;
        while n < front.len() {
            bytes[n] = front[n];
            n += 1;
        }
        bytes
    };

    /// Has it arrive in pieces that end there and pin so much, and tells what the message counts for.
    fn long_arrives(ends: &[usize], pins: Option<usize>, stretch: usize, filters: bool) -> usize {
        let mut decoder = Decoder::new(REQ, Tagged::Nothing, filters);
        decoder.ready = true;
        let mut log = Log::new(LONG);
        log.stretch = stretch;
        let mut from = 0;
        for end in ends.iter().chain([&LONG_STREAM.len()]) {
            let mut input = Slice::new(&LONG_STREAM[from..*end]);
            input.pins = pins;
            assert_eq!(feed(&mut decoder, &mut input, &mut log), Stop::Hungry);
            assert_eq!(input.remaining(), 0);
            from = *end;
        }
        assert_eq!(log.messages, 1);
        assert_eq!(&log.seen[1..], &LONG_STREAM[16..]);
        log.charge
    }

    #[test]
    fn long_frame_is_kept_and_counts_for_what_it_pins() {
        let pins = LONG + 100;
        assert_eq!(long_arrives(&[], Some(pins), 100, false), CHARGE + 100);
        assert_eq!(long_arrives(&[], Some(pins), 99, false), CHARGE);
        assert_eq!(long_arrives(&[], None, 100, false), CHARGE);
        let twice = 2 * LONG;
        assert_eq!(long_arrives(&[], Some(twice), LONG, false), CHARGE + LONG);
        assert_eq!(long_arrives(&[], Some(twice + 1), twice, false), CHARGE);
        // What is looked at is copied.
        let extra = LONG - (LONG - HEAD);
        assert_eq!(long_arrives(&[], Some(LONG), LONG, true), CHARGE + extra);
    }

    #[test]
    fn long_frame_in_pieces_is_kept_where_they_are_large() {
        let at = |n: usize| 16 + n;
        let pins = Some(2 * KEPT);
        let large = [at(HEAD), at(HEAD + KEPT), at(HEAD + 3 * KEPT)];
        let behind = LONG - HEAD - 3 * KEPT;
        assert!(behind > 2 * KEPT);
        assert_eq!(
            long_arrives(&large, pins, usize::MAX, false),
            CHARGE + 2 * KEPT
        );
        let small = [at(1), at(HEAD), at(HEAD + KEPT - 1), at(HEAD + KEPT)];
        assert_eq!(long_arrives(&small, Some(LONG), usize::MAX, true), {
            // What was free behind the small ones is wasted.
            let chunk = KEPT - 1 + 1;
            CHARGE + LONG - (LONG - HEAD - chunk)
        });
    }
}
