// SPDX-License-Identifier: GPL-2.0

//! PUSH and PULL: each message goes to one of the peers.
//!
//! A PUSH gives a message to a peer that has room, in turn, and waits where none has. Nothing is sent again:
//! what a peer was given is lost with it. What a peer sends to a PUSH is thrown away, because it says nothing
//! about what it was given.
//!
//! A PULL takes from its peers in turn. It drops nothing: who fills its buffer is not read any more, and its
//! peer has no room then.
//!
//! No draft has the pattern; this is what nanomsg (src/protocols/pipeline) and nng
//! (src/sp/protocol/pipeline0) do.

use super::peers::Peers;
use super::{
    Effects,
    Flush,
    Handle,
    Pattern,
    Received,
    Refused,
    Wake,
    World, //
};
use crate::address::Address;
use crate::bytes::Source;
use crate::error::Refusal;
use crate::ids::PipeId;
use crate::message::Msg;
use crate::stats::Reason;

pub(crate) struct Push;

impl Pattern for Push {
    const RECEIVES: bool = false;

    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, msg: Msg) -> Result<Effects, Refused> {
        let Some(to) = w.peers.next_writable() else {
            let why = Refusal::Again;
            return Err(Refused { why, msg });
        };
        w.peers.push(to, msg);
        Ok(Effects::flush(Flush::One(to)))
    }

    fn send_from<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        len: usize,
        body: &mut impl Source,
    ) -> Option<Effects> {
        let to = w.peers.copy_to_next(b"", len, body)?;
        Some(Effects::flush(Flush::One(to)))
    }

    fn can_send<H: Handle>(&self, peers: &Peers<H>, _caller: &H::Caller) -> bool {
        peers.some_writable()
    }

    fn received<H: Handle>(&mut self, _w: &mut World<'_, H>, _from: PipeId, msg: Msg) -> Received {
        Received::Discarded(msg, Reason::Malformed)
    }
}

pub(crate) struct Pull;

impl Pattern for Pull {
    fn recv_now<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        give: impl FnOnce(&[u8], &Address) -> bool,
    ) -> Option<usize> {
        w.peers.give_first(give)
    }

    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, from: PipeId, msg: Msg) -> Received {
        let wake = Wake::each(msg.messages());
        w.peers.enqueue(from, msg);
        Received::Kept(wake)
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_push))]
mod push_tests {
    use super::super::bench::{
        refused,
        Bench,
        Fate,
        Fault, //
    };
    use super::*;
    use crate::stats::Counter;

    #[test]
    fn any_state_recv_is_refused() -> Result<(), Fault> {
        // Conformance case 49.
        let mut bench = Bench::new(Push)?;
        assert_eq!(bench.recv().err(), refused(Refusal::Direction));
        bench.open(9)?;
        assert_eq!(bench.recv().err(), refused(Refusal::Direction));
        assert_eq!(bench.peek().err(), refused(Refusal::Direction));
        Ok(())
    }

    #[test]
    fn none_writable_send_is_refused() -> Result<(), Fault> {
        // Conformance case 8: one that has not greeted yet has no room.
        let mut bench = Bench::new(Push)?;
        assert_eq!(bench.send(b"a").err(), refused(Refusal::Again));
        let pipe = bench.pipe(9)?;
        assert_eq!(bench.send(b"b").err(), refused(Refusal::Again));
        bench.peers.opened(pipe);
        bench.send(b"c")?;
        bench.close(pipe)?;
        assert_eq!(bench.send(b"d").err(), refused(Refusal::Again));
        assert!(bench.sent(&[(pipe, b"", b"c")]));
        Ok(())
    }

    #[test]
    fn peers_sends_go_round() -> Result<(), Fault> {
        // Conformance case 50.
        let mut bench = Bench::new(Push)?;
        let pipes = [bench.open(9)?, bench.open(9)?, bench.open(9)?];
        for nth in 0..6 {
            bench.send(b"m")?;
            let to = pipes[nth % 3];
            assert_eq!(bench.effects, Effects::flush(Flush::One(to)));
            assert!(bench.sent(&[(to, b"", b"m")]));
        }
        Ok(())
    }

