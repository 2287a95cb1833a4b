// SPDX-License-Identifier: GPL-2.0

//! What pipes and endpoints report, and ask.

use super::{
    Origin,
    Socket, //
};
use crate::address::Address;
use crate::endpoint::backoff::Reconnect;
use crate::endpoint::pace::{
    Pace,
    SETTLED, //
};
use crate::endpoint::{
    Endpoints,
    Host,
    Plan, //
};
use crate::ids::{
    PipeId,
    PipeName, //
};
use crate::ledger::Ledger;
use crate::mem::Flags;
use crate::message::{
    Message,
    Msg, //
};
use crate::net::sock::{
    SkRef,
    Waiters, //
};
use crate::net::stream::TcpSocket;
use crate::net::trace;
use crate::net::work;
use crate::pattern::{
    Effects,
    Pattern,
    Received, //
};
use crate::pipe::{
    End,
    Event,
    Limits,
    Parts,
    Pipe,
    Upper, //
};
use crate::stats::{
    Counter,
    Reason, //
};
use crate::time::Millis;
use crate::wire::{
    Types,
    Unwelcome,
    Violation, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    Mutex, //
};

impl Host for Socket {
    fn endpoints(&self) -> &Mutex<Endpoints<Self>> {
        &self.endpoints
    }

    fn reconnect(&self) -> Reconnect {
        let (ivl, max) = self.options.reconnect();
        Reconnect { ivl, max }
    }

    fn pace(&self) -> &Arc<Pace> {
        &self.user.pace
    }

    fn make_pipe(this: &Arc<Self>, plan: Plan, flags: Flags) -> Result<Arc<Pipe<Self>>> {
        let serial = plan.serial;
        let (id, pipe) = this.sk.charged(flags, |flags| -> Result<_> {
            let reserved = this.state.lock().peers.reserve(plan.priorities, serial);
            let id = reserved.map_err(|_| ENOMEM)?;
            let parts = Parts {
                name: PipeName { id, serial },
                endpoint: plan.endpoint,
                types: Types {
                    own: this.role.own,
                    peer: this.role.peer,
                    tagged: this.role.tagged,
                    filters: this.role.filters,
                },
                peer: plan.peer,
                stream: plan.stream,
                tcp: plan.tcp,
            };
            Ok((id, Pipe::new(this.clone(), parts, flags)))
        })?;
        let mut state = this.state.lock();
        match &pipe {
            Ok(pipe) => {
                state.peers.attach(id, pipe.clone());
                state.pipes = state.pipes.saturating_add(1);
            }
            Err(_) => state.peers.unreserve(id),
        }
        pipe
    }

    fn turns_away(&self) -> bool {
        self.must_wait()
    }

    fn attend_in(this: &Arc<Self>, time: Millis) {
        Socket::attend_in(this, time);
    }

    fn reconnects(&self) {
        self.state.lock().stats.count(Counter::Reconnects);
    }

    fn overdue(&self, pipe: PipeName) {
        let pipe = self.state.lock().find(pipe).cloned();
        if let Some(pipe) = pipe {
            pipe.end_greeting(End::GreetingTimeout);
        }
    }
}

impl Upper for Socket {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn sk(&self) -> &SkRef {
        &self.sk
    }

    fn inode(&self) -> u64 {
        self.inode
    }

    fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    fn gathers(&self) -> Option<usize> {
        self.role
            .gathers
            .then(|| self.longest_copied(self.is_busy()))
    }

    fn admit(this: &Arc<Self>, name: PipeName, len: usize, whole: bool) -> bool {
        let mut state = this.state.lock();
        this.admits(&mut state, name.id, len, whole)
    }

    fn stretch(this: &Arc<Self>, name: PipeName, bytes: usize) -> bool {
        this.state.lock().peers.stretch(name.id, bytes)
    }

    fn received(
        this: &Arc<Self>,
        name: PipeName,
        mut msg: Msg,
        admitted: bool,
    ) -> Result<(), Unwelcome> {
        let id = name.id;
        let mut guard = this.state.lock();
        let state = &mut *guard;
        if !admitted && !this.takes_in(state, id, &msg) {
            return Err(Unwelcome::NoRoom(msg));
        }
        state.peers.arrived(id, &mut msg);
        let received = if this.is_deaf(state) {
            // It was under way.
            this.leave(state, id);
            Some(Received::Discarded(msg, Reason::Partial))
        } else {
            state.with(work::NEVER, |machine, world| {
                machine.received(world, id, msg)
            })
        };
        state.peers.settled(id);
        let mut violation = None;
        let readers = match received {
            Some(Received::Kept(readers)) => Some(readers),
            Some(Received::Discarded(msg, why)) => {
                state.discard(msg, why);
                None
            }
            Some(Received::Fatal(msg, why)) => {
                violation = Some(Violation(why));
                // It is counted when the pipe ends.
                state.throw_away(msg);
                None
            }
            None => None,
        };
        this.let_go_on(state);
        drop(guard);
        if let Some(readers) = readers {
            this.wake_readers(readers);
        }
        match violation {
            Some(violation) => Err(Unwelcome::Violation(violation)),
            None => Ok(()),
        }
    }

