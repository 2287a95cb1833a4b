// SPDX-License-Identifier: GPL-2.0

//! What a pipe does with its connection: reading, sending, and ending it.

use super::rx::Fed;
use super::tx::{
    End,
    Life,
    Next,
    Parcel, //
};
use super::{
    Event,
    Pipe,
    Upper,
    IDLE,
    MEMORY_DELAY, //
};
use crate::address::Address;
use crate::bytes::Input;
use crate::mem::Flags;
use crate::message::tags::Tags;
use crate::message::{
    Kept,
    Msg,
    Piece, //
};
use crate::net::stream::{
    StreamEvents,
    TcpLocked, //
};
use crate::net::trace::{
    self,
    Way, //
};
use crate::net::work;
use crate::stats::Reason;
use crate::wire::sp::Frame;
use crate::wire::{
    Budget,
    Empty,
    Sink,
    Stop,
    Unwelcome,
    Violation, //
};
use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::workqueue::WorkItem;

/// What is decoded in one callback; what is left then is the work's, for which this is one turn. Some tenths
/// of a millisecond.
const TURN: Budget = Budget {
    frames: 256,
    bytes: 256 << 10,
};

/// How often [`Pipe::resume`] reads at most, each time what has come since: a window's worth.
const RESUME_TURNS: usize = 4;

impl<U: Upper> WorkItem for Pipe<U> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.work_off();
    }
}

impl<U: Upper> Pipe<U> {
    /// Goes on reading after [`Upper::admit`] refused, within a budget. In task context.
    pub(crate) fn resume(self: &Arc<Self>, budget: &mut Budget) {
        for _ in 0..RESUME_TURNS {
            let mut tcp = self.stream.lock();
            if self.rx.lock().is_behind() {
                return;
            }
            self.read(&mut tcp, budget, false);
            drop(tcp);
            // What came meanwhile was read as the lock was released.
            if !self.rx.lock().tells() {
                return;
            }
        }
    }

    /// Decodes what has arrived, within a budget; in a callback, unless the work is doing so. Under the TCP lock.
    fn read(self: &Arc<Self>, tcp: &mut TcpLocked<'_>, budget: &mut Budget, callback: bool) {
        if self.deaf.load(Relaxed) != 0 {
            let life = self.tx.lock().life();
            match life {
                Life::Greeting | Life::Up => {}
                // Nobody wants it, but unread bytes would make closing a reset, which throws away what we
                // still send.
                Life::Closing { .. } => {
                    self.rx.lock().skipped();
                    return self.skip_all(tcp);
                }
                // A dialer's connection may carry its next pipe by now.
                Life::Ending(_) | Life::Ended => return,
            }
        }
        let begin = self.rx.lock().begin();
        if callback && begin.behind {
            return;
        }
        if tcp.has_urgent() {
            return self.end(End::Violated(Violation(Reason::Malformed)));
        }
        let sk = self.upper.sk();
        let fed = sk.charged(begin.flags, |flags| {
            let mut fed = None;
            if begin.held {
                // What holds the decoder may need no bytes to go on.
                fed = Some(self.feed(&mut Empty, budget, flags));
            }
            tcp.read(sk, |segment| fed = Some(self.feed(segment, budget, flags)));
            fed
        });
        let stop = fed.map_or(Stop::Hungry, |fed| fed.stop);
        let mut begun = false;
        if !fed.is_some_and(|fed| fed.between) {
            let deadline;
            (begun, deadline) = self.rx.lock().stopped(stop, work::now);
            if let Some(time) = deadline {
                U::check_in(&self.upper, time);
            }
        }
        match stop {
            Stop::Hungry => {
                if tcp.at_end() {
                    self.end(End::Disconnected);
                } else if begun {
                    let later = tcp.tell_window();
                    self.rx.lock().tell_later(later);
                    if later {
                        self.kick();
                    }
                }
            }
            Stop::Held => {
                if tcp.at_end() && self.rx.lock().set_gone() {
                    U::happened(&self.upper, self.name, Event::Gone);
                }
            }
            Stop::NoMemory => U::check_in(&self.upper, MEMORY_DELAY),
            Stop::Spent => self.kick(),
            Stop::Violated(violation) => self.end(End::Violated(violation)),
        }
    }

    fn feed(
        self: &Arc<Self>,
        input: &mut impl Input<Kept = Kept>,
        budget: &mut Budget,
        flags: Flags,
    ) -> Fed {
        let limits = self.upper.limits().of_wire();
        let mut owner = Owner(self);
        self.rx
            .lock()
            .feed(input, &mut owner, limits, budget, flags)
    }

    /// Tells what TCP has taken since there were so many messages and bytes.
    fn trace_sent(&self, before: (u64, u64), after: (u64, u64)) {
        let messages = after.0.wrapping_sub(before.0);
        let bytes = after.1.wrapping_sub(before.1);
        if messages > 0 {
            let peer = self.peer.emit();
            trace::messages(Way::Out, self.upper.inode(), peer, messages, bytes);
        }
    }

