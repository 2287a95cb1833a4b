// SPDX-License-Identifier: GPL-2.0

//! REP: answers requests, to the peers that asked.
//!
//! Requests wait in their pipes' queues and are taken in turn. Receiving one remembers its pipe and its
//! backtrace, the tags that a reply carries home; sending uses them up. A second receive replaces them:
//! that requester gets no reply. A reply is dropped, and counted, when its pipe is gone or full, because
//! a requester that does not read must not stop the others (sp-request-reply-01: MUST drop).
//!
//! | state      | send                 | recv                |
//! |------------|----------------------|---------------------|
//! | no request | refused              | the next, or wait   |
//! | request    | the reply, no request| the next, or wait   |
//!
//! Each process that receives has a state of its own: see `hands.rs`.
//!
//! A client that asks again while it waits is served once: a request is dropped that is one of the last that
//! wait in the same pipe, and one that waits is dropped when the reply to the same one is sent. (One that is
//! being worked on may be asked again: whoever has it in hand may never answer.)

use super::hands::Request;
use super::{
    Effects,
    Flush,
    Handle,
    Pattern,
    Peers,
    PipeId,
    Received,
    Refused,
    Ticket,
    Wake,
    World, //
};
use crate::error::Refusal;
use crate::message::tags::{
    ParseError,
    Tags, //
};
use crate::message::{
    Message,
    Msg, //
};
use crate::stats::count;

pub(crate) struct Rep {
    /// The longest backtrace taken, in tags.
    max_ttl: u8,
    /// The longest body taken, in bytes.
    longest: usize,
    /// For digests.
    key: u64,
}

impl Rep {
    /// `key` is not to be guessed.
    pub(crate) fn new(key: u64, max_ttl: u8, longest: usize) -> Self {
        Rep {
            max_ttl,
            longest,
            key,
        }
    }

    /// Sets how many tags a request may have, its id included, and how long it may be without them.
    pub(crate) fn set_limits(&mut self, max_ttl: u8, longest: usize) {
        self.max_ttl = max_ttl;
        self.longest = longest;
    }
}

