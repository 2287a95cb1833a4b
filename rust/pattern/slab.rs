// SPDX-License-Identifier: GPL-2.0

//! Numbered storage: a value keeps its `u32` id for as long as it stays.
//!
//! Ids are small and used again, the most recently freed neighbourhood first, so they serve as links
//! between values (see the trie) and as names for pipes. An id says nothing once its value is
//! removed: whoever keeps ids around must forget them then.
//!
//! Values live in *chunks* of [`CHUNK`], chunks in *directories* of [`DIRECTORY`]. So the largest
//! allocation is one chunk, whatever the number of values, and growing never copies more than the
//! first chunk: that one starts small and doubles, because most slabs hold one or two values. A
//! chunk that becomes empty gives its memory back, except for the first.
//!
//! Pure: no locks of its own. Everything here may be called where sleeping is forbidden.

use core::mem;

use crate::mem::{
    accounted,
    KVec,
    NoMemory,
    NO_SLEEP, //
};

const CHUNK_SHIFT: u32 = 5;

/// Values in a chunk.
const CHUNK: u32 = 1 << CHUNK_SHIFT;

const DIRECTORY_SHIFT: u32 = 5;

/// Chunks in a directory.
const DIRECTORY: u32 = 1 << DIRECTORY_SHIFT;

/// The end of a list. Never an id, a chunk number or an offset in use.
const NIL: u32 = u32::MAX;

/// Values by number, at most `limit` of them.
///
/// # Invariants
///
/// - Chunk `n` exists for `n < chunks` and holds the ids from `n * CHUNK`, all below `limit`.
/// - The list that starts at `open` and goes on through [`Chunk::next_open`] has every chunk with
///   room for a value, once, and no other.
pub(crate) struct Slab<T> {
    directories: KVec<KVec<Chunk<T>>>,
    chunks: u32,
    open: u32,
    limit: u32,
}

/// The values of [`CHUNK`] neighbouring ids.
///
/// # Invariants
///
/// - `used` is the number of occupied entries.
/// - The list that starts at `vacant` and goes on through [`Entry::Vacant`] has every vacant entry,
///   once, and no other.
struct Chunk<T> {
    entries: KVec<Entry<T>>,
    used: u32,
    vacant: u32,
    next_open: u32,
}

enum Entry<T> {
    Occupied(T),
    /// `next` is the offset of another vacant entry of the same chunk, or [`NIL`].
    Vacant {
        next: u32,
    },
}

impl<T> Slab<T> {
    /// An empty slab, which holds no memory until the first value.
    ///
    /// Ids will be below `limit`.
    pub(crate) const fn new(limit: u32) -> Self {
        // INVARIANT: No chunks, hence none with room.
        Slab {
            directories: KVec::new(),
            chunks: 0,
            open: NIL,
            limit,
        }
    }

    /// The value with this id.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        let (number, offset) = split(id);
        match self.chunk(number)?.entries.get(index(offset))? {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// The value with this id, to change it.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        let (number, offset) = split(id);
        match self.chunk_mut(number)?.entries.get_mut(index(offset))? {
            Entry::Occupied(value) => Some(value),
            Entry::Vacant { .. } => None,
        }
    }

    /// The first id in use that is not below `id`.
    ///
    /// Serves to walk through the values without a borrow that lasts: the next step is
    /// `next_from(id + 1)`, and what was removed or inserted in between does no harm.
    pub(crate) fn next_from(&self, id: u32) -> Option<u32> {
        let (mut number, mut offset) = split(id);
        while number < self.chunks {
            let chunk = self.chunk(number)?;
            if let Some(offset) = chunk.next_from(offset) {
                return join(number, offset);
            }
            number = number.checked_add(1)?;
            offset = 0;
        }
        None
    }

    /// Obtains what the next [`Slab::insert`] needs, so that it succeeds.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if there is none, or if `limit` values are present already.
    pub(crate) fn reserve(&mut self) -> Result<(), NoMemory> {
        if self.open == NIL {
            self.add_chunk()?;
        }
        let number = self.open;
        let room = self.room(number);
        let chunk = self.chunk_mut(number).ok_or(NoMemory)?;
        if chunk.vacant != NIL {
            return Ok(());
        }
        if chunk.entries.capacity() == 0 && number != 0 {
            chunk.entries = KVec::with_capacity(index(room), accounted(NO_SLEEP))?;
        }
        // INVARIANT: Nothing was vacant, so there are `used` entries, fewer than `room` as the
        // chunk is an open one. This adds the one vacant entry.
        chunk
            .entries
            .push(Entry::Vacant { next: NIL }, accounted(NO_SLEEP))?;
        chunk.vacant = chunk.used;
        Ok(())
    }

