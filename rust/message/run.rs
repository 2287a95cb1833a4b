// SPDX-License-Identifier: GPL-2.0

//! Short messages that have arrived together.
//!
//! Most of what a short message costs on its way in is paid each time: memory, locks, a wake-up. So those that
//! are whole in one segment are copied out of it in one piece, and queued as one message, a *run*, of which the
//! program is given one after the other.
//!
//! A run counts for what its messages count for, as long as one of them is left that was not taken; and for no less
//! than the memory that it takes, whatever else was thrown out of it.

use super::queue::Queue;
use super::tags::Tags;
use super::{
    Body,
    Bytes,
    Message,
    Msg,
    OVERHEAD, //
};
use crate::address::Address;
use crate::mem::{
    Arc,
    Flags,
    NoMemory, //
};

/// How many messages are in a run at most: one for each bit of what is left.
pub(crate) const MOST: usize = 64;

/// How much is copied for a run, in bytes: no more than is cheap to have in one piece.
pub(crate) const BYTES: usize = 16 << 10;

/// The longest message that a run begins with, in bytes.
pub(crate) const LITTLE: usize = BYTES / 4;

/// Where the bodies of a run are in its bytes.
pub(crate) struct Ends {
    ends: [u16; MOST],
    count: u8,
    /// What is in front of each body but the first, in bytes.
    gap: u8,
}

impl Ends {
    pub(crate) const fn new(gap: u8) -> Self {
        Ends {
            ends: [0; MOST],
            count: 0,
            gap,
        }
    }

    /// Adds a body that ends there. False if there are enough.
    pub(crate) fn push(&mut self, end: usize) -> bool {
        let count = self.len();
        let (Some(place), Ok(end)) = (self.ends.get_mut(count), u16::try_from(end)) else {
            return false;
        };
        *place = end;
        self.count = self.count.saturating_add(1);
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.count.into()
    }

    /// Where the last one ends.
    pub(crate) fn end(&self) -> usize {
        let last = self.len().checked_sub(1);
        last.and_then(|last| self.ends.get(last))
            .map_or(0, |end| usize::from(*end))
    }

    /// Where the nth body begins and ends.
    fn range(&self, nth: u32) -> (usize, usize) {
        // CAST: 64 at most.
        let nth = nth as usize;
        let end = self.ends.get(nth).map_or(0, |end| usize::from(*end));
        let before = nth.checked_sub(1).and_then(|nth| self.ends.get(nth));
        let gap = self.gap.into();
        let start = before.map_or(0, |end| usize::from(*end).saturating_add(gap));
        (start, end)
    }

    /// How long the nth body is, in bytes.
    fn body_len(&self, nth: u32) -> usize {
        let (start, end) = self.range(nth);
        end.saturating_sub(start)
    }
}

/// The messages of a run, those that were taken included.
pub(crate) struct Run {
    pub(super) bytes: Bytes,
    ends: Ends,
    /// Who sent them.
    from: Address,
}

impl Run {
    fn body(&self, nth: u32) -> &[u8] {
        let (start, end) = self.ends.range(nth);
        self.part(start, end)
    }

    fn part(&self, start: usize, end: usize) -> &[u8] {
        self.bytes.head().get(start..end).unwrap_or(&[])
    }
}

/// What a run takes beside its bytes.
const MEMORY: usize = size_of::<Run>().saturating_add(OVERHEAD);

/// What has not been taken out of a run.
///
/// # Invariants
///
/// `which` has a bit for each of them, `bodies` is the sum of their lengths. `held` is what the run counts for: no
/// less than its memory while there are any, else 0.
#[derive(Clone, Copy)]
pub(super) struct Left {
    which: u64,
    bodies: u32,
    held: u32,
}

impl Left {
    pub(super) fn messages(&self) -> usize {
        // CAST: 64 at most.
        self.which.count_ones() as usize
    }

    pub(super) fn bodies(&self) -> usize {
        // CAST: As many as fit into a run.
        self.bodies as usize
    }

    pub(super) fn held(&self) -> usize {
        // CAST: As above.
        self.held as usize
    }

    fn first(&self) -> u32 {
        self.which.trailing_zeros()
    }

