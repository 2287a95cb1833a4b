// SPDX-License-Identifier: GPL-2.0

//! Memory for the bodies of messages, in pieces that TCP can send where they are.
//!
//! What TCP is given by copying may be anywhere. What it is to send without, it keeps by counts of pages
//! until the peer has acknowledged it, and the large pieces that kmalloc serves have no counts.
//!
//! C headers: [`include/linux/gfp.h`](srctree/include/linux/gfp.h),
//! [`include/linux/slab.h`](srctree/include/linux/slab.h)

use super::bindings;
use crate::bytes::{
    AppendError,
    Room, //
};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use kernel::alloc::{
    AllocError,
    Flags, //
};

/// Above this, in bytes, kmalloc has whole pages for each piece as well.
const SLAB: usize = 8 << 10;

/// What a chunk of so many bytes takes in pages; 0 if it is to be in none.
pub(crate) fn pages_for(bytes: usize) -> usize {
    if bytes > SLAB {
        bytes.next_power_of_two()
    } else {
        0
    }
}

/// Flags as C has them.
fn raw(flags: Flags) -> bindings::gfp_t {
    const { assert!(size_of::<Flags>() == size_of::<bindings::gfp_t>()) };
    // SAFETY: It is a struct with this as its one field, which there is room for at its beginning only.
    unsafe { core::mem::transmute::<Flags, bindings::gfp_t>(flags) }
}

/// Some contiguous bytes, and room for more behind them.
///
/// # Invariants
///
/// If `capacity` is 0 there is no memory. Else `start` has so many bytes: our own from kmalloc, or, if
/// `paged`, in pages of which we own one count, and where nobody else writes. The first `len` are
/// initialised, and do not change any more: TCP may be sending them.
pub(crate) struct Chunk {
    start: NonNull<u8>,
    len: u32,
    capacity: u32,
    paged: bool,
}

// SAFETY: It owns its memory, and what is shared of that does not change.
unsafe impl Send for Chunk {}
// SAFETY: What can be done with a shared one is to read.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// No bytes, and no room.
    pub(crate) const fn new() -> Self {
        // INVARIANT: There is no memory.
        Chunk {
            start: NonNull::dangling(),
            len: 0,
            capacity: 0,
            paged: false,
        }
    }

    /// Room for so many bytes.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub(crate) fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        Self::make(capacity, false, flags)
    }

    /// The same in [`pages_for`] them, if there are any, that are charged to nobody.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub(crate) fn in_pages(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        Self::make(capacity, pages_for(capacity) > 0, flags)
    }

    fn make(capacity: usize, paged: bool, flags: Flags) -> Result<Self, AllocError> {
        let bytes = u32::try_from(capacity).map_err(|_| AllocError)?;
        // SAFETY: No requirements.
        let start = unsafe { bindings::sp_helper_chunk_alloc(capacity, paged, raw(flags)) };
        // INVARIANT: It was just made for us.
        Ok(Chunk {
            start: NonNull::new(start.cast()).ok_or(AllocError)?,
            len: 0,
            capacity: bytes,
            paged,
        })
    }

    pub(crate) fn len(&self) -> usize {
        // CAST: It is the length of what fits into memory.
        self.len as usize
    }

    /// For how many bytes there is memory, those that are there included.
    pub(crate) fn capacity(&self) -> usize {
        // CAST: As above.
        self.capacity as usize
    }

    /// Leaves the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        if let Ok(len) = u32::try_from(len) {
            // INVARIANT: No more than there were.
            self.len = self.len.min(len);
        }
    }

    /// What it takes in pages, in bytes; 0 if it is in none.
    pub(super) fn pages(&self) -> usize {
        if self.paged {
            pages_for(self.capacity())
        } else {
            0
        }
    }

    /// An empty one for up to `capacity` bytes in the same pages. The chunk as it was if these are of another size, or
    /// somebody else has them too.
    ///
    /// # Errors
    ///
    /// The chunk.
    pub(super) fn renew(mut self, capacity: usize) -> Result<Self, Self> {
        if !self.paged || pages_for(capacity) != self.pages() {
            return Err(self);
        }
        // SAFETY: By the type invariant, and as it is paged, it is in pages that are live.
        if !unsafe { bindings::sp_helper_chunk_is_ours(self.start.as_ptr().cast()) } {
            return Err(self);
        }
        // INVARIANT: The pages are as many. The one count of them is ours, so nobody but us has what is in them, nor
        // can get it.
        self.len = 0;
        // CAST: It is no more than there is in the pages.
        self.capacity = capacity as u32;
        Ok(self)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: By the type invariant so many are initialised, and do not change. Without memory, none.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len()) }
    }

    /// What is there from byte `offset` on.
    pub(crate) fn piece(&self, offset: usize) -> Piece<'_> {
        let mut piece = Piece::of(self.as_slice().get(offset..).unwrap_or(&[]));
        if self.paged {
            // INVARIANT: By the type invariant, and none of them changes.
            piece.kind = Kind::Paged;
        }
        piece
    }
}

