// SPDX-License-Identifier: GPL-2.0

//! Short messages as they go on the wire, one behind the other, to be given to TCP in one piece.
//!
//! A message of its own costs two allocations and a call of TCP's. Copied here it costs its bytes.

use super::HEADER;
use crate::bytes::{
    AppendError,
    Room, //
};
use crate::ledger::Ledger;
use crate::mem::{
    AllocError,
    Arc,
    Flags, //
};
use crate::message::tags::TAG;
use crate::message::{
    Chunk,
    Pages,
    Piece,
    OVERHEAD, //
};
use core::ops::Deref;

/// What an idle pipe may keep for the next message, in bytes: enough for a short one.
const KEPT: usize = (1 << 10) + 64;

/// What a second message makes room for, since there may be many, in bytes.
const MANY: usize = 2 << 10;

/// How much more is made room in than there was, for it is copied each time.
const GROWTH: usize = 4;

/// How much is gathered at most, in bytes: what the page allocator still serves without reclaim becoming
/// costly.
const MOST: usize = 64 << 10;

/// From so many bytes on it costs less to have TCP send pages than to copy what is in them.
const SENT_IN_PAGES: usize = 8 << 10;

/// Some messages that have no tags, or one that has.
///
/// # Invariants
///
/// If there are messages there is a `ledger`, which has [`Self::charge`] for them. They are the `rest` of the bytes. If
/// there are `tags` there is one message, which has so many bytes of them.
pub(crate) struct Batch {
    bytes: Chunk,
    tags: usize,
    rest: Rest,
    ledger: Option<Arc<Ledger>>,
}

/// What TCP does not have of some messages.
#[derive(Clone, Copy)]
pub(crate) struct Rest {
    /// Before this are those that it has.
    from: usize,
    messages: u32,
}

impl Rest {
    const NONE: Self = Rest {
        from: 0,
        messages: 0,
    };

    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    fn count(&self) -> usize {
        usize::try_from(self.messages).unwrap_or(0)
    }

    /// The sum of the bodies and the tags, if so many bytes are all there is.
    fn frames(&self, bytes: usize) -> usize {
        let headers = self.count().saturating_mul(HEADER);
        bytes.saturating_sub(self.from).saturating_sub(headers)
    }