impl Pattern for Rep {
    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, mut msg: Msg) -> Result<Effects, Refused> {
        let request = w.caller.and_then(|caller| w.peers.hands.answer(caller));
        let Some(request) = request else {
            let why = Refusal::State;
            return Err(Refused { why, msg });
        };
        msg.tags = request.backtrace;
        let Some(to) = request.from.and_then(|origin| w.peers.find(origin)) else {
            count(&mut w.stats.tx_no_peer);
            return Ok(Effects::NONE);
        };
        if !w.peers.is_writable(to) {
            w.drop_for(to);
            return Ok(Effects::NONE);
        }
        // It is no use to who gets a reply now.
        let digest = msg.tags.digest(self.key);
        let mut again = w.peers.retract(to, &msg.tags, digest);
        while let Some(gone) = again.pop() {
            count(&mut w.stats.rx_stale);
            w.trash.push(gone);
        }
        w.peers.push(to, msg);
        Ok(Effects::flush(Flush::One(to)))
    }

    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        _ticket: &mut Ticket,
    ) -> Result<Msg, Refusal> {
        let caller = w.caller.ok_or(Refusal::State)?;
        if !w.peers.some_readable() {
            return Err(match self.admits(w) {
                true => Refusal::Again,
                false => Refusal::State,
            });
        }
        // Before a request is taken, which must not get lost.
        let seat = w.peers.hands.seat(caller)?;
        let (from, mut msg, alive) = w.peers.dequeue().ok_or(Refusal::Again)?;
        let request = Request {
            from: w.peers.origin(from).filter(|_| alive),
            backtrace: core::mem::replace(&mut msg.tags, Tags::new()),
        };
        w.peers.hands.take(seat, caller, request);
        Ok(msg)
    }

    fn admits<H: Handle>(&self, w: &World<'_, H>) -> bool {
        w.caller
            .is_some_and(|caller| w.peers.hands.has_room(caller))
    }

    fn front<'a, H: Handle>(
        &'a mut self,
        peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal> {
        peers.front().ok_or(Refusal::Again)
    }

    fn can_send<H: Handle>(&self, peers: &Peers<H>, caller: &H::Caller) -> bool {
        peers.hands.can_answer(caller)
    }

    fn can_recv<H: Handle>(&self, peers: &Peers<H>, caller: &H::Caller) -> bool {
        peers.some_readable() && peers.hands.has_room(caller)
    }

    fn received<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        from: PipeId,
        mut msg: Msg,
    ) -> Received {
        match Tags::parse(msg.bytes().head(), self.max_ttl) {
            Ok((tags, len)) => {
                let digest = tags.digest(self.key);
                msg.skip_tags(len);
                if msg.user_len() > self.longest {
                    return Received::TooLong(msg);
                }
                msg.tags = tags;
                match w.peers.enqueue_new(from, msg, digest) {
                    // The one that is woken may have no room, and would tell nobody.
                    Ok(()) if w.peers.hands.are_full() => Received::Kept(Wake::All),
                    Ok(()) => Received::Kept(Wake::One),
                    Err(msg) => {
                        count(&mut w.stats.rx_stale);
                        Received::Discarded(msg)
                    }
                }
            }
            Err(ParseError::Malformed) => {
                count(&mut w.stats.rx_malformed);
                Received::Discarded(msg)
            }
            Err(ParseError::TooManyTags) => {
                count(&mut w.stats.rx_ttl);
                Received::Discarded(msg)
            }
            // Without its pipe the requester asks again, which is more than can be done for it here.
            Err(ParseError::NoMemory) => Received::Fatal(msg),
        }
    }

    fn in_hand<H: Handle>(&self, peers: &Peers<H>, id: PipeId) -> bool {
        let origin = peers.origin(id);
        origin.is_some_and(|origin| peers.hands.hold(origin))
    }
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_rep)]
mod tests {
    use super::super::bench::{
        refused,
        Bench,
        Fate,
        Fault, //
    };
    use super::*;
    use crate::message::tags::TAG;

    /// A request id, as it arrives.
    const ID: &[u8] = b"\x80\x00\x00\x01";
    const ID2: &[u8] = b"\x80\x00\x00\x02";

    /// The most tags that any limit allows, and one more.
    const TAGS: usize = 256;

    /// The longest body that a [`bench`] takes.
    const LONGEST: usize = 5000;

    fn bench() -> Result<Bench<Rep>, Fault> {
        Bench::new(Rep::new(0x0123_4567_89ab_cdef, 8, LONGEST))
    }

    /// As many tags, the first of them outermost; `count` is not zero.
    fn stack(count: usize) -> [u8; TAGS * TAG] {
        let mut bytes = [0; TAGS * TAG];
        for (nth, tag) in bytes.chunks_exact_mut(TAG).enumerate() {
            let bottom = if nth + 1 == count { 0x80 } else { 0 };
            tag.copy_from_slice(&[bottom, 0xff, 0x11, nth as u8]);
        }
        bytes
    }

