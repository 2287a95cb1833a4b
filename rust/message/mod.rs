// SPDX-License-Identifier: GPL-2.0

//! An owned message: the tags that route it and the body that the program sees.
//!
//! Words: a *chunk* is one contiguous piece of a body, at most [`CHUNK`] bytes; the *head* of a body
//! is its first chunk, which always holds the first [`HEAD`] bytes (or all of a shorter body), so that
//! a tag stack or a topic can be looked at in one slice.
//!
//! What arrives of a long body stays in the pages that it has arrived in, if they are little more than it: it is *kept*.
//!
//! Short ones that arrive together are one message here, a *run*; see `run.rs`.
//!
//! Memory appears as bytes arrive: what a length on the wire claims never allocates. A message is one
//! node, with a body of up to [`INLINE`] bytes inside, plus its chunks; a body that several pipes send, or that
//! a REQ keeps for a resend, is shared behind a reference count and is memory once.

mod chunks;
pub(crate) mod overdraft;
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod tags;

use crate::address::Address;
use crate::bytes::{
    AppendError,
    Slice,
    Source, //
};
use crate::ledger::Ledger;
use crate::mem::{
    AllocError,
    Arc,
    Flags,
    KBox,
    KVec,
    NoMemory,
    UniqueArc, //
};
use crate::net::chunk::pages_for;
pub(crate) use crate::net::chunk::{
    Chunk,
    Piece, //
};
pub(crate) use crate::net::pool::Pages;
pub(crate) use crate::net::stream::Kept;
pub(crate) use chunks::Chunks;
use overdraft::Overdraft;
use run::{
    Left,
    Run, //
};
use tags::Tags;

/// The largest contiguous piece of a body, in bytes: the largest size that the page allocator serves
/// without reclaim becoming costly (order 3 of 4 KiB pages).
const CHUNK: usize = 32 << 10;

/// What the pages of a body are at most that is charged at a time.
const PAGED: u32 = 64 << 20;

/// What an allocation falls back to when [`CHUNK`] bytes in one piece are not to be had.
const SMALL_CHUNK: usize = 4 << 10;

/// How many parts are listed in one piece, so that the list of a long body does not need one either.
const BLOCK: usize = 128;

/// The longest body that needs no chunk, in bytes: what is free in the object that a message is anyway.
const INLINE: usize = 72;

/// How many leading bytes of a body are contiguous. Holds 255 tags and the longest topic.
pub(crate) const HEAD: usize = 4 << 10;

/// What a message costs beside its bytes, in bytes; charged to the buffers so that a flood of empty
/// messages is bounded too.
pub(crate) const OVERHEAD: usize = 192;

/// A body above so many bytes is dropped neither in a callback nor under a lock.
pub(crate) const FREE_MAX: usize = 64 << 10;

/// How long a received message is at most, tags included, that is taken out of TCP in one piece, in bytes.
pub(crate) const SMALL: usize = 16 << 10;

/// A body: bytes in chunks.
///
/// # Invariants
///
/// `len` is the sum of the lengths of the parts; an inline head has as many bytes, and [`INLINE`] at most. `head`
/// holds the first `min(len, HEAD)` bytes at least, unless something was kept before they were there. All blocks of `rest` but the last have [`BLOCK`]
/// parts.
///
/// If there is a `ledger`, it has `len` for this body, and [`OVERHEAD`] for each message with it.
pub(crate) struct Bytes {
    head: Head,
    rest: Option<KBox<Rest>>,
    len: usize,
    ledger: Option<Arc<Ledger>>,
}

/// What is behind the head of a body.
struct Rest {
    first: KVec<Part>,
    /// Behind `first`.
    blocks: KVec<KVec<Part>>,
    /// The body pins so much more than it is long, in bytes.
    extra: usize,
    /// Where its chunks come from, if they are in pages.
    pages: Option<Pages>,
}

enum Part {
    Chunk(Chunk),
    /// In the pages that it has arrived in.
    Kept(Kept),
}

enum Head {
    Inline([u8; INLINE]),
    Chunk(Chunk),
    Kept(Kept),
}

impl Rest {
    const fn new() -> Self {
        Rest {
            first: KVec::new(),
            blocks: KVec::new(),
            extra: 0,
            pages: None,
        }
    }

    fn last_block(&mut self) -> &mut KVec<Part> {
        self.blocks.last_mut().unwrap_or(&mut self.first)
    }

