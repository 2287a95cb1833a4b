// SPDX-License-Identifier: GPL-2.0

//! A listener: one address that others connect to, and the work that accepts them.

use super::{
    Endpoints,
    Host,
    Plan, //
};
use crate::address::Address;
use crate::errno::ECONNABORTED;
use crate::ids::{
    EndpointId,
    PipeName, //
};
use crate::mem::{
    Flags,
    GFP_KERNEL_ACCOUNT,
    NO_SLEEP, //
};
use crate::net::stream::{
    ListenEvents,
    TcpListener, //
};
use crate::net::work::{
    self,
    Lane, //
};
use crate::options::Priorities;
use crate::pipe::End;
use crate::time::Millis;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::workqueue::{
    impl_has_work,
    new_work,
    Work,
    WorkItem, //
};

/// How many connections are accepted before others get their turn on the workqueue.
const ACCEPT_BATCH: usize = 64;

/// How soon to try again to accept for what there was no memory. Each try may have the cgroup's memory
/// reclaimed.
const ACCEPT_DELAY: Millis = Millis(100);

/// How many of a listener's connections may be without a good greeting.
const GREETING_MAX: usize = 1024;

/// What became of the connections that wait at a listener.
enum Accepted {
    /// There is nothing more to do now.
    All,
    /// Others should get their turn first.
    Some,
    /// One has to wait for the endpoints.
    Busy,
}

/// Hears that connections wait, where nothing can be done about it, and accepts them in a work. It may
/// still run, and finds no listener, after that was closed.
#[pin_data]
pub(crate) struct Acceptor<S: Host> {
    owner: Arc<S>,
    endpoint: EndpointId,
    #[pin]
    work: Work<Acceptor<S>>,
    #[pin]
    patient: Work<Acceptor<S>, PATIENT>,
}

/// The second of the works of an acceptor, for when the endpoints are busy: so no user can fill the queue of
/// the first with works that wait.
const PATIENT: u64 = 1;

impl_has_work! {
    impl{S: Host} HasWork<Acceptor<S>> for Acceptor<S> { self.work }
    impl{S: Host} HasWork<Acceptor<S>, PATIENT> for Acceptor<S> { self.patient }
}

impl<S: Host> Acceptor<S> {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(owner: Arc<S>, endpoint: EndpointId) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                owner,
                endpoint,
                work <- new_work!("sp_acceptor"),
                patient <- new_work!("sp_acceptor"),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// Has the work run. From any context.
    pub(crate) fn kick(self: &Arc<Self>) {
        work::enqueue::<_, 0>(Lane::Quick, self.clone());
    }
}

impl<S: Host> WorkItem for Acceptor<S> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        match accept(&this.owner, this.endpoint, false) {
            Accepted::All => {}
            Accepted::Some => this.kick(),
            Accepted::Busy => work::enqueue::<_, PATIENT>(Lane::Patient, this),
        }
    }
}

impl<S: Host> WorkItem<PATIENT> for Acceptor<S> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        match accept(&this.owner, this.endpoint, true) {
            Accepted::All => {}
            Accepted::Some | Accepted::Busy => this.kick(),
        }
    }
}

impl<S: Host> ListenEvents for Acceptor<S> {
    fn incoming(this: &Arc<Self>) {
        this.kick();
    }
}

pub(crate) struct Listener<S: Host> {
    pub(crate) endpoint: EndpointId,
    /// The priorities of its pipes.
    priorities: Priorities,
    pub(crate) address: Address,
    pub(crate) tcp: TcpListener<Acceptor<S>>,
    acceptor: Arc<Acceptor<S>>,
    /// Accepting failed for want of memory, and TCP will not report those connections again.
    retry: bool,
    /// The last connections accepted, in a ring.
    recent: KVec<PipeName>,
    oldest: usize,
}

