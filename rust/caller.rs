// SPDX-License-Identifier: GPL-2.0

//! Who makes a call, as far as a pattern wants to know: a thread of a process.
//!
//! Pure: `net` tells.

/// A process or a thread, as a number that no other one has while somebody holds its [`Name`].
pub(crate) type Key = usize;

/// Keeps the number of a process or a thread from passing to another one.
pub(crate) trait Name {
    fn key(&self) -> Key;

    /// Whether it is that of a process which is over.
    fn is_over(&self) -> bool;

    /// Whether it is that of a thread which is over.
    fn has_exited(&self) -> bool;
}

/// The thread that makes a call.
pub(crate) trait Caller {
    type Name: Name;

    fn process(&self) -> Key;
    fn thread(&self) -> Key;
    fn process_name(&self) -> Self::Name;
    fn thread_name(&self) -> Self::Name;

    /// Where its process comes from.
    fn birth(&self) -> Birth;
    fn company(&self) -> Company;

    /// The time on the clock of [`Birth::at`].
    fn now(&self) -> u64;
}

/// Where a process comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    /// To be compared with names that were held before.
    pub(crate) parent: Key,
    /// When it was started, in nanoseconds.
    pub(crate) at: u64,
    /// The parent may have adopted it.
    pub(crate) adopted: bool,
}

/// Who else may know what a thread knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// It is the only thread of its process, which has no children.
    Nobody,
    /// It is the only thread.
    Children,
    /// There are other threads.
    Threads,
}
