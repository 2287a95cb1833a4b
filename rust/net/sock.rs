// SPDX-License-Identifier: GPL-2.0

//! The outer socket: a counted reference to its `struct sock`, and those who sleep on it.
//!
//! C header: [`include/net/sock.h`](srctree/include/net/sock.h)

use super::bindings;
use super::setting::Setting;
use crate::mem::accounted;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::task::Poll;
use kernel::alloc::Flags;
use kernel::prelude::*;

/// A reference to the `struct sock` of a socket of our family.
///
/// # Invariants
///
/// Owns one count of a live `struct sock` that `sock_init_data` has initialised. That count keeps the
/// network namespace and the module as well.
pub(crate) struct SkRef(NonNull<bindings::sock>);

// SAFETY: `struct sock` is shared by design; every method below may be called from any thread.
unsafe impl Send for SkRef {}
// SAFETY: What is shared of it is read whole, or changed under its lock, in C.
unsafe impl Sync for SkRef {}

/// The user that the calling task belongs to, as a number: all the users that somebody can make for himself,
/// in user namespaces, are one with him. Those that belong to the superuser are one user each, for he makes
/// them for others.
pub(crate) fn user() -> u64 {
    // SAFETY: No requirements.
    unsafe { bindings::sp_helper_user() }
}

/// Whether the calling task may go beyond what the system's administrator allows everybody.
pub(crate) fn may_force() -> bool {
    // SAFETY: No requirements.
    unsafe { bindings::sp_helper_may_force() }
}

/// Who sleeps, or is to be woken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiters {
    Readers,
    Writers,
}

const READ_EVENTS: u32 = bindings::POLLIN | bindings::POLLRDNORM | bindings::POLLRDBAND;
const WRITE_EVENTS: u32 = bindings::POLLOUT | bindings::POLLWRNORM | bindings::POLLWRBAND;

impl Waiters {
    fn key(self) -> u32 {
        match self {
            Waiters::Readers => READ_EVENTS,
            Waiters::Writers => WRITE_EVENTS,
        }
    }
}

impl SkRef {
    /// # Safety
    ///
    /// `sk` is a live `struct sock` that `sock_init_data` has initialised.
    pub(super) unsafe fn new(sk: *mut bindings::sock) -> Option<Self> {
        let sk = NonNull::new(sk)?;
        // SAFETY: By this function's requirements `sk` is live.
        unsafe { bindings::sp_helper_sock_hold(sk.as_ptr()) };
        // INVARIANT: The count was just taken.
        Some(SkRef(sk))
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::sock {
        self.0.as_ptr()
    }

    /// The network namespace, which lives as long as `self`.
    pub(super) fn net(&self) -> *mut bindings::net {
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_sock_net(self.as_ptr()) }
    }

    /// Sets an option of level SOL_SOCKET on this socket alone. May sleep.
    ///
    /// # Errors
    ///
    /// The errors of setsockopt(2).
    pub(crate) fn set_option(&self, setting: &Setting) -> Result {
        // SAFETY: By the type invariant the sock is live. The callers, calls on the socket, have not locked
        // it, and it is not closed before they return.
        unsafe { setting.apply(self.as_ptr()) }
    }

    /// SO_REUSEPORT, which the socket layer does not let us set.
    pub(crate) fn set_reuseport(&self, on: bool) {
        // SAFETY: By the type invariant the sock is live, and it is not locked by us.
        unsafe { bindings::sp_helper_set_reuseport(self.as_ptr(), on) };
    }

