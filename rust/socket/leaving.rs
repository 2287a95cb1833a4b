// SPDX-License-Identifier: GPL-2.0

//! Whom a socket parts with while it goes on: endpoints that are removed, and, once it receives no more,
//! peers that have more to say.

use super::{
    Socket,
    SocketPipe,
    State, //
};
use crate::address::Address;
use crate::endpoint::dialer::Dialer;
use crate::endpoint::listener::Listener;
use crate::endpoint::Endpoint;
use crate::ids::PipeId;
use crate::net::stream::TcpSocket;
use crate::pattern::Pattern;
use crate::pipe::End;
use crate::time::{
    Instant,
    Millis, //
};
use kernel::sync::Arc;

/// How long to wait before pipes that are to end are looked at again.
const LEAVE_INTERVAL: Millis = Millis(250);

impl Socket {
    /// Whether nothing more is received. Under the socket's lock.
    pub(super) fn is_deaf(&self, state: &State) -> bool {
        state.receive_shut && self.role.receives
    }

    /// Receives no more than has arrived: no connection is taken, none is made, and those through which more
    /// arrives are to end.
    pub(super) fn turn_deaf(self: &Arc<Self>) {
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
    pub(super) fn leave(self: &Arc<Self>, state: &mut State, id: PipeId) {
        state.peers.leave(id);
        self.arm_in(state, Millis::ZERO);
    }

    /// The program has taken or answered something, so a pipe that is to end may do so. Under the socket's
    /// lock.
    pub(super) fn see_off_soon(self: &Arc<Self>, state: &mut State) {
        if state.receive_shut && state.peers.some_leave() {
            self.arm_in(state, Millis::ZERO);
        }
    }

    /// Closes the pipes that are to end and of which nothing is queued or in hand; what they have to send
    /// they deliver. Returns when to look again if there are others: who had a request in hand may have died.
    pub(super) fn see_off(self: &Arc<Self>, now: Instant) -> Option<Instant> {
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
            if wanted {
                again = Some(now.after(LEAVE_INTERVAL));
            } else {
                self.close_alone(&pipe, None);
            }
            from = id.next();
        }
    }

    /// Removes the endpoint of this address that was added last, with its pipes. Returns whether there is
    /// one.
    pub(super) fn remove(self: &Arc<Self>, address: Address) -> bool {
        let device = u32::try_from(self.sk.bound_device()).unwrap_or(0);
        let address = address.canonical(device);
        let mut endpoints = self.endpoints.lock();
        match endpoints.take(|other| other.canonical(device) == address) {
            Some(Endpoint::Dialer(dialer)) => self.remove_dialer(dialer),
            Some(Endpoint::Listener(listener)) => self.remove_listener(listener),
            None => return false,
        }
        true
    }

    /// Removes all dialers, with their pipes.
    pub(super) fn remove_dialers(self: &Arc<Self>) {
        let mut endpoints = self.endpoints.lock();
        while let Some(dialer) = endpoints.dialers.pop() {
            self.remove_dialer(dialer);
        }
    }

    /// Closes a pipe while the socket goes on. From when it takes no more it is nobody's turn: what a closing
    /// pipe is given is lost, though another one might have it.
    fn close_alone(self: &Arc<Self>, pipe: &SocketPipe, tcp: Option<TcpSocket>) {
        if let Some(tcp) = tcp {
            pipe.adopt(tcp);
        }
        self.send_edition();
        {
            let mut state = self.state.lock();
            self.settle(&mut state);
            pipe.take_no_more();
            if state.find(pipe.name).is_some() {
                state.peers.set_writable(pipe.name.id, false);
            }
        }
        pipe.close(None);
        self.send_no_more(pipe);
    }

    fn remove_dialer(self: &Arc<Self>, dialer: Dialer<Self>) {
        if let Some((pipe, tcp)) = dialer.into_pipe() {
            self.close_alone(&pipe, Some(tcp));
        }
    }

    fn remove_listener(self: &Arc<Self>, listener: Listener<Socket>) {
        let endpoint = listener.endpoint;
        listener.close();
        self.each_pipe(|pipe| {
            if pipe.endpoint == endpoint {
                self.close_alone(pipe, None);
            }
        });
    }
}
