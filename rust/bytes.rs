// SPDX-License-Identifier: GPL-2.0

//! Bytes on their way into the module, wherever they come from: a program's buffer, a TCP segment, a
//! slice in a test.
//!
//! On the ground floor, so that `net` can have what others read from without knowing them.

use core::mem::MaybeUninit;

/// Why bytes could not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// Out of memory; nothing was taken from the source by this call.
    NoMemory,
    /// The source could not be read (a bad user pointer).
    Fault,
}

/// Memory that bytes are appended to.
pub(crate) trait Room {
    /// Appends a copy of `bytes`.
    ///
    /// # Errors
    ///
    /// [`AppendError::NoMemory`] if there is no room for them.
    fn extend(&mut self, bytes: &[u8]) -> Result<(), AppendError>;

    /// Appends `n` bytes that `write` writes, and returns.
    ///
    /// # Errors
    ///
    /// [`AppendError::NoMemory`] if there is no room for them, or that of `write`.
    fn fill(
        &mut self,
        n: usize,
        write: impl for<'a> FnOnce(&'a mut [MaybeUninit<u8>]) -> Result<&'a [u8], AppendError>,
    ) -> Result<(), AppendError>;
}

/// Bytes on their way into a message: a user's buffer, a TCP segment, a slice in a test.
pub(crate) trait Source {
    /// Appends exactly `n` bytes to `to`, which has room for them.
    ///
    /// # Errors
    ///
    /// [`AppendError::Fault`] if they cannot be read.
    fn append(&mut self, to: &mut impl Room, n: usize) -> Result<(), AppendError>;

    /// Reads as many bytes as `to` has.
    ///
    /// # Errors
    ///
    /// [`AppendError::Fault`] if they cannot be read.
    fn read_exact(&mut self, to: &mut [u8]) -> Result<(), AppendError>;
}

/// Bytes that have arrived.
pub(crate) trait Input: Source {
    /// Some of them, kept where they are.
    type Kept;

    /// How many of the next `n` bytes, of as many as are left, are in one piece, and how much memory it pins to keep
    /// them where they are besides what `last` pins; `None` if that cannot be done.
    fn piece(&mut self, n: usize, last: Option<&Self::Kept>) -> (usize, Option<usize>);

    /// Takes the next `n` bytes, which are in one piece that can be kept, without copying them, for whom this pins
    /// `pins` bytes. `None` if these cannot be had.
    fn keep(&mut self, n: usize, pins: usize) -> Option<Self::Kept>;

    /// How many are left.
    fn remaining(&self) -> usize;

    /// How many there are, those behind this input included.
    fn available(&self) -> usize;

    /// Whether so many more may find no room to wait in where these have come from.
    fn cramped(&self, missing: usize) -> bool;

    /// Takes bytes from the front until `to` is full or none are left, and returns how many.
    fn read(&mut self, to: &mut [u8]) -> usize;

    /// Takes so many bytes from the front, if that is cheaper than [`Self::read`] and they are there.
    fn read_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        None
    }

    /// Drops up to `n` bytes from the front, and returns how many.
    fn skip(&mut self, n: usize) -> usize;

    /// Takes the last `n` bytes back that were taken from here.
    fn put_back(&mut self, n: usize);
}

/// The bytes of a slice.
pub(crate) struct Slice<'a> {
    all: &'a [u8],
    pub(crate) at: usize,
    /// So many bytes find room behind these where they come from.
    #[cfg(any(test, SP_KUNIT))]
    pub(crate) room: usize,
    /// What it pins to keep some of them.
    #[cfg(any(test, SP_KUNIT))]
    pub(crate) pins: Option<usize>,
}

impl<'a> Slice<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Slice {
            all,
            at: 0,
            #[cfg(any(test, SP_KUNIT))]
            room: 0,
            #[cfg(any(test, SP_KUNIT))]
            pins: None,
        }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.all.get(self.at..).unwrap_or(&[])
    }
}

impl Source for Slice<'_> {
    fn append(&mut self, to: &mut impl Room, n: usize) -> Result<(), AppendError> {
        let now = self.rest().get(..n).ok_or(AppendError::Fault)?;
        to.extend(now)?;
        self.at = self.at.saturating_add(n);
        Ok(())
    }

    fn read_exact(&mut self, to: &mut [u8]) -> Result<(), AppendError> {
        let now = self.rest().get(..to.len()).ok_or(AppendError::Fault)?;
        to.copy_from_slice(now);
        self.at = self.at.saturating_add(to.len());
        Ok(())
    }
}
