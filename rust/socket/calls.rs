// SPDX-License-Identifier: GPL-2.0

//! The system calls on a socket.

use super::namespace::Net;
use super::timer::ATTEND;
use super::users::Users;
use super::Socket;
use crate::address::{
    Address,
    AddressError, //
};
use crate::endpoint::dialer::Dialer;
use crate::endpoint::listener::{
    Acceptor,
    Listener, //
};
use crate::endpoint::template::Template;
use crate::errno::{
    Errno,
    EAFNOSUPPORT,
    EISCONN,
    EMSGSIZE,
    ENOTCONN,
    EOPNOTSUPP,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT, //
};
use crate::error::Refusal;
use crate::mem::GFP_KERNEL_ACCOUNT;
use crate::message::run::{
    Contents,
    Taken, //
};
use crate::message::Piece;
use crate::net::family::{
    self,
    Family,
    OptionValue,
    RecvCall,
    SendCall, //
};
use crate::net::sock::{
    self,
    SkRef,
    Waiters, //
};
use crate::net::stream::{
    SockAddr,
    TcpListener, //
};
use crate::net::task::Current;
use crate::net::work;
use crate::pattern::role::Role;
use crate::pattern::{
    Pattern,
    Ticket, //
};
use crate::pipe::End;
use crate::stats::Counter;
use crate::uapi;
use core::task::Poll;
use kernel::prelude::*;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

/// What a receive has come to.
#[derive(Default)]
struct Outcome {
    /// `None` if there will be nothing more.
    taken: Option<Taken>,
    /// Somebody may read on now.
    moves: bool,
    /// There may be something to send now.
    writers: bool,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Errno(refusal.errno()).into()
    }
}

impl Socket {
    /// Receives at once what can be copied at once.
    fn recv_now(&self, call: &mut RecvCall<'_>) -> Option<usize> {
        let mut state = self.state.lock();
        let len = state.call(work::NEVER, |machine, world| {
            machine.recv_now(world, |body, from| call.give_now(body, || from.emit()))
        });
        let len = len.flatten()?;
        state.stats.count(Counter::RxMsgs);
        state
            .stats
            .add(Counter::RxBytes, u64::try_from(len).unwrap_or(0));
        Some(len)
    }

    /// One try to receive, into `outcome`.
    fn try_recv(self: &Arc<Self>, ticket: &mut Ticket, outcome: &mut Outcome) -> Poll<Result> {
        let mut state = self.state.lock();
        match state.call(work::NEVER, |machine, world| machine.recv(world, ticket)) {
            None => Poll::Pending,
            Some(Ok((taken, effects))) => {
                let bytes = u64::try_from(taken.len()).unwrap_or(0);
                state.stats.count(Counter::RxMsgs);
                state.stats.add(Counter::RxBytes, bytes);
                if !taken.is_not_last() {
                    self.take_connections(&mut state);
                    self.press_on(&mut state);
                    self.see_off_soon(&mut state);
                    outcome.moves = state.peers.moves();
                }
                outcome.writers = effects.writers;
                outcome.taken = Some(taken);
                Poll::Ready(Ok(()))
            }
            Some(Err(Refusal::Again | Refusal::State)) if state.receive_shut => Poll::Ready(Ok(())),
            Some(Err(Refusal::Again)) => Poll::Pending,
            Some(Err(why)) => {
                let waits = state.peers.some_readable();
                drop(state);
                if waits {
                    // It may have been woken for what others can take.
                    self.sk.wake(Waiters::Readers, Some(1));
                }
                Poll::Ready(Err(why.into()))
            }
        }
    }

    /// One try to look at the next message; nothing at the end of receiving.
    fn try_peek(&self) -> Poll<Result<Option<Taken>>> {
        let mut state = self.state.lock();
        match state.call(work::NEVER, |machine, world| machine.peek(world)) {
            None => Poll::Pending,
            Some(Ok(peeked)) => Poll::Ready(Ok(Some(peeked))),
            Some(Err(Refusal::Again | Refusal::State)) if state.receive_shut => {
                Poll::Ready(Ok(None))
            }
            Some(Err(Refusal::Again)) => Poll::Pending,
            Some(Err(why)) => Poll::Ready(Err(why.into())),
        }
    }

    /// Tries, and sleeps and tries again for as long as the program is willing to, which is not at all if it said
    /// `no_block`. `exclusive` if a success is at the expense of others who wait.
    pub(super) fn patiently<T>(
        &self,
        whom: Waiters,
        exclusive: bool,
        no_block: bool,
        mut attempt: impl FnMut() -> Poll<Result<T>>,
    ) -> Result<T> {
        if let Poll::Ready(result) = attempt() {
            return result;
        }
        let timeout = self.sk.timeout(whom, no_block);
        if whom == Waiters::Writers {
            self.sk.want_space();
        }
        self.sk.wait(whom, exclusive, timeout, attempt)?
    }

