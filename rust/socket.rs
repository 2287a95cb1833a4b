// SPDX-License-Identifier: GPL-2.0

//! The SP socket: one lock around a machine, and the way between system calls, pipes and the pattern.
//!
//! Everything that happens is an event for the machine: lock, feed it, note what it wants done, unlock,
//! do that. What it wants done is never done under the lock ([`Todo`]): waking sleepers, and flushing
//! pipes, directly in a task that may take TCP locks, by the pipe's work in a TCP callback.
//!
//! One delayed work serves all times of the socket (resend, redial, greeting and message deadlines,
//! lingering): it looks at everything that is due and computes when to look again. It may run too early,
//! never too late.
//!
//! # Closing
//!
//! `release` closes the listeners, so that their ports are free when close() returns, marks the socket
//! as closing and asks every pipe to close when it has delivered what it holds, for which each has a
//! deadline of its own. Pipes hold references to the socket, so it lives on without its file descriptor
//! until the last of them is gone. Whichever pipe goes last stops the timer.

use crate::address::{
    Address,
    AddressError, //
};
use crate::endpoint::dialer::Dialer;
use crate::endpoint::listener::{
    Acceptor,
    Accepts,
    Listener, //
};
use crate::endpoint::Endpoints;
use crate::error::Refusal;
use crate::mem::{
    GFP_KERNEL_ACCOUNT,
    NO_SLEEP, //
};
use crate::message::{
    AppendError,
    Bytes,
    Message,
    Msg,
    Source, //
};
use crate::net::family::{
    self,
    Family,
    OptionValue,
    RecvCall,
    SendCall, //
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
    Name,
    Stream,
    TcpListener,
    TcpSocket, //
};
use crate::net::work;
use crate::options::Options;
use crate::pattern::{
    pubsub,
    rep::Rep,
    req::Req,
    rota::Rota,
    trie::TrieError,
    Effects,
    Flush,
    Machine,
    Now,
    Pattern,
    Peeked,
    Peers,
    PipeId,
    Received,
    Ticket,
    Wake,
    World, //
};
use crate::pipe::{
    End,
    Pipe,
    Upper,
    MEMORY_DELAY, //
};
use crate::stats::{
    count,
    Counters, //
};
use crate::uapi;
use crate::wire::frame::Violation;
use crate::wire::header;
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::{
    new_mutex,
    Arc,
    ArcBorrow,
    Mutex, //
};
use kernel::workqueue::{
    impl_has_delayed_work,
    new_delayed_work,
    DelayedWork,
    WorkItem, //
};

/// By how much a deadline of a pipe may be late, in milliseconds, so that one look serves many pipes.
const SLACK: u64 = 100;

/// How many messages of the largest size may be under way at once before the slowest is given up.
const PARTIAL_MESSAGES: usize = 8;

/// How many connections are accepted before others get their turn on the workqueue.
const ACCEPT_BATCH: usize = 64;

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
            Role::Rep => Machine::Rep(Rep::new(options.max_ttl())),
            Role::Pub => Machine::Pub(pubsub::Pub),
            Role::Sub => Machine::Sub(pubsub::Sub::new()),
        }
    }

    fn sends(self) -> bool {
        self != Role::Sub
    }

    fn receives(self) -> bool {
        self != Role::Pub
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
    /// Pipes that were refused to begin a message.
    paused: Rota,
    /// When the delayed work is going to run, in milliseconds.
    timer: Option<u64>,
    /// No receiving, no sending: shutdown(2).
    receive_shut: bool,
    send_shut: bool,
    /// `release` was called.
    closing: bool,
    /// How many pipes there are.
    pipes: u32,
}

/// What is to be done once the lock is released.
#[must_use]
struct Todo {
    flush: Option<SocketPipe>,
    flush_all: bool,
    readers: Wake,
    writers: bool,
}