    #[test]
    fn some_full_sends_pass_them_over_until_they_have_room() -> Result<(), Fault> {
        // Conformance case 50.
        let mut bench = Bench::new(Push)?;
        let (small, large) = (bench.open(1)?, bench.open(3)?);
        for body in [b"1", b"2", b"3", b"4"] {
            bench.send(body)?;
        }
        assert!(bench.sent(&[
            (small, b"", b"1"),
            (large, b"", b"2"),
            (large, b"", b"3"),
            (large, b"", b"4"),
        ]));
        assert_eq!(bench.send(b"5").err(), refused(Refusal::Again));
        bench.drain(small, 1)?;
        bench.send(b"5")?;
        assert!(bench.sent(&[(small, b"", b"5")]));
        assert_eq!(bench.stats.get(Counter::TxDropped), 0);
        Ok(())
    }

    #[test]
    fn priorities_better_ones_first() -> Result<(), Fault> {
        let mut bench = Bench::new(Push)?;
        bench.priorities.send = 9;
        let spare = bench.open(9)?;
        bench.priorities.send = 2;
        let first = bench.open(2)?;
        for body in [b"1", b"2", b"3"] {
            bench.send(body)?;
        }
        assert!(bench.sent(&[(first, b"", b"1"), (first, b"", b"2"), (spare, b"", b"3"),]));
        Ok(())
    }

    #[test]
    fn carrier_closed_nothing_is_sent_again() -> Result<(), Fault> {
        let mut bench = Bench::new(Push)?;
        let (first, second) = (bench.open(9)?, bench.open(9)?);
        bench.send(b"1")?;
        bench.close(first)?;
        assert_eq!(bench.effects, Effects::NONE);
        assert!(bench.sent(&[(first, b"", b"1")]));
        bench.send(b"2")?;
        assert!(bench.sent(&[(second, b"", b"2")]));
        Ok(())
    }

    #[test]
    fn any_state_message_arrived_is_thrown_away() -> Result<(), Fault> {
        // Conformance case 51.
        let mut bench = Bench::new(Push)?;
        let pipe = bench.open(9)?;
        for body in [&b"bogus"[..], b""] {
            assert_eq!(
                bench.arrives(pipe, b"", body)?,
                Fate::Discarded(Reason::Malformed)
            );
        }
        assert_eq!(bench.stats.get(Counter::RxMalformed), 2);
        bench.send(b"1")?;
        assert!(bench.sent(&[(pipe, b"", b"1")]));
        Ok(())
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_pull))]
mod pull_tests {
    use super::super::bench::{
        refused,
        Bench,
        Fate,
        Fault, //
    };
    use super::*;

    const KEPT: Fate = Fate::Kept(Wake::One);

    #[test]
    fn any_state_send_is_refused() -> Result<(), Fault> {
        // Conformance case 49.
        let mut bench = Bench::new(Pull)?;
        bench.open(9)?;
        assert_eq!(bench.send(b"x").err(), refused(Refusal::Direction));
        assert!(bench.sent(&[]));
        Ok(())
    }

    #[test]
    fn messages_arrived_are_kept_whatever_they_are() -> Result<(), Fault> {
        // Conformance case 11.
        let mut bench = Bench::new(Pull)?;
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        let pipe = bench.open(9)?;
        for body in [&b"a"[..], b"", b"bc"] {
            assert_eq!(bench.arrives(pipe, b"", body)?, KEPT);
        }
        assert!(bench.shows(b"a"));
        for body in [&b"a"[..], b"", b"bc"] {
            assert!(bench.gets(body));
        }
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn waiting_messages_are_received_in_turn() -> Result<(), Fault> {
        // Conformance case 41.
        let mut bench = Bench::new(Pull)?;
        let (first, second) = (bench.open(9)?, bench.open(9)?);
        for body in [b"R0", b"R1"] {
            assert_eq!(bench.arrives(first, b"", body)?, KEPT);
        }
        for body in [b"Q0", b"Q1"] {
            assert_eq!(bench.arrives(second, b"", body)?, KEPT);
        }
        for body in [b"R0", b"Q0", b"R1", b"Q1"] {
            assert!(bench.gets(body));
        }
        Ok(())
    }

    #[test]
    fn waiting_messages_of_a_closed_pipe_are_received() -> Result<(), Fault> {
        // Conformance case 16.
        let mut bench = Bench::new(Pull)?;
        let pipe = bench.open(9)?;
        for body in [b"0", b"1", b"2", b"3", b"4"] {
            assert_eq!(bench.arrives(pipe, b"", body)?, KEPT);
        }
        bench.close(pipe)?;
        for body in [b"0", b"1", b"2", b"3", b"4"] {
            assert!(bench.gets(body));
        }
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        Ok(())
    }
}
