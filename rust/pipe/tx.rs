// SPDX-License-Identifier: GPL-2.0

//! The send side of a pipe, and its life: what waits to be sent, and how far the pipe has come.
//!
//! Pure: the clock and the limits are arguments, and what is to be done comes back.

use crate::bytes::AppendError;
use crate::ledger::Ledger;
use crate::mem::{
    accounted,
    Arc,
    NO_SLEEP, //
};
use crate::message::queue::Queue;
use crate::message::{
    Chunk,
    Msg,
    OVERHEAD, //
};
use crate::time::{
    Instant,
    Millis, //
};
use crate::wire::sp::{
    Batch,
    Edition,
    Rest, //
};
use crate::wire::Violation;
use core::ffi::CStr;

/// How long a peer may take to connect and greet.
pub(super) const GREETING_TIME: Millis = Millis(10_000);

/// A batch is not lent for less than this, in bytes.
const LENT_FOR: usize = 16 * OVERHEAD;

/// Why a pipe ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer is gone, or was never reached.
    Disconnected,
    /// The peer broke the protocol.
    Violated(Violation),
    /// The peer took too long to greet.
    GreetingTimeout,
    /// The peer took too long over a message.
    MessageTimeout,
    /// We want no more of it: nothing is left to be delivered, or it is too late.
    Closed,
    /// As `Closed`, and nothing more is to be delivered: reset the connection.
    Aborted,
}

impl End {
    /// For who traces pipes.
    pub(crate) fn name(self) -> &'static CStr {
        match self {
            End::Disconnected => c"disconnected",
            End::Violated(_) => c"violated",
            End::GreetingTimeout => c"greeting_timeout",
            End::MessageTimeout => c"message_timeout",
            End::Closed => c"closed",
            End::Aborted => c"aborted",
        }
    }
}

/// How far a pipe has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Greeting,
    Up,
    /// It delivers what it has, since then; `fin`: our FIN is queued behind everything else.
    Closing {
        since: Instant,
        fin: bool,
    },
    /// The work is going to end it.
    Ending(End),
    Ended,
}

/// Whether TCP is being given what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Idle,
    /// A flush is under way; it will see what is pushed meanwhile.
    Flushing,
    /// TCP had no room; it tells when it has.
    Blocked,
    /// TCP had no memory, and tells nothing.
    Starved,
}

/// What TCP is given at a time.
pub(super) enum Parcel {
    One(Msg),
    Many(Batch),
    /// Those that others are given too, and what is left of them here.
    Shared(Arc<Edition>, Rest),
}

impl Parcel {
    /// What it counts for, in bytes.
    pub(super) fn charge(&self) -> usize {
        match self {
            Parcel::One(msg) => msg.charge(),
            Parcel::Many(batch) => batch.charge(),
            Parcel::Shared(edition, rest) => edition.charge_of(*rest),
        }
    }

    /// What the programs see of it, in bytes.
    fn bodies(&self) -> usize {
        match self {
            Parcel::One(msg) => msg.len(),
            Parcel::Many(batch) => batch.bodies(),
            Parcel::Shared(edition, rest) => edition.bodies_of(*rest),
        }
    }

    fn messages(&self) -> u64 {
        match self {
            Parcel::One(_) => 1,
            Parcel::Many(batch) => batch.messages().into(),
            Parcel::Shared(_, rest) => rest.messages().into(),
        }
    }

    /// TCP has so many bytes of it: of several, those that are wholly in them are no longer here.
    fn taken(&mut self, done: usize) {
        match self {
            Parcel::One(_) => {}
            Parcel::Many(batch) => batch.taken(done),
            Parcel::Shared(edition, rest) => edition.taken(rest, done),
        }
    }
}

/// Something to be sent, or the rest of it.
pub(super) struct Next {
    pub(super) parcel: Parcel,
    /// How many of its bytes TCP has.
    pub(super) offset: usize,
    /// There is another one behind it.
    pub(super) more: bool,
}

pub(super) struct Tx {
    life: Life,
    /// When both greetings were exchanged.
    up_since: Option<Instant>,
    /// What TCP has taken the first bytes of, and how many. A flush takes it out while it sends.
    current: Option<(Parcel, usize)>,
    /// What the programs see of that meanwhile, in bytes.
    under_way: usize,
    /// Short messages that others send too, behind `current`.
    shared: Option<Arc<Edition>>,
    /// Short messages, behind `shared`. None is added while `queue` has some.
    batch: Batch,
    /// It is lent: what is in its place is empty. The bodies that it had then, in bytes.
    lent: Option<usize>,
    /// Memory for others, where some come while TCP is given those before.
    spare: Chunk,
    /// Behind `batch`.
    queue: Queue,
    /// What all of that, and what is being sent, counts for, in bytes.
    charge: usize,
    /// The owner was told that there is no room.
    full: bool,
    flow: Flow,
    /// How many messages TCP has taken, and how many bytes they had.
    messages: u64,
    bytes: u64,
}

