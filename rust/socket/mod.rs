// SPDX-License-Identifier: GPL-2.0

//! The SP socket: one lock around a machine, and the way between system calls, pipes and the pattern.
//!
//! Everything that happens is an event for the machine: lock, feed it, note what it wants done, unlock,
//! do that. What it wants done is never done under the lock ([`Todo`]): waking sleepers, and flushing
//! pipes, directly in a task that may take TCP locks, by the pipe's work in a TCP callback.
//!
//! One delayed work serves the times of the socket and its pipes (resend, greeting and message deadlines,
//! lingering), another one those of the endpoints (redial, accepting again), for which it takes their
//! mutex: each looks at what is due and computes when to look again. They may run too early, never too
//! late.
//!
//! # Closing
//!
//! `release` closes the listeners, so that their ports are free when close() returns, marks the socket
//! as closing and asks every pipe to close when it has delivered what it holds, for which each has a
//! deadline of its own. Pipes hold references to the socket, so it lives on without its file descriptor
//! until the last of them is gone. Whichever pipe goes last stops the timer. What all such sockets hold
//! together has a bound: see `closed.rs`.

mod calls;
mod closed;
mod events;
mod info;
pub(crate) mod netns;
mod sockopt;
mod users;

use crate::address::Address;
use crate::endpoint::dialer::Dialer;
use crate::endpoint::listener::Listener;
use crate::endpoint::Endpoints;
use crate::ledger::Ledger;
use crate::mem::{
    Flags,
    NO_SLEEP, //
};
use crate::message::queue::Queue;
use crate::message::tags::TAG;
use crate::message::{
    Msg,
    FREE_MAX, //
};
use crate::net::lock::{
    new_bhlock,
    BhLock, //
};
use crate::net::sock::{
    SkRef,
    Waiters, //
};
use crate::net::stream::{
    Stream,
    TcpSocket, //
};
use crate::net::task::Current;
use crate::net::work::{
    self,
    Lane, //
};
use crate::options::Options;
use crate::pattern::intake::Limits;
use crate::pattern::rep::Rep;
use crate::pattern::req::Req;
use crate::pattern::{
    pubsub,
    Effects,
    Flush,
    Machine,
    Now,
    Pattern,
    Peers,
    PipeId,
    Priorities,
    Wake,
    World, //
};
use crate::pipe::{
    End,
    Pipe,
    LOOK_INTERVAL,
    MEMORY_DELAY, //
};
use crate::stats::{
    count,
    Counters, //
};
use crate::uapi;
use crate::wire::frame::Budget;
use crate::wire::header;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::{
    new_mutex,
    Arc,
    Mutex, //
};
use kernel::workqueue::{
    impl_has_delayed_work,
    impl_has_work,
    new_delayed_work,
    new_work,
    DelayedWork,
    Work,
    WorkItem, //
};
use netns::Net;
use users::Member;

/// By how much a deadline of a pipe may be late, in milliseconds, so that one look serves many pipes.
const SLACK: u64 = 100;

/// How many microseconds dialing goes on before others get their turn, on the workqueue and for the
/// endpoints, ...
const ATTEND_TIME: u64 = 2000;

/// ... where a dialer counts for this many at least.
const ATTEND_LEAST: u64 = 100;

/// How long to wait before pipes that are to end are looked at again, in milliseconds.
const LEAVE_INTERVAL: u64 = 250;

/// How many pipes go on reading in one call, and in one turn of the work that continues it.
const RESUME_BATCH: usize = 4;

/// What they read in one call, together: a tenth of a millisecond or so.
const RESUME_BUDGET: Budget = Budget {
    frames: 64,
    bytes: 256 << 10,
};

/// The role of a socket in its pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Req,
    Rep,
    Pub,
    Sub,
}

