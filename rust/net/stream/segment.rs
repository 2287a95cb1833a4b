// SPDX-License-Identifier: GPL-2.0

//! Reading what TCP has received, segment by segment.

use crate::bytes::{
    AppendError,
    Input,
    Source, //
};
use crate::net::bindings;
use core::marker::PhantomData;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::{
    c_int,
    c_uint, //
};
use kernel::prelude::*;

/// Received bytes that still belong to TCP.
///
/// # Invariants
///
/// `skb` holds the bytes from `start` to `offset`, and at least `len` bytes from there on. `sk` is a live TCP sock whose lock is held.
pub(crate) struct Segment<'a> {
    sk: NonNull<bindings::sock>,
    skb: NonNull<bindings::sk_buff>,
    start: c_uint,
    offset: c_uint,
    len: usize,
    /// How many bytes TCP has behind these.
    behind: usize,
    _tcp: PhantomData<&'a ()>,
}

impl Segment<'_> {
    /// Moves the first bytes to `to`, which has room for `n`.
    fn copy(&mut self, to: *mut u8, n: usize) -> Result {
        let n = n.min(self.len);
        let (Ok(count), Ok(offset)) = (c_int::try_from(n), c_int::try_from(self.offset)) else {
            return Err(EINVAL);
        };
        // SAFETY: By the type invariant the skb holds these bytes; `to` has room, says the caller.
        to_result(unsafe { bindings::skb_copy_bits(self.skb.as_ptr(), offset, to.cast(), count) })?;
        // INVARIANT: What was taken is no longer counted. `count` is not negative.
        self.offset = self.offset.wrapping_add(count.unsigned_abs());
        self.len = self.len.wrapping_sub(n);
        Ok(())
    }
}

impl Source for Segment<'_> {
    fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
        let spare = to.spare_capacity_mut();
        if n > spare.len() || n > self.len {
            return Err(AppendError::Fault);
        }
        let place = spare.as_mut_ptr().cast();
        self.copy(place, n).map_err(|_| AppendError::Fault)?;
        // SAFETY: `n` bytes of the spare capacity were just written.
        unsafe { to.inc_len(n) };
        Ok(())
    }

    fn read_exact(&mut self, to: &mut [u8]) -> Result<(), AppendError> {
        match self.read(to) {
            n if n == to.len() => Ok(()),
            _ => Err(AppendError::Fault),
        }
    }
}

impl Input for Segment<'_> {
    fn remaining(&self) -> usize {
        self.len
    }

    fn available(&self) -> usize {
        self.len.saturating_add(self.behind)
    }

    fn cramped(&self, missing: usize) -> bool {
        let missing = c_uint::try_from(missing).unwrap_or(c_uint::MAX);
        // SAFETY: By the type invariant the sock is live and locked.
        unsafe { bindings::sp_helper_tcp_cramped(self.sk.as_ptr(), missing) }
    }

    fn read(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.len);
        match self.copy(to.as_mut_ptr(), n) {
            Ok(()) => n,
            Err(_) => 0,
        }
    }

    fn skip(&mut self, n: usize) -> usize {
        let n = n.min(self.len);
        // INVARIANT: What was dropped is no longer counted.
        self.offset = self.offset.wrapping_add(c_uint::try_from(n).unwrap_or(0));
        self.len = self.len.wrapping_sub(n);
        n
    }

    fn put_back(&mut self, n: usize) {
        let taken = self.offset.wrapping_sub(self.start);
        let n = n.min(usize::try_from(taken).unwrap_or(0));
        // INVARIANT: They are bytes of the skb, right before the others.
        self.offset = self.offset.wrapping_sub(c_uint::try_from(n).unwrap_or(0));
        self.len = self.len.wrapping_add(n);
    }
}

/// Hands the received bytes of `sk` to `consume`, segment by segment, until it leaves some unread or there
/// are no more. Lets the peer send more for what was read.
///
/// # Safety
///
/// `sk` is a live TCP sock whose lock is held.
pub(super) unsafe fn read<F: FnMut(&mut Segment<'_>)>(sk: NonNull<bindings::sock>, consume: F) {
    // SAFETY: By this function's requirements the sock is live and locked.
    let unread = unsafe { bindings::sp_helper_tcp_unread(sk.as_ptr()) };
    // INVARIANT: By this function's requirements.
    let mut reader = Reader {
        sk,
        unread: usize::try_from(unread).unwrap_or(0),
        consume,
    };
    let mut desc = bindings::read_descriptor_t {
        count: 1,
        ..Default::default()
    };
    desc.arg.data = (&raw mut reader).cast();
    // SAFETY: By this function's requirements the sock is live and locked; `desc` and `reader` outlive the
    // call, and `actor::<F>` expects a `Reader<F>` in `desc`.
    unsafe { bindings::tcp_read_sock(sk.as_ptr(), &mut desc, Some(actor::<F>)) };
}

/// What [`read`] passes to [`actor`].
///
/// # Invariants
///
/// `sk` is a live TCP sock whose lock is held.
struct Reader<F> {
    sk: NonNull<bindings::sock>,
    /// What is left in TCP, in bytes.
    unread: usize,
    consume: F,
}

/// Called by `tcp_read_sock` for each segment; returns how many bytes were read.
///
/// # Safety
///
/// `desc` is that of [`read`] with an `F`.
unsafe extern "C" fn actor<F: FnMut(&mut Segment<'_>)>(
    desc: *mut bindings::read_descriptor_t,
    skb: *mut bindings::sk_buff,
    offset: c_uint,
    len: usize,
) -> c_int {
    let Some(skb) = NonNull::new(skb) else {
        return 0;
    };
    // SAFETY: `desc` is that of `read`, which has set this member of the union.
    let data = unsafe { (*desc).arg.data };
    // SAFETY: `read` put a `Reader<F>` there, which nobody else uses meanwhile.
    let reader = unsafe { &mut *data.cast::<Reader<F>>() };
    // INVARIANT: `tcp_read_sock` passes an offset and a length inside the skb. The sock is the reader's.
    let mut segment = Segment {
        sk: reader.sk,
        skb,
        start: offset,
        offset,
        len,
        behind: reader.unread.saturating_sub(len),
        _tcp: PhantomData,
    };
    (reader.consume)(&mut segment);
    let used = len.saturating_sub(segment.len);
    reader.unread = reader.unread.saturating_sub(used);
    c_int::try_from(used).unwrap_or(c_int::MAX)
}
