// SPDX-License-Identifier: GPL-2.0

//! The time that a task spends in TCP.

use crate::net::bindings;
use core::marker::PhantomData;
use kernel::ffi::c_uint;

/// While this lives the task is in TCP and nowhere else. A worker then never calls the OOM killer of the
/// control group that TCP charges, as `sp_helper_worker_begin` tells; a callback leaves that while it
/// runs. The helpers that need it on the way of a message have it themselves.
///
/// # Invariants
///
/// `flags` end it in the task that made it, which it does not leave.
pub(super) struct WithinTcp {
    flags: c_uint,
    _task: PhantomData<*mut ()>,
}

impl WithinTcp {
    pub(super) fn enter() -> Self {
        // INVARIANT: Not `Send`.
        WithinTcp {
            // SAFETY: No requirements.
            flags: unsafe { bindings::sp_helper_worker_begin() },
            _task: PhantomData,
        }
    }
}

impl Drop for WithinTcp {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this is the task, and these are its flags.
        unsafe { bindings::sp_helper_worker_end(self.flags) };
    }
}