impl Role {
    /// # Errors
    ///
    /// `ESOCKTNOSUPPORT` for a type that is not implemented.
    fn from_type(socket_type: u32) -> Result<Role> {
        match socket_type {
            uapi::SOCK_REQ => Ok(Role::Req),
            uapi::SOCK_REP => Ok(Role::Rep),
            uapi::SOCK_PUB => Ok(Role::Pub),
            uapi::SOCK_SUB => Ok(Role::Sub),
            _ => Err(ESOCKTNOSUPPORT),
        }
    }

    fn socket_type(self) -> u32 {
        match self {
            Role::Req => uapi::SOCK_REQ,
            Role::Rep => uapi::SOCK_REP,
            Role::Pub => uapi::SOCK_PUB,
            Role::Sub => uapi::SOCK_SUB,
        }
    }

    /// The endpoint type in our greeting, and that of our peers.
    fn types(self) -> (u16, u16) {
        match self {
            Role::Req => (header::REQ, header::REP),
            Role::Rep => (header::REP, header::REQ),
            Role::Pub => (header::PUB, header::SUB),
            Role::Sub => (header::SUB, header::PUB),
        }
    }

    fn machine(self, options: &Options) -> Machine {
        match self {
            Role::Req => Machine::Req(Req::new(work::random(), options.resend_interval())),
            Role::Rep => {
                let (max_ttl, longest) = (options.max_ttl(), options.rcvmaxsize());
                Machine::Rep(Rep::new(work::random64(), max_ttl, longest))
            }
            Role::Pub => Machine::Pub(pubsub::Pub::new()),
            Role::Sub => Machine::Sub(pubsub::Sub::new()),
        }
    }

    /// How many tags may be in front of the body that the program sees.
    fn tags(self, options: &Options) -> usize {
        match self {
            Role::Req => 1,
            Role::Rep => usize::from(options.max_ttl()),
            Role::Pub | Role::Sub => 0,
        }
    }

    fn sends(self) -> bool {
        self != Role::Sub
    }

    fn receives(self) -> bool {
        self != Role::Pub
    }

    /// Whether a message goes to all peers.
    fn sends_to_all(self) -> bool {
        self == Role::Pub
    }

    /// Whether bodies are kept or sent to several peers, so that sharing them is prepared for.
    fn shares(self) -> bool {
        matches!(self, Role::Req | Role::Pub)
    }
}

/// A pipe of a socket.
type SocketPipe = Arc<Pipe<Socket>>;

/// What the lock guards.
struct State {
    machine: Machine,
    peers: Peers<SocketPipe>,
    stats: Counters,
    /// What is to be dropped with the lock released.
    trash: Queue,
    /// The holders of reservations are being looked at: somebody waits for one.
    pressing: bool,
    /// Connections were left in TCP because the socket is crowded.
    turned_away: bool,
    /// When pipes have to be checked, in milliseconds.
    check: Option<u64>,
    /// When the delayed work is going to run, in milliseconds.
    timer: Option<u64>,
    /// The same of the endpoints' one.
    attending: Option<u64>,
    /// No receiving, no sending: shutdown(2).
    receive_shut: bool,
    send_shut: bool,
    /// `release` was called.
    closing: bool,
    /// How many pipes there are.
    pipes: u32,
    /// They are not to go on delivering: closed sockets hold too much.
    given_up: bool,
}

/// What is to be done once the lock is released.
#[must_use]
struct Todo {
    flush: Option<SocketPipe>,
    flush_all: bool,
    readers: Wake,
    writers: bool,
    /// Dropped with the rest.
    _trash: Queue,
}

