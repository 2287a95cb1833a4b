// SPDX-License-Identifier: GPL-2.0

//! The receive side of a pipe: how reading stopped, and whose fault it is if a message is begun and not
//! whole.
//!
//! Pure: the clock is an argument, and what is to be done comes back.

use crate::address::Address;
use crate::bytes::Input;
use crate::mem::{
    beyond_limit,
    Flags,
    NO_SLEEP, //
};
use crate::message::overdraft::Overdraft;
use crate::message::tags::Tags;
use crate::message::{
    Kept,
    Msg, //
};
use crate::stats::{
    count,
    Reason, //
};
use crate::time::{
    Instant,
    Millis, //
};
use crate::wire::{
    Budget,
    Limits,
    Session,
    Sink,
    Stop,
    Types,
    Unwelcome, //
};

/// How long it is from one look at who holds a reservation to the next.
pub(crate) const LOOK_INTERVAL: Millis = Millis(125);

/// How long a message may take from its first byte to its last: this much ...
const MESSAGE_TIME: Millis = Millis(30_000);

/// ... and as long as it takes at this many bytes per millisecond (16 KiB/s).
const MESSAGE_RATE: u64 = 16;

/// Who holds a reservation that others wait for is to give so many bytes ...
const PACE: usize = 64 << 10;

/// ... between so many looks, and as many more as make up four round trips. Looks and not time, because on a
/// machine that is too busy for the peer the looks come late as well.
const PACE_LOOKS: u64 = 4;

/// A round trip that is believed: a peer can make TCP measure any time.
const ROUND_TRIP_MAX: Millis = Millis(1000);

pub(super) struct Rx {
    pub(super) session: Session,
    /// How reading stopped last.
    stop: Stop,
    /// The peer is gone, and the owner was told so.
    gone: bool,
    /// How many messages arrived.
    messages: u64,
    /// Since when the peer owes the rest of the message under way.
    since: Option<Instant>,
    /// What had arrived when it was looked at while others waited.
    mark: Option<Mark>,
    /// There is room that the peer is to be told of.
    tell: bool,
    /// The message under way may go beyond the limit of its control group.
    overdraft: Option<Overdraft>,
}

/// What had arrived of the message under way, at the first of some looks.
#[derive(Clone, Copy)]
struct Mark {
    /// Tells one wait of others from another.
    spell: u32,
    messages: u64,
    have: usize,
    /// How many looks there were since.
    looks: u64,
    /// The work is to judge whether enough has come since.
    judge: bool,
}

/// How a turn of reading begins: whether a turn before was not enough, whether the session may need no bytes to go
/// on, and how to allocate.
pub(super) struct Begin {
    pub(super) behind: bool,
    pub(super) held: bool,
    pub(super) flags: Flags,
}

/// How far a feed has come.
#[derive(Clone, Copy)]
pub(super) struct Fed {
    pub(super) stop: Stop,
    /// All that has arrived is read, and no message is begun: there is nothing to note when reading stops.
    pub(super) between: bool,
}

