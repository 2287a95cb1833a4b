// SPDX-License-Identifier: GPL-2.0

//! PUB and SUB: one message to everybody who wants it.
//!
//! A publisher gives every message to every peer that has room and never waits: what a slow peer misses
//! is counted. It must not be sent anything: the pipe of a peer that does is ended. A subscriber keeps what starts with one
//! of its topics and decides so when a message arrives, so that nothing waits in a queue that a receive
//! would skip. It never drops: when SO_RCVBUF is full, reading stops and the publisher notices.
//!
//! sp-publish-subscribe-01 has the type numbers and no more. The rest matches nanomsg
//! (src/protocols/pubsub) and nng (src/sp/protocol/pubsub0), where they agree.

use super::peers::Peers;
use super::trie::{
    Trie,
    TrieError, //
};
use super::{
    Effects,
    Flush,
    Given,
    Handle,
    Many,
    Pattern,
    Place,
    Received,
    Refused,
    Wake,
    World,
    STEP, //
};
use crate::address::Address;
use crate::error::Refusal;
use crate::ids::PipeId;
use crate::mem::{
    accounted,
    Arc,
    KVec,
    NO_SLEEP, //
};
use crate::message::queue::Queue;
use crate::message::{
    Bytes,
    Message,
    Msg, //
};
use crate::stats::Reason;

/// How many messages that were collected are given one by one before the socket's lock is released for others.
const ONE_BY_ONE: usize = 4 * STEP;

pub(crate) struct Pub {
    /// A message on its way to all peers, and the id to go on from.
    walk: Option<(Arc<Bytes>, PipeId)>,
}

impl Pub {
    pub(crate) fn new() -> Self {
        Pub { walk: None }
    }
}

impl Pattern for Pub {
    const RECEIVES: bool = false;

    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, mut msg: Msg) -> Result<Effects, Refused> {
        let Ok(body) = msg.share(NO_SLEEP) else {
            let why = Refusal::NoMemory;
            return Err(Refused { why, msg });
        };
        if w.peers.count_up() == 0 {
            w.stats.discarded(Reason::NoPeer);
            return Ok(Effects::NONE);
        }
        self.walk = Some((body, PipeId(0)));
        Ok(self.go_on(w).unwrap_or(Effects::NONE))
    }

    /// Where they are so many that it takes more than one step, the body has to be kept; and where one of them
    /// takes no copy now, nobody is given one: the memory of a message can be waited for, before it.
    fn send_short<H: Handle>(&mut self, w: &mut World<'_, H>, body: &[u8]) -> Option<Effects> {
        let count = usize::try_from(w.peers.count_up()).unwrap_or(usize::MAX);
        if count == 0 {
            w.stats.discarded(Reason::NoPeer);
            return Some(Effects::NONE);
        }
        if count > STEP || !w.peers.all_take_copies(body.len()) {
            return None;
        }
        let (mut next, mut starved) = (0, false);
        while let Some((to, _)) = w.peers.up_from(next) {
            next = to.next();
            if !w.peers.is_writable(to) {
                w.drop_for(to);
            } else if !w.peers.copy_to(to, body) {
                // What was made room in has been sent meanwhile, and there is no memory.
                starved = true;
                w.drop_for(to);
            }
        }
        let all = Flush::Span(PipeId(0), PipeId(u32::MAX));
        Some(Effects {
            starved,
            ..Effects::flush(all)
        })
    }

    /// Not while another message is on its way, which they would overtake, nor where it takes more than one step.
    fn collects<H: Handle>(&self, w: &World<'_, H>) -> bool {
        let count = usize::try_from(w.peers.count_up()).unwrap_or(usize::MAX);
        self.walk.is_none() && (1..=STEP).contains(&count)
    }

    fn send_all<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        all: &H::Many,
        at: &mut Place,
        forced: bool,
    ) -> Given {
        let (mut starved, mut left) = (false, ONE_BY_ONE);
        while let Some((to, pipe)) = w.peers.up_from(at.pipe) {
            if to.0 != at.pipe {
                // The other one is gone.
                *at = Place { pipe: to.0, has: 0 };
            }
            let copied = match at.has == 0 && !w.peers.is_late(to) && w.peers.is_writable(to) {
                true => pipe.take_all(all),
                false => None,
            };
            if let Some(room) = copied {
                w.peers.has_given(to, room);
            } else if !w.peers.take_late(to) {
                for body in all.each().skip(at.has) {
                    if !w.peers.is_writable(to) {
                        w.drop_many_for(to, all.count().saturating_sub(at.has));
                        break;
                    }
                    if left == 0 && !forced {
                        return Given::Part;
                    }
                    left = left.saturating_sub(1);
                    if w.copy_or_push(to, body).is_err() {
                        if !forced {
                            return Given::Short;
                        }
                        starved = true;
                        w.drop_for(to);
                    }
                    at.has = at.has.saturating_add(1);
                }
            }
            *at = Place {
                pipe: to.next(),
                has: 0,
            };
        }
        let all = Flush::Span(PipeId(0), PipeId(u32::MAX));
        Given::All(Effects {
            starved,
            ..Effects::flush(all)
        })
    }

    fn go_on<H: Handle>(&mut self, w: &mut World<'_, H>) -> Option<Effects> {
        let (body, from) = self.walk.take()?;
        let (next, starved) = w.push_to_all(&body, from, STEP);
        if let Some(next) = next {
            self.walk = Some((body, next));
        }
        let behind = next.unwrap_or(PipeId(u32::MAX));
        Some(Effects {
            starved,
            ..Effects::flush(Flush::Span(from, behind))
        })
    }

    fn can_send<H: Handle>(&self, _peers: &Peers<H>, _caller: &H::Caller) -> bool {
        true
    }
}