impl State {
    /// Runs `event`, which is no call, with the machine, unless the socket is closing.
    fn with<T>(
        &mut self,
        now: u64,
        event: impl FnOnce(&mut Machine, &mut World<'_, SocketPipe>) -> T,
    ) -> Option<T> {
        self.run(now, None, event)
    }

    /// The same for a call of the current task.
    fn call<T>(
        &mut self,
        now: u64,
        call: impl FnOnce(&mut Machine, &mut World<'_, SocketPipe>) -> T,
    ) -> Option<T> {
        self.run(now, Some(&Current::new()), call)
    }

    fn run<T>(
        &mut self,
        now: u64,
        caller: Option<&Current>,
        event: impl FnOnce(&mut Machine, &mut World<'_, SocketPipe>) -> T,
    ) -> Option<T> {
        if self.closing {
            return None;
        }
        let mut world = World {
            peers: &mut self.peers,
            stats: &mut self.stats,
            trash: &mut self.trash,
            now: Now(now),
            caller,
        };
        Some(event(&mut self.machine, &mut world))
    }

    /// Throws away a message that arrived, if it is a short one at once.
    fn discard(&mut self, mut msg: Msg) {
        self.peers.release(&mut msg);
        if msg.bytes().len() > FREE_MAX {
            self.trash.push(msg);
        }
    }

    fn todo(&mut self, effects: Effects) -> Todo {
        let flush = match effects.flush {
            Flush::One(id) => self.peers.handle(id).cloned(),
            Flush::Nothing | Flush::All => None,
        };
        Todo {
            flush,
            flush_all: effects.flush == Flush::All,
            readers: effects.readers,
            writers: false,
            _trash: core::mem::replace(&mut self.trash, Queue::new()),
        }
    }
}

/// Where effects are carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    /// A task that holds no TCP lock.
    Task,
    /// A TCP callback.
    Callback,
}

#[pin_data]
pub(crate) struct Socket {
    sk: SkRef,
    net: Arc<Net>,
    /// Its number in the list of `net`.
    number: u64,
    user: Member,
    /// What its messages hold that are to be sent.
    ledger: Arc<Ledger>,
    /// When it was closed, as a number, if it is held on to.
    closed_as: Atomic<u64>,
    role: Role,
    options: Options,
    /// Taken by a send that gives a message to all peers, so that all get two messages in one order.
    #[pin]
    order: Mutex<()>,
    #[pin]
    endpoints: Mutex<Endpoints<Socket>>,
    #[pin]
    state: BhLock<State>,
    #[pin]
    timer: DelayedWork<Socket>,
    #[pin]
    attendance: DelayedWork<Socket, ATTEND>,
    /// Lets pipes go on reading, where a call had done enough.
    #[pin]
    reading: Work<Socket, READING>,
}

/// Tell the works of a socket apart.
const ATTEND: u64 = 1;
const READING: u64 = 2;

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Socket { self.timer }
    impl HasDelayedWork<Self, ATTEND> for Socket { self.attendance }
}

impl_has_work! {
    impl HasWork<Self, READING> for Socket { self.reading }
}

impl WorkItem for Socket {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.tick();
    }
}

impl WorkItem<ATTEND> for Socket {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.attend();
    }
}

impl WorkItem<READING> for Socket {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        let trash = core::mem::replace(&mut this.state.lock().trash, Queue::new());
        drop(trash);
        this.resume();
    }
}

impl Socket {
    fn new(sk: SkRef, net: Arc<Net>, user: Member, role: Role) -> Result<Arc<Self>> {
        let options = Options::new(role.socket_type());
        let machine = role.machine(&options);
        let number = net.number();
        let totals = [&user.closed, &net.closed.total, &user.users().closed.total];
        let ledger = Arc::new(Ledger::new(totals.map(Arc::clone)), GFP_KERNEL)?;
        let this = Arc::pin_init(
            pin_init!(Self {
                sk,
                net,
                number,
                user,
                ledger,
                closed_as: Atomic::new(0),
                role,
                options,
                order <- new_mutex!((), "sp_order"),
                endpoints <- new_mutex!(Endpoints::new(), "sp_endpoints"),
                state <- new_bhlock!(State {
                    machine,
                    peers: Peers::new(),
                    stats: Counters::default(),
                    trash: Queue::new(),
                    pressing: false,
                    turned_away: false,
                    check: None,
                    timer: None,
                    attending: None,
                    receive_shut: false,
                    send_shut: false,
                    closing: false,
                    pipes: 0,
                    given_up: false,
                }, "sp_socket"),
                timer <- new_delayed_work!("sp_socket"),
                reading <- new_work!("sp_socket"),
                attendance <- new_delayed_work!("sp_endpoints"),
            }),
            GFP_KERNEL,
        )?;
        this.limits_changed();
        this.net.enlist(number, this.clone())?;
        Ok(this)
    }