    /// Adds a part at the end, if in the end it `may` be.
    fn list(
        &mut self,
        part: Part,
        flags: Flags,
        may: impl FnOnce() -> bool,
    ) -> Result<(), AllocError> {
        let last = self.last_block();
        if last.len() < BLOCK {
            last.reserve(1, flags)?;
            return may()
                .then_some(())
                .ok_or(AllocError)
                .and_then(|()| last.push(part, flags));
        }
        let mut block = KVec::new();
        block.push(part, flags)?;
        self.blocks.reserve(1, flags)?;
        may().then_some(()).ok_or(AllocError)?;
        self.blocks.push(block, flags)
    }
}

impl Bytes {
    /// An empty body; allocates nothing.
    pub(crate) const fn new() -> Self {
        Bytes {
            head: Head::Chunk(Chunk::new()),
            rest: None,
            len: 0,
            ledger: None,
        }
    }

    /// What is to be charged for a body of this length whose chunks are in pages, in bytes: 0 if that is too
    /// short, or too much to be charged at a time.
    pub(crate) fn pages(len: usize) -> u32 {
        let tail = len % CHUNK;
        let pages = len.saturating_sub(tail).saturating_add(pages_for(tail));
        u32::try_from(pages)
            .ok()
            .filter(|pages| *pages <= PAGED)
            .unwrap_or(0)
    }