pub(crate) struct Sub {
    topics: Trie,
}

impl Sub {
    pub(crate) fn new() -> Self {
        Sub {
            topics: Trie::new(),
        }
    }

    fn wants(&self, body: &[u8]) -> bool {
        self.topics.matches(body)
    }
}

impl Pattern for Sub {
    fn recv_now<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        give: impl FnOnce(&[u8], &Address) -> bool,
    ) -> Option<usize> {
        w.peers.give_first(give)
    }

    fn subscribe(&mut self, topic: KVec<u8>) -> Result<(), TrieError> {
        self.topics.subscribe(topic)
    }

    fn unsubscribe(&mut self, topic: &[u8]) -> Result<Effects, TrieError> {
        let purge = self.topics.unsubscribe(topic)?;
        Ok(Effects {
            purge,
            ..Effects::NONE
        })
    }

    fn purge<H: Handle>(&self, peers: &mut Peers<H>, from: u32) -> Option<(Queue, u32)> {
        peers.purge_from(from, |_, body| self.wants(body))
    }

    fn received<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        from: PipeId,
        mut msg: Msg,
    ) -> Received {
        let (wanted, lost) = msg.retain(|_, body| self.wants(body));
        // Of a run; of another one it is counted with the rest.
        w.stats.discarded_all(Reason::Filtered, lost.messages);
        if !wanted {
            return Received::Discarded(msg, Reason::Filtered);
        }
        let wake = Wake::each(msg.messages());
        match Message::apart(msg, accounted(NO_SLEEP)) {
            Ok(mut few) => {
                while let Some(msg) = few.pop() {
                    w.peers.enqueue(from, msg);
                }
            }
            Err(msg) => w.peers.enqueue(from, msg),
        }
        Received::Kept(wake)
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_pub))]
mod pub_tests {
    use super::super::bench::{
        message,
        refused,
        Bench,
        Fate,
        Fault, //
    };
    use super::*;
    use crate::mem::GFP_KERNEL;
    use crate::stats::Counter;

    #[test]
    fn any_state_recv_is_refused() -> Result<(), Fault> {
        // Conformance case 49.
        let mut bench = Bench::new(Pub::new())?;
        assert_eq!(bench.recv().err(), refused(Refusal::Direction));
        bench.open(9)?;
        assert_eq!(bench.recv().err(), refused(Refusal::Direction));
        assert_eq!(bench.peek().err(), refused(Refusal::Direction));
        Ok(())
    }

