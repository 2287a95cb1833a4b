// SPDX-License-Identifier: GPL-2.0

//! Reading what TCP has received, segment by segment.

use super::kept::Kept;
use crate::bytes::{
    AppendError,
    Input,
    Room,
    Source, //
};
use crate::net::bindings;
use crate::net::chunk::Piece;
use crate::net::sock::SkRef;
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
/// `skb` holds the bytes from `start` to `offset`, and at least `len` bytes from there on; `there` are some of
/// these, from the first on, which can be read where they are. `sk` is a live TCP sock whose lock is held.
pub(crate) struct Segment<'a> {
    sk: NonNull<bindings::sock>,
    skb: NonNull<bindings::sk_buff>,
    start: c_uint,
    offset: c_uint,
    len: usize,
    there: Piece<'a>,
    /// How many bytes TCP has behind these.
    behind: usize,
    /// Who pays for what is kept.
    payer: &'a SkRef,
    _tcp: PhantomData<&'a ()>,
}

impl Segment<'_> {
    /// Moves the first bytes to `to`, which has room for `n`.
    fn copy(&mut self, to: *mut u8, n: usize) -> Result {
        let n = n.min(self.len);
        if n == 0 {
            return Ok(());
        }
        if self.there.is_empty() {
            self.look();
        }
        if n <= self.there.len() {
            // SAFETY: By the type invariant they can be read; `to` has room, says the caller, in memory that
            // is no packet's. Should somebody be writing there, we get some of the old and some of the new.
            unsafe { core::ptr::copy_nonoverlapping(self.there.as_ptr(), to, n) };
        } else {
            let (Ok(count), Ok(offset)) = (c_int::try_from(n), c_int::try_from(self.offset)) else {
                return Err(EINVAL);
            };
            let skb = self.skb.as_ptr();
            // SAFETY: By the type invariant the skb holds these bytes; `to` has room, says the caller.
            to_result(unsafe { bindings::skb_copy_bits(skb, offset, to.cast(), count) })?;
        }
        self.skip(n);
        Ok(())
    }

    /// Finds out what can be read where it is.
    fn look(&mut self) {
        let mut len = 0;
        // SAFETY: By the type invariant the skb is live; `len` is valid for writes.
        let start =
            unsafe { bindings::sp_helper_skb_part(self.skb.as_ptr(), self.offset, &mut len) };
        if let Some(start) = NonNull::new(start.cast_mut().cast()) {
            let len = self.len.min(usize::try_from(len).unwrap_or(0));
            // INVARIANT: It has so many bytes there.
            // SAFETY: For as long as the sock is locked, and the skb therefore in its queue.
            self.there = unsafe { Piece::foreign(start, len) };
        }
    }
}

impl Source for Segment<'_> {
    fn append(&mut self, to: &mut impl Room, n: usize) -> Result<(), AppendError> {
        if n > self.len {
            return Err(AppendError::Fault);
        }
        to.fill(n, |room| {
            let copied = self.copy(room.as_mut_ptr().cast(), room.len());
            copied.map_err(|_| AppendError::Fault)?;
            // SAFETY: All of them were just written: there were as many.
            Ok(unsafe { core::slice::from_raw_parts(room.as_ptr().cast(), room.len()) })
        })
    }

    fn read_exact(&mut self, to: &mut [u8]) -> Result<(), AppendError> {
        match self.read(to) {
            n if n == to.len() => Ok(()),
            _ => Err(AppendError::Fault),
        }
    }
}