    /// An empty body whose chunks are going to be in pages, which TCP sends where they are; they are for as much as
    /// [`Self::pages`] told.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn in_pages(pages: Pages, flags: Flags) -> Result<Self, NoMemory> {
        let mut bytes = Bytes::new();
        Self::rest(&mut bytes.rest, flags)?.pages = Some(pages);
        Ok(bytes)
    }

    /// A copy of a body.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn of(body: &[u8], flags: Flags) -> Result<Self, NoMemory> {
        let mut source = Slice::new(body);
        let mut bytes = Bytes::new();
        while bytes.len() < body.len() {
            let rest = body.len().saturating_sub(bytes.len());
            let appended = bytes.append(&mut source, rest, body.len(), flags);
            appended.map_err(|_| NoMemory)?;
        }
        Ok(bytes)
    }

    /// Enters a body, that is whole and in no message yet, in a ledger.
    pub(crate) fn enter(&mut self, ledger: Arc<Ledger>) {
        ledger.add(self.len);
        self.ledger = Some(ledger);
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The contiguous front: the first `min(len, HEAD)` bytes, maybe more; none if they are kept.
    pub(crate) fn head(&self) -> &[u8] {
        match &self.head {
            Head::Inline(bytes) => bytes.get(..self.len).unwrap_or(bytes),
            Head::Chunk(chunk) => chunk.as_slice(),
            Head::Kept(_) => &[],
        }
    }

    /// Appends up to `n` bytes of `src` to a body that will be `total` bytes long, each time the same, and
    /// returns how many: at least one if `n` is not zero.
    ///
    /// # Errors
    ///
    /// As [`AppendError`] says; the body is then as it was, or has unread garbage at its end that
    /// `len` does not count.
    pub(crate) fn append(
        &mut self,
        src: &mut impl Source,
        n: usize,
        total: usize,
        flags: Flags,
    ) -> Result<usize, AppendError> {
        let missing = total.saturating_sub(self.len);
        let n = n.min(missing);
        if n == 0 {
            return Ok(0);
        }
        if self.len == 0 && total <= INLINE {
            self.head = Head::Inline([0; INLINE]);
        }
        let n = match &mut self.head {
            Head::Inline(bytes) => {
                let room = bytes.get_mut(self.len..).unwrap_or(&mut []);
                let n = n.min(room.len());
                src.read_exact(room.get_mut(..n).unwrap_or(&mut []))?;
                n
            }
            Head::Chunk(_) | Head::Kept(_) => {
                let last = self.chunk_with_room(n, missing, flags)?;
                let n = n.min(last.capacity().saturating_sub(last.len()));
                src.append(last, n)?;
                n
            }
        };
        // INVARIANT: So many were written behind those before.
        // OVERFLOW: `n <= total - len`.
        self.len = self.len.wrapping_add(n);
        Ok(n)
    }

    /// Appends what is kept, if in the end it `may` be: the body pins `extra` bytes more than it is long by that.
    /// False if it is not kept, for that or for want of memory.
    pub(crate) fn keep(
        &mut self,
        kept: Kept,
        extra: usize,
        flags: Flags,
        may: impl FnOnce() -> bool,
    ) -> bool {
        let len = kept.len();
        let Ok(rest) = Self::rest(&mut self.rest, flags) else {
            return false;
        };
        if self.len == 0 {
            if !may() {
                return false;
            }
            self.head = Head::Kept(kept);
        } else if rest.list(Part::Kept(kept), flags, may).is_err() {
            return false;
        }
        rest.extra = rest.extra.saturating_add(extra);
        // INVARIANT: So many are behind those before.
        self.len = self.len.saturating_add(len);
        true
    }

    /// What the body ends with, if that is kept.
    pub(crate) fn last_kept(&self) -> Option<&Kept> {
        let last = self.rest.as_ref().and_then(|rest| {
            let last = rest.blocks.last().unwrap_or(&rest.first);
            last.last()
        });
        match (last, &self.head) {
            (Some(Part::Kept(kept)), _) | (None, Head::Kept(kept)) => Some(kept),
            (Some(Part::Chunk(_)), _) | (None, Head::Inline(_) | Head::Chunk(_)) => None,
        }
    }

    /// How much memory there is behind the last byte for more.
    pub(crate) fn spare(&mut self) -> usize {
        let last = self.last_chunk();
        last.map_or(0, |last| last.capacity().saturating_sub(last.len()))
    }

    /// The last chunk, or a new one if that is full, where `n` bytes are there and `missing` are going to come.
    fn chunk_with_room(
        &mut self,
        n: usize,
        missing: usize,
        flags: Flags,
    ) -> Result<&mut Chunk, AppendError> {
        let full = |c: &mut Chunk| c.capacity() == c.len();
        if self.len == 0 && self.last_chunk().is_some_and(|head| head.capacity() == 0) {
            let want = missing.min(HEAD.max(n.min(CHUNK)));
            let chunk = self.chunk(want, missing.min(HEAD), flags)?;
            self.head = Head::Chunk(chunk);
        } else if self.last_chunk().is_none_or(full) {
            // At least a quarter of what is there already, so that a trickle of small segments does
            // not become a chunk each; but between what is kept it is not going to be filled.
            let quarter = match self.last_kept() {
                Some(_) => 0,
                None => self.len / 4,
            };
            let want = missing.min(CHUNK).min(n.max(SMALL_CHUNK).max(quarter));
            let chunk = self.chunk(want, missing.min(SMALL_CHUNK), flags)?;
            let rest = Self::rest(&mut self.rest, flags);
            let listed = rest.and_then(|rest| rest.list(Part::Chunk(chunk), flags, || true));
            listed.map_err(|_| AppendError::NoMemory)?;
        }
        self.last_chunk().ok_or(AppendError::NoMemory)
    }

    /// The last chunk, if the body ends with one.
    fn last_chunk(&mut self) -> Option<&mut Chunk> {
        let last = self
            .rest
            .as_mut()
            .and_then(|rest| rest.last_block().last_mut());
        match (last, &mut self.head) {
            (Some(Part::Chunk(last)), _) | (None, Head::Chunk(last)) => Some(last),
            (Some(Part::Kept(_)), _) | (None, Head::Inline(_) | Head::Kept(_)) => None,
        }
    }

    /// What is behind the head, which may be nothing yet.
    fn rest(rest: &mut Option<KBox<Rest>>, flags: Flags) -> Result<&mut Rest, AllocError> {
        match rest {
            Some(rest) => Ok(rest),
            None => Ok(rest.insert(KBox::new(Rest::new(), flags)?)),
        }
    }

    /// One chunk of exactly `want` bytes capacity, or of `least` where memory is short.
    fn chunk(&self, want: usize, least: usize, flags: Flags) -> Result<Chunk, AppendError> {
        let pages = self.rest.as_ref().and_then(|rest| rest.pages.as_ref());
        let chunk = match pages {
            Some(pages) => pages.chunk(want, flags),
            None => Chunk::with_capacity(want, flags),
        };
        chunk
            .or_else(|_| Chunk::with_capacity(least, flags))
            .map_err(|_| AppendError::NoMemory)
    }

    /// Lets others have the chunks that are in pages, as many as anybody wants.
    fn give_back(&mut self) {
        let Some(rest) = &mut self.rest else {
            return;
        };
        let Some(pages) = rest.pages.take() else {
            return;
        };
        if let Head::Chunk(head) = &mut self.head {
            pages.keep(head);
        }
        let Rest { first, blocks, .. } = &mut **rest;
        for block in core::iter::once(first).chain(blocks.iter_mut()) {
            for part in block.iter_mut() {
                match part {
                    Part::Chunk(chunk) => {
                        if !pages.keep(chunk) {
                            return;
                        }
                    }
                    Part::Kept(_) => {}
                }
            }
        }
    }

    /// The chunks from byte `offset` on, none of them empty.
    pub(crate) fn chunks_from(&self, offset: usize) -> Chunks<'_> {
        Chunks::new(&self.head, self.rest.as_deref(), self.len, offset)
    }
}