    #[test]
    fn no_peers_send_is_accepted_and_counted() -> Result<(), Fault> {
        let mut bench = Bench::new(Pub::new())?;
        bench.send(b"a")?;
        assert_eq!(bench.effects, Effects::NONE);
        // One that has not greeted yet is none.
        bench.pipe(9)?;
        bench.send(b"b")?;
        assert_eq!(bench.stats.get(Counter::TxNoPeer), 2);
        assert_eq!(bench.stats.get(Counter::TxDropped), 0);
        assert!(bench.sent(&[]));
        Ok(())
    }

    #[test]
    fn peers_send_reaches_each_that_is_up() -> Result<(), Fault> {
        // Conformance case 46.
        let mut bench = Bench::new(Pub::new())?;
        let first = bench.open(9)?;
        bench.send(b"a")?;
        let greeting = bench.pipe(9)?;
        let (second, third) = (bench.open(9)?, bench.open(9)?);
        bench.send(b"b")?;
        assert_eq!(
            bench.effects,
            Effects::flush(Flush::Span(PipeId(0), PipeId(u32::MAX)))
        );
        assert!(bench.sent(&[
            (first, b"", b"a"),
            (first, b"", b"b"),
            (second, b"", b"b"),
            (third, b"", b"b"),
        ]));
        bench.close(second)?;
        bench.peers.opened(greeting);
        let long = [b'c'; 5000];
        bench.send(&long)?;
        bench.send(b"")?;
        assert!(bench.sent(&[
            (first, b"", &long),
            (greeting, b"", &long),
            (third, b"", &long),
            (first, b"", b""),
            (greeting, b"", b""),
            (third, b"", b""),
        ]));
        assert_eq!(
            (
                bench.stats.get(Counter::TxDropped),
                bench.stats.get(Counter::TxNoPeer)
            ),
            (0, 0)
        );
        Ok(())
    }

    #[test]
    fn one_that_takes_no_copy_is_pushed_one() -> Result<(), Fault> {
        let mut bench = Bench::new(Pub::new())?;
        let (first, busy, third) = (bench.open(9)?, bench.open(9)?, bench.open(9)?);
        bench.busy(busy);
        // One of them short, the other not.
        for body in [b"1", b"2"] {
            bench.send(body)?;
            assert!(bench.sent(&[(first, b"", body), (busy, b"", body), (third, b"", body),]));
        }
        bench.busy(first);
        bench.send(b"3")?;
        assert!(bench.sent(&[(first, b"", b"3"), (busy, b"", b"3"), (third, b"", b"3"),]));
        assert_eq!(bench.stats.get(Counter::TxDropped), 0);
        Ok(())
    }

    #[test]
    fn one_full_send_drops_its_copy_and_counts() -> Result<(), Fault> {
        // Conformance case 47.
        let mut bench = Bench::new(Pub::new())?;
        let (slow, other) = (bench.open(1)?, bench.open(9)?);
        for body in [b"1", b"2", b"3"] {
            bench.send(body)?;
        }
        assert_eq!(bench.stats.get(Counter::TxDropped), 2);
        assert_eq!(
            (bench.peers.dropped(slow), bench.peers.dropped(other)),
            (2, 0)
        );
        assert!(bench.sent(&[
            (slow, b"", b"1"),
            (other, b"", b"1"),
            (other, b"", b"2"),
            (other, b"", b"3"),
        ]));
        bench.drain(slow, 1)?;
        bench.send(b"4")?;
        assert!(bench.sent(&[(slow, b"", b"4"), (other, b"", b"4")]));
        Ok(())
    }

