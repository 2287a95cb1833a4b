// SPDX-License-Identifier: GPL-2.0

//! Sets of pipes that are served in turn: the load balancer is one of the writable pipes, the fair queue
//! one of those that hold a message.
//!
//! A [`Rota`] is a bitmap by pipe id and the id served last. Taking part and leaving cost nothing, finding
//! the next one looks at 64 pipes at a time, and a pipe that comes back does not jump the queue.
//!
//! [`Ranks`] are rotas by priority (SP_SNDPRIO, SP_RCVPRIO), strict as in nanomsg (src/protocols/utils,
//! priolist.c): the turn is with the first rank that has a member. Most sockets have one rank.

use crate::mem::{
    Flags,
    KVec,
    NoMemory, //
};

/// A set of ids, and whose turn it is.
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

    pub(crate) fn reserve(&mut self, id: u32, flags: Flags) -> Result<(), NoMemory> {
        while self.words.len() <= place(id).0 {
            self.words.push(0, flags)?;
        }
        Ok(())
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        let (word, bit) = place(id);
        self.words.get(word).is_some_and(|w| w & bit != 0)
    }

    /// Tells whether it was none before.
    pub(crate) fn insert(&mut self, id: u32) -> bool {
        let (word, bit) = place(id);
        match self.words.get_mut(word) {
            Some(w) if *w & bit == 0 => {
                *w |= bit;
                self.members = self.members.saturating_add(1);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Tells whether it was one before.
    pub(crate) fn remove(&mut self, id: u32) -> bool {
        let (word, bit) = place(id);
        match self.words.get_mut(word) {
            Some(w) if *w & bit != 0 => {
                *w &= !bit;
                self.members = self.members.saturating_sub(1);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whose turn it is: the first member after the one served last, going round.
    #[inline]
    fn next(&self) -> Option<u32> {
        if self.members == 0 {
            return None;
        }
        let after = self.last.wrapping_add(1);
        self.first_from(after).or_else(|| self.first_from(0))
    }

    /// The first member at or after `from`.
    pub(crate) fn first_from(&self, from: u32) -> Option<u32> {
        let (first, bit) = place(from);
        let mut found = self.words.get(first)? & !bit.wrapping_sub(1);
        let mut index = first;
        while found == 0 {
            index = index.checked_add(1)?;
            found = *self.words.get(index)?;
        }
        let base = u32::try_from(index).ok()?.checked_mul(64)?;
        base.checked_add(found.trailing_zeros())
    }
}

/// The least urgent priority is the greatest number.
pub(crate) type Priority = u8;

/// Members with a priority each.
///
/// # Invariants
///
/// `ranks` is sorted by priority, and no id is a member of two of them. `members` counts those of all; if there is one,
/// it is `sole`.
pub(crate) struct Ranks {
    ranks: KVec<(Priority, Rota)>,
    members: u32,
    sole: Option<u32>,
    /// Who is next whatever the ranks say: somebody has been shown its message.
    preferred: Option<u32>,
}

impl Ranks {
    pub(crate) const fn new() -> Self {
        Ranks {
            ranks: KVec::new(),
            members: 0,
            sole: None,
            preferred: None,
        }
    }

    /// Makes room for `id` in a rank, so that [`Self::insert`] has an effect.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn reserve(
        &mut self,
        id: u32,
        priority: Priority,
        flags: Flags,
    ) -> Result<(), NoMemory> {
        let at = self.ranks.iter().position(|(p, _)| *p >= priority);
        let at = at.unwrap_or(self.ranks.len());
        if self.ranks.get(at).is_none_or(|(p, _)| *p != priority) {
            self.ranks.push((priority, Rota::new()), flags)?;
            if let Some(tail) = self.ranks.get_mut(at..) {
                tail.rotate_right(1);
            }
        }
        match self.ranks.get_mut(at) {
            Some((_, rota)) => rota.reserve(id, flags),
            None => Err(NoMemory),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members == 0
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.ranks.iter().any(|(_, rota)| rota.contains(id))
    }

    pub(crate) fn insert(&mut self, id: u32, priority: Priority) {
        if let Some((_, rota)) = self.ranks.iter_mut().find(|(p, _)| *p == priority) {
            self.members = self.members.saturating_add(rota.insert(id).into());
            self.find_sole();
        }
    }

    pub(crate) fn remove(&mut self, id: u32) {
        if self.is_empty() {
            return;
        }
        for (_, rota) in self.ranks.iter_mut() {
            self.members = self.members.saturating_sub(rota.remove(id).into());
        }
        if self.preferred == Some(id) {
            self.preferred = None;
        }
        self.find_sole();
    }

    fn find_sole(&mut self) {
        // INVARIANT: Of one member this is the first.
        self.sole = match self.members {
            1 => self.ranks.iter().find_map(|(_, rota)| rota.first_from(0)),
            _ => None,
        };
    }

    /// The first rank that has a member.
    pub(crate) fn best(&self) -> Option<Priority> {
        let first = self.ranks.iter().find(|(_, rota)| rota.members > 0)?;
        Some(first.0)
    }

    /// Whose turn it is.
    #[inline(always)]
    pub(crate) fn next(&self) -> Option<u32> {
        // Most are alone.
        if self.sole.is_some() || self.is_empty() {
            return self.sole;
        }
        if self.preferred.is_some() {
            return self.preferred;
        }
        match &*self.ranks {
            [(_, rota)] => rota.next(),
            ranks => ranks.iter().find_map(|(_, rota)| rota.next()),
        }
    }

    /// The only member, if there is but one.
    #[inline]
    pub(crate) fn sole(&self) -> Option<u32> {
        self.sole
    }

    /// Gives the one whose turn it is its turn.
    #[inline]
    pub(crate) fn serve(&mut self) -> Option<u32> {
        let id = self.next()?;
        self.has_served(id);
        Some(id)
    }

    /// The one whose turn it is was given it.
    #[inline]
    pub(crate) fn has_served(&mut self, id: u32) {
        self.preferred = None;
        match &mut *self.ranks {
            [(_, rota)] => rota.last = id,
            ranks => {
                for (_, rota) in ranks.iter_mut().filter(|(_, r)| r.contains(id)) {
                    rota.last = id;
                }
            }
        }
    }

    /// Whether it was made sure that it is the turn of `id`.
    pub(crate) fn prefers(&self, id: u32) -> bool {
        self.preferred == Some(id)
    }

    /// Whose turn it is, and will be until it was served or leaves.
    pub(crate) fn prefer(&mut self) -> Option<u32> {
        self.preferred = self.next();
        self.preferred
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_rota))]
mod tests {
    use super::*;
    use crate::mem::GFP_KERNEL;

    /// Members with their priorities.
    fn ranks(members: &[(u32, Priority)]) -> Result<Ranks, NoMemory> {
        let mut ranks = Ranks::new();
        for (id, priority) in members {
            ranks.reserve(*id, *priority, GFP_KERNEL)?;
            ranks.insert(*id, *priority);
        }
        Ok(ranks)
    }

    #[test]
    fn empty_next_is_none() {
        let mut ranks = Ranks::new();
        assert!(ranks.serve().is_none());
        assert!(ranks.prefer().is_none());
        assert!(ranks.is_empty());
    }

    #[test]
    fn members_served_in_turn() -> Result<(), NoMemory> {
        let mut ranks = ranks(&[(0, 8), (63, 8), (64, 8), (200, 8)])?;
        for want in [0, 63, 64, 200, 0, 63] {
            assert_eq!(ranks.serve(), Some(want));
        }
        ranks.remove(64);
        assert_eq!(ranks.serve(), Some(200));
        Ok(())
    }

    #[test]
    fn member_added_twice_counts_once() -> Result<(), NoMemory> {
        let mut ranks = ranks(&[(5, 8)])?;
        ranks.insert(5, 8);
        ranks.remove(5);
        assert!(ranks.is_empty());
        // No room was made for these.
        ranks.insert(1 << 20, 8);
        ranks.insert(5, 9);
        assert!(ranks.is_empty());
        Ok(())
    }

    #[test]
    fn several_ranks_first_one_serves_alone() -> Result<(), NoMemory> {
        // In the order that makes a rank come before, between and after those that exist.
        let mut ranks = ranks(&[(0, 8), (1, 1), (2, 1), (3, 16), (4, 4)])?;
        for want in [1, 2, 1, 2] {
            assert_eq!(ranks.serve(), Some(want));
        }
        ranks.remove(1);
        ranks.remove(2);
        for want in [4, 4] {
            assert_eq!(ranks.serve(), Some(want));
        }
        ranks.remove(4);
        assert_eq!(ranks.serve(), Some(0));
        ranks.remove(0);
        assert_eq!(ranks.serve(), Some(3));
        // Back, and it is not the turn of the one that was served last.
        ranks.insert(1, 1);
        ranks.insert(2, 1);
        assert_eq!(ranks.serve(), Some(1));
        Ok(())
    }

    #[test]
    fn preferred_is_next_whoever_comes() -> Result<(), NoMemory> {
        let mut ranks = ranks(&[(3, 8), (4, 8)])?;
        assert!(!ranks.prefers(3));
        assert_eq!(ranks.prefer(), Some(3));
        assert!(ranks.prefers(3) && !ranks.prefers(4));
        ranks.reserve(0, 8, GFP_KERNEL)?;
        ranks.reserve(1, 1, GFP_KERNEL)?;
        ranks.insert(0, 8);
        ranks.insert(1, 1);
        assert_eq!(ranks.prefer(), Some(3));
        assert_eq!(ranks.serve(), Some(3));
        assert_eq!(ranks.serve(), Some(1));
        Ok(())
    }

    #[test]
    fn preferred_that_leaves_is_forgotten() -> Result<(), NoMemory> {
        let mut ranks = ranks(&[(3, 8), (4, 8)])?;
        assert_eq!(ranks.prefer(), Some(3));
        ranks.remove(3);
        assert_eq!(ranks.serve(), Some(4));
        ranks.insert(3, 8);
        ranks.remove(4);
        assert_eq!(ranks.serve(), Some(3));
        Ok(())
    }
}