/// Room that was set aside for a message before it was whole, and that it occupies until it is taken; see
/// `pattern/intake.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    pub(crate) bytes: usize,
    /// It is one of those for which only half of all room is there.
    pub(crate) long: bool,
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            ledger.sub(self.len);
        }
        self.give_back();
    }
}

/// Who owns a body.
enum Body {
    Owned(Bytes),
    Shared(Arc<Bytes>),
    /// Several, one behind the other, and what is left of them.
    Run(Arc<Run>, Left),
}

/// One message.
///
/// On the wire the `tags` are before the body; the program sees the body alone.
pub(crate) struct Message {
    next: Option<Msg>,
    pub(crate) tags: Tags,
    body: Body,
    /// Received: if it does not count for SO_RCVBUF, what it counts for instead.
    pub(crate) reserved: Option<Reserved>,
    /// Received: it was allowed beyond the limit of its control group.
    pub(crate) overdraft: Option<Overdraft>,
    /// Who sent it; `Address::Unspec` on the way out.
    pub(crate) from: Address,
}

const _: () = assert!(size_of::<Message>() <= OVERHEAD);

/// A message as it is passed around.
pub(crate) type Msg = KBox<Message>;

impl Message {
    /// A message that owns `bytes`.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn new(bytes: Bytes, flags: Flags) -> Result<Msg, NoMemory> {
        Self::tagged(bytes, Tags::new(), flags)
    }

    /// A message that owns `bytes`, behind the tags that it has arrived with.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn tagged(bytes: Bytes, tags: Tags, flags: Flags) -> Result<Msg, NoMemory> {
        Self::with(Body::Owned(bytes), tags, flags)
    }

    /// A message to be sent with a body that others hold too.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn sharing(bytes: Arc<Bytes>, tags: Tags, flags: Flags) -> Result<Msg, NoMemory> {
        Self::with(Body::Shared(bytes), tags, flags)
    }

    /// A message with this body, for the suites.
    #[cfg(any(test, SP_KUNIT))]
    pub(crate) fn of(body: &[u8], flags: Flags) -> Result<Msg, NoMemory> {
        Self::new(Bytes::of(body, flags)?, flags)
    }

    fn with(body: Body, tags: Tags, flags: Flags) -> Result<Msg, NoMemory> {
        // It is put together where it is going to be.
        let room = KBox::new_uninit(flags)?;
        let msg = KBox::write(
            room,
            Message {
                next: None,
                tags,
                body,
                reserved: None,
                overdraft: None,
                from: Address::Unspec,
            },
        );
        if let Some(ledger) = &msg.bytes().ledger {
            ledger.add(OVERHEAD);
        }
        Ok(msg)
    }

    /// Enters a message that owns its body in a ledger, if it is in none.
    pub(crate) fn enter(&mut self, ledger: &Arc<Ledger>) {
        let bytes = self.bytes_mut().filter(|bytes| bytes.ledger.is_none());
        if let Some(bytes) = bytes {
            bytes.enter(ledger.clone());
            ledger.add(OVERHEAD);
        }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        match &self.body {
            Body::Owned(bytes) => bytes,
            Body::Shared(bytes) => bytes,
            Body::Run(run, _) => &run.bytes,
        }
    }

    /// The body while it is still being assembled; `None` once it is shared.
    pub(crate) fn bytes_mut(&mut self) -> Option<&mut Bytes> {
        match &mut self.body {
            Body::Owned(bytes) => Some(bytes),
            Body::Shared(_) | Body::Run(..) => None,
        }
    }

    /// Makes the body shareable, if it is not yet, and returns a reference to it.
    ///
    /// # Errors
    ///
    /// [`NoMemory`]; the message is unchanged.
    pub(crate) fn share(&mut self, flags: Flags) -> Result<Arc<Bytes>, NoMemory> {
        let bytes = match &mut self.body {
            Body::Owned(bytes) => bytes,
            Body::Shared(bytes) => return Ok(bytes.clone()),
            // Nobody shares one.
            Body::Run(..) => return Err(NoMemory),
        };
        let room = UniqueArc::new_uninit(flags)?;
        let bytes = core::mem::replace(bytes, Bytes::new());
        let shared = Arc::from(room.write(bytes));
        self.body = Body::Shared(shared.clone());
        Ok(shared)
    }

    /// How long the body is, or those of a run that are left, in bytes.
    pub(crate) fn len(&self) -> usize {
        match &self.body {
            Body::Owned(bytes) => bytes.len(),
            Body::Shared(bytes) => bytes.len(),
            Body::Run(_, left) => left.bodies(),
        }
    }

    /// How long it is on the wire with its tags, in bytes.
    pub(crate) fn frame_len(&self) -> usize {
        self.len().saturating_add(self.tags.as_bytes().len())
    }

    /// What this message counts for in a buffer, in bytes.
    pub(crate) fn charge(&self) -> usize {
        if let Body::Run(_, left) = &self.body {
            return left.held();
        }
        let bytes = self.frame_len().saturating_add(self.extra());
        bytes.saturating_add(OVERHEAD)
    }

    /// What it pins beyond its length, in bytes.
    pub(crate) fn extra(&self) -> usize {
        let rest = self.bytes().rest.as_ref();
        rest.map_or(0, |rest| rest.extra)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(ledger) = &self.bytes().ledger {
            ledger.sub(OVERHEAD);
        }
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_message))]
mod tests {
    use super::*;
    use crate::bytes::Room;
    use crate::mem::GFP_KERNEL;