    /// Stores a value and returns its id.
    ///
    /// # Errors
    ///
    /// The value, to be dropped where that is welcome, if [`Slab::reserve`] fails.
    pub(crate) fn insert(&mut self, value: T) -> Result<u32, T> {
        if self.reserve().is_err() {
            return Err(value);
        }
        let number = self.open;
        let room = self.room(number);
        let Some(chunk) = self.chunk_mut(number) else {
            return Err(value);
        };
        let offset = chunk.insert(value)?;
        // INVARIANT: A chunk without room leaves the list, where it is the first.
        if chunk.used >= room {
            self.open = mem::replace(&mut chunk.next_open, NIL);
        }
        // The id exists, as it is below `limit`.
        Ok(join(number, offset).unwrap_or(NIL))
    }

    /// Takes a value out. Its id is free to be used again.
    pub(crate) fn remove(&mut self, id: u32) -> Option<T> {
        let (number, offset) = split(id);
        let room = self.room(number);
        let open = self.open;
        let chunk = self.chunk_mut(number)?;
        let was_full = chunk.used >= room;
        let value = chunk.remove(offset)?;
        if chunk.used == 0 && number != 0 {
            // INVARIANT: No entries, hence none vacant.
            chunk.entries = KVec::new();
            chunk.vacant = NIL;
        }
        // INVARIANT: A chunk that had no room until now was not on the list.
        if was_full {
            chunk.next_open = open;
            self.open = number;
        }
        Some(value)
    }

    #[inline]
    fn chunk(&self, number: u32) -> Option<&Chunk<T>> {
        self.directories
            .get(index(number >> DIRECTORY_SHIFT))?
            .get(index(number % DIRECTORY))
    }

    #[inline]
    fn chunk_mut(&mut self, number: u32) -> Option<&mut Chunk<T>> {
        self.directories
            .get_mut(index(number >> DIRECTORY_SHIFT))?
            .get_mut(index(number % DIRECTORY))
    }

    /// How many values chunk `number` may hold: only the limit makes it fewer than [`CHUNK`].
    fn room(&self, number: u32) -> u32 {
        match number.checked_mul(CHUNK) {
            Some(first) => self.limit.saturating_sub(first).min(CHUNK),
            None => 0,
        }
    }

    /// Appends a chunk without entries and opens it. Called when no chunk is open.
    fn add_chunk(&mut self) -> Result<(), NoMemory> {
        let number = self.chunks;
        if self.room(number) == 0 {
            return Err(NoMemory);
        }
        let directory = index(number >> DIRECTORY_SHIFT);
        if directory >= self.directories.len() {
            self.directories.push(KVec::new(), accounted(NO_SLEEP))?;
        }
        // If this fails, the empty directory waits for the next attempt.
        self.directories
            .get_mut(directory)
            .ok_or(NoMemory)?
            .push(Chunk::new(), accounted(NO_SLEEP))?;
        // INVARIANT: The new chunk is the only one with room.
        self.chunks = number.saturating_add(1);
        self.open = number;
        Ok(())
    }
}

impl<T> Chunk<T> {
    const fn new() -> Self {
        Chunk {
            entries: KVec::new(),
            used: 0,
            vacant: NIL,
            next_open: NIL,
        }
    }

    /// Fills the first vacant entry and returns its offset, or hands the value back.
    fn insert(&mut self, value: T) -> Result<u32, T> {
        let offset = self.vacant;
        match self.entries.get_mut(index(offset)) {
            Some(entry @ Entry::Vacant { .. }) => {
                if let Entry::Vacant { next } = mem::replace(entry, Entry::Occupied(value)) {
                    self.vacant = next;
                }
                self.used = self.used.saturating_add(1);
                Ok(offset)
            }
            Some(Entry::Occupied(_)) | None => Err(value),
        }
    }

    fn remove(&mut self, offset: u32) -> Option<T> {
        let entry = self.entries.get_mut(index(offset))?;
        let vacant = Entry::Vacant { next: self.vacant };
        match mem::replace(entry, vacant) {
            Entry::Occupied(value) => {
                self.vacant = offset;
                self.used = self.used.saturating_sub(1);
                Some(value)
            }
            was @ Entry::Vacant { .. } => {
                *entry = was;
                None
            }
        }
    }

    /// The offset of the first occupied entry that is not below `offset`.
    fn next_from(&self, offset: u32) -> Option<u32> {
        let mut entries = self.entries.iter().skip(index(offset));
        let skipped = entries.position(|entry| matches!(entry, Entry::Occupied(_)))?;
        offset.checked_add(u32::try_from(skipped).ok()?)
    }
}

