// SPDX-License-Identifier: GPL-2.0

//! Frames that arrive: tags and a body out of whatever bytes there are.

use super::HEADER;
use crate::address::Address;
use crate::bytes::{
    AppendError,
    Input, //
};
use crate::mem::{
    Flags,
    NoMemory, //
};
use crate::message::run::{
    self,
    Ends, //
};
use crate::message::tags::{
    Tagged,
    Tags,
    TAG, //
};
use crate::message::{
    Bytes,
    Kept,
    Message,
    Msg,
    SMALL, //
};
use crate::stats::Reason;
use crate::wire::{
    Budget,
    Limits,
    Sink,
    Stop,
    Violation, //
};

/// From so many bytes on it is worth while to keep them where they are.
pub(super) const KEPT: usize = 4 << 10;

/// The same where they are a whole message.
const KEPT_WHOLE: usize = 8 << 10;

/// And if it is no less than this part of what is there already: the parts of a body are listed.
const PARTS: usize = 1 << 10;

/// Tags looked at in search of the bottom: one more than any limit allows (SP_MAXTTL, 1..255).
const SCANNED: usize = 256;

/// A frame whose bytes are being read.
pub(super) struct Partial {
    pub(super) len: usize,
    /// As they were when it was begun: what they become is for those that come after it.
    limits: Limits,
    /// How many of its bytes are still to be read.
    pub(super) left: usize,
    pub(super) tags: Tags,
    /// How many tags there were.
    seen: usize,
    /// The tag under way.
    tag: [u8; TAG],
    have: usize,
    /// All tags are read, and what is left is body.
    tagged: bool,
    pub(super) msg: Option<Msg>,
}

impl Partial {
    pub(super) const fn new(len: usize, limits: Limits) -> Self {
        Partial {
            len,
            limits,
            left: len,
            tags: Tags::new(),
            seen: 0,
            tag: [0; TAG],
            have: 0,
            tagged: false,
            msg: None,
        }
    }
}

/// Why a frame does not become a message now.
pub(super) enum Halt {
    Stop(Stop),
    /// Nor ever: the rest of it is to be skipped.
    Discard(Reason),
    /// Nor ever: the body is longer than the limit.
    TooLong,
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        Halt::Stop(stop)
    }
}

pub(super) fn violated(why: Reason) -> Stop {
    Stop::Violated(Violation(why))
}

/// Makes a message of a frame that is all there; a body that `keeps` may stay where it is.
pub(super) fn whole(
    len: usize,
    tagged: Tagged,
    limits: Limits,
    keeps: bool,
    input: &mut impl Input<Kept = Kept>,
    flags: Flags,
) -> Result<Msg, Halt> {
    let mut left = len;
    let mut tags = Tags::new();
    if tagged != Tagged::Nothing {
        let mut seen = 0;
        loop {
            left = left
                .checked_sub(TAG)
                .ok_or(Halt::Discard(Reason::Malformed))?;
            let tag = input.read_array().unwrap_or_else(|| {
                let mut tag = [0; TAG];
                input.read(&mut tag);
                tag
            });
            if take(&mut tags, &mut seen, tag, tagged, limits)? {
                break;
            }
        }
    }
    if left > limits.body {
        return Err(Halt::TooLong);
    }
    let mut msg = Message::tagged(Bytes::new(), tags, flags).map_err(|NoMemory| Stop::NoMemory)?;
    // Where it is going to be.
    let bytes = msg.bytes_mut().ok_or(Stop::NoMemory)?;
    if keeps && left >= KEPT_WHOLE {
        // Whether there is room for more than its length is for the one to say who is offered it.
        let _ = keep(bytes, left, left, input, |_| true, flags);
    }
    while bytes.len() < left {
        let rest = left.saturating_sub(bytes.len());
        let appended = bytes.append(input, rest, left, flags);
        appended.map_err(|_| Stop::NoMemory)?;
    }
    Ok(msg)
}

/// Makes a run of as many frames without tags as are all there, of which the first has `len` bytes, and its length
/// was read; tells how many bytes were taken. `None` if it is to be a message of its own, and nothing was taken.
pub(super) fn several(
    len: usize,
    limits: Limits,
    budget: Budget,
    input: &mut impl Input<Kept = Kept>,
    from: Address,
    flags: Flags,
) -> Option<(Msg, usize)> {
    const GAP: u8 = HEADER as u8;
    // As many as there are if all are as long: of the last one no part is copied for nothing.
    let there = input.remaining().min(budget.bytes).min(run::BYTES);
    let frame = len.saturating_add(HEADER);
    let alike = there.saturating_add(HEADER).checked_div(frame)?;
    let alike = alike.min(run::MOST).saturating_mul(frame);
    let there = there.min(alike.saturating_sub(HEADER));
    let mut bytes = Bytes::new();
    let copied = bytes.append(input, there, there, flags).ok()?;
    let longest = limits.body.min(SMALL);
    let mut ends = Ends::new(GAP);
    let mut end = len;
    while end <= copied && ends.len() < budget.frames && ends.push(end) {
        let next = bytes.head().get(end..).and_then(|rest| rest.first_chunk());
        let len = next.map(|header| u64::from_be_bytes(*header));
        let len = len.and_then(|len| usize::try_from(len).ok());
        let Some(len) = len.filter(|len| *len <= longest) else {
            break;
        };
        end = end.saturating_add(HEADER).saturating_add(len);
    }
    let used = ends.end();
    input.put_back(copied.saturating_sub(used));
    let run = if ends.len() > 1 {
        Message::run(bytes, ends, from, flags)
    } else {
        None
    };
    if run.is_none() {
        input.put_back(used);
    }
    Some((run?, used))
}

