// SPDX-License-Identifier: GPL-2.0

//! REQ: asks one of the peers, and asks again until there is an answer.
//!
//! | state     | send       | recv               | matching reply | carrying pipe dies       | resend time |
//! |-----------|------------|--------------------|----------------|--------------------------|-------------|
//! | `Idle`    | `Awaiting` | refused            | ignored        | -                        | -           |
//! | `Awaiting`| new request| wait               | `Replied`      | send again, or `Lost`    | send again  |
//! | `Replied` | new request| the reply, `Idle`  | ignored        | -                        | -           |
//! | `Lost`    | new request| reset once, `Idle` | ignored        | -                        | -           |
//!
//! A request goes to one peer that has room, in turn. While it waits for its reply the body is kept, so
//! that it can go out again with the same id: at each resend interval, and at once when its pipe dies.
//! A send that finds no writable peer changes nothing. Sources: sp-request-reply-01; PROTOCOL.md's table
//! of what nanomsg and nng do where the draft is silent.

use super::backtrace::{
    parse_reply,
    ReplyError,
    RequestId,
    Tags, //
};
use super::{
    Effects,
    Flush,
    Handle,
    Now,
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
use crate::mem::{
    Arc,
    NO_SLEEP, //
};
use crate::message::{
    Bytes,
    Message,
    Msg, //
};
use crate::stats::count;

/// How long to wait before a resend is tried again for which there was no memory, in milliseconds.
const NO_MEMORY_DELAY: u64 = 100;

/// The outstanding request.
struct Request {
    id: RequestId,
    body: Arc<Bytes>,
    /// The pipe that was given it last; `None` while it waits for a peer with room.
    carrier: Option<PipeId>,
    /// When to send it again; `None` if never.
    resend: Option<Now>,
}

enum State {
    Idle,
    Awaiting(Request),
    Replied(RequestId, Msg),
    /// Not resent, and its pipe is gone.
    Lost(RequestId),
}

pub(crate) struct Req {
    next: RequestId,
    state: State,
    /// The resend interval in milliseconds; `None` is never.
    interval: Option<u64>,
}

impl Req {
    /// `random` makes the first request id hard to guess.
    pub(crate) fn new(random: u32, interval: Option<u64>) -> Self {
        Req {
            next: RequestId::first(random),
            state: State::Idle,
            interval,
        }
    }

    /// Sets the resend interval in milliseconds, `None` for never; an outstanding request keeps the
    /// time that it has.
    pub(crate) fn set_interval(&mut self, interval: Option<u64>) {
        self.interval = interval;
    }

    /// The request that a receive would be waiting for.
    fn current(&self) -> Option<RequestId> {
        match &self.state {
            State::Idle => None,
            State::Awaiting(request) => Some(request.id),
            State::Replied(id, _) | State::Lost(id) => Some(*id),
        }
    }

    /// Sends the outstanding request once more, or leaves it to wait for a peer with room.
    fn resend<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        let State::Awaiting(request) = &mut self.state else {
            return Effects::NONE;
        };
        request.carrier = None;
        request.resend = self.interval.map(|ms| w.now.after(ms));
        if !w.peers.some_writable() {
            return Effects::NONE;
        }
        let tags = Tags::request(request.id);
        let Ok(copy) = Message::sharing(request.body.clone(), tags, NO_SLEEP) else {
            request.resend = Some(w.now.after(NO_MEMORY_DELAY));
            return Effects::NONE;
        };
        let Some(to) = w.peers.next_writable() else {
            return Effects::NONE;
        };
        request.carrier = Some(to);
        count(&mut w.stats.resends);
        w.peers.push(to, copy);
        Effects::flush(Flush::One(to))
    }
}