impl Tx {
    pub(super) const fn new() -> Self {
        Tx {
            life: Life::Greeting,
            up_since: None,
            current: None,
            under_way: 0,
            shared: None,
            batch: Batch::new(),
            lent: None,
            spare: Chunk::new(),
            queue: Queue::new(),
            charge: 0,
            full: false,
            flow: Flow::Idle,
            messages: 0,
            bytes: 0,
        }
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }

    pub(super) fn up_since(&self) -> Option<Instant> {
        self.up_since
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// How many messages TCP has taken, and how many bytes the programs see of them.
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.messages, self.bytes)
    }

    fn count(&mut self, messages: u64, bodies: usize) {
        self.messages = self.messages.wrapping_add(messages);
        let bytes = u64::try_from(bodies).unwrap_or(0);
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    /// What waits to be sent, in bytes of the programs' messages.
    pub(super) fn unsent(&self) -> usize {
        let current = self.current.as_ref();
        let current = current.map_or(self.under_way, |(parcel, _)| parcel.bodies());
        let shared = self.shared.as_ref().map_or(0, |edition| edition.bodies());
        let lent = self.lent.unwrap_or(self.batch.bodies());
        let behind = lent.saturating_add(self.queue.bytes());
        current.saturating_add(shared).saturating_add(behind)
    }

    /// Whether TCP is being given something, or can be.
    pub(super) fn moves(&self) -> bool {
        let moves = matches!(self.flow, Flow::Idle | Flow::Flushing);
        moves && self.sends() && !self.is_empty()
    }

    /// Whether TCP has everything.
    pub(super) fn is_empty(&self) -> bool {
        self.current.is_none()
            && self.has_none_behind()
            && self.flow != Flow::Flushing
            && self.lent.is_none()
    }

    /// Whether nothing is left but what is lent.
    pub(super) fn has_only_lent(&self) -> bool {
        self.lent.is_some() && self.current.is_none() && self.has_none_behind()
    }

    /// Whether nothing is behind `current`.
    fn has_none_behind(&self) -> bool {
        self.shared.is_none() && self.batch.is_empty() && self.queue.is_empty()
    }

    /// Both greetings are exchanged. Tells whether the pipe is up by this.
    pub(super) fn greeted(&mut self, now: Instant) -> bool {
        let opens = self.life == Life::Greeting;
        if opens {
            self.life = Life::Up;
            self.up_since = Some(now);
        }
        opens
    }

    /// Appends a message, or drops it if the pipe is not up. Tells whether there is room for another one.
    #[inline]
    pub(super) fn push(&mut self, msg: Msg, sndbuf: usize) -> bool {
        if self.life == Life::Up {
            self.charge = self.charge.saturating_add(msg.charge());
            self.queue.push(msg);
        }
        self.has_room(sndbuf)
    }

    /// Copies a message of this length behind those that go out in one piece, which take no more memory than
    /// SO_SNDBUF for more that may come. False if it is to be pushed instead: it would overtake others, or there is
    /// no room or no memory, or the pipe is not up, or it has tags and is not the first, or `write` fails, which
    /// writes the body.
    #[inline]
    pub(super) fn copy(
        &mut self,
        len: usize,
        tags: &[u8],
        ledger: &Arc<Ledger>,
        sndbuf: usize,
        write: impl FnOnce(&mut Chunk) -> Result<(), AppendError>,
    ) -> bool {
        if !self.takes_copy(len, tags.len(), sndbuf) {
            return false;
        }
        let charge = self.batch.append(len, tags, ledger, write);
        self.charge = self.charge.saturating_add(charge.unwrap_or(0));
        charge.is_some()
    }

    /// Appends messages without tags that others send too, if there is room for all of them: a copy, as
    /// [`Self::copy`], if they do not come first.
    pub(super) fn take_all(
        &mut self,
        all: &Arc<Edition>,
        ledger: &Arc<Ledger>,
        sndbuf: usize,
    ) -> bool {
        let room = self.charge.saturating_add(all.charge()) <= sndbuf;
        let first = self.has_none_behind() && self.lent.is_none();
        if room && self.life == Life::Up && first {
            self.charge = self.charge.saturating_add(all.charge());
            self.shared = Some(all.clone());
            return true;
        }
        if !room || !self.takes_copy(all.bytes().len(), 0, sndbuf) {
            return false;
        }
        let charge = self.batch.append_all(all, ledger);
        self.charge = self.charge.saturating_add(charge.unwrap_or(0));
        charge.is_some()
    }

    /// Makes room for such a copy. False if the message is to be pushed instead.
    #[inline(always)]
    pub(super) fn takes_copy(&mut self, len: usize, tags: usize, sndbuf: usize) -> bool {
        let flags = accounted(NO_SLEEP);
        self.life == Life::Up
            && self.lent.is_none()
            && self.queue.is_empty()
            && self.batch.reserve(len, tags, sndbuf, flags)
    }

    /// Compares what is held unsent with SO_SNDBUF again. No pipe has room that is not up.
    pub(super) fn has_room(&mut self, sndbuf: usize) -> bool {
        self.full = self.charge >= sndbuf;
        !self.full && self.life == Life::Up
    }

    /// Lends the batch, if it has messages and nothing is behind it, and tells how much may be added, in bytes; not if that
    /// is not worth it. Until it is back the owner sees to it that nothing is pushed.
    pub(super) fn lend(&mut self, sndbuf: usize) -> Option<(Batch, usize)> {
        let free = self.life == Life::Up && self.lent.is_none() && self.queue.is_empty();
        let room = sndbuf.saturating_sub(self.charge);
        (free && room > LENT_FOR && self.batch.takes_more()).then(|| {
            self.lent = Some(self.batch.bodies());
            (core::mem::replace(&mut self.batch, Batch::new()), room)
        })
    }

    /// Takes it back, with messages that count for so much more. Returns what is to be dropped.
    pub(super) fn take_back(&mut self, batch: Batch, charge: usize) -> impl Sized {
        self.lent = None;
        self.charge = self.charge.saturating_add(charge);
        if self.life == Life::Ended {
            return (Some(batch), Chunk::new());
        }
        let mut empty = core::mem::replace(&mut self.batch, batch);
        if !empty.has_memory() {
            return (None, Chunk::new());
        }
        // What was sent meanwhile has left it there.
        let other = core::mem::replace(&mut self.spare, empty.take_memory());
        (None, other)
    }

    fn sends(&self) -> bool {
        matches!(self.life, Life::Up | Life::Closing { .. })
    }

    /// Whether a flush is to begin. Then [`Self::next`] is called until it gives nothing, or
    /// [`Self::stuck`].
    #[inline]
    pub(super) fn begin_flush(&mut self) -> bool {
        let begins = self.flow == Flow::Idle && self.moves();
        if begins {
            self.flow = Flow::Flushing;
        }
        begins
    }

    /// What is next in a flush, which is over if there is nothing.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Next> {
        let next = if self.sends() {
            self.current.take().or_else(|| Some((self.first()?, 0)))
        } else {
            None
        };
        let Some((parcel, offset)) = next else {
            self.flow = Flow::Idle;
            self.under_way = 0;
            return None;
        };
        let more = !self.has_none_behind();
        self.under_way = parcel.bodies();
        Some(Next {
            parcel,
            offset,
            more,
        })
    }

    fn first(&mut self) -> Option<Parcel> {
        if let Some(edition) = self.shared.take() {
            let rest = edition.rest();
            return Some(Parcel::Shared(edition, rest));
        }
        if self.batch.is_empty() {
            return self.queue.pop().map(Parcel::One);
        }
        let spare = core::mem::replace(&mut self.spare, Chunk::new());
        let batch = core::mem::replace(&mut self.batch, Batch::in_memory(spare));
        Some(Parcel::Many(batch))
    }

    /// TCP has all of it, and the caller drops it. Tells whether the owner waits for the room.
    #[inline]
    pub(super) fn sent(&mut self, parcel: &mut Parcel, sndbuf: usize) -> bool {
        self.under_way = 0;
        self.charge = self.charge.saturating_sub(parcel.charge());
        self.count(parcel.messages(), parcel.bodies());
        if let (Parcel::Many(batch), Life::Up) = (parcel, self.life) {
            batch.clear();
            if self.batch.has_memory() {
                self.spare = batch.take_memory();
            } else {
                core::mem::swap(&mut self.batch, batch);
            }
        }
        self.full && self.charge < sndbuf
    }

    /// Whether there is memory for what may come that is to be given back if nothing does.
    pub(super) fn has_spare(&self) -> bool {
        self.batch.has_spare() || self.spare.capacity() > 0
    }

    /// Nothing more is expected soon. Returns memory for it that is to be dropped.
    #[must_use]
    pub(super) fn trim(&mut self) -> impl Sized {
        let spare = core::mem::replace(&mut self.spare, Chunk::new());
        (self.batch.trim(), spare)
    }

    /// TCP takes no more than `done` bytes of this, for want of room, or of memory if it is `starved`. The
    /// flush is over. Tells whether the owner waits for the room of what is wholly taken.
    pub(super) fn stuck(
        &mut self,
        mut parcel: Parcel,
        done: usize,
        starved: bool,
        sndbuf: usize,
    ) -> bool {
        let (charge, messages, bodies) = (parcel.charge(), parcel.messages(), parcel.bodies());
        parcel.taken(done);
        let less = charge.saturating_sub(parcel.charge());
        self.charge = self.charge.saturating_sub(less);
        let taken = messages.saturating_sub(parcel.messages());
        self.count(taken, bodies.saturating_sub(parcel.bodies()));
        self.under_way = 0;
        self.current = Some((parcel, done));
        self.flow = if starved {
            Flow::Starved
        } else {
            Flow::Blocked
        };
        self.full && self.charge < sndbuf
    }

    /// TCP has room again, or is to be tried again. Tells whether that matters.
    pub(super) fn unblock(&mut self) -> bool {
        let blocked = matches!(self.flow, Flow::Blocked | Flow::Starved);
        if blocked {
            self.flow = Flow::Idle;
        }
        blocked
    }

    /// Where TCP had no memory, lets it be tried again. Tells whether that was so.
    pub(super) fn retry(&mut self) -> bool {
        self.flow == Flow::Starved && self.unblock()
    }

    /// The work is to end the pipe if `which` lets it. Tells whether it is to be run.
    pub(super) fn end(&mut self, end: End, which: impl FnOnce(Life) -> bool) -> bool {
        let ends = match self.life {
            Life::Ending(_) | Life::Ended => false,
            life => which(life),
        };
        if ends {
            self.life = Life::Ending(end);
        }
        ends
    }

    /// Delivers what there is, and takes no more. Tells whether the pipe is still alive.
    pub(super) fn close(&mut self, now: Instant) -> bool {
        match self.life {
            Life::Greeting => self.life = Life::Ending(End::Closed),
            Life::Up => {
                self.life = Life::Closing {
                    since: now,
                    fin: false,
                };
            }
            Life::Closing { .. } | Life::Ending(_) | Life::Ended => {}
        }
        self.life != Life::Ended
    }

    /// How to end it whatever it holds: what is wholly in TCP, TCP goes on delivering.
    pub(super) fn last_word(&self) -> End {
        if self.is_empty() {
            End::Closed
        } else {
            End::Aborted
        }
    }

    /// Notes that our FIN is queued, if nothing is left to be sent. Tells whether it was before; `None` if
    /// there is something left.
    pub(super) fn fin(&mut self) -> Option<bool> {
        let empty = self.is_empty();
        match &mut self.life {
            Life::Closing { fin, .. } if empty => Some(core::mem::replace(fin, true)),
            _ => None,
        }
    }

    /// Whether our FIN is queued.
    pub(super) fn has_fin(&self) -> bool {
        matches!(self.life, Life::Closing { fin: true, .. })
    }

    /// No more of anything, for good. Returns what is to be dropped; `None` if it was called before.
    pub(super) fn set_ended(&mut self) -> Option<impl Sized> {
        if self.life == Life::Ended {
            return None;
        }
        self.life = Life::Ended;
        let batch = core::mem::replace(&mut self.batch, Batch::new());
        let spare = core::mem::replace(&mut self.spare, Chunk::new());
        let queue = core::mem::replace(&mut self.queue, Queue::new());
        Some((self.current.take(), self.shared.take(), batch, spare, queue))
    }

    /// When the greetings, or what is delivered while the pipe closes, have to be over, and how it ends
    /// otherwise. `said`: our own greeting was sent.
    pub(super) fn deadline(
        &self,
        born: Instant,
        said: bool,
        close_timeout: Millis,
    ) -> Option<(Instant, End)> {
        match self.life {
            Life::Greeting => {
                // Who was never connected has not greeted badly.
                let end = if said {
                    End::GreetingTimeout
                } else {
                    End::Disconnected
                };
                Some((born.after(GREETING_TIME), end))
            }
            Life::Closing { since, .. } => Some((since.after(close_timeout), self.last_word())),
            Life::Up | Life::Ending(_) | Life::Ended => None,
        }
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_tx))]
mod tests {
    use super::*;
    use crate::bytes::Room;
    use crate::mem::{
        NoMemory,
        GFP_KERNEL, //
    };
    use crate::message::{
        Message,
        OVERHEAD, //
    };

