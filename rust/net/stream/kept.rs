// SPDX-License-Identifier: GPL-2.0

//! Received bytes that stay in their packet until somebody reads them.

use crate::net::bindings;
use crate::net::chunk::Piece;
use crate::net::sock::Charge;
use core::ptr::NonNull;
use kernel::ffi::c_uint;

/// Some bytes of a packet, in memory of TCP's. They are only copied from there: see [`Piece::bytes`].
///
/// # Invariants
///
/// `skb` is a reference of ours, and has `len` bytes from `from` on.
pub(crate) struct Kept {
    skb: NonNull<bindings::sk_buff>,
    from: c_uint,
    len: c_uint,
    /// What it pins is charged to whoever keeps it.
    _charge: Option<Charge>,
}

// SAFETY: It owns its reference, and a packet may be released by any thread.
unsafe impl Send for Kept {}
// SAFETY: What can be done with a shared one is to read.
unsafe impl Sync for Kept {}

impl Kept {
    /// Keeps `len` bytes of `skb` from `from` on. `None` if there is no memory.
    ///
    /// # Safety
    ///
    /// `skb` is live, and has these bytes.
    pub(super) unsafe fn new(
        skb: NonNull<bindings::sk_buff>,
        mut from: c_uint,
        len: c_uint,
        charge: Option<Charge>,
    ) -> Option<Self> {
        // SAFETY: By this function's requirements it is live, and has these bytes.
        let skb = unsafe { bindings::sp_helper_skb_keep(skb.as_ptr(), &mut from, len) };
        // INVARIANT: By this function's requirements; what is kept has the same bytes, `from` there on.
        Some(Kept {
            skb: NonNull::new(skb)?,
            from,
            len,
            _charge: charge,
        })
    }

    /// A copy in a packet that never was in a network, for the suites. `None` if there is no memory.
    #[cfg(SP_KUNIT)]
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let len = c_uint::try_from(bytes.len()).ok()?;
        // SAFETY: There are as many bytes.
        let skb = unsafe { bindings::sp_helper_skb_of(bytes.as_ptr().cast(), len) };
        // INVARIANT: It was just made of them.
        Some(Kept {
            skb: NonNull::new(skb)?,
            from: 0,
            len,
            _charge: None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        // CAST: A packet fits into memory.
        self.len as usize
    }

    /// Those from byte `offset` on that are contiguous; none if there are no more.
    pub(crate) fn piece(&self, offset: usize) -> Piece<'_> {
        let rest = self.len().saturating_sub(offset);
        let mut len = 0;
        let mut start = core::ptr::null();
        if rest > 0 {
            // CAST: It is less than `len`.
            let at = self.from.wrapping_add(offset as c_uint);
            // SAFETY: By the type invariant it is live; `len` is valid for writes.
            start = unsafe { bindings::sp_helper_skb_part(self.skb.as_ptr(), at, &mut len) };
        }
        match NonNull::new(start.cast_mut().cast()) {
            // CAST: A packet fits into memory.
            // SAFETY: The packet has so many bytes there, for as long as we refer to it.
            Some(start) => unsafe { Piece::foreign(start, rest.min(len as usize)) },
            None => Piece::of(&[]),
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::sp_helper_skb_drop(self.skb.as_ptr()) };
    }
}
