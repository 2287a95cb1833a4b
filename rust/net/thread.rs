// SPDX-License-Identifier: GPL-2.0

//! Threads for work that takes the CPU from nobody.
//!
//! A work of a queue often runs before whoever has queued it goes on: a thread that has slept goes before one that
//! runs. Here (SCHED_BATCH) it runs where a CPU is idle, or else when it is its turn.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use super::bindings;
use core::ptr::NonNull;
use core::sync::atomic::{
    AtomicPtr,
    Ordering, //
};
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::types::Opaque;

/// How many threads there are at most; there are no more than CPUs.
const MOST: usize = 8;

/// Null before the module is up, and where there is none.
static THREADS: [AtomicPtr<bindings::kthread_worker>; MOST] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MOST];

/// Owns the threads.
pub(crate) struct Threads(());

impl Threads {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        let threads = Threads(());
        // SAFETY: No requirements.
        let cpus = unsafe { bindings::sp_helper_cpus() };
        for (thread, nth) in THREADS.iter().zip(0..cpus) {
            // SAFETY: No requirements.
            let worker = unsafe { bindings::sp_helper_worker_create(nth) };
            let worker = NonNull::new(worker).ok_or(ENOMEM)?;
            thread.store(worker.as_ptr(), Ordering::Release);
        }
        Ok(threads)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in &THREADS {
            let worker = thread.swap(core::ptr::null_mut(), Ordering::AcqRel);
            if !worker.is_null() {
                // SAFETY: The worker is ours. Nobody queues any more: works are held by sockets, and the last
                // socket is gone when the module goes. What still runs is waited for.
                unsafe { bindings::kthread_destroy_worker(worker) };
            }
        }
    }
}

/// One of the threads, the same for the same number; null if there is none.
fn thread(number: u64) -> *mut bindings::kthread_worker {
    let some = || {
        let all = THREADS.iter().map(|thread| thread.load(Ordering::Acquire));
        all.take_while(|worker| !worker.is_null())
    };
    let count = u64::try_from(some().count()).unwrap_or(0);
    let nth = number.checked_rem(count).unwrap_or(0);
    let nth = usize::try_from(nth).unwrap_or(0);
    some().nth(nth).unwrap_or(core::ptr::null_mut())
}

/// What has work for a thread.
pub(crate) trait HasLater: Send + Sync + Sized + 'static {
    /// A field of it.
    fn later(&self) -> &Later<Self>;

    /// The work. In task context.
    fn run(this: Arc<Self>);
}

/// A work of a thread, inside of what it is about.
///
/// # Invariants
///
/// `work` is initialised for [`run`] of `T`. `worker` is null, or lives as long as anybody can have this.
/// While the work is queued, `owner` came from [`Arc::into_raw`], and `self` is inside of it.
#[pin_data]
pub(crate) struct Later<T> {
    #[pin]
    work: Opaque<bindings::kthread_work>,
    worker: *mut bindings::kthread_worker,
    owner: AtomicPtr<T>,
}

// SAFETY: The work is only touched by functions of C's which may be called by any thread, and hands out an `Arc<T>`.
unsafe impl<T: Send + Sync> Send for Later<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Later<T> {}

impl<T: HasLater> Later<T> {
    /// A work of one of the threads, the same for the same number.
    pub(crate) fn new(number: u64) -> impl PinInit<Self> {
        // INVARIANT: The threads live until the module is unloaded, that is longer than any socket.
        pin_init!(Later {
            // SAFETY: The place is valid for writes, and is not moved.
            work <- unsafe {
                Opaque::ffi_init(|work| bindings::sp_helper_later_init(work, Some(run::<T>)))
            },
            worker: thread(number),
            owner: AtomicPtr::new(core::ptr::null_mut()),
        })
    }
}

/// Runs the work of `item`, once for any number of calls before it starts. From any context.
pub(crate) fn enqueue<T: HasLater>(item: Arc<T>) {
    let later: *const Later<T> = item.later();
    let raw = Arc::into_raw(item);
    let inside = later.addr().wrapping_sub(raw.addr()) < size_of::<T>();
    // SAFETY: It was a reference a moment ago, into what `raw` keeps alive if it is inside, which is asked first.
    let queued = inside
        && unsafe {
            let (work, worker) = ((*later).work.get(), (*later).worker);
            // INVARIANT: It is always the same.
            (*later).owner.store(raw.cast_mut(), Ordering::Relaxed);
            !worker.is_null() && bindings::kthread_queue_work(worker, work)
        };
    if !queued {
        // SAFETY: It was not taken over: the work, if it is queued, has a reference already.
        drop(unsafe { Arc::from_raw(raw) });
    }
}

/// What a thread calls.
///
/// # Safety
///
/// `work` is that of a [`Later`] of `T`, and was just taken off the queue.
unsafe extern "C" fn run<T: HasLater>(work: *mut bindings::kthread_work) {
    // SAFETY: By this function's requirements; an `Opaque` has nothing in front of what is in it.
    let later = unsafe {
        kernel::container_of!(
            work.cast::<Opaque<bindings::kthread_work>>(),
            Later<T>,
            work
        )
    };
    // SAFETY: By the type invariant the owner is alive, and the work inside of it.
    let owner = unsafe { (*later).owner.load(Ordering::Relaxed) };
    // SAFETY: By the type invariant, and the reference was given to the queue.
    T::run(unsafe { Arc::from_raw(owner) });
}