    fn remove(&mut self, nth: u32, len: usize) {
        self.which &= !1_u64.checked_shl(nth).unwrap_or(0);
        // CAST: It is part of the sum.
        self.bodies = self.bodies.saturating_sub(len as u32);
    }

    /// Throws the nth message out, and tells what is not counted for any more.
    fn throw_out(&mut self, nth: u32, run: &Run) -> usize {
        let len = run.ends.body_len(nth);
        self.remove(nth, len);
        let floor = match self.which {
            0 => 0,
            _ => run.bytes.len().saturating_add(MEMORY),
        };
        let free = self.held().saturating_sub(floor);
        let less = match self.which {
            0 => free,
            _ => free.min(len.saturating_add(OVERHEAD)),
        };
        // CAST: It is no more than that.
        self.held = self.held.saturating_sub(less as u32);
        less
    }
}

/// What was thrown out of runs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lost {
    pub(crate) messages: usize,
    /// What is not counted for any more, in bytes.
    pub(crate) charge: usize,
}

impl Lost {
    pub(crate) fn add(&mut self, other: Lost) {
        self.messages = self.messages.saturating_add(other.messages);
        self.charge = self.charge.saturating_add(other.charge);
    }
}

impl Message {
    /// Several messages without tags, which `bytes` has in one piece, `from` one peer. `None` if there is no memory, or it takes
    /// more than each of them would.
    pub(crate) fn run(bytes: Bytes, ends: Ends, from: Address, flags: Flags) -> Option<Msg> {
        let gaps = usize::from(ends.gap).saturating_mul(ends.len().checked_sub(1)?);
        let bodies = ends.end().saturating_sub(gaps);
        let held = OVERHEAD.saturating_mul(ends.len()).saturating_add(bodies);
        if held < bytes.len().saturating_add(MEMORY) {
            return None;
        }
        let beyond = u32::try_from(ends.len()).ok()?;
        // INVARIANT: All of them are there, and count for what they take at least.
        let left = Left {
            which: u64::MAX.checked_shr(64_u32.checked_sub(beyond)?)?,
            bodies: u32::try_from(bodies).ok()?,
            held: u32::try_from(held).ok()?,
        };
        let run = Arc::new(Run { bytes, ends, from }, flags).ok()?;
        Self::with(Body::Run(run, left), Tags::new(), flags).ok()
    }

    /// The messages of a run one by one, where it has become dearer than they are. Else, or if there is no memory,
    /// the message comes back.
    pub(crate) fn apart(msg: Msg, flags: Flags) -> Result<Queue, Msg> {
        let Body::Run(run, left) = &msg.body else {
            return Err(msg);
        };
        let alone = OVERHEAD.saturating_mul(left.messages());
        if left.held() <= alone.saturating_add(left.bodies()) {
            return Err(msg);
        }
        let mut apart = Queue::new();
        let mut rest = left.which;
        while rest != 0 {
            let body = run.body(rest.trailing_zeros());
            rest &= rest.wrapping_sub(1);
            let one = Bytes::of(body, flags).and_then(|bytes| Message::new(bytes, flags));
            let Ok(mut one) = one else {
                return Err(msg);
            };
            one.from = run.from;
            apart.push(one);
        }
        Ok(apart)
    }

    /// How many messages it stands for.
    pub(crate) fn messages(&self) -> usize {
        match &self.body {
            Body::Owned(_) | Body::Shared(_) => 1,
            Body::Run(_, left) => left.messages(),
        }
    }

    /// How long the first of them is, in bytes.
    pub(crate) fn first_len(&self) -> usize {
        match &self.body {
            Body::Owned(_) | Body::Shared(_) => self.len(),
            Body::Run(run, left) => run.ends.body_len(left.first()),
        }
    }

    /// Gives the first message of a run that has more to `give`, with who sent it, and takes it out if that has taken it.
    /// Tells how long it is.
    #[inline]
    pub(super) fn give_first(
        &mut self,
        give: impl FnOnce(&[u8], &Address) -> bool,
    ) -> Option<usize> {
        let Body::Run(run, left) = &mut self.body else {
            return None;
        };
        if left.which & left.which.wrapping_sub(1) == 0 {
            return None;
        }
        let nth = left.first();
        let body = run.body(nth);
        if !give(body, &run.from) {
            return None;
        }
        left.remove(nth, body.len());
        Some(body.len())
    }

