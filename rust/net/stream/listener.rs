// SPDX-License-Identifier: GPL-2.0

//! TCP sockets that listen.

use super::address::SockAddr;
use super::reference::Stream;
use super::tcp::TcpSocket;
use crate::mem::{
    GFP_KERNEL_ACCOUNT,
    NO_SLEEP, //
};
use crate::net::bindings;
use crate::net::lent::Lent;
use crate::net::sock::SkRef;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::{
    c_int,
    c_uint,
    c_void, //
};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::Opaque;

/// What a listener reports.
pub(crate) trait ListenEvents: Send + Sync + 'static {
    /// A connection may be there to be accepted, or the listener be closed from outside. In softirq or in
    /// a task, with interrupts off and the lock of the listener's wait queue held.
    fn incoming(this: &Arc<Self>);
}

/// A listening TCP socket. Dropping it stops listening: the port is free then, and connections that
/// nobody accepted are reset, or go to another listener of the SO_REUSEPORT group. That may sleep.
///
/// It is heard as poll(2) would hear it, by an entry in the wait queue of its `struct socket`: TCP's own
/// `sk_data_ready`, `sock_def_readable`, calls the entry in the softirq in which a connection comes up (or
/// in the task that moves one here), and its own `sk_state_change` if the listener is closed from outside.
/// The entry is not exclusive and ignores the key, nobody else can wait there (there is no file), and a
/// call too many costs the acceptor one look.
///
/// It is there before the socket listens, so no connection precedes it. Whoever wakes looks for waiters
/// after the connection is in the accept queue; and it is taken away under the wait queue's lock, under
/// which it is called, so that no call is under way or begins after that. Only then is the socket
/// released, in which the queue is: a waker that still holds the queue finds it without the entry, in
/// memory that is freed an RCU grace period after the release.
///
/// # Invariants
///
/// `entry` is in the wait queue of `tcp`'s socket, for `incoming::<E>` with a pointer to what `events` is.
pub(crate) struct TcpListener<E: ListenEvents> {
    entry: Pin<KBox<Opaque<bindings::wait_queue_entry>>>,
    tcp: TcpSocket,
    _events: Arc<E>,
}

// SAFETY: The entry is only touched by the wait queue, under its lock, and to insert and to remove it. The
// other fields may be sent.
unsafe impl<E: ListenEvents> Send for TcpListener<E> {}
// SAFETY: No method gives access to the entry; the other fields may be shared.
unsafe impl<E: ListenEvents> Sync for TcpListener<E> {}

impl<E: ListenEvents> TcpListener<E> {
    /// Binds a fresh socket and listens, on behalf of the calling task. Connections are reported to
    /// `events`.
    ///
    /// # Errors
    ///
    /// The errors of bind(2) and listen(2).
    pub(crate) fn bind(
        tcp: TcpSocket,
        name: &SockAddr,
        backlog: i32,
        events: Arc<E>,
    ) -> Result<Self> {
        let mut name = *name;
        // CAST: A length of at most 28.
        // SAFETY: The socket is live, `name` outlives the call.
        to_result(unsafe {
            bindings::kernel_bind(tcp.as_ptr(), name.0.as_mut_ptr().cast(), name.1 as c_int)
        })?;
        let entry = KBox::pin(Opaque::uninit(), GFP_KERNEL_ACCOUNT)?;
        // SAFETY: The socket is live. The entry is pinned and in no queue; it is taken out of this one
        // before it, what `data` points at and the socket go.
        unsafe {
            bindings::sp_helper_listen_wait(
                tcp.as_ptr(),
                entry.get(),
                Some(incoming::<E>),
                Arc::as_ptr(&events).cast_mut().cast(),
            )
        };
        // INVARIANT: It was just inserted.
        let listener = TcpListener {
            entry,
            tcp,
            _events: events,
        };
        // SAFETY: The socket is live.
        to_result(unsafe { bindings::kernel_listen(listener.tcp.as_ptr(), backlog) })?;
        Ok(listener)
    }

    /// Changes the backlog.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it does not listen any more.
    pub(crate) fn listen(&self, backlog: i32) -> Result {
        // SAFETY: The sock is live, and it is not locked by us.
        to_result(unsafe { bindings::sp_helper_listen(self.tcp.stream().as_ptr(), backlog) })
    }

    /// Listens no more; connections that wait are reset. The port is kept. Task context.
    pub(crate) fn stop(&self) {
        // SAFETY: The socket is live, and not locked by us.
        unsafe { bindings::sp_helper_listen_stop(self.tcp.as_ptr()) };
    }

    /// Whether it still listens: an administrator can close it (SOCK_DESTROY), and it stays so.
    pub(crate) fn is_listening(&self) -> bool {
        // SAFETY: The sock is live.
        let state = unsafe { bindings::sp_helper_tcp_state(self.tcp.stream().as_ptr()) };
        u32::try_from(state) == Ok(bindings::TCP_LISTEN)
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        self.tcp.stream()
    }

    /// Takes the next connection, if there is one. Does not wait. It has the options that the listener
    /// had when it arrived, and belongs to whom `sk` belongs to. Task context, in a worker.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is none; `EINVAL` if this does not listen any more; `ECONNABORTED` if that one was
    /// not to be had; `ENOMEM`, `ENFILE` and the like if it could not be taken: it still waits then, and is
    /// not reported again.
    pub(crate) fn accept(&self, sk: &SkRef) -> Result<TcpSocket> {
        let mut socket = core::ptr::null_mut();
        // What TCP itself installs, here as there.
        let saved = *self.tcp.stream().saved();
        // SAFETY: Both socks are live, `socket` is valid for writes.
        to_result(unsafe {
            bindings::sp_helper_tcp_accept(self.tcp.as_ptr(), &mut socket, sk.as_ptr(), &saved)
        })?;
        let socket = NonNull::new(socket).ok_or(EAGAIN)?;
        let tcp = sk.charged(NO_SLEEP, |flags| {
            // SAFETY: It was just made for us.
            unsafe { TcpSocket::new(socket, Some(saved), flags) }
        })?;
        tcp.stream().set_buffers(sk);
        Ok(tcp)
    }
}

impl<E: ListenEvents> Drop for TcpListener<E> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the entry is in this queue. The socket is released, and the entry
        // freed, after this.
        unsafe {
            bindings::sp_helper_listen_unwait(self.tcp.as_ptr(), self.entry.get());
        }
    }
}

/// Called by the wait queue of a listener whenever somebody who waits for it is woken.
///
/// # Safety
///
/// Called under the lock of the wait queue, for an entry that [`TcpListener::bind`] inserted for `E`.
unsafe extern "C" fn incoming<E: ListenEvents>(
    entry: *mut bindings::wait_queue_entry,
    _mode: c_uint,
    _flags: c_int,
    _key: *mut c_void,
) -> c_int {
    // SAFETY: The entry is live, and its private data constant.
    let data = unsafe { (*entry).private };
    // SAFETY: `bind::<E>` had it from an `Arc<E>` that the listener holds until it has removed the entry,
    // which takes the lock that is held now.
    let events = unsafe { Lent::new(data.cast::<E>()) };
    E::incoming(&events);
    // Nobody was woken, as far as exclusive waiters are concerned.
    0
}
