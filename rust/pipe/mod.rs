// SPDX-License-Identifier: GPL-2.0

//! One peer: a TCP connection, the codec in both directions, and what waits to be sent.
//!
//! A pipe knows no pattern. What it decodes goes up through [`Upper`], whole messages only, and the tags of one
//! that is too long; what it is to send is pushed into a queue, or copied behind other short messages, and flushed
//! when the owner says so. Those it also lends to the owner, to write more there.
//!
//! # Life
//!
//! ```text
//!            both greetings           close()             all of it acknowledged
//! Greeting ───────────────────> Up ─────────> Closing ──────────────────────────> Ended
//!    └────── violation, deadline, EOF, reset, abort ──┴───────────> Ending ───────────^
//! ```
//!
//! The TCP callbacks decode, and otherwise only note and queue the pipe's work. Everything slow happens in
//! that work, which never runs twice at a time: sending our greeting, going on with a flush after TCP had
//! no room, closing. So the way from any state to `Ended` is taken in one place, `end_now`, once:
//!
//! 1. The life becomes `Ended` under the `tx` lock: no push is accepted and no flush starts. One that
//!    runs holds the TCP lock and sees that before it sends again.
//! 2. `Stream::detach` waits for the TCP lock: flushes and callbacks that began before are over, and none
//!    begins any more.
//! 3. The owner above forgets the pipe and closes the connection, if the pipe had it; else its dialer does. Whoever still holds a reference (a
//!    flush that lost the race, a queued work) finds `Ended` and does nothing.
//!
//! # Locks
//!
//! TCP lock, then `rx`, then the owner's lock, then `tx`; `rx` and `tx` are spinlocks and held for a few
//! lines. All reading is done under the TCP lock, so nobody waits for `rx` but those who look for a moment
//! (deadlines, `/proc/net/sp`, asking again) or close; it is what lets safe code change the decoder.

mod flow;
mod rx;
mod tx;
mod upper;

use crate::address::Address;
use crate::bytes::{
    Room,
    Source, //
};
use crate::ids::{
    EndpointId,
    PipeName, //
};
use crate::mem::Flags;
use crate::message::Msg;
use crate::net::lock::{
    new_bhlock,
    BhLock, //
};
use crate::net::stream::{
    Stream,
    TcpSocket, //
};
use crate::net::work::{
    self,
    Lane, //
};
use crate::time::{
    earlier,
    Instant,
    Millis, //
};
use crate::wire::sp::{
    Batch,
    Edition, //
};
use crate::wire::Types;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Relaxed,
    Release, //
};
use kernel::sync::{
    new_mutex,
    Arc,
    Mutex, //
};
use kernel::workqueue::{
    impl_has_work,
    new_work,
    Work, //
};
use rx::Rx;
pub(crate) use rx::LOOK_INTERVAL;
pub(crate) use tx::End;
use tx::{
    Life,
    Tx,
    GREETING_TIME, //
};
pub(crate) use upper::{
    Event,
    Limits,
    Upper, //
};

/// How long a pipe that has nothing to send keeps memory for more of the kind, about.
pub(crate) const IDLE: Millis = Millis(500);

/// How soon to try again what failed for want of memory.
pub(crate) const MEMORY_DELAY: Millis = Millis(10);

#[pin_data]
pub(crate) struct Pipe<U: Upper> {
    upper: Arc<U>,
    pub(crate) name: PipeName,
    /// The endpoint that made it.
    pub(crate) endpoint: EndpointId,
    /// Who is at the other end.
    pub(crate) peer: Address,
    stream: Arc<Stream>,
    /// A dialer made it, and may still have the connection.
    pub(crate) dialed: bool,
    born: Instant,
    /// Not 0 once what arrives may not be wanted any more: the pipe closes, or ends.
    deaf: Atomic<u32>,
    /// When it was over, in milliseconds; 0 before.
    over: Atomic<u64>,
    /// The connection, if this pipe owns it; a dialer keeps its own. Taken out only by the work.
    #[pin]
    tcp: BhLock<Option<TcpSocket>>,
    /// Whether this pipe has not closed its connection. Closing it and setting options do not overlap:
    /// TCP gives up what some options change.
    #[pin]
    open: Mutex<bool>,
    #[pin]
    rx: BhLock<Rx>,
    #[pin]
    tx: BhLock<Tx>,
    #[pin]
    work: Work<Pipe<U>>,
}

