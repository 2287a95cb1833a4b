// SPDX-License-Identifier: GPL-2.0

//! REQ: asks one of the peers, and asks again until there is an answer.
//!
//! | state     | send       | recv               | matching reply | carrying pipe ends       | resend time |
//! |-----------|------------|--------------------|----------------|--------------------------|-------------|
//! | `Idle`    | `Awaiting` | refused            | ignored        | -                        | -           |
//! | `Awaiting`| new request| wait               | `Replied`      | send again, or `Failed`  | send again  |
//! | `Replied` | new request| the reply, `Idle`  | ignored        | -                        | -           |
//! | `Failed`  | new request| why once, `Idle`   | ignored        | -                        | -           |
//!
//! A matching reply that is longer than the program takes makes it `Failed` too: asking again would have
//! the same answer.
//!
//! A request goes to one peer that has room, in turn. While it waits for its reply the body is kept, so
//! that it can go out again with the same id: at each resend interval, and at once when its pipe dies.
//! A send that finds no writable peer changes nothing. Source: sp-request-reply-01, and
//! where the draft is silent what nanomsg (src/protocols/reqrep) and nng (src/sp/protocol/reqrep0) do.

use super::role::Seed;
use super::{
    Effects,
    Flush,
    Handle,
    Pattern,
    Peers,
    Received,
    Refused,
    Settings,
    Ticket,
    Wake,
    World, //
};
use crate::bytes::Slice;
use crate::error::Refusal;
use crate::ids::PipeId;
use crate::mem::{
    accounted,
    Arc,
    KVec,
    NO_SLEEP, //
};
use crate::message::run::Taken;
use crate::message::tags::{
    RequestId,
    Tags, //
};
use crate::message::{
    Bytes,
    Message,
    Msg,
    FREE_MAX, //
};
use crate::stats::{
    Counter,
    Reason, //
};
use crate::time::{
    Instant,
    Millis, //
};

/// How long to wait before a resend is tried again for which there was no memory.
const NO_MEMORY_DELAY: Millis = Millis(100);

/// What the outstanding request asks, for when it is sent again.
enum Question {
    Short(KVec<u8>),
    Shared(Arc<Bytes>),
}

/// The outstanding request.
struct Request {
    id: RequestId,
    body: Question,
    /// The pipe that was given it last; `None` once that is gone.
    carrier: Option<PipeId>,
    /// When that was.
    sent: Instant,
    /// It waits for a peer with room, to be sent again.
    due: bool,
    /// When to send it again; `None` if never.
    resend: Option<Instant>,
}

enum State {
    Idle,
    Awaiting(Request),
    Replied(RequestId, Msg),
    /// There will be no reply.
    Failed(RequestId, Refusal),
}

pub(crate) struct Req {
    next: RequestId,
    state: State,
    /// The resend interval; `None` is never.
    interval: Option<Millis>,
    /// Memory for the next short request, so that not each has to have some of its own.
    spare: KVec<u8>,
}

impl Req {
    pub(crate) fn new(seed: Seed, settings: &Settings) -> Self {
        Req {
            next: RequestId::first(seed.low()),
            state: State::Idle,
            interval: settings.resend,
            spare: KVec::new(),
        }
    }

    /// Another state in place of the outstanding request.
    fn take_over<H: Handle>(&mut self, w: &mut World<'_, H>, state: State) {
        if let State::Awaiting(request) = core::mem::replace(&mut self.state, state) {
            self.discard(w, request.body);
        }
    }

    /// Drops what nobody is asked any more, if it is long when the lock is released.
    fn discard<H: Handle>(&mut self, w: &mut World<'_, H>, body: Question) {
        match body {
            Question::Short(body) if self.spare.capacity() == 0 => self.spare = body,
            Question::Shared(body) if body.len() > FREE_MAX => {
                // Without memory for that it is dropped here.
                if let Ok(msg) = Message::sharing(body, Tags::new(), NO_SLEEP) {
                    w.trash.push(msg);
                }
            }
            Question::Short(_) | Question::Shared(_) => {}
        }
    }

    /// A new request is given to a pipe. Tells whom to wake: who waited for the old one has to learn that it is
    /// gone.
    fn asked<H: Handle>(&mut self, w: &mut World<'_, H>, body: Question, to: PipeId) -> Wake {
        let request = Request {
            id: self.next,
            body,
            carrier: Some(to),
            sent: w.now,
            due: false,
            resend: self.interval.map(|time| w.now.after(time)),
        };
        self.next = self.next.next();
        match core::mem::replace(&mut self.state, State::Awaiting(request)) {
            State::Idle => return Wake::Nobody,
            State::Awaiting(old) => self.discard(w, old.body),
            State::Failed(..) => {}
            State::Replied(_, mut reply) => {
                w.peers.release(&mut reply);
                w.trash.push(reply);
            }
        }
        Wake::All
    }

