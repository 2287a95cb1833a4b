// SPDX-License-Identifier: GPL-2.0

//! References to TCP's socks.

use super::address::SockAddr;
use super::locked::StreamGuard;
use super::within::WithinTcp;
use crate::net::bindings;
use crate::net::setting::Setting;
use crate::net::sock::SkRef;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// A reference to a TCP `struct sock`.
///
/// # Invariants
///
/// Owns one count of `sk`, which is a TCP sock. `saved` are the callbacks that it was made with.
pub(crate) struct Stream {
    sk: NonNull<bindings::sock>,
    saved: bindings::sp_callbacks,
}

// SAFETY: A sock is shared by design; `saved` is constant.
unsafe impl Send for Stream {}
// SAFETY: What is shared of the sock is locked or read whole in C; `saved` is constant.
unsafe impl Sync for Stream {}

impl Stream {
    /// # Safety
    ///
    /// `sk` is a live TCP sock, whose own callbacks are `saved`.
    pub(super) unsafe fn new(sk: NonNull<bindings::sock>, saved: bindings::sp_callbacks) -> Self {
        // SAFETY: By this function's requirements the sock is live.
        unsafe { bindings::sp_helper_sock_hold(sk.as_ptr()) };
        // INVARIANT: The count was just taken.
        Stream { sk, saved }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::sock {
        self.sk.as_ptr()
    }

    /// The callbacks that TCP has installed.
    pub(super) fn saved(&self) -> &bindings::sp_callbacks {
        &self.saved
    }

    /// Waits for the TCP lock. May sleep.
    pub(crate) fn lock(&self) -> StreamGuard<'_> {
        // SAFETY: By the type invariant the sock is live while `self` is borrowed.
        unsafe { StreamGuard::new(self.sk) }
    }

    /// Takes over SO_SNDBUF and SO_RCVBUF where the program has set them; else TCP tunes itself. May
    /// sleep.
    pub(crate) fn set_buffers(&self, sk: &SkRef) {
        let (sndbuf, rcvbuf) = sk.fixed_buffers();
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the sock is live, and it is not locked by us.
        unsafe { bindings::sp_helper_tcp_buffers(self.sk.as_ptr(), sndbuf, rcvbuf) };
    }

    /// Sets an option of this connection, whatever state it is in. May sleep. The caller keeps the
    /// [`TcpSocket`] from being dropped meanwhile.
    ///
    /// # Errors
    ///
    /// The errors of setsockopt(2) on a TCP socket.
    pub(crate) fn set_option(&self, setting: &Setting) -> Result {
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the sock is live. It is not locked by us, and the caller keeps it
        // from being closed.
        unsafe { setting.apply(self.sk.as_ptr()) }
    }

    /// Gives `sk` the SO_PRIORITY of this connection.
    pub(crate) fn copy_priority_to(&self, sk: &SkRef) {
        // SAFETY: By the type invariants both socks are live.
        unsafe { bindings::sp_helper_copy_priority(sk.as_ptr(), self.sk.as_ptr()) };
    }

    /// getsockopt(2) on this connection, for a caller in user space.
    pub(in crate::net) fn option(
        &self,
        level: c_int,
        name: c_int,
        value: *mut kernel::ffi::c_char,
        len: *mut c_int,
    ) -> c_int {
        // SAFETY: By the type invariant the sock is live. What the user's pointers point at is checked
        // where it is accessed.
        unsafe { bindings::sp_helper_tcp_getsockopt(self.sk.as_ptr(), level, name, value, len) }
    }

    /// Our own address, zeroes where there is none yet. Without the TCP lock: whoever asks while the
    /// connection is being made may get the one or the other.
    pub(crate) fn local(&self) -> SockAddr {
        let mut name = MaybeUninit::<bindings::sockaddr_in6>::zeroed();
        // SAFETY: By the type invariant the sock is live; `name` is valid for writes.
        let len = unsafe { bindings::sp_helper_tcp_local(self.sk.as_ptr(), name.as_mut_ptr()) };
        let mut bytes = [0_u8; 28];
        // SAFETY: `name` is 28 bytes, zeroed above.
        unsafe {
            core::ptr::copy_nonoverlapping(name.as_ptr().cast::<u8>(), bytes.as_mut_ptr(), 28)
        };
        (bytes, usize::try_from(len).unwrap_or(0))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours. Releasing it does not sleep.
        unsafe { bindings::sp_helper_sock_put(self.sk.as_ptr()) };
    }
}