    const NOW: Instant = Instant(1000);
    const TIMEOUT: Millis = Millis(30);

    fn msg(body: &[u8]) -> Result<Msg, NoMemory> {
        Message::of(body, GFP_KERNEL)
    }

    fn up() -> Tx {
        let mut tx = Tx::new();
        tx.greeted(NOW);
        tx
    }

    /// What the next message of a flush is.
    fn next(tx: &mut Tx) -> Option<(u8, usize, bool)> {
        let next = tx.next()?;
        let first = match &next.parcel {
            Parcel::One(msg) => *msg.bytes().head().first()?,
            Parcel::Many(batch) => *batch.bytes().get(8)?,
            Parcel::Shared(edition, _) => *edition.bytes().get(8)?,
        };
        Some((first, next.offset, next.more))
    }

    #[test]
    fn greeting_pushed_is_dropped_and_up_pushed_is_sent() -> Result<(), NoMemory> {
        let mut tx = Tx::new();
        assert!(!tx.push(msg(b"a")?, 1000));
        assert!(tx.is_empty() && !tx.begin_flush());
        assert!(tx.greeted(NOW));
        assert!(!tx.greeted(Instant(2000)));
        assert_eq!(tx.up_since(), Some(NOW));
        assert!(tx.push(msg(b"b")?, 1000) && tx.push(msg(b"c")?, 1000));
        assert_eq!(tx.unsent(), 2);
        assert!(tx.begin_flush());
        // It takes along what others push.
        assert!(!tx.begin_flush());
        assert_eq!(next(&mut tx), Some((b'b', 0, true)));
        assert!(!tx.is_empty());
        assert_eq!(next(&mut tx), Some((b'c', 0, false)));
        assert_eq!(next(&mut tx), None);
        assert!(tx.is_empty() && !tx.begin_flush());
        Ok(())
    }