    /// An address that somebody asked to bind or connect to.
    pub(super) fn parse(bytes: &[u8]) -> Result<Address> {
        Address::parse(bytes).map_err(|e| match e {
            AddressError::Length => EINVAL,
            AddressError::Family => EAFNOSUPPORT.into(),
        })
    }
}

impl Family for Socket {
    type Net = Net;
    type Common = Users;

    fn common() -> Result<Arc<Users>> {
        Users::new()
    }

    fn create(
        sk: SkRef,
        net: Arc<Net>,
        users: Arc<Users>,
        socket_type: u32,
        protocol: u32,
    ) -> Result<Arc<Self>> {
        let role = Role::of(socket_type).ok_or(ESOCKTNOSUPPORT)?;
        if protocol != 0 && protocol != uapi::IPPROTO_TCP {
            return Err(EPROTONOSUPPORT.into());
        }
        let user = users.enter(sock::user())?;
        Socket::new(sk, net, user, role)
    }

    fn release(this: &Arc<Self>) {
        let linger = this.sk.linger();
        this.send_edition();
        // Nobody is in a call on it any more, who could collect something.
        {
            let mut state = this.state.lock();
            this.end_loan(&mut state);
            state.closing = true;
        }
        this.pool.close();
        {
            let mut endpoints = this.endpoints.lock();
            endpoints.closed = true;
            while let Some(listener) = endpoints.listeners.pop() {
                listener.close();
            }
            while let Some(dialer) = endpoints.dialers.pop() {
                dialer.close();
            }
            // The last reference to the socket may be dropped where a TCP socket cannot be closed.
            endpoints.template = Template::new();
        }
        // As `closing` is set, it is not armed again.
        work::cancel::<_, ATTEND>(this);
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
        // What it keeps for a resend will not be sent again, and nothing is answered any more.
        let kept = {
            let mut state = this.state.lock();
            let machine = this.new_machine();
            let machine = core::mem::replace(&mut state.machine, machine);
            (machine, state.peers.forget_requests())
        };
        drop(kept);
        this.outlive();
        let is_over = || this.state.lock().pipes == 0;
        if is_over() {
            this.ended();
            return;
        }
        if let Some(time) = linger.filter(|time| *time > 0) {
            let gone = || {
                if is_over() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            };
            // However it ends, the pipes go on without us.
            let _ = this.sk.wait(Waiters::Readers, false, time, gone);
        }
    }