    #[test]
    fn all_full_send_is_accepted_and_counted() -> Result<(), Fault> {
        let mut bench = Bench::new(Pub::new())?;
        let pipes = [bench.open(1)?, bench.open(1)?];
        bench.send(b"1")?;
        bench.send(b"2")?;
        assert_eq!(
            (
                bench.stats.get(Counter::TxDropped),
                bench.stats.get(Counter::TxNoPeer)
            ),
            (2, 0)
        );
        assert_eq!(pipes.map(|pipe| bench.peers.dropped(pipe)), [1, 1]);
        // Whoever comes next in its place has missed nothing.
        bench.close(pipes[0])?;
        assert_eq!(bench.open(1)?, pipes[0]);
        assert_eq!(bench.peers.dropped(pipes[0]), 0);
        assert!(bench.sent(&[(pipes[0], b"", b"1"), (pipes[1], b"", b"1")]));
        Ok(())
    }

    /// What was collected.
    fn many(bodies: &[&[u8]]) -> Result<KVec<KVec<u8>>, Fault> {
        let mut many = KVec::new();
        for bytes in bodies {
            let mut body = KVec::new();
            let copied = body.extend_from_slice(bytes, GFP_KERNEL);
            let listed = copied.and_then(|()| many.push(body, GFP_KERNEL));
            listed.map_err(|_| Fault::NoMemory)?;
        }
        Ok(many)
    }

    /// Sends what was collected, from a place on.
    fn send_all(bench: &mut Bench<Pub>, bodies: &[&[u8]], at: Place) -> Result<(), Fault> {
        let many = many(bodies)?;
        bench.act(
            |machine, world| match machine.send_all(world, &many, &mut { at }, true) {
                Given::All(effects) => effects,
                Given::Part | Given::Short => Effects::NONE,
            },
        )
    }

    #[test]
    fn collected_reach_each_that_is_up_as_far_as_it_has_room() -> Result<(), Fault> {
        let mut bench = Bench::new(Pub::new())?;
        let (first, small, busy) = (bench.open(9)?, bench.open(1)?, bench.open(9)?);
        bench.pipe(9)?;
        bench.busy(busy);
        send_all(&mut bench, &[b"1", b"", b"3"], Place::default())?;
        let all = Flush::Span(PipeId(0), PipeId(u32::MAX));
        assert_eq!(bench.effects, Effects::flush(all));
        assert!(bench.sent(&[
            (first, b"", b"1"),
            (first, b"", b""),
            (first, b"", b"3"),
            (small, b"", b"1"),
            (busy, b"", b"1"),
            (busy, b"", b""),
            (busy, b"", b"3"),
        ]));
        assert_eq!(bench.stats.get(Counter::TxDropped), 2);
        assert_eq!(bench.peers.dropped(small), 2);
        // It is full now, and the others are not.
        send_all(&mut bench, &[b"4"], Place::default())?;
        assert!(bench.sent(&[(first, b"", b"4"), (busy, b"", b"4")]));
        assert_eq!(bench.peers.dropped(small), 3);
        Ok(())
    }

    #[test]
    fn collected_goes_on_where_it_has_stopped() -> Result<(), Fault> {
        let mut bench = Bench::new(Pub::new())?;
        let (_, second, third) = (bench.open(9)?, bench.open(9)?, bench.open(9)?);
        let at = |pipe: PipeId| Place {
            pipe: pipe.0,
            has: 1,
        };
        send_all(&mut bench, &[b"1", b"2"], at(second))?;
        assert!(bench.sent(&[(second, b"", b"2"), (third, b"", b"1"), (third, b"", b"2")]));
        // Who had some of it is gone: the next one has none.
        bench.close(second)?;
        send_all(&mut bench, &[b"1", b"2"], at(second))?;
        assert!(bench.sent(&[(third, b"", b"1"), (third, b"", b"2")]));
        Ok(())
    }

    #[test]
    fn collected_is_not_for_who_is_late() -> Result<(), Fault> {
        let mut bench = Bench::new(Pub::new())?;
        let (first, late) = (bench.open(9)?, bench.open(9)?);
        bench.peers.set_late(late);
        send_all(&mut bench, &[b"1", b"2"], Place::default())?;
        assert!(bench.sent(&[(first, b"", b"1"), (first, b"", b"2")]));
        send_all(&mut bench, &[b"3"], Place::default())?;
        assert!(bench.sent(&[(first, b"", b"3"), (late, b"", b"3")]));
        assert_eq!(bench.stats.get(Counter::TxDropped), 0);
        Ok(())
    }

