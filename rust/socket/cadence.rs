// SPDX-License-Identifier: GPL-2.0

//! How the sends of a socket follow each other.
//!
//! A send follows another one closely if it begins within [`CLOSE`] of its end; where a message that goes alone takes
//! long, because the machine is slow, within a [`PART`] of that, and [`CLOSE_MOST`]. Who sends many messages by one call,
//! or hands many to io_uring, gets them ready before: so it may take [`CLOSE_MORE`] longer for each that has followed the
//! one before, up to [`STREAK`] of them. What is close only because the machine was slow once makes it seem less slow
//! each time, or nobody would find out. Of the messages of one call the first is asked for all; those that are sent
//! with MSG_MORE, and the next one, are as of one call.
//!
//! Pure: the clock is an argument.

/// In nanoseconds.
const CLOSE: u64 = 2000;
const CLOSE_MOST: u64 = 32 * CLOSE;
const CLOSE_MORE: u64 = CLOSE / 8;

/// Parts, and messages.
const PART: u64 = 4;
const STREAK: u64 = 32;

/// Who follows closely only because sending took long once makes it seem shorter by such a part.
const FORGETS: u64 = 16;

/// How far ahead `until` is at most, in nanoseconds.
const LONGEST: u64 = 2 * CLOSE_MOST + CLOSE_MORE * STREAK;

/// How long a call may take to send its messages, in nanoseconds: one that was broken off is forgotten then.
const CALL: u64 = 10_000_000;

/// One call that sends several messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    None = 0,
    /// It is under way, and its first message did not follow another one closely.
    Begun = 1,
    /// It did.
    Follows = 2,
}

/// How things stand after a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cadence {
    /// Until when the next one follows closely, in nanoseconds, as many bits of it as [`Self::bits`] has.
    until: u64,
    /// What is close here beyond [`CLOSE`], in [`UNIT`]s.
    slow: u64,
    /// How many have followed the one before, [`STREAK`] at most.
    streak: u64,
    call: Call,
}

/// The bits of `until`, and of `slow`.
const TIME: u64 = u64::MAX >> 20;
const SLOW: u64 = 0xfff;

/// In nanoseconds.
const UNIT: u64 = 16;

const _: () = assert!((CLOSE_MOST - CLOSE) / UNIT <= SLOW);

impl Cadence {
    /// What [`Self::bits`] has told; at first 0.
    #[inline]
    pub(crate) fn of(bits: u64) -> Self {
        Cadence {
            until: bits >> 20,
            slow: bits >> 8 & SLOW,
            streak: bits >> 2 & 0x3f,
            call: match bits & 3 {
                1 => Call::Begun,
                2 => Call::Follows,
                _ => Call::None,
            },
        }
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        // CAST: A small number.
        self.until << 20 | self.slow << 8 | self.streak << 2 | self.call as u64
    }

    /// Begins a send, behind which there may be `more` by the same call. Tells whether it follows another one closely,
    /// or there is more.
    #[inline]
    pub(crate) fn begin(&mut self, more: bool, now: impl FnOnce() -> u64) -> bool {
        let follows = match (self.call, more) {
            (Call::None, _) => self.follows(now()),
            (call, true) => call == Call::Follows,
            (Call::Begun, false) => {
                // For how long it takes, as it goes at once.
                let _ = now();
                false
            }
            (Call::Follows, false) => self.is_until(now(), CALL),
        };
        self.streak = if more || follows || self.call != Call::None {
            self.streak.saturating_add(1).min(STREAK)
        } else {
            0
        };
        self.call = match (more, follows) {
            (false, _) => Call::None,
            (true, false) => Call::Begun,
            (true, true) => Call::Follows,
        };
        more || follows
    }

    /// A message that went alone has taken so long, in nanoseconds.
    pub(crate) fn took(&mut self, time: u64) {
        // One that an interrupt made longer says little.
        let most = CLOSE_MOST.min(self.close().wrapping_mul(2));
        self.slow = (time / PART).clamp(CLOSE, most).wrapping_sub(CLOSE) / UNIT;
    }

