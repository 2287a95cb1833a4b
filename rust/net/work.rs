// SPDX-License-Identifier: GPL-2.0

//! The module's workqueues, its clock, its dice, and what there is of memory.
//!
//! Everything that may sleep and has no caller of its own runs on a queue that belongs to the module:
//! destroying it waits for functions that are just returning, after they dropped the last reference that
//! kept the module loaded. There are two, so that what a peer waits for is never behind works that wait
//! themselves, of which a queue runs only so many at a time: see [`Lane`].
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::bindings;
use crate::time::{
    Instant,
    Millis, //
};
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

/// One of the module's workqueues.
#[derive(Clone, Copy)]
pub(crate) enum Lane {
    /// For what waits for nothing but the locks of connections: accepting, greeting, sending on.
    Quick,
    /// For what may have to wait: for a mutex that a program's own calls keep busy, for RCU. So many
    /// works of one user can wait here that others come late.
    Patient,
}

type QueuePtr = AtomicPtr<bindings::workqueue_struct>;

/// The workqueues; null before the module is up.
static QUICK: QueuePtr = AtomicPtr::new(core::ptr::null_mut());
static PATIENT: QueuePtr = AtomicPtr::new(core::ptr::null_mut());

impl Lane {
    fn queue_ptr(self) -> &'static QueuePtr {
        match self {
            Lane::Quick => &QUICK,
            Lane::Patient => &PATIENT,
        }
    }
}

/// Owns a workqueue.
pub(crate) struct WorkQueue {
    lane: Lane,
    ptr: NonNull<bindings::workqueue_struct>,
}

// SAFETY: A workqueue may be used and destroyed by any thread.
unsafe impl Send for WorkQueue {}
// SAFETY: There is nothing to do with a `&WorkQueue`.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(lane: Lane, name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a C string that lives for ever.
        let ptr = unsafe { bindings::sp_helper_alloc_workqueue(name.as_char_ptr()) };
        let ptr = NonNull::new(ptr).ok_or(ENOMEM)?;
        lane.queue_ptr().store(ptr.as_ptr(), Ordering::Release);
        Ok(WorkQueue { lane, ptr })
    }
}

impl Drop for WorkQueue {
    fn drop(&mut self) {
        let none = core::ptr::null_mut();
        self.lane.queue_ptr().store(none, Ordering::Release);
        // SAFETY: The queue is ours. Nobody queues any more: works are held by sockets, and the last
        // socket is gone when the module goes. Works that still run are waited for.
        unsafe { bindings::destroy_workqueue(self.ptr.as_ptr()) };
    }
}

fn queue(lane: Lane) -> Option<&'static Queue> {
    let ptr = lane.queue_ptr().load(Ordering::Acquire);
    // SAFETY: If not null, the queue lives until the module is unloaded, that is longer than any
    // code that can call this.
    (!ptr.is_null()).then(|| unsafe { Queue::from_raw(ptr) })
}

/// Runs a work of `item` soon, once for any number of calls before it starts. From any context.
pub(crate) fn enqueue<T, const ID: u64>(lane: Lane, item: Arc<T>)
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasWork<T, ID> + Send + Sync + 'static,
{
    if let Some(queue) = queue(lane) {
        // If it is queued already, the queue has a reference of its own and ours is dropped.
        let _ = queue.enqueue(item);
    }
}

/// The delayed work of `*raw`.
///
/// # Safety
///
/// `raw` is live.
unsafe fn delayed_work<T, const ID: u64>(raw: *mut T) -> *mut bindings::delayed_work
where
    T: HasDelayedWork<T, ID>,
{
    // SAFETY: By this function's requirements `raw` is live.
    let work = unsafe { T::raw_get_work(raw) };
    // SAFETY: What was given is a work inside `*raw`.
    let work = unsafe { Work::raw_get(work) };
    // SAFETY: `HasDelayedWork` makes it the work of an initialised `delayed_work`.
    unsafe { kernel::container_of!(work, bindings::delayed_work, work) }
}

/// Runs the delayed work of `item` so soon, instead of when it was to run. From any context; the caller
/// keeps another reference.
pub(crate) fn rearm<T, const ID: u64>(lane: Lane, item: &Arc<T>, time: Millis)
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID> + Send + Sync + 'static,
{
    let wq = lane.queue_ptr().load(Ordering::Acquire);
    if wq.is_null() {
        return;
    }
    let ms = u32::try_from(time.0).unwrap_or(u32::MAX);
    let delay = kernel::time::msecs_to_jiffies(ms).max(1);
    let raw = Arc::into_raw(item.clone()).cast_mut();
    let cpu = bindings::wq_misc_consts_WORK_CPU_UNBOUND;
    // SAFETY: The reference just leaked keeps `*raw` alive.
    let dwork = unsafe { delayed_work(raw) };
    // CAST: The constant is a small positive number.
    // SAFETY: By the same, `dwork` is live; the queue lives as `queue()` says.
    let pending = unsafe { bindings::mod_delayed_work_on(cpu as i32, wq, dwork, delay) };
    if pending {
        // SAFETY: The reference leaked above was not taken over: the pending work has one already.
        drop(unsafe { Arc::from_raw(raw) });
    }
}

/// Takes the delayed work of `item` off the timer or the queue, if it is there. Does not wait for one
/// that runs. From any context; the caller keeps another reference.
pub(crate) fn cancel<T, const ID: u64>(item: &Arc<T>)
where
    T: WorkItem<ID, Pointer = Arc<T>> + HasDelayedWork<T, ID> + Send + Sync + 'static,
{
    let raw = Arc::as_ptr(item).cast_mut();
    // SAFETY: `item` keeps `*raw` alive.
    let dwork = unsafe { delayed_work(raw) };
    // SAFETY: By the same, `dwork` is live, and it is initialised.
    let pending = unsafe { bindings::cancel_delayed_work(dwork) };
    if pending {
        // SAFETY: The work was pending and will not run: the reference that was given to the queue is
        // ours again.
        drop(unsafe { Arc::from_raw(raw.cast_const()) });
    }
}

/// The time where nobody asks for it.
pub(crate) const NEVER: Instant = Instant(0);

/// The time, on the monotonic clock.
pub(crate) fn now() -> Instant {
    Instant(now_us() / 1000)
}

/// Microseconds of the monotonic clock.
pub(crate) fn now_us() -> u64 {
    now_ns() / 1000
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn now_ns() -> u64 {
    // SAFETY: No requirements.
    let ns = unsafe { bindings::ktime_get() };
    u64::try_from(ns).unwrap_or(0)
}

/// The memory of the machine, in bytes.
pub(crate) fn memory() -> u64 {
    // SAFETY: No requirements.
    unsafe { bindings::sp_helper_memory() }
}

/// 32 bits that cannot be guessed.
pub(crate) fn random() -> u32 {
    // SAFETY: No requirements.
    unsafe { bindings::get_random_u32() }
}

/// 64 bits that cannot be guessed.
pub(crate) fn random64() -> u64 {
    (u64::from(random()) << 32) | u64::from(random())
}
