// SPDX-License-Identifier: GPL-2.0

//! The memory that the messages of one socket take, and the sums over the sockets that are closed.
//!
//! A program that lives has its limits: buffers, its memory control group. What it sent and is not
//! delivered outlives it, and so is counted by [`Total`]s, of which each has a bound somewhere above.
//!
//! Pure, and without a lock: what is sent counts in one atomic, of which two bits say whether the sums are
//! concerned. So whoever changes it knows what they have seen of it.

use crate::mem::{
    Arc,
    Atomic,
    Relaxed, //
};

/// The socket is closed: its bytes are in the totals, ...
const CLOSED: u64 = 1 << 62;

/// ... until they are written off.
const WRITTEN_OFF: u64 = 1 << 63;

const BYTES: u64 = CLOSED - 1;

/// A sum of bytes.
pub(crate) struct Total(Atomic<u64>);

impl Total {
    pub(crate) fn new() -> Self {
        Total(Atomic::new(0))
    }

    pub(crate) fn bytes(&self) -> u64 {
        // Some may go before they have come, so that it seems huge.
        let bytes = self.0.load(Relaxed);
        if bytes > BYTES {
            return 0;
        }
        bytes
    }
}

/// What one socket holds.
pub(crate) struct Ledger {
    held: Atomic<u64>,
    totals: [Arc<Total>; 3],
}

impl Ledger {
    /// One of an open socket that holds nothing yet. `totals` are those where it counts once it is closed.
    pub(crate) fn new(totals: [Arc<Total>; 3]) -> Self {
        let held = Atomic::new(0);
        Ledger { held, totals }
    }

    /// Whether something is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.load(Relaxed) & BYTES == 0
    }

    pub(crate) fn add(&self, bytes: usize) {
        let bytes = wide(bytes);
        let seen = self.held.fetch_add(bytes, Relaxed);
        if counts(seen) {
            self.total(bytes);
        }
    }

    /// Takes away what was added before.
    pub(crate) fn sub(&self, bytes: usize) {
        let bytes = wide(bytes);
        let seen = self.held.fetch_sub(bytes, Relaxed);
        if counts(seen) {
            self.total(bytes.wrapping_neg());
        }
    }

    /// The socket is closed. Called once.
    pub(crate) fn close(&self) {
        let seen = self.held.fetch_add(CLOSED, Relaxed);
        self.total(seen & BYTES);
    }

    /// What is held is about to be freed: it counts no more. Called once, after [`Self::close`].
    pub(crate) fn write_off(&self) {
        let seen = self.held.fetch_add(WRITTEN_OFF, Relaxed);
        self.total((seen & BYTES).wrapping_neg());
    }

    fn total(&self, bytes: u64) {
        for total in &self.totals {
            total.0.add(bytes, Relaxed);
        }
    }
}

/// Whether the totals are concerned.
fn counts(held: u64) -> bool {
    held & (CLOSED | WRITTEN_OFF) == CLOSED
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_ledger))]
mod tests {
    use super::*;
    use crate::mem::{
        AllocError,
        GFP_KERNEL, //
    };

    /// A ledger and the total where it counts.
    fn ledger() -> Result<(Ledger, Arc<Total>), AllocError> {
        let total = || Arc::new(Total::new(), GFP_KERNEL);
        let one = total()?;
        Ok((Ledger::new([one.clone(), total()?, total()?]), one))
    }

    #[test]
    fn open_counts_nowhere() -> Result<(), AllocError> {
        let (ledger, total) = ledger()?;
        assert!(ledger.is_empty());
        ledger.add(100);
        assert!(!ledger.is_empty());
        assert_eq!(total.bytes(), 0);
        ledger.sub(100);
        assert!(ledger.is_empty());
        assert_eq!(total.bytes(), 0);
        Ok(())
    }

    #[test]
    fn closed_counts_what_is_left() -> Result<(), AllocError> {
        let (ledger, total) = ledger()?;
        ledger.add(100);
        ledger.sub(30);
        ledger.close();
        assert_eq!(total.bytes(), 70);
        ledger.sub(20);
        assert_eq!(total.bytes(), 50);
        ledger.add(5);
        assert_eq!(total.bytes(), 55);
        ledger.sub(55);
        assert!(ledger.is_empty());
        assert_eq!(total.bytes(), 0);
        Ok(())
    }

    #[test]
    fn written_off_counts_no_more() -> Result<(), AllocError> {
        let (ledger, total) = ledger()?;
        ledger.add(100);
        ledger.close();
        ledger.sub(40);
        ledger.write_off();
        assert_eq!(total.bytes(), 0);
        ledger.sub(60);
        assert!(ledger.is_empty());
        assert_eq!(total.bytes(), 0);
        Ok(())
    }

    #[test]
    fn sums_are_over_all() -> Result<(), AllocError> {
        let (one, total) = ledger()?;
        let sum = || total.clone();
        let two = Ledger::new([sum(), sum(), sum()]);
        one.add(7);
        two.add(1);
        one.close();
        two.close();
        assert_eq!(total.bytes(), 7 + 3);
        one.write_off();
        two.sub(1);
        assert_eq!(total.bytes(), 0);
        Ok(())
    }
}
