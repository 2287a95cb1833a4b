// SPDX-License-Identifier: GPL-2.0

//! One peer: a TCP connection, the codec in both directions, and what waits to be sent.
//!
//! A pipe knows no pattern. What it decodes goes up through [`Upper`], whole messages only; what it is to
//! send is pushed into a queue and flushed from the sender's own context.
//!
//! # Life
//!
//! ```text
//!            both greetings           close()             all of it acknowledged
//! Greeting ───────────────────> Up ─────────> Closing ──────────────────────────> Ending ──> Dead
//!    └──────── violation, deadline, EOF, reset ──┴───────────────────────────────────^
//! ```
//!
//! The TCP callbacks decode, and otherwise only note and queue the pipe's work. Everything slow happens in
//! that work, which never runs twice at a time: sending our greeting, going on with a flush after TCP had
//! no room, closing. So the way from any state to `Dead` is taken in one place, `finish`, once:
//!
//! 1. The life becomes `Dead` under the `tx` lock: no push is accepted and no flush starts. One that
//!    runs holds the TCP lock and sees that before it sends again.
//! 2. `Stream::detach` waits for the TCP lock: flushes and callbacks that began before are over, and none
//!    begins any more.
//! 3. The owner above forgets the pipe and closes the connection. Whoever still holds a reference (a
//!    flush that lost the race, a queued work) finds `Dead` and does nothing.
//!
//! # Locks
//!
//! TCP lock, then `rx`, then the owner's lock, then `tx`; `rx` and `tx` are spinlocks and held for a few
//! lines. All reading is done under the TCP lock, so nobody waits for `rx` but those who look (the owner's
//! deadlines and `/proc/net/sp`); it is what lets safe code change the decoder.

mod rx;
mod tx;

use crate::address::Address;
use crate::bytes::{
    Empty,
    Input, //
};
use crate::ids::{
    EndpointId,
    PipeName, //
};
use crate::mem::{
    Flags,
    NO_SLEEP, //
};
use crate::message::tags::Tags;
use crate::message::Msg;
use crate::net::lock::{
    new_bhlock,
    BhLock, //
};
use crate::net::stream::{
    Stream,
    StreamEvents,
    TcpLocked,
    TcpSocket, //
};
use crate::net::work::{
    self,
    Lane, //
};
use crate::stats::Reason;
use crate::time::{
    earlier,
    Instant,
    Millis, //
};
use crate::wire::sp::Frame;
use crate::wire::{
    self,
    Budget,
    Sink,
    Stop,
    Types,
    Unwelcome,
    Violation, //
};
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
    ArcBorrow,
    Mutex, //
};
use kernel::workqueue::{
    impl_has_work,
    new_work,
    Work,
    WorkItem, //
};
use rx::Rx;
pub(crate) use rx::LOOK_INTERVAL;
pub(crate) use tx::End;
use tx::{
    Life,
    Next,
    Tx,
    GREETING_TIME, //
};

/// How soon to try again what failed for want of memory.
pub(crate) const MEMORY_DELAY: Millis = Millis(10);

/// What is decoded in one callback; what is left then is the work's, for which this is one turn. Some tenths
/// of a millisecond.
const TURN: Budget = Budget {
    frames: 256,
    bytes: 256 << 10,
};

/// How often [`Pipe::resume`] reads at most, each time what has come since: a window's worth.
const RESUME_TURNS: usize = 4;

/// What the owner of a pipe has set. It stores what changes; the pipes read it when they need it.
pub(crate) struct Limits {
    /// The longest body that is accepted, in bytes.
    pub(crate) body: Atomic<usize>,
    /// The most tags in front of it.
    pub(crate) tags: Atomic<usize>,
    /// How many bytes a pipe may hold unsent and still have room.
    pub(crate) sndbuf: Atomic<usize>,
    /// How long a closing pipe goes on delivering, in milliseconds. Who shortens that calls
    /// [`Pipe::check`].
    pub(crate) close_timeout: Atomic<u64>,
}

impl Limits {
    fn of_wire(&self) -> wire::Limits {
        wire::Limits {
            body: self.body.load(Relaxed),
            tags: self.tags.load(Relaxed),
        }
    }

    fn close_timeout(&self) -> Millis {
        Millis(self.close_timeout.load(Relaxed))
    }
}