/// Some contiguous bytes of a message.
///
/// # Invariants
///
/// `len` bytes from `start` on can be read for as long as it lives. Unless they are foreign, they do not
/// change; if they are paged, they are in pages that have counts, and do not change for as long as anybody has one.
#[derive(Clone, Copy)]
pub(crate) struct Piece<'a> {
    start: NonNull<u8>,
    len: usize,
    kind: Kind,
    _bytes: PhantomData<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Own,
    Paged,
    /// In a packet; a peer on this machine may have sent pages that it still writes to.
    Foreign,
}

impl<'a> Piece<'a> {
    /// Bytes that are copied wherever they go.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        // INVARIANT: They are borrowed for so long.
        Piece {
            start: NonNull::from(bytes).cast(),
            len: bytes.len(),
            kind: Kind::Own,
            _bytes: PhantomData,
        }
    }

    /// Bytes that others may write to meanwhile.
    ///
    /// # Safety
    ///
    /// For as long as it lives, `len` bytes from `start` on can be read.
    pub(super) unsafe fn foreign(start: NonNull<u8>, len: usize) -> Self {
        // INVARIANT: By this function's requirements.
        Piece {
            start,
            len,
            kind: Kind::Foreign,
            _bytes: PhantomData,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first `n` of them, or as many as there are.
    pub(crate) fn first(mut self, n: usize) -> Self {
        // INVARIANT: No more than there were.
        self.len = self.len.min(n);
        self
    }

    /// Those behind the first `n`.
    pub(super) fn behind(mut self, n: usize) -> Self {
        let n = n.min(self.len);
        // INVARIANT: They are the same, without some.
        // SAFETY: By the type invariant it has so many bytes.
        self.start = unsafe { self.start.add(n) };
        self.len = self.len.wrapping_sub(n);
        self
    }

    /// The bytes, if they do not change.
    pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
        if self.kind == Kind::Foreign {
            return None;
        }
        // SAFETY: By the type invariant they can be read, and do not change.
        Some(unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) })
    }

    /// The bytes, of which the suites know that they do not change.
    #[cfg(SP_KUNIT)]
    pub(crate) fn seen(&self) -> &'a [u8] {
        // SAFETY: By the type invariant they can be read.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Whether TCP can send them without copying.
    pub(super) fn is_paged(&self) -> bool {
        self.kind == Kind::Paged
    }
}

impl Room for Chunk {
    fn extend(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        self.fill(bytes.len(), |room| {
            // SAFETY: Room that is borrowed for writing is apart from what is read; it is as long, and
            // anything is a valid byte.
            unsafe {
                core::ptr::copy_nonoverlapping(
                    bytes.as_ptr(),
                    room.as_mut_ptr().cast(),
                    room.len(),
                );
                Ok(core::slice::from_raw_parts(
                    room.as_ptr().cast(),
                    room.len(),
                ))
            }
        })
    }

    fn fill(
        &mut self,
        n: usize,
        write: impl for<'a> FnOnce(&'a mut [MaybeUninit<u8>]) -> Result<&'a [u8], AppendError>,
    ) -> Result<(), AppendError> {
        if n > self.capacity().saturating_sub(self.len()) {
            return Err(AppendError::NoMemory);
        }
        // SAFETY: By the type invariant and the test above so many bytes behind those that are there are in
        // our memory, if there is any; nobody else has them.
        let room = unsafe {
            let start = self
                .start
                .as_ptr()
                .add(self.len())
                .cast::<MaybeUninit<u8>>();
            core::slice::from_raw_parts_mut(start, n)
        };
        let start = room.as_ptr().cast::<u8>();
        let written = write(room)?;
        if !core::ptr::eq(written.as_ptr(), start) || written.len() != n {
            return Err(AppendError::Fault);
        }
        // INVARIANT: They are initialised: there is a slice of them.
        // CAST: `n` is no more than the capacity.
        self.len = self.len.wrapping_add(n as u32);
        Ok(())
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: By the type invariant it is ours, and of that kind.
            unsafe { bindings::sp_helper_chunk_free(self.start.as_ptr().cast(), self.paged) };
        }
    }
}