    /// Hands what was pushed to TCP, as far as there is room. In task context.
    ///
    /// One flush at a time: another caller's message is taken along by the one under way. Where messages
    /// are gathered that may be a work which has lost its CPU: there this waits for it, so that a sender is
    /// never faster than its pipe is emptied.
    pub(crate) fn flush(self: &Arc<Self>) {
        let mut waiting = None;
        if self.upper.gathers().is_some() {
            if !self.tx.lock().moves() {
                return;
            }
            waiting = Some(self.stream.lock());
        }
        // Nobody else has TCP take something until this is over.
        let before = {
            let mut tx = self.tx.lock();
            if !tx.begin_flush() {
                return;
            }
            tx.taken()
        };
        let mut tcp = waiting.unwrap_or_else(|| self.stream.lock());
        let mut notify = false;
        let mut sent: Option<Parcel> = None;
        let mut asked = false;
        let (broken, after, trims) = loop {
            let mut tx = self.tx.lock();
            if let Some(parcel) = &mut sent {
                notify |= tx.sent(parcel, self.sndbuf());
            }
            let next = if tx.has_only_lent() && !core::mem::replace(&mut asked, true) {
                // There may be one that was to go at once; what comes later waits for others.
                drop(tx);
                let next = U::with_nothing_lent(&self.upper, || self.tx.lock().next());
                tx = self.tx.lock();
                next
            } else {
                tx.next()
            };
            let Some(Next {
                parcel,
                offset,
                more,
            }) = next
            else {
                // The work may have found this flush under way and left the rest to it.
                if matches!(tx.life(), Life::Closing { .. }) {
                    self.kick();
                }
                break (false, tx.taken(), tx.has_spare());
            };
            drop(tx);
            // Its room is another one's now.
            sent = None;

            let (len, taken) = match &parcel {
                Parcel::One(msg) => {
                    let frame = Frame::new(msg);
                    (frame.len(), tcp.send(frame.parts(offset), more))
                }
                Parcel::Many(batch) => {
                    let rest = batch.bytes().get(offset..).unwrap_or(&[]);
                    (batch.bytes().len(), tcp.send(once(rest), more))
                }
                Parcel::Shared(edition, _) => {
                    let rest = core::iter::once(edition.piece(offset));
                    (edition.bytes().len(), tcp.send(rest, more))
                }
            };
            let (done, error) = match taken {
                Ok(n) => (offset.saturating_add(n), None),
                Err(e) => (offset, Some(e)),
            };
            if done == len {
                sent = Some(parcel);
                continue;
            }
            let starved = tcp.starved();
            // The TCP lock is held, so `writable` cannot come before it is asked for.
            let (after, trims) = {
                let mut tx = self.tx.lock();
                notify |= tx.stuck(parcel, done, starved, self.sndbuf());
                (tx.taken(), tx.has_spare())
            };
            if starved {
                U::check_in(&self.upper, MEMORY_DELAY);
            }
            break (matches!(error, Some(e) if e != EAGAIN), after, trims);
        };
        drop((sent, tcp));
        if trace::sees_messages(Way::Out) {
            self.trace_sent(before, after);
        }
        if broken {
            self.end(End::Disconnected);
        }
        if trims {
            U::check_in(&self.upper, IDLE);
        }
        if notify {
            U::writable(&self.upper, self);
        }
    }

    fn work_off(self: &Arc<Self>) {
        let life = self.tx.lock().life();
        if life == Life::Ended {
            return;
        }
        let short = self.rx.lock().is_short();
        if short {
            self.upper.sk().reclaim();
        }
        let mut tcp = self.stream.lock();
        let to_say = self.rx.lock().session.to_say();
        // Also where the peer's greeting was bad already: it is told who we are.
        if let Some(bytes) = to_say {
            if tcp.is_connected() {
                self.say(&mut tcp, bytes.as_ref());
            } else if tcp.at_end() {
                // It was reset before our greeting, which what the decoder holds would wait for.
                self.end(End::Disconnected);
            }
        }
        self.read(&mut tcp, &mut { TURN }, false);
        let round_trip = tcp.round_trip();
        let slow = self.rx.lock().is_slow(round_trip) && !tcp.is_short();
        let connected = tcp.is_connected();
        drop(tcp);
        let (life, fin) = {
            let tx = self.tx.lock();
            (tx.life(), tx.has_fin())
        };
        match life {
            Life::Ending(end) => self.end_now(end),
            Life::Greeting | Life::Up if slow => self.end_now(End::MessageTimeout),
            Life::Closing { .. } if !connected && !fin => self.end_now(End::Disconnected),
            Life::Closing { .. } => {
                self.flush();
                self.end_if_delivered();
            }
            Life::Greeting | Life::Up => self.flush(),
            Life::Ended => {}
        }
    }

