// SPDX-License-Identifier: GPL-2.0

//! How long a dialer waits before it tries again.
//!
//! A wait is drawn evenly from the upper half of a *range*, `range/2 ..= range`. The range starts at
//! SP_RECONNECT_IVL and doubles with each wait up to SP_RECONNECT_IVL_MAX; it stays what it is where
//! that is not greater. A pipe that lived for SP_RECONNECT_IVL makes it start anew.
//!
//! The settings are nanomsg's, the reset is nng's. The draw differs from nng's, which is from `0..range`: half of the range spreads a crowd of dialers just as well after a few rounds,
//! and its lower bound means that
//!
//! - no wait is near zero, even by chance, so a peer that refuses at once can't make us spin;
//! - no wait is shorter than the one before while the range doubles, so a peer in trouble is
//!   left alone for longer and longer;
//! - every wait is within the settings.
//!
//! The first retry is no exception (nanomsg's is immediate): when a peer goes, it is most often gone
//! for longer than the interval, and all its dialers notice in the same moment.
//!
//! Pure: the settings and the randomness are arguments, so options may change between the waits, and also
//! during one: what is remembered is how often the range has doubled and not how long it is.

/// SP_RECONNECT_IVL and SP_RECONNECT_IVL_MAX, in milliseconds. The latter means something only above the
/// former.
#[derive(Clone, Copy)]
pub(crate) struct Reconnect {
    pub(crate) ivl: u32,
    pub(crate) max: u32,
}

/// The waits of one dialer.
#[derive(Debug)]
pub(crate) struct Backoff {
    /// How often the range has doubled for the wait under way, and for the one after it.
    now: u32,
    next: u32,
}

/// More often than this no range doubles, however short the interval.
const DOUBLINGS_MAX: u32 = 32;

impl Backoff {
    /// Starts with the interval.
    pub(crate) const fn new() -> Self {
        Backoff { now: 0, next: 0 }
    }

    /// Returns how long to wait now, at least 1, and grows the range for the wait after it.
    ///
    /// `max_ms` means something only above `ivl_ms`. `random` is 32 random bits.
    pub(crate) fn next(&mut self, ivl_ms: u32, max_ms: u32, random: u32) -> u32 {
        self.now = self.next;
        let grows = self.range(ivl_ms, max_ms) < ivl_ms.max(max_ms);
        self.next = self.now.saturating_add(grows.into()).min(DOUBLINGS_MAX);
        self.again(ivl_ms, max_ms, random)
    }

    /// How long the wait under way would have been with these settings. With the `random` that it was drawn
    /// with, all waits keep their places in the range.
    pub(crate) fn again(&self, ivl_ms: u32, max_ms: u32, random: u32) -> u32 {
        let range = self.range(ivl_ms, max_ms);
        // Rounded up, so never zero.
        let shortest = range.div_ceil(2);
        let choices = u64::from(range.saturating_sub(shortest)).saturating_add(1);
        let drawn = choices.saturating_mul(u64::from(random)) >> 32;
        // Less than `choices`. Some waits are drawn somewhat more often if that is no power of two. It is
        // at most 1800001, so that is within one in two thousand.
        shortest.saturating_add(u32::try_from(drawn).unwrap_or(0))
    }

    fn range(&self, ivl_ms: u32, max_ms: u32) -> u32 {
        let least = ivl_ms.max(1);
        let most = max_ms.max(least);
        let doubled = u64::from(least).wrapping_shl(self.now.min(DOUBLINGS_MAX));
        u32::try_from(doubled).map_or(most, |range| range.min(most))
    }

    /// Takes note that a pipe made by this dialer is gone, `ms` after its greeting was accepted.
    ///
    /// A peer that accepts and drops at once does not reset the waits.
    pub(crate) fn lived(&mut self, ms: u64, ivl_ms: u32) {
        if ms >= u64::from(ivl_ms) {
            self.next = 0;
        }
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_backoff))]
mod tests {
    use super::*;

    /// Draws from both ends and between.
    const DRAWS: [u32; 6] = [0, 1, 24, 0x5555_5555, 0x8000_0000, u32::MAX];

    #[test]
    fn no_growth_waits_stay_in_the_upper_half_of_the_interval() {
        for ivl in [1, 2, 3, 50, 100, 3_600_000] {
            for max in [0, 1, ivl - 1, ivl] {
                let mut backoff = Backoff::new();
                for random in DRAWS.into_iter().cycle().take(20) {
                    let wait = backoff.next(ivl, max, random);
                    assert!(wait >= 1);
                    assert!(wait >= ivl.div_ceil(2));
                    assert!(wait <= ivl);
                }
            }
        }
    }