    /// Nothing is left to be done. In task context.
    fn ended(self: &Arc<Self>) {
        work::cancel::<_, 0>(self);
        self.strike();
        self.net.strike(self.number);
    }

    fn wake_readers(&self, readers: Wake) {
        if readers != Wake::Nobody {
            self.sk.forget_error();
        }
        match readers {
            Wake::Nobody => {}
            Wake::One => self.sk.wake(Waiters::Readers, false),
            Wake::All => self.sk.wake(Waiters::Readers, true),
        }
    }

    fn perform(self: &Arc<Self>, todo: Todo, context: Context) {
        self.wake_readers(todo.readers);
        if todo.writers {
            self.sk.wake(Waiters::Writers, true);
        }
        let flush = |pipe: &SocketPipe| match context {
            Context::Task => pipe.flush(),
            Context::Callback => pipe.kick(),
        };
        if let Some(pipe) = &todo.flush {
            flush(pipe);
        }
        if todo.flush_all {
            self.each_pipe(flush);
        }
    }

    /// The pipe of this id, if it is still the one with this serial number.
    fn find(&self, (id, serial): (PipeId, u64)) -> Option<SocketPipe> {
        let pipe = self.state.lock().peers.handle(id).cloned();
        pipe.filter(|pipe| pipe.serial == serial)
    }

    /// Calls `f` with every pipe, the lock released.
    fn each_pipe(&self, mut f: impl FnMut(&SocketPipe)) {
        let mut from = 0;
        loop {
            let next = {
                let state = self.state.lock();
                state.peers.handle_from(from).map(|(id, p)| (id, p.clone()))
            };
            let Some((id, pipe)) = next else {
                return;
            };
            f(&pipe);
            from = id.0.saturating_add(1);
        }
    }

    /// Sets the delayed work to the machine's deadline. Under the socket's lock.
    fn arm(self: &Arc<Self>, state: &mut State, now: u64) {
        let Some(Now(due)) = state.machine.deadline() else {
            return;
        };
        if state.timer.is_none_or(|timer| due < timer) && !state.closing {
            state.timer = Some(due);
            work::rearm::<_, 0>(Lane::Quick, self, due.saturating_sub(now));
        }
    }

    /// Has the delayed work run in `ms` milliseconds at the latest. Under the socket's lock.
    fn arm_in(self: &Arc<Self>, state: &mut State, ms: u64) {
        let at = work::now_ms().saturating_add(ms);
        // The timer keeps the socket, so there must be none once its last pipe has gone.
        let over = state.closing && state.pipes == 0;
        if !over && state.timer.is_none_or(|timer| at < timer) {
            state.timer = Some(at);
            work::rearm::<_, 0>(Lane::Quick, self, ms);
        }
    }

    /// Has the endpoints attended to in `ms` milliseconds at the latest. Under the socket's lock.
    fn attend_soon(self: &Arc<Self>, state: &mut State, ms: u64) {
        let at = work::now_ms().saturating_add(ms);
        if !state.closing && state.attending.is_none_or(|time| at < time) {
            state.attending = Some(at);
            work::rearm::<_, ATTEND>(Lane::Patient, self, ms);
        }
    }

    /// Has the endpoints attended to in `ms` milliseconds at the latest. From any context.
    fn attend_in(self: &Arc<Self>, ms: u64) {
        self.attend_soon(&mut self.state.lock(), ms);
    }

