// SPDX-License-Identifier: GPL-2.0

//! What pipes and listeners report.

use super::{
    Context,
    Role,
    Socket,
    SocketPipe, //
};
use crate::address::Address;
use crate::endpoint::listener::{
    Accepted,
    Accepts, //
};
use crate::endpoint::pace::SETTLED;
use crate::endpoint::Endpoints;
use crate::mem::{
    Flags,
    NO_SLEEP, //
};
use crate::message::tags::TAG;
use crate::message::Msg;
use crate::net::sock::Waiters;
use crate::net::stream::TcpSocket;
use crate::net::work;
use crate::pattern::{
    Effects,
    Pattern,
    PipeId,
    Received,
    Wake, //
};
use crate::pipe::{
    End,
    Pipe,
    Upper, //
};
use crate::stats::count;
use crate::wire::frame::Violation;
use kernel::prelude::*;
use kernel::sync::Arc;

/// How many connections are accepted before others get their turn on the workqueue.
const ACCEPT_BATCH: usize = 64;

/// How soon to try again to accept for what there was no memory, in milliseconds. Each try may have the
/// cgroup's memory reclaimed.
const ACCEPT_DELAY: u64 = 100;

impl Accepts for Socket {
    fn accept(this: &Arc<Self>, endpoint: u64, patient: bool) -> Accepted {
        for _ in 0..ACCEPT_BATCH {
            let endpoints = match patient {
                true => Some(this.endpoints.lock()),
                false => this.endpoints.try_lock(),
            };
            let Some(mut endpoints) = endpoints else {
                return Accepted::Busy;
            };
            if this.turns_away() {
                // They wait in TCP's queue until the program has read something.
                if let Some(listener) = endpoints.listener(endpoint) {
                    listener.retry = true;
                }
                return Accepted::All;
            }
            let serial = endpoints.serial();
            let Endpoints {
                listeners,
                template,
                ..
            } = &mut *endpoints;
            let Some(listener) = listeners.iter_mut().find(|l| l.endpoint == endpoint) else {
                return Accepted::All;
            };
            let tcp = match listener.tcp.accept(&this.sk) {
                Ok(tcp) => tcp,
                Err(e) if e == EAGAIN => return Accepted::All,
                // Not a connection for us: on to the next.
                Err(e) if e == ECONNABORTED => continue,
                // The listener was closed from outside, and stays so.
                Err(e) if e == EINVAL => return Accepted::All,
                Err(_) => {
                    listener.retry = true;
                    drop(endpoints);
                    this.sk.reclaim();
                    this.attend_in(ACCEPT_DELAY);
                    return Accepted::All;
                }
            };
            let peer = tcp.peer().and_then(Address::of);
            let stream = tcp.stream().clone();
            // It may have waited to be accepted while the program went on setting options.
            template.prepare(&stream);
            // Where there is no memory for a pipe the connection is dropped, and its peer dials again.
            let (name, priorities) = ((endpoint, serial), listener.priorities);
            let Ok(pipe) = this.new_pipe(
                name,
                priorities,
                peer.unwrap_or(Address::Unspec),
                stream,
                Some(tcp),
                NO_SLEEP,
            ) else {
                drop(endpoints);
                this.sk.reclaim();
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
                        pipe.end_greeting(End::GreetingTimeout);
                    }
                }
                Ok(_) | Err(_) => pipe.end(End::Closed),
            }
        }
        Accepted::Some
    }
}

impl Upper for Socket {
    fn types(&self) -> (u16, u16) {
        self.role.types()
    }

    fn limit(&self) -> u64 {
        u64::try_from(self.longest_frame()).unwrap_or(u64::MAX)
    }

    fn wants_tag(&self) -> bool {
        self.role == Role::Req
    }

    fn close_timeout(&self) -> u64 {
        self.net.close_timeout()
    }

    fn sndbuf(&self) -> usize {
        self.sk.sndbuf()
    }

    fn charged<T>(&self, flags: Flags, f: impl FnOnce(Flags) -> T) -> T {
        self.sk.charged(flags, f)
    }