    #[test]
    fn full_is_told_once_there_is_room() -> Result<(), NoMemory> {
        let mut tx = up();
        let charge = msg(b"a")?.charge();
        let sndbuf = 2 * charge;
        assert!(tx.push(msg(b"a")?, sndbuf));
        assert!(!tx.push(msg(b"b")?, sndbuf));
        assert!(!tx.push(msg(b"c")?, sndbuf));
        let sent = || Ok::<_, NoMemory>(Parcel::One(msg(b"a")?));
        assert!(!tx.sent(&mut sent()?, sndbuf));
        assert!(tx.sent(&mut sent()?, sndbuf));
        assert!(tx.has_room(sndbuf) && !tx.has_room(charge));
        assert_eq!(tx.messages(), 2);
        // Nobody was told that there is none.
        assert!(tx.has_room(sndbuf) && !tx.sent(&mut sent()?, sndbuf));
        Ok(())
    }

    #[test]
    fn stuck_goes_on_where_it_was_when_unblocked() -> Result<(), NoMemory> {
        for starved in [false, true] {
            let mut tx = up();
            tx.push(msg(b"a")?, 1000);
            assert!(tx.begin_flush());
            let Some(Next { parcel, .. }) = tx.next() else {
                return Err(NoMemory);
            };
            // TCP is just being given it.
            assert_eq!(tx.unsent(), 1);
            assert!(!tx.stuck(parcel, 5, starved, 1000));
            assert!(!tx.begin_flush() && !tx.is_empty());
            assert_eq!(tx.unsent(), 1);
            assert_eq!(tx.retry(), starved);
            assert_eq!(tx.unblock(), !starved);
            assert!(!tx.unblock());
            assert!(tx.begin_flush());
            assert_eq!(next(&mut tx), Some((b'a', 5, false)));
        }
        Ok(())
    }

