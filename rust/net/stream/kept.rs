// SPDX-License-Identifier: GPL-2.0

//! Received bytes that stay in the pages that they have arrived in until somebody reads them.
//!
//! The packet itself is TCP's, and goes: it may have other bytes, and pins more.

use crate::net::bindings;
use crate::net::chunk::Piece;
use crate::net::sock::Charge;
use core::ptr::NonNull;

/// Some bytes in one piece. They are only copied from there: see [`Piece::bytes`].
///
/// # Invariants
///
/// `len` bytes from `start` on are in pages of which a count is ours.
pub(crate) struct Kept {
    start: NonNull<u8>,
    len: usize,
    /// What it pins is charged to whoever keeps it, if nothing else does pin it.
    _charge: Option<Charge>,
}

// SAFETY: It owns its count, and pages may be released by any thread.
unsafe impl Send for Kept {}
// SAFETY: What can be done with a shared one is to read.
unsafe impl Sync for Kept {}

impl Kept {
    /// Keeps `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// They are in pages that somebody has a count of, and nobody writes there but who may as well while a packet has
    /// them.
    pub(super) unsafe fn new(start: NonNull<u8>, len: usize, charge: Option<Charge>) -> Self {
        // SAFETY: By this function's requirements.
        unsafe { bindings::sp_helper_pages_get(start.as_ptr().cast()) };
        // INVARIANT: By this function's requirements, and one count of them is ours now.
        Kept {
            start,
            len,
            _charge: charge,
        }
    }

    /// A copy in pages that never were in a packet, for the suites. `None` if there is no memory.
    #[cfg(SP_KUNIT)]
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        // SAFETY: There are as many bytes.
        let start = unsafe { bindings::sp_helper_pages_of(bytes.as_ptr().cast(), bytes.len()) };
        // INVARIANT: They were just made of them, for us.
        Some(Kept {
            start: NonNull::new(start)?.cast(),
            len: bytes.len(),
            _charge: None,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Those from byte `offset` on.
    pub(crate) fn piece(&self, offset: usize) -> Piece<'_> {
        // SAFETY: By the type invariant they can be read for as long as we have the count.
        unsafe { Piece::foreign(self.start, self.len) }.behind(offset)
    }

    /// Whether it pins what a byte is in that is in pages.
    pub(super) fn pins(&self, start: NonNull<u8>) -> bool {
        let (ours, other) = (self.start.as_ptr().cast(), start.as_ptr().cast());
        // SAFETY: By the type invariant, and what the caller says, both are in pages.
        unsafe { bindings::sp_helper_pages_same(ours, other) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours.
        unsafe { bindings::sp_helper_pages_put(self.start.as_ptr().cast()) };
    }
}
