// SPDX-License-Identifier: GPL-2.0

//! An owned message: the tags that route it and the body that the program sees.
//!
//! Words: a *chunk* is one contiguous piece of a body, at most [`CHUNK`] bytes; the *head* of a body
//! is its first chunk, which always holds the first [`HEAD`] bytes (or all of a shorter body), so that
//! a tag stack or a topic can be looked at in one slice.
//!
//! Memory appears as bytes arrive: what a length on the wire claims never allocates. A message is one
//! node plus its chunks; a body that several pipes send, or that a REQ keeps for a resend, is shared
//! behind a reference count and is memory once.

use crate::address::Address;
use crate::mem::{
    Arc,
    Flags,
    KBox,
    KVec,
    NoMemory,
    UniqueArc, //
};
use crate::pattern::backtrace::Tags;

/// The largest contiguous piece of a body, in bytes: the largest size that the page allocator serves
/// without reclaim becoming costly (order 3 of 4 KiB pages).
const CHUNK: usize = 32 << 10;

/// What an allocation falls back to when [`CHUNK`] bytes in one piece are not to be had.
const SMALL_CHUNK: usize = 4 << 10;

/// How many leading bytes of a body are contiguous. Holds 255 tags and the longest topic.
pub(crate) const HEAD: usize = 4 << 10;

/// What a message costs beside its bytes, in bytes; charged to the buffers so that a flood of empty
/// messages is bounded too.
pub(crate) const OVERHEAD: usize = 192;

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

/// A body: bytes in chunks.
///
/// # Invariants
///
/// `len` is the sum of the chunks' lengths. `head` holds the first `min(len, HEAD)` bytes at least.
pub(crate) struct Bytes {
    head: KVec<u8>,
    rest: KVec<KVec<u8>>,
    len: usize,
}

impl Bytes {
    /// An empty body; allocates nothing.
    pub(crate) const fn new() -> Self {
        Bytes {
            head: KVec::new(),
            rest: KVec::new(),
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The contiguous front: the first `min(len, HEAD)` bytes, maybe more.
    pub(crate) fn head(&self) -> &[u8] {
        self.head.as_slice()
    }

    /// Appends up to `n` bytes of `src` to a body that will be `total` bytes long, and returns how
    /// many: at least one if `n` is not zero.
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
        let spare = |c: &KVec<u8>| c.capacity().saturating_sub(c.len());
        if self.len == 0 && self.head.capacity() == 0 {
            let want = missing.min(HEAD.max(n.min(CHUNK)));
            self.head = Self::chunk(want, missing.min(HEAD), flags)?;
        } else if spare(self.rest.last().unwrap_or(&self.head)) == 0 {
            // At least a quarter of what is there already, so that a trickle of small segments does
            // not become a chunk each.
            let want = missing.min(CHUNK).min(n.max(SMALL_CHUNK).max(self.len / 4));
            let chunk = Self::chunk(want, missing.min(SMALL_CHUNK), flags)?;
            self.rest
                .push(chunk, flags)
                .map_err(|_| AppendError::NoMemory)?;
        }
        let last = self.rest.last_mut().unwrap_or(&mut self.head);
        let n = n.min(last.capacity().saturating_sub(last.len()));
        src.append(last, n)?;
        // OVERFLOW: `n <= total - len`.
        self.len = self.len.wrapping_add(n);
        Ok(n)
    }

    /// One chunk of exactly `want` bytes capacity, or of `least` where memory is short.
    fn chunk(want: usize, least: usize, flags: Flags) -> Result<KVec<u8>, AppendError> {
        KVec::with_capacity(want, flags)
            .or_else(|_| KVec::with_capacity(least, flags))
            .map_err(|_| AppendError::NoMemory)
    }

    /// The chunks from byte `offset` on, none of them empty.
    pub(crate) fn chunks_from(&self, offset: usize) -> impl Iterator<Item = &[u8]> {
        let mut skip = offset;
        core::iter::once(&self.head)
            .chain(self.rest.iter())
            .filter_map(move |chunk| {
                let part = chunk.get(skip..).unwrap_or(&[]);
                skip = skip.saturating_sub(chunk.len());
                (!part.is_empty()).then_some(part)
            })
    }
}

/// Who owns a body.
enum Body {
    Owned(Bytes),
    Shared(Arc<Bytes>),
}

/// One message.
///
/// As received, `body` starts with the tags and the program sees what follows `skip`; to be sent,
/// `tags` go out before `body` and `skip` is zero.
pub(crate) struct Message {
    next: Option<Msg>,
    /// Received: the backtrace that a reply needs. To be sent: what goes before the body.
    pub(crate) tags: Tags,
    body: Body,
    skip: usize,
    /// Who sent it; `Address::Unspec` on the way out.
    pub(crate) from: Address,
}

/// A message as it is passed around.
pub(crate) type Msg = KBox<Message>;

impl Message {
    /// A message that owns `bytes`.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn new(bytes: Bytes, flags: Flags) -> Result<Msg, NoMemory> {
        Self::with(Body::Owned(bytes), Tags::new(), flags)
    }

