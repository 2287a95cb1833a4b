// SPDX-License-Identifier: GPL-2.0

//! The last resort where unfinished messages fill a control group.
//!
//! What has arrived of a message is charged as it arrives. Where many have begun, and none is whole, they may
//! come to fill the group together; then there is nothing that a program could receive, so that room would
//! be made for the rest, and none of them would ever be whole. One message at a time, of all on the machine,
//! may therefore go beyond its group's limit: whole, it is received, and makes more room than it took.
//!
//! The right goes with the message until that is received or dropped, so all programs together have no more
//! beyond their limits than one message, whatever they do. A program that does not go on keeps the right from
//! others; they are then where they would be if there were none.
//!
//! Pure.

use crate::mem::{
    Atomic,
    Relaxed, //
};

/// Not zero while somebody has it.
static TAKEN: Atomic<u32> = Atomic::new(0);

/// The right to go beyond the limit, which goes back when it is dropped.
pub(crate) struct Overdraft(());

impl Overdraft {
    /// The right, unless somebody has it.
    pub(crate) fn take() -> Option<Self> {
        (TAKEN.xchg(1, Relaxed) == 0).then(|| Overdraft(()))
    }
}

impl Drop for Overdraft {
    fn drop(&mut self) {
        TAKEN.store(0, Relaxed);
    }
}
