// SPDX-License-Identifier: GPL-2.0

//! How often the dialers of one user may dial.
//!
//! An attempt costs its user nothing: a work makes it, in no cgroup. So all dialers of a user that fail
//! share a rate, whichever of his sockets and programs they belong to. Each waits the longer, the more
//! they are; a few notice nothing, because their own settings ask for longer waits than that.
//!
//! A dialer *fails* from the end of a connection or of an attempt until a connection has been up for a
//! while: a peer that greets and hangs up costs as much as one that refuses.

use kernel::prelude::*;
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::Arc;

/// For how long a connection must have been up, in milliseconds, for its dialer to be counted no more.
pub(crate) const SETTLED: u64 = 1000;

/// The dials of a user are that many microseconds apart, on average and at least, ...
const STEP: u64 = 4000;

/// ... or that many times what one takes: where TCP has to look through all ports, that is milliseconds.
const COST: u64 = 4;

/// A dial that seems to take longer, in microseconds, was interrupted.
const COST_MAX: u64 = 50_000;

/// What the failing dialers of one user share.
pub(crate) struct Pace {
    failing: Atomic<u32>,
    /// What a dial takes, in microseconds: a mean in which the last counts for an eighth.
    cost: Atomic<u64>,
}

impl Pace {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let pace = Pace {
            failing: Atomic::new(0),
            cost: Atomic::new(0),
        };
        Ok(Arc::new(pace, GFP_KERNEL)?)
    }

    /// A dial took so many microseconds.
    pub(crate) fn spent(&self, us: u64) {
        // That one of two at the same time is forgotten does not matter.
        let mean = self.cost.load(Relaxed);
        let mean = mean.saturating_sub(mean / 8);
        let mean = mean.saturating_add(us.min(COST_MAX) / 8);
        self.cost.store(mean, Relaxed);
    }

    /// How long a dialer that fails has to wait at least, in milliseconds. `random` is 32 random bits.
    ///
    /// Those that fail one after the other get times one after the other; the draw, from a quarter more,
    /// spreads those that fail in step.
    pub(crate) fn wait(&self, random: u32) -> u64 {
        let step = STEP.max(self.cost.load(Relaxed).saturating_mul(COST));
        let least = u64::from(self.failing.load(Relaxed)).saturating_mul(step) / 1000;
        let choices = (least / 4).saturating_add(1);
        // `choices` is at least 1.
        let drawn = u64::from(random).checked_rem(choices).unwrap_or(0);
        least.saturating_add(drawn)
    }
}

/// One dialer that fails.
pub(crate) struct Failing(Arc<Pace>);

impl Failing {
    pub(crate) fn new(pace: &Arc<Pace>) -> Self {
        pace.failing.add(1, Relaxed);
        Failing(pace.clone())
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        self.0.failing.fetch_sub(1, Relaxed);
    }
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_pace)]
mod tests {
    use super::*;

    #[test]
    fn few_failing_wait_less_than_the_default_interval() -> Result {
        let pace = Pace::new()?;
        let mut failing = KVec::new();
        for _ in 0..10 {
            failing.push(Failing::new(&pace), GFP_KERNEL)?;
        }
        assert!(pace.wait(0) >= 40);
        assert!(pace.wait(u32::MAX) <= 50);
        Ok(())
    }

    #[test]
    fn many_failing_keep_to_the_rate() -> Result {
        let pace = Pace::new()?;
        let mut failing = KVec::new();
        for _ in 0..1000 {
            failing.push(Failing::new(&pace), GFP_KERNEL)?;
        }
        for random in [0, 1, 77_777, u32::MAX] {
            assert!((4000..=5000).contains(&pace.wait(random)));
        }
        drop(failing);
        assert_eq!(pace.wait(u32::MAX), 0);
        Ok(())
    }

    #[test]
    fn dials_that_take_long_are_rare() -> Result {
        let pace = Pace::new()?;
        let _failing = Failing::new(&pace);
        for _ in 0..100 {
            pace.spent(10_000);
        }
        assert!((39..=40).contains(&pace.wait(0)));
        for _ in 0..100 {
            pace.spent(20);
        }
        assert_eq!(pace.wait(0), 4);
        Ok(())
    }
}