    /// TCP has so many of the bytes: the messages that are wholly in them are no longer here.
    fn taken(&mut self, bytes: &[u8], done: usize) {
        while let Some(header) = bytes.get(self.from..).and_then(|b| b.first_chunk()) {
            let len = usize::try_from(u64::from_be_bytes(*header)).unwrap_or(usize::MAX);
            let end = self.from.saturating_add(HEADER).saturating_add(len);
            if end > done {
                break;
            }
            self.from = end;
            self.messages = self.messages.saturating_sub(1);
        }
    }
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Batch {
            bytes: Chunk::new(),
            tags: 0,
            rest: Rest::NONE,
            ledger: None,
        }
    }

    /// No messages, and memory for some, which has been another one's.
    pub(crate) fn in_memory(memory: Chunk) -> Self {
        let mut batch = Batch::new();
        batch.bytes = memory;
        batch.bytes.truncate(0);
        batch
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.messages == 0
    }

    pub(crate) fn messages(&self) -> u32 {
        self.rest.messages
    }

    /// What TCP is to be given.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }

    /// The sum of the bodies, in bytes.
    pub(crate) fn bodies(&self) -> usize {
        self.bodies_of(self.rest)
    }

    /// The same of those that are left.
    fn bodies_of(&self, rest: Rest) -> usize {
        rest.frames(self.bytes.len()).saturating_sub(self.tags)
    }

    /// What the messages count for in a buffer, in bytes: as they would outside.
    pub(crate) fn charge(&self) -> usize {
        self.charge_of(self.rest)
    }

    /// The same of those that are left.
    fn charge_of(&self, rest: Rest) -> usize {
        let overhead = rest.count().saturating_mul(OVERHEAD);
        rest.frames(self.bytes.len()).saturating_add(overhead)
    }

    /// Whether it has memory of its own.
    pub(crate) fn has_memory(&self) -> bool {
        self.capacity() > 0
    }

    /// How many bytes it has memory for.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for a message of this length, of which so many bytes are `tags`, and for more of the kind, but
    /// not for more than a buffer of `sndbuf` bytes can have. False if there is no memory, or too much is gathered,
    /// or it has tags and is not the first.
    #[inline(always)]
    pub(crate) fn reserve(&mut self, len: usize, tags: usize, sndbuf: usize, flags: Flags) -> bool {
        let frame = HEADER.saturating_add(len);
        let all = self.bytes.len().saturating_add(frame);
        if !self.is_empty() && (self.tags > 0 || tags > 0) || all > MOST {
            return false;
        }
        all <= self.bytes.capacity() || self.grow(all, len, sndbuf, flags)
    }

    /// Makes room for so many bytes in all, the last ones for a message of this length.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, all: usize, len: usize, sndbuf: usize, flags: Flags) -> bool {
        let frame = HEADER.saturating_add(len);
        let capacity = self.bytes.capacity();
        let mut want = all;
        if !self.is_empty() {
            let messages = sndbuf.checked_div(len.saturating_add(OVERHEAD));
            let of_the_kind = frame.saturating_mul(messages.unwrap_or(0));
            let more = MANY.max(capacity.saturating_mul(GROWTH));
            want = all.max(more.min(of_the_kind).min(MOST));
        }
        let bigger = Chunk::with_capacity(want, flags);
        let bigger = bigger.or_else(|_| Chunk::with_capacity(all, flags));
        let Ok(mut bigger) = bigger else {
            return false;
        };
        if bigger.extend(self.bytes()).is_err() {
            return false;
        }
        self.bytes = bigger;
        true
    }

    /// Appends a message of this length that there is room for, whose body `write` writes, and tells what it counts
    /// for; `None` if that fails.
    #[inline(always)]
    pub(crate) fn append(
        &mut self,
        len: usize,
        tags: &[u8],
        ledger: &Arc<Ledger>,
        write: impl FnOnce(&mut Chunk) -> Result<(), AppendError>,
    ) -> Option<usize> {
        let before = self.bytes.len();
        let after = before.saturating_add(HEADER).saturating_add(len);
        let written = Self::front(&mut self.bytes, len, tags).and_then(|()| write(&mut self.bytes));
        if written.is_err() || self.bytes.len() != after {
            self.bytes.truncate(before);
            return None;
        }
        // INVARIANT: If it has any it is the only one, or there would be no room.
        self.tags = tags.len();
        let charge = len.saturating_add(OVERHEAD);
        // INVARIANT: It has all of the messages before, and this one.
        self.ledger
            .get_or_insert_with(|| ledger.clone())
            .add(charge);
        self.rest.messages = self.rest.messages.saturating_add(1);
        Some(charge)
    }

    /// Writes what is in front of a body.
    #[inline]
    fn front(bytes: &mut Chunk, len: usize, tags: &[u8]) -> Result<(), AppendError> {
        let claim = u64::try_from(len).unwrap_or(u64::MAX);
        if let Ok(tag) = <[u8; TAG]>::try_from(tags) {
            // Most have one, if any: at once with the header.
            let tag = u32::from_be_bytes(tag);
            let front = (u128::from(claim) << u32::BITS | u128::from(tag)).to_be_bytes();
            return bytes.extend(front.get(TAG..).unwrap_or(&front));
        }
        bytes.extend(&claim.to_be_bytes())?;
        if tags.is_empty() {
            Ok(())
        } else {
            bytes.extend(tags)
        }
    }

    /// Appends what another one has that has no tags, and there is room for, and tells what it counts for; `None` if
    /// that fails.
    pub(crate) fn append_all(&mut self, other: &Batch, ledger: &Arc<Ledger>) -> Option<usize> {
        let new = other.bytes().get(other.rest.from..)?;
        self.bytes.extend(new).ok()?;
        let charge = other.charge();
        // INVARIANT: It has all of the messages before, and these.
        self.ledger
            .get_or_insert_with(|| ledger.clone())
            .add(charge);
        self.rest.messages = self.rest.messages.saturating_add(other.messages());
        Some(charge)
    }

    /// The bodies, of messages without tags.
    pub(crate) fn each_body(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes().get(self.rest.from..).unwrap_or(&[]);
        core::iter::from_fn(move || {
            let (header, behind) = rest.split_first_chunk()?;
            let len = usize::try_from(u64::from_be_bytes(*header)).ok()?;
            let (body, behind) = behind.split_at_checked(len)?;
            rest = behind;
            Some(body)
        })
    }

    /// TCP has so many bytes: the messages that are wholly in them are no longer here.
    pub(crate) fn taken(&mut self, done: usize) {
        let before = self.charge();
        let messages = self.rest.messages;
        self.rest.taken(self.bytes.as_slice(), done);
        if self.rest.messages < messages {
            // INVARIANT: There was one message if there are any.
            self.tags = 0;
        }
        if let Some(ledger) = &self.ledger {
            ledger.sub(before.saturating_sub(self.charge()));
        }
    }

    /// Takes the messages out.
    pub(crate) fn clear(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.sub(self.charge());
        }
        self.rest = Rest::NONE;
        self.tags = 0;
        self.bytes.truncate(0);
    }

    /// Whether it has messages that others may go with.
    pub(crate) fn takes_more(&self) -> bool {
        !self.is_empty() && self.tags == 0
    }

    /// Takes the messages out, and their memory.
    pub(crate) fn take_memory(&mut self) -> Chunk {
        self.clear();
        core::mem::replace(&mut self.bytes, Chunk::new())
    }

    /// Whether it has memory that an idle pipe is not to keep.
    pub(crate) fn has_spare(&self) -> bool {
        self.is_empty() && self.bytes.capacity() > KEPT
    }

    /// Takes that memory out, for the caller to drop.
    pub(crate) fn trim(&mut self) -> Option<Chunk> {
        let trims = self.has_spare();
        trims.then(|| self.take_memory())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How many times the memory that it needs an edition may have.
const ROOMY: usize = 4;

/// A batch that several pipes send: each has a [`Rest`] of it.
pub(crate) struct Edition {
    batch: Batch,
    /// What its bytes are in, if they are in pages.
    pages: Option<Pages>,
}

impl Edition {
    /// An empty one that has room for so many bytes, in `pages` if there are some.
    ///
    /// # Errors
    ///
    /// [`AllocError`].
    pub(crate) fn new(
        bytes: usize,
        pages: Option<Pages>,
        flags: Flags,
    ) -> Result<Self, AllocError> {
        let mut batch = Batch::new();
        batch.bytes = match &pages {
            Some(pages) => pages.chunk(bytes, flags)?,
            None => Chunk::with_capacity(bytes, flags)?,
        };
        Ok(Edition { batch, pages })
    }

    /// How much room so many messages of a length need, in bytes.
    pub(crate) fn room_for(len: usize, messages: usize) -> usize {
        HEADER.saturating_add(len).saturating_mul(messages)
    }

    /// Appends a message that there is room for. False if there is none.
    pub(crate) fn append(&mut self, body: &[u8], ledger: &Arc<Ledger>) -> bool {
        let all = HEADER
            .saturating_add(body.len())
            .saturating_add(self.bytes().len());
        let batch = &mut self.batch;
        all <= batch.bytes.capacity()
            && batch
                .append(body.len(), b"", ledger, |room| room.extend(body))
                .is_some()
    }

    /// Takes no more memory than it needs, if that is little, and much less than it has, and can be had.
    pub(crate) fn fit(&mut self, flags: Flags) {
        let bytes = self.bytes();
        let capacity = self.batch.bytes.capacity();
        if bytes.len() >= SENT_IN_PAGES
            || capacity < SENT_IN_PAGES.max(ROOMY.saturating_mul(bytes.len()))
        {
            return;
        }
        let Ok(mut chunk) = Chunk::with_capacity(bytes.len(), flags) else {
            return;
        };
        if chunk.extend(bytes).is_ok() {
            let mut roomy = core::mem::replace(&mut self.batch.bytes, chunk);
            if let Some(pages) = self.pages.take() {
                pages.keep(&mut roomy);
            }
        }
    }

    /// What TCP is to be given from byte `offset` on.
    pub(crate) fn piece(&self, offset: usize) -> Piece<'_> {
        if self.batch.bytes.len() >= SENT_IN_PAGES {
            self.batch.bytes.piece(offset)
        } else {
            Piece::of(self.bytes().get(offset..).unwrap_or(&[]))
        }
    }

    /// All of it.
    pub(crate) fn rest(&self) -> Rest {
        self.batch.rest
    }

    /// The sum of the bodies that are left, in bytes.
    pub(crate) fn bodies_of(&self, rest: Rest) -> usize {
        self.batch.bodies_of(rest)
    }

    /// What those messages count for in a buffer, in bytes.
    pub(crate) fn charge_of(&self, rest: Rest) -> usize {
        self.batch.charge_of(rest)
    }

    /// TCP has so many bytes: the messages that are wholly in them are no longer left.
    pub(crate) fn taken(&self, rest: &mut Rest, done: usize) {
        rest.taken(self.bytes(), done);
    }
}