    /// Has the delayed work run in `ms` milliseconds at the latest. From any context.
    fn tick_in(self: &Arc<Self>, ms: u64) {
        self.arm_in(&mut self.state.lock(), ms);
    }

    /// Has the delayed work check the pipes in `ms` milliseconds at the latest. From any context.
    fn check_pipes_in(self: &Arc<Self>, ms: u64) {
        let at = work::now_ms().saturating_add(ms);
        let mut state = self.state.lock();
        if state.check.is_none_or(|check| at < check) {
            state.check = Some(at);
            self.arm_in(&mut state, ms);
        }
    }

    /// The time that closing pipes have may be another one.
    fn close_timeout_changed(self: &Arc<Self>) {
        let concerned = {
            let state = self.state.lock();
            // Also where only some were removed.
            state.closing || state.pipes > state.peers.count_up()
        };
        if concerned {
            // So late that it does not matter how often: see `SLACK`.
            self.check_pipes_in(SLACK);
        }
    }

    fn tick(self: &Arc<Self>) {
        let now = work::now_ms();
        let mut next: Option<u64> = None;
        let mut at = |time: Option<u64>| {
            if let Some(time) = time {
                next = Some(next.map_or(time, |n| n.min(time)));
            }
        };

        let (todo, check, given_up) = {
            let mut state = self.state.lock();
            state.timer = None;
            let effects = state.with(now, |machine, world| machine.expired(world));
            let todo = state.todo(effects.unwrap_or(Effects::NONE));
            let due = state.with(now, |machine, _| machine.deadline());
            at(due.flatten().map(|due| due.0));
            let check = state.check.take_if(|check| *check <= now).is_some();
            at(state.check);
            (todo, check, state.given_up)
        };
        self.perform(todo, Context::Task);
        if given_up {
            self.each_pipe(Pipe::give_up);
        }

        if check {
            let mut first: Option<u64> = None;
            self.each_pipe(|pipe| {
                if let Some(time) = pipe.check(now) {
                    first = Some(first.map_or(time, |first| first.min(time)));
                }
            });
            if let Some(time) = first {
                // Late rather than often: see `SLACK`.
                self.check_pipes_in(time.saturating_sub(now).saturating_add(SLACK));
            }
        }
        at(self.press(now));
        at(self.see_off(now));

        if let Some(time) = next {
            self.tick_in(time.saturating_sub(now));
        }
    }

    /// Notices which dialers have lost their pipes and dials what is due, but not so much at once that
    /// others have to wait for long.
    fn attend(self: &Arc<Self>) {
        self.state.lock().attending = None;
        let mut endpoints = self.endpoints.lock();
        if endpoints.closed {
            return;
        }
        let now = work::now_ms();
        let mut next: Option<u64> = None;
        let mut left = ATTEND_TIME;
        for _ in 0..endpoints.dialers.len() {
            if left == 0 {
                // Those after the last one come first then.
                next = Some(now);
                break;
            }
            let serial = endpoints.serial();
            let Endpoints {
                dialers,
                turn,
                template,
                ..
            } = &mut *endpoints;
            if *turn >= dialers.len() {
                *turn = 0;
            }
            let Some(dialer) = dialers.get_mut(*turn) else {
                break;
            };
            *turn = turn.saturating_add(1);
            if dialer.has_ended() {
                dialer.ended(now, self.options.reconnect(), &self.user.pace);
                left = left.saturating_sub(ATTEND_LEAST);
            }
            if dialer.is_due(now, &self.user.pace) {
                let start = work::now_us();
                count(&mut self.state.lock().stats.reconnects);
                count(&mut dialer.retries);
                dialer.tcp.disconnect();
                // Not all options outlive that (TCP_MAXSEG does not).
                template.prepare(dialer.tcp.stream());
                // Whatever it is: a reason to dial again.
                let _ = self.dial(dialer, serial);
                let spent = work::now_us().saturating_sub(start);
                self.user.pace.spent(spent);
                left = left.saturating_sub(spent.max(ATTEND_LEAST));
            }
            let look = dialer.look_again(now, &self.user.pace);
            for time in [look, dialer.settle(now)].into_iter().flatten() {
                next = Some(next.map_or(time, |n| n.min(time)));
            }
        }
        for listener in endpoints.listeners.iter_mut() {
            listener.try_again();
        }
        drop(endpoints);
        if let Some(time) = next {
            self.attend_in(time.saturating_sub(now));
        }
    }