impl<S: Host> Listener<S> {
    pub(crate) fn new(
        endpoint: EndpointId,
        priorities: Priorities,
        address: Address,
        tcp: TcpListener<Acceptor<S>>,
        acceptor: Arc<Acceptor<S>>,
    ) -> Self {
        Listener {
            endpoint,
            priorities,
            address,
            tcp,
            acceptor,
            retry: false,
            recent: KVec::new(),
            oldest: 0,
        }
    }

    /// Tries again what failed for want of memory.
    pub(super) fn try_again(&mut self) {
        if core::mem::replace(&mut self.retry, false) {
            self.acceptor.kick();
        }
    }

    /// Notes that a connection was accepted, and returns the one that has to have greeted by now: so
    /// many others came after it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the connection should be dropped then.
    fn accepted(&mut self, pipe: PipeName, flags: Flags) -> Result<Option<PipeName>> {
        if self.recent.len() < GREETING_MAX {
            self.recent.push(pipe, flags)?;
            return Ok(None);
        }
        let slot = self.recent.get_mut(self.oldest).ok_or(EINVAL)?;
        let overdue = core::mem::replace(slot, pipe);
        self.oldest = self.oldest.wrapping_add(1) % GREETING_MAX;
        Ok(Some(overdue))
    }

    /// Stops listening; the port is free when this returns.
    pub(crate) fn close(self) {
        drop(self.tcp);
    }
}

/// Takes the connections that wait at listener `endpoint`. In task context. Waits for the endpoints only if
/// it is to be `patient`.
fn accept<H: Host>(host: &Arc<H>, endpoint: EndpointId, patient: bool) -> Accepted {
    for _ in 0..ACCEPT_BATCH {
        let endpoints = if patient {
            Some(host.endpoints().lock())
        } else {
            host.endpoints().try_lock()
        };
        let Some(mut endpoints) = endpoints else {
            return Accepted::Busy;
        };
        if host.turns_away() {
            // They wait in TCP's queue until the program has read something.
            if let Some(listener) = endpoints.listener(endpoint) {
                listener.retry = true;
            }
            return Accepted::All;
        }
        let Endpoints {
            listeners,
            template,
            serials,
            ..
        } = &mut *endpoints;
        let Some(listener) = listeners.iter_mut().find(|l| l.endpoint == endpoint) else {
            return Accepted::All;
        };
        let tcp = match listener.tcp.accept(host.sk()) {
            Ok(tcp) => tcp,
            Err(e) if e == EAGAIN => return Accepted::All,
            // Not a connection for us: on to the next.
            Err(e) if e == ECONNABORTED => continue,
            // The listener was closed from outside, and stays so.
            Err(e) if e == EINVAL => return Accepted::All,
            Err(_) => {
                listener.retry = true;
                drop(endpoints);
                host.sk().reclaim();
                H::attend_in(host, ACCEPT_DELAY);
                return Accepted::All;
            }
        };
        let peer = tcp.peer().and_then(Address::of);
        let stream = tcp.stream().clone();
        // It may have waited to be accepted while the program went on setting options.
        template.prepare(&stream);
        let plan = Plan {
            endpoint,
            priorities: listener.priorities,
            serial: serials.next(),
            peer: peer.unwrap_or(Address::Unspec),
            stream,
            tcp: Some(tcp),
        };
        // Where there is no memory for a pipe the connection is dropped, and its peer dials again.
        let Ok(pipe) = H::make_pipe(host, plan, NO_SLEEP) else {
            drop(endpoints);
            host.sk().reclaim();
            continue;
        };
        let overdue = host
            .sk()
            .charged(NO_SLEEP, |flags| listener.accepted(pipe.name, flags));
        // Still under the mutex, so that closing cannot end the pipe before it is attached.
        let attached = pipe.attach();
        drop(endpoints);
        match overdue {
            Ok(overdue) if attached.is_ok() => {
                pipe.kick();
                if let Some(name) = overdue {
                    host.overdue(name);
                }
            }
            Ok(_) | Err(_) => pipe.end(End::Closed),
        }
    }
    Accepted::Some
}
