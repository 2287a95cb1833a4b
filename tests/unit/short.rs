// SPDX-License-Identifier: GPL-2.0

//! The patterns where memory is short: of a conversation each allocation fails once, and what was refused
//! for that is tried again. Nothing else may go wrong with it, and the rest be as if nothing had.

use crate::error::Refusal;
use crate::ids::PipeId;
use crate::mem::{
    fail_after,
    has_failed,
    KVec,
    NO_SLEEP, //
};
use crate::pattern::bench::{
    Bench,
    Fate,
    Fault, //
};
use crate::pattern::pubsub::{
    Pub,
    Sub, //
};
use crate::pattern::rep::Rep;
use crate::pattern::req::Req;
use crate::pattern::role::Seed;
use crate::pattern::trie::TrieError;
use crate::pattern::{
    Pattern,
    Settings,
    Wake, //
};
use crate::stats::{
    Counter,
    Reason, //
};
use crate::time::Millis;

/// So many tags that they take memory.
const TAGS: &[u8] = b"\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\x80\0\0\x05";

/// The tag of the nth request.
const fn id(nth: u32) -> [u8; 4] {
    (0x8000_0000 | nth).to_be_bytes()
}

/// Has the conversation with each of its allocations failing in turn. It tells whether it has come to
/// what it should.
fn at_each_allocation(conversation: fn() -> Result<bool, Fault>) {
    for nth in 0.. {
        fail_after(nth);
        let outcome = conversation();
        let failed = has_failed();
        assert_eq!(outcome, Ok(true), "where allocation {nth} failed");
        if !failed {
            assert!(nth > 3, "there were {nth} allocations");
            return;
        }
    }
}

/// Tries a second time what there was no memory for.
fn again<R>(mut act: impl FnMut() -> Result<R, Fault>) -> Result<R, Fault> {
    match act() {
        Err(Fault::NoMemory | Fault::Refused(Refusal::NoMemory)) => act(),
        first => first,
    }
}

/// Has a message arrive. A pipe whose message there is no memory to keep would be closed, and its peer
/// come again.
fn arrives<P: Pattern>(
    bench: &mut Bench<P>,
    from: PipeId,
    tags: &[u8],
    body: &[u8],
) -> Result<Fate, Fault> {
    again(|| match bench.arrives(from, tags, body)? {
        Fate::Fatal(_) => Err(Fault::NoMemory),
        fate => Ok(fate),
    })
}

/// Whether a receive gives a body of this length.
fn gets<P: Pattern>(bench: &mut Bench<P>, len: usize) -> Result<bool, Fault> {
    Ok(again(|| bench.recv())?.len() == len)
}

#[test]
fn req_short_of_memory_uses_up_no_id_and_resends() {
    at_each_allocation(|| {
        let resend = Some(Millis(500));
        let mut bench = again(|| Bench::new(Req::new(Seed(1), &Settings { resend })))?;
        let pipe = again(|| bench.open(9))?;
        for nth in 1..4 {
            again(|| bench.send(b"question"))?;
            bench.at(1000 * u64::from(nth))?;
            // What there was no memory to send again is sent when it is looked at next.
            bench.drain(pipe, 9)?;
            let kept = Fate::Kept(Wake::All);
            if arrives(&mut bench, pipe, &id(nth), b"answer")? != kept || !gets(&mut bench, 6)? {
                return Ok(false);
            }
        }
        bench.close(pipe)?;
        Ok(bench.stats.get(Counter::Resends) == 3 && bench.peers.charge() == 0)
    });
}

#[test]
fn rep_short_of_memory_loses_no_request() {
    at_each_allocation(|| {
        let mut bench = again(|| Bench::new(Rep::new(Seed(7))))?;
        let pipes = [again(|| bench.open(9))?, again(|| bench.open(9))?];
        for pipe in pipes {
            if arrives(&mut bench, pipe, TAGS, b"question")? != Fate::Kept(Wake::One) {
                return Ok(false);
            }
        }
        for process in [1, 2] {
            bench.caller.process = process;
            if !gets(&mut bench, 8)? {
                return Ok(false);
            }
            again(|| bench.send(b"answer"))?;
        }
        Ok(
            bench.stats.get(Counter::TxDropped) + bench.stats.get(Counter::TxNoPeer) == 0
                && bench.peers.charge() == 0,
        )
    });
}

#[test]
fn pub_short_of_memory_drops_and_counts() {
    at_each_allocation(|| {
        let mut bench = again(|| Bench::new(Pub::new()))?;
        let pipes = [again(|| bench.open(9))?, again(|| bench.open(9))?];
        again(|| bench.send(b"news"))?;
        let dropped = bench.stats.get(Counter::TxDropped);
        // The others are as they were.
        again(|| bench.send(b"more news"))?;
        for pipe in pipes {
            bench.close(pipe)?;
        }
        Ok(dropped <= 1 && bench.stats.get(Counter::TxDropped) <= 1)
    });
}

#[test]
fn sub_short_of_memory_has_the_topics_that_it_was_told() {
    at_each_allocation(|| {
        let mut bench = again(|| Bench::new(Sub::new()))?;
        let pipe = again(|| bench.open(9))?;
        let topics: [&[u8]; 5] = [b"abcd", b"abef", b"ab", b"", b"abcd"];
        for topic in topics {
            again(|| {
                let mut copy = KVec::new();
                copy.extend_from_slice(topic, NO_SLEEP)
                    .map_err(|_| Fault::NoMemory)?;
                let added = bench.machine.subscribe(copy);
                added.map_err(|_| Fault::NoMemory)
            })?;
        }
        for body in topics {
            if arrives(&mut bench, pipe, b"", body)? != Fate::Kept(Wake::One) {
                return Ok(false);
            }
        }
        for topic in topics {
            if bench.machine.unsubscribe(topic).is_err() {
                return Ok(false);
            }
        }
        let absent = bench.machine.unsubscribe(b"ab") == Err(TrieError::Absent);
        Ok(absent && arrives(&mut bench, pipe, b"", b"abcd")? == Fate::Discarded(Reason::Filtered))
    });
}