    /// Starts one attempt to connect. What becomes of it, the pipe tells, also where TCP refuses at once.
    ///
    /// # Errors
    ///
    /// What TCP refuses with, like [`TcpSocket::connect`].
    fn dial(self: &Arc<Self>, dialer: &mut Dialer<Self>, serial: u64) -> Result {
        dialer.next = None;
        let stream = dialer.tcp.stream().clone();
        let name = (dialer.endpoint, serial);
        let (address, priorities) = (dialer.address, dialer.priorities);
        match self.new_pipe(name, priorities, address, stream, None, NO_SLEEP) {
            Ok(pipe) => {
                dialer.pipe = Some(pipe.clone());
                let attached = pipe.attach();
                let started = attached.and_then(|()| dialer.tcp.connect(&dialer.address.emit()));
                if started.is_err() {
                    pipe.end(End::Disconnected);
                }
                started
            }
            Err(_) => {
                dialer.next = Some(work::now_ms().saturating_add(MEMORY_DELAY));
                self.attend_in(MEMORY_DELAY);
                Ok(())
            }
        }
    }

    /// Makes a pipe and a place for it among the peers. Under the endpoints' mutex, so not while the
    /// socket is being closed. What a peer or the clock has caused is to be made with flags that do not
    /// wait, so that nobody else can have the control group's OOM killer called.
    fn new_pipe(
        self: &Arc<Self>,
        name: (u64, u64),
        priorities: Priorities,
        peer: Address,
        stream: Arc<Stream>,
        tcp: Option<TcpSocket>,
        flags: Flags,
    ) -> Result<SocketPipe> {
        let (id, pipe) = self.sk.charged(flags, |flags| -> Result<_> {
            let reserved = self.state.lock().peers.reserve(priorities, name.1);
            let id = reserved.map_err(|_| ENOMEM)?;
            let pipe = Pipe::new(self.clone(), id, name, peer, stream, tcp, flags);
            Ok((id, pipe))
        })?;
        let mut state = self.state.lock();
        match &pipe {
            Ok(pipe) => {
                state.peers.attach(id, pipe.clone());
                state.pipes = state.pipes.saturating_add(1);
            }
            Err(_) => state.peers.unreserve(id),
        }
        pipe
    }

    /// Looks at those whose reservations others wait for; returns when to look next.
    fn press(self: &Arc<Self>, now: u64) -> Option<u64> {
        let spell = {
            let mut state = self.state.lock();
            let spell = state.peers.contended();
            state.pressing = spell.is_some();
            spell?
        };
        let mut from = 0;
        loop {
            let next = {
                let state = self.state.lock();
                state.peers.holder_from(from).map(|(id, p)| (id, p.clone()))
            };
            let Some((id, pipe)) = next else {
                return Some(now.saturating_add(LOOK_INTERVAL));
            };
            pipe.press(spell);
            from = id.0.saturating_add(1);
        }
    }

    /// Has those looked at whose reservations others wait for, from now on and again and again. Under the
    /// socket's lock.
    fn press_on(self: &Arc<Self>, state: &mut State) {
        if !state.pressing && !state.closing && state.peers.contended().is_some() {
            state.pressing = true;
            self.arm_in(state, 0);
        }
    }

    /// How long a message can be with its tags, in bytes.
    fn longest_frame(&self) -> usize {
        let tags = self.role.tags(&self.options).saturating_mul(TAG);
        self.options.rcvmaxsize().saturating_add(tags)
    }