impl Rx {
    pub(super) const fn new(types: Types) -> Self {
        Rx {
            session: Session::new(types),
            stop: Stop::Hungry,
            gone: false,
            messages: 0,
            since: None,
            mark: None,
            tell: false,
            overdraft: None,
        }
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether what has arrived is left in TCP until the session is told to go on.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.stop, Stop::Held | Stop::NoMemory)
    }

    /// Whether a turn was not enough: the work goes on, and callbacks leave it alone.
    pub(super) fn is_behind(&self) -> bool {
        self.stop == Stop::Spent
    }

    /// Whether memory was short.
    pub(super) fn is_short(&self) -> bool {
        self.stop == Stop::NoMemory
    }

    /// No peer's message is there for the program, that would make room: one that is begun, and that memory
    /// is short for, may take more than there is, if it is the only one.
    pub(super) fn resort(&mut self) {
        if self.is_short() && self.session.have() > 0 && self.overdraft.is_none() {
            self.overdraft = Overdraft::take();
        }
    }

    /// How a turn of reading begins.
    pub(super) fn begin(&self) -> Begin {
        Begin {
            behind: self.is_behind(),
            held: self.is_held(),
            flags: self.flags(),
        }
    }

    /// How to allocate what arrives, until reading stops.
    fn flags(&self) -> Flags {
        match self.overdraft {
            Some(_) => beyond_limit(),
            None => NO_SLEEP,
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Notes that the peer is gone while what it has sent is held. Tells whether that is new.
    pub(super) fn set_gone(&mut self) -> bool {
        !core::mem::replace(&mut self.gone, true)
    }

    /// Our greeting is sent; the peer's may be there, waiting for that.
    pub(super) fn said(&mut self) {
        self.session.said();
        self.stop = Stop::Held;
    }

    /// Nobody wants what arrives any more. Returns what is to be dropped.
    pub(super) fn abandon(&mut self) -> Option<Msg> {
        self.since = None;
        self.overdraft = None;
        self.session.abandon()
    }

    /// Everything that arrives is thrown away.
    pub(super) fn skipped(&mut self) {
        self.stop = Stop::Hungry;
    }

    pub(super) fn feed(
        &mut self,
        input: &mut impl Input<Kept = Kept>,
        sink: &mut impl Sink,
        limits: Limits,
        budget: &mut Budget,
        flags: Flags,
    ) -> Fed {
        if self.overdraft.is_some() {
            // What comes behind this one has no right to these flags.
            budget.frames = budget.frames.min(1);
        }
        let mut noting = Noting {
            sink,
            messages: &mut self.messages,
            since: &mut self.since,
            overdraft: &mut self.overdraft,
        };
        self.stop = self.session.feed(input, &mut noting, limits, budget, flags);
        let between = self.stop == Stop::Hungry && self.session.begun().is_none();
        if between {
            self.tell = false;
            self.overdraft = None;
        }
        Fed {
            stop: self.stop,
            between,
        }
    }

    /// Reading has stopped. Tells whether a message is begun, and how long its deadline is, if that is new.
    pub(super) fn stopped(
        &mut self,
        stop: Stop,
        now: impl FnOnce() -> Instant,
    ) -> (bool, Option<Millis>) {
        // Where TCP had nothing, nothing was fed.
        self.stop = stop;
        self.tell = false;
        let begun = self.session.begun();
        if begun.is_none() {
            self.overdraft = None;
        }
        let mut new = None;
        match (self.stop, begun) {
            (Stop::Hungry, Some(len)) if self.since.is_none() => {
                self.since = Some(now());
                new = Some(time_for(len));
            }
            // It is us who keep the peer waiting.
            (Stop::Held | Stop::NoMemory, _) => {
                self.since = None;
                self.mark = None;
            }
            (Stop::Hungry | Stop::Spent | Stop::Violated(_), _) => {}
        }
        (begun.is_some(), new)
    }

    /// Whether there is room that the peer is to be told of.
    pub(super) fn tells(&self) -> bool {
        self.tell
    }

    pub(super) fn tell_later(&mut self, tell: bool) {
        self.tell = tell;
    }

    /// When the message under way must be whole.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let at = self.since?.after(time_for(self.session.begun()?));
        // What has arrived is read first.
        Some(if self.is_behind() {
            at.max(now.after(LOOK_INTERVAL))
        } else {
            at
        })
    }

    /// A look at a pipe whose reservation others wait for; `spell` tells one such wait from another. Tells
    /// whether the work is to read what has arrived and to judge then.
    pub(super) fn look(&mut self, spell: u32) -> bool {
        if self.is_held() || self.is_behind() {
            // It is us who do not read.
            self.mark = None;
            return false;
        }
        let judge = self.looks(spell) >= PACE_LOOKS;
        if let Some(mark) = &mut self.mark {
            mark.judge = judge;
            mark.looks = mark.looks.saturating_add(1);
        }
        judge
    }

    /// Whether it is to be judged, now that all that has arrived is read, and the message under way has come
    /// too slowly.
    pub(super) fn is_slow(&mut self, round_trip: Millis) -> bool {
        let Some(mark) = &mut self.mark else {
            return false;
        };
        let spell = mark.spell;
        if !core::mem::replace(&mut mark.judge, false) || self.is_held() || self.is_behind() {
            return false;
        }
        let trips = round_trip.min(ROUND_TRIP_MAX).0.saturating_mul(4) / LOOK_INTERVAL.0;
        self.looks(spell) > PACE_LOOKS.saturating_add(trips)
    }

    /// How many looks there were since enough had come last; 0 if it has by now.
    fn looks(&mut self, spell: u32) -> u64 {
        let (messages, have) = (self.messages, self.session.have());
        let slow = self.mark.filter(|mark| {
            let more = have.saturating_sub(mark.have);
            mark.spell == spell && mark.messages == messages && more < PACE
        });
        if slow.is_none() {
            self.mark = Some(Mark {
                spell,
                messages,
                have,
                looks: 0,
                judge: false,
            });
        }
        slow.map_or(0, |mark| mark.looks)
    }
}