    #[test]
    fn collected_is_given_one_by_one_in_steps() -> Result<(), Fault> {
        let mut bench = Bench::new(Pub::new())?;
        let (busy, other) = (bench.open(999)?, bench.open(999)?);
        bench.busy(busy);
        let many = many(&[&b"m"[..]; ONE_BY_ONE + 1])?;
        let mut at = Place::default();
        let mut given = Given::Short;
        for part in [true, false] {
            bench.act(|machine, world| {
                given = machine.send_all(world, &many, &mut at, false);
                Effects::NONE
            })?;
            let stopped = given == Given::Part;
            assert_eq!(stopped, part);
        }
        let mut frames = [(busy, &b""[..], &b"m"[..]); 2 * (ONE_BY_ONE + 1)];
        for frame in frames.iter_mut().skip(ONE_BY_ONE + 1) {
            frame.0 = other;
        }
        assert!(bench.sent(&frames));
        Ok(())
    }

    #[test]
    fn nothing_is_collected_for_nobody_nor_for_too_many_nor_on_the_way() -> Result<(), Fault> {
        let mut bench = Bench::new(Pub::new())?;
        let collects = |bench: &mut Bench<Pub>| {
            let mut told = false;
            let asked = bench.act(|machine, world| {
                told = machine.collects(world);
                Effects::NONE
            });
            asked.map(|()| told)
        };
        assert!(!collects(&mut bench)?);
        for _ in 0..STEP {
            bench.open(9)?;
            assert!(collects(&mut bench)?);
        }
        let last = bench.open(9)?;
        assert!(!collects(&mut bench)?);
        // A long message on its way to many, of whom some leave.
        let msg = message(b"", &[b'm'; 5000])?;
        bench.act(|machine, world| machine.send(world, msg).unwrap_or(Effects::NONE))?;
        bench.close(last)?;
        assert!(!collects(&mut bench)?);
        bench.act(|machine, world| machine.go_on(world).unwrap_or(Effects::NONE))?;
        assert!(collects(&mut bench)?);
        Ok(())
    }

    #[test]
    fn any_state_message_arrived_is_fatal_to_its_pipe() -> Result<(), Fault> {
        // Conformance case 48.
        let mut bench = Bench::new(Pub::new())?;
        let (rude, other) = (bench.open(9)?, bench.open(9)?);
        assert_eq!(
            bench.arrives(rude, b"", b"x")?,
            Fate::Fatal(Reason::Malformed)
        );
        assert_eq!(
            bench.arrives(rude, b"", b"")?,
            Fate::Fatal(Reason::Malformed)
        );
        assert_eq!(bench.stats.get(Counter::RxMalformed), 2);
        bench.close(rude)?;
        bench.send(b"a")?;
        assert!(bench.sent(&[(other, b"", b"a")]));
        Ok(())
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_sub))]
mod sub_tests {
    use super::super::bench::{
        refused,
        Bench,
        Fate,
        Fault, //
    };
    use super::*;
    use crate::mem::{
        NoMemory,
        GFP_KERNEL, //
    };
    use crate::message::HEAD;
    use crate::stats::Counter;

    const KEPT: Fate = Fate::Kept(Wake::One);

    fn bench(topics: &[&[u8]]) -> Result<Bench<Sub>, Fault> {
        let mut sub = Sub::new();
        for topic in topics {
            let mut copy = KVec::new();
            copy.extend_from_slice(topic, GFP_KERNEL)
                .map_err(|_| Fault::NoMemory)?;
            sub.subscribe(copy).map_err(|_| Fault::NoMemory)?;
        }
        Bench::new(sub)
    }

    /// Unsubscribes and purges, as `rust/socket/` does, and tells how many messages that took out.
    fn unsubscribe(bench: &mut Bench<Sub>, topic: &[u8]) -> Result<usize, TrieError> {
        let mut next = bench.machine.unsubscribe(topic)?.purge.then_some(0);
        let mut count = 0;
        while let Some(from) = next {
            next = match bench.machine.purge(&mut bench.peers, from) {
                Some((mut gone, from)) => {
                    while gone.pop().is_some() {
                        count += 1;
                    }
                    Some(from)
                }
                None => None,
            };
        }
        Ok(count)
    }