/// Who a pipe belongs to.
pub(crate) trait Upper: Send + Sync + Sized + 'static {
    fn limits(&self) -> &Limits;

    /// Runs `f` with flags for what is to be charged to the owner. From any context.
    fn charged<T>(&self, flags: Flags, f: impl FnOnce(Flags) -> T) -> T;

    /// Tries to make room for what failed for want of memory. In task context, with no lock held.
    fn reclaim(&self);

    /// Whether a frame of so many bytes may be begun, which is `whole` there or in part. If not,
    /// [`Pipe::resume`] is called when it may. Under the TCP lock and `rx`, in a callback or the work.
    fn admit(this: &Arc<Self>, name: PipeName, len: usize, whole: bool) -> bool;

    /// A message arrived, which was `admitted` or is to be now. Under the TCP lock and `rx`, in a callback
    /// or the work.
    ///
    /// # Errors
    ///
    /// Why it is not taken.
    fn received(
        this: &Arc<Self>,
        name: PipeName,
        msg: Msg,
        admitted: bool,
    ) -> Result<(), Unwelcome>;

    /// Something happened to the pipe. Where, [`Event`] tells.
    fn happened(this: &Arc<Self>, name: PipeName, event: Event<'_>);

    /// Both greetings are exchanged. False if the owner wants no such pipe: it ends. Under the TCP lock and
    /// `rx`, in a callback or the work.
    fn opened(this: &Arc<Self>, name: PipeName) -> bool;

    /// The pipe was full and may not be any more. In task context, with no lock held.
    fn writable(this: &Arc<Self>, pipe: &Pipe<Self>);

    /// [`Pipe::check`] is to be called so soon. From any context, under any lock of the pipe's.
    fn check_in(this: &Arc<Self>, time: Millis);

    /// The pipe has ended; `tcp` is its connection if it owned that. In task context, with no lock held.
    fn gone(
        this: &Arc<Self>,
        pipe: &Pipe<Self>,
        end: End,
        unfinished: bool,
        tcp: Option<TcpSocket>,
    );
}

/// What happens to a pipe and needs no answer.
pub(crate) enum Event<'a> {
    /// A message that is too long begins with these tags; the pipe ends. Under the TCP lock and `rx`.
    TooLong(&'a Tags),
    /// What was admitted last is thrown away. Under the TCP lock and `rx`.
    Discarded(Reason),
    /// What was admitted last will not become whole. With no lock held.
    Abandoned,
    /// The peer is gone, and what it has sent waits to be admitted. Under the TCP lock.
    Lost,
}

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