impl Pattern for Req {
    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, mut msg: Msg) -> Result<Effects, Refused> {
        let body = match msg.share(NO_SLEEP) {
            Ok(body) => body,
            Err(_) => {
                let why = Refusal::NoMemory;
                return Err(Refused { why, msg });
            }
        };
        let Some(to) = w.peers.next_writable() else {
            let why = Refusal::Again;
            return Err(Refused { why, msg });
        };
        let id = self.next;
        self.next = id.next();
        msg.tags = Tags::request(id);
        let request = Request {
            id,
            body,
            carrier: Some(to),
            resend: self.interval.map(|ms| w.now.after(ms)),
        };
        let replaced = core::mem::replace(&mut self.state, State::Awaiting(request));
        w.peers.push(to, msg);
        Ok(Effects {
            flush: Flush::One(to),
            // Who waited for the old request has to learn that it is gone.
            readers: match replaced {
                State::Idle => Wake::Nobody,
                State::Awaiting(_) | State::Replied(..) | State::Lost(_) => Wake::All,
            },
        })
    }

    fn recv<H: Handle>(
        &mut self,
        _w: &mut World<'_, H>,
        ticket: &mut Ticket,
    ) -> Result<Msg, Refusal> {
        let current = self.current().ok_or(Refusal::State)?;
        if *ticket.0.get_or_insert(current) != current {
            return Err(Refusal::Cancelled);
        }
        match core::mem::replace(&mut self.state, State::Idle) {
            State::Replied(_, reply) => Ok(reply),
            State::Lost(_) => Err(Refusal::Reset),
            State::Idle => Err(Refusal::State),
            awaiting @ State::Awaiting(_) => {
                self.state = awaiting;
                Err(Refusal::Again)
            }
        }
    }

    fn front<'a, H: Handle>(
        &'a mut self,
        _peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal> {
        match &mut self.state {
            State::Idle => Err(Refusal::State),
            State::Awaiting(_) => Err(Refusal::Again),
            State::Replied(_, reply) => Ok(reply),
            State::Lost(_) => Err(Refusal::Reset),
        }
    }

    fn can_send<H: Handle>(&self, peers: &Peers<H>) -> bool {
        peers.some_writable()
    }

    fn can_recv<H: Handle>(&self, _peers: &Peers<H>) -> bool {
        match self.state {
            State::Idle | State::Awaiting(_) => false,
            State::Replied(..) | State::Lost(_) => true,
        }
    }

    fn received<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        _from: PipeId,
        mut msg: Msg,
    ) -> Received {
        let (id, tags) = match parse_reply(msg.bytes().head()) {
            Ok(parsed) => parsed,
            Err(ReplyError::Malformed) => {
                count(&mut w.stats.rx_malformed);
                return Received::Discarded(msg);
            }
            Err(ReplyError::Stale) => {
                count(&mut w.stats.rx_stale);
                return Received::Discarded(msg);
            }
        };
        match &self.state {
            // Any pipe may bring the reply: the request may have gone to several by now.
            State::Awaiting(request) if request.id == id => {
                msg.skip_tags(tags);
                self.state = State::Replied(id, msg);
                // All: of several receivers one gets the reply and the others learn that it is gone.
                Received::Kept(Wake::All)
            }
            State::Idle | State::Awaiting(_) | State::Replied(..) | State::Lost(_) => {
                count(&mut w.stats.rx_stale);
                Received::Discarded(msg)
            }
        }
    }

    fn writable<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        match &self.state {
            State::Awaiting(request) if request.carrier.is_none() => self.resend(w),
            State::Idle | State::Awaiting(_) | State::Replied(..) | State::Lost(_) => Effects::NONE,
        }
    }

    fn closed<H: Handle>(&mut self, w: &mut World<'_, H>, id: PipeId) -> Effects {
        match &self.state {
            State::Awaiting(request) if request.carrier == Some(id) => {
                if request.resend.is_some() {
                    return self.resend(w);
                }
                self.state = State::Lost(request.id);
                Effects::wake(Wake::All)
            }
            State::Idle | State::Awaiting(_) | State::Replied(..) | State::Lost(_) => Effects::NONE,
        }
    }

    fn expired<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        match self.deadline() {
            Some(due) if due <= w.now => self.resend(w),
            Some(_) | None => Effects::NONE,
        }
    }

    fn deadline(&self) -> Option<Now> {
        match &self.state {
            State::Awaiting(request) => request.resend,
            State::Idle | State::Replied(..) | State::Lost(_) => None,
        }
    }
}
