// SPDX-License-Identifier: GPL-2.0

//! A listener: one address that others connect to, and the work that accepts them.

use crate::address::Address;
use crate::net::stream::{
    ListenEvents,
    TcpListener, //
};
use crate::net::work::{
    self,
    Lane, //
};
use crate::pattern::{
    PipeId,
    Priorities, //
};
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    ArcBorrow, //
};
use kernel::workqueue::{
    impl_has_work,
    new_work,
    Work,
    WorkItem, //
};

/// How many of a listener's connections may be without a good greeting.
const GREETING_MAX: usize = 1024;

/// What became of the connections that wait at a listener.
pub(crate) enum Accepted {
    /// There is nothing more to do now.
    All,
    /// Others should get their turn first.
    Some,
    /// One has to wait for the endpoints.
    Busy,
}

/// Who takes the connections of a listener.
pub(crate) trait Accepts: Send + Sync + Sized + 'static {
    /// Some wait at listener `endpoint`. In task context. Waits for the endpoints only if it is to be
    /// `patient`.
    fn accept(this: &Arc<Self>, endpoint: u64, patient: bool) -> Accepted;
}

/// Hears that connections wait, where nothing can be done about it, and accepts them in a work. It may
/// still run, and finds no listener, after that was closed.
#[pin_data]
pub(crate) struct Acceptor<S: Accepts> {
    owner: Arc<S>,
    endpoint: u64,
    #[pin]
    work: Work<Acceptor<S>>,
    #[pin]
    patient: Work<Acceptor<S>, PATIENT>,
}

/// The second of the works of an acceptor, for when the endpoints are busy: so no user can fill the queue of
/// the first with works that wait.
const PATIENT: u64 = 1;

impl_has_work! {
    impl{S: Accepts} HasWork<Acceptor<S>> for Acceptor<S> { self.work }
    impl{S: Accepts} HasWork<Acceptor<S>, PATIENT> for Acceptor<S> { self.patient }
}

impl<S: Accepts> Acceptor<S> {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(owner: Arc<S>, endpoint: u64) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                owner,
                endpoint,
                work <- new_work!("sp_acceptor"),
                patient <- new_work!("sp_acceptor"),
            }),
            GFP_KERNEL,
        )
    }

    /// Has the work run. From any context.
    pub(crate) fn kick(self: &Arc<Self>) {
        work::enqueue::<_, 0>(Lane::Quick, self.clone());
    }
}

impl<S: Accepts> WorkItem for Acceptor<S> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        match S::accept(&this.owner, this.endpoint, false) {
            Accepted::All => {}
            Accepted::Some => this.kick(),
            Accepted::Busy => work::enqueue::<_, PATIENT>(Lane::Patient, this),
        }
    }
}

impl<S: Accepts> WorkItem<PATIENT> for Acceptor<S> {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        match S::accept(&this.owner, this.endpoint, true) {
            Accepted::All => {}
            Accepted::Some | Accepted::Busy => this.kick(),
        }
    }
}

impl<S: Accepts> ListenEvents for Acceptor<S> {
    fn incoming(this: ArcBorrow<'_, Self>) {
        Arc::from(this).kick();
    }
}

pub(crate) struct Listener<S: Accepts> {
    pub(crate) endpoint: u64,
    /// Those of its pipes.
    pub(crate) priorities: Priorities,
    pub(crate) address: Address,
    pub(crate) tcp: TcpListener<Acceptor<S>>,
    acceptor: Arc<Acceptor<S>>,
    /// Accepting failed for want of memory, and TCP will not report those connections again.
    pub(crate) retry: bool,
    /// The last connections accepted, in a ring, each with a number that is not used again.
    recent: KVec<(PipeId, u64)>,
    oldest: usize,
}

impl<S: Accepts> Listener<S> {
    pub(crate) fn new(
        endpoint: u64,
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
    pub(crate) fn try_again(&mut self) {
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
    pub(crate) fn accepted(&mut self, pipe: PipeId, serial: u64) -> Result<Option<(PipeId, u64)>> {
        if self.recent.len() < GREETING_MAX {
            self.recent.push((pipe, serial), GFP_KERNEL)?;
            return Ok(None);
        }
        let slot = self.recent.get_mut(self.oldest).ok_or(EINVAL)?;
        let overdue = core::mem::replace(slot, (pipe, serial));
        self.oldest = self.oldest.wrapping_add(1) % GREETING_MAX;
        Ok(Some(overdue))
    }

    /// Stops listening; the port is free when this returns.
    pub(crate) fn close(self) {
        drop(self.tcp);
    }
}
