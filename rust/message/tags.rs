// SPDX-License-Identifier: GPL-2.0

//! The tags before the body of a request or a reply, and the number that makes a request.
//!
//! On the wire a message of REQ, REP, SURVEYOR and RESPONDENT begins with a stack of tags, 32 bits
//! each, big endian. The one pushed last comes first; the *bottom* is the only one with its most
//! significant bit set, and holds the request id (sp-request-reply-01 §5):
//!
//! ```text
//! byte  0         4               4(n-1)      4n
//!      +---------+-----+---------+-----------+----------
//!      |0 channel| ... |0 channel|1 request  | body
//!      +---------+-----+---------+-----------+----------
//! ```
//!
//! A direct request has the bottom alone; each device on the way pushed a channel id. A replier
//! sends the stack back as it came and need not understand it: it is kept as bytes.
//!
//! `wire/` takes them apart, `pattern/` understands them.

use crate::mem::{
    accounted,
    KVec,
    NoMemory,
    NO_SLEEP, //
};

/// Bytes of a tag.
pub(crate) const TAG: usize = 4;

/// Set in the first byte of the bottom tag, and in no other tag's.
const BOTTOM: u8 = 0x80;

/// Tags kept without an allocation: a request that came through up to three devices.
const INLINE: usize = 4;

/// A stack of tags, as it is on the wire.
#[derive(Debug)]
pub(crate) struct Tags(Stack);

// Tags travel by value, within messages and through queues.
const _: () = assert!(size_of::<Tags>() <= 32);

#[derive(Debug)]
enum Stack {
    Inline { len: u8, bytes: [u8; INLINE * TAG] },
    Spilled(KVec<u8>),
}

/// What is in front of a body on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tagged {
    Nothing,
    /// One tag, that of a reply which has come all the way back.
    Once,
    /// A stack of tags, up to and with the one that is the bottom.
    Stack,
}

impl Tagged {
    /// How many bytes of tags there are at most, if a stack has no more than `most`.
    pub(crate) fn longest(self, most: usize) -> usize {
        match self {
            Tagged::Nothing => 0,
            Tagged::Once => TAG,
            Tagged::Stack => most.saturating_mul(TAG),
        }
    }
}

impl Tags {
    /// No tags, as for the patterns that have none.
    pub(crate) const fn new() -> Self {
        Tags(Stack::Inline {
            len: 0,
            bytes: [0; INLINE * TAG],
        })
    }

    /// The stack of a request at its origin: the bottom tag alone.
    pub(crate) fn request(id: RequestId) -> Self {
        let mut tags = Tags::new();
        if let Stack::Inline { len, bytes } = &mut tags.0 {
            for (to, from) in bytes.iter_mut().zip(id.to_bytes()) {
                *to = from;
                *len = len.saturating_add(1);
            }
        }
        tags
    }

    /// These bytes, which are whole tags, for the suites.
    #[cfg(any(test, SP_KUNIT))]
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, NoMemory> {
        let mut tags = Tags::new();
        for tag in bytes.chunks_exact(TAG) {
            tags.push(*tag.first_chunk().ok_or(NoMemory)?)?;
        }
        Ok(tags)
    }

    /// Adds a tag behind the others. Needs memory from the fifth on, and does not sleep for it.
    ///
    /// # Errors
    ///
    /// [`NoMemory`]; the tags are as they were.
    pub(crate) fn push(&mut self, tag: [u8; TAG]) -> Result<(), NoMemory> {
        match &mut self.0 {
            Stack::Inline { len, bytes } => {
                if let Some(place) = bytes
                    .get_mut(usize::from(*len)..)
                    .and_then(|b| b.first_chunk_mut())
                {
                    *place = tag;
                    *len = len.saturating_add(TAG as u8);
                    return Ok(());
                }
                let flags = accounted(NO_SLEEP);
                let mut spilled = KVec::with_capacity(2 * INLINE * TAG, flags)?;
                spilled.extend_from_slice(bytes, flags)?;
                spilled.extend_from_slice(&tag, flags)?;
                self.0 = Stack::Spilled(spilled);
            }
            Stack::Spilled(bytes) => bytes.extend_from_slice(&tag, accounted(NO_SLEEP))?,
        }
        Ok(())
    }

    /// Whether a tag is the last one of a stack.
    pub(crate) fn is_bottom([first, ..]: [u8; TAG]) -> bool {
        first & BOTTOM != 0
    }

    /// The request that these belong to, if the first tag is the bottom: nobody is between it and us.
    pub(crate) fn request_id(&self) -> Option<RequestId> {
        let tag = *self.as_bytes().first_chunk()?;
        // INVARIANT: The bit that tells a bottom is the most significant one.
        Self::is_bottom(tag).then(|| RequestId(u32::from_be_bytes(tag)))
    }

