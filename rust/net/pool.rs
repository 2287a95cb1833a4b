// SPDX-License-Identifier: GPL-2.0

//! Pages that bodies were in, kept for the next ones.
//!
//! Pages that the page allocator gives are cleared first, by default; that costs as much as copying a body to them.
//! TCP still sends what was in the ones that are kept, or a receiver on this machine still has it: they are used again
//! once all counts of them are gone but ours. So there is no more memory in use because of it than there was
//! just before, and where a socket sends nothing like it any more it is given back.

use super::chunk::{
    pages_for,
    Chunk, //
};
use super::lock::{
    new_bhlock,
    BhLock, //
};
use super::sock::Charge;
use kernel::alloc::{
    AllocError,
    Flags, //
};
use kernel::prelude::*;
use kernel::sync::Arc;

/// How much is kept at most, in bytes, and in how many pieces: about as much as TCP and a receiver on this machine have of
/// a flood.
const MOST: usize = 2 << 20;
const PIECES: usize = 64;

/// How many of them are looked at for one that is free.
const LOOKS: usize = 2;

/// What a socket keeps.
#[pin_data]
pub(crate) struct Pool {
    #[pin]
    kept: BhLock<Kept>,
}

/// A chunk, and who pays for it.
type Piece = (Chunk, Charge);

/// # Invariants
///
/// It is open if it has places, which are [`PIECES`] then. `count` of them are taken, from `first` on, behind the last the
/// first one follows.
struct Kept {
    /// The next one is that which TCP was given first.
    places: KVec<Option<Piece>>,
    first: usize,
    count: usize,
    /// What they take, in bytes.
    bytes: usize,
}

impl Kept {
    const CLOSED: Self = Kept {
        places: KVec::new(),
        first: 0,
        count: 0,
        bytes: 0,
    };

    fn is_open(&self) -> bool {
        !self.places.is_empty()
    }

    /// Whether there is room for so many more bytes.
    fn has_room(&self, bytes: usize) -> bool {
        self.count < self.places.len() && self.bytes.saturating_add(bytes) <= MOST
    }

    fn pop(&mut self) -> Option<Piece> {
        let piece = self.places.get_mut(self.first)?.take()?;
        self.first = self.first.wrapping_add(1) % PIECES;
        self.count = self.count.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(piece.0.pages());
        Some(piece)
    }

    /// There is room.
    fn push(&mut self, piece: Piece) {
        let bytes = piece.0.pages();
        let behind = self.first.wrapping_add(self.count) % PIECES;
        if let Some(place @ None) = self.places.get_mut(behind) {
            *place = Some(piece);
            self.count = self.count.saturating_add(1);
            self.bytes = self.bytes.saturating_add(bytes);
        }
    }
}

impl Pool {
    /// One that keeps nothing yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(flags: Flags) -> Result<Arc<Self>> {
        let pool = pin_init!(Self { kept <- new_bhlock!(Kept::CLOSED, "sp_pool") });
        Arc::pin_init(pool, flags)
    }

    /// Keeps what comes from now on. True if it did not before, and is to be closed before long.
    pub(crate) fn open(&self, flags: Flags) -> bool {
        if self.kept.lock().is_open() {
            return false;
        }
        let mut places = KVec::new();
        for _ in 0..PIECES {
            if places.push(None, flags).is_err() {
                return false;
            }
        }
        let mut kept = self.kept.lock();
        let opens = !kept.is_open();
        if opens {
            kept.places = places;
        }
        opens
    }

    /// Keeps nothing any more. True if it did.
    pub(crate) fn close(&self) -> bool {
        let kept = core::mem::replace(&mut *self.kept.lock(), Kept::CLOSED);
        kept.is_open()
    }

    /// A chunk for up to `want` bytes that is used again, if there is one.
    fn take(&self, want: usize) -> Option<Chunk> {
        let mut kept = self.kept.lock();
        for _ in 0..LOOKS {
            let (chunk, charge) = kept.pop()?;
            match chunk.renew(want) {
                Ok(chunk) => {
                    drop(kept);
                    // The body that it is for has one of its own.
                    drop(charge);
                    return Some(chunk);
                }
                Err(chunk) => kept.push((chunk, charge)),
            }
        }
        None
    }
}

/// Where the chunks of a body come from that are in pages, and who pays for them.
pub(crate) struct Pages {
    pool: Arc<Pool>,
    charge: Charge,
}

impl Pages {
    /// So much is charged as the chunks are going to take.
    pub(crate) fn new(pool: Arc<Pool>, charge: Charge) -> Self {
        Pages { pool, charge }
    }

    /// A chunk for up to `want` bytes.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub(crate) fn chunk(&self, want: usize, flags: Flags) -> Result<Chunk, AllocError> {
        let again = (pages_for(want) > 0).then(|| self.pool.take(want));
        again
            .flatten()
            .map_or_else(|| Chunk::in_pages(want, flags), Ok)
    }

    /// Takes a chunk out of the body, which is dropped, for another one. False if no more are wanted.
    pub(crate) fn keep(&mut self, chunk: &mut Chunk) -> bool {
        let bytes = chunk.pages();
        if bytes == 0 {
            return true;
        }
        let mut kept = self.pool.kept.lock();
        if !kept.has_room(bytes) {
            return false;
        }
        let Some(charge) = self.charge.part(bytes) else {
            return false;
        };
        kept.push((core::mem::replace(chunk, Chunk::new()), charge));
        true
    }
}
