// SPDX-License-Identifier: GPL-2.0

//! What works under the TCP lock: looking at a connection, reading and sending.

use super::segment::{
    self,
    Segment, //
};
use crate::net::bindings;
use crate::net::chunk::Piece;
use crate::net::sock::SkRef;
use crate::time::Millis;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::prelude::*;

/// How many pieces go to TCP in one call. They are listed on the stack, above all of TCP.
const SEGMENTS: usize = 8;

/// The TCP lock is held: by [`StreamGuard`], or by TCP itself around a callback.
///
/// # Invariants
///
/// `sk` is a live TCP sock whose lock the current context holds.
pub(crate) struct TcpLocked<'a> {
    sk: NonNull<bindings::sock>,
    _lock: PhantomData<&'a ()>,
}

impl TcpLocked<'_> {
    /// # Safety
    ///
    /// During the lifetime, `sk` is a live TCP sock whose lock the current context holds.
    pub(super) unsafe fn new(sk: NonNull<bindings::sock>) -> Self {
        // INVARIANT: By this function's requirements.
        TcpLocked {
            sk,
            _lock: PhantomData,
        }
    }

    fn state(&self) -> u32 {
        // SAFETY: By the type invariant the sock is live.
        u32::try_from(unsafe { bindings::sp_helper_tcp_state(self.sk.as_ptr()) }).unwrap_or(0)
    }

    /// Whether bytes can be sent: connected, and no FIN sent by us.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(
            self.state(),
            bindings::TCP_ESTABLISHED | bindings::TCP_CLOSE_WAIT
        )
    }

    /// Whether no more bytes will come than are queued now. Also true before a connection is made.
    pub(crate) fn at_end(&self) -> bool {
        // SAFETY: By the type invariant the sock is live.
        unsafe { bindings::sp_helper_tcp_at_end(self.sk.as_ptr()) }
    }

    /// Whether bytes, or our FIN, still wait for the peer to acknowledge them. Not once the connection has
    /// ended.
    pub(crate) fn unacknowledged(&self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_unacked(self.sk.as_ptr()) }
    }

    /// After a send that found no room: whether that was for want of memory, so that nobody is going to
    /// report room.
    pub(crate) fn starved(&self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_starved(self.sk.as_ptr()) }
    }

    /// Hands the received bytes to `consume`, segment by segment, until it leaves some unread or there
    /// are no more. Lets the peer send more for what was read. `payer` is charged for what is kept of them.
    pub(crate) fn read<F: FnMut(&mut Segment<'_>)>(&mut self, payer: &SkRef, consume: F) {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { segment::read(self.sk, payer, consume) };
    }

    /// After [`Self::read`], where more is waited for: tells the peer of room that it may not know of. True
    /// if that cannot be told in this callback, and is to be done once the lock was released.
    pub(crate) fn tell_window(&mut self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_tell_window(self.sk.as_ptr()) }
    }

    /// Whether the peer has sent urgent data. The byte is never handed out, nor is what follows it.
    pub(crate) fn has_urgent(&self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_urgent(self.sk.as_ptr()) }
    }

    /// Whether TCP is short of memory, so that what a peer sends may be dropped.
    pub(crate) fn is_short(&self) -> bool {
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_short(self.sk.as_ptr()) }
    }

    /// How long a round trip takes.
    pub(crate) fn round_trip(&self) -> Millis {
        // SAFETY: By the type invariant the sock is live and locked.
        Millis(unsafe { bindings::sp_helper_tcp_srtt_ms(self.sk.as_ptr()) }.into())
    }

    /// Puts `pieces` into TCP's queue and returns how many bytes it took: fewer than there are when it
    /// is full. `more` promises more to come at once, so that a small rest can wait for it. Task
    /// context; does not wait for room.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there was no room at all; else the connection has ended.
    pub(crate) fn send<'a>(
        &mut self,
        pieces: impl Iterator<Item = Piece<'a>>,
        more: bool,
    ) -> Result<usize> {
        let mut pieces = pieces.peekable();
        let mut sent: usize = 0;
        while let Some(first) = pieces.peek() {
            let paged = first.is_paged();
            let mut vec = [const {
                bindings::kvec {
                    iov_base: core::ptr::null_mut(),
                    iov_len: 0,
                }
            }; SEGMENTS];
            let (mut segments, mut bytes) = (0_usize, 0_usize);
            for slot in &mut vec {
                let Some(piece) = pieces.next_if(|piece| piece.is_paged() == paged) else {
                    break;
                };
                slot.iov_base = piece.as_ptr().cast();
                slot.iov_len = piece.len();
                segments = segments.saturating_add(1);
                bytes = bytes.saturating_add(slot.iov_len);
            }
            let mut flags = 0;
            if more || pieces.peek().is_some() {
                flags |= bindings::MSG_MORE;
            }
            if paged {
                flags |= bindings::MSG_SPLICE_PAGES;
            }
            // SAFETY: By the type invariant the sock is live and locked, in task context; the first
            // `segments` slots describe slices that live during the call, which only reads them. Where it
            // takes their pages, `Piece` tells that it can.
            let n = unsafe {
                bindings::sp_helper_tcp_send(
                    self.sk.as_ptr(),
                    vec.as_mut_ptr(),
                    segments,
                    bytes,
                    flags,
                )
            };
            match usize::try_from(n) {
                Ok(n) => sent = sent.saturating_add(n),
                // The bytes that did go out count; the next call meets the error again.
                Err(_) if sent > 0 => return Ok(sent),
                Err(_) => return Err(Error::from_errno(n)),
            }
            if usize::try_from(n) != Ok(bytes) {
                break;
            }
        }
        Ok(sent)
    }
}

/// The TCP lock, taken by us.
pub(crate) struct StreamGuard<'a>(TcpLocked<'a>);

impl StreamGuard<'_> {
    /// Waits for the lock of `sk`. May sleep.
    ///
    /// # Safety
    ///
    /// `sk` is a TCP sock that is live during the lifetime.
    pub(super) unsafe fn new(sk: NonNull<bindings::sock>) -> Self {
        // SAFETY: By this function's requirements the sock is live. Callers may sleep.
        unsafe { bindings::sp_helper_lock_sock(sk.as_ptr()) };
        // SAFETY: It was just locked, and dropping the guard unlocks it.
        StreamGuard(unsafe { TcpLocked::new(sk) })
    }
}

impl<'a> core::ops::Deref for StreamGuard<'a> {
    type Target = TcpLocked<'a>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl core::ops::DerefMut for StreamGuard<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for StreamGuard<'_> {
    fn drop(&mut self) {
        // SAFETY: `new` took it, and by the type invariant of `TcpLocked` the sock is live.
        // Packets that had to wait are handled in here, callbacks included.
        unsafe { bindings::sp_helper_release_sock(self.0.sk.as_ptr()) };
    }
}