/// How long a message may take.
fn time_for(len: usize) -> Millis {
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    MESSAGE_TIME.and(Millis(len / MESSAGE_RATE))
}

/// Counts what becomes whole, on its way to another sink.
struct Noting<'a, S> {
    sink: &'a mut S,
    messages: &'a mut u64,
    since: &'a mut Option<Instant>,
    overdraft: &'a mut Option<Overdraft>,
}

impl<S: Sink> Sink for Noting<'_, S> {
    fn greeted(&mut self) -> bool {
        self.sink.greeted()
    }

    fn admit(&mut self, len: usize, whole: bool) -> bool {
        self.sink.admit(len, whole)
    }

    fn stretch(&mut self, bytes: usize) -> bool {
        self.sink.stretch(bytes)
    }

    fn from(&self) -> Address {
        self.sink.from()
    }

    fn message(&mut self, mut msg: Msg, admitted: bool) -> Result<(), Unwelcome> {
        if self.overdraft.is_some() {
            msg.overdraft = self.overdraft.take();
        }
        let messages = u64::try_from(msg.messages()).unwrap_or(0);
        let taken = self.sink.message(msg, admitted);
        if !matches!(taken, Err(Unwelcome::NoRoom(_))) {
            *self.since = None;
            *self.messages = self.messages.wrapping_add(messages);
        }
        taken
    }

    fn too_long(&mut self, tags: &Tags) {
        self.sink.too_long(tags);
    }

    fn discarded(&mut self, why: Reason) {
        *self.since = None;
        count(self.messages);
        self.sink.discarded(why);
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_rx))]
mod tests {
    use super::*;
    use crate::bytes::Slice;
    use crate::mem::GFP_KERNEL;
    use crate::message::tags::Tagged;
    use crate::wire::Empty;

    const TYPES: Types = Types {
        own: 0x31,
        peer: 0x30,
        tagged: Tagged::Nothing,
        filters: false,
    };

    /// Longer than what waits in TCP until it is whole.
    const LONG: usize = 1 << 20;

    const LIMITS: Limits = Limits {
        body: 2 * LONG,
        tags: 0,
    };

    /// An owner that takes what it has room for.
    struct Owner(bool);

    impl Sink for Owner {
        fn greeted(&mut self) -> bool {
            true
        }

        fn admit(&mut self, _len: usize, _whole: bool) -> bool {
            self.0
        }

        fn stretch(&mut self, _bytes: usize) -> bool {
            self.0
        }

        fn message(&mut self, msg: Msg, admitted: bool) -> Result<(), Unwelcome> {
            if admitted || self.0 {
                Ok(())
            } else {
                Err(Unwelcome::NoRoom(msg))
            }
        }

        fn too_long(&mut self, _tags: &Tags) {}

        fn discarded(&mut self, _why: Reason) {}
    }

    fn feed(rx: &mut Rx, input: &mut impl Input<Kept = Kept>, room: bool) -> Stop {
        let mut budget = Budget {
            frames: 100,
            bytes: usize::MAX,
        };
        rx.feed(input, &mut Owner(room), LIMITS, &mut budget, GFP_KERNEL)
            .stop
    }

    /// One that has the greeting, and so many bytes of a long message.
    fn begun(bytes: usize) -> Rx {
        let mut rx = Rx::new(TYPES);
        rx.said();
        feed(&mut rx, &mut Slice::new(b"\0SP\0\0\x30\0\0"), true);
        feed(&mut rx, &mut Slice::new(&LONG.to_be_bytes()), true);
        more(&mut rx, bytes);
        rx
    }

    /// Reading has stopped as it did last.
    fn stopped(rx: &mut Rx, now: u64) -> (bool, Option<Millis>) {
        let stop = rx.stop;
        rx.stopped(stop, || Instant(now))
    }