/// The number of the chunk that holds `id`, and the offset in it.
#[inline]
fn split(id: u32) -> (u32, u32) {
    (id >> CHUNK_SHIFT, id % CHUNK)
}

/// The reverse of [`split`].
#[inline]
fn join(number: u32, offset: u32) -> Option<u32> {
    number.checked_mul(CHUNK)?.checked_add(offset)
}

/// A number or an offset, to index with.
#[inline]
fn index(number: u32) -> usize {
    // CAST: Linux has no `usize` smaller than this.
    number as usize
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_slab))]
mod tests {
    use super::*;

    /// Fills a slab with `count` values, each equal to the id it should get.
    fn filled(limit: u32, count: u32) -> Result<Slab<u32>, NoMemory> {
        let mut slab = Slab::new(limit);
        for value in 0..count {
            match slab.insert(value) {
                Ok(id) if id == value => {}
                _ => return Err(NoMemory),
            }
        }
        Ok(slab)
    }

    /// How many values there are.
    fn len<T>(slab: &Slab<T>) -> u32 {
        let mut len = 0;
        let mut id = 0;
        while let Some(found) = slab.next_from(id) {
            len += 1;
            id = found + 1;
        }
        len
    }

    /// Whether the lists and the counts of the slab agree with its entries.
    fn is_sound<T>(slab: &Slab<T>) -> bool {
        let mut with_room = 0;
        for number in 0..slab.chunks {
            let Some(chunk) = slab.chunk(number) else {
                return false;
            };
            let mut occupied = 0;
            for entry in chunk.entries.iter() {
                occupied += u32::from(matches!(entry, Entry::Occupied(_)));
            }
            let mut vacant = 0;
            let mut offset = chunk.vacant;
            while let Some(Entry::Vacant { next }) = chunk.entries.get(index(offset)) {
                vacant += 1;
                offset = *next;
                if vacant > CHUNK {
                    return false;
                }
            }
            if offset != NIL || occupied != chunk.used {
                return false;
            }
            if index(occupied + vacant) != chunk.entries.len() {
                return false;
            }
            with_room += u32::from(occupied < slab.room(number));
        }
        let mut number = slab.open;
        while let Some(chunk) = slab.chunk(number) {
            if chunk.used >= slab.room(number) || with_room == 0 {
                return false;
            }
            with_room -= 1;
            number = chunk.next_open;
        }
        number == NIL && with_room == 0
    }

    #[test]
    fn empty_asked_has_nothing() {
        let mut slab = Slab::<u32>::new(NIL);
        for id in [0, 1, CHUNK, CHUNK * DIRECTORY, NIL - 1, NIL] {
            assert!(slab.get(id).is_none());
            assert!(slab.get_mut(id).is_none());
            assert!(slab.remove(id).is_none());
            assert_eq!(slab.next_from(id), None);
        }
        assert_eq!(len(&slab), 0);
        assert!(is_sound(&slab));
    }

    #[test]
    fn any_size_filled_gives_every_value_back() -> Result<(), NoMemory> {
        let directory = CHUNK * DIRECTORY;
        for count in [
            1,
            2,
            CHUNK - 1,
            CHUNK,
            CHUNK + 1,
            directory - 1,
            directory,
            directory + 1,
            2 * directory + CHUNK + 1,
        ] {
            let mut slab = filled(NIL, count)?;
            assert_eq!(len(&slab), count);
            assert!(is_sound(&slab));
            assert!(slab.get(count).is_none());
            for id in 0..count {
                assert_eq!(slab.get(id).copied(), Some(id));
                assert_eq!(slab.next_from(id), Some(id));
                if let Some(value) = slab.get_mut(id) {
                    *value += 1;
                }
            }
            assert_eq!(slab.next_from(count), None);
            for id in 0..count {
                assert_eq!(slab.remove(id), Some(id + 1));
                assert_eq!(slab.remove(id), None);
            }
            assert_eq!(len(&slab), 0);
            assert_eq!(slab.next_from(0), None);
            assert!(is_sound(&slab));
        }
        Ok(())
    }