impl_has_work! {
    impl{U: Upper} HasWork<Pipe<U>> for Pipe<U> { self.work }
}

/// What a pipe is made of.
pub(crate) struct Parts {
    pub(crate) name: PipeName,
    pub(crate) endpoint: EndpointId,
    pub(crate) types: Types,
    pub(crate) peer: Address,
    pub(crate) stream: Arc<Stream>,
    /// The connection, if the pipe is to own it.
    pub(crate) tcp: Option<TcpSocket>,
}

impl<U: Upper> Pipe<U> {
    /// Makes a pipe on a connection that exists or is going to.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(upper: Arc<U>, parts: Parts, flags: Flags) -> Result<Arc<Self>> {
        let Parts {
            name,
            endpoint,
            types,
            peer,
            stream,
            tcp,
        } = parts;
        Arc::pin_init(
            pin_init!(Self {
                upper,
                name,
                endpoint,
                peer,
                stream,
                dialed: tcp.is_none(),
                born: work::now(),
                deaf: Atomic::new(0),
                over: Atomic::new(0),
                tcp <- new_bhlock!(tcp, "sp_pipe_tcp"),
                open <- new_mutex!(true, "sp_pipe_open"),
                rx <- new_bhlock!(Rx::new(types), "sp_pipe_rx"),
                tx <- new_bhlock!(Tx::new(), "sp_pipe_tx"),
                work <- new_work!("sp_pipe"),
            }),
            flags,
        )
    }

    /// Takes over the connection's callbacks. The caller connects afterwards, or calls
    /// [`Self::kick`] if the connection exists.
    ///
    /// # Errors
    ///
    /// As [`Stream::attach`].
    pub(crate) fn attach(self: &Arc<Self>) -> Result {
        U::check_in(&self.upper, GREETING_TIME);
        self.stream.attach(self.clone())
    }

    /// Has the work look at everything. From any context.
    pub(crate) fn kick(self: &Arc<Self>) {
        work::enqueue::<_, 0>(Lane::Quick, self.clone());
    }

    /// When both greetings were exchanged; `None` if they were not.
    pub(crate) fn up_since(&self) -> Option<Instant> {
        self.tx.lock().up_since()
    }

    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Calls `f`, which may set options, with the connection, unless that is closed. May sleep.
    pub(crate) fn with_open(&self, f: impl FnOnce(&Stream)) {
        let open = self.open.lock();
        if *open {
            f(&self.stream);
        }
    }

    /// Closes the connection, by a reset if the pipe was `aborted`. In task context.
    pub(crate) fn close_connection(&self, tcp: TcpSocket, aborted: bool) {
        let mut open = self.open.lock();
        *open = false;
        if aborted {
            tcp.abort_on_close();
        }
        drop(tcp);
    }

    /// The owner is done with it. Called by the owner, in [`Upper::gone`].
    pub(crate) fn is_over_now(&self) {
        self.over.store(work::now().0.max(1), Release);
    }

    /// Whether the owner is done with it, so that its connection may carry another pipe.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Acquire) != 0
    }

    /// For how long it was up before it was over.
    pub(crate) fn lived(&self) -> Option<Millis> {
        let over = Instant(self.over.load(Acquire));
        Some(over.since(self.up_since()?))
    }

    /// Whether the greetings are still being exchanged.
    pub(crate) fn is_greeting(&self) -> bool {
        self.tx.lock().life() == Life::Greeting
    }

    /// How many messages arrived, and how many TCP has taken.
    pub(crate) fn messages(&self) -> (u64, u64) {
        let received = self.rx.lock().messages();
        (received, self.tx.lock().messages())
    }

    /// Its life in a word, as `/proc/net/sp` has it.
    pub(crate) fn life_name(&self) -> &'static str {
        let gone = self.rx.lock().is_gone();
        match self.tx.lock().life() {
            Life::Greeting => "greeting",
            Life::Up if gone => "gone",
            Life::Up => "up",
            Life::Closing { .. } | Life::Ending(_) | Life::Ended => "closing",
        }
    }

    /// What waits to be sent, in bytes of the programs' messages.
    pub(crate) fn unsent(&self) -> usize {
        self.tx.lock().unsent()
    }

    /// Appends to what is to be sent, or drops it if the pipe is not up. Tells whether there is room for
    /// another one. [`Self::flush`] is to be called afterwards. From any context.
    #[inline]
    pub(crate) fn push(&self, mut msg: Msg) -> bool {
        msg.enter(self.upper.ledger());
        let sndbuf = self.sndbuf();
        let mut tx = self.tx.lock();
        if self.upper.gathers().is_some_and(|most| msg.len() <= most) {
            // What was made here is all bytes of our own.
            let mut body = msg.bytes().chunks_from(0).filter_map(|piece| piece.bytes());
            let ledger = self.upper.ledger();
            let copied = tx.copy(msg.len(), b"", ledger, sndbuf, |room| {
                body.try_for_each(|part| room.extend(part))
            });
            if copied {
                return tx.has_room(sndbuf);
            }
        }
        tx.push(msg, sndbuf)
    }

    /// Makes room for a copy of a short body without tags. False if it is to be pushed instead, see [`Tx::copy`].
    pub(crate) fn takes_copy(&self, len: usize) -> bool {
        let sndbuf = self.sndbuf();
        self.tx.lock().takes_copy(len, 0, sndbuf)
    }

    /// Copies a short body of `len` bytes, behind these tags, behind what is to be sent. `None` if it is to be pushed
    /// instead, see [`Tx::copy`]; else as [`Self::push`].
    #[inline]
    pub(crate) fn copy(&self, tags: &[u8], len: usize, body: &mut impl Source) -> Option<bool> {
        let ledger = self.upper.ledger();
        let sndbuf = self.sndbuf();
        let frame = tags.len().saturating_add(len);
        let mut tx = self.tx.lock();
        tx.copy(frame, tags, ledger, sndbuf, |room| body.append(room, len))
            .then(|| tx.has_room(sndbuf))
    }

    /// Lends the batch that waits, if nothing is behind it, and tells what may be added to it, in bytes. Nothing is given
    /// to the pipe before it has that back.
    pub(crate) fn lend(&self) -> Option<(Batch, usize)> {
        let sndbuf = self.sndbuf();
        self.tx.lock().lend(sndbuf)
    }

    /// Takes it back, with messages that count for so much more. Tells whether there is room for another one; `None` if the
    /// pipe is not up any more.
    pub(crate) fn take_back(&self, batch: Batch, charge: usize) -> Option<bool> {
        let sndbuf = self.sndbuf();
        let mut tx = self.tx.lock();
        let memory = tx.take_back(batch, charge);
        let room = (tx.life() == Life::Up).then(|| tx.has_room(sndbuf));
        drop(tx);
        // Under the owner's lock, as it is no more than a batch holds.
        drop(memory);
        room
    }

    /// Appends these messages, which have no tags, to what is to be sent. `None` if there is no room for all of them,
    /// or they are to be copied or pushed one by one; else as [`Self::push`].
    pub(crate) fn take_all(&self, all: &Arc<Edition>) -> Option<bool> {
        let sndbuf = self.sndbuf();
        let mut tx = self.tx.lock();
        tx.take_all(all, self.upper.ledger(), sndbuf)
            .then(|| tx.has_room(sndbuf))
    }

    fn sndbuf(&self) -> usize {
        self.upper.limits().sndbuf.load(Relaxed)
    }

    /// Ends the pipe soon. From any context.
    pub(crate) fn end(self: &Arc<Self>, end: End) {
        self.end_if(end, |_| true);
    }

    /// Ends the pipe soon if the greetings are not exchanged by then. From any context.
    pub(crate) fn end_greeting(self: &Arc<Self>, end: End) {
        self.end_if(end, |life| life == Life::Greeting);
    }

    fn end_if(self: &Arc<Self>, end: End, which: impl FnOnce(Life) -> bool) {
        let ends = self.tx.lock().end(end, which);
        if ends {
            self.deaf.store(1, Relaxed);
            U::ends(&self.upper);
            self.kick();
        }
    }

    /// Ends a closing pipe soon, whatever it holds. What is wholly in TCP, TCP goes on delivering.
    pub(crate) fn abort(self: &Arc<Self>) {
        let end = self.tx.lock().last_word();
        self.end(end);
    }

    /// Delivers what was pushed, and drops what is pushed from now on; [`Self::close`] is to follow. For an
    /// owner that sees to it, under its lock, that nothing more is.
    pub(crate) fn take_no_more(&self) {
        let _ = self.tx.lock().close(work::now());
        self.deaf.store(1, Relaxed);
    }

    /// Ends the pipe when everything that was pushed is delivered, or soon if the greetings are not
    /// exchanged yet. `tcp` is its connection if a dialer had it. In task context.
    pub(crate) fn close(self: &Arc<Self>, tcp: Option<TcpSocket>) {
        if let Some(tcp) = tcp {
            self.adopt(tcp);
        }
        let alive = self.tx.lock().close(work::now());
        self.deaf.store(1, Relaxed);
        // Nobody is going to receive what is under way.
        let msg = self.rx.lock().abandon();
        drop(msg);
        if alive {
            // Else the id may be another pipe's by now.
            U::happened(&self.upper, self.name, Event::Abandoned);
        }
        U::check_in(&self.upper, self.upper.limits().close_timeout());
        self.kick();
    }

    /// Takes over the connection from its dialer. In task context.
    pub(crate) fn adopt(&self, tcp: TcpSocket) {
        let none = self.tcp.lock().replace(tcp);
        drop(none);
        let ended = self.tx.lock().life() == Life::Ended;
        if ended {
            // The end may have looked for it before it was there. Closing sleeps: not under the lock.
            let tcp = self.tcp.lock().take();
            if let Some(tcp) = tcp {
                self.close_connection(tcp, false);
            }
        }
    }

    /// Has [`Upper::admit`] asked again if it refused. From any context.
    pub(crate) fn ask_again(self: &Arc<Self>) {
        let held = self.rx.lock().is_held();
        if held {
            self.kick();
        }
    }

    /// Compares what is held unsent with SO_SNDBUF again, and tells whether there is room. The owner
    /// calls it under the lock under which it pushes, so that neither gets ahead of the other.
    pub(crate) fn has_room(&self) -> bool {
        let sndbuf = self.sndbuf();
        self.tx.lock().has_room(sndbuf)
    }

    /// Whether there is something to send that TCP may take.
    pub(crate) fn waits(&self) -> bool {
        self.tx.lock().moves()
    }

    /// Enforces the deadlines, gives memory back, and retries what failed for want of it; `idle` tells that no
    /// peer's message waits for the program. Returns when to be called again; `None` if there is no reason to.
    pub(crate) fn check(self: &Arc<Self>, now: Instant, idle: bool) -> Option<Instant> {
        let (short, said, message) = {
            let mut rx = self.rx.lock();
            if idle {
                rx.resort();
            }
            let said = rx.session.to_say().is_none();
            (rx.is_short(), said, rx.deadline(now))
        };
        let (retry, life, memory) = {
            let mut tx = self.tx.lock();
            let timeout = self.upper.limits().close_timeout();
            let life = tx.deadline(self.born, said, timeout);
            (tx.retry(), life, tx.trim())
        };
        drop(memory);
        if short || retry {
            self.kick();
        }
        let mut next = None;
        if let Some((at, end)) = life {
            if at <= now {
                self.end_if(end, |life| life != Life::Up)
            } else {
                next = Some(at)
            }
        }
        if let Some(at) = message {
            if at <= now {
                self.end_if(End::MessageTimeout, |life| life == Life::Up)
            } else {
                next = earlier(next, message)
            }
        }
        next
    }

    /// Somebody waits for what this pipe has reserved: ends it if it has been slow. `spell` tells one such
    /// wait from another. To be called once every [`LOOK_INTERVAL`] as long as it lasts. In task context.
    pub(crate) fn press(self: &Arc<Self>, spell: u32) {
        let judge = self.rx.lock().look(spell);
        if judge {
            // The work reads what has arrived before it judges.
            self.kick();
        }
    }
}
