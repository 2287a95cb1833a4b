// SPDX-License-Identifier: GPL-2.0

//! Bytes on their way into the module, wherever they come from: a program's buffer, a TCP segment, a
//! slice in a test.
//!
//! On the ground floor, so that `net` can have what others read from without knowing them.

use crate::mem::KVec;

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
}

/// No bytes.
pub(crate) struct Empty;

impl Source for Empty {
    fn append(&mut self, _to: &mut KVec<u8>, _n: usize) -> Result<(), AppendError> {
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
}

/// A slice that arrives, for the suites.
#[cfg(SP_KUNIT)]
pub(crate) struct Slice<'a>(pub(crate) &'a [u8]);

#[cfg(SP_KUNIT)]
impl Source for Slice<'_> {
    fn append(&mut self, to: &mut KVec<u8>, n: usize) -> Result<(), AppendError> {
        let (now, later) = self.0.split_at_checked(n).ok_or(AppendError::Fault)?;
        to.extend_from_slice(now, crate::mem::GFP_KERNEL)
            .map_err(|_| AppendError::NoMemory)?;
        self.0 = later;
        Ok(())
    }
}

#[cfg(SP_KUNIT)]
impl Input for Slice<'_> {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn available(&self) -> usize {
        self.0.len()
    }

    fn cramped(&self, _missing: usize) -> bool {
        true
    }

    fn read(&mut self, to: &mut [u8]) -> usize {
        let n = to.len().min(self.0.len());
        let (now, later) = self.0.split_at(n);
        to.split_at_mut(n).0.copy_from_slice(now);
        self.0 = later;
        n
    }
}
