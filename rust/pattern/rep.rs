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
use super::peers::Peers;
use super::role::Seed;
use super::{
    Effects,
    Flush,
    Handle,
    Pattern,
    Received,
    Refused,
    Ticket,
    Wake,
    World, //
};
use crate::bytes::Source;
use crate::error::Refusal;
use crate::ids::PipeId;
use crate::message::run::Taken;
use crate::message::tags::Tags;
use crate::message::{
    Message,
    Msg, //
};
use crate::stats::Reason;

pub(crate) struct Rep {
    /// For digests.
    key: Seed,
}

impl Rep {
    pub(crate) fn new(key: Seed) -> Self {
        Rep { key }
    }
}

impl Rep {
    /// A peer gets a reply to the request with these tags now: if it has asked again, that is no use to it.
    fn forget_asked<H: Handle>(&self, w: &mut World<'_, H>, peer: PipeId, tags: &Tags) {
        let digest = || tags.digest(self.key.0);
        let mut again = w.peers.retract(peer, tags, digest);
        while let Some(gone) = again.pop() {
            w.stats.discarded(Reason::Stale);
            w.trash.push(gone);
        }
    }
}

impl Pattern for Rep {
    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, mut msg: Msg) -> Result<Effects, Refused> {
        let debt = w.caller.and_then(|caller| w.peers.hands.owed(caller));
        let request = debt.and_then(|debt| w.peers.hands.answer(debt));
        let Some(request) = request else {
            let why = Refusal::State;
            return Err(Refused { why, msg });
        };
        msg.tags = request.backtrace;
        let Some(to) = request.from.and_then(|origin| w.peers.find(origin)) else {
            w.stats.discarded(Reason::NoPeer);
            return Ok(Effects::NONE);
        };
        if !w.peers.is_writable(to) {
            w.drop_for(to);
            return Ok(Effects::NONE);
        }
        self.forget_asked(w, to, &msg.tags);
        w.peers.push(to, msg);
        Ok(Effects::flush(Flush::One(to)))
    }

    fn send_from<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        len: usize,
        body: &mut impl Source,
    ) -> Option<Effects> {
        let debt = w.peers.hands.owed(w.caller?)?;
        let from = w.peers.hands.request(&debt)?.from?;
        let to = w.peers.find(from)?;
        if !w.peers.is_writable(to) || !w.peers.copy_reply(to, &debt, len, body) {
            return None;
        }
        let request = w.peers.hands.answer(debt)?;
        self.forget_asked(w, to, &request.backtrace);
        Some(Effects::flush(Flush::One(to)))
    }

    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        _ticket: &mut Ticket,
    ) -> Result<(Taken, Effects), Refusal> {
        let caller = w.caller.ok_or(Refusal::State)?;
        if !w.peers.some_readable() {
            return Err(if self.admits(w) {
                Refusal::Again
            } else {
                Refusal::State
            });
        }
        // Before a request is taken, which must not get lost.
        let seat = w.peers.hands.seat(caller)?;
        let (from, mut taken, alive) = w.peers.dequeue().ok_or(Refusal::Again)?;
        let request = Request {
            from: w.peers.origin(from).filter(|_| alive),
            backtrace: taken.take_tags(),
        };
        w.peers.hands.take(seat, caller, request);
        // Now there is a request to reply to.
        Ok((taken, Effects::wake_writers()))
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

    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, from: PipeId, msg: Msg) -> Received {
        let digest = msg.tags.digest(self.key.0);
        match w.peers.enqueue_new(from, msg, digest) {
            // The one that is woken may have no room, and would tell nobody.
            Ok(()) if w.peers.hands.are_full() => Received::Kept(Wake::All),
            Ok(()) => Received::Kept(Wake::One),
            Err(msg) => Received::Discarded(msg, Reason::Stale),
        }
    }

    fn in_hand<H: Handle>(&self, peers: &Peers<H>, id: PipeId) -> bool {
        let origin = peers.origin(id);
        origin.is_some_and(|origin| peers.hands.hold(origin))
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_rep))]
mod tests {
    use super::super::bench::{
        refused,
        Bench,
        Fate,
        Fault, //
    };
    use super::*;
    use crate::message::tags::TAG;
    use crate::stats::Counter;

    /// A request id, as it arrives.
    const ID: &[u8] = b"\x80\x00\x00\x01";
    const ID2: &[u8] = b"\x80\x00\x00\x02";

    /// The most tags that any limit allows, and one more.
    const TAGS: usize = 256;

    fn bench() -> Result<Bench<Rep>, Fault> {
        Bench::new(Rep::new(Seed(0x0123_4567_89ab_cdef)))
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
        assert_eq!(bench.stats.get(Counter::TxNoPeer), 1);
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
        assert_eq!(bench.stats.get(Counter::TxNoPeer), 1);
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
        assert_eq!(bench.stats.get(Counter::TxDropped), 1);
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
        assert_eq!(bench.stats.get(Counter::TxNoPeer), 2);
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
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
            let stale = bench.stats.get(Counter::RxStale);
            assert_eq!(bench.arrives(pipe, tags, b"one")?, Fate::Kept(Wake::One));
            assert_eq!(
                bench.arrives(pipe, tags, b"two")?,
                Fate::Discarded(Reason::Stale)
            );
            assert_eq!(
                bench.arrives(pipe, tags, b"one")?,
                Fate::Discarded(Reason::Stale)
            );
            assert_eq!(bench.stats.get(Counter::RxStale), stale + 2);
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
            assert_eq!(
                bench.arrives(pipe, &tags(nth), b"x")?,
                Fate::Discarded(Reason::Stale)
            );
        }
        // It is the 17th by now.
        assert_eq!(bench.arrives(pipe, &tags(0), b"x")?, Fate::Kept(Wake::One));
        assert_eq!(bench.arrives(pipe, &tags(1), b"x")?, Fate::Kept(Wake::One));
        assert_eq!(bench.stats.get(Counter::RxStale), 16);
        // Those that were taken do not wait.
        for _ in 0..16 {
            assert!(bench.gets(b"x"));
        }
        for nth in [16, 0, 1] {
            assert_eq!(
                bench.arrives(pipe, &tags(nth), b"x")?,
                Fate::Discarded(Reason::Stale)
            );
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
        assert_eq!(bench.stats.get(Counter::RxStale), 1);
        for (tags, body) in [(ID2, &b"two"[..]), (&[0x80, 0, 0, 3], b"three")] {
            // The others are still known.
            assert_eq!(
                bench.arrives(pipe, &[0x80, 0, 0, 3], b"three")?,
                Fate::Discarded(Reason::Stale)
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
            assert_eq!(bench.stats.get(Counter::RxStale), stale);
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
        assert_eq!(
            (
                bench.stats.get(Counter::TxDropped),
                bench.stats.get(Counter::RxStale)
            ),
            (1, 1)
        );
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
        assert_eq!(bench.stats.get(Counter::RxStale), 0);
        assert!(bench.gets(b"one"));
        Ok(())
    }
}
