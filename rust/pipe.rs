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
//! Greeting ───────────────────> Up ─────────> Closing ──────────────────────────> Dead
//!    └──────── violation, deadline, EOF, reset ──┴──────────────────────────────────^
//! ```
//!
//! The TCP callbacks decode, and otherwise only note and queue the pipe's work. Everything slow happens in
//! that work, which never runs twice at a time: sending our greeting, going on with a flush after TCP had
//! no room, closing. So the way from any state to `Dead` is taken in one place, `finish`, once:
//!
//! 1. The phase becomes `Dead` under the `tx` lock: no push is accepted and no flush starts. One that
//!    runs holds the TCP lock and sees the phase before it sends again.
//! 2. `Stream::detach` waits for the TCP lock: flushes and callbacks that began before are over, and none
//!    begins any more.
//! 3. The owner above forgets the pipe and closes the connection. Whoever still holds a reference (a
//!    flush that lost the race, a queued work) finds `Dead` and does nothing.
//!
//! # Locks
//!
//! TCP lock, then `rx`, then the owner's lock, then `tx`; `rx` and `tx` are spinlocks and held for a few
//! lines. `rx` is never contended, because every decoder runs under the TCP lock; it is what lets safe
//! code change the decoder.

use crate::address::Address;
use crate::bytes::Empty;
use crate::bytes::Input;
use crate::mem::{
    Flags,
    NO_SLEEP, //
};
use crate::message::queue::Queue;
use crate::message::tags::TAG;
use crate::message::{
    Message,
    Msg, //
};
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
use crate::net::task::Current;
use crate::net::work::{
    self,
    Lane, //
};
use crate::pattern::{
    Handle,
    PipeId,
    Room, //
};
use crate::stats::count;
use crate::wire::frame::{
    Budget,
    Decoder,
    Sink,
    Stop,
    Violation, //
};
use crate::wire::header::Greeting;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Acquire,
    Atomic,
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

/// How long a peer may take to connect and greet, in milliseconds.
const GREETING_TIME: u64 = 10_000;

/// How long a message may take from its first byte to its last: this many milliseconds ...
const MESSAGE_TIME: u64 = 30_000;

/// ... and as long as it takes at this many bytes per millisecond (16 KiB/s).
const MESSAGE_RATE: u64 = 16;

/// Who holds a reservation that others wait for is to give so many bytes ...
const PACE: usize = 64 << 10;

/// ... between so many looks, and as many more as make up four round trips. Looks and not time, because on a
/// machine that is too busy for the peer the looks come late as well.
const PACE_LOOKS: u64 = 4;

/// A round trip that is believed, in milliseconds: a peer can make TCP measure any time.
const ROUND_TRIP_MAX: u64 = 1000;

/// How long it is from one look to the next, in milliseconds.
pub(crate) const LOOK_INTERVAL: u64 = 125;

/// How soon to try again what failed for want of memory, in milliseconds.
pub(crate) const MEMORY_DELAY: u64 = 10;

/// What is decoded in one callback; what is left then is the work's, for which this is one turn. Some tenths
/// of a millisecond.
pub(crate) const TURN: Budget = Budget {
    frames: 256,
    bytes: 256 << 10,
};

/// How often [`Pipe::resume`] reads at most, each time what has come since: a window's worth.
const RESUME_TURNS: usize = 4;

/// Why a pipe ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer is gone, or was never reached.
    Disconnected,
    /// The peer broke the protocol.
    Violated(Violation),
    /// The peer took too long to greet.
    GreetingTimeout,
    /// The peer took too long over a message.
    MessageTimeout,
    /// We want no more of it: nothing is left to be delivered, or it is too late.
    Closed,
    /// As `Closed`, and nothing more is to be delivered: reset the connection.
    Aborted,
}