    fn bind(this: &Arc<Self>, address: &[u8]) -> Result {
        let address = Self::parse(address)?;
        let v6 = address.is_v6().ok_or(EAFNOSUPPORT)?;
        let mut endpoints = this.endpoints.lock();
        let endpoint = endpoints.name()?;
        endpoints.listeners.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let acceptor = Acceptor::new(this.clone(), endpoint)?;
        let tcp = endpoints.template.create(&this.sk, v6)?;
        let (name, backlog) = (address.emit(), endpoints.backlog);
        let tcp = TcpListener::bind(tcp, &name, backlog, acceptor.clone())?;
        // Port 0 has become a number.
        let local = Address::of(tcp.stream().local()).unwrap_or(address);
        endpoints.last_bound = local;
        let priorities = this.options.priorities();
        let listener = Listener::new(endpoint, priorities, local, tcp, acceptor);
        endpoints.listeners.push(listener, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    fn connect(this: &Arc<Self>, address: &[u8]) -> Result {
        let address = Self::parse(address)?;
        let Some(v6) = address.is_v6() else {
            this.remove_dialers();
            return Ok(());
        };
        if address.port() == 0 {
            return Err(EINVAL);
        }
        let mut endpoints = this.endpoints.lock();
        let endpoint = endpoints.name()?;
        let tcp = endpoints.template.create(&this.sk, v6)?;
        let serial = endpoints.serials.next();
        endpoints.dialers.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let mut dialer = Dialer::new(endpoint, this.options.priorities(), address, tcp);
        let started = dialer.dial(this, serial);
        if started == Err(EINVAL) && address.is_link_local() {
            // Without a scope, or with another one than that of the device that the socket is bound to:
            // that is not going to change. Only TCP can tell, for scopes may contain others.
            dialer.close();
            return Err(EINVAL);
        }
        endpoints.dialers.push(dialer, GFP_KERNEL_ACCOUNT)?;
        Ok(())
    }

    fn listen(this: &Arc<Self>, backlog: i32) -> Result {
        let mut endpoints = this.endpoints.lock();
        endpoints.backlog = backlog;
        endpoints
            .listeners
            .iter()
            .try_for_each(|listener| listener.tcp.listen(backlog))
    }

    fn shutdown(this: &Arc<Self>, receive: bool, send: bool) -> Result {
        {
            let mut state = this.state.lock();
            state.receive_shut |= receive;
            state.send_shut |= send;
            this.end_loan(&mut state);
        }
        if receive && this.role.receives {
            this.turn_deaf();
        }
        this.sk.wake_everybody();
        Ok(())
    }

    fn name(this: &Arc<Self>, peer: bool) -> Result<SockAddr> {
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
        match state.peers.up_from(0) {
            Some((_, pipe)) if state.peers.count_up() == 1 => Ok(pipe.peer.emit()),
            Some(_) | None => Err(ENOTCONN.into()),
        }
    }

    fn poll(this: &Arc<Self>) -> u32 {
        this.sk.forget_error();
        let caller = Current::new();
        let state = this.state.lock();
        let mut mask = 0;
        if this.role.receives && state.receive_shut {
            mask |= uapi::POLLIN | uapi::POLLRDNORM | uapi::POLLRDHUP;
        }
        if state.machine.can_recv(&state.peers, &caller) {
            mask |= uapi::POLLIN | uapi::POLLRDNORM;
        }
        if this.role.sends && (state.send_shut || state.machine.can_send(&state.peers, &caller)) {
            mask |= uapi::POLLOUT | uapi::POLLWRNORM | uapi::POLLWRBAND;
        }
        if state.receive_shut && state.send_shut {
            mask |= uapi::POLLHUP;
        }
        mask
    }

    fn send(this: &Arc<Self>, call: &mut SendCall<'_>) -> Result<usize> {
        if this.has_loan.load(Relaxed) != 0 && this.send_along(call) {
            return Ok(call.len());
        }
        let flags = call.flags();
        if !this.role.sends || flags & family::MSG_OOB != 0 {
            return Err(EOPNOTSUPP.into());
        }
        if call.has_address() {
            return Err(EISCONN.into());
        }
        this.sk.forget_error();
        let len = call.len();
        if len > this.options.sndmaxsize() {
            return Err(EMSGSIZE.into());
        }
        let no_block = flags & family::MSG_DONTWAIT != 0;
        this.send_message(call, family::says_more(flags), no_block)?;
        Ok(len)
    }

    fn recv(this: &Arc<Self>, call: &mut RecvCall<'_>) -> Result<usize> {
        let flags = call.flags();
        if !this.role.receives || flags & (family::MSG_OOB | family::MSG_ERRQUEUE) != 0 {
            return Err(EOPNOTSUPP.into());
        }
        if flags & family::MSG_WAITALL != 0 {
            return Err(EINVAL);
        }
        let no_block = flags & family::MSG_DONTWAIT != 0;
        if flags & (family::MSG_PEEK | family::MSG_TRUNC) == 0 {
            if let Some(len) = this.recv_now(call) {
                return Ok(len);
            }
        }
        if flags & family::MSG_PEEK != 0 {
            let peeked = this.patiently(Waiters::Readers, false, no_block, || this.try_peek())?;
            return peeked.map_or(Ok(0), |taken| give(call, &taken));
        }
        let mut ticket = Ticket::default();
        let mut outcome = Outcome::default();
        let attempt = || this.try_recv(&mut ticket, &mut outcome);
        this.patiently(Waiters::Readers, true, no_block, attempt)?;
        if outcome.writers {
            this.sk.wake(Waiters::Writers, None);
        }
        let Some(taken) = outcome.taken else {
            return Ok(0);
        };
        let given = give(call, &taken);
        drop(taken);
        if outcome.moves {
            this.resume();
        }
        given
    }

    fn input_len(this: &Arc<Self>) -> usize {
        let mut state = this.state.lock();
        let next = state.call(work::NEVER, |machine, world| machine.next_len(world));
        next.flatten().unwrap_or(0)
    }

    fn output_len(this: &Arc<Self>) -> usize {
        this.send_edition_to_look();
        this.unsent()
    }

    fn set_option(this: &Arc<Self>, level: u32, name: u32, value: KVec<u8>) -> Result {
        this.set(level, name, value)
    }

    fn option(this: &Arc<Self>, level: u32, name: u32) -> Result<OptionValue> {
        this.get(level, name)
    }
}

/// Copies a message to the calling program; returns what recv() does.
fn give(call: &mut RecvCall<'_>, taken: &Taken) -> Result<usize> {
    let len = taken.len();
    let copied = len.min(call.room());
    match taken.contents() {
        Contents::Part(body) => call.copy(Piece::of(body).first(copied))?,
        Contents::Whole(bytes) => {
            let mut rest = copied;
            for piece in bytes.chunks_from(0) {
                let part = piece.first(rest);
                call.copy(part)?;
                rest = rest.saturating_sub(part.len());
                if rest == 0 {
                    break;
                }
            }
        }
    }
    call.finish(copied < len, || taken.from().emit());
    match call.flags() & family::MSG_TRUNC {
        0 => Ok(copied),
        _ => Ok(len),
    }
}