    #[test]
    fn no_request_recv_waits() -> Result<(), Fault> {
        let mut bench = bench()?;
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        bench.open(9)?;
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        assert_eq!(bench.peek().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn no_request_send_is_refused() -> Result<(), Fault> {
        // Conformance case 31.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        assert_eq!(bench.send(b"r").err(), refused(Refusal::State));
        // A request that waits is not one in hand.
        assert_eq!(bench.arrives(pipe, ID, b"one")?, Fate::Kept(Wake::One));
        assert!(bench.shows(b"one"));
        assert_eq!(bench.send(b"r").err(), refused(Refusal::State));
        assert!(bench.gets(b"one"));
        bench.send(b"r")?;
        assert_eq!(bench.effects, Effects::flush(Flush::One(pipe)));
        assert!(bench.sent(&[(pipe, ID, b"r")]));
        assert_eq!(bench.send(b"r").err(), refused(Refusal::State));
        assert!(bench.sent(&[]));
        Ok(())
    }

    #[test]
    fn request_send_carries_its_tags_back() -> Result<(), Fault> {
        // Conformance case 32; up to four tags are kept in place.
        let mut bench = bench()?;
        let pipe = bench.open(99)?;
        for count in [1, 2, 3, 4, 5, 8] {
            let stack = stack(count);
            let tags = &stack[..count * TAG];
            bench.arrives(pipe, tags, b"b")?;
            assert!(bench.gets(b"b"));
            bench.send(b"r")?;
            assert!(bench.sent(&[(pipe, tags, b"r")]));
        }
        Ok(())
    }

    #[test]
    fn request_recv_replaces_it() -> Result<(), Fault> {
        // Conformance case 36.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, ID, b"one")?;
        bench.arrives(pipe, ID2, b"two")?;
        assert!(bench.gets(b"one"));
        assert!(bench.gets(b"two"));
        bench.send(b"r")?;
        assert!(bench.sent(&[(pipe, ID2, b"r")]));
        assert_eq!(bench.send(b"r").err(), refused(Refusal::State));
        Ok(())
    }

    #[test]
    fn request_recv_with_none_waiting_keeps_it() -> Result<(), Fault> {
        // Conformance case 37.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, ID, b"one")?;
        assert!(bench.gets(b"one"));
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        bench.send(b"r")?;
        assert!(bench.sent(&[(pipe, ID, b"r")]));
        Ok(())
    }

    #[test]
    fn request_peek_at_the_next_keeps_it() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, ID, b"one")?;
        bench.arrives(pipe, ID2, b"two")?;
        assert!(bench.gets(b"one"));
        assert!(bench.shows(b"two"));
        bench.send(b"r")?;
        assert!(bench.sent(&[(pipe, ID, b"r")]));
        assert!(bench.gets(b"two"));
        Ok(())
    }

    #[test]
    fn request_pipe_closed_send_is_accepted_and_counted() -> Result<(), Fault> {
        // Conformance case 38.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, ID, b"one")?;
        assert!(bench.gets(b"one"));
        bench.close(pipe)?;
        bench.send(b"r")?;
        assert_eq!(bench.effects, Effects::NONE);
        assert_eq!(bench.stats.tx_no_peer, 1);
        assert_eq!(bench.send(b"r").err(), refused(Refusal::State));
        assert!(bench.sent(&[]));
        Ok(())
    }

    #[test]
    fn request_pipe_closed_reply_misses_who_has_its_id_now() -> Result<(), Fault> {
        let mut bench = bench()?;
        let old = bench.open(9)?;
        bench.arrives(old, ID, b"one")?;
        assert!(bench.gets(b"one"));
        bench.close(old)?;
        assert_eq!(bench.open(9)?, old);
        bench.send(b"r")?;
        assert!(bench.sent(&[]));
        assert_eq!(bench.stats.tx_no_peer, 1);
        Ok(())
    }

    #[test]
    fn request_is_in_hand_until_it_is_answered() -> Result<(), Fault> {
        let mut bench = bench()?;
        let (pipe, other) = (bench.open(9)?, bench.open(9)?);
        let held =
            |bench: &Bench<Rep>| [pipe, other].map(|id| bench.machine.in_hand(&bench.peers, id));
        bench.arrives(pipe, ID, b"one")?;
        assert_eq!(held(&bench), [false, false]);
        assert!(bench.gets(b"one"));
        assert_eq!(held(&bench), [true, false]);
        bench.send(b"r")?;
        assert_eq!(held(&bench), [false, false]);
        Ok(())
    }

    #[test]
    fn request_other_pipe_closed_keeps_it() -> Result<(), Fault> {
        let mut bench = bench()?;
        let (pipe, other) = (bench.open(9)?, bench.open(9)?);
        bench.arrives(pipe, ID, b"one")?;
        assert!(bench.gets(b"one"));
        bench.close(other)?;
        bench.send(b"r")?;
        assert!(bench.sent(&[(pipe, ID, b"r")]));
        Ok(())
    }