    /// The tags as they go before the body on the wire.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            // Never more than there is, see `push` and `request`.
            Stack::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Stack::Spilled(bytes) => bytes,
        }
    }

    /// A number that two different stacks hardly ever share, and of one tag never; nobody can make two that
    /// do who does not know the key.
    pub(crate) fn digest(&self, key: u64) -> u64 {
        // Odd, so that multiplying by it loses nothing; nor does the shift that follows.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.as_bytes().chunks_exact(TAG).fold(key, |sum, tag| {
            let tag = tag.first_chunk().map_or(0, |tag| u32::from_be_bytes(*tag));
            let sum = (sum ^ u64::from(tag)).wrapping_mul(SPREAD);
            // So that tags of zero do not leave a sum of zero as it is.
            (sum ^ (sum >> 32)).wrapping_add(SPREAD)
        })
    }
}

/// The number of a request or a survey: 31 bits, and the one that marks a bottom tag.
///
/// # Invariants
///
/// The most significant bit is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(u32);

impl RequestId {
    const BOTTOM: u32 = 1 << 31;

    /// The id of a socket's first request: 31 of 32 random bits, so that replies to a socket that was
    /// here before are unlikely to be taken for replies to this one.
    pub(crate) const fn first(random: u32) -> Self {
        // INVARIANT: The bit is set here.
        RequestId(random | Self::BOTTOM)
    }

    /// The id after this one. The 31 bits wrap.
    pub(crate) const fn next(self) -> Self {
        // INVARIANT: The bit is set again, if the addition carried it away.
        RequestId(self.0.wrapping_add(1) | Self::BOTTOM)
    }

    const fn to_bytes(self) -> [u8; TAG] {
        self.0.to_be_bytes()
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_tags))]
mod tests {
    use super::*;

    #[test]
    fn any_number_pushed_is_kept_and_few_take_no_memory() -> Result<(), NoMemory> {
        let mut bytes = KVec::new();
        let mut tags = Tags::new();
        for number in 0..255_u8 {
            let tag = [0x7f, 0xff, 0x80, number];
            bytes.extend_from_slice(&tag, NO_SLEEP)?;
            tags.push(tag)?;
            assert_eq!(tags.as_bytes(), bytes.as_slice());
            let spilled = matches!(tags.0, Stack::Spilled(_));
            assert_eq!(spilled, number >= 4);
        }
        Ok(())
    }

    #[test]
    fn new_has_no_bytes() {
        assert_eq!(Tags::new().as_bytes(), &[] as &[u8]);
    }

    #[test]
    fn request_made_has_the_id_alone() {
        for (random, bytes) in [
            (0, [0x80_u8, 0, 0, 0]),
            (0x0102_0304, [0x81, 2, 3, 4]),
            (0x8102_0304, [0x81, 2, 3, 4]),
            (u32::MAX, [0xff, 0xff, 0xff, 0xff]),
        ] {
            let tags = Tags::request(RequestId::first(random));
            assert_eq!(tags.as_bytes(), &bytes as &[u8]);
        }
    }

    #[test]
    fn id_followed_is_one_more_within_31_bits() {
        for (id, next) in [
            (0, 0x8000_0001),
            (0x8000_0000, 0x8000_0001),
            (0x8000_ffff, 0x8001_0000),
            (0xffff_fffe, 0xffff_ffff),
            (0xffff_ffff, 0x8000_0000),
            (0x7fff_ffff, 0x8000_0000),
        ] {
            assert_eq!(RequestId::first(id).next(), RequestId(next));
        }
    }

    #[test]
    fn reply_read_yields_the_id_of_its_request() -> Result<(), NoMemory> {
        for random in [0, 1, 0x1234_5678, u32::MAX] {
            let id = RequestId::first(random);
            assert_eq!(Tags::request(id).request_id(), Some(id));
        }
        // Conformance case 35: ffffffff is an id like others.
        assert_eq!(
            Tags::of(b"\xff\xff\xff\xff")?.request_id(),
            Some(RequestId(u32::MAX))
        );
        // Conformance case 21.
        let others: [&[u8]; 4] = [
            b"",
            b"\x00\x00\x00\x01",
            b"\x7f\xff\xff\xff",
            b"\x00\x00\x00\x07\x80\x00\x00\x01",
        ];
        for other in others {
            assert_eq!(Tags::of(other)?.request_id(), None);
        }
        Ok(())
    }

    #[test]
    fn digest_tells_stacks_apart() -> Result<(), NoMemory> {
        let digest = |stack: &[u8], key| Tags::of(stack).map(|tags| tags.digest(key));
        let stacks: [&[u8]; 6] = [
            b"\x80\0\0\0",
            b"\x80\0\0\x01",
            b"\0\0\0\0\x80\0\0\x01",
            b"\0\0\0\0\0\0\0\0\x80\0\0\x01",
            b"\0\0\0\x01\0\0\0\x02\x80\0\0\x01",
            b"\0\0\0\x02\0\0\0\x01\x80\0\0\x01",
        ];
        for key in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
            for (nth, one) in stacks.iter().enumerate() {
                for (mth, other) in stacks.iter().enumerate() {
                    let same = digest(one, key)? == digest(other, key)?;
                    assert_eq!(same, nth == mth);
                }
            }
        }
        // Nor can one know what another socket makes of them.
        assert!(digest(stacks[0], 1)? != digest(stacks[0], 2)?);
        Ok(())
    }
}