    /// Copies a body of one byte, repeated.
    fn copy(tx: &mut Tx, byte: u8, len: usize) -> Result<bool, NoMemory> {
        let total = || Arc::new(crate::ledger::Total::new(), GFP_KERNEL);
        let ledger = Ledger::new([total()?, total()?, total()?]);
        let ledger = Arc::new(ledger, GFP_KERNEL)?;
        let body = [byte; 16];
        let body = body.get(..len).ok_or(NoMemory)?;
        Ok(tx.copy(len, b"", &ledger, 1 << 16, |room| room.extend(body)))
    }

    #[test]
    fn copied_goes_out_together_and_before_what_is_pushed_behind_it() -> Result<(), NoMemory> {
        let mut tx = Tx::new();
        assert!(!copy(&mut tx, b'a', 1)?);
        tx.greeted(NOW);
        assert!(copy(&mut tx, b'a', 1)? && copy(&mut tx, b'b', 10)?);
        let charge = 11 + 2 * OVERHEAD;
        assert!(tx.has_room(charge + 1) && !tx.has_room(charge));
        tx.push(msg(b"c")?, charge);
        // It would overtake that.
        assert!(!copy(&mut tx, b'd', 1)?);
        assert_eq!(tx.unsent(), 12);
        assert!(tx.begin_flush());
        let Some(Next {
            mut parcel,
            offset: 0,
            more: true,
        }) = tx.next()
        else {
            return Err(NoMemory);
        };
        assert!(matches!(&parcel, Parcel::Many(batch) if batch.bytes().len() == 27));
        assert!(tx.sent(&mut parcel, charge));
        assert_eq!(tx.messages(), 2);
        assert_eq!(next(&mut tx), Some((b'c', 0, false)));
        assert_eq!(next(&mut tx), None);
        Ok(())
    }