    /// SO_RCVBUF, SP_RCVMAXSIZE or SP_MAXTTL may have changed.
    fn limits_changed(self: &Arc<Self>) {
        let mut state = self.state.lock();
        // Read under the lock, so that of two changes the later one stays.
        let limits = Limits {
            rcvbuf: self.sk.rcvbuf(),
            longest: self.longest_frame(),
        };
        state.peers.set_limits(limits);
        self.let_go_on(&state);
        self.take_connections(&mut state);
    }

    /// Lets pipes read on that were refused, as many as may and within a budget; what is left to be done
    /// then, the work does. In task context.
    fn resume(self: &Arc<Self>) {
        let mut budget = RESUME_BUDGET;
        for _ in 0..RESUME_BATCH {
            let next = {
                let mut state = self.state.lock();
                match state.closing {
                    true => None,
                    false => state.peers.resume().cloned(),
                }
            };
            let Some(pipe) = next else {
                break;
            };
            pipe.resume(&mut budget);
            if budget.frames == 0 || budget.bytes == 0 {
                break;
            }
        }
        let mut state = self.state.lock();
        self.let_go_on(&state);
        self.press_on(&mut state);
        self.take_connections(&mut state);
    }

    /// Has the work let pipes go on that were refused, if some may, and empty the trash. Under the
    /// socket's lock.
    fn let_go_on(self: &Arc<Self>, state: &State) {
        if !state.closing && state.peers.moves() || !state.trash.is_empty() {
            work::enqueue::<_, READING>(Lane::Quick, self.clone());
        }
    }

    /// Whether a new connection is better left in TCP for now. Then the delayed work runs when it is not.
    fn turns_away(&self) -> bool {
        let mut state = self.state.lock();
        state.turned_away |= state.peers.crowded();
        state.turned_away
    }

    /// Takes connections again if they were turned away and there is room now. Under the socket's lock.
    fn take_connections(self: &Arc<Self>, state: &mut State) {
        if state.turned_away && !state.peers.crowded() {
            state.turned_away = false;
            self.attend_soon(state, 0);
        }
    }

    /// Whether nothing more is received. Under the socket's lock.
    fn is_deaf(&self, state: &State) -> bool {
        state.receive_shut && self.role.receives()
    }

    /// Receives no more than has arrived: no connection is taken, none is made, and those through which more
    /// arrives are to end.
    fn turn_deaf(self: &Arc<Self>) {
        let mut endpoints = self.endpoints.lock();
        endpoints.shut = true;
        for listener in &endpoints.listeners {
            listener.tcp.stop();
        }
        while let Some(dialer) = endpoints.dialers.pop() {
            if let Some(pipe) = dialer.pipe {
                pipe.adopt(dialer.tcp);
            }
        }
        drop(endpoints);
        self.each_pipe(|pipe| {
            pipe.end_greeting(End::Closed);
            pipe.ask_again();
        });
    }

    /// A pipe has more, and nothing more is received. Under the socket's lock.
    fn leave(self: &Arc<Self>, state: &mut State, id: PipeId) {
        state.peers.leave(id);
        self.arm_in(state, 0);
    }

    /// The program has taken or answered something, so a pipe that is to end may do so. Under the socket's
    /// lock.
    fn see_off_soon(self: &Arc<Self>, state: &mut State) {
        if state.receive_shut && state.peers.some_leave() {
            self.arm_in(state, 0);
        }
    }