impl Input for Segment<'_> {
    type Kept = Kept;

    fn piece(&mut self, n: usize, last: Option<&Kept>) -> (usize, Option<usize>) {
        if self.there.is_empty() {
            self.look();
        }
        let len = self.there.len().min(n);
        let start = self.there.as_ptr();
        let Some(start) = NonNull::new(start).filter(|_| len > 0) else {
            // They are copied wherever they are.
            return (n, None);
        };
        // SAFETY: By the type invariants the skb is live, and has these bytes there.
        let pins = unsafe {
            bindings::sp_helper_skb_pins(self.skb.as_ptr(), self.offset, start.as_ptr().cast())
        };
        match usize::try_from(pins).ok().filter(|pins| *pins > 0) {
            Some(_) if last.is_some_and(|last| last.pins(start)) => (len, Some(0)),
            pins => (len, pins),
        }
    }

    fn keep(&mut self, n: usize, pins: usize) -> Option<Kept> {
        let start = NonNull::new(self.there.as_ptr()).filter(|_| n <= self.there.len())?;
        let charge = match u32::try_from(pins).ok()? {
            0 => None,
            pins => Some(self.payer.charge(pins)?),
        };
        // SAFETY: By the type invariant they can be read there, and [`Self::piece`] told that they are in pages.
        let kept = unsafe { Kept::new(start, n, charge) };
        self.skip(n);
        Some(kept)
    }

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

    #[inline]
    fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        if self.there.is_empty() && self.len >= N {
            self.look();
        }
        if self.there.len() < N {
            return None;
        }
        let mut array = [0; N];
        // SAFETY: By the type invariant so many can be read. As in `copy`.
        unsafe { core::ptr::copy_nonoverlapping(self.there.as_ptr(), array.as_mut_ptr(), N) };
        self.skip(N);
        Some(array)
    }

    #[inline]
    fn skip(&mut self, n: usize) -> usize {
        let n = n.min(self.len);
        // INVARIANT: What was dropped is no longer counted.
        self.offset = self.offset.wrapping_add(c_uint::try_from(n).unwrap_or(0));
        self.len = self.len.wrapping_sub(n);
        self.there = self.there.behind(n);
        n
    }

    fn put_back(&mut self, n: usize) {
        let taken = self.offset.wrapping_sub(self.start);
        let n = n.min(usize::try_from(taken).unwrap_or(0));
        // INVARIANT: They are bytes of the skb, right before the others.
        self.offset = self.offset.wrapping_sub(c_uint::try_from(n).unwrap_or(0));
        self.len = self.len.wrapping_add(n);
        self.there = Piece::of(&[]);
    }
}

/// Hands the received bytes of `sk` to `consume`, segment by segment, until it leaves some unread or there
/// are no more. Lets the peer send more for what was read. `payer` is charged for what is kept of them.
///
/// # Safety
///
/// `sk` is a live TCP sock whose lock is held.
pub(super) unsafe fn read<F: FnMut(&mut Segment<'_>)>(
    sk: NonNull<bindings::sock>,
    payer: &SkRef,
    consume: F,
) {
    // SAFETY: By this function's requirements the sock is live and locked.
    let unread = unsafe { bindings::sp_helper_tcp_unread(sk.as_ptr()) };
    // INVARIANT: By this function's requirements.
    let mut reader = Reader {
        sk,
        unread: usize::try_from(unread).unwrap_or(0),
        payer,
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
struct Reader<'a, F> {
    sk: NonNull<bindings::sock>,
    /// What is left in TCP, in bytes.
    unread: usize,
    payer: &'a SkRef,
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
    let reader = unsafe { &mut *data.cast::<Reader<'_, F>>() };
    // INVARIANT: `tcp_read_sock` passes an offset and a length inside the skb. The sock is the reader's.
    let mut segment = Segment {
        sk: reader.sk,
        skb,
        start: offset,
        offset,
        len,
        there: Piece::of(&[]),
        behind: reader.unread.saturating_sub(len),
        payer: reader.payer,
        _tcp: PhantomData,
    };
    (reader.consume)(&mut segment);
    let used = len.saturating_sub(segment.len);
    reader.unread = reader.unread.saturating_sub(used);
    c_int::try_from(used).unwrap_or(c_int::MAX)
}