    fn happened(this: &Arc<Self>, name: PipeName, event: Event<'_>) {
        let id = name.id;
        let mut state = this.state.lock();
        match event {
            Event::TooLong(tags) => {
                let effects =
                    state.with(work::NEVER, |machine, world| machine.too_long(world, tags));
                let todo = this.note(&mut state, effects);
                drop(state);
                this.perform(todo, Origin::Callback);
            }
            Event::Discarded(why) => {
                state.stats.discarded(why);
                state.peers.abandon(id);
                if this.is_deaf(&state) {
                    this.leave(&mut state, id);
                }
                this.let_go_on(&state);
            }
            Event::Abandoned => {
                // Its id may be another one's by now.
                if state.find(name).is_some() {
                    state.peers.abandon(id);
                    this.let_go_on(&state);
                }
            }
            Event::Gone => {
                if state.peers.set_gone(id) {
                    state.stats.count(Counter::PipeDowns);
                }
            }
        }
    }

    fn opened(this: &Arc<Self>, name: PipeName, peer: Address) -> bool {
        let id = name.id;
        trace::pipe_up(this.inode, peer.emit());
        let now = work::now();
        let mut state = this.state.lock();
        state.peers.opened(id);
        state.comes_late(id);
        // It may be closing already.
        if state.peers.handle(id).is_some_and(|pipe| !pipe.has_room()) {
            state.peers.set_writable(id, false);
        }
        state.stats.count(Counter::PipeUps);
        let opened = state.with(now, |machine, world| machine.opened(world, id));
        // A socket that is closing has its pipes end, this one too.
        let effects = opened.unwrap_or(Some(Effects::NONE));
        let todo = this.note(&mut state, effects);
        let dialed = state.peers.handle(id).is_some_and(|pipe| pipe.dialed);
        drop(state);
        if dialed {
            Socket::attend_in(this, SETTLED);
        }
        this.perform(todo, Origin::Callback);
        effects.is_some()
    }

    fn writable(this: &Arc<Self>, pipe: &Pipe<Self>) {
        let now = work::now();
        let mut state = this.state.lock();
        if state.find(pipe.name).is_none() {
            return;
        }
        let room = pipe.has_room();
        state.peers.set_writable(pipe.name.id, room);
        if !room {
            return;
        }
        let effects = state.with(now, |machine, world| machine.writable(world));
        let todo = this.note(&mut state, effects);
        drop(state);
        this.perform(todo, Origin::Task);
    }

    fn check_in(this: &Arc<Self>, time: Millis) {
        this.check_pipes_in(time);
    }

    fn ends(this: &Arc<Self>) {
        this.distrust_loan();
    }

    fn with_nothing_lent<T>(this: &Arc<Self>, then: impl FnOnce() -> T) -> T {
        let mut state = this.state.lock();
        this.end_loan(&mut state);
        then()
    }

    fn gone(
        this: &Arc<Self>,
        pipe: &Pipe<Self>,
        end: End,
        unfinished: bool,
        tcp: Option<TcpSocket>,
    ) {
        let id = pipe.name.id;
        let (handle, todo) = {
            let mut state = this.state.lock();
            if unfinished {
                state.stats.discarded(Reason::Partial);
            }
            match end {
                End::Violated(Violation(why)) => state.stats.discarded(why),
                End::GreetingTimeout => state.stats.discarded(Reason::Greeting),
                End::Disconnected | End::MessageTimeout | End::Closed | End::Aborted => {}
            }
            this.end_loan(&mut state);
            let gone = state.peers.is_gone(id);
            let todo = if gone || state.peers.is_up(id) {
                Some(this.peer_gone(&mut state, id))
            } else {
                None
            };
            let handle = state.peers.detach(id);
            this.let_go_on(&state);
            this.take_connections(&mut state);
            (handle, todo)
        };
        trace::pipe_down(this.inode, pipe.peer.emit(), end.name());
        if let Some(todo) = todo {
            this.perform(todo, Origin::Task);
        }
        drop(handle);
        if let Some(tcp) = tcp {
            pipe.close_connection(tcp, end == End::Aborted);
        }
        pipe.is_over_now();
        if pipe.dialed {
            // Its dialer goes on, if it was not removed. That is not for this work, which would have to
            // wait for the endpoints.
            Socket::attend_in(this, Millis::ZERO);
        }

        let last = {
            let mut state = this.state.lock();
            state.pipes = state.pipes.saturating_sub(1);
            state.closing && state.pipes == 0
        };
        if last {
            this.ended();
            // Somebody may linger in close().
            this.sk.wake(Waiters::Readers, None);
        }
    }
}

impl Socket {
    /// Whether what is whole and short may be taken in as it is. Under the socket's lock.
    fn takes_in(self: &Arc<Self>, state: &mut super::State, id: PipeId, msg: &Message) -> bool {
        if msg.messages() > 1 {
            return !self.is_deaf(state) && state.peers.admit_run(id, msg.charge());
        }
        state.peers.has_room_for(msg.extra()) && self.admits(state, id, msg.frame_len(), true)
    }

    /// Whether a pipe may begin a frame. Under the socket's lock.
    fn admits(
        self: &Arc<Self>,
        state: &mut super::State,
        id: PipeId,
        len: usize,
        whole: bool,
    ) -> bool {
        if self.is_deaf(state) {
            self.leave(state, id);
            return false;
        }
        let admitted = state.peers.admit(id, len, whole);
        if !admitted {
            // The limits may be others than when its length was compared.
            self.let_go_on(state);
            self.press_on(state);
        }
        admitted
    }
}
