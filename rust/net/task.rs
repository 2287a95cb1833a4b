// SPDX-License-Identifier: GPL-2.0

//! The processes and threads that use a socket.
//!
//! C header: [`include/linux/pid.h`](srctree/include/linux/pid.h)

use super::bindings;
use crate::caller::{
    Birth,
    Caller,
    Company,
    Key,
    Name, //
};
use core::marker::PhantomData;
use core::ptr::NonNull;

/// Names a process (a thread group) or a thread.
///
/// # Invariants
///
/// Owns a count of a `struct pid`, so that its address is that of no other one.
pub(crate) struct Pid(NonNull<bindings::pid>);

// SAFETY: A `struct pid` is shared by design; every method below may be called from any thread.
unsafe impl Send for Pid {}
// SAFETY: Nothing in a `struct pid` is changed through a `&Pid` but its count, which is atomic.
unsafe impl Sync for Pid {}

impl Pid {
    /// # Safety
    ///
    /// `pid` is live.
    unsafe fn get(pid: NonNull<bindings::pid>) -> Self {
        // SAFETY: By this function's requirements.
        unsafe { bindings::sp_helper_get_pid(pid.as_ptr()) };
        // INVARIANT: The count was just taken.
        Pid(pid)
    }
}

impl Name for Pid {
    fn key(&self) -> Key {
        self.0.addr().get()
    }

    fn is_over(&self) -> bool {
        // SAFETY: By the type invariant the pid is live.
        unsafe { bindings::sp_helper_process_ended(self.0.as_ptr()) }
    }

    fn has_exited(&self) -> bool {
        // SAFETY: By the type invariant the pid is live.
        unsafe { bindings::sp_helper_thread_ended(self.0.as_ptr()) }
    }
}

impl Drop for Pid {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours. Releasing it does not sleep.
        unsafe { bindings::put_pid(self.0.as_ptr()) };
    }
}

/// The task that runs. It does not pass to another one.
pub(crate) struct Current(PhantomData<*mut ()>);

impl Current {
    /// Not for softirqs and interrupts, which would pass for the task that they interrupt.
    pub(crate) fn new() -> Self {
        Current(PhantomData)
    }
}

impl Caller for Current {
    type Name = Pid;

    fn process(&self) -> Key {
        // SAFETY: No requirements.
        unsafe { bindings::sp_helper_process() }.addr()
    }

    fn thread(&self) -> Key {
        // SAFETY: No requirements.
        unsafe { bindings::sp_helper_thread() }.addr()
    }

    fn process_name(&self) -> Pid {
        // SAFETY: No requirements.
        let pid = unsafe { bindings::sp_helper_process() };
        // SAFETY: A task has the pid of its process while it runs.
        let pid = unsafe { NonNull::new_unchecked(pid) };
        // SAFETY: For that long, which includes this call, the pid is live.
        unsafe { Pid::get(pid) }
    }

    fn thread_name(&self) -> Pid {
        // SAFETY: No requirements.
        let pid = unsafe { bindings::sp_helper_thread() };
        // SAFETY: A task has its pid while it runs.
        let pid = unsafe { NonNull::new_unchecked(pid) };
        // SAFETY: For that long, which includes this call, the pid is live.
        unsafe { Pid::get(pid) }
    }

    fn birth(&self) -> Birth {
        let mut birth = bindings::sp_birth::default();
        // SAFETY: `birth` is valid for writes.
        unsafe { bindings::sp_helper_birth(&mut birth) };
        Birth {
            // That of a process that has gone meanwhile is still not one that a name is held of.
            parent: birth.parent.addr(),
            at: birth.at,
            adopted: birth.adopted,
        }
    }

    fn company(&self) -> Company {
        // SAFETY: No requirements.
        let threads = unsafe { bindings::sp_helper_has_threads() };
        // SAFETY: No requirements.
        let children = unsafe { bindings::sp_helper_has_children() };
        match (threads, children) {
            (true, _) => Company::Threads,
            (false, true) => Company::Children,
            (false, false) => Company::Nobody,
        }
    }

    fn now(&self) -> u64 {
        // SAFETY: No requirements.
        u64::try_from(unsafe { bindings::ktime_get() }).unwrap_or(0)
    }
}

/// Whether nobody of ordinary priority runs on this CPU before the task sleeps.
pub(crate) fn is_urgent() -> bool {
    // SAFETY: No requirements.
    unsafe { bindings::sp_helper_is_urgent() }
}

/// How often the task has lost its CPU, or given it up.
pub(crate) fn switches() -> u64 {
    // SAFETY: No requirements.
    unsafe { bindings::sp_helper_switches() }
}

/// Tries to make room in the control group of the task for what could not be allocated. May sleep.
pub(crate) fn reclaim() {
    // SAFETY: The caller may sleep.
    unsafe { bindings::sp_helper_reclaim() };
}

/// Lets whoever is to run once this task is back in user space run now. In task context, with no lock held.
pub(crate) fn give_way() {
    // SAFETY: The caller may sleep.
    unsafe { bindings::sp_helper_give_way() };
}