    /// Ends a call's only, or last, send.
    #[inline]
    pub(crate) fn end(&mut self, now: u64) {
        self.end_after(now, self.close());
    }

    /// The same of one that began then and just joined others, which takes as long as is close, or half of that where
    /// sending takes long: asking for the time again would be a part of it.
    #[inline]
    pub(crate) fn joined(&mut self, began: u64) {
        let close = self.close().wrapping_add(CLOSE);
        self.end_after(began, close.wrapping_add(self.slow.wrapping_mul(UNIT / 2)));
    }

    #[inline]
    fn end_after(&mut self, time: u64, close: u64) {
        let more = CLOSE_MORE.wrapping_mul(self.streak);
        self.until = time.wrapping_add(close).wrapping_add(more) & TIME;
    }

    #[inline]
    fn close(&self) -> u64 {
        CLOSE.wrapping_add(self.slow.wrapping_mul(UNIT))
    }

    /// Whether the last one has followed another one.
    pub(crate) fn is_streak(self) -> bool {
        self.streak > 0
    }

    /// Whether a send that begins now follows closely.
    #[inline]
    fn follows(&mut self, now: u64) -> bool {
        let left = self.left(now, 0);
        let follows = left.wrapping_sub(1) < LONGEST;
        if follows && left <= self.slow.wrapping_mul(UNIT + UNIT / 2) {
            // Else it would be close as well; behind one that has not just joined others, it may be all the same.
            self.slow = self.slow.wrapping_sub(self.slow.div_ceil(FORGETS));
        }
        follows
    }

    /// Whether it is no more than so many nanoseconds after `until`, and not long before.
    fn is_until(&self, now: u64, after: u64) -> bool {
        self.left(now, after).wrapping_sub(1) < LONGEST.wrapping_add(after)
    }

    /// How long it is from now to so long after `until`, in nanoseconds.
    #[inline]
    fn left(&self, now: u64, after: u64) -> u64 {
        self.until.wrapping_add(after).wrapping_sub(now) & TIME
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_cadence))]
mod tests {
    use super::*;

    /// A call's only send, at a time; it takes no time.
    fn send(cadence: &mut Cadence, at: u64) -> bool {
        let close = cadence.begin(false, || at);
        cadence.end(at);
        *cadence = Cadence::of(cadence.bits());
        close
    }

    /// A call that sends so many; tells whether the last one is close.
    fn send_many(cadence: &mut Cadence, count: usize, at: u64) -> bool {
        for nth in 1..count {
            assert!(cadence.begin(true, || at + nth as u64 * 1000));
            *cadence = Cadence::of(cadence.bits());
        }
        send(cadence, at + count as u64 * 1000)
    }

    #[test]
    fn lone_sends_are_not_close() {
        let mut cadence = Cadence::of(0);
        for at in [5000, 7000, 9001, 20_000, 1 << 40] {
            assert!(!send(&mut cadence, at));
        }
    }

    #[test]
    fn soon_after_the_last_one_is_close() {
        let mut cadence = Cadence::of(0);
        assert!(!send(&mut cadence, 5000) && !cadence.is_streak());
        assert!(send(&mut cadence, 6999) && cadence.is_streak());
        // One has followed by now.
        assert!(send(&mut cadence, 6999 + CLOSE + CLOSE_MORE - 1));
        assert!(!send(&mut cadence, 20_000));
        assert!(!send(&mut cadence, 22_000));
    }

    #[test]
    fn streak_may_take_longer_but_no_longer_than_that() {
        let mut cadence = Cadence::of(0);
        let mut at = 5000;
        for nth in 0..100 {
            assert_eq!(send(&mut cadence, at), nth > 0);
            at += 100;
        }
        at += CLOSE + CLOSE_MORE * STREAK - 101;
        assert!(send(&mut cadence, at));
        assert!(!send(&mut cadence, at + CLOSE + CLOSE_MORE * STREAK));
        // And that was it.
        assert!(!send(
            &mut cadence,
            at + CLOSE + CLOSE_MORE * STREAK + CLOSE
        ));
    }