    #[test]
    fn growth_waits_double_up_to_the_maximum() {
        let mut backoff = Backoff::new();
        for range in [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            for random in DRAWS {
                let mut same = Backoff { ..backoff };
                let wait = same.next(50, 2000, random);
                assert!(wait >= range / 2);
                assert!(wait <= range);
            }
            backoff.next(50, 2000, 7);
        }
    }

    #[test]
    fn growth_waits_never_shrink_before_the_maximum() {
        // The worst draws: the longest, then the shortest.
        let mut backoff = Backoff::new();
        let mut before = 0;
        for turn in 0..10 {
            let wait = backoff.next(50, 50 << 9, if turn % 2 == 0 { u32::MAX } else { 0 });
            assert!(wait >= before);
            before = wait;
        }
    }

    #[test]
    fn draws_reach_both_ends() {
        let mut shortest = u32::MAX;
        let mut longest = 0;
        for part in 0..1000 {
            let random = part * (u32::MAX / 999);
            let wait = Backoff::new().next(100, 0, random);
            shortest = shortest.min(wait);
            longest = longest.max(wait);
        }
        assert_eq!(shortest, 50);
        assert_eq!(longest, 100);
    }

    #[test]
    fn grown_pipe_lived_resets_from_one_interval_on() {
        for (lived, reset) in [
            (0, false),
            (49, false),
            (50, true),
            (3000, true),
            (u64::MAX, true),
        ] {
            let mut backoff = Backoff::new();
            for _ in 0..8 {
                backoff.next(50, 2000, 1);
            }
            backoff.lived(lived, 50);
            // Conformance case 60: back to <= 50.
            let expected = if reset { 25..=50 } else { 1000..=2000 };
            assert!(expected.contains(&backoff.next(50, 2000, u32::MAX)));
        }
    }

    #[test]
    fn settings_changed_take_effect_at_the_next_wait() {
        let mut backoff = Backoff::new();
        for _ in 0..8 {
            backoff.next(50, 2000, 1);
        }
        assert!(backoff.next(50, 300, u32::MAX) <= 300);
        assert!(backoff.next(5000, 0, 0) >= 2500);
        assert!(backoff.next(10, 0, u32::MAX) <= 10);
    }

    #[test]
    fn settings_changed_during_a_wait_keep_its_place_in_the_range() {
        for random in DRAWS {
            let mut backoff = Backoff::new();
            let wait = backoff.next(1000, 0, random);
            assert_eq!(backoff.again(1000, 0, random), wait);
            let mut before = wait;
            for ivl in (1..1000).rev() {
                let wait = backoff.again(ivl, 0, random);
                assert!(wait <= before);
                assert!(wait >= ivl.div_ceil(2));
                assert!(wait <= ivl);
                before = wait;
            }
        }
    }

    #[test]
    fn settings_changed_during_a_wait_count_the_same_failures() {
        let mut backoff = Backoff::new();
        for _ in 0..6 {
            backoff.next(50, 2000, 1);
        }
        // The sixth: it has doubled five times.
        for (ivl, max, range) in [
            (50, 2000, 1600),
            (50, 1000, 1000),
            (50, 0, 50),
            (5, 2000, 160),
            (5, 20, 20),
            (1, 0, 1),
            (3000, 0, 3000),
        ] {
            let wait = backoff.again(ivl, max, u32::MAX);
            assert_eq!(wait, range);
            let wait = backoff.again(ivl, max, 0);
            assert_eq!(wait, range.div_ceil(2));
        }
        // To ask changes nothing.
        assert_eq!(backoff.next(50, 4000, u32::MAX), 3200);
    }

    #[test]
    fn no_growth_is_not_made_up_for() {
        let mut backoff = Backoff::new();
        for _ in 0..20 {
            backoff.next(50, 0, 1);
        }
        assert_eq!(backoff.next(50, 2000, u32::MAX), 50);
        assert_eq!(backoff.next(50, 2000, u32::MAX), 100);
    }

    #[test]
    fn settings_out_of_range_still_wait() {
        for (ivl, max) in [(0, 0), (0, u32::MAX), (u32::MAX, 0), (u32::MAX, u32::MAX)] {
            let mut backoff = Backoff::new();
            for random in DRAWS.into_iter().cycle().take(40) {
                assert!(backoff.next(ivl, max, random) >= 1);
            }
        }
    }
}
