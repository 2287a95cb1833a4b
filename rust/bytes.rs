// SPDX-License-Identifier: GPL-2.0

//! Bytes on their way into the module, wherever they come from: a program's buffer, a TCP segment, a
//! slice in a test.
//!
//! On the ground floor, so that `net` can have what others read from without knowing them.

use crate::mem::{
    KVec,
    NO_SLEEP, //
};

/// Why bytes could not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendError {
    /// Out of memory; nothing was taken from the source by this call.
    NoMemory,
    /// The source could not be read (a bad user pointer).
    Fault,
}

/// Bytes on their way into a message: a user's buffer, a TCP segment, a slice in a test.
pub(crate) trait Source {
    /// Appends exactly `n` bytes to `to`, which has room for them.
    ///
    /// # Errors
    ///
    /// [`AppendError::Fault`] if they cannot be read.
    fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError>;

    /// Reads as many bytes as `to` has.
    ///
    /// # Errors
    ///
    /// [`AppendError::Fault`] if they cannot be read.
    fn read_exact(&mut self, to: &mut [u8]) -> Result<(), AppendError>;
}

/// Bytes that have arrived.
pub(crate) trait Input: Source {
    /// How many are left.
    fn remaining(&self) -> usize;

    /// How many there are, those behind this input included.
    fn available(&self) -> usize;

    /// Whether so many more may find no room to wait in where these have come from.
    fn cramped(&self, missing: usize) -> bool;

    /// Takes bytes from the front until `to` is full or none are left, and returns how many.
    fn read(&mut self, to: &mut [u8]) -> usize;

    /// Drops up to `n` bytes from the front, and returns how many.
    fn skip(&mut self, n: usize) -> usize;

    /// Takes the last `n` bytes back that were taken from here.
    fn put_back(&mut self, n: usize);
}

/// No bytes.
pub(crate) struct Empty;

impl Source for Empty {
    fn append(&mut self, _to: &mut KVec<u8>, _n: usize) -> Result<(), AppendError> {
        Err(AppendError::Fault)
    }

    fn read_exact(&mut self, _to: &mut [u8]) -> Result<(), AppendError> {
        Err(AppendError::Fault)
    }
}

impl Input for Empty {
    fn remaining(&self) -> usize {
        0
    }

    fn available(&self) -> usize {
        0
    }

    fn cramped(&self, _missing: usize) -> bool {
        false
    }

    fn read(&mut self, _to: &mut [u8]) -> usize {
        0
    }

    fn skip(&mut self, _n: usize) -> usize {
        0
    }

    fn put_back(&mut self, _n: usize) {}
}

/// The bytes of a slice.
pub(crate) struct Slice<'a> {
    all: &'a [u8],
    at: usize,
    /// So many bytes find room behind these where they come from.
    #[cfg(any(test, SP_KUNIT))]
    pub(crate) room: usize,
}

impl<'a> Slice<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Slice {
            all,
            at: 0,
            #[cfg(any(test, SP_KUNIT))]
            room: 0,
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.all.get(self.at..).unwrap_or(&[])
    }
}

impl Source for Slice<'_> {
    fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
        let now = self.rest().get(..n).ok_or(AppendError::Fault)?;
        to.extend_from_slice(now, NO_SLEEP)
            .map_err(|_| AppendError::NoMemory)?;
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

#[cfg(any(test, SP_KUNIT))]
impl Input for Slice<'_> {
    fn remaining(&self) -> usize {
        self.rest().len()
    }

    fn available(&self) -> usize {
        self.rest().len()
    }

    fn cramped(&self, missing: usize) -> bool {
        missing > self.room
    }

    fn read(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.remaining());
        to.split_at_mut(n)
            .0
            .copy_from_slice(self.rest().split_at(n).0);
        self.at += n;
        n
    }

    fn skip(&mut self, n: usize) -> usize {
        let n = n.min(self.remaining());
        self.at += n;
        n
    }

    fn put_back(&mut self, n: usize) {
        self.at -= n;
    }
}