    /// A message to be sent with a body that others hold too.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn sharing(bytes: Arc<Bytes>, tags: Tags, flags: Flags) -> Result<Msg, NoMemory> {
        Self::with(Body::Shared(bytes), tags, flags)
    }

    fn with(body: Body, tags: Tags, flags: Flags) -> Result<Msg, NoMemory> {
        Ok(KBox::new(
            Message {
                next: None,
                tags,
                body,
                skip: 0,
                from: Address::Unspec,
            },
            flags,
        )?)
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        match &self.body {
            Body::Owned(bytes) => bytes,
            Body::Shared(bytes) => bytes,
        }
    }

    /// The body while it is still being assembled; `None` once it is shared.
    pub(crate) fn bytes_mut(&mut self) -> Option<&mut Bytes> {
        match &mut self.body {
            Body::Owned(bytes) => Some(bytes),
            Body::Shared(_) => None,
        }
    }

    /// Makes the body shareable, if it is not yet, and returns a reference to it.
    ///
    /// # Errors
    ///
    /// [`NoMemory`]; the message is unchanged.
    pub(crate) fn share(&mut self, flags: Flags) -> Result<Arc<Bytes>, NoMemory> {
        if let Body::Shared(bytes) = &self.body {
            return Ok(bytes.clone());
        }
        let room = UniqueArc::new_uninit(flags)?;
        let old = core::mem::replace(&mut self.body, Body::Owned(Bytes::new()));
        let shared = match old {
            Body::Owned(bytes) => Arc::from(room.write(bytes)),
            Body::Shared(bytes) => bytes,
        };
        self.body = Body::Shared(shared.clone());
        Ok(shared)
    }

    /// Hides the first `n` bytes of the body, its tags, from the program.
    pub(crate) fn skip_tags(&mut self, n: usize) {
        self.skip = n.min(self.bytes().len());
    }

    pub(crate) fn skipped(&self) -> usize {
        self.skip
    }

    /// How many bytes the program sees.
    pub(crate) fn user_len(&self) -> usize {
        self.bytes().len().saturating_sub(self.skip)
    }

    /// What this message counts for in a buffer, in bytes.
    pub(crate) fn charge(&self) -> usize {
        self.bytes()
            .len()
            .saturating_add(self.tags.as_bytes().len())
            .saturating_add(OVERHEAD)
    }
}

/// A first-in first-out queue of messages whose operations never allocate and so never fail.
///
/// Two stacks linked through the messages themselves: pushes go to `inbox`, pops come from `outbox`,
/// and an empty `outbox` is refilled by turning the inbox over, once per message.
pub(crate) struct Queue {
    inbox: Option<Msg>,
    outbox: Option<Msg>,
    len: usize,
    charge: usize,
    bytes: usize,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Queue {
            inbox: None,
            outbox: None,
            len: 0,
            charge: 0,
            bytes: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sum of the messages' charges, in bytes.
    pub(crate) fn charge(&self) -> usize {
        self.charge
    }

    /// The sum of what the program sees of the messages, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, mut msg: Msg) {
        self.len = self.len.saturating_add(1);
        self.charge = self.charge.saturating_add(msg.charge());
        self.bytes = self.bytes.saturating_add(msg.user_len());
        msg.next = self.inbox.take();
        self.inbox = Some(msg);
    }

    pub(crate) fn pop(&mut self) -> Option<Msg> {
        self.turn();
        let mut msg = self.outbox.take()?;
        self.outbox = msg.next.take();
        self.len = self.len.saturating_sub(1);
        self.charge = self.charge.saturating_sub(msg.charge());
        self.bytes = self.bytes.saturating_sub(msg.user_len());
        Some(msg)
    }

    /// The message that [`Self::pop`] would return.
    pub(crate) fn front(&mut self) -> Option<&mut Message> {
        self.turn();
        self.outbox.as_deref_mut()
    }

    /// Takes the messages out that `keep` refuses, and returns them for the caller to drop.
    pub(crate) fn purge(&mut self, mut keep: impl FnMut(&Message) -> bool) -> Queue {
        let mut kept = Queue::new();
        let mut gone = Queue::new();
        while let Some(msg) = self.pop() {
            if keep(&msg) {
                kept.push(msg);
            } else {
                gone.push(msg);
            }
        }
        *self = kept;
        gone
    }

    fn turn(&mut self) {
        if self.outbox.is_some() {
            return;
        }
        let mut next = self.inbox.take();
        while let Some(mut msg) = next {
            next = msg.next.take();
            msg.next = self.outbox.take();
            self.outbox = Some(msg);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // One by one: the links would otherwise be dropped by recursion.
        while self.pop().is_some() {}
    }
}