impl Deref for Edition {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        &self.batch
    }
}

impl Drop for Edition {
    fn drop(&mut self) {
        if let Some(pages) = &self.pages {
            self.batch.clear();
            pages.keep(&mut self.batch.bytes);
        }
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_batch))]
mod tests {
    use super::*;
    use crate::ledger::Total;
    use crate::mem::{
        NoMemory,
        GFP_KERNEL, //
    };

    const SNDBUF: usize = 1 << 17;

    fn ledger() -> Result<Arc<Ledger>, NoMemory> {
        let total = || Arc::new(Total::new(), GFP_KERNEL);
        let ledger = Ledger::new([total()?, total()?, total()?]);
        Ok(Arc::new(ledger, GFP_KERNEL)?)
    }

    fn append(
        batch: &mut Batch,
        body: &[u8],
        sndbuf: usize,
        ledger: &Arc<Ledger>,
    ) -> Result<usize, NoMemory> {
        if !batch.reserve(body.len(), 0, sndbuf, GFP_KERNEL) {
            return Err(NoMemory);
        }
        let charge = batch.append(body.len(), b"", ledger, |room| room.extend(body));
        charge.ok_or(NoMemory)
    }

    #[test]
    fn messages_are_frames_one_behind_the_other() -> Result<(), NoMemory> {
        let ledger = ledger()?;
        let mut batch = Batch::new();
        assert!(batch.is_empty() && batch.charge() == 0);
        assert_eq!(append(&mut batch, b"ab", SNDBUF, &ledger)?, 2 + OVERHEAD);
        assert_eq!(append(&mut batch, b"", SNDBUF, &ledger)?, OVERHEAD);
        assert!(batch.reserve(3, 0, SNDBUF, GFP_KERNEL));
        let two = |room: &mut Chunk| room.extend(b"c").and_then(|()| room.extend(b"de"));
        let charge = batch.append(3, b"", &ledger, two);
        assert_eq!(charge, Some(3 + OVERHEAD));
        let wire = b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03cde";
        assert_eq!(batch.bytes(), wire);
        assert_eq!((batch.messages(), batch.bodies()), (3, 5));
        assert_eq!(batch.charge(), 5 + 3 * OVERHEAD);
        assert!(!ledger.is_empty());
        drop(batch);
        assert!(ledger.is_empty());
        Ok(())
    }

