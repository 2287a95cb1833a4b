// SPDX-License-Identifier: GPL-2.0

//! Which requests of a peer were queued last, so that it is noticed when it sends one again.
//!
//! A client sends its request again when it has waited for long. If all of them were served, a server that
//! takes longer than its clients like to wait would fall behind by what nobody wants any more.

use crate::mem::{
    accounted,
    KBox,
    NO_SLEEP, //
};

/// How many requests are remembered.
pub(super) const RECENT: usize = 16;

/// The requests that were queued last.
pub(crate) struct Recent(Option<KBox<Ring>>);

/// Digests of their tags.
struct Ring {
    of: [u64; RECENT],
    /// Where the next one goes, and the oldest is.
    next: usize,
}

impl Ring {
    fn add(&mut self, digest: u64) {
        if let Some(oldest) = self.of.get_mut(self.next) {
            *oldest = digest;
        }
        self.next = self.next.wrapping_add(1) % RECENT;
    }

    /// The oldest first, all of them.
    fn in_order(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        let (newer, older) = self.of.split_at_checked(self.next).unwrap_or_default();
        older.iter().chain(newer).copied()
    }
}

impl Recent {
    /// Allocates nothing.
    pub(crate) const fn new() -> Self {
        Recent(None)
    }

    /// A request was queued. Where there is no memory to remember it, it is not noticed again.
    pub(crate) fn add(&mut self, digest: u64) {
        if self.0.is_none() {
            let ring = Ring {
                of: [0; RECENT],
                next: 0,
            };
            self.0 = KBox::new(ring, accounted(NO_SLEEP)).ok();
        }
        if let Some(ring) = &mut self.0 {
            ring.add(digest);
        }
    }

    /// Whether this is one of the last `waiting` requests.
    pub(crate) fn has(&self, digest: u64, waiting: usize) -> bool {
        match &self.0 {
            Some(ring) if waiting > 0 => {
                let mut last = ring.in_order().rev().take(waiting);
                last.any(|one| one == digest)
            }
            Some(_) | None => false,
        }
    }

    /// The request was taken out from among the others.
    pub(crate) fn remove(&mut self, digest: u64) {
        if let Some(ring) = &mut self.0 {
            let mut kept = Ring {
                of: [0; RECENT],
                next: 0,
            };
            for other in ring.in_order().filter(|one| *one != digest) {
                kept.add(other);
            }
            **ring = kept;
        }
    }
}
