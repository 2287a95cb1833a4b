// SPDX-License-Identifier: GPL-2.0

//! The messages of sendmsg(2) and recvmsg(2).

use crate::bytes::{
    AppendError,
    Room,
    Source, //
};
use crate::net::bindings;
use crate::net::chunk::Piece;
use crate::net::stream::SockAddr;
use core::mem::MaybeUninit;
use kernel::iov::{
    IovIterDest,
    IovIterSource, //
};
use kernel::prelude::*;

/// Whether flags to send with say that others follow: the kernel does, of those of one sendmmsg(2), or the program.
#[inline]
pub(crate) fn says_more(flags: u32) -> bool {
    flags & (bindings::MSG_BATCH | bindings::MSG_MORE) != 0
}

/// One sendmsg.
///
/// # Invariants
///
/// `msg` has a valid iterator, over the bytes to send, of which there were `len` at first.
pub(crate) struct SendCall<'a> {
    msg: &'a mut bindings::msghdr,
    len: usize,
}

impl<'a> SendCall<'a> {
    /// # Safety
    ///
    /// The iterator of `msg` is valid, over `len` bytes to send.
    pub(super) unsafe fn new(msg: &'a mut bindings::msghdr, len: usize) -> Self {
        // INVARIANT: By this function's requirements.
        SendCall { msg, len }
    }

    pub(crate) fn flags(&self) -> u32 {
        self.msg.msg_flags
    }

    /// Whether the caller names a destination.
    pub(crate) fn has_address(&self) -> bool {
        self.msg.msg_namelen > 0
    }

    /// The length of the message, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reads the next bytes of the message, as many as there is room for.
    ///
    /// # Errors
    ///
    /// [`AppendError::Fault`] if they cannot be read.
    pub(crate) fn read<'b>(
        &'b mut self,
        to: &'b mut [MaybeUninit<u8>],
    ) -> Result<&'b [u8], AppendError> {
        // SAFETY: By the type invariant the iterator is valid, and for sending. Who has what is returned has
        // borrowed the call, so nothing else is done with the iterator.
        let iter = unsafe { IovIterSource::from_raw(&mut self.msg.msg_iter) };
        let len = to.len();
        let read = iter.copy_from_iter_raw(to);
        if read.len() < len {
            return Err(AppendError::Fault);
        }
        Ok(read)
    }

    /// As a source that may be read where nobody may sleep.
    pub(crate) fn now(&mut self) -> Now<'_, 'a> {
        Now {
            call: self,
            absent: false,
        }
    }

    /// Takes back what was read.
    pub(crate) fn rewind(&mut self) {
        // SAFETY: By the type invariant the iterator is valid, and for sending.
        let iter = unsafe { IovIterSource::from_raw(&mut self.msg.msg_iter) };
        let read = self.len.saturating_sub(iter.len());
        // SAFETY: By the type invariant it had `len` bytes, so what is missing was read from it.
        unsafe { iter.revert(read) };
    }
}

/// The message of a [`SendCall`] as far as it can be read without sleeping; what cannot may be there all the same.
///
/// After a fault the call is as it was before.
pub(crate) struct Now<'a, 'b> {
    call: &'a mut SendCall<'b>,
    absent: bool,
}

impl Now<'_, '_> {
    /// Whether it had to be waited for.
    pub(crate) fn is_absent(&self) -> bool {
        self.absent
    }
}

impl Source for Now<'_, '_> {
    fn append(&mut self, to: &mut impl Room, n: usize) -> Result<(), AppendError> {
        to.fill(n, |room| {
            let start = room.as_mut_ptr();
            let len = room.len();
            // SAFETY: By the type invariant the iterator is valid, and for sending; there is room for so many.
            let read = unsafe {
                bindings::sp_helper_copy_now(start.cast(), len, &mut self.call.msg.msg_iter)
            };
            if read < len {
                // SAFETY: So many were just read from it.
                unsafe { IovIterSource::from_raw(&mut self.call.msg.msg_iter).revert(read) };
                self.absent = true;
                return Err(AppendError::Fault);
            }
            // SAFETY: All of them were just read.
            Ok(unsafe { core::slice::from_raw_parts(start.cast(), len) })
        })
    }