/// Takes one more tag, and tells whether it is the last one.
///
/// A stack without a bottom is [`Reason::Malformed`] whatever its depth; only 256 tags without one are
/// [`Reason::TooManyTags`] unseen, as any complete stack above the limit is.
fn take(
    tags: &mut Tags,
    seen: &mut usize,
    tag: [u8; TAG],
    tagged: Tagged,
    limits: Limits,
) -> Result<bool, Halt> {
    *seen = seen.saturating_add(1);
    let fits = tagged == Tagged::Once || *seen <= limits.tags;
    if fits && tags.push(tag).is_err() {
        // Without its pipe a requester asks again, which is more than can be done for it here.
        return Err(Halt::Stop(violated(Reason::NoMemory)));
    }
    let last = tagged == Tagged::Once || Tags::is_bottom(tag);
    if last && !fits || !last && *seen >= SCANNED {
        return Err(Halt::Discard(Reason::TooManyTags));
    }
    Ok(last)
}

/// Reads what has arrived of a frame, and returns the message when it is whole.
pub(super) fn read(
    frame: &mut Partial,
    tagged: Tagged,
    kept_from: usize,
    input: &mut impl Input<Kept = Kept>,
    sink: &mut impl Sink,
    budget: &mut Budget,
    flags: Flags,
) -> Result<Msg, Halt> {
    if !frame.tagged {
        read_tags(frame, tagged, input)?;
    }
    // Also what the tags have left of the length: fewer of them allow no longer body.
    let have = frame.msg.as_ref().map_or(0, |msg| msg.len());
    let len = frame.left.saturating_add(have);
    if len > frame.limits.body && have == 0 {
        return Err(Halt::TooLong);
    }
    if frame.msg.is_none() {
        if len > 0 && input.remaining() == 0 {
            return Err(Halt::Stop(Stop::Hungry));
        }
        let msg = Message::new(Bytes::new(), flags);
        frame.msg = Some(msg.map_err(|NoMemory| Stop::NoMemory)?);
    }
    let bytes = frame.msg.as_mut().and_then(|msg| msg.bytes_mut());
    let bytes = bytes.ok_or(Stop::NoMemory)?;
    while frame.left > 0 {
        let there = input.remaining();
        if there > 0 && budget.bytes == 0 {
            return Err(Halt::Stop(Stop::Spent));
        }
        let n = there.min(budget.bytes).min(frame.left);
        let long = frame.len > SMALL;
        let head = kept_from.saturating_sub(bytes.len());
        let n = if long && head > 0 { n.min(head) } else { n };
        let least = KEPT.max(bytes.len() / PARTS);
        let kept = if long && head == 0 && n >= least {
            keep(bytes, n, least, input, |extra| sink.stretch(extra), flags)
        } else {
            Err(n)
        };
        let appended = kept.or_else(|n| bytes.append(input, n, len, flags));
        match appended {
            Ok(0) => return Err(Halt::Stop(Stop::Hungry)),
            Ok(n) => {
                frame.left = frame.left.saturating_sub(n);
                budget.bytes = budget.bytes.saturating_sub(n);
            }
            Err(AppendError::NoMemory | AppendError::Fault) => {
                return Err(Halt::Stop(Stop::NoMemory));
            }
        }
    }
    let mut msg = frame.msg.take().ok_or(Stop::NoMemory)?;
    msg.tags = core::mem::replace(&mut frame.tags, Tags::new());
    Ok(msg)
}

/// Keeps some of the next `n` bytes of a frame where they are, if these are no less than `least`, that pins no more
/// than twice as much, and in the end it `may` pin so many bytes more than they are; tells how many. Else how many are to
/// be copied.
fn keep(
    bytes: &mut Bytes,
    n: usize,
    least: usize,
    input: &mut impl Input<Kept = Kept>,
    may: impl FnOnce(usize) -> bool,
    flags: Flags,
) -> Result<usize, usize> {
    let (piece, pins) = input.piece(n, bytes.last_kept());
    let Some(pins) = pins else {
        return Err(piece);
    };
    // What is free behind the bytes before is not used any more.
    let extra = pins.saturating_add(bytes.spare()).saturating_sub(piece);
    if piece < least || extra > piece {
        return Err(piece);
    }
    let Some(kept) = input.keep(piece, pins) else {
        return Err(piece);
    };
    if bytes.keep(kept, extra, flags, || may(extra)) {
        Ok(piece)
    } else {
        input.put_back(piece);
        Err(piece)
    }
}

/// Reads the tags in front of a body.
pub(super) fn read_tags(
    frame: &mut Partial,
    tagged: Tagged,
    input: &mut impl Input,
) -> Result<(), Halt> {
    while !frame.tagged && tagged != Tagged::Nothing {
        let missing = frame.tag.len().saturating_sub(frame.have);
        if frame.left < missing {
            return Err(Halt::Discard(Reason::Malformed));
        }
        let before = frame.have;
        fill(&mut frame.tag, &mut frame.have, input);
        let n = frame.have.saturating_sub(before);
        frame.left = frame.left.saturating_sub(n);
        if n < missing {
            return Err(Halt::Stop(Stop::Hungry));
        }
        frame.have = 0;
        let (tags, seen) = (&mut frame.tags, &mut frame.seen);
        frame.tagged = take(tags, seen, frame.tag, tagged, frame.limits)?;
    }
    frame.tagged = true;
    Ok(())
}

/// Goes on filling what `have` bytes are there of.
pub(super) fn fill(bytes: &mut [u8], have: &mut usize, input: &mut impl Input) {
    let rest = bytes.get_mut(*have..).unwrap_or(&mut []);
    *have = have.saturating_add(input.read(rest));
}