    #[test]
    fn request_pipe_full_send_drops_the_reply_and_counts() -> Result<(), Fault> {
        // Conformance case 39; sp-request-reply-01: a reply that cannot be sent MUST be dropped.
        let mut bench = bench()?;
        let (slow, other) = (bench.open(1)?, bench.open(9)?);
        for reply in [b"1", b"2"] {
            bench.arrives(slow, ID, b"Q")?;
            assert!(bench.gets(b"Q"));
            bench.send(reply)?;
        }
        assert_eq!(bench.effects, Effects::NONE);
        assert!(bench.sent(&[(slow, ID, b"1")]));
        assert_eq!(bench.stats.tx_dropped, 1);
        assert_eq!(
            (bench.peers.dropped(slow), bench.peers.dropped(other)),
            (1, 0)
        );
        assert_eq!(bench.send(b"r").err(), refused(Refusal::State));
        // The others are served.
        bench.arrives(other, ID, b"Q")?;
        assert!(bench.gets(b"Q"));
        bench.send(b"3")?;
        assert!(bench.sent(&[(other, ID, b"3")]));
        // And so is this one, when it has read.
        bench.drain(slow, 1)?;
        bench.arrives(slow, ID, b"Q")?;
        assert!(bench.gets(b"Q"));
        bench.send(b"4")?;
        assert!(bench.sent(&[(slow, ID, b"4")]));
        Ok(())
    }

