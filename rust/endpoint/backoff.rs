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
//! Pure: the settings and the randomness are arguments, so options may change between the waits.

use core::num::NonZeroU32;

/// The waits of one dialer. Times are in milliseconds.
#[derive(Debug)]
pub(crate) struct Backoff {
    /// The next range; zero to start with the interval. It is fitted to the settings when used.
    range_ms: u32,
}

impl Backoff {
    /// Starts with the interval.
    pub(crate) const fn new() -> Self {
        Backoff { range_ms: 0 }
    }

    /// Returns how long to wait now, at least 1, and grows the range for the wait after it.
    ///
    /// `max_ms` means something only above `ivl_ms`. `random` is 32 random bits.
    pub(crate) fn next(&mut self, ivl_ms: u32, max_ms: u32, random: u32) -> u32 {
        let least = ivl_ms.max(1);
        let most = max_ms.max(least);
        let range = self.range_ms.clamp(least, most);
        self.range_ms = range.saturating_mul(2);

        // Rounded up, so never zero.
        let shortest = range.div_ceil(2);
        let choices = NonZeroU32::MIN.saturating_add(range.saturating_sub(shortest));
        // The first waits are drawn somewhat more often if `choices` is no power of two. It is at
        // most 1800001, so that is within one in two thousand.
        shortest.saturating_add(random % choices)
    }

    /// Takes note that a pipe made by this dialer is gone, `ms` after its greeting was accepted.
    ///
    /// A peer that accepts and drops at once does not reset the waits.
    pub(crate) fn lived(&mut self, ms: u64, ivl_ms: u32) {
        if ms >= u64::from(ivl_ms) {
            self.range_ms = 0;
        }
    }
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_backoff)]
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
            // The choices are numbered from 0 up to half the range.
            let longest = 25 << turn;
            let wait = backoff.next(50, 50 << 9, if turn % 2 == 0 { longest } else { 0 });
            assert!(wait >= before);
            before = wait;
        }
    }

    #[test]
    fn draws_reach_both_ends() {
        let mut shortest = u32::MAX;
        let mut longest = 0;
        for random in 0..1000 {
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
    fn settings_out_of_range_still_wait() {
        for (ivl, max) in [(0, 0), (0, u32::MAX), (u32::MAX, 0), (u32::MAX, u32::MAX)] {
            let mut backoff = Backoff::new();
            for random in DRAWS.into_iter().cycle().take(40) {
                assert!(backoff.next(ivl, max, random) >= 1);
            }
        }
    }
}
