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
//! Pure. [`Tags::parse`] may allocate, without sleeping, for a stack that came through devices.

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

/// Tags looked at in search of the bottom: one more than any limit allows (SP_MAXTTL, 1..255).
const SCANNED: usize = 256;

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

/// Why the start of a body is not a stack to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParseError {
    /// The body ends before the bottom tag does.
    Malformed,
    /// More tags than the limit: too many devices, perhaps a loop of them.
    TooManyTags,
    /// No memory to keep the tags.
    NoMemory,
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

    /// Splits the tags from `body`, up to and including the bottom. Returns them, and how many bytes
    /// they were.
    ///
    /// `max` is the most tags accepted, the bottom included (SP_MAXTTL).
    ///
    /// # Errors
    ///
    /// A stack without a bottom is [`ParseError::Malformed`] whatever its depth; only 256 tags
    /// without one are [`ParseError::TooManyTags`] unseen, as any complete stack above `max` is.
    pub(crate) fn parse(body: &[u8], max: u8) -> Result<(Tags, usize), ParseError> {
        let above = body
            .chunks_exact(TAG)
            .take(SCANNED)
            .position(|tag| tag.first().is_some_and(|byte| byte & BOTTOM != 0));
        let Some(above) = above else {
            return Err(if body.len() < SCANNED * TAG {
                ParseError::Malformed
            } else {
                ParseError::TooManyTags
            });
        };
        if above >= usize::from(max) {
            return Err(ParseError::TooManyTags);
        }
        // OVERFLOW: `above` is below 255.
        let len = above.saturating_add(1).saturating_mul(TAG);
        let bytes = body.get(..len).ok_or(ParseError::Malformed)?;
        Ok((Tags::copy(bytes)?, len))
    }

    /// The tags as they go before the body on the wire.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            // Never more than there is, see `copy` and `request`.
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

    fn copy(from: &[u8]) -> Result<Self, NoMemory> {
        let mut bytes = [0; INLINE * TAG];
        if let (Some(to), Ok(len)) = (bytes.get_mut(..from.len()), u8::try_from(from.len())) {
            to.copy_from_slice(from);
            return Ok(Tags(Stack::Inline { len, bytes }));
        }
        let mut bytes = KVec::new();
        bytes.extend_from_slice(from, accounted(NO_SLEEP))?;
        Ok(Tags(Stack::Spilled(bytes)))
    }
}

impl From<NoMemory> for ParseError {
    fn from(_: NoMemory) -> Self {
        ParseError::NoMemory
    }
}

/// The number of a request or a survey: 31 bits, and the one that marks a bottom tag.
///
/// # Invariants
///
/// The most significant bit is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(u32);

/// Why the start of a body is not the tag of a reply. Such replies are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyError {
    /// There is no whole tag.
    Malformed,
    /// The first tag is not a bottom, so no request of ours had it: the reply counts as one to some
    /// other request.
    Stale,
}

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

/// Reads the tag of a reply, which has come all the way back and must start with the bottom. Returns
/// the id, and how many bytes the tag took.
pub(crate) fn parse_reply(body: &[u8]) -> Result<(RequestId, usize), ReplyError> {
    let tag = body.first_chunk::<TAG>().ok_or(ReplyError::Malformed)?;
    let id = u32::from_be_bytes(*tag);
    if id & RequestId::BOTTOM == 0 {
        return Err(ReplyError::Stale);
    }
    // INVARIANT: The bit was just tested.
    Ok((RequestId(id), TAG))
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_tags)]
mod tests {
    use super::*;

    /// `above` tags with distinct bytes, then the bottom if there is one, then `body` bytes of 0xee.
    fn stack(above: usize, bottom: bool, body: usize) -> Result<KVec<u8>, NoMemory> {
        let mut bytes = KVec::new();
        for number in 0..above {
            // The other three bytes may have their top bit set: only the first counts.
            let tag = [0x7f, 0xff, (number >> 8) as u8, number as u8];
            bytes.extend_from_slice(&tag, NO_SLEEP)?;
        }
        if bottom {
            bytes.extend_from_slice(&[0x80, 0, 0, 1], NO_SLEEP)?;
        }
        for _ in 0..body {
            bytes.push(0xee, NO_SLEEP)?;
        }
        Ok(bytes)
    }

    fn parsed(body: &[u8], max: u8) -> Result<usize, ParseError> {
        let (tags, len) = Tags::parse(body, max)?;
        // Whatever was accepted goes back as it came.
        if body.get(..len) == Some(tags.as_bytes()) {
            Ok(len)
        } else {
            Err(ParseError::NoMemory)
        }
    }

    #[test]
    fn complete_stack_parsed_at_every_depth_and_limit() -> Result<(), NoMemory> {
        for above in [0, 1, 2, 3, 4, 5, 7, 8, 14, 253, 254] {
            for body in [0, 3, 100] {
                let bytes = stack(above, true, body)?;
                for max in [1, 2, 3, 4, 5, 8, 15, 254, 255] {
                    let expected = if above < usize::from(max) {
                        Ok((above + 1) * TAG)
                    } else {
                        Err(ParseError::TooManyTags)
                    };
                    assert_eq!(parsed(&bytes, max), expected);
                }
            }
        }
        Ok(())
    }