    #[test]
    fn limit_reached_hands_the_value_back() -> Result<(), NoMemory> {
        for limit in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1] {
            let mut slab = filled(limit, limit)?;
            assert!(slab.reserve().is_err());
            assert_eq!(slab.insert(77), Err(77));
            assert_eq!(len(&slab), limit);
            assert!(is_sound(&slab));
            if limit > 0 {
                assert_eq!(slab.remove(limit - 1), Some(limit - 1));
                assert!(slab.reserve().is_ok());
                assert_eq!(slab.insert(78), Ok(limit - 1));
                assert_eq!(slab.insert(79), Err(79));
            }
            assert!(is_sound(&slab));
        }
        Ok(())
    }

    #[test]
    fn value_removed_frees_its_id() -> Result<(), NoMemory> {
        let mut slab = filled(NIL, 3 * CHUNK)?;
        for id in [0, 5, CHUNK, 2 * CHUNK + 7, 3 * CHUNK - 1] {
            assert_eq!(slab.remove(id), Some(id));
            assert!(slab.get(id).is_none());
            assert_eq!(slab.insert(1000), Ok(id));
            assert_eq!(slab.get(id).copied(), Some(1000));
        }
        assert!(is_sound(&slab));
        Ok(())
    }

    #[test]
    fn walk_skips_what_was_removed() -> Result<(), NoMemory> {
        let mut slab = filled(NIL, 5 * CHUNK)?;
        for id in 0..5 * CHUNK {
            let keep = id == 3 || id == 4 * CHUNK || id == 5 * CHUNK - 1;
            if !keep {
                assert_eq!(slab.remove(id), Some(id));
            }
        }
        assert_eq!(slab.next_from(0), Some(3));
        assert_eq!(slab.next_from(3), Some(3));
        assert_eq!(slab.next_from(4), Some(4 * CHUNK));
        assert_eq!(slab.next_from(4 * CHUNK + 1), Some(5 * CHUNK - 1));
        assert_eq!(slab.next_from(5 * CHUNK), None);
        assert!(is_sound(&slab));
        Ok(())
    }

    #[test]
    fn chunk_emptied_gives_its_memory_back() -> Result<(), NoMemory> {
        let mut slab = filled(NIL, 2 * CHUNK)?;
        for id in 0..2 * CHUNK {
            assert_eq!(slab.remove(id), Some(id));
        }
        assert_eq!(slab.chunk(1).map(|chunk| chunk.entries.capacity()), Some(0));
        // The first is kept for what comes next.
        let room = slab.chunk(0).map(|chunk| chunk.entries.capacity());
        assert_eq!(room, Some(index(CHUNK)));
        assert!(is_sound(&slab));
        for value in 0..2 * CHUNK {
            assert!(slab.insert(value).is_ok());
        }
        assert_eq!(slab.chunks, 2);
        assert!(is_sound(&slab));
        Ok(())
    }

    #[test]
    fn one_value_inserted_takes_one_entry() -> Result<(), NoMemory> {
        let slab = filled(NIL, 1)?;
        assert_eq!(slab.chunk(0).map(|chunk| chunk.entries.capacity()), Some(1));
        Ok(())
    }

    #[test]
    fn any_state_random_calls_agree_with_a_model() -> Result<(), NoMemory> {
        const LIMIT: u32 = 5 * CHUNK + 3;
        let mut slab = Slab::new(LIMIT);
        let mut model = KVec::<Option<u32>>::new();
        for _ in 0..LIMIT {
            model.push(None, NO_SLEEP)?;
        }
        let mut present = 0;
        let mut random = 0x2545_f491u32;
        for step in 0..1500u32 {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            // Waves: mostly insertions, then mostly removals.
            if random % 16 < if step / 500 % 2 == 0 { 11 } else { 5 } {
                match slab.insert(step) {
                    Ok(id) => {
                        present += 1;
                        assert_eq!(model.get(index(id)).copied(), Some(None));
                        if let Some(slot) = model.get_mut(index(id)) {
                            *slot = Some(step);
                        }
                    }
                    Err(value) => {
                        assert_eq!(value, step);
                        assert_eq!(present, LIMIT);
                    }
                }
            } else {
                let id = (random >> 8) % LIMIT;
                let was = model.get_mut(index(id)).and_then(Option::take);
                present -= u32::from(was.is_some());
                assert_eq!(slab.remove(id), was);
            }
            if step % 50 == 0 {
                assert_eq!(len(&slab), present);
                assert!(is_sound(&slab));
                let mut id = 0;
                for (expected, value) in model.iter().enumerate() {
                    if value.is_some() {
                        assert_eq!(slab.next_from(id).map(index), Some(expected));
                        id = slab.next_from(id).unwrap_or(NIL);
                        assert_eq!(slab.get(id).copied(), *value);
                        id += 1;
                    }
                }
                assert_eq!(slab.next_from(id), None);
            }
        }
        Ok(())
    }
}
