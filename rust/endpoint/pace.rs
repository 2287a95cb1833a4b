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

/// The dials of a user are that many milliseconds apart, on average and at least.
const STEP: u64 = 4;

/// What the failing dialers of one user share.
pub(crate) struct Pace {
    failing: Atomic<u32>,
}

impl Pace {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let failing = Atomic::new(0);
        Ok(Arc::new(Pace { failing }, GFP_KERNEL)?)
    }

    /// How long a dialer that fails has to wait at least, in milliseconds. `random` is 32 random bits.
    ///
    /// Those that fail one after the other get times one after the other; the draw, from a quarter more,
    /// spreads those that fail in step.
    pub(crate) fn wait(&self, random: u32) -> u64 {
        let least = u64::from(self.failing.load(Relaxed)).saturating_mul(STEP);
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
}
