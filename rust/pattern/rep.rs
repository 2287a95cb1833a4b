// SPDX-License-Identifier: GPL-2.0

//! REP: answers one request at a time, to the peer that asked.
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

use super::backtrace::{
    ParseError,
    Tags, //
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
use crate::message::{
    Message,
    Msg, //
};
use crate::stats::count;

/// The request that the next send answers.
struct Request {
    /// `None` once the pipe is closed.
    pipe: Option<PipeId>,
    backtrace: Tags,
}

pub(crate) struct Rep {
    request: Option<Request>,
    /// The longest backtrace taken, in tags.
    max_ttl: u8,
}

impl Rep {
    pub(crate) fn new(max_ttl: u8) -> Self {
        Rep {
            request: None,
            max_ttl,
        }
    }

    /// Sets how many tags a request may have, its id included.
    pub(crate) fn set_max_ttl(&mut self, max_ttl: u8) {
        self.max_ttl = max_ttl;
    }
}

impl Pattern for Rep {
    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, mut msg: Msg) -> Result<Effects, Refused> {
        let Some(request) = self.request.take() else {
            let why = Refusal::State;
            return Err(Refused { why, msg });
        };
        msg.tags = request.backtrace;
        let Some(to) = request.pipe else {
            count(&mut w.stats.tx_no_peer);
            return Ok(Effects::NONE);
        };
        if !w.peers.writable.contains(to.0) {
            count(&mut w.stats.tx_dropped);
            return Ok(Effects::NONE);
        }
        w.peers.push(to, msg);
        Ok(Effects::flush(Flush::One(to)))
    }

    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        _ticket: &mut Ticket,
    ) -> Result<Msg, Refusal> {
        let (from, mut msg, alive) = w.peers.dequeue().ok_or(Refusal::Again)?;
        self.request = Some(Request {
            pipe: alive.then_some(from),
            backtrace: core::mem::replace(&mut msg.tags, Tags::new()),
        });
        Ok(msg)
    }

    fn front<'a, H: Handle>(
        &'a mut self,
        peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal> {
        peers.front().ok_or(Refusal::Again)
    }

    fn can_send<H: Handle>(&self, _peers: &Peers<H>) -> bool {
        self.request.is_some()
    }

    fn can_recv<H: Handle>(&self, peers: &Peers<H>) -> bool {
        peers.some_readable()
    }

    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, from: PipeId, mut msg: Msg) -> Received {
        match Tags::parse(msg.bytes().head(), self.max_ttl) {
            Ok((tags, len)) => {
                msg.skip_tags(len);
                msg.tags = tags;
                w.peers.enqueue(from, msg);
                Received::Kept(Wake::One)
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

    fn closed<H: Handle>(&mut self, _w: &mut World<'_, H>, id: PipeId) -> Effects {
        if let Some(request) = &mut self.request {
            if request.pipe == Some(id) {
                request.pipe = None;
            }
        }
        Effects::NONE
    }
}