    /// The interface that SO_BINDTODEVICE or SO_BINDTOIFINDEX has named, by its number; 0 for none.
    pub(crate) fn bound_device(&self) -> i32 {
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_bound_device(self.as_ptr()) }
    }

    /// SO_SNDBUF as `struct sock` has it, in bytes.
    pub(crate) fn sndbuf(&self) -> usize {
        // SAFETY: By the type invariant the sock is live.
        usize::try_from(unsafe { bindings::sp_helper_sndbuf(self.as_ptr()) }).unwrap_or(0)
    }

    /// SO_RCVBUF as `struct sock` has it, in bytes.
    pub(crate) fn rcvbuf(&self) -> usize {
        // SAFETY: By the type invariant the sock is live.
        usize::try_from(unsafe { bindings::sp_helper_rcvbuf(self.as_ptr()) }).unwrap_or(0)
    }

    /// Forgets what recvmmsg(2) keeps for its next call: why it could not go on, which need not be so any
    /// more. From any context.
    pub(crate) fn forget_error(&self) {
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_forget_error(self.as_ptr()) };
    }

    /// Runs `f` so that what it allocates with [`accounted`] flags is charged to the control group of this
    /// socket, whoever the current task is; it gets `flags`, made such if there is a group to charge. From
    /// any context.
    ///
    /// [`accounted`]: crate::mem::accounted
    pub(crate) fn charged<T>(&self, flags: Flags, f: impl FnOnce(Flags) -> T) -> T {
        let mut old = core::ptr::null_mut();
        // SAFETY: By the type invariant the sock is live, and so is the group that it holds; `old` is valid
        // for writes.
        if !unsafe { bindings::sp_helper_charge_begin(self.as_ptr(), &mut old) } {
            return f(flags);
        }
        let result = f(accounted(flags));
        // SAFETY: What was there before is put back, in the same context.
        unsafe { bindings::sp_helper_charge_end(old) };
        result
    }

    /// Charges so many bytes of pages that TCP may have as well to the control group of this socket. `None` if
    /// that is full. From any context.
    pub(crate) fn charge(&self, bytes: u32) -> Option<Charge> {
        // SAFETY: By the type invariant the sock is live.
        let charged = unsafe { bindings::sp_helper_charge(self.as_ptr(), bytes) };
        // SAFETY: By the type invariant the sock is live.
        let sk = unsafe { SkRef::new(self.as_ptr()) }.filter(|_| charged)?;
        // INVARIANT: They were just charged.
        Some(Charge { sk, bytes })
    }

    /// The inode number of its descriptors, 0 once it is closed.
    pub(crate) fn inode(&self) -> u64 {
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_sock_inode(self.as_ptr()) }
    }

    /// As [`Self::charge`], if that is the control group of the calling task as well.
    pub(crate) fn charge_own(&self, bytes: u32) -> Option<Charge> {
        // SAFETY: By the type invariant the sock is live.
        let own = unsafe { bindings::sp_helper_charges_current(self.as_ptr()) };
        own.then(|| self.charge(bytes)).flatten()
    }

    /// Tries to make room for what could not be allocated or charged. May sleep.
    pub(crate) fn reclaim(&self) {
        // SAFETY: The caller may sleep.
        self.charged(GFP_KERNEL, |_| unsafe { bindings::sp_helper_reclaim() });
    }

    /// The buffer sizes that the program has asked for, send and receive, 0 where it has not.
    pub(super) fn fixed_buffers(&self) -> (i32, i32) {
        let (mut sndbuf, mut rcvbuf) = (0, 0);
        // SAFETY: By the type invariant the sock is live; both places are valid for writes.
        unsafe { bindings::sp_helper_fixed_buffers(self.as_ptr(), &mut sndbuf, &mut rcvbuf) };
        (sndbuf, rcvbuf)
    }

    /// SO_LINGER: how many jiffies close() may wait, `None` if it is off, or if it has a time and the
    /// task is exiting.
    pub(crate) fn linger(&self) -> Option<isize> {
        let mut time = 0;
        // SAFETY: By the type invariant the sock is live; `time` is valid for writes.
        let on = unsafe { bindings::sp_helper_linger(self.as_ptr(), &mut time) };
        on.then(|| isize::try_from(time).unwrap_or(isize::MAX))
    }

    /// Wakes sleepers and pollers, all of them or, of the exclusive ones, the first so many. From any context.
    pub(crate) fn wake(&self, whom: Waiters, exclusive: Option<u16>) {
        let (how, band) = match whom {
            Waiters::Readers => (bindings::SOCK_WAKE_WAITD, bindings::POLL_IN),
            Waiters::Writers => (bindings::SOCK_WAKE_SPACE, bindings::POLL_OUT),
        };
        // CAST: Both are small enumerators.
        // SAFETY: By the type invariant the sock is live; the helper copes with one whose `struct
        // socket` is gone.
        unsafe {
            bindings::sp_helper_wake(
                self.as_ptr(),
                whom.key(),
                exclusive.unwrap_or(0).into(),
                how as i32,
                band as i32,
            )
        };
    }

    /// Wakes everybody, whatever they wait for: a state has changed. From any context.
    pub(crate) fn wake_everybody(&self) {
        // SAFETY: By the type invariant the sock is live, and has the callback of `sock_init_data`.
        unsafe { bindings::sp_helper_state_change(self.as_ptr()) };
    }

    /// Asks for SIGIO, where the program wants it, when [`Self::wake`] is called for writers.
    pub(crate) fn want_space(&self) {
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_async_nospace(self.as_ptr()) };
    }

    /// The jiffies that a receive (or a send) may wait: SO_RCVTIMEO (SO_SNDTIMEO), 0 if it must not.
    pub(crate) fn timeout(&self, whom: Waiters, no_block: bool) -> isize {
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_timeo(self.as_ptr(), whom == Waiters::Readers, no_block) }
    }

    /// Sleeps until `ready` gives something, for at most `timeout` jiffies. Of the `exclusive` sleepers
    /// a wake-up that is not for all wakes one.
    ///
    /// `ready` runs in a task that is about to sleep: it may take spinlocks and must not sleep. It is
    /// asked once more after every wake-up, also one by a signal, so an exclusive wake-up is not lost.
    /// Must be called in a system call on this socket, or in its release.
    ///
    /// # Errors
    ///
    /// `EAGAIN` when the time is over; `EINTR` or `ERESTARTSYS` on a signal, as the kernel's own
    /// sockets choose between them.
    pub(crate) fn wait<T>(
        &self,
        whom: Waiters,
        exclusive: bool,
        mut timeout: isize,
        mut ready: impl FnMut() -> Poll<T>,
    ) -> Result<T> {
        let mut waiter = MaybeUninit::<bindings::sp_waiter>::uninit();
        let waiter = waiter.as_mut_ptr();
        // SAFETY: `waiter` is valid for writes.
        unsafe { bindings::sp_helper_waiter_init(waiter, whom.key()) };
        let result = loop {
            // SAFETY: `waiter` is initialised, does not move, and is unlinked below before it dies. The
            // caller is in a call on the socket, so its wait queue is there.
            unsafe { bindings::sp_helper_waiter_prepare(self.as_ptr(), waiter, exclusive) };
            if let Poll::Ready(value) = ready() {
                break Ok(value);
            }
            if timeout == 0 {
                break Err(EAGAIN);
            }
            // SAFETY: No requirements.
            if unsafe { bindings::sp_helper_signal_pending() } {
                // SAFETY: No requirements.
                let errno = unsafe { bindings::sp_helper_intr_errno(timeout) };
                break Err(Error::from_errno(errno));
            }
            // SAFETY: The task may sleep: system call context, no spinlock is held.
            timeout = unsafe { bindings::schedule_timeout(timeout) };
        };
        // SAFETY: `waiter` is initialised, and the wait queue is there as it was when it was prepared.
        unsafe { bindings::sp_helper_waiter_finish(self.as_ptr(), waiter) };
        result
    }
}

impl Drop for SkRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours. Releasing it does not sleep.
        unsafe { bindings::sp_helper_sock_put(self.as_ptr()) };
    }
}

/// Some memory that a socket is charged for.
///
/// # Invariants
///
/// So many bytes were charged to `sk`.
pub(crate) struct Charge {
    sk: SkRef,
    bytes: u32,
}

impl Drop for Charge {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the sock is live, and so much was charged.
        unsafe { bindings::sp_helper_uncharge(self.sk.as_ptr(), self.bytes) };
    }
}
