// SPDX-License-Identifier: GPL-2.0

//! How often the dialers of one user may dial.
//!
//! An attempt costs its user nothing: a work makes it, in no cgroup. So all dialers of a user that fail
//! share a rate, whichever of his sockets and programs they belong to. Each waits the longer, the more
//! they are; a few notice nothing, because their own settings ask for longer waits than that.
//!
//! A dialer *fails* from the end of a connection or of an attempt until a connection has been up for a
//! while: a peer that greets and hangs up costs as much as one that refuses.

use crate::mem::{
    AllocError,
    Arc,
    Atomic,
    Relaxed,
    GFP_KERNEL_ACCOUNT, //
};
use crate::time::Millis;

/// For how long a connection must have been up for its dialer to be counted no more.
pub(crate) const SETTLED: Millis = Millis(1000);

/// The dials of a user are that many microseconds apart, on average, ...
const STEP: u64 = 4000;

/// ... or, for those beyond a few, that many times what one takes: where TCP has to look through all ports,
/// that is milliseconds.
const COST: u64 = 4;
const FEW: u64 = 25;

/// How soon a dialer that waits because of others looks again whether it still has to.
pub(super) const LOOK_AGAIN: Millis = Millis(5000);

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
    /// [`AllocError`].
    pub(crate) fn new() -> Result<Arc<Self>, AllocError> {
        let pace = Pace {
            failing: Atomic::new(0),
            cost: Atomic::new(0),
        };
        Arc::new(pace, GFP_KERNEL_ACCOUNT)
    }

    /// A dial took so many microseconds.
    pub(crate) fn spent(&self, us: u64) {
        // That one of two at the same time is forgotten does not matter.
        let mean = self.cost.load(Relaxed);
        let mean = mean.saturating_sub(mean / 8);
        let mean = mean.saturating_add(us.min(COST_MAX) / 8);
        self.cost.store(mean, Relaxed);
    }

    /// How long a dialer that fails has to wait, as things are now. `random` is 32 random bits, the same for
    /// one wait.
    ///
    /// It draws from a range as long as its mean, so that those that fail in step are spread evenly.
    pub(crate) fn wait(&self, random: u32) -> Millis {
        let failing = u64::from(self.failing.load(Relaxed));
        let few = failing.min(FEW).saturating_mul(STEP);
        let step = STEP.max(self.cost.load(Relaxed).saturating_mul(COST));
        let others = failing.saturating_sub(FEW).saturating_mul(step);
        let mean = few.saturating_add(others) / 1000;
        let drawn = mean.saturating_mul(u64::from(random)) >> 32;
        Millis((mean / 2).saturating_add(drawn))
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

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_pace))]
mod tests {
    use super::*;
    use crate::mem::KVec;

    /// A user so many of whose dialers fail.
    fn failing(n: usize) -> Result<(Arc<Pace>, KVec<Failing>), AllocError> {
        let pace = Pace::new()?;
        let mut failing = KVec::new();
        for _ in 0..n {
            failing.push(Failing::new(&pace), GFP_KERNEL_ACCOUNT)?;
        }
        Ok((pace, failing))
    }

    #[test]
    fn few_failing_wait_less_than_the_default_interval() -> Result<(), AllocError> {
        let (pace, _failing) = failing(16)?;
        for _ in 0..100 {
            pace.spent(10_000);
        }
        assert_eq!(pace.wait(0).0, 32);
        assert!(pace.wait(u32::MAX).0 < 100);
        Ok(())
    }

    #[test]
    fn many_failing_keep_to_the_rate() -> Result<(), AllocError> {
        let (pace, failing) = failing(1000)?;
        assert_eq!(pace.wait(0).0, 2000);
        assert_eq!(pace.wait(1 << 31).0, 4000);
        assert_eq!(pace.wait(u32::MAX).0, 5999);
        drop(failing);
        assert_eq!(pace.wait(u32::MAX).0, 0);
        Ok(())
    }

    #[test]
    fn dials_that_take_long_are_rare() -> Result<(), AllocError> {
        let (pace, _failing) = failing(125)?;
        for _ in 0..100 {
            pace.spent(10_000);
        }
        // 25 of 4 ms, 100 of 40 ms.
        assert!((4090..=4100).contains(&pace.wait(1 << 31).0));
        for _ in 0..100 {
            pace.spent(20);
        }
        assert_eq!(pace.wait(1 << 31).0, 500);
        Ok(())
    }
}
