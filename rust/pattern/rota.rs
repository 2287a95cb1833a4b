// SPDX-License-Identifier: GPL-2.0

//! A set of pipes that are served in turn: the load balancer is a rota of the writable ones, the fair
//! queue one of those that hold a message.
//!
//! A bitmap by pipe id and the id served last. Taking part and leaving cost nothing, finding the next
//! one looks at 64 pipes at a time, and a pipe that comes back does not jump the queue.

use crate::mem::{
    Flags,
    KVec,
    NoMemory, //
};

pub(crate) struct Rota {
    words: KVec<u64>,
    /// The id that was served last.
    last: u32,
    members: u32,
}

/// The word that holds an id, and its bit there.
fn place(id: u32) -> (usize, u64) {
    // CAST: a `u32` divided by 64 fits every `usize`.
    ((id / 64) as usize, 1 << (id % 64))
}

impl Rota {
    pub(crate) const fn new() -> Self {
        Rota {
            words: KVec::new(),
            last: u32::MAX,
            members: 0,
        }
    }

    /// Makes room for `id`, so that [`Self::insert`] has an effect.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn reserve(&mut self, id: u32, flags: Flags) -> Result<(), NoMemory> {
        while self.words.len() <= place(id).0 {
            self.words.push(0, flags)?;
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members == 0
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    pub(crate) fn insert(&mut self, id: u32) {
        let (word, bit) = place(id);
        if let Some(w) = self.words.get_mut(word) {
            if *w & bit == 0 {
                *w |= bit;
                self.members = self.members.saturating_add(1);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        let (word, bit) = place(id);
        if let Some(w) = self.words.get_mut(word) {
            if *w & bit != 0 {
                *w &= !bit;
                self.members = self.members.saturating_sub(1);
            }
        }
    }

    /// Whose turn it is: the first member after the one served last, going round.
    pub(crate) fn next(&self) -> Option<u32> {
        if self.members == 0 {
            return None;
        }
        let after = self.last.wrapping_add(1);
        self.first_from(after).or_else(|| self.first_from(0))
    }

    /// Notes that `id` was served.
    pub(crate) fn served(&mut self, id: u32) {
        self.last = id;
    }

    /// Makes it the turn of `id`, if it is a member.
    pub(crate) fn prefer(&mut self, id: u32) {
        self.last = id.wrapping_sub(1);
    }

    fn first_from(&self, from: u32) -> Option<u32> {
        let (first, bit) = place(from);
        let mut mask = !bit.wrapping_sub(1);
        for (index, word) in self.words.iter().enumerate().skip(first) {
            let found = word & mask;
            if found != 0 {
                let base = u32::try_from(index).ok()?.checked_mul(64)?;
                return base.checked_add(found.trailing_zeros());
            }
            mask = u64::MAX;
        }
        None
    }
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_rota)]
mod tests {
    use super::*;
    use kernel::prelude::*;

    #[test]
    fn empty_next_is_none() {
        let rota = Rota::new();
        assert!(rota.next().is_none());
        assert!(rota.is_empty());
    }

    #[test]
    fn members_served_in_turn() -> Result {
        let mut rota = Rota::new();
        for id in [0, 63, 64, 200] {
            rota.reserve(id, GFP_KERNEL).map_err(|_| ENOMEM)?;
            rota.insert(id);
        }
        for want in [0, 63, 64, 200, 0, 63] {
            let got = rota.next();
            assert_eq!(got, Some(want));
            rota.served(want);
        }
        rota.remove(64);
        assert_eq!(rota.next(), Some(200));
        rota.prefer(0);
        assert_eq!(rota.next(), Some(0));
        Ok(())
    }

    #[test]
    fn member_added_twice_counts_once() -> Result {
        let mut rota = Rota::new();
        rota.reserve(5, GFP_KERNEL).map_err(|_| ENOMEM)?;
        rota.insert(5);
        rota.insert(5);
        rota.remove(5);
        assert!(rota.is_empty());
        rota.insert(1 << 20);
        assert!(rota.is_empty());
        Ok(())
    }
}