    /// There will be no reply to the outstanding request.
    fn fail<H: Handle>(&mut self, w: &mut World<'_, H>, why: Refusal) -> Effects {
        let State::Awaiting(Request { id, .. }) = self.state else {
            return Effects::NONE;
        };
        self.take_over(w, State::Failed(id, why));
        Effects::wake(Wake::All)
    }

    /// The request that a receive would be waiting for.
    fn current(&self) -> Option<RequestId> {
        match &self.state {
            State::Idle => None,
            State::Awaiting(request) => Some(request.id),
            State::Replied(id, _) | State::Failed(id, _) => Some(*id),
        }
    }

    /// Sends the outstanding request once more, or leaves it to wait for a peer with room.
    fn resend<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        let State::Awaiting(request) = &mut self.state else {
            return Effects::NONE;
        };
        request.due = true;
        request.resend = self.interval.map(|time| w.now.after(time));
        if !w.peers.some_writable() {
            return Effects::NONE;
        }
        let tags = Tags::request(request.id);
        let flags = accounted(NO_SLEEP);
        let copy = match &request.body {
            Question::Short(body) => {
                Bytes::of(body, flags).and_then(|bytes| Message::tagged(bytes, tags, flags))
            }
            Question::Shared(body) => Message::sharing(body.clone(), tags, flags),
        };
        let Ok(copy) = copy else {
            request.resend = Some(w.now.after(NO_MEMORY_DELAY));
            return Effects::NONE;
        };
        let Some(to) = w.peers.next_writable() else {
            return Effects::NONE;
        };
        request.carrier = Some(to);
        request.sent = w.now;
        request.due = false;
        w.stats.count(Counter::Resends);
        w.peers.push(to, copy);
        Effects::flush(Flush::One(to))
    }
}

impl Pattern for Req {
    /// The resend interval rules the outstanding request as well, counted from when that was sent last.
    fn settings<H: Handle>(&mut self, w: &mut World<'_, H>, settings: &Settings) -> Effects {
        self.interval = settings.resend;
        let State::Awaiting(request) = &mut self.state else {
            return Effects::NONE;
        };
        match self.interval {
            Some(_) if request.due => Effects::NONE,
            Some(time) => {
                request.resend = Some(request.sent.after(time));
                self.expired(w)
            }
            None if request.carrier.is_some() => {
                request.due = false;
                request.resend = None;
                Effects::NONE
            }
            // It was to go to another pipe.
            None => self.fail(w, Refusal::Reset),
        }
    }

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
        msg.tags = Tags::request(self.next);
        w.peers.push(to, msg);
        Ok(Effects {
            flush: Flush::One(to),
            readers: self.asked(w, Question::Shared(body), to),
            ..Effects::NONE
        })
    }

    fn send_short<H: Handle>(&mut self, w: &mut World<'_, H>, body: &[u8]) -> Option<Effects> {
        let mut kept = core::mem::take(&mut self.spare);
        kept.clear();
        let copied = kept.extend_from_slice(body, accounted(NO_SLEEP)).is_ok();
        let tags = Tags::request(self.next);
        let to = copied
            .then(|| {
                let (len, body) = (body.len(), &mut Slice::new(body));
                w.peers.copy_to_next(tags.as_bytes(), len, body)
            })
            .flatten();
        let Some(to) = to else {
            self.spare = kept;
            return None;
        };
        Some(Effects {
            flush: Flush::One(to),
            readers: self.asked(w, Question::Short(kept), to),
            ..Effects::NONE
        })
    }

    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        ticket: &mut Ticket,
    ) -> Result<(Taken, Effects), Refusal> {
        let Some(current) = self.current() else {
            // The last request's reply was taken: by another receiver of it, or after it had replaced
            // the one that this receiver waits for.
            return Err(match ticket.0 {
                Some(id) if id.next() != self.next => Refusal::Cancelled,
                Some(_) | None => Refusal::State,
            });
        };
        if *ticket.0.get_or_insert(current) != current {
            return Err(Refusal::Cancelled);
        }
        match core::mem::replace(&mut self.state, State::Idle) {
            State::Replied(_, mut reply) => {
                w.peers.release(&mut reply);
                Ok((Taken::whole(reply), Effects::NONE))
            }
            State::Failed(_, why) => Err(why),
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
            State::Failed(_, why) => Err(*why),
        }
    }

    fn can_send<H: Handle>(&self, peers: &Peers<H>, _caller: &H::Caller) -> bool {
        peers.some_writable()
    }

    fn can_recv<H: Handle>(&self, _peers: &Peers<H>, _caller: &H::Caller) -> bool {
        match self.state {
            State::Idle | State::Awaiting(_) => false,
            State::Replied(..) | State::Failed(..) => true,
        }
    }

    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, _from: PipeId, msg: Msg) -> Received {
        // The first tag is not a bottom where the reply is to no request of ours.
        let id = msg.tags.request_id();
        match &self.state {
            // Any pipe may bring the reply: the request may have gone to several by now.
            State::Awaiting(request) if Some(request.id) == id => {
                self.take_over(w, State::Replied(request.id, msg));
                // All: of several receivers one gets the reply and the others learn that it is gone.
                Received::Kept(Wake::All)
            }
            State::Idle | State::Awaiting(_) | State::Replied(..) | State::Failed(..) => {
                Received::Discarded(msg, Reason::Stale)
            }
        }
    }

    fn too_long<H: Handle>(&mut self, w: &mut World<'_, H>, tags: &Tags) -> Effects {
        match &self.state {
            State::Awaiting(request) if Some(request.id) == tags.request_id() => {
                self.fail(w, Refusal::TooLong)
            }
            State::Idle | State::Awaiting(_) | State::Replied(..) | State::Failed(..) => {
                Effects::NONE
            }
        }
    }

    fn writable<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        let effects = match &self.state {
            State::Awaiting(request) if request.due => self.resend(w),
            State::Idle | State::Awaiting(_) | State::Replied(..) | State::Failed(..) => {
                Effects::NONE
            }
        };
        Effects {
            writers: true,
            ..effects
        }
    }

    fn gone<H: Handle>(&mut self, w: &mut World<'_, H>, id: PipeId) -> Effects {
        match &mut self.state {
            State::Awaiting(request) if request.carrier == Some(id) => {
                request.carrier = None;
                if request.resend.is_some() {
                    return self.resend(w);
                }
                self.fail(w, Refusal::Reset)
            }
            State::Idle | State::Awaiting(_) | State::Replied(..) | State::Failed(..) => {
                Effects::NONE
            }
        }
    }

    fn expired<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        match self.deadline() {
            Some(due) if due <= w.now => self.resend(w),
            Some(_) | None => Effects::NONE,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Awaiting(request) => request.resend,
            State::Idle | State::Replied(..) | State::Failed(..) => None,
        }
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_req))]
mod tests {
    use super::super::bench::{
        refused,
        Bench,
        Fate,
        Fault, //
    };
    use super::*;