    #[test]
    fn trimmed_keeps_little_memory() -> Result<(), NoMemory> {
        let parts: [&[u8]; 2] = [b"one", b"another"];
        let ledger = ledger()?;
        let mut batch = Batch::new();
        append(&mut batch, b"alone", SNDBUF, &ledger)?;
        let capacity = batch.bytes.capacity();
        batch.clear();
        assert!(batch.is_empty() && batch.bytes().is_empty() && ledger.is_empty());
        assert!(batch.trim().is_none());
        assert_eq!(batch.bytes.capacity(), capacity);
        append(&mut batch, b"one", SNDBUF, &ledger)?;
        append(&mut batch, b"of many", SNDBUF, &ledger)?;
        assert!(batch.bytes.capacity() >= MANY);
        assert!(batch.trim().is_none());
        assert_eq!(batch.messages(), 2);
        batch.clear();
        assert!(batch.has_memory() && ledger.is_empty());
        assert!(batch.trim().is_some());
        assert!(!batch.has_memory());
        for part in parts {
            append(&mut batch, part, 1000, &ledger)?;
        }
        assert!(batch.bytes.capacity() < 5 * 20);
        Ok(())
    }

    #[test]
    fn room_is_no_more_than_is_gathered_at_most() -> Result<(), NoMemory> {
        let ledger = ledger()?;
        for len in [0, 100, MOST / 3 - HEADER, MOST / 2 - HEADER, MOST - HEADER] {
            let mut batch = Batch::new();
            // Too much for a stack.
            static BODY: [u8; MOST] = [7; MOST];
            let body = BODY.get(..len).unwrap_or(&BODY);
            let mut n = 0;
            while append(&mut batch, body, usize::MAX, &ledger).is_ok() {
                n += 1;
            }
            assert_eq!(n, MOST / (len + HEADER));
            assert!(batch.bytes.capacity() <= MOST);
        }
        Ok(())
    }