    fn read_exact(&mut self, _to: &mut [u8]) -> Result<(), AppendError> {
        Err(AppendError::Fault)
    }
}

impl Source for SendCall<'_> {
    fn append(&mut self, to: &mut impl Room, n: usize) -> Result<(), AppendError> {
        to.fill(n, |room| {
            if self.read(room)?.len() < room.len() {
                return Err(AppendError::Fault);
            }
            // SAFETY: All of them were just read.
            Ok(unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), room.len()) })
        })
    }

    fn read_exact(&mut self, to: &mut [u8]) -> Result<(), AppendError> {
        // SAFETY: By the type invariant the iterator is valid, and for sending.
        let iter = unsafe { IovIterSource::from_raw(&mut self.msg.msg_iter) };
        if iter.copy_from_iter(to) < to.len() {
            return Err(AppendError::Fault);
        }
        Ok(())
    }
}

/// One recvmsg.
///
/// # Invariants
///
/// `msg` has a valid iterator, for what is received, and a name that is null or has room for a
/// `sockaddr_storage`.
pub(crate) struct RecvCall<'a> {
    msg: &'a mut bindings::msghdr,
    flags: u32,
}

impl<'a> RecvCall<'a> {
    /// # Safety
    ///
    /// The iterator of `msg` is valid and for receiving; its name is null, or has room for a
    /// `sockaddr_storage`.
    pub(super) unsafe fn new(msg: &'a mut bindings::msghdr, flags: u32) -> Self {
        // INVARIANT: By this function's requirements.
        RecvCall { msg, flags }
    }

    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    /// How many bytes the caller has room for.
    pub(crate) fn room(&mut self) -> usize {
        // SAFETY: By the type invariant the iterator is valid, and for receiving.
        unsafe { IovIterDest::from_raw(&mut self.msg.msg_iter) }.len()
    }

    /// Copies a piece of a message behind what was copied before.
    ///
    /// # Errors
    ///
    /// `EFAULT` if that cannot be written.
    pub(crate) fn copy(&mut self, piece: Piece<'_>) -> Result {
        let iter = &mut self.msg.msg_iter;
        // SAFETY: By the type invariants the iterator is valid, and for receiving, and the bytes can be read,
        // which C does as those of packets are read.
        let copied = unsafe { bindings::_copy_to_iter(piece.as_ptr().cast(), piece.len(), iter) };
        if copied < piece.len() {
            return Err(EFAULT);
        }
        Ok(())
    }

    /// Gives the caller a whole message, if there is room for it that need not be waited for. False if not: then nothing
    /// has happened.
    #[inline]
    pub(crate) fn give_now(&mut self, body: &[u8], from: impl FnOnce() -> SockAddr) -> bool {
        if body.len() > self.room() {
            return false;
        }
        let iter = &mut self.msg.msg_iter;
        // SAFETY: By the type invariant the iterator is valid, and for receiving; it has as much room.
        if !unsafe { bindings::sp_helper_give_now(body.as_ptr().cast(), body.len(), iter) } {
            return false;
        }
        self.finish(false, from);
        true
    }

    /// Ends the message: it was `truncated` or not, and came from `from`.
    pub(crate) fn finish(&mut self, truncated: bool, from: impl FnOnce() -> SockAddr) {
        self.msg.msg_flags |= bindings::MSG_EOR;
        if truncated {
            self.msg.msg_flags |= bindings::MSG_TRUNC;
        }
        if !self.msg.msg_name.is_null() {
            let (bytes, len) = from();
            let len = len.min(bytes.len());
            // SAFETY: By the type invariant there is room for a `sockaddr_storage`; `len` is no more.
            unsafe {
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.msg.msg_name.cast(), len)
            };
            self.msg.msg_namelen = i32::try_from(len).unwrap_or(0);
        }
    }
}