    /// Greets.
    fn say(self: &Arc<Self>, tcp: &mut TcpLocked<'_>, bytes: &[u8]) {
        // A new connection has room for it; if not, it is of no use.
        match tcp.send(once(bytes), false) {
            Ok(n) if n == bytes.len() => self.rx.lock().said(),
            Ok(_) | Err(_) => self.end(End::Disconnected),
        }
    }

    /// Ends a closing pipe once the peer has everything. TCP itself would deliver what it has, but a
    /// reset provoked by bytes that still come in would throw it away, so we stay until the peer's
    /// acknowledgement of our FIN.
    fn end_if_delivered(self: &Arc<Self>) {
        let Some(before) = self.tx.lock().fin() else {
            return;
        };
        if !before && self.stream.lock().unacknowledged() {
            let tcp = self.tcp.lock().take();
            if let Some(tcp) = tcp {
                tcp.send_fin();
                let none = self.tcp.lock().replace(tcp);
                drop(none);
            }
        }
        if !self.stream.lock().unacknowledged() {
            self.end_now(End::Closed);
        }
    }

    fn skip_all(&self, tcp: &mut TcpLocked<'_>) {
        tcp.read(self.upper.sk(), |segment| {
            Input::skip(segment, usize::MAX);
        });
    }

    /// The end of every pipe; see the head of this file. Only called by the work.
    fn end_now(self: &Arc<Self>, end: End) {
        let Some(unsent) = self.tx.lock().set_ended() else {
            return;
        };
        self.deaf.store(1, Relaxed);
        U::ends(&self.upper);
        drop(unsent);
        // As in `read`: so that closing is no reset.
        self.skip_all(&mut self.stream.lock());
        drop(self.stream.detach::<Self>());
        let (unfinished, msg) = {
            let mut rx = self.rx.lock();
            (rx.session.is_unfinished(), rx.abandon())
        };
        drop(msg);
        let tcp = self.tcp.lock().take();
        U::gone(&self.upper, self, end, unfinished, tcp);
    }
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Bytes in one piece.
fn once(bytes: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    core::iter::once(Piece::of(bytes))
}

impl<U: Upper> StreamEvents for Pipe<U> {
    fn readable(this: &Arc<Self>, tcp: &mut TcpLocked<'_>) {
        this.read(tcp, &mut { TURN }, true);
    }

    fn writable(this: &Arc<Self>) {
        let blocked = this.tx.lock().unblock();
        if blocked {
            this.kick();
        }
    }

    fn changed(this: &Arc<Self>, tcp: &mut TcpLocked<'_>) {
        Self::readable(this, tcp);
        // Connected: our greeting is to be sent. Closing: the peer may have acknowledged all.
        let life = this.tx.lock().life();
        match life {
            Life::Greeting | Life::Closing { .. } => this.kick(),
            Life::Up | Life::Ending(_) | Life::Ended => {}
        }
    }
}

/// What the session of a pipe talks to.
struct Owner<'a, U: Upper>(&'a Arc<Pipe<U>>);

impl<U: Upper> Sink for Owner<'_, U> {
    fn greeted(&mut self) -> bool {
        let opens = {
            let mut tx = self.0.tx.lock();
            match tx.life() {
                Life::Greeting => tx.greeted(work::now()),
                Life::Up | Life::Closing { .. } => return true,
                // Who is about to end is given nothing to send any more.
                Life::Ending(_) | Life::Ended => return false,
            }
        };
        let welcome = !opens || U::opened(&self.0.upper, self.0.name, self.0.peer);
        if !welcome {
            self.0.end(End::Closed);
        }
        welcome
    }

    fn admit(&mut self, len: usize, whole: bool) -> bool {
        U::admit(&self.0.upper, self.0.name, len, whole)
    }

    fn stretch(&mut self, bytes: usize) -> bool {
        U::stretch(&self.0.upper, self.0.name, bytes)
    }

    fn from(&self) -> Address {
        self.0.peer
    }

    fn message(&mut self, mut msg: Msg, admitted: bool) -> Result<(), Unwelcome> {
        msg.from = self.0.peer;
        let traced = trace::sees_messages(Way::In).then(|| (msg.messages(), msg.len()));
        let received = U::received(&self.0.upper, self.0.name, msg, admitted);
        if let (Some((messages, bytes)), Ok(())) = (traced, &received) {
            let (messages, bytes) = (wide(messages), wide(bytes));
            let peer = self.0.peer.emit();
            trace::messages(Way::In, self.0.upper.inode(), peer, messages, bytes);
        }
        received
    }

    fn too_long(&mut self, tags: &Tags) {
        U::happened(&self.0.upper, self.0.name, Event::TooLong(tags));
    }

    fn discarded(&mut self, why: Reason) {
        U::happened(&self.0.upper, self.0.name, Event::Discarded(why));
    }
}