    #[test]
    fn any_state_send_is_refused() -> Result<(), Fault> {
        // Conformance case 49.
        let mut bench = bench(&[b""])?;
        bench.open(9)?;
        assert_eq!(bench.send(b"x").err(), refused(Refusal::Direction));
        assert!(bench.sent(&[]));
        Ok(())
    }

    #[test]
    fn no_subscription_message_arrived_is_filtered_and_counted() -> Result<(), Fault> {
        // Conformance case 42.
        let mut bench = bench(&[])?;
        let pipe = bench.open(9)?;
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        assert_eq!(
            bench.arrives(pipe, b"", b"abc")?,
            Fate::Discarded(Reason::Filtered)
        );
        assert_eq!(
            bench.arrives(pipe, b"", b"")?,
            Fate::Discarded(Reason::Filtered)
        );
        assert_eq!(bench.stats.get(Counter::RxFiltered), 2);
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        assert_eq!(bench.peek().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn subscribed_message_arrived_is_kept_if_a_topic_is_its_prefix() -> Result<(), Fault> {
        // Conformance case 43: once each, however many topics match.
        let mut narrow = bench(&[b"ab", b"abc"])?;
        let pipe = narrow.open(9)?;
        let arrivals: [(&[u8], Fate); 5] = [
            (b"ab", KEPT),
            (b"abc", KEPT),
            (b"a", Fate::Discarded(Reason::Filtered)),
            (b"xab", Fate::Discarded(Reason::Filtered)),
            (b"", Fate::Discarded(Reason::Filtered)),
        ];
        for (body, fate) in arrivals {
            assert_eq!(narrow.arrives(pipe, b"", body)?, fate);
        }
        assert_eq!(narrow.stats.get(Counter::RxFiltered), 3);
        assert!(narrow.gets(b"ab"));
        assert!(narrow.gets(b"abc"));
        assert_eq!(narrow.recv().err(), refused(Refusal::Again));

        let mut wide = bench(&[b"", b"q"])?;
        let pipe = wide.open(9)?;
        assert_eq!(wide.arrives(pipe, b"", b"q1")?, KEPT);
        assert_eq!(wide.arrives(pipe, b"", b"")?, KEPT);
        assert!(wide.gets(b"q1"));
        assert!(wide.gets(b""));
        assert_eq!(wide.recv().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn longest_topic_message_arrived_is_compared_whole() -> Result<(), Fault> {
        // SP_SUBSCRIBE takes up to 4096 bytes; the head of a body is as long.
        let mut topic = KVec::new();
        for _ in 0..=HEAD {
            topic.push(b't', NO_SLEEP).map_err(NoMemory::from)?;
        }
        let mut bench = bench(&[&topic[1..]])?;
        let pipe = bench.open(9)?;
        assert_eq!(bench.arrives(pipe, b"", &topic)?, KEPT);
        assert_eq!(bench.arrives(pipe, b"", &topic[1..])?, KEPT);
        assert_eq!(
            bench.arrives(pipe, b"", &topic[2..])?,
            Fate::Discarded(Reason::Filtered)
        );
        topic.pop();
        if let Some(last) = topic.last_mut() {
            *last = b'u';
        }
        assert_eq!(
            bench.arrives(pipe, b"", &topic)?,
            Fate::Discarded(Reason::Filtered)
        );
        Ok(())
    }

    #[test]
    fn subscribed_twice_unsubscribed_once_still_receives() -> Result<(), Fault> {
        // Conformance case 44.
        let mut bench = bench(&[b"ab", b"ab"])?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, b"", b"ab0")?;
        assert_eq!(unsubscribe(&mut bench, b"ab"), Ok(0));
        assert!(bench.gets(b"ab0"));
        assert_eq!(bench.arrives(pipe, b"", b"abc")?, KEPT);
        assert_eq!(unsubscribe(&mut bench, b"ab"), Ok(1));
        assert_eq!(
            bench.arrives(pipe, b"", b"abc")?,
            Fate::Discarded(Reason::Filtered)
        );
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn any_state_unsubscribe_of_absent_changes_nothing() -> Result<(), Fault> {
        // Conformance case 45.
        let mut none = bench(&[])?;
        assert_eq!(unsubscribe(&mut none, b""), Err(TrieError::Absent));
        let mut bench = bench(&[b"ab"])?;
        let pipe = bench.open(9)?;
        bench.arrives(pipe, b"", b"ab")?;
        let absent: [&[u8]; 4] = [b"", b"a", b"abc", b"x"];
        for topic in absent {
            assert_eq!(unsubscribe(&mut bench, topic), Err(TrieError::Absent));
        }
        assert!(bench.gets(b"ab"));
        Ok(())
    }

    #[test]
    fn waiting_messages_unsubscribed_are_purged() -> Result<(), Fault> {
        let mut bench = bench(&[b"a", b"b", b"ax"])?;
        let (first, second, third) = (bench.open(9)?, bench.open(9)?, bench.open(9)?);
        for (from, body) in [
            (first, b"a1"),
            (first, b"b1"),
            (first, b"ax"),
            (first, b"b2"),
            (second, b"a2"),
            (third, b"a3"),
            (third, b"b3"),
        ] {
            assert_eq!(bench.arrives(from, b"", body)?, KEPT);
        }
        // What another topic wants stays, in its order.
        assert_eq!(unsubscribe(&mut bench, b"a"), Ok(3));
        for body in [b"b1", b"b3", b"ax", b"b2"] {
            assert!(bench.gets(body));
        }
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn waiting_front_purged_makes_way_for_the_next() -> Result<(), Fault> {
        let mut bench = bench(&[b"a", b"b"])?;
        let (first, second) = (bench.open(9)?, bench.open(9)?);
        bench.arrives(first, b"", b"a1")?;
        bench.arrives(second, b"", b"b1")?;
        assert!(bench.shows(b"a1"));
        assert_eq!(unsubscribe(&mut bench, b"a"), Ok(1));
        assert!(bench.shows(b"b1"));
        assert!(bench.gets(b"b1"));
        assert_eq!(unsubscribe(&mut bench, b"b"), Ok(0));
        Ok(())
    }

    #[test]
    fn waiting_messages_of_two_publishers_are_received_in_turn() -> Result<(), Fault> {
        let mut bench = bench(&[b""])?;
        let (first, second) = (bench.open(9)?, bench.open(9)?);
        for body in [b"R0", b"R1", b"R2"] {
            bench.arrives(first, b"", body)?;
        }
        for body in [b"Q0", b"Q1"] {
            bench.arrives(second, b"", body)?;
        }
        for body in [b"R0", b"Q0", b"R1", b"Q1", b"R2"] {
            assert!(bench.gets(body));
        }
        Ok(())
    }

    #[test]
    fn waiting_messages_of_a_closed_pipe_are_received() -> Result<(), Fault> {
        // Conformance case 16.
        let mut bench = bench(&[b""])?;
        let pipe = bench.open(9)?;
        for body in [b"1", b"2", b"3"] {
            bench.arrives(pipe, b"", body)?;
        }
        bench.close(pipe)?;
        for body in [b"1", b"2", b"3"] {
            assert!(bench.gets(body));
        }
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn peeked_message_stays_first_whatever_arrives() -> Result<(), Fault> {
        let mut bench = bench(&[b""])?;
        let pipes = [bench.open(9)?, bench.open(9)?, bench.open(9)?];
        bench.arrives(pipes[1], b"", b"1")?;
        assert!(bench.shows(b"1"));
        bench.arrives(pipes[0], b"", b"0")?;
        assert!(bench.shows(b"1"));
        bench.arrives(pipes[2], b"", b"2")?;
        bench.close(pipes[1])?;
        assert!(bench.shows(b"1"));
        for body in [b"1", b"2", b"0"] {
            assert!(bench.gets(body));
        }
        Ok(())
    }
}