impl<U: Upper> WorkItem for Pipe<U> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.work_off();
    }
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
    pub(crate) fn hang_up(&self, tcp: TcpSocket, aborted: bool) {
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
        let lost = self.rx.lock().is_lost();
        match self.tx.lock().life() {
            Life::Greeting => "greeting",
            Life::Up if lost => "gone",
            Life::Up => "up",
            Life::Closing { .. } | Life::Ending(_) | Life::Dead => "closing",
        }
    }

    /// What waits to be sent, in bytes of the programs' messages.
    pub(crate) fn unsent(&self) -> usize {
        self.tx.lock().unsent()
    }

    /// Appends to what is to be sent, or drops it if the pipe is not up. Tells whether there is room for
    /// another one. [`Self::flush`] is to be called afterwards. From any context.
    #[inline]
    pub(crate) fn push(&self, msg: Msg) -> bool {
        let sndbuf = self.sndbuf();
        self.tx.lock().push(msg, sndbuf)
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
            self.kick();
        }
    }

    /// Ends a closing pipe soon, whatever it holds. What is wholly in TCP, TCP goes on delivering.
    pub(crate) fn give_up(self: &Arc<Self>) {
        let end = self.tx.lock().last_word();
        self.end(end);
    }

    /// Ends the pipe when everything that was pushed is delivered, or soon if the greetings are not
    /// exchanged yet. `tcp` is its connection if a dialer had it. In task context.
    pub(crate) fn close(self: &Arc<Self>, tcp: Option<TcpSocket>) {
        if let Some(tcp) = tcp {
            self.adopt(tcp);
        }
        let alive = self.tx.lock().close(work::now());
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
        let dead = self.tx.lock().life() == Life::Dead;
        if dead {
            // The end may have looked for it before it was there. Closing sleeps: not under the lock.
            let tcp = self.tcp.lock().take();
            if let Some(tcp) = tcp {
                self.hang_up(tcp, false);
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

    /// Enforces the deadlines and retries what failed for want of memory. Returns when to be called again;
    /// `None` if there is no reason to.
    pub(crate) fn check(self: &Arc<Self>, now: Instant) -> Option<Instant> {
        let (short, said, message) = {
            let rx = self.rx.lock();
            let said = rx.session.to_say().is_none();
            (rx.is_short(), said, rx.deadline(now))
        };
        let (retry, life) = {
            let mut tx = self.tx.lock();
            let timeout = self.upper.limits().close_timeout();
            (tx.retry(), tx.deadline(self.born, said, timeout))
        };
        if short || retry {
            self.kick();
        }
        let mut next = None;
        if let Some((at, end)) = life {
            match at <= now {
                true => self.end_if(end, |life| life != Life::Up),
                false => next = Some(at),
            }
        }
        if let Some(at) = message {
            match at <= now {
                true => self.end_if(End::MessageTimeout, |life| life == Life::Up),
                false => next = earlier(next, message),
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

    /// Goes on reading after [`Upper::admit`] refused, within a budget. In task context.
    pub(crate) fn resume(self: &Arc<Self>, budget: &mut Budget) {
        for _ in 0..RESUME_TURNS {
            let mut tcp = self.stream.lock();
            if self.rx.lock().is_behind() {
                return;
            }
            self.read(&mut tcp, budget);
            drop(tcp);
            // What came meanwhile was read as the lock was released.
            if !self.rx.lock().tells() {
                return;
            }
        }
    }

    /// Decodes what has arrived, within a budget. Under the TCP lock.
    fn read(self: &Arc<Self>, tcp: &mut TcpLocked<'_>, budget: &mut Budget) {
        let life = self.tx.lock().life();
        match life {
            Life::Greeting | Life::Up => {}
            // Nobody wants it, but unread bytes would make closing a reset, which throws away what we
            // still send.
            Life::Closing { .. } => {
                self.rx.lock().skipped();
                return skip_all(tcp);
            }
            // A dialer's connection may carry its next pipe by now.
            Life::Ending(_) | Life::Dead => return,
        }
        if tcp.has_urgent() {
            return self.end(End::Violated(Violation(Reason::Malformed)));
        }
        let stop = self.upper.charged(NO_SLEEP, |flags| {
            let mut stop = Stop::Hungry;
            if self.rx.lock().is_held() {
                // What holds the decoder may need no bytes to go on.
                stop = self.feed(&mut Empty, budget, flags);
            }
            tcp.read(|segment| stop = self.feed(segment, budget, flags));
            stop
        });
        let (begun, deadline) = self.rx.lock().stopped(work::now);
        if let Some(time) = deadline {
            U::check_in(&self.upper, time);
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
                if tcp.at_end() && self.rx.lock().lose() {
                    U::happened(&self.upper, self.name, Event::Lost);
                }
            }
            Stop::NoMemory => U::check_in(&self.upper, MEMORY_DELAY),
            Stop::Spent => self.kick(),
            Stop::Violated(violation) => self.end(End::Violated(violation)),
        }
    }

    fn feed(self: &Arc<Self>, input: &mut impl Input, budget: &mut Budget, flags: Flags) -> Stop {
        let limits = self.upper.limits().of_wire();
        let mut owner = Owner(self);
        self.rx
            .lock()
            .feed(input, &mut owner, limits, budget, flags)
    }

    /// Hands what was pushed to TCP, as far as there is room. In task context.
    ///
    /// One flush at a time: another caller's message is taken along by the one under way.
    pub(crate) fn flush(self: &Arc<Self>) {
        if !self.tx.lock().begin_flush() {
            return;
        }
        let mut tcp = self.stream.lock();
        let mut notify = false;
        let mut sent = None;
        let broken = loop {
            let mut tx = self.tx.lock();
            if let Some(charge) = sent.take() {
                notify |= tx.sent(charge, self.sndbuf());
            }
            let Some(Next { msg, offset, more }) = tx.next() else {
                // The work may have found this flush under way and left the rest to it.
                if matches!(tx.life(), Life::Closing { .. }) {
                    self.kick();
                }
                break false;
            };
            drop(tx);

            let frame = Frame::new(&msg);
            let (done, error) = match tcp.send(frame.parts(offset), more) {
                Ok(n) => (offset.saturating_add(n), None),
                Err(e) => (offset, Some(e)),
            };
            if done == frame.len() {
                sent = Some(msg.charge());
                continue;
            }
            let starved = tcp.starved();
            // The TCP lock is held, so `writable` cannot come before it is asked for.
            self.tx.lock().stuck(msg, done, starved);
            if starved {
                U::check_in(&self.upper, MEMORY_DELAY);
            }
            break matches!(error, Some(e) if e != EAGAIN);
        };
        drop(tcp);
        if broken {
            self.end(End::Disconnected);
        }
        if notify {
            U::writable(&self.upper, self);
        }
    }

    fn work_off(self: &Arc<Self>) {
        let life = self.tx.lock().life();
        if life == Life::Dead {
            return;
        }
        let short = self.rx.lock().is_short();
        if short {
            self.upper.reclaim();
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
        self.read(&mut tcp, &mut { TURN });
        let round_trip = Millis(tcp.round_trip());
        let slow = self.rx.lock().is_slow(round_trip) && !tcp.is_short();
        let connected = tcp.is_connected();
        drop(tcp);
        if slow {
            return self.finish(End::MessageTimeout);
        }
        let (life, fin) = {
            let tx = self.tx.lock();
            (tx.life(), tx.has_fin())
        };
        match life {
            Life::Ending(end) => self.finish(end),
            Life::Closing { .. } if !connected && !fin => self.finish(End::Disconnected),
            Life::Closing { .. } => {
                self.flush();
                self.close_off();
            }
            Life::Greeting | Life::Up => self.flush(),
            Life::Dead => {}
        }
    }

    /// Greets.
    fn say(self: &Arc<Self>, tcp: &mut TcpLocked<'_>, bytes: &[u8]) {
        // A new connection has room for it; if not, it is of no use.
        match tcp.send(core::iter::once(bytes), false) {
            Ok(n) if n == bytes.len() => self.rx.lock().said(),
            Ok(_) | Err(_) => self.end(End::Disconnected),
        }
    }

    /// Ends a closing pipe once the peer has everything. TCP itself would deliver what it has, but a
    /// reset provoked by bytes that still come in would throw it away, so we stay until the peer's
    /// acknowledgement of our FIN.
    fn close_off(self: &Arc<Self>) {
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
            self.finish(End::Closed);
        }
    }

    /// The end of every pipe; see the head of this file. Only called by the work.
    fn finish(self: &Arc<Self>, end: End) {
        let Some(unsent) = self.tx.lock().die() else {
            return;
        };
        drop(unsent);
        // As in `read`: so that closing is no reset.
        skip_all(&mut self.stream.lock());
        drop(self.stream.detach::<Self>());
        let (unfinished, msg) = {
            let mut rx = self.rx.lock();
            (rx.session.begun().is_some(), rx.abandon())
        };
        drop(msg);
        let tcp = self.tcp.lock().take();
        U::gone(&self.upper, self, end, unfinished, tcp);
    }
}

fn skip_all(tcp: &mut TcpLocked<'_>) {
    tcp.read(|segment| {
        Input::skip(segment, usize::MAX);
    });
}

impl<U: Upper> StreamEvents for Pipe<U> {
    fn readable(this: ArcBorrow<'_, Self>, tcp: &mut TcpLocked<'_>) {
        if !this.rx.lock().is_behind() {
            Arc::from(this).read(tcp, &mut { TURN });
        }
    }

    fn writable(this: ArcBorrow<'_, Self>) {
        let blocked = this.tx.lock().unblock();
        if blocked {
            Arc::from(this).kick();
        }
    }

    fn changed(this: ArcBorrow<'_, Self>, tcp: &mut TcpLocked<'_>) {
        Self::readable(this, tcp);
        let this = Arc::from(this);
        // Connected: our greeting is to be sent. Closing: the peer may have acknowledged all.
        let life = this.tx.lock().life();
        match life {
            Life::Greeting | Life::Closing { .. } => this.kick(),
            Life::Up | Life::Ending(_) | Life::Dead => {}
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
                Life::Ending(_) | Life::Dead => return false,
            }
        };
        let welcome = !opens || U::opened(&self.0.upper, self.0.name);
        if !welcome {
            self.0.end(End::Closed);
        }
        welcome
    }

    fn admit(&mut self, len: usize, whole: bool) -> bool {
        U::admit(&self.0.upper, self.0.name, len, whole)
    }

    fn message(&mut self, mut msg: Msg, admitted: bool) -> Result<(), Unwelcome> {
        msg.from = self.0.peer;
        U::received(&self.0.upper, self.0.name, msg, admitted)
    }

    fn too_long(&mut self, tags: &Tags) {
        U::happened(&self.0.upper, self.0.name, Event::TooLong(tags));
    }

    fn discarded(&mut self, why: Reason) {
        U::happened(&self.0.upper, self.0.name, Event::Discarded(why));
    }
}