/// Who a pipe belongs to. Called with the pipe's locks not held, except as told.
pub(crate) trait Upper: Send + Sync + Sized + 'static {
    /// The endpoint type in our greeting, and the one that the peer must have.
    fn types(&self) -> (u16, u16);

    /// The longest frame that is accepted, in bytes.
    fn limit(&self) -> u64;

    /// Whether [`Self::too_long`] is to be called with the first tag of a longer one.
    fn wants_tag(&self) -> bool;

    /// How long a closing pipe goes on delivering, in milliseconds. Who shortens that calls [`Pipe::check`].
    fn close_timeout(&self) -> u64;

    /// How many bytes a pipe may hold unsent and still be writable.
    fn sndbuf(&self) -> usize;

    /// Runs `f` with flags for what is to be charged to the owner. From any context.
    fn charged<T>(&self, flags: Flags, f: impl FnOnce(Flags) -> T) -> T;

    /// Tries to make room for what failed for want of memory. May sleep.
    fn reclaim(&self);

    /// Whether a message of so many bytes may be begun, which is `whole` there or in part. If not,
    /// [`Pipe::resume`] is called when it may. Under the TCP lock and `rx`.
    fn admit(this: &Arc<Self>, id: PipeId, len: usize, whole: bool) -> bool;

    /// The message that was admitted last will not become whole. From any context.
    fn abandoned(this: &Arc<Self>, id: PipeId);

    /// The peer is gone, and what it has sent waits for admission. Under the TCP lock.
    fn lost(this: &Arc<Self>, id: PipeId);

    /// Both greetings are exchanged. Under the TCP lock and `rx`.
    fn opened(this: &Arc<Self>, id: PipeId);

    /// A message arrived. Under the TCP lock and `rx`.
    ///
    /// # Errors
    ///
    /// What the peer did wrong by sending it; the pipe ends.
    fn received(this: &Arc<Self>, id: PipeId, msg: Msg) -> Result<(), Violation>;

    /// A message that is too long begins with this tag; the pipe ends. Under the TCP lock and `rx`.
    fn too_long(this: &Arc<Self>, tag: [u8; TAG]);

    /// The pipe was full and may not be any more. In task context.
    fn writable(this: &Arc<Self>, pipe: &Pipe<Self>);

    /// [`Pipe::check`] is to be called in so many milliseconds. From any context.
    fn check_in(this: &Arc<Self>, ms: u64);

    /// The pipe has ended; `tcp` is its connection if it owned that. In task context.
    fn gone(
        this: &Arc<Self>,
        pipe: &Pipe<Self>,
        end: End,
        unfinished: bool,
        tcp: Option<TcpSocket>,
    );
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Greeting,
    Up,
    Closing,
    Dead,
}

/// The send side.
struct Tx {
    phase: Phase,
    /// Our greeting is sent.
    greeted: bool,
    /// Why the pipe is to end; the work is queued then.
    end: Option<End>,
    queue: Queue,
    /// The message that TCP has taken the first bytes of, and how many. A flush takes it out while it
    /// sends.
    current: Option<(Msg, usize)>,
    /// What `queue` and the message being sent count for, in bytes.
    charge: usize,
    /// The owner was told that there is no room.
    full: bool,
    /// A flush is under way; it will see what is pushed meanwhile.
    flushing: bool,
    /// TCP had no room; `writable` will be called.
    blocked: bool,
    /// `check` has to start the work: memory was short.
    retry: bool,
    /// Our FIN is queued behind everything else.
    finished: bool,
    /// How many messages TCP has taken.
    messages: u64,
    /// When both greetings were exchanged, in milliseconds.
    up_since: Option<u64>,
    /// When closing began, in milliseconds. It ends after [`Upper::close_timeout`], whatever is left.
    closing_since: Option<u64>,
}

/// The receive side.
struct Rx {
    decoder: Decoder,
    /// Frames are left in TCP until `resume`.
    held: bool,
    /// A turn was not enough: the work goes on, and callbacks leave it alone.
    behind: bool,
    /// The peer is gone, and the owner was told so.
    lost: bool,
    /// Memory was short.
    short: bool,
    /// How many messages arrived.
    messages: u64,
    /// Since when the peer owes the rest of the message under way, in milliseconds.
    since: Option<u64>,
    /// What had arrived when it was looked at while others waited.
    mark: Option<Mark>,
    /// The work is to look whether enough has come since.
    judge: bool,
    /// There is room that the peer is to be told of.
    tell: bool,
}