    /// The resend interval of most tests, in milliseconds.
    const IVL: u64 = 500;

    fn settings(interval: Option<u64>) -> Settings {
        let resend = interval.map(Millis);
        Settings { resend }
    }

    fn bench(interval: Option<u64>) -> Result<Bench<Req>, Fault> {
        Bench::new(Req::new(Seed(1), &settings(interval)))
    }

    /// The tag of the nth request of a [`bench`].
    const fn id(nth: u32) -> [u8; 4] {
        (0x8000_0000 | nth).to_be_bytes()
    }

    /// N pipes with room enough, the first of which carries a request.
    fn awaiting<const N: usize>(interval: Option<u64>) -> Result<(Bench<Req>, [PipeId; N]), Fault> {
        let mut bench = bench(interval)?;
        let mut pipes = [PipeId(0); N];
        for pipe in &mut pipes {
            *pipe = bench.open(100)?;
        }
        bench.send(b"Q")?;
        let first = pipes.first();
        if first.is_some_and(|to| bench.sent(&[(*to, &id(1), b"Q")])) {
            Ok((bench, pipes))
        } else {
            Err(Fault::Changed)
        }
    }

    #[test]
    fn idle_send_goes_out_behind_its_id() -> Result<(), Fault> {
        // Conformance case 18.
        let mut bench = bench(Some(IVL))?;
        let pipe = bench.open(9)?;
        bench.send(b"hello")?;
        assert_eq!(bench.effects, Effects::flush(Flush::One(pipe)));
        assert!(bench.sent(&[(pipe, &id(1), b"hello")]));
        assert_eq!(bench.machine.deadline(), Some(Instant(IVL)));
        Ok(())
    }

    #[test]
    fn idle_send_without_writable_is_refused() -> Result<(), Fault> {
        // Conformance case 30.
        let mut bench = bench(Some(IVL))?;
        assert_eq!(bench.send(b"a").err(), refused(Refusal::Again));
        let pipe = bench.pipe(1)?;
        assert_eq!(bench.send(b"b").err(), refused(Refusal::Again));
        bench.peers.opened(pipe);
        // No id was used up.
        bench.send(b"c")?;
        assert!(bench.sent(&[(pipe, &id(1), b"c")]));
        assert_eq!(bench.send(b"d").err(), refused(Refusal::Again));
        bench.drain(pipe, 1)?;
        bench.send(b"e")?;
        assert!(bench.sent(&[(pipe, &id(2), b"e")]));
        Ok(())
    }