    #[test]
    fn memory_of_what_is_sent_is_for_what_comes_meanwhile() -> Result<(), NoMemory> {
        let mut tx = up();
        let mut sending = None;
        for round in 0..4 {
            // Many, so that the memory is not what an idle pipe may keep.
            assert!(copy(&mut tx, b'a', 16)? && copy(&mut tx, b'b', 16)?);
            let capacity = tx.batch.capacity();
            if let Some(mut before) = sending.take() {
                tx.sent(&mut before, 1 << 16);
                assert!(tx.spare.capacity() > 0);
            } else {
                assert!(tx.begin_flush());
            }
            sending = tx.next().map(|next| next.parcel);
            // Two serve for ever.
            assert_eq!(tx.batch.has_memory(), round > 0);
            assert!(tx.spare.capacity() == 0 && (round < 2 || tx.batch.capacity() == capacity));
        }
        let mut last = sending.take().ok_or(NoMemory)?;
        tx.sent(&mut last, 1 << 16);
        assert!(tx.next().is_none() && tx.has_spare());
        drop(tx.trim());
        assert!(!tx.has_spare() && !tx.batch.has_memory() && tx.spare.capacity() == 0);
        Ok(())
    }

    #[test]
    fn lent_is_neither_sent_nor_done_before_it_is_back() -> Result<(), NoMemory> {
        let one = 1 + OVERHEAD;
        let mut tx = up();
        assert!(tx.lend(1 << 16).is_none());
        assert!(copy(&mut tx, b'a', 1)? && copy(&mut tx, b'b', 1)?);
        let (mut batch, room) = tx.lend(1 << 16).ok_or(NoMemory)?;
        assert_eq!(room, (1 << 16) - 2 * one);
        assert!(tx.lend(1 << 16).is_none() && !copy(&mut tx, b'c', 1)?);
        assert!(!tx.is_empty() && tx.has_only_lent() && tx.unsent() == 2);
        assert!(tx.begin_flush() && tx.next().is_none());
        assert!(tx.close(NOW) && tx.fin().is_none());
        let (_, ledger) = several(&[])?;
        let charge = batch.append(1, b"", &ledger, |room| room.extend(b"c"));
        assert_eq!(charge, Some(one));
        drop(tx.take_back(batch, one));
        assert_eq!(tx.charge, 3 * one);
        assert_eq!((tx.unsent(), tx.begin_flush()), (3, true));
        let Some(Next { mut parcel, .. }) = tx.next() else {
            return Err(NoMemory);
        };
        assert!(tx.next().is_none() && !tx.sent(&mut parcel, 1 << 16));
        assert_eq!((tx.charge, tx.fin()), (0, Some(false)));
        Ok(())
    }

    #[test]
    fn lent_is_dropped_where_the_pipe_has_ended() -> Result<(), NoMemory> {
        let mut tx = up();
        assert!(copy(&mut tx, b'a', 1)?);
        let (batch, _) = tx.lend(1 << 16).ok_or(NoMemory)?;
        drop(tx.set_ended());
        drop(tx.take_back(batch, 0));
        assert!(tx.is_empty() && !tx.batch.has_memory());
        Ok(())
    }