/// What had arrived of the message under way, at the first of some looks.
#[derive(Clone, Copy)]
struct Mark {
    /// Tells one wait of others from another.
    spell: u32,
    messages: u64,
    have: usize,
    /// How many looks there were since.
    looks: u64,
}

impl Rx {
    /// How many looks there were since enough had come last; 0 if it has by now.
    fn looks(&mut self, spell: u32) -> u64 {
        let (messages, have) = (self.messages, self.decoder.have());
        let slow = self.mark.filter(|mark| {
            let more = have.saturating_sub(mark.have);
            mark.spell == spell && mark.messages == messages && more < PACE
        });
        if slow.is_none() {
            self.mark = Some(Mark {
                spell,
                messages,
                have,
                looks: 0,
            });
        }
        slow.map_or(0, |mark| mark.looks)
    }
}

#[pin_data]
pub(crate) struct Pipe<U: Upper> {
    upper: Arc<U>,
    id: PipeId,
    /// The endpoint that made it, as its owner numbers them.
    pub(crate) endpoint: u64,
    /// A number that no other pipe of the owner has or had.
    pub(crate) serial: u64,
    /// Who is at the other end.
    pub(crate) peer: Address,
    stream: Arc<Stream>,
    /// A dialer made it, and may still have the connection.
    pub(crate) dialed: bool,
    /// When it was made, in milliseconds.
    born: u64,
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

impl<U: Upper> Pipe<U> {
    /// Makes a pipe on a connection that exists or is going to; `tcp` if it is to own it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(
        upper: Arc<U>,
        id: PipeId,
        (endpoint, serial): (u64, u64),
        peer: Address,
        stream: Arc<Stream>,
        tcp: Option<TcpSocket>,
        flags: Flags,
    ) -> Result<Arc<Self>> {
        let (_, peer_type) = upper.types();
        Arc::pin_init(
            pin_init!(Self {
                upper,
                id,
                endpoint,
                serial,
                peer,
                stream,
                dialed: tcp.is_none(),
                born: work::now_ms(),
                over: Atomic::new(0),
                tcp <- new_bhlock!(tcp, "sp_pipe_tcp"),
                open <- new_mutex!(true, "sp_pipe_open"),
                rx <- new_bhlock!(Rx {
                    decoder: Decoder::new(peer_type),
                    held: false,
                    behind: false,
                    lost: false,
                    short: false,
                    messages: 0,
                    since: None,
                    mark: None,
                    judge: false,
                    tell: false,
                }, "sp_pipe_rx"),
                tx <- new_bhlock!(Tx {
                    phase: Phase::Greeting,
                    greeted: false,
                    end: None,
                    queue: Queue::new(),
                    current: None,
                    charge: 0,
                    full: false,
                    flushing: false,
                    blocked: false,
                    retry: false,
                    finished: false,
                    messages: 0,
                    up_since: None,
                    closing_since: None,
                }, "sp_pipe_tx"),
                work <- new_work!("sp_pipe"),
            }),
            flags,
        )
    }

    pub(crate) fn id(&self) -> PipeId {
        self.id
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

    /// When both greetings were exchanged, in milliseconds; `None` if they were not.
    pub(crate) fn up_since(&self) -> Option<u64> {
        self.tx.lock().up_since
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
        self.over.store(work::now_ms().max(1), Release);
    }

    /// Whether the owner is done with it, so that its connection may carry another pipe.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Acquire) != 0
    }

    /// For how long it was up before it was over, in milliseconds.
    pub(crate) fn lived(&self) -> Option<u64> {
        let since = self.up_since()?;
        Some(self.over.load(Acquire).saturating_sub(since))
    }

    /// Whether the greetings are still being exchanged.
    pub(crate) fn is_greeting(&self) -> bool {
        self.tx.lock().phase == Phase::Greeting
    }

    /// How many messages arrived, and how many TCP has taken.
    pub(crate) fn messages(&self) -> (u64, u64) {
        let received = self.rx.lock().messages;
        (received, self.tx.lock().messages)
    }