impl State {
    /// Runs `event` with the machine, unless the socket is closing.
    fn with<T>(
        &mut self,
        now: u64,
        event: impl FnOnce(&mut Machine, &mut World<'_, SocketPipe>) -> T,
    ) -> Option<T> {
        if self.closing {
            return None;
        }
        let mut world = World {
            peers: &mut self.peers,
            stats: &mut self.stats,
            now: Now(now),
        };
        Some(event(&mut self.machine, &mut world))
    }

    fn todo(&self, effects: Effects) -> Todo {
        let flush = match effects.flush {
            Flush::One(id) => self.peers.handle(id).cloned(),
            Flush::Nothing | Flush::All => None,
        };
        Todo {
            flush,
            flush_all: effects.flush == Flush::All,
            readers: effects.readers,
            writers: false,
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
    role: Role,
    options: Options,
    /// The held bytes of unfinished messages.
    partial: Atomic<isize>,
    #[pin]
    endpoints: Mutex<Endpoints<Socket>>,
    #[pin]
    state: BhLock<State>,
    #[pin]
    timer: DelayedWork<Socket>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Socket { self.timer }
}

impl WorkItem for Socket {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        this.tick();
    }
}

impl Socket {
    fn new(sk: SkRef, role: Role) -> Result<Arc<Self>> {
        let options = Options::new();
        let machine = role.machine(&options);
        Arc::pin_init(
            pin_init!(Self {
                sk,
                role,
                options,
                partial: Atomic::new(0),
                endpoints <- new_mutex!(Endpoints::new(), "sp_endpoints"),
                state <- new_bhlock!(State {
                    machine,
                    peers: Peers::new(),
                    stats: Counters::default(),
                    paused: Rota::new(),
                    timer: None,
                    receive_shut: false,
                    send_shut: false,
                    closing: false,
                    pipes: 0,
                }, "sp_socket"),
                timer <- new_delayed_work!("sp_socket"),
            }),
            GFP_KERNEL,
        )
    }

    fn wake_readers(&self, readers: Wake) {
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
            work::rearm(self, due.saturating_sub(now));
        }
    }

    /// Has the delayed work run in `ms` milliseconds at the latest. From any context.
    fn tick_in(self: &Arc<Self>, ms: u64) {
        let at = work::now_ms().saturating_add(ms);
        let mut state = self.state.lock();
        // The timer keeps the socket, so there must be none once its last pipe has gone.
        let over = state.closing && state.pipes == 0;
        if !over && state.timer.is_none_or(|timer| at < timer) {
            state.timer = Some(at);
            work::rearm(self, ms);
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

        let todo = {
            let mut state = self.state.lock();
            state.timer = None;
            let effects = state.with(now, |machine, world| machine.expired(world));
            let todo = state.todo(effects.unwrap_or(Effects::NONE));
            let due = state.with(now, |machine, _| machine.deadline());
            at(due.flatten().map(|due| due.0));
            todo
        };
        self.perform(todo, Context::Task);

        // Late rather than often: see `SLACK`.
        self.each_pipe(|pipe| at(pipe.check(now).map(|time| time.saturating_add(SLACK))));
        if self.partial_excess() {
            self.end_slowest();
            at(Some(now.saturating_add(MEMORY_DELAY)));
        }
        at(self.redial(now));

        if let Some(time) = next {
            self.tick_in(time.saturating_sub(now));
        }
    }

    /// Dials what is due; returns when to dial next.
    fn redial(self: &Arc<Self>, now: u64) -> Option<u64> {
        let mut endpoints = self.endpoints.lock();
        if endpoints.closed {
            return None;
        }
        let mut next: Option<u64> = None;
        for index in 0..endpoints.dialers.len() {
            let serial = endpoints.serial();
            let Some(dialer) = endpoints.dialers.get_mut(index) else {
                break;
            };
            let Some(time) = dialer.next else {
                continue;
            };
            if time <= now {
                count(&mut self.state.lock().stats.reconnects);
                dialer.tcp.disconnect();
                self.dial(dialer, serial);
            }
            if let Some(time) = dialer.next {
                next = Some(next.map_or(time, |n| n.min(time)));
            }
        }
        for listener in endpoints.listeners.iter_mut() {
            listener.try_again();
        }
        next
    }

    /// Starts one attempt to connect. What becomes of it, the pipe tells.
    fn dial(self: &Arc<Self>, dialer: &mut Dialer, serial: u64) {
        dialer.next = None;
        let stream = dialer.tcp.stream().clone();
        let name = (dialer.endpoint, serial);
        match self.new_pipe(name, dialer.address, stream, None) {
            Ok(pipe) => {
                dialer.pipe = Some((pipe.id(), serial));
                let attached = pipe.attach();
                let started = attached.and_then(|()| dialer.tcp.connect(&dialer.address.emit()));
                if started.is_err() {
                    pipe.end(End::Disconnected);
                }
            }
            Err(_) => {
                dialer.next = Some(work::now_ms().saturating_add(MEMORY_DELAY));
                self.tick_in(MEMORY_DELAY);
            }
        }
    }

    /// Makes a pipe and a place for it among the peers. Under the endpoints' mutex, so not while the
    /// socket is being closed.
    fn new_pipe(
        self: &Arc<Self>,
        name: (u64, u64),
        peer: Address,
        stream: Arc<Stream>,
        tcp: Option<TcpSocket>,
    ) -> Result<SocketPipe> {
        let id = {
            let mut state = self.state.lock();
            let id = state.peers.reserve().map_err(|_| ENOMEM)?;
            if state.paused.reserve(id.0, NO_SLEEP).is_err() {
                state.peers.unreserve(id);
                return Err(ENOMEM);
            }
            id
        };
        let pipe = Pipe::new(self.clone(), id, name, peer, stream, tcp);
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

    /// Whether unfinished messages hold more than they may.
    fn partial_excess(&self) -> bool {
        let held = usize::try_from(self.partial.load(Relaxed)).unwrap_or(0);
        let most = self.options.rcvmaxsize().max(self.sk.rcvbuf());
        held > most.saturating_mul(PARTIAL_MESSAGES)
    }

    /// Ends the pipe that has been longest over one message.
    fn end_slowest(&self) {
        let mut slowest: Option<(u64, SocketPipe)> = None;
        self.each_pipe(|pipe| {
            if let Some(since) = pipe.partial_since() {
                if slowest.as_ref().is_none_or(|(first, _)| since < *first) {
                    slowest = Some((since, pipe.clone()));
                }
            }
        });
        if let Some((_, pipe)) = slowest {
            pipe.end(End::MessageTimeout);
        }
    }

    /// Lets pipes read on that were refused, as long as there is room. In task context.
    fn resume(self: &Arc<Self>) {
        loop {
            let pipe = {
                let mut state = self.state.lock();
                // Half of the buffer, so that one message taken does not cause one message read.
                if state.paused.is_empty() || state.peers.charge() >= self.sk.rcvbuf() / 2 {
                    return;
                }
                let Some(id) = state.paused.next() else {
                    return;
                };
                state.paused.served(id);
                state.paused.remove(id);
                state.peers.handle(PipeId(id)).cloned()
            };
            if let Some(pipe) = pipe {
                pipe.resume();
            }
        }
    }

    /// One try to send what is in `slot`; `None` if it has to wait.
    fn try_send(self: &Arc<Self>, slot: &mut Option<Msg>) -> Option<Result<Todo>> {
        let now = work::now_ms();
        let mut state = self.state.lock();
        if state.send_shut {
            return Some(Err(EPIPE));
        }
        let msg = slot.take()?;
        let bytes = u64::try_from(msg.user_len()).unwrap_or(0);
        match state.with(now, |machine, world| machine.send(world, msg))? {
            Ok(effects) => {
                count(&mut state.stats.tx_msgs);
                state.stats.tx_bytes = state.stats.tx_bytes.wrapping_add(bytes);
                self.arm(&mut state, now);
                Some(Ok(state.todo(effects)))
            }
            Err(refused) => {
                *slot = Some(refused.msg);
                match refused.why {
                    Refusal::Again => None,
                    why => Some(Err(why.into())),
                }
            }
        }
    }

    /// One try to receive; `None` if it has to wait, a result of `None` at the end of receiving.
    fn try_recv(&self, ticket: &mut Ticket) -> Option<Result<Option<Msg>>> {
        let mut state = self.state.lock();
        match state.with(0, |machine, world| machine.recv(world, ticket))? {
            Ok(msg) => {
                let bytes = u64::try_from(msg.user_len()).unwrap_or(0);
                count(&mut state.stats.rx_msgs);
                state.stats.rx_bytes = state.stats.rx_bytes.wrapping_add(bytes);
                Some(Ok(Some(msg)))
            }
            Err(Refusal::Again | Refusal::State) if state.receive_shut => Some(Ok(None)),
            Err(Refusal::Again) => None,
            Err(why) => Some(Err(why.into())),
        }
    }

    /// One try to look at the next message, as `try_recv`.
    fn try_peek(&self) -> Option<Result<Option<Peeked>>> {
        let mut state = self.state.lock();
        match state.with(0, |machine, world| machine.peek(world))? {
            Ok(peeked) => Some(Ok(Some(peeked))),
            Err(Refusal::Again | Refusal::State) if state.receive_shut => Some(Ok(None)),
            Err(Refusal::Again) => None,
            Err(why) => Some(Err(why.into())),
        }
    }

    /// Tries, and sleeps and tries again for at most `timeout` jiffies. `exclusive` if a success is at
    /// the expense of others who wait.
    fn patiently<T>(
        &self,
        whom: Waiters,
        exclusive: bool,
        timeout: isize,
        mut attempt: impl FnMut() -> Option<Result<T>>,
    ) -> Result<T> {
        if let Some(result) = attempt() {
            return result;
        }
        if whom == Waiters::Writers {
            self.sk.want_space();
        }
        self.sk.wait(whom, exclusive, timeout, attempt)?
    }

    /// Removes the dialers and listeners that `which` tells by address and role, with their pipes.
    /// Returns whether there were any.
    fn remove(
        self: &Arc<Self>,
        dialers: bool,
        listeners: bool,
        which: impl Fn(Address) -> bool,
    ) -> bool {
        let mut found = false;
        let mut endpoints = self.endpoints.lock();
        let mut index = 0;
        while let Some(dialer) = endpoints.dialers.get(index) {
            if !dialers || !which(dialer.address) {
                index = index.saturating_add(1);
                continue;
            }
            let Ok(dialer) = endpoints.dialers.remove(index) else {
                break;
            };
            found = true;
            if let Some(pipe) = self.close_dialer(dialer) {
                self.forget(&pipe);
            }
        }
        index = 0;
        while let Some(listener) = endpoints.listeners.get(index) {
            if !listeners || !which(listener.address) {
                index = index.saturating_add(1);
                continue;
            }
            let Ok(listener) = endpoints.listeners.remove(index) else {
                break;
            };
            found = true;
            let endpoint = listener.endpoint;
            listener.close();
            self.each_pipe(|pipe| {
                if pipe.endpoint == endpoint {
                    pipe.close(None);
                    self.forget(pipe);
                }
            });
        }
        found
    }

    /// A peer that was up is lost to the pattern. Under the socket's lock.
    fn down(self: &Arc<Self>, state: &mut State, id: PipeId) -> Todo {
        let now = work::now_ms();
        state.peers.down(id);
        count(&mut state.stats.pipe_downs);
        let effects = state.with(now, |machine, world| machine.closed(world, id));
        self.arm(state, now);
        state.todo(effects.unwrap_or(Effects::NONE))
    }

    /// Lets the pipe of a dialer, if there is one, deliver what it has.
    fn close_dialer(&self, dialer: Dialer) -> Option<SocketPipe> {
        let pipe = dialer.pipe.and_then(|name| self.find(name))?;
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

    /// An address that somebody asked to bind or connect to.
    fn parse(bytes: &[u8]) -> Result<Address> {
        Address::parse(bytes).map_err(|e| match e {
            AddressError::Length => EINVAL,
            AddressError::Family => EAFNOSUPPORT,
        })
    }

    fn info(&self) -> Result<OptionValue> {
        let (listeners, dialers) = {
            let endpoints = self.endpoints.lock();
            (endpoints.listeners.len(), endpoints.dialers.len())
        };
        let mut tx_queued = 0_usize;
        self.each_pipe(|pipe| tx_queued = tx_queued.saturating_add(pipe.unsent()));
        let n32 = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let n64 = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let state = self.state.lock();
        let (up, stats) = (state.peers.count_up(), &state.stats);
        let info = uapi::sp_info {
            sp_type: self.role.socket_type(),
            sp_flags: 0,
            sp_listeners: n32(listeners),
            sp_dialers: n32(dialers),
            sp_pipes: up,
            sp_handshaking: state.pipes.saturating_sub(up),
            sp_rx_msgs: stats.rx_msgs,
            sp_rx_bytes: stats.rx_bytes,
            sp_tx_msgs: stats.tx_msgs,
            sp_tx_bytes: stats.tx_bytes,
            sp_rx_queued: n64(state.peers.bytes()),
            sp_tx_queued: n64(tx_queued),
            sp_rx_filtered: stats.rx_filtered,
            sp_rx_stale: stats.rx_stale,
            sp_rx_malformed: stats.rx_malformed,
            sp_rx_ttl: stats.rx_ttl,
            sp_rx_oversize: stats.rx_oversize,
            sp_rx_partial: stats.rx_partial,
            sp_tx_dropped: stats.tx_dropped,
            sp_tx_no_peer: stats.tx_no_peer,
            sp_resends: stats.resends,
            sp_bad_greetings: stats.bad_greetings,
            sp_pipe_ups: stats.pipe_ups,
            sp_pipe_downs: stats.pipe_downs,
            sp_reconnects: stats.reconnects,
        };
        drop(state);
        Ok(OptionValue::Info(KBox::new(info, GFP_KERNEL)?))
    }

    /// Takes a topic back, with what is queued and nobody wants any more.
    fn unsubscribe(self: &Arc<Self>, topic: &[u8]) -> Result {
        let purge = match &mut self.state.lock().machine {
            Machine::Sub(sub) => sub.unsubscribe(topic).map_err(topic_error)?,
            Machine::Req(_) | Machine::Rep(_) | Machine::Pub(_) => return Err(ENOPROTOOPT),
        };
        let mut from = purge.then_some(0);
        while let Some(id) = from {
            let mut guard = self.state.lock();
            let state = &mut *guard;
            let purged = match &state.machine {
                Machine::Sub(sub) => sub.purge(&mut state.peers, id),
                Machine::Req(_) | Machine::Rep(_) | Machine::Pub(_) => None,
            };
            drop(guard);
            from = purged.map(|(_gone, next)| next);
        }
        self.resume();
        Ok(())
    }

    fn subscribe(&self, topic: KVec<u8>) -> Result {
        match &mut self.state.lock().machine {
            Machine::Sub(sub) => sub.subscribe(topic).map_err(topic_error),
            Machine::Req(_) | Machine::Rep(_) | Machine::Pub(_) => Err(ENOPROTOOPT),
        }
    }

    /// Sets an integer option and tells the machine.
    fn set_integer(&self, name: u32, value: i32) -> Result {
        self.options.set(name, value)?;
        match &mut self.state.lock().machine {
            Machine::Req(req) => req.set_interval(self.options.resend_interval()),
            Machine::Rep(rep) => rep.set_max_ttl(self.options.max_ttl()),
            Machine::Pub(_) | Machine::Sub(_) => {}
        }
        Ok(())
    }
}

fn topic_error(error: TrieError) -> Error {
    match error {
        TrieError::Full => ENOSPC,
        TrieError::NoMemory => ENOMEM,
        TrieError::Absent => EINVAL,
    }
}

/// The value of an integer option.
fn integer(value: &[u8]) -> Result<i32> {
    let bytes = value.try_into().map_err(|_| EINVAL)?;
    Ok(i32::from_ne_bytes(bytes))
}

/// Copies a message from the calling program.
fn take_message(call: &mut SendCall<'_>, share: bool) -> Result<Msg> {
    let len = call.len();
    let mut bytes = Bytes::new();
    while bytes.len() < len {
        let rest = len.saturating_sub(bytes.len());
        match bytes.append(call, rest, len, GFP_KERNEL_ACCOUNT) {
            Ok(_) => {}
            Err(AppendError::NoMemory) => return Err(ENOMEM),
            Err(AppendError::Fault) => return Err(EFAULT),
        }
    }
    let no_memory = |_| ENOMEM;
    let mut msg = Message::new(bytes, GFP_KERNEL_ACCOUNT).map_err(no_memory)?;
    if share {
        msg.share(GFP_KERNEL_ACCOUNT).map_err(no_memory)?;
    }
    Ok(msg)
}

/// Copies a message to the calling program; returns what recv() does.
fn give_message(
    call: &mut RecvCall<'_>,
    bytes: &Bytes,
    skip: usize,
    from: Address,
) -> Result<usize> {
    let len = bytes.len().saturating_sub(skip);
    let copied = len.min(call.room());
    let mut rest = copied;
    for chunk in bytes.chunks_from(skip) {
        let part = chunk.get(..rest).unwrap_or(chunk);
        call.copy(part)?;
        rest = rest.saturating_sub(part.len());
        if rest == 0 {
            break;
        }
    }
    call.finish(copied < len, Some(from.emit()));
    match call.flags() & family::MSG_TRUNC {
        0 => Ok(copied),
        _ => Ok(len),
    }
}

impl Source for SendCall<'_> {
    fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
        SendCall::append(self, to, n).map_err(|_| AppendError::Fault)
    }
}

impl Accepts for Socket {
    fn accept(this: &Arc<Self>, endpoint: u64) {
        for _ in 0..ACCEPT_BATCH {
            let mut endpoints = this.endpoints.lock();
            let serial = endpoints.serial();
            let Some(listener) = endpoints.listener(endpoint) else {
                return;
            };
            let tcp = match listener.tcp.accept(&this.sk) {
                Ok(tcp) => tcp,
                Err(e) if e == EAGAIN => return,
                // The connection was reset while it waited: on to the next.
                Err(e) if e == ECONNABORTED => continue,
                Err(_) => {
                    listener.retry = true;
                    return this.tick_in(MEMORY_DELAY);
                }
            };
            let peer = tcp
                .peer()
                .and_then(|(bytes, len)| Address::parse(bytes.get(..len)?).ok())
                .unwrap_or(Address::Unspec);
            let stream = tcp.stream().clone();
            // Where there is no memory for a pipe the connection is dropped, and its peer dials again.
            let Ok(pipe) = this.new_pipe((endpoint, serial), peer, stream, Some(tcp)) else {
                continue;
            };
            let overdue = listener.accepted(pipe.id(), serial);
            // Still under the mutex, so that closing cannot end the pipe before it is attached.
            let attached = pipe.attach();
            drop(endpoints);
            match overdue {
                Ok(overdue) if attached.is_ok() => {
                    pipe.kick();
                    if let Some(pipe) = overdue.and_then(|name| this.find(name)) {
                        if pipe.is_greeting() {
                            pipe.end(End::GreetingTimeout);
                        }
                    }
                }
                Ok(_) | Err(_) => pipe.end(End::Closed),
            }
        }
        if let Some(listener) = this.endpoints.lock().listener(endpoint) {
            listener.retry = true;
            listener.try_again();
        }
    }
}

impl Upper for Socket {
    fn types(&self) -> (u16, u16) {
        self.role.types()
    }

    fn limit(&self) -> u64 {
        u64::try_from(self.options.rcvmaxsize()).unwrap_or(u64::MAX)
    }

    fn sndbuf(&self) -> usize {
        self.sk.sndbuf()
    }

    fn admit(this: &Arc<Self>, id: PipeId) -> bool {
        let mut state = this.state.lock();
        let room = state.peers.charge() < this.sk.rcvbuf();
        if !room {
            state.paused.insert(id.0);
        }
        room
    }

    fn partial(this: &Arc<Self>, delta: isize) {
        this.partial.fetch_add(delta, Relaxed);
        if delta > 0 && this.partial_excess() {
            this.tick_in(0);
        }
    }

    fn opened(this: &Arc<Self>, id: PipeId) {
        let now = work::now_ms();
        let mut state = this.state.lock();
        state.peers.opened(id);
        count(&mut state.stats.pipe_ups);
        let effects = state.with(now, |machine, world| machine.writable(world));
        let mut todo = state.todo(effects.unwrap_or(Effects::NONE));
        todo.writers = true;
        this.arm(&mut state, now);
        drop(state);
        this.perform(todo, Context::Callback);
    }

    fn received(this: &Arc<Self>, id: PipeId, msg: Msg) -> bool {
        let mut state = this.state.lock();
        let received = state.with(0, |machine, world| machine.received(world, id, msg));
        drop(state);
        match received {
            Some(Received::Kept(readers)) => {
                this.wake_readers(readers);
                true
            }
            Some(Received::Discarded(msg)) => {
                drop(msg);
                true
            }
            Some(Received::Fatal(msg)) => {
                drop(msg);
                false
            }
            None => true,
        }
    }

    fn writable(this: &Arc<Self>, pipe: &Pipe<Self>) {
        let now = work::now_ms();
        let mut state = this.state.lock();
        let same = |p: &SocketPipe| p.serial == pipe.serial;
        if !state.peers.handle(pipe.id()).is_some_and(same) {
            return;
        }
        let room = pipe.has_room();
        state.peers.set_writable(pipe.id(), room);
        if !room {
            return;
        }
        let effects = state.with(now, |machine, world| machine.writable(world));
        let mut todo = state.todo(effects.unwrap_or(Effects::NONE));
        todo.writers = true;
        this.arm(&mut state, now);
        drop(state);
        this.perform(todo, Context::Task);
    }

    fn check_in(this: &Arc<Self>, ms: u64) {
        this.tick_in(ms);
    }

    fn gone(
        this: &Arc<Self>,
        pipe: &Pipe<Self>,
        end: End,
        unfinished: bool,
        tcp: Option<TcpSocket>,
    ) {
        let now = work::now_ms();
        let (handle, todo) = {
            let mut state = this.state.lock();
            if unfinished {
                count(&mut state.stats.rx_partial);
            }
            match end {
                End::Violated(Violation::Greeting) | End::GreetingTimeout => {
                    count(&mut state.stats.bad_greetings);
                }
                End::Violated(Violation::Oversize) => count(&mut state.stats.rx_oversize),
                End::Violated(Violation::Message)
                | End::Disconnected
                | End::MessageTimeout
                | End::Closed
                | End::Aborted => {}
            }
            state.paused.remove(pipe.id().0);
            let todo = match state.peers.is_up(pipe.id()) {
                true => Some(this.down(&mut state, pipe.id())),
                false => None,
            };
            (state.peers.closed(pipe.id()), todo)
        };
        if let Some(todo) = todo {
            this.perform(todo, Context::Task);
        }
        if let (Some(tcp), End::Aborted) = (&tcp, end) {
            tcp.abort_on_close();
        }
        drop((handle, tcp));

        {
            let mut endpoints = this.endpoints.lock();
            if let Some(dialer) = endpoints.dialer(pipe.endpoint) {
                if dialer.pipe == Some((pipe.id(), pipe.serial)) {
                    let wait = dialer.ended(pipe.up_since(), now, this.options.reconnect());
                    this.tick_in(wait);
                }
            }
        }

        let last = {
            let mut state = this.state.lock();
            state.pipes = state.pipes.saturating_sub(1);
            state.closing && state.pipes == 0
        };
        if last {
            work::cancel(this);
            // Somebody may linger in close().
            this.sk.wake(Waiters::Readers, true);
        }
    }
}

impl Family for Socket {
    fn create(sk: SkRef, socket_type: u32, protocol: u32) -> Result<Arc<Self>> {
        let role = Role::from_type(socket_type)?;
        if protocol != 0 && protocol != uapi::IPPROTO_TCP {
            return Err(EPROTONOSUPPORT);
        }
        Socket::new(sk, role)
    }

    fn release(this: ArcBorrow<'_, Self>) {
        let this = Arc::from(this);
        let linger = this.sk.linger();
        this.state.lock().closing = true;
        {
            let mut endpoints = this.endpoints.lock();
            endpoints.closed = true;
            while let Some(listener) = endpoints.listeners.pop() {
                listener.close();
            }
            while let Some(dialer) = endpoints.dialers.pop() {
                this.close_dialer(dialer);
            }
        }
        this.each_pipe(|pipe| match linger {
            Some(0) => pipe.end(End::Aborted),
            Some(_) | None => pipe.close(None),
        });
        while let Some(msg) = {
            let mut state = this.state.lock();
            state.peers.discard()
        } {
            drop(msg);
        }
        let left = |this: &Arc<Self>| this.state.lock().pipes;
        if left(&this) == 0 {
            work::cancel(&this);
            return;
        }
        if let Some(time) = linger.filter(|time| *time > 0) {
            let gone = || (left(&this) == 0).then_some(());
            // However it ends, the pipes go on without us.
            let _ = this.sk.wait(Waiters::Readers, false, time, gone);
        }
    }

    fn bind(this: ArcBorrow<'_, Self>, address: &[u8]) -> Result {
        let this = Arc::from(this);
        let address = Self::parse(address)?;
        let v6 = match address {
            Address::V4 { .. } => false,
            Address::V6 { .. } => true,
            Address::Unspec => return Err(EAFNOSUPPORT),
        };
        let mut endpoints = this.endpoints.lock();
        let endpoint = endpoints.number()?;
        endpoints.listeners.reserve(1, GFP_KERNEL)?;
        let acceptor = Acceptor::new(this.clone(), endpoint)?;
        let tcp = TcpListener::bind(
            &this.sk,
            &address.emit(),
            v6,
            endpoints.v6only,
            endpoints.backlog,
            acceptor.clone(),
        )?;
        // Port 0 has become a number.
        let local = tcp
            .local()
            .and_then(|(bytes, len)| Address::parse(bytes.get(..len)?).ok())
            .unwrap_or(address);
        endpoints.last_bound = local;
        endpoints
            .listeners
            .push(Listener::new(endpoint, local, tcp, acceptor), GFP_KERNEL)?;
        Ok(())
    }

    fn connect(this: ArcBorrow<'_, Self>, address: &[u8]) -> Result {
        let this = Arc::from(this);
        let address = Self::parse(address)?;
        let v6 = match address {
            Address::V4 { .. } => false,
            Address::V6 { .. } => true,
            Address::Unspec => {
                this.remove(true, false, |_| true);
                return Ok(());
            }
        };
        if address.port() == 0 {
            return Err(EINVAL);
        }
        let tcp = TcpSocket::create(&this.sk, v6)?;
        let mut endpoints = this.endpoints.lock();
        let endpoint = endpoints.number()?;
        let serial = endpoints.serial();
        endpoints.dialers.reserve(1, GFP_KERNEL)?;
        let mut dialer = Dialer::new(endpoint, address, tcp);
        this.dial(&mut dialer, serial);
        endpoints.dialers.push(dialer, GFP_KERNEL)?;
        Ok(())
    }

    fn listen(this: ArcBorrow<'_, Self>, backlog: i32) -> Result {
        let mut endpoints = this.endpoints.lock();
        endpoints.backlog = backlog;
        endpoints
            .listeners
            .iter()
            .try_for_each(|listener| listener.tcp.listen(backlog))
    }

    fn shutdown(this: ArcBorrow<'_, Self>, receive: bool, send: bool) -> Result {
        {
            let mut state = this.state.lock();
            state.receive_shut |= receive;
            state.send_shut |= send;
        }
        this.sk.wake_everybody();
        Ok(())
    }

    fn name(this: ArcBorrow<'_, Self>, peer: bool) -> Result<Name> {
        if !peer {
            return Ok(match this.endpoints.lock().last_bound {
                Address::Unspec => Address::V4 {
                    ip: [0; 4],
                    port: 0,
                }
                .emit(),
                bound @ (Address::V4 { .. } | Address::V6 { .. }) => bound.emit(),
            });
        }
        let state = this.state.lock();
        if state.peers.count_up() != 1 {
            return Err(ENOTCONN);
        }
        let mut from = 0;
        while let Some((id, pipe)) = state.peers.handle_from(from) {
            if state.peers.is_up(id) {
                return Ok(pipe.peer.emit());
            }
            from = id.0.saturating_add(1);
        }
        Err(ENOTCONN)
    }

    fn poll(this: ArcBorrow<'_, Self>) -> u32 {
        let state = this.state.lock();
        let mut mask = 0;
        if this.role.receives() && state.receive_shut {
            mask |= uapi::POLLIN | uapi::POLLRDNORM | uapi::POLLRDHUP;
        }
        if state.machine.can_recv(&state.peers) {
            mask |= uapi::POLLIN | uapi::POLLRDNORM;
        }
        if this.role.sends() && (state.send_shut || state.machine.can_send(&state.peers)) {
            mask |= uapi::POLLOUT | uapi::POLLWRNORM | uapi::POLLWRBAND;
        }
        if state.receive_shut && state.send_shut {
            mask |= uapi::POLLHUP;
        }
        mask
    }

    fn send(this: ArcBorrow<'_, Self>, call: &mut SendCall<'_>) -> Result<usize> {
        let this = Arc::from(this);
        let flags = call.flags();
        if !this.role.sends() || flags & family::MSG_OOB != 0 {
            return Err(EOPNOTSUPP);
        }
        if call.has_address() {
            return Err(EISCONN);
        }
        let len = call.len();
        if len > this.options.sndmaxsize() {
            return Err(EMSGSIZE);
        }
        let mut slot = Some(take_message(call, this.role.shares())?);
        let no_block = flags & family::MSG_DONTWAIT != 0;
        let timeout = this.sk.timeout(Waiters::Writers, no_block);
        let todo = this.patiently(Waiters::Writers, false, timeout, || {
            this.try_send(&mut slot)
        })?;
        this.perform(todo, Context::Task);
        Ok(len)
    }

    fn recv(this: ArcBorrow<'_, Self>, call: &mut RecvCall<'_>) -> Result<usize> {
        let this = Arc::from(this);
        let flags = call.flags();
        if !this.role.receives() || flags & (family::MSG_OOB | family::MSG_ERRQUEUE) != 0 {
            return Err(EOPNOTSUPP);
        }
        if flags & family::MSG_WAITALL != 0 {
            return Err(EINVAL);
        }
        let no_block = flags & family::MSG_DONTWAIT != 0;
        let timeout = this.sk.timeout(Waiters::Readers, no_block);
        if flags & family::MSG_PEEK != 0 {
            let peeked = this.patiently(Waiters::Readers, false, timeout, || this.try_peek())?;
            return peeked.map_or(Ok(0), |p| give_message(call, &p.bytes, p.skip, p.from));
        }
        let mut ticket = Ticket::default();
        let attempt = || this.try_recv(&mut ticket);
        let msg = this.patiently(Waiters::Readers, true, timeout, attempt)?;
        this.resume();
        if this.role == Role::Rep {
            // Now there is a request to reply to.
            this.sk.wake(Waiters::Writers, true);
        }
        msg.map_or(Ok(0), |msg| {
            give_message(call, msg.bytes(), msg.skipped(), msg.from)
        })
    }

    fn input_len(this: ArcBorrow<'_, Self>) -> usize {
        let mut state = this.state.lock();
        let next = state.with(0, |machine, world| machine.next_len(world));
        next.flatten().unwrap_or(0)
    }

    fn output_len(this: ArcBorrow<'_, Self>) -> usize {
        let mut bytes = 0_usize;
        this.each_pipe(|pipe| bytes = bytes.saturating_add(pipe.unsent()));
        bytes
    }

    fn set_option(this: ArcBorrow<'_, Self>, level: u32, name: u32, value: KVec<u8>) -> Result {
        let this = Arc::from(this);
        match (level, name) {
            (uapi::SOL_SP, uapi::SP_SUBSCRIBE | uapi::SP_UNSUBSCRIBE) if this.role != Role::Sub => {
                Err(ENOPROTOOPT)
            }
            // CAST: A small constant.
            (uapi::SOL_SP, uapi::SP_SUBSCRIBE | uapi::SP_UNSUBSCRIBE)
                if value.len() > uapi::SP_TOPIC_MAX as usize =>
            {
                Err(EINVAL)
            }
            (uapi::SOL_SP, uapi::SP_SUBSCRIBE) => this.subscribe(value),
            (uapi::SOL_SP, uapi::SP_UNSUBSCRIBE) => this.unsubscribe(&value),
            (uapi::SOL_SP, uapi::SP_REMOVE) => {
                let address = Self::parse(&value)?;
                match this.remove(true, true, |a| a == address) {
                    true => Ok(()),
                    false => Err(ENOENT),
                }
            }
            (uapi::SOL_SP, uapi::SP_PEERS | uapi::SP_INFO) => Err(ENOPROTOOPT),
            (uapi::SOL_SP, _) => {
                this.options.get(name)?;
                this.set_integer(name, integer(&value)?)
            }
            (uapi::SOL_IPV6, uapi::IPV6_V6ONLY) => {
                this.endpoints.lock().v6only = integer(&value)? != 0;
                Ok(())
            }
            _ => Err(ENOPROTOOPT),
        }
    }

    fn option(this: ArcBorrow<'_, Self>, level: u32, name: u32) -> Result<OptionValue> {
        match (level, name) {
            (uapi::SOL_SP, uapi::SP_INFO) => this.info(),
            (uapi::SOL_SP, uapi::SP_PEERS) => {
                let up = this.state.lock().peers.count_up();
                Ok(OptionValue::Int(i32::try_from(up).unwrap_or(i32::MAX)))
            }
            (uapi::SOL_SP, _) => this.options.get(name).map(OptionValue::Int),
            (uapi::SOL_IPV6, uapi::IPV6_V6ONLY) => {
                let v6only = this.endpoints.lock().v6only;
                Ok(OptionValue::Int(i32::from(v6only)))
            }
            _ => Err(ENOPROTOOPT),
        }
    }

    fn buffers_changed(this: ArcBorrow<'_, Self>) {
        let this = Arc::from(this);
        {
            let endpoints = this.endpoints.lock();
            for listener in &endpoints.listeners {
                listener.tcp.set_buffers(&this.sk);
            }
            // Where there is a pipe, it does this for its connection.
            for dialer in endpoints.dialers.iter().filter(|d| d.pipe.is_none()) {
                dialer.tcp.stream().set_buffers(&this.sk);
            }
        }
        this.each_pipe(|pipe| {
            pipe.set_buffers(&this.sk);
            Self::writable(&this, pipe);
        });
        this.resume();
    }
}
