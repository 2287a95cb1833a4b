// SPDX-License-Identifier: GPL-2.0

//! The SP socket: one lock around a machine, and the way between system calls, pipes and the pattern.
//!
//! Everything that happens is an event for the machine: lock, feed it, note what it wants done, unlock,
//! do that. What it wants done is never done under the lock ([`Todo`]): waking sleepers, and flushing
//! pipes, directly in a task that may take TCP locks, by the pipe's work in a TCP callback.
//!
//! When what was sent goes out is in `gather.rs`, what works on time in `timer.rs`, who may read on in
//! `reading.rs`, whom it parts with in `leaving.rs`.
//!
//! # Closing
//!
//! `release` closes the listeners, so that their ports are free when close() returns, marks the socket
//! as closing and asks every pipe to close when it has delivered what it holds, for which each has a
//! deadline of its own. Pipes hold references to the socket, so it lives on without its file descriptor
//! until the last of them is gone. Whichever pipe goes last stops the timer. What all such sockets hold
//! together has a bound: see `closed.rs`.

mod cadence;
mod calls;
mod closed;
mod edition;
mod events;
mod gather;
mod info;
mod leaving;
mod loan;
pub(crate) mod namespace;
mod reading;
mod sending;
mod sockopt;
mod timer;
mod users;

use crate::bytes::Source;
use crate::endpoint::Endpoints;
use crate::ids::{
    PipeId,
    PipeName, //
};
use crate::ledger::Ledger;
use crate::mem::GFP_KERNEL_ACCOUNT;
use crate::message::queue::Queue;
use crate::message::{
    Msg,
    FREE_MAX, //
};
use crate::net::lock::{
    new_bhlock,
    BhLock, //
};
use crate::net::pool::Pool;
use crate::net::sock::{
    SkRef,
    Waiters, //
};
use crate::net::task::Current;
use crate::net::thread::Later;
use crate::net::work;
use crate::options::Options;
use crate::pattern::peers::Peers;
use crate::pattern::role::{
    Machine,
    Role,
    Seed, //
};
use crate::pattern::{
    Effects,
    Flush,
    Handle,
    Many,
    Pattern,
    Place,
    Room,
    Settings,
    Wake,
    World,
    STEP, //
};
use crate::pipe::{
    Limits,
    Pipe, //
};
use crate::stats::{
    Counter,
    Counters,
    Reason, //
};
use crate::time::Instant;
use crate::wire::sp::Edition;
use gather::{
    Gathered,
    GATHER, //
};
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::{
    new_mutex,
    Arc,
    Mutex,
    UniqueArc, //
};
use kernel::workqueue::{
    impl_has_delayed_work,
    impl_has_work,
    new_delayed_work,
    new_work,
    DelayedWork,
    Work, //
};
use loan::Loan;
use namespace::Net;
use reading::READING;
use sending::Turn;
use timer::ATTEND;
use users::Member;

/// A pipe of a socket.
type SocketPipe = Arc<Pipe<Socket>>;

impl Handle for SocketPipe {
    type Caller = Current;
    type Many = Arc<Edition>;

    fn push(&self, msg: Msg) -> Room {
        room(Pipe::push(self, msg))
    }

    fn takes_copy(&self, len: usize) -> bool {
        Pipe::takes_copy(self, len)
    }

    fn copy(&self, tags: &[u8], len: usize, body: &mut impl Source) -> Option<Room> {
        Pipe::copy(self, tags, len, body).map(room)
    }

    fn take_all(&self, all: &Arc<Edition>) -> Option<Room> {
        Pipe::take_all(self, all).map(room)
    }
}

impl Many for Arc<Edition> {
    fn count(&self) -> usize {
        usize::try_from(self.messages()).unwrap_or(0)
    }

    fn each(&self) -> impl Iterator<Item = &[u8]> {
        self.each_body()
    }
}

fn room(more: bool) -> Room {
    if more {
        Room::More
    } else {
        Room::Full
    }
}

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
    /// When pipes have to be checked.
    check: Option<Instant>,
    /// When the delayed work is going to run.
    timer: Option<Instant>,
    /// When the delayed work of the endpoints is going to run.
    attending: Option<Instant>,
    /// What waits to be sent in one piece.
    gathered: Option<Gathered>,
    /// See `loan.rs`.
    loan: Option<Loan>,
    /// What is collected for all peers; see `edition.rs`.
    edition: Option<UniqueArc<Edition>>,
    /// What was, and who has it already, if some have.
    published: Option<(Arc<Edition>, Place)>,
    /// No receiving, no sending: shutdown(2).
    receive_shut: bool,
    send_shut: bool,
    /// `release` was called.
    closing: bool,
    /// How many pipes there are.
    pipes: u32,
    /// They are not to go on delivering: closed sockets hold too much.
    aborted: bool,
}