    #[test]
    fn lent_and_taken_back_leaves_other_memory() -> Result<(), NoMemory> {
        let mut tx = up();
        assert!(copy(&mut tx, b'a', 1)? && tx.begin_flush());
        let Some(Next { mut parcel, .. }) = tx.next() else {
            return Err(NoMemory);
        };
        assert!(copy(&mut tx, b'b', 1)?);
        tx.sent(&mut parcel, 1 << 16);
        assert!(tx.spare.capacity() > 0);
        let (batch, _) = tx.lend(1 << 16).ok_or(NoMemory)?;
        drop(tx.take_back(batch, 0));
        assert!(tx.spare.capacity() > 0);
        Ok(())
    }

    #[test]
    fn pushed_behind_it_is_not_lent() -> Result<(), NoMemory> {
        let mut tx = up();
        assert!(copy(&mut tx, b'a', 1)?);
        tx.push(msg(b"b")?, 1 << 16);
        assert!(tx.lend(1 << 16).is_none());
        Ok(())
    }

    /// What several pipes are given: some of one byte each.
    fn several(bodies: &[&[u8; 1]]) -> Result<(Arc<Edition>, Arc<Ledger>), NoMemory> {
        let total = || Arc::new(crate::ledger::Total::new(), GFP_KERNEL);
        let ledger = Ledger::new([total()?, total()?, total()?]);
        let ledger = Arc::new(ledger, GFP_KERNEL)?;
        let room = Edition::room_for(1, bodies.len());
        let mut all = Edition::new(room, None, GFP_KERNEL)?;
        for body in bodies {
            assert!(all.append(*body, &ledger));
        }
        assert!(!all.append(b"more", &ledger));
        Ok((Arc::new(all, GFP_KERNEL)?, ledger))
    }

    #[test]
    fn all_go_behind_others_if_there_is_room_for_all() -> Result<(), NoMemory> {
        let (all, ledger) = several(&[b"b", b"c"])?;
        let mut tx = Tx::new();
        assert!(!tx.take_all(&all, &ledger, 1 << 16));
        tx.greeted(NOW);
        assert!(copy(&mut tx, b'a', 1)?);
        let charge = 3 * (1 + OVERHEAD);
        assert!(!tx.take_all(&all, &ledger, charge - 1));
        assert!(tx.take_all(&all, &ledger, charge));
        assert!(!tx.has_room(charge) && tx.has_room(charge + 1));
        assert_eq!((tx.unsent(), tx.begin_flush()), (3, true));
        let Some(Next { parcel, .. }) = tx.next() else {
            return Err(NoMemory);
        };
        assert!(matches!(&parcel, Parcel::Many(batch) if batch.messages() == 3));
        // What is pushed is not overtaken.
        tx.push(msg(b"d")?, 1 << 16);
        assert!(!tx.take_all(&all, &ledger, 1 << 16));
        Ok(())
    }

    #[test]
    fn all_that_come_first_are_shared_and_count_for_what_is_left() -> Result<(), NoMemory> {
        let (all, ledger) = several(&[b"a", b"b", b"c"])?;
        let (mut tx, mut other) = (up(), up());
        let one = 1 + OVERHEAD;
        assert!(!tx.take_all(&all, &ledger, 3 * one - 1));
        assert!(tx.take_all(&all, &ledger, 3 * one));
        assert!(other.take_all(&all, &ledger, 1 << 16));
        // What comes behind them stays there.
        assert!(copy(&mut tx, b'd', 1)?);
        assert!(tx.unsent() == 4 && !tx.is_empty() && tx.begin_flush());
        let Some(Next {
            parcel,
            offset: 0,
            more: true,
        }) = tx.next()
        else {
            return Err(NoMemory);
        };
        assert!(matches!(parcel, Parcel::Shared(..)));
        // Two of them, and of the third the header.
        assert!(!tx.stuck(parcel, 26, false, 1 << 16));
        assert_eq!((tx.messages(), tx.unsent()), (2, 2));
        assert!(tx.has_room(2 * one + 1) && !tx.has_room(2 * one));
        assert!(tx.unblock() && tx.begin_flush());
        let Some(Next {
            mut parcel,
            offset: 26,
            ..
        }) = tx.next()
        else {
            return Err(NoMemory);
        };
        assert!(tx.sent(&mut parcel, 2 * one));
        assert_eq!(next(&mut tx), Some((b'd', 0, false)));
        assert_eq!((tx.messages(), other.unsent()), (3, 3));
        drop(other.set_ended());
        assert!(other.is_empty() && other.unsent() == 0);
        Ok(())
    }