    fn more(rx: &mut Rx, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let some = [7; 4096];
            let piece = some.get(..left).unwrap_or(&some);
            feed(rx, &mut Slice::new(piece), true);
            left -= piece.len();
        }
    }

    #[test]
    fn deadline_counts_from_the_first_byte() {
        let mut rx = begun(1);
        let length = Millis(30_000 + (1 << 20) / 16);
        assert_eq!(stopped(&mut rx, 100), (true, Some(length)));
        more(&mut rx, 1000);
        assert_eq!(stopped(&mut rx, 500), (true, None));
        assert_eq!(rx.deadline(Instant(600)), Some(Instant(100).after(length)));
        more(&mut rx, LONG - 1001);
        assert_eq!(stopped(&mut rx, 900), (false, None));
        assert_eq!((rx.deadline(Instant(900)), rx.messages()), (None, 1));
    }

    #[test]
    fn deadline_stands_still_while_held() {
        let mut rx = begun(0);
        assert_eq!(feed(&mut rx, &mut Slice::new(b"x"), false), Stop::Held);
        assert!(rx.is_held());
        assert_eq!(stopped(&mut rx, 100), (true, None));
        assert_eq!(rx.deadline(Instant(100)), None);
        assert!(rx.set_gone() && !rx.set_gone() && rx.is_gone());
        assert_eq!(feed(&mut rx, &mut Empty, true), Stop::Hungry);
        assert!(stopped(&mut rx, 200).1.is_some() && !rx.is_held());
    }

    #[test]
    fn short_goes_beyond_the_limit_one_at_a_time_until_it_is_whole() {
        let (mut first, mut second) = (begun(1), begun(1));
        first.resort();
        assert!(first.overdraft.is_none());
        for rx in [&mut first, &mut second] {
            rx.stop = Stop::NoMemory;
            // Also who asks again.
            rx.resort();
            rx.resort();
        }
        assert!(first.overdraft.is_some() && second.overdraft.is_none());
        more(&mut first, LONG - 2);
        // Its last byte, and another one.
        let rest = &mut Slice::new(b"\x07\0\0\0\0\0\0\0\0");
        assert_eq!(feed(&mut first, rest, true), Stop::Spent);
        assert_eq!((first.messages(), rest.remaining()), (1, 8));
        second.resort();
        assert!(first.overdraft.is_none() && second.overdraft.is_some());
        assert!(second.abandon().is_some() && second.overdraft.is_none());
        let mut nothing_begun = begun(0);
        nothing_begun.stop = Stop::NoMemory;
        nothing_begun.resort();
        assert!(nothing_begun.overdraft.is_none());
    }

    #[test]
    fn greeting_read_before_ours_was_said_goes_on_then() {
        let mut rx = Rx::new(TYPES);
        let greeting = &mut Slice::new(b"\0SP\0\0\x30\0\0");
        assert_eq!(feed(&mut rx, greeting, true), Stop::Held);
        assert!(rx.session.to_say().is_some());
        rx.said();
        assert!(rx.session.to_say().is_none() && rx.is_held());
        assert_eq!(feed(&mut rx, &mut Empty, true), Stop::Hungry);
    }

    #[test]
    fn behind_is_over_once_tcp_has_nothing() {
        let mut rx = begun(0);
        let mut budget = Budget {
            frames: 100,
            bytes: 1,
        };
        let (input, owner) = (&mut Slice::new(b"xy"), &mut Owner(true));
        let stop = rx.feed(input, owner, LIMITS, &mut budget, GFP_KERNEL).stop;
        assert_eq!(rx.stopped(stop, || Instant(1)), (true, None));
        assert!(rx.is_behind());
        // The next turn finds nothing to feed.
        assert!(rx.stopped(Stop::Hungry, || Instant(2)).1.is_some());
        assert!(!rx.is_behind());
    }

    #[test]
    fn slow_is_judged_after_some_looks_and_round_trips() {
        for (trip, looks) in [(0, 4), (1, 4), (125, 8), (1000, 36), (100_000, 36)] {
            let mut rx = begun(1);
            let mut judged = None;
            for nth in 0..50 {
                if rx.look(1) && rx.is_slow(Millis(trip)) {
                    judged = Some(nth);
                    break;
                }
            }
            assert_eq!(judged, Some(looks));
        }
    }

    #[test]
    fn enough_bytes_or_another_spell_begin_anew() {
        let mut rx = begun(1);
        for nth in 0..100 {
            if nth % 4 == 3 {
                more(&mut rx, PACE);
            }
            assert!(!rx.look(1) && !rx.is_slow(Millis::ZERO));
            if nth == 14 {
                break;
            }
        }
        let mut rx = begun(1);
        for spell in 0..40 {
            assert!(!rx.look(spell / 4) && !rx.is_slow(Millis::ZERO));
        }
    }

    #[test]
    fn not_read_is_not_slow() {
        let mut rx = begun(0);
        feed(&mut rx, &mut Slice::new(b"x"), false);
        for _ in 0..100 {
            assert!(!rx.look(1) && !rx.is_slow(Millis::ZERO));
        }
    }
}