    /// Takes the first message out of a run that has more.
    #[inline]
    pub(super) fn take_first(&mut self) -> Option<Taken> {
        let Body::Run(run, left) = &mut self.body else {
            return None;
        };
        if left.which & left.which.wrapping_sub(1) == 0 {
            return None;
        }
        let nth = left.first();
        let part = Part::new(run, nth);
        left.remove(nth, part.len());
        Some(Taken(What::Part { part, more: true }))
    }

    /// Takes out what `keep`, which sees the tags and the front of the body, refuses of a run; of another message,
    /// nothing. Tells whether anything is left.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Tags, &[u8]) -> bool) -> (bool, Lost) {
        let mut lost = Lost::default();
        match &mut self.body {
            Body::Owned(bytes) => (keep(&self.tags, bytes.head()), lost),
            Body::Shared(bytes) => (keep(&self.tags, bytes.head()), lost),
            Body::Run(run, left) => {
                let mut rest = left.which;
                while rest != 0 {
                    let nth = rest.trailing_zeros();
                    rest &= rest.wrapping_sub(1);
                    if !keep(&self.tags, run.body(nth)) {
                        lost.messages = lost.messages.saturating_add(1);
                        lost.charge = lost.charge.saturating_add(left.throw_out(nth, run));
                    }
                }
                (left.which != 0, lost)
            }
        }
    }
}

/// A message as the program is given it.
pub(crate) struct Taken(What);

enum What {
    Whole(Msg),
    /// It stays where it was.
    Shown(Arc<Bytes>, Address),
    /// One of a run, of which `more` is left.
    Part {
        part: Part,
        more: bool,
    },
}

/// Some bytes of a run.
struct Part {
    run: Arc<Run>,
    start: usize,
    end: usize,
}

impl Part {
    #[inline]
    fn new(run: &Arc<Run>, nth: u32) -> Self {
        let (start, end) = run.ends.range(nth);
        let run = run.clone();
        Part { run, start, end }
    }

    fn len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }
}

impl What {
    /// The first one that is left of a run.
    fn one(run: &Arc<Run>, left: &Left) -> Self {
        What::Part {
            part: Part::new(run, left.first()),
            more: false,
        }
    }
}

/// Where its bytes are.
pub(crate) enum Contents<'a> {
    Whole(&'a Bytes),
    Part(&'a [u8]),
}

impl Taken {
    /// The message, or the last one of a run.
    pub(crate) fn whole(msg: Msg) -> Self {
        Taken(match &msg.body {
            Body::Run(run, left) => What::one(run, left),
            Body::Owned(_) | Body::Shared(_) => What::Whole(msg),
        })
    }

    /// A look at the first message.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn look(msg: &mut Message, flags: Flags) -> Result<Self, NoMemory> {
        Ok(Taken(match &msg.body {
            Body::Run(run, left) => What::one(run, left),
            Body::Owned(_) | Body::Shared(_) => What::Shown(msg.share(flags)?, msg.from),
        }))
    }

    pub(crate) fn contents(&self) -> Contents<'_> {
        match &self.0 {
            What::Whole(msg) => Contents::Whole(msg.bytes()),
            What::Shown(bytes, _) => Contents::Whole(bytes),
            What::Part { part, .. } => Contents::Part(part.run.part(part.start, part.end)),
        }
    }

    /// How long it is, in bytes.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            What::Whole(msg) => msg.len(),
            What::Shown(bytes, _) => bytes.len(),
            What::Part { part, .. } => part.len(),
        }
    }

    /// Who sent it.
    pub(crate) fn from(&self) -> Address {
        match &self.0 {
            What::Whole(msg) => msg.from,
            What::Shown(_, from) => *from,
            What::Part { part, .. } => part.run.from,
        }
    }

    /// Whether it is one of a run of which more is left, so that nothing has become free.
    pub(crate) fn is_not_last(&self) -> bool {
        matches!(self.0, What::Part { more: true, .. })
    }

    /// The tags that it has arrived with, which are taken out.
    pub(crate) fn take_tags(&mut self) -> Tags {
        match &mut self.0 {
            What::Whole(msg) => core::mem::replace(&mut msg.tags, Tags::new()),
            What::Shown(..) | What::Part { .. } => Tags::new(),
        }
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_run))]
mod tests {
    use super::*;
    use crate::mem::GFP_KERNEL;