    #[test]
    fn idle_send_at_the_last_id_wraps() -> Result<(), Fault> {
        let mut bench = Bench::new(Req::new(Seed(0x7fff_fffe), &settings(None)))?;
        let pipe = bench.open(9)?;
        for tag in [
            [0xff, 0xff, 0xff, 0xfe],
            [0xff, 0xff, 0xff, 0xff],
            id(0),
            id(1),
        ] {
            bench.send(b"Q")?;
            assert!(bench.sent(&[(pipe, &tag, b"Q")]));
            assert_eq!(bench.arrives(pipe, &tag, b"R")?, Fate::Kept(Wake::All));
            assert!(bench.gets(b"R"));
        }
        Ok(())
    }

    #[test]
    fn idle_sends_go_round() -> Result<(), Fault> {
        // Conformance case 29.
        let mut bench = bench(None)?;
        let pipes = [bench.open(100)?, bench.open(100)?, bench.open(100)?];
        for nth in 0..9 {
            bench.send(b"Q")?;
            assert!(bench.sent(&[(pipes[nth % 3], &id(nth as u32 + 1), b"Q")]));
        }
        // It stays fair as pipes come and go (sp-request-reply-01 §5.1).
        bench.send(b"Q")?;
        assert!(bench.sent(&[(pipes[0], &id(10), b"Q")]));
        bench.close(pipes[1])?;
        bench.send(b"Q")?;
        assert!(bench.sent(&[(pipes[2], &id(11), b"Q")]));
        bench.send(b"Q")?;
        assert!(bench.sent(&[(pipes[0], &id(12), b"Q")]));
        let new = bench.open(100)?;
        for (nth, to) in [(13, new), (14, pipes[2]), (15, pipes[0])] {
            bench.send(b"Q")?;
            assert!(bench.sent(&[(to, &id(nth), b"Q")]));
        }
        Ok(())
    }

    #[test]
    fn idle_sends_pass_a_full_pipe_over() -> Result<(), Fault> {
        let mut bench = bench(None)?;
        let pipes = [bench.open(9)?, bench.open(1)?, bench.open(9)?];
        for (nth, to) in [(1, 0), (2, 1), (3, 2), (4, 0), (5, 2)] {
            bench.send(b"Q")?;
            assert!(bench.sent(&[(pipes[to], &id(nth), b"Q")]));
        }
        bench.drain(pipes[1], 9)?;
        for (nth, to) in [(6, 0), (7, 1), (8, 2)] {
            bench.send(b"Q")?;
            assert!(bench.sent(&[(pipes[to], &id(nth), b"Q")]));
        }
        Ok(())
    }

    #[test]
    fn idle_recv_is_refused() -> Result<(), Fault> {
        // Conformance case 19.
        let mut bench = bench(None)?;
        bench.open(9)?;
        assert_eq!(bench.recv().err(), refused(Refusal::State));
        assert_eq!(bench.peek().err(), refused(Refusal::State));
        Ok(())
    }

    #[test]
    fn idle_reply_arrived_is_ignored() -> Result<(), Fault> {
        let mut bench = bench(Some(IVL))?;
        let pipe = bench.open(9)?;
        // The id that the next request is going to have.
        assert_eq!(
            bench.arrives(pipe, &id(1), b"R")?,
            Fate::Discarded(Reason::Stale)
        );
        assert_eq!(bench.stats.get(Counter::RxStale), 1);
        assert_eq!(bench.recv().err(), refused(Refusal::State));
        bench.send(b"Q")?;
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        Ok(())
    }

