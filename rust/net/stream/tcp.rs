// SPDX-License-Identifier: GPL-2.0

//! The owners of TCP sockets.

use super::address::SockAddr;
use super::reference::Stream;
use super::within::WithinTcp;
use crate::errno::EINPROGRESS;
use crate::mem::{
    Flags,
    GFP_KERNEL_ACCOUNT, //
};
use crate::net::bindings;
use crate::net::sock::SkRef;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::prelude::*;
use kernel::sync::Arc;

/// Owns a TCP `struct socket`. Dropping it closes the connection, which may sleep.
///
/// # Invariants
///
/// `socket` is live and ours; `stream` is its sock.
pub(crate) struct TcpSocket {
    socket: NonNull<bindings::socket>,
    stream: Arc<Stream>,
}

// SAFETY: A socket may be used and released by any thread.
unsafe impl Send for TcpSocket {}
// SAFETY: The socket layer locks for itself.
unsafe impl Sync for TcpSocket {}

impl TcpSocket {
    /// Takes over `socket`; `saved` are its own callbacks, if it is not certain that they are installed.
    ///
    /// # Safety
    ///
    /// `socket` is a live TCP socket that belongs to the caller.
    pub(super) unsafe fn new(
        socket: NonNull<bindings::socket>,
        saved: Option<bindings::sp_callbacks>,
        flags: Flags,
    ) -> Result<Self> {
        // SAFETY: The socket is live and has its sock.
        let sk = unsafe { (*socket.as_ptr()).sk }.cast::<bindings::sock>();
        let saved = saved.unwrap_or_else(|| {
            let mut saved = bindings::sp_callbacks::default();
            // SAFETY: The sock is live, nobody changes its callbacks yet, `saved` is valid for writes.
            unsafe { bindings::sp_helper_callbacks(sk, &mut saved) };
            saved
        });
        let stream = NonNull::new(sk).ok_or(EINVAL).and_then(|sk| {
            // SAFETY: The sock is live, and these are its own callbacks.
            let stream = unsafe { Stream::new(sk, saved) };
            Ok(Arc::new(stream, flags)?)
        });
        match stream {
            // INVARIANT: By this function's requirements.
            Ok(stream) => Ok(TcpSocket { socket, stream }),
            Err(e) => {
                // SAFETY: The socket is ours, and is not used again.
                unsafe { bindings::sock_release(socket.as_ptr()) };
                Err(e)
            }
        }
    }

    /// Makes a socket in the namespace of `sk` with the credentials, the cgroup and the security label
    /// of the calling task, who is therefore asked for permission as for any TCP socket of its own.
    ///
    /// # Errors
    ///
    /// The errors of socket(2).
    pub(crate) fn create(sk: &SkRef, v6: bool) -> Result<Self> {
        let family = if v6 {
            bindings::AF_INET6
        } else {
            bindings::AF_INET
        };
        let mut socket = core::ptr::null_mut();
        // CAST: All three are small constants.
        // SAFETY: The namespace lives as long as `sk`; `socket` is valid for writes. Not a kernel
        // socket, so it holds its namespace as a user's socket does.
        to_result(unsafe {
            bindings::__sock_create(
                sk.net(),
                family as c_int,
                bindings::sock_type_SOCK_STREAM as c_int,
                bindings::IPPROTO_TCP as c_int,
                &mut socket,
                0,
            )
        })?;
        let socket = NonNull::new(socket).ok_or(EINVAL)?;
        // SAFETY: It was just made for us.
        let tcp = unsafe { TcpSocket::new(socket, None, GFP_KERNEL_ACCOUNT) }?;
        // No Nagle, keepalive, and ports that are free again at once.
        // SAFETY: The sock is live, and nobody else knows it yet.
        unsafe { bindings::sp_helper_tcp_defaults(tcp.stream.as_ptr()) };
        tcp.stream.set_buffers(sk);
        Ok(tcp)
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::socket {
        self.socket.as_ptr()
    }

    pub(crate) fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Starts connecting; what comes of it is reported to whom the stream is attached to, maybe before this
    /// returns.
    ///
    /// # Errors
    ///
    /// What is known at once: no route, for example.
    pub(crate) fn connect(&self, name: &SockAddr) -> Result {
        let mut name = *name;
        let _within_tcp = WithinTcp::enter();
        // CAST: A length of at most 28; O_NONBLOCK is a small constant.
        // SAFETY: By the type invariant the socket is live; `name` outlives the call.
        let err = unsafe {
            bindings::kernel_connect(
                self.socket.as_ptr(),
                name.0.as_mut_ptr().cast(),
                name.1 as c_int,
                bindings::O_NONBLOCK as c_int,
            )
        };
        match to_result(err) {
            Err(e) if e == EINPROGRESS => Ok(()),
            result => result,
        }
    }

    /// Drops the connection, so that [`Self::connect`] can make a new one on the same socket: with the
    /// cgroup, the label and the owner that it was created with.
    pub(crate) fn disconnect(&self) {
        let mut unspec = [0_u8; 16];
        let _within_tcp = WithinTcp::enter();
        // CAST: 16.
        // SAFETY: By the type invariant the socket is live; `unspec` outlives the call. Its zeroes are
        // AF_UNSPEC.
        unsafe {
            bindings::kernel_connect(
                self.socket.as_ptr(),
                unspec.as_mut_ptr().cast(),
                unspec.len() as c_int,
                0,
            )
        };
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_forget_error(self.stream.as_ptr()) };
    }

    /// Sends a FIN after what is queued; what the peer sends can still be read.
    pub(crate) fn send_fin(&self) {
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the socket is live. A failure means that there is no connection.
        let _ = unsafe {
            bindings::kernel_sock_shutdown(
                self.socket.as_ptr(),
                bindings::sock_shutdown_cmd_SHUT_WR,
            )
        };
    }

    /// Closes the connection in order, in both directions, and keeps the socket.
    pub(crate) fn close(&self) {
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the socket is live. A failure means that there is no connection.
        let _ = unsafe {
            bindings::kernel_sock_shutdown(
                self.socket.as_ptr(),
                bindings::sock_shutdown_cmd_SHUT_RDWR,
            )
        };
    }

    /// Makes closing drop what is queued and reset the connection.
    pub(crate) fn abort_on_close(&self) {
        // SAFETY: By the type invariant the sock is live, and it is not locked by us.
        unsafe { bindings::sp_helper_tcp_abort_on_close(self.stream.as_ptr()) };
    }

    /// The address of the other end, `None` if there is none (any more).
    pub(crate) fn peer(&self) -> Option<SockAddr> {
        let mut storage = MaybeUninit::<bindings::__kernel_sockaddr_storage>::zeroed();
        // SAFETY: By the type invariant the socket is live; the storage is as large as any address.
        let len = unsafe {
            bindings::kernel_getpeername(self.socket.as_ptr(), storage.as_mut_ptr().cast())
        };
        let len = usize::try_from(len).ok()?.min(28);
        let mut bytes = [0_u8; 28];
        // SAFETY: The storage is 128 bytes, zeroed above, of which 28 are copied.
        unsafe {
            core::ptr::copy_nonoverlapping(storage.as_ptr().cast::<u8>(), bytes.as_mut_ptr(), 28)
        };
        Some((bytes, len))
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        let _within_tcp = WithinTcp::enter();
        // SAFETY: By the type invariant the socket is ours, and it is not used again.
        unsafe { bindings::sock_release(self.socket.as_ptr()) };
    }
}