    const COUNT: usize = 10;

    /// Messages of so many bytes, each of which is its number, with two bytes between them.
    fn run(count: usize, len: usize) -> Option<Msg> {
        let mut bytes = [0xff_u8; 1500];
        let mut ends = Ends::new(2);
        let mut at = 0;
        for nth in 0..count {
            bytes.get_mut(at..at + len)?.fill(nth as u8);
            ends.push(at + len).then_some(())?;
            at += len + 2;
        }
        let bytes = Bytes::of(bytes.get(..at - 2)?, GFP_KERNEL).ok()?;
        let (ip, port) = ([1; 4], 1);
        Message::run(bytes, ends, Address::V4 { ip, port }, GFP_KERNEL)
    }

    /// The first byte of a message, and its length.
    fn look(taken: &Taken) -> (Option<u8>, usize) {
        let first = match taken.contents() {
            Contents::Whole(bytes) => bytes.head().first(),
            Contents::Part(body) => body.first(),
        };
        (first.copied(), taken.len())
    }

    /// Takes the next one out, and tells what is not counted any more.
    fn take(queue: &mut Queue) -> Option<((Option<u8>, usize), usize)> {
        if let Some(taken) = queue.take_first() {
            return Some((look(&taken), 0));
        }
        let msg = queue.pop()?;
        let less = msg.charge();
        Some((look(&Taken::whole(msg)), less))
    }

    #[test]
    fn taken_one_by_one_between_others() -> Result<(), NoMemory> {
        let mut queue = Queue::new();
        queue.push(Message::of(b"\xaa", GFP_KERNEL)?);
        let run = run(COUNT, 7).ok_or(NoMemory)?;
        let charge = run.charge();
        assert_eq!(charge, COUNT * (7 + OVERHEAD));
        assert_eq!((run.messages(), run.len(), run.first_len()), (10, 70, 7));
        queue.push(run);
        queue.push(Message::of(b"\xbb", GFP_KERNEL)?);
        assert_eq!((queue.len(), queue.bytes()), (12, 72));
        assert_eq!(take(&mut queue).map(|t| t.0), Some((Some(0xaa), 1)));
        let mut less = 0;
        for nth in 0..COUNT {
            // A look changes nothing.
            let shown = queue.front().map(|msg| Taken::look(msg, GFP_KERNEL));
            assert_eq!(look(&shown.ok_or(NoMemory)??), (Some(nth as u8), 7));
            let (seen, part) = take(&mut queue).ok_or(NoMemory)?;
            assert_eq!(seen, (Some(nth as u8), 7));
            less += part;
            assert_eq!((queue.len(), queue.bytes()), (10 - nth, 64 - 7 * nth));
        }
        assert_eq!(less, charge);
        assert_eq!(take(&mut queue).map(|t| t.0), Some((Some(0xbb), 1)));
        assert!(queue.is_empty() && queue.bytes() == 0);
        Ok(())
    }

    #[test]
    fn given_is_taken_out_if_it_was_taken() -> Result<(), NoMemory> {
        let mut queue = Queue::new();
        queue.push(run(3, 7).ok_or(NoMemory)?);
        assert!(queue.give_first(|_, _| false).is_none());
        assert_eq!((queue.len(), queue.bytes()), (3, 21));
        for nth in 0..2 {
            let given = queue.give_first(|body, from| {
                body == [nth; 7] && matches!(from, Address::V4 { port: 1, .. })
            });
            assert_eq!(given, Some(7));
        }
        assert_eq!((queue.len(), queue.bytes()), (1, 7));
        // The last one is to be taken, and with it the run.
        assert!(queue.give_first(|_, _| true).is_none());
        queue.push(Message::of(b"one", GFP_KERNEL)?);
        assert!(queue.pop().is_some());
        assert!(queue.give_first(|_, _| true).is_none());
        Ok(())
    }