    /// Byte n of a test's body is n modulo this, a prime: a piece in a wrong place is noticed.
    const PERIOD: usize = 251;

    /// More than one piece to copy or compare at a time.
    const TABLE: [u8; 17 * PERIOD] = {
        let mut table = [0; 17 * PERIOD];
        let mut n = 0;
        while n < table.len() {
            table[n] = (n % PERIOD) as u8;
            n += 1;
        }
        table
    };

    /// Up to `n` bytes of a test's body, from number `at` on.
    fn piece(at: usize, n: usize) -> &'static [u8] {
        static BYTES: [u8; 17 * PERIOD] = TABLE;
        let from = BYTES.get(at % PERIOD..).unwrap_or_default();
        from.get(..n).unwrap_or(from)
    }

    /// A test's body on its way.
    struct Counted {
        at: usize,
        /// Nothing from here on can be read.
        end: usize,
    }

    impl Source for Counted {
        fn append(&mut self, to: &mut impl Room, n: usize) -> Result<(), AppendError> {
            let mut left = n;
            if self.at.saturating_add(n) > self.end {
                return Err(AppendError::Fault);
            }
            while left > 0 {
                let piece = piece(self.at, left);
                to.extend(piece)?;
                self.at += piece.len();
                left -= piece.len();
            }
            Ok(())
        }

        fn read_exact(&mut self, to: &mut [u8]) -> Result<(), AppendError> {
            if self.at.saturating_add(to.len()) > self.end {
                return Err(AppendError::Fault);
            }
            let mut rest = to;
            while !rest.is_empty() {
                let piece = piece(self.at, rest.len());
                let (now, behind) = rest.split_at_mut(piece.len());
                now.copy_from_slice(piece);
                self.at += piece.len();
                rest = behind;
            }
            Ok(())
        }
    }

    /// For how many bytes there is memory in the first chunk.
    fn head_room(bytes: &Bytes) -> usize {
        match &bytes.head {
            Head::Inline(bytes) => bytes.len(),
            Head::Chunk(chunk) => chunk.capacity(),
            Head::Kept(kept) => kept.len(),
        }
    }

    /// Whether the chunks from `offset` on are bytes number `offset` to `end` of a test's body.
    fn holds(bytes: &Bytes, offset: usize, end: usize) -> bool {
        let mut at = offset;
        for chunk in bytes.chunks_from(offset) {
            let mut chunk = chunk.seen();
            if chunk.is_empty() {
                return false;
            }
            while !chunk.is_empty() {
                let want = piece(at, chunk.len());
                let Some(rest) = chunk.strip_prefix(want) else {
                    return false;
                };
                at += want.len();
                chunk = rest;
            }
        }
        at == end.max(offset)
    }

    /// Whether a body is what its invariants and its length say.
    fn is_sound(bytes: &Bytes, len: usize) -> bool {
        bytes.len() == len && bytes.head().len() >= len.min(HEAD) && holds(bytes, 0, len)
    }

    /// Appends until there are `len` bytes of a body of `total`, each time as many as are missing.
    fn grow(
        bytes: &mut Bytes,
        source: &mut Counted,
        len: usize,
        total: usize,
    ) -> Result<(), AppendError> {
        while bytes.len() < len {
            let rest = len - bytes.len();
            if bytes.append(source, rest, total, GFP_KERNEL)? == 0 {
                return Err(AppendError::Fault);
            }
        }
        Ok(())
    }

    /// A body of `total` bytes that arrives in pieces: a first one, and as many of `size`, which is not
    /// zero, as it takes.
    fn arrived(total: usize, first: usize, size: usize) -> Result<Bytes, AppendError> {
        let mut bytes = Bytes::new();
        let mut source = Counted { at: 0, end: total };
        let mut len = first;
        grow(&mut bytes, &mut source, len, total)?;
        while len < total {
            len = total.min(len + size);
            grow(&mut bytes, &mut source, len, total)?;
        }
        Ok(bytes)
    }

    /// A message with a body of `len` bytes.
    fn message(len: usize) -> Result<Msg, AppendError> {
        let bytes = arrived(len, len, 1)?;
        Message::new(bytes, GFP_KERNEL).map_err(|_| AppendError::NoMemory)
    }

    /// Lengths around those at which something changes.
    const LENGTHS: [usize; 13] = [
        0,
        1,
        INLINE,
        INLINE + 1,
        HEAD - 1,
        HEAD,
        HEAD + 1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        CHUNK + HEAD,
        2 * CHUNK - 1,
        2 * CHUNK + HEAD + 1,
    ];

    #[test]
    fn empty_body_holds_no_memory() {
        let bytes = Bytes::new();
        assert!(is_sound(&bytes, 0));
        assert_eq!(head_room(&bytes), 0);
        assert_eq!(bytes.chunks_from(0).count(), 0);
    }

    #[test]
    fn any_length_arrived_in_two_pieces_is_whole() -> Result<(), AppendError> {
        for total in LENGTHS {
            for first in [1, INLINE - 1, HEAD - 1, HEAD + 1, CHUNK - 1, CHUNK + 1] {
                if first < total {
                    assert!(is_sound(&arrived(total, first, total)?, total));
                }
            }
        }
        Ok(())
    }

    #[test]
    fn any_length_arrived_in_equal_pieces_is_whole_and_in_few_chunks() -> Result<(), AppendError> {
        for total in [CHUNK + 1, 3 * CHUNK + HEAD + 1] {
            // Fewer bytes than a segment, a segment, more.
            for size in [1448, HEAD, CHUNK - 1, 65536] {
                let bytes = arrived(total, total.min(size), size)?;
                assert!(is_sound(&bytes, total));
                assert!(bytes.chunks_from(0).count() <= 13);
            }
        }
        Ok(())
    }

    #[test]
    fn short_body_arrived_byte_by_byte_is_one_chunk() -> Result<(), AppendError> {
        let bytes = arrived(300, 0, 1)?;
        assert!(is_sound(&bytes, 300));
        assert_eq!((head_room(&bytes), bytes.chunks_from(0).count()), (300, 1));
        Ok(())
    }

    #[test]
    fn huge_length_claimed_takes_no_memory_ahead() -> Result<(), AppendError> {
        for first in [1, HEAD] {
            let mut bytes = Bytes::new();
            let mut source = Counted { at: 0, end: first };
            grow(&mut bytes, &mut source, first, 0x7fff_f000)?;
            assert_eq!(head_room(&bytes), HEAD);
        }
        Ok(())
    }

    #[test]
    fn any_length_complete_takes_no_more() -> Result<(), AppendError> {
        for total in LENGTHS {
            let mut bytes = Bytes::new();
            let mut source = Counted {
                at: 0,
                end: usize::MAX,
            };
            grow(&mut bytes, &mut source, total / 2, total)?;
            while bytes.append(&mut source, usize::MAX, total, GFP_KERNEL)? > 0 {}
            assert!(is_sound(&bytes, total));
        }
        Ok(())
    }

    #[test]
    fn any_length_source_faulted_leaves_the_body() -> Result<(), AppendError> {
        for have in LENGTHS {
            let total = have + 5;
            let mut bytes = Bytes::new();
            let mut source = Counted { at: 0, end: have };
            grow(&mut bytes, &mut source, have, total)?;
            let fault = bytes.append(&mut source, 5, total, GFP_KERNEL);
            assert_eq!(fault, Err(AppendError::Fault));
            assert!(is_sound(&bytes, have));
            source.end = total;
            grow(&mut bytes, &mut source, total, total)?;
            assert!(is_sound(&bytes, total));
        }
        Ok(())
    }

    #[test]
    fn any_body_chunks_from_every_boundary_are_its_rest() -> Result<(), AppendError> {
        for total in LENGTHS {
            let bytes = arrived(total, total, 1)?;
            for boundary in LENGTHS {
                assert!(holds(&bytes, boundary, total));
            }
            for offset in [total.saturating_sub(1), total, total + 1, usize::MAX] {
                assert!(holds(&bytes, offset, total));
            }
        }
        Ok(())
    }

    #[test]
    fn kept_between_chunks_any_offset_gives_the_rest() -> Result<(), AppendError> {
        let total = 3 * CHUNK;
        let bytes = |from, n| piece(from, n);
        let mut body = Bytes::new();
        let mut source = Counted { at: 0, end: total };
        grow(&mut body, &mut source, HEAD, total)?;
        let mut keep = |body: &mut Bytes, n, extra| -> Result<(), AppendError> {
            let kept = Kept::of(bytes(source.at, n)).ok_or(AppendError::NoMemory)?;
            source.at += n;
            assert!(body.keep(kept, extra, GFP_KERNEL, || true));
            Ok(())
        };
        keep(&mut body, 4097, 3)?;
        keep(&mut body, 1, 4)?;
        assert_eq!((body.len(), body.spare()), (HEAD + 4098, 0));
        let mut source = Counted {
            at: body.len(),
            end: total,
        };
        grow(&mut body, &mut source, HEAD + 4098 + 10, total)?;
        assert!(body.spare() > 0);
        let len = HEAD + 4098 + 10;
        assert!(is_sound(&body, len));
        for offset in [
            1,
            HEAD - 1,
            HEAD,
            HEAD + 1,
            HEAD + 4096,
            HEAD + 4097,
            len - 1,
            len,
        ] {
            assert!(holds(&body, offset, len));
        }
        let msg = Message::new(body, GFP_KERNEL).map_err(|_| AppendError::NoMemory)?;
        assert_eq!(msg.charge(), len + 7 + OVERHEAD);
        Ok(())
    }

    #[test]
    fn owned_shared_is_one_body() -> Result<(), AppendError> {
        let mut msg = message(CHUNK + 9)?;
        let before = (msg.len(), msg.charge());
        assert!(msg.bytes_mut().is_some());
        let one = msg.share(GFP_KERNEL).map_err(|_| AppendError::NoMemory)?;
        let two = msg.share(GFP_KERNEL).map_err(|_| AppendError::NoMemory)?;
        assert!(Arc::ptr_eq(&one, &two));
        assert!(core::ptr::eq(msg.bytes(), &*one));
        assert!(msg.bytes_mut().is_none());
        assert_eq!((msg.len(), msg.charge()), before);
        let copy = Message::sharing(one, Tags::new(), GFP_KERNEL);
        let copy = copy.map_err(|_| AppendError::NoMemory)?;
        assert!(core::ptr::eq(copy.bytes(), msg.bytes()));
        // It outlives the message that it was made of.
        drop((msg, two));
        assert!(is_sound(copy.bytes(), CHUNK + 9));
        Ok(())
    }

    #[test]
    fn tags_are_charged_and_not_part_of_the_body() -> Result<(), AppendError> {
        let mut msg = message(CHUNK + 9)?;
        let before = msg.charge();
        msg.tags = Tags::request(tags::RequestId::first(1));
        assert_eq!((msg.len(), msg.frame_len()), (CHUNK + 9, CHUNK + 13));
        assert_eq!(msg.charge(), before + 4);
        Ok(())
    }
}