    /// Closes the pipes that are to end and of which nothing is queued or in hand; what they have to send
    /// they deliver. Returns when to look again if there are others: who had a request in hand may have died.
    fn see_off(self: &Arc<Self>, now: u64) -> Option<u64> {
        let (mut from, mut again) = (0, None);
        loop {
            let (id, pipe, wanted) = {
                let mut state = self.state.lock();
                let Some((id, pipe, queued)) = state.peers.leaving_from(from) else {
                    return again;
                };
                let (pipe, wanted) = (
                    pipe.clone(),
                    queued || state.machine.in_hand(&state.peers, id),
                );
                if !wanted {
                    state.peers.left(id);
                }
                (id, pipe, wanted)
            };
            match wanted {
                true => again = Some(now.saturating_add(LEAVE_INTERVAL)),
                false => {
                    pipe.close(None);
                    self.forget(&pipe);
                }
            }
            from = id.0.saturating_add(1);
        }
    }

    /// Removes the endpoint of this address that was added last, with its pipes. Returns whether there is
    /// one.
    fn remove(self: &Arc<Self>, address: Address) -> bool {
        let device = u32::try_from(self.sk.bound_device()).unwrap_or(0);
        let address = address.canonical(device);
        let is_it = |other: Address| other.canonical(device) == address;
        let mut endpoints = self.endpoints.lock();
        let numbered = endpoints.dialers.iter().zip(0_usize..);
        let dialer = numbered
            .filter(|(dialer, _)| is_it(dialer.address))
            .map(|(dialer, index)| (dialer.endpoint, index))
            .max();
        let numbered = endpoints.listeners.iter().zip(0_usize..);
        let listener = numbered
            .filter(|(listener, _)| is_it(listener.address))
            .map(|(listener, index)| (listener.endpoint, index))
            .max();
        // The greater number is the later one, and none is the least.
        match dialer.max(listener) {
            None => return false,
            Some((_, index)) if dialer > listener => {
                if let Ok(dialer) = endpoints.dialers.remove(index) {
                    self.remove_dialer(dialer);
                }
            }
            Some((_, index)) => {
                if let Ok(listener) = endpoints.listeners.remove(index) {
                    self.remove_listener(listener);
                }
            }
        }
        true
    }

    /// Removes all dialers, with their pipes.
    fn remove_dialers(self: &Arc<Self>) {
        let mut endpoints = self.endpoints.lock();
        while let Some(dialer) = endpoints.dialers.pop() {
            self.remove_dialer(dialer);
        }
    }

    fn remove_dialer(self: &Arc<Self>, dialer: Dialer<Self>) {
        if let Some(pipe) = Self::close_dialer(dialer) {
            self.forget(&pipe);
        }
    }

    fn remove_listener(self: &Arc<Self>, listener: Listener<Self>) {
        let endpoint = listener.endpoint;
        listener.close();
        self.each_pipe(|pipe| {
            if pipe.endpoint == endpoint {
                pipe.close(None);
                self.forget(pipe);
            }
        });
    }

    /// A peer that was up is lost to the pattern. Under the socket's lock.
    fn down(self: &Arc<Self>, state: &mut State, id: PipeId) -> Todo {
        let now = work::now_ms();
        if state.peers.is_up(id) {
            state.peers.down(id);
            count(&mut state.stats.pipe_downs);
        }
        let effects = state.with(now, |machine, world| machine.closed(world, id));
        self.arm(state, now);
        state.todo(effects.unwrap_or(Effects::NONE))
    }

    /// Lets the pipe of a dialer, if there is one, deliver what it has.
    fn close_dialer(dialer: Dialer<Self>) -> Option<SocketPipe> {
        let pipe = dialer.pipe?;
        pipe.close(Some(dialer.tcp));
        Some(pipe)
    }

    /// Gives a pipe that is closing nothing more to send, while the socket goes on.
    fn forget(self: &Arc<Self>, pipe: &SocketPipe) {
        let todo = {
            let mut state = self.state.lock();
            let same = |p: &SocketPipe| p.serial == pipe.serial;
            if !state.peers.handle(pipe.id()).is_some_and(same) || !state.peers.is_up(pipe.id()) {
                return;
            }
            self.down(&mut state, pipe.id())
        };
        self.perform(todo, Context::Task);
    }
}