    fn reclaim(&self) {
        self.sk.reclaim();
    }

    fn admit(this: &Arc<Self>, id: PipeId, len: usize, whole: bool) -> bool {
        let mut state = this.state.lock();
        if this.is_deaf(&state) {
            this.leave(&mut state, id);
            return false;
        }
        let admitted = state.peers.admit(id, len, whole);
        if !admitted {
            // The limits may be others than when its length was compared.
            this.let_go_on(&state);
            this.press_on(&mut state);
        }
        admitted
    }

    fn abandoned(this: &Arc<Self>, id: PipeId) {
        let mut state = this.state.lock();
        state.peers.abandon(id);
        this.let_go_on(&state);
    }

    fn lost(this: &Arc<Self>, id: PipeId) {
        let mut state = this.state.lock();
        if state.peers.lose(id) {
            count(&mut state.stats.pipe_downs);
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
        let dialed = state.peers.handle(id).is_some_and(|pipe| pipe.dialed);
        drop(state);
        if dialed {
            this.attend_in(SETTLED);
        }
        this.perform(todo, Context::Callback);
    }

    fn received(this: &Arc<Self>, id: PipeId, mut msg: Msg) -> Result<(), Violation> {
        let mut guard = this.state.lock();
        let state = &mut *guard;
        state.peers.arrived(id, &mut msg);
        let received = match this.is_deaf(state) {
            // It was under way.
            true => {
                count(&mut state.stats.rx_partial);
                this.leave(state, id);
                Some(Received::Discarded(msg))
            }
            false => state.with(0, |machine, world| machine.received(world, id, msg)),
        };
        state.peers.settled(id);
        let (result, discarded) = match received {
            Some(Received::Kept(readers)) => (Ok(readers), None),
            Some(Received::Discarded(msg)) => (Ok(Wake::Nobody), Some(msg)),
            Some(Received::Fatal(msg)) => (Err(Violation::Message), Some(msg)),
            Some(Received::TooLong(msg)) => (Err(Violation::Oversize), Some(msg)),
            None => (Ok(Wake::Nobody), None),
        };
        if let Some(msg) = discarded {
            state.discard(msg);
        }
        this.let_go_on(state);
        drop(guard);
        this.wake_readers(result?);
        Ok(())
    }

    fn too_long(this: &Arc<Self>, tag: [u8; TAG]) {
        let todo = {
            let mut state = this.state.lock();
            let effects = state.with(0, |machine, world| machine.too_long(world, tag));
            state.todo(effects.unwrap_or(Effects::NONE))
        };
        this.perform(todo, Context::Callback);
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
        this.check_pipes_in(ms);
    }

    fn gone(
        this: &Arc<Self>,
        pipe: &Pipe<Self>,
        end: End,
        unfinished: bool,
        tcp: Option<TcpSocket>,
    ) {
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
                End::Violated(Violation::Urgent) => count(&mut state.stats.rx_malformed),
                End::Violated(Violation::Message)
                | End::Disconnected
                | End::MessageTimeout
                | End::Closed
                | End::Aborted => {}
            }
            let lost = state.peers.is_lost(pipe.id());
            let todo = match lost || state.peers.is_up(pipe.id()) {
                true => Some(this.down(&mut state, pipe.id())),
                false => None,
            };
            let handle = state.peers.closed(pipe.id());
            this.let_go_on(&state);
            this.take_connections(&mut state);
            (handle, todo)
        };
        if let Some(todo) = todo {
            this.perform(todo, Context::Task);
        }
        drop(handle);
        if let Some(tcp) = tcp {
            pipe.hang_up(tcp, end == End::Aborted);
        }
        pipe.is_over_now();
        if pipe.dialed {
            // Its dialer goes on, if it was not removed. That is not for this work, which would have to
            // wait for the endpoints.
            this.attend_in(0);
        }

        let last = {
            let mut state = this.state.lock();
            state.pipes = state.pipes.saturating_sub(1);
            state.closing && state.pipes == 0
        };
        if last {
            this.ended();
            // Somebody may linger in close().
            this.sk.wake(Waiters::Readers, true);
        }
    }
}