    #[test]
    fn counts_for_its_memory_until_the_last_is_taken() -> Result<(), NoMemory> {
        let mut run = run(COUNT, 100).ok_or(NoMemory)?;
        let charge = COUNT * (100 + OVERHEAD);
        while let Some(taken) = run.take_first() {
            assert_eq!(taken.len(), 100);
            assert_eq!(run.charge(), charge);
        }
        assert_eq!(run.messages(), 1);
        // What is thrown out is not counted, but the memory is.
        let memory = run.bytes().len() + MEMORY;
        let mut rest = super::tests::run(COUNT, 100).ok_or(NoMemory)?;
        let (stays, lost) = rest.retain(|_, body| body.first() == Some(&7));
        assert!(stays && lost.messages == COUNT - 1);
        assert_eq!((rest.messages(), rest.charge()), (1, memory));
        Ok(())
    }

    #[test]
    fn dearer_than_its_messages_is_none() {
        assert!(run(1, 100).is_none());
        assert!(run(COUNT, 100).is_some());
    }

    #[test]
    fn most_and_no_more_fit() {
        let mut ends = Ends::new(0);
        for nth in 0..MOST {
            assert!(ends.push(nth));
        }
        assert!(!ends.push(MOST));
        assert_eq!((ends.len(), ends.end()), (MOST, MOST - 1));
        assert!(!Ends::new(0).push(1 << 16));
        let all = run(MOST, 1);
        assert_eq!(all.map(|run| run.messages()), Some(MOST));
    }

    #[test]
    fn purged_goes_on_with_the_rest() -> Result<(), NoMemory> {
        let mut queue = Queue::new();
        queue.push(run(COUNT, 5).ok_or(NoMemory)?);
        let before = queue.front().map_or(0, |run| run.charge());
        assert!(take(&mut queue).is_some());
        let odd = |_: &Tags, body: &[u8]| body.first().is_some_and(|name| name % 2 == 1);
        let (gone, lost) = queue.purge(odd);
        assert!(gone.is_empty());
        // 2, 4, 6 and 8.
        assert_eq!((lost.messages, queue.len(), queue.bytes()), (4, 5, 25));
        let mut less = lost.charge;
        for nth in [1, 3, 5, 7, 9] {
            let (seen, part) = take(&mut queue).ok_or(NoMemory)?;
            assert_eq!(seen, (Some(nth), 5));
            less += part;
        }
        assert_eq!(less, before);
        assert!(queue.is_empty());
        Ok(())
    }

    #[test]
    fn few_that_are_left_are_cheaper_apart() -> Result<(), NoMemory> {
        let whole = run(MOST, 20).ok_or(NoMemory)?;
        let mut whole = match Message::apart(whole, GFP_KERNEL) {
            Err(run) => run,
            Ok(_) => return Err(NoMemory),
        };
        let (stays, _) = whole.retain(|_, body| body.first().is_some_and(|name| *name < 2));
        assert!(stays && whole.charge() > 2 * (20 + OVERHEAD));
        let mut apart = Message::apart(whole, GFP_KERNEL).map_err(|_| NoMemory)?;
        assert_eq!((apart.len(), apart.bytes()), (2, 40));
        for name in 0..2 {
            let msg = apart.pop().ok_or(NoMemory)?;
            assert_eq!(msg.charge(), 20 + OVERHEAD);
            assert!(matches!(msg.from, Address::V4 { port: 1, .. }));
            assert_eq!(look(&Taken::whole(msg)), (Some(name), 20));
        }
        Ok(())
    }

    #[test]
    fn purged_of_all_is_gone() -> Result<(), NoMemory> {
        let mut queue = Queue::new();
        queue.push(run(COUNT, 5).ok_or(NoMemory)?);
        let charge = queue.front().map_or(0, |run| run.charge());
        let (mut gone, lost) = queue.purge(|_, _| false);
        assert_eq!((lost.messages, lost.charge), (COUNT, charge));
        assert_eq!((queue.len(), queue.bytes(), gone.len()), (0, 0, 0));
        assert!(queue.is_empty() && !gone.is_empty());
        assert_eq!(gone.pop().map(|msg| msg.charge()), Some(0));
        assert!(queue.pop().is_none());
        Ok(())
    }
}