    #[test]
    fn what_is_close_is_a_part_of_what_sending_takes() {
        let mut cadence = Cadence::of(0);
        let mut at = 1 << 20;
        let mut follows = |took: u64, after: u64| {
            at += 1_000_000;
            assert!(!send(&mut cadence, at));
            cadence.took(took);
            cadence.end(at);
            at += after;
            send(&mut cadence, at)
        };
        // As fast as most.
        assert!(follows(0, CLOSE - 1) && !follows(0, CLOSE));
        assert!(follows(PART * CLOSE, CLOSE - 1) && !follows(PART * CLOSE, CLOSE));
        assert!(follows(PART * 3200, 3199) && !follows(PART * 3200, 3200));
        // The second time, twice as much is believed.
        assert!(!follows(1 << 40, 6400) && follows(1 << 40, 12_799));
        for _ in 0..10 {
            let _ = follows(1 << 40, 0);
        }
        assert!(follows(1 << 40, CLOSE_MOST - 1) && !follows(1 << 40, CLOSE_MOST));
        assert!(!follows(0, CLOSE));
    }

    #[test]
    fn what_sending_took_once_is_forgotten() {
        for gap in [3000, 10_000, 20_000, 50_000] {
            let mut cadence = Cadence::of(0);
            for _ in 0..10 {
                cadence.took(1 << 40);
            }
            let (mut at, mut joined) = (5000, 0);
            cadence.end(at);
            loop {
                at += gap;
                if !cadence.begin(false, || at) {
                    break;
                }
                cadence.joined(at);
                cadence = Cadence::of(cadence.bits());
                joined += 1;
                if joined == 200 {
                    break;
                }
            }
            // Those are close to each other on any machine.
            let close = gap < 2 * CLOSE + CLOSE_MORE * STREAK;
            assert!(if close { joined == 200 } else { joined < 200 });
            assert!(joined > 10);
        }
    }

    #[test]
    fn where_sending_takes_long_joining_does() {
        let mut cadence = Cadence::of(0);
        let mut at = 5000;
        cadence.took(PART * 4000);
        cadence.end(at);
        at += 3999;
        for _ in 0..3 {
            assert!(cadence.begin(false, || at));
            cadence.joined(at);
            cadence = Cadence::of(cadence.bits());
            at += 6000;
        }
    }

    #[test]
    fn last_of_a_call_is_as_close_as_its_first() {
        let mut cadence = Cadence::of(0);
        assert!(!send_many(&mut cadence, 32, 5000));
        // It has taken some time to get the next ones ready.
        assert!(send_many(&mut cadence, 32, 37_000 + 8 * 1000));
        assert!(!send_many(&mut cadence, 32, 100_000));
    }

    #[test]
    fn broken_off_call_is_forgotten() {
        let mut cadence = Cadence::of(0);
        assert!(!send(&mut cadence, 5000));
        assert!(cadence.begin(true, || 5500));
        let at = 5500 + 2 * CALL;
        assert!(!send(&mut cadence, at));
        assert!(!send(&mut cadence, at + 2 * CLOSE));
        assert!(cadence.begin(true, || at + 3 * CLOSE));
        assert!(!send(&mut cadence, at + 4 * CLOSE));
    }

    #[test]
    fn joining_is_no_end_of_a_streak() {
        let mut cadence = Cadence::of(0);
        let mut at = 5000;
        for nth in 0..100 {
            assert_eq!(cadence.begin(false, || at), nth > 0);
            cadence.joined(at);
            cadence = Cadence::of(cadence.bits());
            at += CLOSE + 100;
        }
        assert!(!send(&mut cadence, at + CLOSE + CLOSE_MORE * STREAK));
    }

    #[test]
    fn clock_that_goes_round_is_no_matter() {
        let mut cadence = Cadence::of(0);
        let round = TIME + 1;
        assert!(!send(&mut cadence, round / 2));
        assert!(!send(&mut cadence, round - 1000));
        assert!(send(&mut cadence, round + 500));
        assert!(!send(&mut cadence, round + round / 2));
    }
}