    #[test]
    fn waiting_request_pipe_closed_is_still_delivered() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, ID, b"one")?;
        bench.arrives(pipe, ID2, b"two")?;
        bench.close(pipe)?;
        for body in [b"one", b"two"] {
            assert!(bench.gets(body));
            bench.send(b"r")?;
        }
        assert!(bench.sent(&[]));
        assert_eq!(bench.stats.tx_no_peer, 2);
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn any_state_request_arrived_has_tags_up_to_the_limit() -> Result<(), Fault> {
        // Conformance case 33.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        let mut dropped = 0;
        for (limit, count) in [(8, 8), (1, 1), (2, 2), (255, 255)] {
            bench.machine.set_limits(limit, LONGEST);
            let fits = stack(count);
            let fate = bench.arrives(pipe, &fits[..count * TAG], b"x")?;
            assert_eq!(fate, Fate::Kept(Wake::One));
            assert!(bench.gets(b"x"));
            let above = stack(count + 1);
            let fate = bench.arrives(pipe, &above[..(count + 1) * TAG], b"x")?;
            assert_eq!(fate, Fate::Discarded);
            dropped += 1;
            assert_eq!(bench.stats.rx_ttl, dropped);
            assert_eq!(bench.recv().err(), refused(Refusal::Again));
        }
        assert_eq!(bench.stats.rx_malformed, 0);
        Ok(())
    }

    #[test]
    fn any_state_request_arrived_has_a_body_up_to_the_limit() -> Result<(), Fault> {
        // Conformance case 13: whatever tags it has.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        for (count, longest) in [(1, LONGEST), (8, LONGEST), (3, 0), (1, 1)] {
            bench.machine.set_limits(8, longest);
            let stack = stack(count);
            let tags = &stack[..count * TAG];
            let body = [7; LONGEST + 1];
            let fate = bench.arrives(pipe, tags, &body[..longest])?;
            assert_eq!(fate, Fate::Kept(Wake::One));
            assert!(bench.gets(&body[..longest]));
            let fate = bench.arrives(pipe, tags, &body[..longest + 1])?;
            assert_eq!(fate, Fate::TooLong);
            assert_eq!(bench.recv().err(), refused(Refusal::Again));
        }
        Ok(())
    }

    #[test]
    fn any_state_malformed_arrived_is_dropped_and_counted() -> Result<(), Fault> {
        // Conformance case 34.
        let malformed: [&[u8]; 5] = [
            b"",
            b"abc",
            b"\x80\0\0",
            b"\0\0\0\x01\0\0\0\x02",
            b"\0\0\0\x01\x80\0",
        ];
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        let mut dropped = 0;
        for bytes in malformed {
            assert_eq!(bench.arrives(pipe, b"", bytes)?, Fate::Discarded);
            dropped += 1;
            assert_eq!(bench.stats.rx_malformed, dropped);
            assert_eq!(bench.recv().err(), refused(Refusal::Again));
        }
        assert_eq!(bench.stats.rx_ttl, 0);
        Ok(())
    }

    #[test]
    fn any_state_request_of_any_id_and_size_arrived_is_delivered() -> Result<(), Fault> {
        // Conformance case 35.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        let requests: [(&[u8], &[u8]); 4] = [
            (ID, b""),
            (b"\xff\xff\xff\xff", b"Z"),
            (b"\x80\x00\x00\x00", b"\x80\x00\x00\x05"),
            (ID, &[7; 5000]),
        ];
        for (tags, body) in requests {
            bench.arrives(pipe, tags, body)?;
            assert!(bench.gets(body));
            bench.send(body)?;
            assert!(bench.sent(&[(pipe, tags, body)]));
        }
        Ok(())
    }

    #[test]
    fn waiting_requests_of_one_pipe_are_served_in_order() -> Result<(), Fault> {
        // Conformance case 40.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        for nth in 1..=5 {
            bench.arrives(pipe, &[0x80, 0, 0, nth], &[nth])?;
        }
        for nth in 1..=5 {
            assert!(bench.gets(&[nth]));
            bench.send(&[nth])?;
            assert!(bench.sent(&[(pipe, &[0x80, 0, 0, nth], &[nth])]));
        }
        Ok(())
    }

    #[test]
    fn waiting_requests_of_two_pipes_are_served_in_turn() -> Result<(), Fault> {
        // Conformance case 41.
        let mut bench = bench()?;
        let (first, second) = (bench.open(9)?, bench.open(9)?);
        for nth in 0..4 {
            for (pipe, name) in [(first, b'R'), (second, b'Q')] {
                bench.arrives(pipe, &[0x80, 0, 0, nth], &[name, nth])?;
            }
        }
        for nth in 0..4 {
            for (pipe, name) in [(first, b'R'), (second, b'Q')] {
                assert!(bench.gets(&[name, nth]));
                bench.send(&[nth])?;
                assert!(bench.sent(&[(pipe, &[0x80, 0, 0, nth], &[nth])]));
            }
        }
        Ok(())
    }

    #[test]
    fn waiting_request_arrived_again_is_dropped_and_counted() -> Result<(), Fault> {
        let mut bench = bench()?;
        let (pipe, other) = (bench.open(9)?, bench.open(9)?);
        for tags in [ID, &stack(3)[..3 * TAG], &stack(8)[..8 * TAG]] {
            let stale = bench.stats.rx_stale;
            assert_eq!(bench.arrives(pipe, tags, b"one")?, Fate::Kept(Wake::One));
            assert_eq!(bench.arrives(pipe, tags, b"two")?, Fate::Discarded);
            assert_eq!(bench.arrives(pipe, tags, b"one")?, Fate::Discarded);
            assert_eq!(bench.stats.rx_stale, stale + 2);
            // Another client's has nothing to do with it.
            assert_eq!(bench.arrives(other, tags, b"oth")?, Fate::Kept(Wake::One));
            for (body, to) in [(b"one", pipe), (b"oth", other)] {
                assert!(bench.gets(body));
                bench.send(b"r")?;
                assert!(bench.sent(&[(to, tags, b"r")]));
            }
            assert_eq!(bench.recv().err(), refused(Refusal::Again));
        }
        Ok(())
    }

    #[test]
    fn waiting_request_arrived_again_is_noticed_among_the_last() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        let tags = |nth| [0x80, 0, 0, nth];
        for nth in 0..17 {
            assert_eq!(
                bench.arrives(pipe, &tags(nth), b"x")?,
                Fate::Kept(Wake::One)
            );
        }
        for nth in 1..17 {
            assert_eq!(bench.arrives(pipe, &tags(nth), b"x")?, Fate::Discarded);
        }
        // It is the 17th by now.
        assert_eq!(bench.arrives(pipe, &tags(0), b"x")?, Fate::Kept(Wake::One));
        assert_eq!(bench.arrives(pipe, &tags(1), b"x")?, Fate::Kept(Wake::One));
        assert_eq!(bench.stats.rx_stale, 16);
        // Those that were taken do not wait.
        for _ in 0..16 {
            assert!(bench.gets(b"x"));
        }
        for nth in [16, 0, 1] {
            assert_eq!(bench.arrives(pipe, &tags(nth), b"x")?, Fate::Discarded);
        }
        for nth in [2, 15] {
            assert_eq!(
                bench.arrives(pipe, &tags(nth), b"x")?,
                Fate::Kept(Wake::One)
            );
        }
        Ok(())
    }

    #[test]
    fn request_arrived_again_is_kept_until_it_is_answered() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, ID, b"one")?;
        assert!(bench.gets(b"one"));
        // Whoever has it in hand may forget it.
        assert_eq!(bench.arrives(pipe, ID, b"one")?, Fate::Kept(Wake::One));
        assert!(bench.gets(b"one"));
        assert_eq!(bench.arrives(pipe, ID2, b"two")?, Fate::Kept(Wake::One));
        assert_eq!(bench.arrives(pipe, ID, b"one")?, Fate::Kept(Wake::One));
        assert_eq!(
            bench.arrives(pipe, &[0x80, 0, 0, 3], b"three")?,
            Fate::Kept(Wake::One)
        );
        bench.send(b"r")?;
        assert!(bench.sent(&[(pipe, ID, b"r")]));
        assert_eq!(bench.stats.rx_stale, 1);
        for (tags, body) in [(ID2, &b"two"[..]), (&[0x80, 0, 0, 3], b"three")] {
            // The others are still known.
            assert_eq!(
                bench.arrives(pipe, &[0x80, 0, 0, 3], b"three")?,
                Fate::Discarded
            );
            assert!(bench.gets(body));
            bench.send(b"r")?;
            assert!(bench.sent(&[(pipe, tags, b"r")]));
        }
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        assert_eq!(bench.arrives(pipe, ID, b"one")?, Fate::Kept(Wake::One));
        Ok(())
    }

    #[test]
    fn request_arrived_again_is_kept_behind_many() -> Result<(), Fault> {
        // To look for it would take its time.
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        for (others, stale) in [(15, 1), (16, 1)] {
            bench.arrives(pipe, ID, b"one")?;
            assert!(bench.gets(b"one"));
            for nth in 0..others {
                bench.arrives(pipe, &[0x80, 1, 0, nth], b"x")?;
            }
            bench.arrives(pipe, ID, b"one")?;
            bench.send(b"r")?;
            assert_eq!(bench.stats.rx_stale, stale);
            while bench.recv().is_ok() {}
        }
        Ok(())
    }

    #[test]
    fn request_arrived_again_is_kept_where_the_reply_is_dropped() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(1)?;
        for _ in 0..2 {
            bench.arrives(pipe, ID, b"one")?;
            assert!(bench.gets(b"one"));
            bench.arrives(pipe, ID, b"one")?;
            bench.send(b"r")?;
        }
        assert_eq!((bench.stats.tx_dropped, bench.stats.rx_stale), (1, 1));
        assert!(bench.sent(&[(pipe, ID, b"r")]));
        bench.drain(pipe, 1)?;
        assert!(bench.gets(b"one"));
        bench.send(b"r")?;
        assert!(bench.sent(&[(pipe, ID, b"r")]));
        Ok(())
    }

    #[test]
    fn request_arrived_again_and_shown_is_delivered() -> Result<(), Fault> {
        let mut bench = bench()?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, ID, b"one")?;
        assert!(bench.gets(b"one"));
        bench.arrives(pipe, ID, b"one")?;
        assert!(bench.shows(b"one"));
        bench.send(b"r")?;
        assert_eq!(bench.stats.rx_stale, 0);
        assert!(bench.gets(b"one"));
        Ok(())
    }
}