    #[test]
    fn taken_in_part_counts_for_what_is_left() -> Result<(), NoMemory> {
        let ledger = ledger()?;
        let mut batch = Batch::new();
        for body in [&b"one"[..], b"", b"three"] {
            append(&mut batch, body, SNDBUF, &ledger)?;
        }
        let left = [
            (0, 3, 8),
            (10, 3, 8),
            (11, 2, 5),
            (18, 2, 5),
            (19, 1, 5),
            (31, 1, 5),
            (32, 0, 0),
        ];
        for (done, messages, bodies) in left {
            batch.taken(done);
            assert_eq!((batch.messages(), batch.bodies()), (messages, bodies));
        }
        assert!(batch.is_empty() && ledger.is_empty());
        assert_eq!(batch.bytes().len(), 32);
        batch.clear();
        assert!(batch.bytes().is_empty());
        Ok(())
    }

    #[test]
    fn one_that_has_tags_is_alone() -> Result<(), NoMemory> {
        let ledger = ledger()?;
        let mut batch = Batch::new();
        append(&mut batch, b"other", SNDBUF, &ledger)?;
        assert!(!batch.reserve(6, 4, SNDBUF, GFP_KERNEL));
        batch.clear();
        assert!(batch.reserve(6, 4, SNDBUF, GFP_KERNEL));
        let charge = batch.append(6, b"\x80\0\0\x01", &ledger, |room| room.extend(b"ab"));
        assert_eq!(charge, Some(6 + OVERHEAD));
        assert_eq!(batch.bytes(), b"\0\0\0\0\0\0\0\x06\x80\0\0\x01ab");
        assert_eq!((batch.messages(), batch.bodies()), (1, 2));
        assert_eq!(batch.charge(), 6 + OVERHEAD);
        assert!(
            !batch.reserve(6, 4, SNDBUF, GFP_KERNEL) && !batch.reserve(2, 0, SNDBUF, GFP_KERNEL)
        );
        batch.taken(13);
        assert_eq!((batch.messages(), batch.bodies()), (1, 2));
        batch.taken(14);
        assert_eq!(
            (batch.messages(), batch.bodies(), batch.charge()),
            (0, 0, 0)
        );
        assert!(ledger.is_empty());
        Ok(())
    }

    #[test]
    fn one_that_cannot_be_read_leaves_nothing() -> Result<(), NoMemory> {
        let ledger = ledger()?;
        let mut batch = Batch::new();
        append(&mut batch, b"whole", SNDBUF, &ledger)?;
        for fault in [true, false] {
            assert!(batch.reserve(4, 0, SNDBUF, GFP_KERNEL));
            // Some of it is there, and then a page is not, or it is shorter than it was said to be.
            let half = |room: &mut Chunk| {
                room.extend(b"ha")?;
                if fault {
                    Err(AppendError::Fault)
                } else {
                    Ok(())
                }
            };
            assert!(batch.append(4, b"", &ledger, half).is_none());
            assert_eq!(batch.bytes(), b"\0\0\0\0\0\0\0\x05whole");
            assert_eq!((batch.messages(), batch.charge()), (1, 5 + OVERHEAD));
        }
        Ok(())
    }

    #[test]
    fn another_one_is_appended_whole() -> Result<(), NoMemory> {
        let ledger = ledger()?;
        let (mut batch, mut other) = (Batch::new(), Batch::new());
        append(&mut batch, b"one", SNDBUF, &ledger)?;
        for body in [&b"two"[..], b"", b"three"] {
            append(&mut other, body, SNDBUF, &ledger)?;
        }
        // TCP has the first of them.
        other.taken(11);
        let rest: [&[u8]; 2] = [b"", b"three"];
        assert!(other.each_body().eq(rest));
        let len = other.bytes().len();
        assert!(batch.reserve(len, 0, SNDBUF, GFP_KERNEL));
        assert_eq!(batch.append_all(&other, &ledger), Some(5 + 2 * OVERHEAD));
        let all: [&[u8]; 3] = [b"one", b"", b"three"];
        assert!(batch.each_body().eq(all));
        assert_eq!((batch.messages(), batch.bodies()), (3, 8));
        drop(other);
        assert!(!ledger.is_empty());
        drop(batch);
        assert!(ledger.is_empty());
        Ok(())
    }
}
