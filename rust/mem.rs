// SPDX-License-Identifier: GPL-2.0

//! Where the pure files get their memory.
//!
//! The pure files, which `tests/unit/pure.rs` names, import `core` and this shim, nothing else of the kernel,
//! so that they can be compiled on a host with `tests/unit/mem.rs` in its place.

#[cfg(SP_KUNIT)]
pub(crate) use kernel::alloc::flags::GFP_KERNEL;
pub(crate) use kernel::alloc::{
    flags::GFP_KERNEL_ACCOUNT,
    AllocError,
    Flags,
    KBox,
    KVec, //
};
pub(crate) use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
pub(crate) use kernel::sync::Arc;
pub(crate) use kernel::sync::UniqueArc;

/// For allocations under a spinlock or in a TCP callback.
///
/// It does not dig into the emergency reserves and does not warn: whoever uses it can wait, drop
/// or let the peer send again.
pub(crate) const NO_SLEEP: Flags = kernel::alloc::flags::GFP_NOWAIT;

/// Flags that have what is allocated charged to a memory control group: the one that the caller has set, else the task's.
pub(crate) fn accounted(flags: Flags) -> Flags {
    flags | (GFP_KERNEL_ACCOUNT & !kernel::alloc::flags::GFP_KERNEL)
}

/// Like [`NO_SLEEP`], but also beyond the limit of the control group that is charged. For that a part of the
/// emergency reserves comes with it, so it is for one at a time; see `message/overdraft.rs`.
pub(crate) fn beyond_limit() -> Flags {
    kernel::alloc::flags::GFP_ATOMIC | kernel::alloc::flags::__GFP_NOWARN
}

/// An allocation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

impl From<AllocError> for NoMemory {
    fn from(_: AllocError) -> Self {
        NoMemory
    }
}
