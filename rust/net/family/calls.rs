// SPDX-License-Identifier: GPL-2.0

//! The messages of sendmsg(2) and recvmsg(2).

use crate::net::bindings;
use crate::net::stream::SockAddr;
use kernel::iov::{
    IovIterDest,
    IovIterSource, //
};
use kernel::prelude::*;

pub(crate) use bindings::{
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL, //
};

/// One sendmsg.
pub(crate) struct SendCall<'a> {
    pub(super) msg: &'a mut kernel::bindings::msghdr,
    pub(super) len: usize,
}

impl SendCall<'_> {
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

    /// Appends the next `n` bytes of the message to `to`, within its capacity.
    ///
    /// # Errors
    ///
    /// `EFAULT` if they cannot be read.
    pub(crate) fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result {
        // SAFETY: The iterator is the caller's and outlives this call.
        let iter = unsafe { IovIterSource::from_raw(&mut self.msg.msg_iter) };
        let room = to.spare_capacity_mut().get_mut(..n).ok_or(EINVAL)?;
        if iter.copy_from_iter_raw(room).len() < n {
            return Err(EFAULT);
        }
        // SAFETY: `n` bytes of the spare capacity were just written.
        unsafe { to.inc_len(n) };
        Ok(())
    }
}

/// One recvmsg.
pub(crate) struct RecvCall<'a> {
    pub(super) msg: &'a mut kernel::bindings::msghdr,
    pub(super) flags: u32,
}

impl RecvCall<'_> {
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    /// How many bytes the caller has room for.
    pub(crate) fn room(&mut self) -> usize {
        // SAFETY: The iterator is the caller's and outlives this call.
        unsafe { IovIterDest::from_raw(&mut self.msg.msg_iter) }.len()
    }

    /// Copies `bytes` behind what was copied before.
    ///
    /// # Errors
    ///
    /// `EFAULT` if they cannot be written.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> Result {
        // SAFETY: The iterator is the caller's and outlives this call.
        let iter = unsafe { IovIterDest::from_raw(&mut self.msg.msg_iter) };
        if iter.copy_to_iter(bytes) < bytes.len() {
            return Err(EFAULT);
        }
        Ok(())
    }

    /// Ends the message: it was `truncated` or not, and came from `from`.
    pub(crate) fn finish(&mut self, truncated: bool, from: Option<SockAddr>) {
        self.msg.msg_flags |= bindings::MSG_EOR;
        if truncated {
            self.msg.msg_flags |= bindings::MSG_TRUNC;
        }
        if let (Some((bytes, len)), false) = (from, self.msg.msg_name.is_null()) {
            let len = len.min(bytes.len());
            // SAFETY: The socket layer passes room for a `sockaddr_storage`, or null.
            unsafe {
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.msg.msg_name.cast(), len)
            };
            self.msg.msg_namelen = i32::try_from(len).unwrap_or(0);
        }
    }
}
