// SPDX-License-Identifier: GPL-2.0

//! Pages that bodies were in, kept for the next ones.
//!
//! Pages that the page allocator gives are cleared first, by default; that costs as much as copying a body to them.
//! TCP still sends what was in the ones that are kept, or a receiver on this machine still has it: they are used again
//! once all counts of them are gone but ours. Where a socket sends nothing like it any more they are given back.
//!
//! What is kept is charged to nobody, or it would be in the way of whom it is charged to, who cannot have it back:
//! so there is a bound on what all sockets keep together.

use super::bindings;
use super::chunk::{
    pages_for,
    Chunk, //
};
use super::lock::{
    new_bhlock,
    BhLock, //
};
use super::sock::Charge;
use super::work;
use kernel::alloc::{
    AllocError,
    Flags, //
};
use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::Arc;

/// How much a socket keeps at most, in bytes, and in how many pieces: about as much as TCP and a receiver on this
/// machine have of a flood.
const MOST: usize = 2 << 20;
const PIECES: usize = 64;

/// How many of them are looked at for one that is free.
const LOOKS: usize = 2;

/// What all of them keep, in bytes; [`all_may_keep`] at most.
static ALL: Atomic<usize> = Atomic::new(0);

/// As much as a flood on each CPU needs, and little of the machine's memory.
fn all_may_keep() -> usize {
    // SAFETY: No requirements.
    let cpus = unsafe { bindings::sp_helper_cpus() };
    let cpus = usize::try_from(cpus).unwrap_or(1);
    let little = usize::try_from(work::memory() / 64).unwrap_or(usize::MAX);
    MOST.saturating_mul(cpus).min(little)
}

/// What a socket keeps.
#[pin_data]
pub(crate) struct Pool {
    #[pin]
    kept: BhLock<Kept>,
}

/// # Invariants
///
/// It is open if it has places, which are [`PIECES`] then. `count` of them are taken, from `first` on, behind the last
/// the first one follows. `bytes` are counted in [`ALL`].
struct Kept {
    /// The next one is that which TCP was given first.
    places: KVec<Option<Chunk>>,
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

    fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.places.get_mut(self.first)?.take()?;
        self.first = self.first.wrapping_add(1) % PIECES;
        self.count = self.count.saturating_sub(1);
        Some(chunk)
    }

    /// The next free place.
    fn place(&mut self) -> Option<&mut Option<Chunk>> {
        let behind = self.first.wrapping_add(self.count) % PIECES;
        self.places.get_mut(behind).filter(|place| place.is_none())
    }

    /// It is one of those that were here.
    fn put_back(&mut self, chunk: Chunk) {
        if let Some(place) = self.place() {
            *place = Some(chunk);
            self.count = self.count.saturating_add(1);
        }
    }

    /// It is another one's now.
    fn is_out(&mut self, chunk: &Chunk) {
        self.bytes = self.bytes.saturating_sub(chunk.pages());
        ALL.fetch_sub(chunk.pages(), Relaxed);
    }

    /// Takes it, if there is room. Tells whether there was.
    fn push(&mut self, chunk: &mut Chunk) -> bool {
        let bytes = chunk.pages();
        let sum = self.bytes.saturating_add(bytes);
        if self.place().is_none() || sum > MOST {
            return false;
        }
        let all = ALL.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if all > all_may_keep() {
            ALL.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.bytes = sum;
        self.put_back(core::mem::replace(chunk, Chunk::new()));
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        ALL.fetch_sub(self.bytes, Relaxed);
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

    /// Keeps nothing any more.
    pub(crate) fn close(&self) {
        let kept = core::mem::replace(&mut *self.kept.lock(), Kept::CLOSED);
        // It may be a lot: not under the lock.
        drop(kept);
    }

    /// A chunk for up to `want` bytes that is used again, if there is one.
    fn take(&self, want: usize) -> Option<Chunk> {
        let mut kept = self.kept.lock();
        for _ in 0..LOOKS {
            match kept.pop()?.renew(want) {
                Ok(chunk) => {
                    kept.is_out(&chunk);
                    return Some(chunk);
                }
                Err(chunk) => kept.put_back(chunk),
            }
        }
        None
    }
}

/// Where the chunks of a body come from that are in pages, and who pays for them.
pub(crate) struct Pages {
    pool: Arc<Pool>,
    _charge: Charge,
}

impl Pages {
    /// So much is charged as the chunks are going to take.
    pub(crate) fn new(pool: Arc<Pool>, charge: Charge) -> Self {
        Pages {
            pool,
            _charge: charge,
        }
    }

    /// A chunk for up to `want` bytes.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub(crate) fn chunk(&self, want: usize, flags: Flags) -> Result<Chunk, AllocError> {
        let again = match pages_for(want) {
            0 => None,
            _ => self.pool.take(want),
        };
        again.map_or_else(|| Chunk::in_pages(want, flags), Ok)
    }

    /// Takes a chunk out of the body, which is dropped, for another one. False if no more are wanted.
    pub(crate) fn keep(&self, chunk: &mut Chunk) -> bool {
        chunk.pages() == 0 || self.pool.kept.lock().push(chunk)
    }
}