    #[test]
    fn awaiting_recv_waits_and_the_request_survives() -> Result<(), Fault> {
        // Conformance case 27.
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        assert_eq!(bench.peek().err(), refused(Refusal::Again));
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        bench.arrives(pipe, &id(1), b"R")?;
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn awaiting_reply_arrived_is_delivered_once() -> Result<(), Fault> {
        // Conformance case 19.
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        assert_eq!(bench.arrives(pipe, &id(1), b"R")?, Fate::Kept(Wake::All));
        assert_eq!(bench.machine.deadline(), None);
        assert!(bench.gets(b"R"));
        assert_eq!(bench.recv().err(), refused(Refusal::State));
        // No more resends, for whatever reason.
        bench.at(10 * IVL)?;
        bench.close(pipe)?;
        bench.open(9)?;
        assert!(bench.sent(&[]));
        assert_eq!(bench.stats.get(Counter::Resends), 0);
        Ok(())
    }

    #[test]
    fn awaiting_empty_reply_arrived_is_delivered() -> Result<(), Fault> {
        // Conformance case 28.
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        bench.arrives(pipe, &id(1), b"")?;
        assert!(bench.shows(b""));
        assert!(bench.gets(b""));
        Ok(())
    }

    #[test]
    fn awaiting_reply_arrived_elsewhere_is_delivered() -> Result<(), Fault> {
        // Conformance case 26.
        let (mut bench, [_, other]) = awaiting(Some(IVL))?;
        assert_eq!(bench.arrives(other, &id(1), b"R")?, Fate::Kept(Wake::All));
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn awaiting_strange_reply_arrived_is_ignored() -> Result<(), Fault> {
        // Conformance case 21, and ids near the right one.
        let strange: [(&[u8], &[u8]); 4] = [
            (&id(0), b"R"),
            (&id(2), b"R"),
            (&[0, 0, 0, 1], b"R"),
            (&[0, 0, 0, 7], &id(1)),
        ];
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        for (tags, body) in strange {
            let fate = bench.arrives(pipe, tags, body)?;
            assert_eq!(fate, Fate::Discarded(Reason::Stale));
            assert_eq!(bench.recv().err(), refused(Refusal::Again));
        }
        bench.arrives(pipe, &id(1), b"R")?;
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn awaiting_interval_passed_resends_the_same() -> Result<(), Fault> {
        // Conformance case 23.
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        for nth in 1..=4 {
            assert_eq!(bench.machine.deadline(), Some(Instant(nth * IVL)));
            bench.at(nth * IVL - 1)?;
            assert_eq!(bench.effects, Effects::NONE);
            assert!(bench.sent(&[]));
            bench.at(nth * IVL)?;
            assert_eq!(bench.effects, Effects::flush(Flush::One(pipe)));
            assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
            assert_eq!(bench.stats.get(Counter::Resends), nth);
        }
        // A late call counts from then.
        bench.at(6 * IVL)?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        assert_eq!(bench.machine.deadline(), Some(Instant(7 * IVL)));
        bench.arrives(pipe, &id(1), b"R")?;
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn awaiting_interval_passed_resends_to_the_next_in_turn() -> Result<(), Fault> {
        let (mut bench, pipes) = awaiting::<3>(Some(IVL))?;
        for (nth, to) in [(1, 1), (2, 2), (3, 0)] {
            bench.at(nth * IVL)?;
            assert!(bench.sent(&[(pipes[to], &id(1), b"Q")]));
        }
        Ok(())
    }

    #[test]
    fn awaiting_interval_passed_without_writable_waits_for_room() -> Result<(), Fault> {
        let mut bench = bench(Some(IVL))?;
        let pipe = bench.open(1)?;
        bench.send(b"Q")?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        for nth in 1..=2 {
            bench.at(nth * IVL)?;
            assert_eq!(bench.effects, Effects::NONE);
            assert!(bench.sent(&[]));
        }
        bench.now = Instant(3 * IVL - 1);
        bench.drain(pipe, 9)?;
        assert_eq!(bench.effects, Effects::flush(Flush::One(pipe)));
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        assert_eq!(bench.stats.get(Counter::Resends), 1);
        assert_eq!(bench.machine.deadline(), Some(Instant(4 * IVL - 1)));
        // Room alone is no reason to resend.
        bench.drain(pipe, 9)?;
        bench.open(9)?;
        assert!(bench.sent(&[]));
        Ok(())
    }

    fn set(bench: &mut Bench<Req>, interval: Option<u64>) -> Result<(), Fault> {
        bench.act(|req, world| req.settings(world, &settings(interval)))
    }

    #[test]
    fn awaiting_interval_changed_counts_from_the_last_sending() -> Result<(), Fault> {
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        bench.at(IVL)?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        // Longer, shorter and the same, of which none has passed.
        bench.now = Instant(IVL + 50);
        for ms in [10 * IVL, 100, 51, 51] {
            set(&mut bench, Some(ms))?;
            assert_eq!(bench.effects, Effects::NONE);
            assert!(bench.sent(&[]));
            assert_eq!(bench.machine.deadline(), Some(Instant(IVL + ms)));
        }
        bench.at(IVL + 51)?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        assert_eq!(bench.machine.deadline(), Some(Instant(IVL + 102)));
        assert_eq!(bench.stats.get(Counter::Resends), 2);
        Ok(())
    }

    #[test]
    fn awaiting_interval_changed_to_one_that_passed_resends_at_once() -> Result<(), Fault> {
        for ms in [1, 49, 50] {
            let (mut bench, [_, second]) = awaiting(Some(IVL))?;
            bench.now = Instant(50);
            set(&mut bench, Some(ms))?;
            assert_eq!(bench.effects, Effects::flush(Flush::One(second)));
            assert!(bench.sent(&[(second, &id(1), b"Q")]));
            assert_eq!(bench.machine.deadline(), Some(Instant(50 + ms)));
        }
        Ok(())
    }

    #[test]
    fn awaiting_interval_taken_away_stops_and_another_resumes() -> Result<(), Fault> {
        let (mut bench, [first, second]) = awaiting(Some(IVL))?;
        set(&mut bench, None)?;
        assert_eq!(bench.machine.deadline(), None);
        bench.at(100 * IVL)?;
        assert!(bench.sent(&[]));
        // Counted from when it was sent.
        set(&mut bench, Some(200 * IVL))?;
        assert!(bench.sent(&[]));
        assert_eq!(bench.machine.deadline(), Some(Instant(200 * IVL)));
        set(&mut bench, Some(IVL))?;
        assert!(bench.sent(&[(second, &id(1), b"Q")]));
        assert_eq!(bench.machine.deadline(), Some(Instant(101 * IVL)));
        // And off for good: its pipe is the second now.
        set(&mut bench, None)?;
        bench.close(first)?;
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        bench.close(second)?;
        assert_eq!(bench.effects, Effects::wake(Wake::All));
        assert_eq!(bench.recv().err(), refused(Refusal::Reset));
        assert_eq!(bench.recv().err(), refused(Refusal::State));
        Ok(())
    }

    #[test]
    fn awaiting_interval_given_resends_when_the_carrier_closed() -> Result<(), Fault> {
        let (mut bench, [first, second]) = awaiting(None)?;
        set(&mut bench, Some(IVL))?;
        bench.close(first)?;
        assert!(bench.sent(&[(second, &id(1), b"Q")]));
        Ok(())
    }

    #[test]
    fn due_interval_taken_away_without_carrier_is_lost() -> Result<(), Fault> {
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        bench.close(pipe)?;
        set(&mut bench, Some(1))?;
        assert_eq!(bench.effects, Effects::NONE);
        set(&mut bench, None)?;
        assert_eq!(bench.effects, Effects::wake(Wake::All));
        bench.open(9)?;
        assert!(bench.sent(&[]));
        assert_eq!(bench.recv().err(), refused(Refusal::Reset));
        // Too late for that one.
        set(&mut bench, Some(IVL))?;
        assert_eq!(bench.recv().err(), refused(Refusal::State));
        Ok(())
    }

    #[test]
    fn due_interval_taken_away_with_carrier_waits_for_its_reply() -> Result<(), Fault> {
        let mut bench = bench(Some(IVL))?;
        let pipe = bench.open(1)?;
        bench.send(b"Q")?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        bench.at(IVL)?;
        assert!(bench.sent(&[]));
        set(&mut bench, None)?;
        assert_eq!(bench.effects, Effects::NONE);
        bench.drain(pipe, 9)?;
        assert!(bench.sent(&[]));
        bench.arrives(pipe, &id(1), b"R")?;
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn due_interval_changed_still_waits_for_room() -> Result<(), Fault> {
        let mut bench = bench(Some(IVL))?;
        let pipe = bench.open(1)?;
        bench.send(b"Q")?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        bench.at(IVL)?;
        for ms in [1, 100 * IVL] {
            set(&mut bench, Some(ms))?;
            assert!(bench.sent(&[]));
        }
        bench.drain(pipe, 9)?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        assert_eq!(bench.machine.deadline(), Some(Instant(101 * IVL)));
        Ok(())
    }

    #[test]
    fn not_awaiting_interval_changed_is_for_the_next() -> Result<(), Fault> {
        let mut bench = bench(None)?;
        let pipe = bench.open(9)?;
        set(&mut bench, Some(7))?;
        assert_eq!(bench.effects, Effects::NONE);
        bench.send(b"Q")?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        assert_eq!(bench.machine.deadline(), Some(Instant(7)));
        bench.arrives(pipe, &id(1), b"R")?;
        for interval in [Some(1), None] {
            set(&mut bench, interval)?;
            assert_eq!(bench.effects, Effects::NONE);
            assert_eq!(bench.machine.deadline(), None);
        }
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn awaiting_carrier_closed_resends_at_once() -> Result<(), Fault> {
        // Conformance case 24.
        let (mut bench, [first, second]) = awaiting(Some(IVL))?;
        bench.now = Instant(200);
        bench.close(first)?;
        assert_eq!(bench.effects, Effects::flush(Flush::One(second)));
        assert!(bench.sent(&[(second, &id(1), b"Q")]));
        assert_eq!(bench.stats.get(Counter::Resends), 1);
        assert_eq!(bench.machine.deadline(), Some(Instant(200 + IVL)));
        bench.arrives(second, &id(1), b"R")?;
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn awaiting_last_pipe_closed_resends_to_the_next_opened() -> Result<(), Fault> {
        // Conformance case 25.
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        bench.close(pipe)?;
        assert_eq!(bench.effects, Effects::NONE);
        // The interval makes no difference while there is nobody.
        bench.at(IVL)?;
        assert!(bench.sent(&[]));
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        let next = bench.open(9)?;
        assert_eq!(bench.effects, Effects::flush(Flush::One(next)));
        assert!(bench.sent(&[(next, &id(1), b"Q")]));
        bench.open(9)?;
        assert!(bench.sent(&[]));
        assert_eq!(bench.stats.get(Counter::Resends), 1);
        Ok(())
    }

    #[test]
    fn awaiting_carrier_closed_with_others_full_waits_for_room() -> Result<(), Fault> {
        let mut bench = bench(Some(IVL))?;
        let (first, second) = (bench.open(1)?, bench.open(1)?);
        bench.send(b"old")?;
        bench.send(b"Q")?;
        assert!(bench.sent(&[(first, &id(1), b"old"), (second, &id(2), b"Q")]));
        bench.close(second)?;
        assert!(bench.sent(&[]));
        bench.drain(first, 1)?;
        assert!(bench.sent(&[(first, &id(2), b"Q")]));
        Ok(())
    }

    #[test]
    fn awaiting_other_pipe_closed_changes_nothing() -> Result<(), Fault> {
        let (mut bench, [first, second, third]) = awaiting(Some(IVL))?;
        bench.close(third)?;
        assert_eq!(bench.effects, Effects::NONE);
        // Nor does the one that carried it before the second did.
        bench.at(IVL)?;
        assert!(bench.sent(&[(second, &id(1), b"Q")]));
        bench.close(first)?;
        assert_eq!(bench.effects, Effects::NONE);
        assert!(bench.sent(&[]));
        assert_eq!(bench.machine.deadline(), Some(Instant(2 * IVL)));
        Ok(())
    }

    #[test]
    fn awaiting_without_resend_carrier_closed_is_lost_and_resets_once() -> Result<(), Fault> {
        let (mut bench, [first, second]) = awaiting(None)?;
        assert_eq!(bench.machine.deadline(), None);
        bench.at(1 << 40)?;
        let mut waiting = Ticket::default();
        let mut other = Ticket::default();
        for ticket in [&mut waiting, &mut other] {
            assert_eq!(bench.recv_again(ticket).err(), refused(Refusal::Again));
        }
        bench.close(first)?;
        assert_eq!(bench.effects, Effects::wake(Wake::All));
        // A look does not use it up.
        assert_eq!(bench.peek().err(), refused(Refusal::Reset));
        assert_eq!(
            bench.recv_again(&mut waiting).err(),
            refused(Refusal::Reset)
        );
        assert_eq!(bench.recv_again(&mut other).err(), refused(Refusal::State));
        assert_eq!(bench.recv().err(), refused(Refusal::State));
        bench.drain(second, 9)?;
        assert!(bench.sent(&[]));
        assert_eq!(bench.stats.get(Counter::Resends), 0);
        Ok(())
    }

    #[test]
    fn awaiting_reply_too_long_fails_once() -> Result<(), Fault> {
        for interval in [None, Some(IVL)] {
            let (mut bench, [pipe, other]) = awaiting(interval)?;
            // Of another request, or of none.
            for tag in [id(0), id(2), [0, 0, 0, 1]] {
                bench.too_long(&tag)?;
                assert_eq!(bench.effects, Effects::NONE);
                assert_eq!(bench.recv().err(), refused(Refusal::Again));
            }
            bench.too_long(&id(1))?;
            assert_eq!(bench.effects, Effects::wake(Wake::All));
            // Its pipe's end is no reason to ask again, nor to say something else.
            bench.close(pipe)?;
            assert_eq!(bench.effects, Effects::NONE);
            assert_eq!(bench.machine.deadline(), None);
            assert_eq!(
                bench.arrives(other, &id(1), b"R")?,
                Fate::Discarded(Reason::Stale)
            );
            assert_eq!(bench.peek().err(), refused(Refusal::TooLong));
            assert_eq!(bench.recv().err(), refused(Refusal::TooLong));
            assert_eq!(bench.recv().err(), refused(Refusal::State));
            bench.too_long(&id(1))?;
            assert_eq!(bench.recv().err(), refused(Refusal::State));
            bench.send(b"next")?;
            assert!(bench.sent(&[(other, &id(2), b"next")]));
        }
        Ok(())
    }

    #[test]
    fn awaiting_without_resend_other_pipe_closed_is_not_lost() -> Result<(), Fault> {
        let (mut bench, [first, second]) = awaiting(None)?;
        bench.close(second)?;
        assert_eq!(bench.effects, Effects::NONE);
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        bench.arrives(first, &id(1), b"R")?;
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn lost_reply_arrived_is_ignored() -> Result<(), Fault> {
        let (mut bench, [first, second]) = awaiting(None)?;
        bench.close(first)?;
        assert_eq!(
            bench.arrives(second, &id(1), b"R")?,
            Fate::Discarded(Reason::Stale)
        );
        assert_eq!(bench.stats.get(Counter::RxStale), 1);
        assert_eq!(bench.recv().err(), refused(Refusal::Reset));
        Ok(())
    }

    #[test]
    fn lost_send_is_a_new_request() -> Result<(), Fault> {
        let (mut bench, [first, second]) = awaiting(None)?;
        bench.close(first)?;
        bench.send(b"again")?;
        assert!(bench.sent(&[(second, &id(2), b"again")]));
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        bench.arrives(second, &id(2), b"R")?;
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn awaiting_send_replaces_the_request() -> Result<(), Fault> {
        // Conformance case 20.
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        bench.now = Instant(100);
        bench.send(b"new")?;
        assert_eq!(bench.effects.readers, Wake::All);
        assert!(bench.sent(&[(pipe, &id(2), b"new")]));
        assert_eq!(
            bench.arrives(pipe, &id(1), b"old")?,
            Fate::Discarded(Reason::Stale)
        );
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        // Only the new one is resent, at its own time.
        bench.at(IVL)?;
        assert!(bench.sent(&[]));
        bench.at(IVL + 100)?;
        assert!(bench.sent(&[(pipe, &id(2), b"new")]));
        bench.arrives(pipe, &id(2), b"R")?;
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn awaiting_send_without_writable_keeps_the_request() -> Result<(), Fault> {
        let mut bench = bench(Some(IVL))?;
        let pipe = bench.open(1)?;
        bench.send(b"Q")?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        assert_eq!(bench.send(b"new").err(), refused(Refusal::Again));
        // Still the one that is resent, and answered.
        bench.at(IVL)?;
        bench.drain(pipe, 2)?;
        assert!(bench.sent(&[(pipe, &id(1), b"Q")]));
        bench.arrives(pipe, &id(1), b"R")?;
        assert!(bench.gets(b"R"));
        bench.send(b"next")?;
        assert!(bench.sent(&[(pipe, &id(2), b"next")]));
        Ok(())
    }

    #[test]
    fn awaiting_replaced_recv_is_cancelled() -> Result<(), Fault> {
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        let mut old = Ticket::default();
        assert_eq!(bench.recv_again(&mut old).err(), refused(Refusal::Again));
        bench.send(b"new")?;
        assert_eq!(
            bench.recv_again(&mut old).err(),
            refused(Refusal::Cancelled)
        );
        // Nor does it steal the reply to the new one.
        bench.arrives(pipe, &id(2), b"R")?;
        assert_eq!(
            bench.recv_again(&mut old).err(),
            refused(Refusal::Cancelled)
        );
        assert!(bench.gets(b"R"));
        // It may look this late for the first time.
        assert_eq!(
            bench.recv_again(&mut old).err(),
            refused(Refusal::Cancelled)
        );
        Ok(())
    }

    #[test]
    fn replied_taken_other_recv_is_refused() -> Result<(), Fault> {
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        let mut one = Ticket::default();
        let mut two = Ticket::default();
        for ticket in [&mut one, &mut two] {
            assert_eq!(bench.recv_again(ticket).err(), refused(Refusal::Again));
        }
        bench.arrives(pipe, &id(1), b"R")?;
        assert_eq!(bench.recv_again(&mut two)?.len(), 1);
        assert_eq!(bench.recv_again(&mut one).err(), refused(Refusal::State));
        Ok(())
    }

    #[test]
    fn replied_message_arrived_leaves_the_reply() -> Result<(), Fault> {
        // Conformance case 22.
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        bench.arrives(pipe, &id(1), b"R")?;
        assert_eq!(
            bench.arrives(pipe, &id(1), b"DUP")?,
            Fate::Discarded(Reason::Stale)
        );
        assert_eq!(
            bench.arrives(pipe, &id(2), b"other")?,
            Fate::Discarded(Reason::Stale)
        );
        assert_eq!(bench.stats.get(Counter::RxStale), 2);
        assert!(bench.shows(b"R"));
        assert!(bench.gets(b"R"));
        assert_eq!(bench.recv().err(), refused(Refusal::State));
        Ok(())
    }

    #[test]
    fn replied_send_drops_the_reply() -> Result<(), Fault> {
        let (mut bench, [pipe]) = awaiting(Some(IVL))?;
        bench.arrives(pipe, &id(1), b"R")?;
        bench.send(b"new")?;
        assert_eq!(bench.effects.readers, Wake::All);
        assert_eq!(bench.recv().err(), refused(Refusal::Again));
        bench.arrives(pipe, &id(2), b"S")?;
        assert!(bench.gets(b"S"));
        Ok(())
    }

    #[test]
    fn replied_send_without_writable_keeps_the_reply() -> Result<(), Fault> {
        let mut bench = bench(Some(IVL))?;
        let pipe = bench.open(1)?;
        bench.send(b"Q")?;
        bench.arrives(pipe, &id(1), b"R")?;
        assert_eq!(bench.send(b"new").err(), refused(Refusal::Again));
        assert!(bench.gets(b"R"));
        Ok(())
    }

    #[test]
    fn replied_pipe_closed_keeps_the_reply() -> Result<(), Fault> {
        for interval in [None, Some(IVL)] {
            let (mut bench, [pipe]) = awaiting(interval)?;
            bench.arrives(pipe, &id(1), b"R")?;
            bench.close(pipe)?;
            assert_eq!(bench.effects, Effects::NONE);
            assert!(bench.gets(b"R"));
        }
        Ok(())
    }
}