    #[test]
    fn short_stack_parsed_takes_no_memory() -> Result<(), NoMemory> {
        for above in 0..8 {
            let spilled = match Tags::parse(&stack(above, true, 1)?, 8) {
                Ok((tags, _)) => matches!(tags.0, Stack::Spilled(_)),
                Err(_) => return Err(NoMemory),
            };
            assert_eq!(spilled, above >= 4);
        }
        Ok(())
    }

    #[test]
    fn stack_cut_short_is_malformed_at_every_length() -> Result<(), NoMemory> {
        let bytes = stack(20, true, 0)?;
        for len in 0..bytes.len() {
            let cut = bytes.get(..len).unwrap_or_default();
            assert_eq!(parsed(cut, 255), Err(ParseError::Malformed));
            // The limit does not matter as long as the bottom is missing.
            assert_eq!(parsed(cut, 1), Err(ParseError::Malformed));
        }
        assert_eq!(parsed(&bytes, 255), Ok(84));
        Ok(())
    }

    #[test]
    fn stack_beyond_any_limit_has_too_many_tags() -> Result<(), NoMemory> {
        // Complete ones, from the first that no limit accepts.
        for above in [255, 256, 257, 300] {
            assert_eq!(
                parsed(&stack(above, true, 8)?, 255),
                Err(ParseError::TooManyTags)
            );
        }
        // Without a bottom, the depth decides which error it is.
        for (above, rest, error) in [
            (255, 0, ParseError::Malformed),
            (255, 3, ParseError::Malformed),
            (256, 0, ParseError::TooManyTags),
            (300, 3, ParseError::TooManyTags),
        ] {
            let mut bytes = stack(above, false, 0)?;
            bytes.extend_from_slice([0; 3].get(..rest).unwrap_or_default(), NO_SLEEP)?;
            assert_eq!(parsed(&bytes, 255), Err(error));
        }
        Ok(())
    }

    #[test]
    fn bottom_of_any_value_is_accepted() {
        // Conformance case 35: ffffffff is an id like others.
        assert_eq!(parsed(&[0xff, 0xff, 0xff, 0xff, b'Z'], 8), Ok(4));
        assert_eq!(parsed(&[0x80, 0, 0, 0], 1), Ok(4));
        // Conformance case 32.
        let body = [0, 0, 0, 0x11, 0, 0, 0, 0x22, 0x80, 0, 0, 1, b'b'];
        assert_eq!(parsed(&body, 8), Ok(12));
        // What follows the bottom is body, whatever its bits.
        assert_eq!(parsed(&[0x80, 0, 0, 1, 0x80, 0, 0, 2], 1), Ok(4));
    }

    #[test]
    fn new_has_no_bytes() {
        assert_eq!(Tags::new().as_bytes(), &[] as &[u8]);
    }

    #[test]
    fn request_made_has_the_id_alone() {
        for (random, bytes) in [
            (0, [0x80, 0, 0, 0]),
            (0x0102_0304, [0x81, 2, 3, 4]),
            (0x8102_0304, [0x81, 2, 3, 4]),
            (u32::MAX, [0xff, 0xff, 0xff, 0xff]),
        ] {
            let tags = Tags::request(RequestId::first(random));
            assert_eq!(tags.as_bytes(), &bytes as &[u8]);
            assert_eq!(parsed(&bytes, 1), Ok(4));
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
    fn reply_read_yields_the_id_of_its_request() {
        for random in [0, 1, 0x1234_5678, u32::MAX] {
            let id = RequestId::first(random);
            let tags = Tags::request(id);
            assert_eq!(parse_reply(tags.as_bytes()), Ok((id, 4)));
        }
        let id = RequestId(0x8000_0001);
        assert_eq!(parse_reply(&[0x80, 0, 0, 1, b'R']), Ok((id, 4)));
    }

    #[test]
    fn reply_to_nothing_of_ours_read_is_refused() {
        // Conformance case 21.
        let cases: [(&[u8], ReplyError); 7] = [
            (b"", ReplyError::Malformed),
            (b"\x80", ReplyError::Malformed),
            (b"abc", ReplyError::Malformed),
            (b"\x80\x00\x00", ReplyError::Malformed),
            (b"\x00\x00\x00\x01", ReplyError::Stale),
            (b"\x7f\xff\xff\xff", ReplyError::Stale),
            (b"\x00\x00\x00\x07\x80\x00\x00\x01R", ReplyError::Stale),
        ];
        for (body, error) in cases {
            assert_eq!(parse_reply(body), Err(error));
        }
    }

    #[test]
    fn digest_tells_stacks_apart() -> Result<(), ParseError> {
        let digest = |body: &[u8], key| Tags::parse(body, 8).map(|(tags, _)| tags.digest(key));
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