/// What is to be done once the lock is released.
#[must_use]
struct Todo {
    flush: Option<SocketPipe>,
    /// The same for several. Only where a task calls.
    gathered: Option<Gathered>,
    readers: Wake,
    writers: bool,
    /// For want of memory some were not given the message.
    starved: bool,
    /// Dropped with the rest.
    _trash: Queue,
}

impl State {
    /// Runs `event`, which is no call, with the machine, unless the socket is closing.
    fn with<T>(
        &mut self,
        now: Instant,
        event: impl FnOnce(&mut Machine, &mut World<'_, SocketPipe>) -> T,
    ) -> Option<T> {
        self.run(now, None, event)
    }

    /// Runs a call of the current task with the machine, unless the socket is closing.
    fn call<T>(
        &mut self,
        now: Instant,
        call: impl FnOnce(&mut Machine, &mut World<'_, SocketPipe>) -> T,
    ) -> Option<T> {
        self.run(now, Some(&Current::new()), call)
    }

    fn run<T>(
        &mut self,
        now: Instant,
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
            now,
            caller,
        };
        Some(event(&mut self.machine, &mut world))
    }

    /// Throws away what arrived, if it is short at once.
    fn discard(&mut self, msg: Msg, why: Reason) {
        self.stats.discarded_all(why, msg.messages());
        self.throw_away(msg);
    }

    /// Throws away a message that arrived and is counted elsewhere.
    fn throw_away(&mut self, mut msg: Msg) {
        self.peers.release(&mut msg);
        if msg.len() > FREE_MAX {
            self.trash.push(msg);
        }
    }

    fn todo(&mut self, effects: Effects) -> Todo {
        let flush = match effects.flush {
            Flush::One(id) => self.peers.handle(id).cloned(),
            Flush::Nothing | Flush::Span(..) => None,
        };
        Todo {
            flush,
            gathered: None,
            readers: effects.readers,
            writers: effects.writers,
            starved: effects.starved,
            _trash: core::mem::replace(&mut self.trash, Queue::new()),
        }
    }

    /// The pipe of that name.
    fn find(&self, name: PipeName) -> Option<&SocketPipe> {
        self.peers.handle(name.id).filter(|pipe| pipe.name == name)
    }
}

/// Where effects come from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
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
    /// That of its descriptors.
    inode: u64,
    user: Member,
    /// What its messages hold that are to be sent.
    ledger: Arc<Ledger>,
    /// What the next long ones are going to be in.
    pool: Arc<Pool>,
    /// When it was closed, as a number, if it is held on to.
    closed_as: Atomic<u64>,
    role: &'static Role,
    options: Options,
    /// What the pipes are to know of these and of others.
    limits: Limits,
    /// A [`Cadence`](cadence::Cadence), in bits.
    cadence: Atomic<u64>,
    /// Whether there is a [`Loan`] that more may be added to, for who has not locked the socket yet.
    has_loan: Atomic<u32>,
    /// Taken by a send that gives a message to all peers, so that all get two messages in one order. Holds
    /// those whose turn it is, [`STEP`] at most.
    #[pin]
    order: Mutex<Turn>,
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
    #[pin]
    gathering: Work<Socket, GATHER>,
    #[pin]
    later: Later<Socket>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for Socket { self.timer }
    impl HasDelayedWork<Self, ATTEND> for Socket { self.attendance }
}

impl_has_work! {
    impl HasWork<Self, READING> for Socket { self.reading }
    impl HasWork<Self, GATHER> for Socket { self.gathering }
}

