// SPDX-License-Identifier: GPL-2.0

//! What the pure files use of `rust/net/`, made of the standard library's: memory.

pub(crate) mod chunk {
    use crate::bytes::{
        AppendError,
        Room, //
    };
    use crate::mem::{
        AllocError,
        Flags,
        KVec, //
    };
    use std::mem::MaybeUninit;

    pub(crate) struct Chunk(KVec<u8>);

    pub(crate) fn pages_for(_: usize) -> usize {
        0
    }

    impl Chunk {
        pub(crate) const fn new() -> Self {
            Chunk(KVec::new())
        }

        pub(crate) fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
            KVec::with_capacity(capacity, flags).map(Chunk)
        }

        pub(crate) fn in_pages(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
            Self::with_capacity(capacity, flags)
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn capacity(&self) -> usize {
            self.0.capacity()
        }

        pub(crate) fn truncate(&mut self, len: usize) {
            self.0.truncate(len);
        }

        pub(crate) fn as_slice(&self) -> &[u8] {
            &self.0
        }

        pub(crate) fn piece(&self, offset: usize) -> Piece<'_> {
            Piece(self.0.get(offset..).unwrap_or_default())
        }
    }

    impl Room for Chunk {
        fn extend(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
            // Nothing is allocated here, so that tests see whether the room was promised.
            if self.0.capacity() - self.0.len() < bytes.len() {
                return Err(AppendError::NoMemory);
            }
            let flags = crate::mem::NO_SLEEP;
            let extended = self.0.extend_from_slice(bytes, flags);
            extended.map_err(|_| AppendError::NoMemory)
        }

        fn fill(
            &mut self,
            _: usize,
            _: impl for<'a> FnOnce(&'a mut [MaybeUninit<u8>]) -> Result<&'a [u8], AppendError>,
        ) -> Result<(), AppendError> {
            // Nobody here writes to where nothing is.
            Err(AppendError::Fault)
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Piece<'a>(&'a [u8]);

    impl<'a> Piece<'a> {
        pub(crate) fn of(bytes: &'a [u8]) -> Self {
            Piece(bytes)
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        pub(crate) fn bytes(&self) -> Option<&'a [u8]> {
            Some(self.0)
        }

        pub(crate) fn seen(&self) -> &'a [u8] {
            self.0
        }
    }
}

pub(crate) mod pool {
    use super::chunk::Chunk;
    use crate::mem::{
        AllocError,
        Flags, //
    };

    pub(crate) struct Pages;

    impl Pages {
        pub(crate) fn chunk(&self, want: usize, flags: Flags) -> Result<Chunk, AllocError> {
            Chunk::with_capacity(want, flags)
        }

        pub(crate) fn keep(&self, _: &mut Chunk) -> bool {
            false
        }
    }
}

pub(crate) mod trace {
    use std::ffi::CStr;

    pub(crate) fn dropped(_: u64, _: &'static CStr, _: usize) {}
}

pub(crate) mod stream {
    use super::chunk::Piece;
    use std::vec::Vec;

    pub(crate) struct Kept(Vec<u8>);

    impl Kept {
        pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
            Some(Kept(bytes.to_vec()))
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn piece(&self, offset: usize) -> Piece<'_> {
            Piece::of(&self.0[offset.min(self.0.len())..])
        }
    }
}