    #[test]
    fn copied_taken_in_part_counts_for_what_is_left() -> Result<(), NoMemory> {
        let mut tx = up();
        assert!(copy(&mut tx, b'a', 4)? && copy(&mut tx, b'b', 10)?);
        let one = 4 + OVERHEAD;
        assert!(!tx.has_room(one + 10 + OVERHEAD) && tx.begin_flush());
        let Some(Next { parcel, .. }) = tx.next() else {
            return Err(NoMemory);
        };
        // The first of them, and of the other the header.
        assert!(tx.stuck(parcel, 20, false, one + 10 + OVERHEAD));
        assert_eq!((tx.messages(), tx.unsent()), (1, 10));
        assert!(!tx.has_room(10 + OVERHEAD) && tx.unblock() && tx.begin_flush());
        let Some(Next { mut parcel, .. }) = tx.next() else {
            return Err(NoMemory);
        };
        assert!(tx.sent(&mut parcel, 10 + OVERHEAD));
        assert_eq!((tx.messages(), tx.unsent()), (2, 0));
        Ok(())
    }

    #[test]
    fn copied_in_a_flush_goes_out_with_it() -> Result<(), NoMemory> {
        let mut tx = up();
        assert!(copy(&mut tx, b'a', 1)?);
        assert!(tx.begin_flush());
        assert_eq!(next(&mut tx), Some((b'a', 0, false)));
        assert!(copy(&mut tx, b'b', 1)? && !tx.is_empty());
        assert_eq!(next(&mut tx), Some((b'b', 0, false)));
        assert_eq!(next(&mut tx), None);
        assert!(tx.is_empty());
        assert!(copy(&mut tx, b'c', 1)?);
        drop(tx.set_ended());
        assert!(tx.is_empty() && tx.unsent() == 0);
        Ok(())
    }

    #[test]
    fn closing_delivers_and_then_has_its_fin_once() -> Result<(), NoMemory> {
        let mut tx = up();
        tx.push(msg(b"a")?, 1000);
        assert!(tx.close(NOW));
        assert!(!tx.has_room(1000) && !tx.push(msg(b"late")?, 1000));
        assert_eq!((tx.fin(), tx.last_word()), (None, End::Aborted));
        let deadline = Some((Instant(1030), End::Aborted));
        assert_eq!(tx.deadline(NOW, true, TIMEOUT), deadline);
        assert!(tx.begin_flush());
        assert_eq!(next(&mut tx), Some((b'a', 0, false)));
        // It is still on its way.
        assert_eq!(tx.fin(), None);
        assert_eq!(next(&mut tx), None);
        assert!(!tx.has_fin());
        assert_eq!((tx.fin(), tx.fin()), (Some(false), Some(true)));
        assert!(tx.has_fin());
        let deadline = Some((Instant(1030), End::Closed));
        assert_eq!(tx.deadline(NOW, true, TIMEOUT), deadline);
        // Again, it does not begin anew.
        assert!(tx.close(Instant(2000)) && tx.has_fin());
        Ok(())
    }

    #[test]
    fn greeting_late_or_closed_ends() {
        let mut tx = Tx::new();
        let at = NOW.after(GREETING_TIME);
        for (said, end) in [(true, End::GreetingTimeout), (false, End::Disconnected)] {
            assert_eq!(tx.deadline(NOW, said, TIMEOUT), Some((at, end)));
        }
        assert!(tx.close(NOW));
        assert_eq!(tx.life(), Life::Ending(End::Closed));
        assert_eq!(tx.deadline(NOW, true, TIMEOUT), None);
        assert!(!tx.greeted(NOW));
    }

    #[test]
    fn ending_keeps_its_first_reason_and_sends_nothing() -> Result<(), NoMemory> {
        let mut tx = up();
        tx.push(msg(b"a")?, 1000);
        assert!(!tx.end(End::Closed, |life| life == Life::Greeting));
        assert!(tx.end(End::Aborted, |_| true));
        assert!(!tx.end(End::Closed, |_| true));
        assert!(!tx.begin_flush());
        assert!(tx.close(NOW));
        assert_eq!(tx.life(), Life::Ending(End::Aborted));
        assert!(tx.set_ended().is_some() && tx.set_ended().is_none());
        assert!(tx.is_empty() && !tx.close(NOW) && !tx.end(End::Closed, |_| true));
        tx.push(msg(b"b")?, 1000);
        assert!(tx.is_empty());
        Ok(())
    }

    #[test]
    fn dead_in_a_flush_stops_it() -> Result<(), NoMemory> {
        let mut tx = up();
        tx.push(msg(b"a")?, 1000);
        tx.push(msg(b"b")?, 1000);
        assert!(tx.begin_flush());
        assert_eq!(next(&mut tx), Some((b'a', 0, true)));
        drop(tx.set_ended());
        assert_eq!(next(&mut tx), None);
        Ok(())
    }
}