    /// The phase in a word, as `/proc/net/sp` has it.
    pub(crate) fn phase_name(&self) -> &'static str {
        let lost = self.rx.lock().lost;
        match self.tx.lock().phase {
            Phase::Greeting => "greeting",
            Phase::Up if lost => "gone",
            Phase::Up => "up",
            Phase::Closing | Phase::Dead => "closing",
        }
    }

    /// What waits to be sent, in bytes of the programs' messages.
    pub(crate) fn unsent(&self) -> usize {
        let tx = self.tx.lock();
        let current = tx.current.as_ref().map_or(0, |(msg, _)| msg.user_len());
        tx.queue.bytes().saturating_add(current)
    }

    /// Ends the pipe soon. From any context.
    pub(crate) fn end(self: &Arc<Self>, end: End) {
        self.end_if(end, |_| true);
    }

    /// Ends the pipe soon if the greetings are not exchanged by then. From any context.
    pub(crate) fn end_greeting(self: &Arc<Self>, end: End) {
        self.end_if(end, |phase| phase == Phase::Greeting);
    }

    fn end_if(self: &Arc<Self>, end: End, which: impl Fn(Phase) -> bool) {
        let mut tx = self.tx.lock();
        if tx.phase == Phase::Dead || tx.end.is_some() || !which(tx.phase) {
            return;
        }
        tx.end = Some(end);
        drop(tx);
        self.kick();
    }

    /// Ends a closing pipe soon, whatever it holds. What is wholly in TCP, TCP goes on delivering.
    pub(crate) fn give_up(self: &Arc<Self>) {
        let rest = {
            let tx = self.tx.lock();
            !tx.queue.is_empty() || tx.current.is_some() || tx.flushing
        };
        self.end(if rest { End::Aborted } else { End::Closed });
    }

    /// Ends the pipe when everything that was pushed is delivered, or soon if the greetings are not
    /// exchanged yet. `tcp` is its connection if a dialer had it. In task context.
    pub(crate) fn close(self: &Arc<Self>, tcp: Option<TcpSocket>) {
        if let Some(tcp) = tcp {
            self.adopt(tcp);
        }
        let timeout = self.upper.close_timeout();
        let mut tx = self.tx.lock();
        let dead = tx.phase == Phase::Dead;
        match tx.phase {
            Phase::Up => {
                tx.phase = Phase::Closing;
                tx.closing_since = Some(work::now_ms());
            }
            Phase::Greeting => {
                tx.end.get_or_insert(End::Closed);
            }
            Phase::Closing | Phase::Dead => {}
        }
        drop(tx);
        // Nobody is going to receive what is under way.
        let msg = {
            let mut rx = self.rx.lock();
            rx.since = None;
            rx.decoder.abandon()
        };
        drop(msg);
        if !dead {
            // Else the id may be another pipe's by now.
            U::abandoned(&self.upper, self.id);
        }
        U::check_in(&self.upper, timeout);
        self.kick();
    }

    /// Takes over the connection from its dialer. In task context.
    pub(crate) fn adopt(&self, tcp: TcpSocket) {
        let none = self.tcp.lock().replace(tcp);
        drop(none);
        let dead = self.tx.lock().phase == Phase::Dead;
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
        let held = self.rx.lock().held;
        if held {
            self.kick();
        }
    }

    /// Compares what is held unsent with SO_SNDBUF again, and tells whether there is room. The owner
    /// calls it under the lock under which it pushes, so that neither gets ahead of the other.
    pub(crate) fn has_room(&self) -> bool {
        let mut tx = self.tx.lock();
        tx.full = tx.charge >= self.upper.sndbuf();
        !tx.full
    }

    /// Enforces the deadlines and retries what failed for want of memory. Returns when to be called
    /// again, in milliseconds of the clock; `None` if there is no reason to.
    pub(crate) fn check(self: &Arc<Self>, now: u64) -> Option<u64> {
        let mut next = None;
        let (greeting, closing, retry) = {
            let mut tx = self.tx.lock();
            let retry = core::mem::replace(&mut tx.retry, false);
            if retry {
                tx.blocked = false;
            }
            // Who was never connected has not greeted badly.
            let late = match tx.greeted {
                true => End::GreetingTimeout,
                false => End::Disconnected,
            };
            let greeting = (tx.phase == Phase::Greeting).then_some(late);
            // What is wholly in TCP, TCP goes on delivering without us.
            let rest = match tx.queue.is_empty() && tx.current.is_none() && !tx.flushing {
                true => End::Closed,
                false => End::Aborted,
            };
            (greeting, tx.closing_since.map(|since| (since, rest)), retry)
        };
        if retry {
            self.kick();
        }
        let mut due = |at: u64| {
            if at > now {
                next = Some(next.map_or(at, |n: u64| n.min(at)));
            }
            at <= now
        };
        if let Some(late) = greeting {
            if due(self.born.saturating_add(GREETING_TIME)) {
                self.end_greeting(late);
            }
        }
        if let Some((since, end)) = closing {
            if due(since.saturating_add(self.upper.close_timeout())) {
                self.end(end);
            }
        }
        if let Some(at) = self.message_deadline(now) {
            if due(at) {
                self.end_if(End::MessageTimeout, |phase| phase == Phase::Up);
            }
        }
        next
    }

    /// When the message under way must be whole.
    fn message_deadline(&self, now: u64) -> Option<u64> {
        let rx = self.rx.lock();
        let len = rx.decoder.begun()?;
        let at = rx.since?.saturating_add(time_for(len));
        // What has arrived is read first.
        Some(match rx.behind {
            true => at.max(now.saturating_add(LOOK_INTERVAL)),
            false => at,
        })
    }

    /// Somebody waits for what this pipe has reserved: ends it if it has been slow. `spell` tells one such
    /// wait from another. To be called once every [`LOOK_INTERVAL`] as long as it lasts. In task context.
    pub(crate) fn press(self: &Arc<Self>, spell: u32) {
        let mut rx = self.rx.lock();
        if rx.held || rx.behind {
            // It is us who do not read.
            rx.mark = None;
            return;
        }
        rx.judge = rx.looks(spell) >= PACE_LOOKS;
        if let Some(mark) = &mut rx.mark {
            mark.looks = mark.looks.saturating_add(1);
        }
        if rx.judge {
            drop(rx);
            // The work reads what has arrived before it judges.
            self.kick();
        }
    }

    /// Whether the message under way has come too slowly, now that all that has arrived is read.
    fn is_slow(&self, tcp: &TcpLocked<'_>) -> bool {
        let mut rx = self.rx.lock();
        if !core::mem::replace(&mut rx.judge, false) || rx.held || rx.behind {
            return false;
        }
        let Some(Mark { spell, .. }) = rx.mark.filter(|_| !tcp.is_short()) else {
            return false;
        };
        let trips = tcp.round_trip().min(ROUND_TRIP_MAX).saturating_mul(4) / LOOK_INTERVAL;
        rx.looks(spell) > PACE_LOOKS.saturating_add(trips)
    }

    /// Goes on reading after [`Upper::admit`] refused, within a budget. In task context.
    pub(crate) fn resume(self: &Arc<Self>, budget: &mut Budget) {
        for _ in 0..RESUME_TURNS {
            let mut tcp = self.stream.lock();
            if self.rx.lock().behind {
                return;
            }
            self.read(&mut tcp, budget);
            drop(tcp);
            // What came meanwhile was read as the lock was released.
            if !self.rx.lock().tell {
                return;
            }
        }
    }

    /// Decodes what has arrived, within a budget. Under the TCP lock.
    fn read(self: &Arc<Self>, tcp: &mut TcpLocked<'_>, budget: &mut Budget) {
        let phase = self.tx.lock().phase;
        match phase {
            Phase::Greeting | Phase::Up => {}
            // Nobody wants it, but unread bytes would make closing a reset, which throws away what we
            // still send.
            Phase::Closing => {
                self.rx.lock().behind = false;
                return tcp.read(|segment| segment.skip());
            }
            // A dialer's connection may carry its next pipe by now.
            Phase::Dead => return,
        }
        if tcp.has_urgent() {
            return self.end(End::Violated(Violation::Urgent));
        }
        let stop = self.upper.charged(NO_SLEEP, |flags| {
            let mut stop = Stop::Hungry;
            if self.rx.lock().held {
                // What holds the decoder may need no bytes to go on.
                stop = self.feed(&mut Empty, budget, flags);
            }
            tcp.read(|segment| stop = self.feed(segment, budget, flags));
            stop
        });
        let begun = self.note(stop);
        match stop {
            Stop::Hungry => {
                if tcp.at_end() {
                    self.end(End::Disconnected);
                } else if begun {
                    let later = tcp.tell_window();
                    self.rx.lock().tell = later;
                    if later {
                        self.kick();
                    }
                }
            }
            Stop::Held => {
                if tcp.at_end() && !core::mem::replace(&mut self.rx.lock().lost, true) {
                    U::lost(&self.upper, self.id);
                }
            }
            Stop::NoMemory => self.retry_soon(),
            Stop::Spent => self.kick(),
            Stop::Violated(violation) => self.end(End::Violated(violation)),
        }
    }

    fn feed(self: &Arc<Self>, input: &mut impl Input, budget: &mut Budget, flags: Flags) -> Stop {
        let mut rx = self.rx.lock();
        let Rx {
            decoder,
            held,
            messages,
            since,
            ..
        } = &mut *rx;
        let mut up = Up {
            pipe: self,
            messages,
            since,
        };
        let stop = decoder.feed(input, &mut up, budget, flags);
        // Out of memory for a message of no bytes, it needs none to go on either.
        *held = matches!(stop, Stop::Held | Stop::NoMemory);
        stop
    }

    /// Notes how reading stopped, and whose fault it is if a message is begun and not whole. Returns whether
    /// one is.
    fn note(self: &Arc<Self>, stop: Stop) -> bool {
        let mut rx = self.rx.lock();
        let begun = rx.decoder.begun();
        rx.tell = false;
        rx.behind = stop == Stop::Spent;
        rx.short = stop == Stop::NoMemory;
        let mut check_in = None;
        match stop {
            Stop::Hungry => match begun {
                Some(len) if rx.since.is_none() => {
                    rx.since = Some(work::now_ms());
                    check_in = Some(time_for(len));
                }
                Some(_) | None => {}
            },
            // It is us who keep the peer waiting.
            Stop::Held | Stop::NoMemory => {
                rx.since = None;
                rx.mark = None;
            }
            Stop::Spent | Stop::Violated(_) => {}
        }
        drop(rx);
        if let Some(ms) = check_in {
            U::check_in(&self.upper, ms);
        }
        begun.is_some()
    }

    fn retry_soon(&self) {
        self.tx.lock().retry = true;
        U::check_in(&self.upper, MEMORY_DELAY);
    }

    /// Hands what was pushed to TCP, as far as there is room. In task context.
    ///
    /// One flush at a time: another caller's message is taken along by the one under way.
    pub(crate) fn flush(self: &Arc<Self>) {
        {
            let mut tx = self.tx.lock();
            let idle = tx.queue.is_empty() && tx.current.is_none();
            if idle || tx.flushing || tx.blocked || !tx.phase.sends() {
                return;
            }
            tx.flushing = true;
        }
        let mut tcp = self.stream.lock();
        let mut notify = false;
        let mut emptied = false;
        let mut sent = None;
        let broken = loop {
            let mut tx = self.tx.lock();
            if let Some(charge) = sent.take() {
                tx.charge = tx.charge.saturating_sub(charge);
                count(&mut tx.messages);
                notify |= tx.full && tx.charge < self.upper.sndbuf();
            }
            let next = match tx.phase.sends() {
                true => tx.current.take().or_else(|| Some((tx.queue.pop()?, 0))),
                false => None,
            };
            let Some((msg, offset)) = next else {
                tx.flushing = false;
                // The work may have found this flush under way and left the rest to it.
                emptied = tx.phase == Phase::Closing;
                break false;
            };
            let more = !tx.queue.is_empty();
            drop(tx);

            let result = send(&mut tcp, &msg, offset, more);
            let (done, error) = match result {
                Ok(n) => (offset.saturating_add(n), None),
                Err(e) => (offset, Some(e)),
            };
            if done == wire_len(&msg) {
                sent = Some(msg.charge());
                continue;
            }
            let starved = tcp.starved();
            let mut tx = self.tx.lock();
            tx.current = Some((msg, done));
            tx.flushing = false;
            // The TCP lock is held, so `writable` cannot come before it is asked for.
            tx.blocked = true;
            drop(tx);
            if starved {
                self.retry_soon();
            }
            break matches!(error, Some(e) if e != EAGAIN);
        };
        drop(tcp);
        if broken {
            self.end(End::Disconnected);
        }
        if emptied {
            self.kick();
        }
        if notify {
            U::writable(&self.upper, self);
        }
    }

    fn work_off(self: &Arc<Self>) {
        let (phase, greeted, mut end) = {
            let tx = self.tx.lock();
            (tx.phase, tx.greeted, tx.end)
        };
        if phase == Phase::Dead {
            return;
        }
        if core::mem::replace(&mut self.rx.lock().short, false) {
            self.upper.reclaim();
        }
        let mut tcp = self.stream.lock();
        // Also where the peer's greeting was bad already: it is told who we are.
        if !greeted && tcp.is_connected() {
            self.greet(&mut tcp);
        } else if !greeted && tcp.at_end() {
            // It was reset before our greeting, which what the decoder holds would wait for.
            end.get_or_insert(End::Disconnected);
        }
        if let Some(end) = end {
            drop(tcp);
            return self.finish(end);
        }
        self.read(&mut tcp, &mut { TURN });
        if self.is_slow(&tcp) {
            drop(tcp);
            return self.finish(End::MessageTimeout);
        }
        let connected = tcp.is_connected();
        drop(tcp);
        if phase != Phase::Closing {
            return self.flush();
        }
        let finished = self.tx.lock().finished;
        if !connected && !finished {
            return self.finish(End::Disconnected);
        }
        self.flush();
        self.close_off();
    }

    fn greet(self: &Arc<Self>, tcp: &mut TcpLocked<'_>) {
        let (endpoint_type, _) = self.upper.types();
        let bytes = Greeting { endpoint_type }.to_bytes();
        // A new connection has room for eight bytes; if not, it is of no use.
        match tcp.send(core::iter::once(bytes.as_slice()), false) {
            Ok(8) => self.tx.lock().greeted = true,
            Ok(_) | Err(_) => self.end(End::Disconnected),
        }
        // The peer's greeting may be there, waiting for ours.
        self.rx.lock().held = true;
    }

    /// Ends a closing pipe once the peer has everything. TCP itself would deliver what it has, but a
    /// reset provoked by bytes that still come in would throw it away, so we stay until the peer's
    /// acknowledgement of our FIN.
    fn close_off(self: &Arc<Self>) {
        let finished = {
            let mut tx = self.tx.lock();
            if !tx.queue.is_empty() || tx.current.is_some() || tx.flushing {
                return;
            }
            core::mem::replace(&mut tx.finished, true)
        };
        if !finished && self.stream.lock().unacknowledged() {
            let tcp = self.tcp.lock().take();
            if let Some(tcp) = tcp {
                tcp.finish_sending();
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
        let (queue, current) = {
            let mut tx = self.tx.lock();
            if tx.phase == Phase::Dead {
                return;
            }
            tx.phase = Phase::Dead;
            (
                core::mem::replace(&mut tx.queue, Queue::new()),
                tx.current.take(),
            )
        };
        drop((queue, current));
        // As in `read`: so that closing is no reset.
        self.stream.lock().read(|segment| segment.skip());
        drop(self.stream.detach::<Self>());
        let (unfinished, msg) = {
            let mut rx = self.rx.lock();
            (rx.decoder.begun().is_some(), rx.decoder.abandon())
        };
        drop(msg);
        let tcp = self.tcp.lock().take();
        U::gone(&self.upper, self, end, unfinished, tcp);
    }
}

impl Phase {
    fn sends(self) -> bool {
        match self {
            Phase::Up | Phase::Closing => true,
            Phase::Greeting | Phase::Dead => false,
        }
    }
}

/// How long a message may take, in milliseconds.
fn time_for(len: usize) -> u64 {
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    MESSAGE_TIME.saturating_add(len / MESSAGE_RATE)
}

/// How long a message is on the wire, in bytes.
fn wire_len(msg: &Message) -> usize {
    let tags = msg.tags.as_bytes().len();
    msg.bytes().len().saturating_add(tags).saturating_add(8)
}

/// Sends a message from byte `offset` of its frame on.
fn send(tcp: &mut TcpLocked<'_>, msg: &Message, offset: usize, more: bool) -> Result<usize> {
    let tags = msg.tags.as_bytes();
    let len = msg.bytes().len().saturating_add(tags.len());
    let header = u64::try_from(len).unwrap_or(u64::MAX).to_be_bytes();
    let after_header = offset.saturating_sub(header.len());
    let front = [
        header.get(offset..).unwrap_or(&[]),
        tags.get(after_header..).unwrap_or(&[]),
    ];
    let body = msg
        .bytes()
        .chunks_from(after_header.saturating_sub(tags.len()));
    let front = front.into_iter().filter(|part| !part.is_empty());
    tcp.send(Iterator::chain(front, body), more)
}

impl<U: Upper> Handle for Arc<Pipe<U>> {
    type Caller = Current;

    fn push(&self, msg: Msg) -> Room {
        let sndbuf = self.upper.sndbuf();
        let mut tx = self.tx.lock();
        if tx.phase == Phase::Up {
            tx.charge = tx.charge.saturating_add(msg.charge());
            tx.queue.push(msg);
        }
        tx.full = tx.charge >= sndbuf;
        match tx.full {
            true => Room::Full,
            false => Room::More,
        }
    }
}

impl<U: Upper> StreamEvents for Pipe<U> {
    fn readable(this: ArcBorrow<'_, Self>, tcp: &mut TcpLocked<'_>) {
        if !this.rx.lock().behind {
            Arc::from(this).read(tcp, &mut { TURN });
        }
    }

    fn writable(this: ArcBorrow<'_, Self>) {
        if core::mem::replace(&mut this.tx.lock().blocked, false) {
            Arc::from(this).kick();
        }
    }

    fn changed(this: ArcBorrow<'_, Self>, tcp: &mut TcpLocked<'_>) {
        Self::readable(this, tcp);
        let this = Arc::from(this);
        // Connected: our greeting is to be sent. Closing: the peer may have acknowledged all.
        let phase = this.tx.lock().phase;
        match phase {
            Phase::Greeting | Phase::Closing => this.kick(),
            Phase::Up | Phase::Dead => {}
        }
    }
}

/// What the decoder of a pipe talks to.
struct Up<'a, U: Upper> {
    pipe: &'a Arc<Pipe<U>>,
    messages: &'a mut u64,
    since: &'a mut Option<u64>,
}

impl<U: Upper> Sink for Up<'_, U> {
    fn greeted(&mut self) -> bool {
        let mut tx = self.pipe.tx.lock();
        // Who is about to end is given nothing to send any more.
        if !tx.greeted || tx.end.is_some() && tx.phase == Phase::Greeting {
            return false;
        }
        if tx.phase == Phase::Greeting {
            tx.phase = Phase::Up;
            tx.up_since = Some(work::now_ms());
            drop(tx);
            U::opened(&self.pipe.upper, self.pipe.id);
        }
        true
    }

    fn limit(&mut self) -> u64 {
        self.pipe.upper.limit()
    }

    fn admit(&mut self, len: usize, whole: bool) -> bool {
        U::admit(&self.pipe.upper, self.pipe.id, len, whole)
    }

    fn wants_tag(&self) -> bool {
        self.pipe.upper.wants_tag()
    }

    fn too_long(&mut self, tag: [u8; TAG]) {
        U::too_long(&self.pipe.upper, tag);
    }

    fn message(&mut self, mut msg: Msg) -> Result<(), Violation> {
        *self.since = None;
        count(self.messages);
        msg.from = self.pipe.peer;
        U::received(&self.pipe.upper, self.pipe.id, msg)
    }
}
