// SPDX-License-Identifier: GPL-2.0

//! What pipes and listeners report.

use super::{
    Context,
    Socket,
    SocketPipe, //
};
use crate::address::Address;
use crate::endpoint::listener::Accepts;
use crate::endpoint::Endpoints;
use crate::message::Msg;
use crate::net::sock::Waiters;
use crate::net::stream::TcpSocket;
use crate::net::work;
use crate::pattern::{
    Effects,
    Pattern,
    PipeId,
    Received, //
};
use crate::pipe::{
    End,
    Pipe,
    Upper,
    MEMORY_DELAY, //
};
use crate::stats::count;
use crate::wire::frame::Violation;
use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

/// How many connections are accepted before others get their turn on the workqueue.
const ACCEPT_BATCH: usize = 64;

impl Accepts for Socket {
    fn accept(this: &Arc<Self>, endpoint: u64) {
        for _ in 0..ACCEPT_BATCH {
            let mut endpoints = this.endpoints.lock();
            let serial = endpoints.serial();
            let Endpoints {
                listeners,
                template,
                ..
            } = &mut *endpoints;
            let Some(listener) = listeners.iter_mut().find(|l| l.endpoint == endpoint) else {
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
            ) else {
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

    fn close_timeout(&self) -> u64 {
        self.net.close_timeout()
    }

    fn sndbuf(&self) -> usize {
        self.sk.sndbuf()
    }

    fn admit(this: &Arc<Self>, id: PipeId) -> bool {
        let mut state = this.state.lock();
        let room = state.peers.charge() < this.sk.rcvbuf();
        if !room {
            state.peers.pause(id);
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
        {
            let mut endpoints = this.endpoints.lock();
            // Under the mutex, so that no option is set while TCP gives up the connection.
            drop((handle, tcp));
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
            this.ended();
            // Somebody may linger in close().
            this.sk.wake(Waiters::Readers, true);
        }
    }
}
