// SPDX-License-Identifier: GPL-2.0

//! The module's workqueue, its clock and its dice.
//!
//! Everything that may sleep and has no caller of its own runs on one queue that belongs to the module:
//! destroying it waits for functions that are just returning, after they dropped the last reference that
//! kept the module loaded.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::bindings;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicPtr,
    Ordering, //
};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::workqueue::{
    HasDelayedWork,
    HasWork,
    Queue,
    Work,
    WorkItem, //
};

/// The queue; null before the module is up.
static QUEUE: AtomicPtr<kernel::bindings::workqueue_struct> = AtomicPtr::new(core::ptr::null_mut());

/// Owns the workqueue.
pub(crate) struct WorkQueue(NonNull<kernel::bindings::workqueue_struct>);

// SAFETY: A workqueue may be used and destroyed by any thread.
unsafe impl Send for WorkQueue {}
// SAFETY: There is nothing to do with a `&WorkQueue`.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a C string that lives for ever.
        let ptr = unsafe { bindings::sp_helper_alloc_workqueue(name.as_char_ptr()) };
        let ptr = NonNull::new(ptr).ok_or(ENOMEM)?;
        QUEUE.store(ptr.as_ptr(), Ordering::Release);
        Ok(WorkQueue(ptr))
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        QUEUE.store(core::ptr::null_mut(), Ordering::Release);
        // SAFETY: The queue is ours. Nobody queues any more: works are held by sockets, and the last
        // socket is gone when the module goes. Works that still run are waited for.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

fn queue() -> Option<&'static Queue> {
    let ptr = QUEUE.load(Ordering::Acquire);
    // SAFETY: If not null, the queue lives until the module is unloaded, that is longer than any
    // code that can call this.
    (!ptr.is_null()).then(|| unsafe { Queue::from_raw(ptr) })
}

/// Runs a work of `item` soon, once for any number of calls before it starts. From any context.
pub(crate) fn enqueue<T, const ID: u64>(item: Arc<T>)
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID> + Send + Sync + 'static,
{
    if let Some(queue) = queue() {
        // If it is queued already, the queue has a reference of its own and ours is dropped.
        let _ = queue.enqueue(item);
    }
}

/// Runs the delayed work of `item` in `ms` milliseconds, instead of when it was to run. From any
/// context; the caller keeps another reference.
pub(crate) fn rearm<T>(item: &Arc<T>, ms: u64)
where
    T: WorkItem<0, Pointer = Arc<T>> + HasDelayedWork<T, 0> + Send + Sync + 'static,
{
    let wq = QUEUE.load(Ordering::Acquire);
    if wq.is_null() {
        return;
    }
    let ms = u32::try_from(ms).unwrap_or(u32::MAX);
    let delay = kernel::time::msecs_to_jiffies(ms).max(1);
    let raw = Arc::into_raw(item.clone()).cast_mut();
    let cpu = kernel::bindings::wq_misc_consts_WORK_CPU_UNBOUND;
    // SAFETY: `HasDelayedWork` makes this the work of an initialised `delayed_work` in `*raw`, which
    // is kept alive by the reference just leaked; the queue lives as `queue()` says.
    let pending = unsafe {
        let work = Work::raw_get(T::raw_get_work(raw));
        let dwork = kernel::container_of!(work, kernel::bindings::delayed_work, work);
        // CAST: The constant is a small positive number.
        bindings::mod_delayed_work_on(cpu as i32, wq, dwork, delay)
    };
    if pending {
        // SAFETY: The reference leaked above was not taken over: the pending work has one already.
        drop(unsafe { Arc::from_raw(raw) });
    }
}

/// Takes the delayed work of `item` off the timer or the queue, if it is there. Does not wait for one
/// that runs. From any context; the caller keeps another reference.
pub(crate) fn cancel<T>(item: &Arc<T>)
where
    T: WorkItem<0, Pointer = Arc<T>> + HasDelayedWork<T, 0> + Send + Sync + 'static,
{
    let raw = Arc::as_ptr(item).cast_mut();
    // SAFETY: As in `rearm`; `item` keeps `*raw` alive.
    let pending = unsafe {
        let work = Work::raw_get(T::raw_get_work(raw));
        let dwork = kernel::container_of!(work, kernel::bindings::delayed_work, work);
        bindings::cancel_delayed_work(dwork)
    };
    if pending {
        // SAFETY: The work was pending and will not run: the reference that was given to the queue is
        // ours again.
        drop(unsafe { Arc::from_raw(raw.cast_const()) });
    }
}

/// Milliseconds of the monotonic clock.
pub(crate) fn now_ms() -> u64 {
    // SAFETY: No requirements.
    let ns = unsafe { bindings::ktime_get() };
    u64::try_from(ns).unwrap_or(0) / 1_000_000
}

/// 32 bits that cannot be guessed.
pub(crate) fn random() -> u32 {
    // SAFETY: No requirements.
    unsafe { bindings::get_random_u32() }
}
