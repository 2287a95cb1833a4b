// SPDX-License-Identifier: GPL-2.0

//! PUB and SUB: one message to everybody who wants it.
//!
//! A publisher gives every message to every peer that has room and never waits: what a slow peer misses
//! is counted. It must not be sent anything; who does is closed. A subscriber keeps what starts with one
//! of its topics and decides so when a message arrives, so that nothing waits in a queue that a receive
//! would skip. It never drops: when SO_RCVBUF is full, reading stops and the publisher notices.
//!
//! sp-publish-subscribe-01 has the type numbers and no more. The rest matches nanomsg
//! (src/protocols/pubsub) and nng (src/sp/protocol/pubsub0) as PROTOCOL.md compares them.

use super::trie::{
    Trie,
    TrieError, //
};
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
use crate::mem::NO_SLEEP;
use crate::message::{
    Message,
    Msg,
    Queue, //
};
use crate::pattern::backtrace::Tags;
use crate::stats::count;

pub(crate) struct Pub;

impl Pattern for Pub {
    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, mut msg: Msg) -> Result<Effects, Refused> {
        let Ok(body) = msg.share(NO_SLEEP) else {
            let why = Refusal::NoMemory;
            return Err(Refused { why, msg });
        };
        if w.peers.count_up() == 0 {
            count(&mut w.stats.tx_no_peer);
            return Ok(Effects::NONE);
        }
        let mut next = 0;
        while let Some((to, _)) = w.peers.handle_from(next) {
            next = to.0.saturating_add(1);
            if !w.peers.is_up(to) {
                continue;
            }
            let copy = match w.peers.writable.contains(to.0) {
                true => Message::sharing(body.clone(), Tags::new(), NO_SLEEP).ok(),
                false => None,
            };
            match copy {
                Some(copy) => w.peers.push(to, copy),
                None => count(&mut w.stats.tx_dropped),
            }
        }
        Ok(Effects::flush(Flush::All))
    }

    fn recv<H: Handle>(
        &mut self,
        _w: &mut World<'_, H>,
        _ticket: &mut Ticket,
    ) -> Result<Msg, Refusal> {
        Err(Refusal::Direction)
    }

    fn front<'a, H: Handle>(
        &'a mut self,
        _peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal> {
        Err(Refusal::Direction)
    }

    fn can_send<H: Handle>(&self, _peers: &Peers<H>) -> bool {
        true
    }

    fn can_recv<H: Handle>(&self, _peers: &Peers<H>) -> bool {
        false
    }

    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, _from: PipeId, msg: Msg) -> Received {
        count(&mut w.stats.rx_malformed);
        Received::Fatal(msg)
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

    /// Adds one subscription; each needs an [`Self::unsubscribe`] of its own.
    ///
    /// # Errors
    ///
    /// As [`Trie::subscribe`].
    pub(crate) fn subscribe(&mut self, topic: &[u8]) -> Result<(), TrieError> {
        self.topics.subscribe(topic).map(|_| ())
    }

    /// Takes one subscription back, and tells whether it was the last one of its topic: then what is
    /// queued is to be tested again, with [`Self::purge`].
    ///
    /// # Errors
    ///
    /// As [`Trie::unsubscribe`].
    pub(crate) fn unsubscribe(&mut self, topic: &[u8]) -> Result<bool, TrieError> {
        self.topics.unsubscribe(topic)
    }

    /// Takes what no topic matches any more out of one peer's queue, the first at or after `from`.
    /// Returns it for the caller to drop, and where to go on.
    pub(crate) fn purge<H: Handle>(&self, peers: &mut Peers<H>, from: u32) -> Option<(Queue, u32)> {
        peers.purge_from(from, |msg| self.wants(msg))
    }

    fn wants(&self, msg: &Message) -> bool {
        self.topics.matches(msg.bytes().head())
    }
}

impl Pattern for Sub {
    fn send<H: Handle>(&mut self, _w: &mut World<'_, H>, msg: Msg) -> Result<Effects, Refused> {
        let why = Refusal::Direction;
        Err(Refused { why, msg })
    }

    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        _ticket: &mut Ticket,
    ) -> Result<Msg, Refusal> {
        let (_, msg, _) = w.peers.dequeue().ok_or(Refusal::Again)?;
        Ok(msg)
    }

    fn front<'a, H: Handle>(
        &'a mut self,
        peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal> {
        peers.front().ok_or(Refusal::Again)
    }

    fn can_send<H: Handle>(&self, _peers: &Peers<H>) -> bool {
        false
    }

    fn can_recv<H: Handle>(&self, peers: &Peers<H>) -> bool {
        peers.some_readable()
    }

    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, from: PipeId, msg: Msg) -> Received {
        if !self.wants(&msg) {
            count(&mut w.stats.rx_filtered);
            return Received::Discarded(msg);
        }
        w.peers.enqueue(from, msg);
        Received::Kept(Wake::One)
    }
}