impl Socket {
    fn new(sk: SkRef, net: Arc<Net>, user: Member, role: &'static Role) -> Result<Arc<Self>> {
        let options = Options::new(role.options);
        let machine = new_machine(role, &options);
        let number = net.number();
        let totals = [&user.closed, &net.closed.total, &user.users().closed.total];
        let ledger = Arc::new(Ledger::new(totals.map(Arc::clone)), GFP_KERNEL_ACCOUNT)?;
        let pool = Pool::new(GFP_KERNEL_ACCOUNT)?;
        let inode = sk.inode();
        let mut turn = Turn::new();
        if role.sends_to_all {
            turn.pipes.reserve(STEP, GFP_KERNEL_ACCOUNT)?;
        }
        let limits = Limits {
            body: Atomic::new(0),
            tags: Atomic::new(0),
            sndbuf: Atomic::new(0),
            close_timeout: Atomic::new(0),
        };
        let this = Arc::pin_init(
            pin_init!(Self {
                sk,
                net,
                number,
                inode,
                user,
                ledger,
                pool,
                closed_as: Atomic::new(0),
                role,
                options,
                limits,
                cadence: Atomic::new(0),
                has_loan: Atomic::new(0),
                order <- new_mutex!(turn, "sp_order"),
                endpoints <- new_mutex!(Endpoints::new(), "sp_endpoints"),
                state <- new_bhlock!(State {
                    machine,
                    peers: Peers::new(),
                    stats: Counters::new(*inode),
                    trash: Queue::new(),
                    pressing: false,
                    turned_away: false,
                    check: None,
                    timer: None,
                    attending: None,
                    gathered: None,
                    loan: None,
                    edition: None,
                    published: None,
                    receive_shut: false,
                    send_shut: false,
                    closing: false,
                    pipes: 0,
                    aborted: false,
                }, "sp_socket"),
                timer <- new_delayed_work!("sp_socket"),
                reading <- new_work!("sp_socket"),
                gathering <- new_work!("sp_socket"),
                later <- Later::new(*number),
                attendance <- new_delayed_work!("sp_endpoints"),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        this.limits_changed();
        this.net.enlist(number, this.clone())?;
        // Before it was listed, nobody told of a change.
        this.close_timeout_changed();
        Ok(this)
    }

    /// A machine that has seen nothing yet.
    fn new_machine(&self) -> Machine {
        new_machine(self.role, &self.options)
    }

    fn settings(&self) -> Settings {
        settings(&self.options)
    }

    /// Nothing is left to be done. In task context.
    fn ended(self: &Arc<Self>) {
        work::cancel::<_, 0>(self);
        self.delist();
        self.net.delist(self.number);
    }

    fn wake_readers(&self, readers: Wake) {
        if readers != Wake::Nobody {
            self.sk.forget_error();
        }
        match readers {
            Wake::Nobody => {}
            Wake::One => self.sk.wake(Waiters::Readers, Some(1)),
            Wake::Some(number) => self.sk.wake(Waiters::Readers, Some(number)),
            Wake::All => self.sk.wake(Waiters::Readers, None),
        }
    }

    /// What is to be done of what an event asked for; nothing where the socket is closing. Under the
    /// socket's lock.
    fn note(self: &Arc<Self>, state: &mut State, effects: Option<Effects>) -> Todo {
        self.arm(state);
        state.todo(effects.unwrap_or(Effects::NONE))
    }

    fn perform(self: &Arc<Self>, todo: Todo, origin: Origin) {
        self.wake_readers(todo.readers);
        if todo.writers {
            self.sk.wake(Waiters::Writers, None);
        }
        if let Some(pipe) = &todo.flush {
            match origin {
                Origin::Task => pipe.flush(),
                Origin::Callback => pipe.kick(),
            }
        }
        self.send_gathered(todo.gathered);
    }

    /// Calls `f` with every pipe, the lock released.
    fn each_pipe(&self, f: impl FnMut(&SocketPipe)) {
        self.walk(0, |state, from| state.peers.handle_from(from), f);
    }

    /// Calls `f` with each pipe that `next` finds at or after an id, the lock released.
    fn walk(
        &self,
        mut from: u32,
        next: impl Fn(&State, u32) -> Option<(PipeId, &SocketPipe)>,
        mut f: impl FnMut(&SocketPipe),
    ) {
        loop {
            // So many at a time as the stack has room for.
            let mut some = [const { None }; 16];
            {
                let state = self.state.lock();
                for place in &mut some {
                    let Some((id, pipe)) = next(&state, from) else {
                        break;
                    };
                    *place = Some(pipe.clone());
                    from = id.next();
                }
            }
            for place in &some {
                match place {
                    Some(pipe) => f(pipe),
                    None => return,
                }
            }
        }
    }

    /// A peer that was up is lost to the pattern. Under the socket's lock.
    fn peer_gone(self: &Arc<Self>, state: &mut State, id: PipeId) -> Todo {
        let now = work::now();
        if state.peers.is_up(id) {
            state.peers.down(id);
            state.stats.count(Counter::PipeDowns);
        }
        let effects = state.with(now, |machine, world| machine.gone(world, id));
        self.note(state, effects)
    }

    /// Gives a pipe that is closing nothing more to send, while the socket goes on.
    fn send_no_more(self: &Arc<Self>, pipe: &SocketPipe) {
        let todo = {
            let mut state = self.state.lock();
            let id = pipe.name.id;
            if state.find(pipe.name).is_none() || !state.peers.is_up(id) {
                return;
            }
            self.peer_gone(&mut state, id)
        };
        self.perform(todo, Origin::Task);
    }
}

fn new_machine(role: &Role, options: &Options) -> Machine {
    (role.machine)(Seed(work::random64()), &settings(options))
}

fn settings(options: &Options) -> Settings {
    Settings {
        resend: options.resend_interval(),
    }
}
