// SPDX-License-Identifier: GPL-2.0

//! What `rust/mem.rs` has from the kernel, made of the standard library's: as much of it as the pure files
//! use, and by the same names.

use std::cell::Cell;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{
    Deref,
    DerefMut, //
};
use std::sync::{
    self,
    Mutex,
    MutexGuard,
    PoisonError, //
};

/// How memory is to be allocated, which makes no difference here.
#[derive(Clone, Copy)]
pub(crate) struct Flags(());

pub(crate) const GFP_KERNEL: Flags = Flags(());
pub(crate) const GFP_KERNEL_ACCOUNT: Flags = Flags(());
pub(crate) const NO_SLEEP: Flags = Flags(());

pub(crate) fn accounted(flags: Flags) -> Flags {
    flags
}

pub(crate) fn beyond_limit() -> Flags {
    NO_SLEEP
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AllocError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

impl From<AllocError> for NoMemory {
    fn from(_: AllocError) -> Self {
        NoMemory
    }
}

thread_local! {
    /// How many more allocations succeed before one fails.
    static UNTIL: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Lets one allocation of this thread fail, after so many more have succeeded.
pub(crate) fn fail_after(allocations: usize) {
    UNTIL.set(Some(allocations));
}

/// Whether that one has failed. If not, it will not any more.
pub(crate) fn has_failed() -> bool {
    UNTIL.take().is_none()
}

/// To be asked before each allocation.
fn allocate(_: Flags) -> Result<(), AllocError> {
    let Some(left) = UNTIL.get() else {
        return Ok(());
    };
    UNTIL.set(left.checked_sub(1));
    UNTIL.get().map(|_| ()).ok_or(AllocError)
}

#[derive(Debug)]
pub(crate) struct KBox<T>(Box<T>);

impl<T> KBox<T> {
    pub(crate) fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        allocate(flags)?;
        Ok(KBox(Box::new(value)))
    }

    pub(crate) fn new_uninit(flags: Flags) -> Result<KBox<MaybeUninit<T>>, AllocError> {
        KBox::new(MaybeUninit::uninit(), flags)
    }
}

impl<T> KBox<MaybeUninit<T>> {
    pub(crate) fn write(self, value: T) -> KBox<T> {
        KBox(Box::new(value))
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[derive(Debug)]
pub(crate) struct RemoveError;

#[derive(PartialEq, Eq)]
pub(crate) struct KVec<T>(Vec<T>);

impl<T> KVec<T> {
    pub(crate) const fn new() -> Self {
        KVec(Vec::new())
    }

    pub(crate) fn with_capacity(capacity: usize, flags: Flags) -> Result<Self, AllocError> {
        let mut vec = KVec::new();
        vec.reserve(capacity, flags)?;
        Ok(vec)
    }

    pub(crate) fn reserve(&mut self, additional: usize, flags: Flags) -> Result<(), AllocError> {
        if self.0.capacity().saturating_sub(self.0.len()) >= additional {
            return Ok(());
        }
        allocate(flags)?;
        // As in the kernel: at least twice as much, and no more than is asked for at first.
        let more = additional.max(self.0.capacity());
        self.0.try_reserve_exact(more).map_err(|_| AllocError)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    pub(crate) fn push(&mut self, value: T, flags: Flags) -> Result<(), AllocError> {
        self.reserve(1, flags)?;
        self.0.push(value);
        Ok(())
    }

    pub(crate) fn extend_from_slice(&mut self, from: &[T], flags: Flags) -> Result<(), AllocError>
    where
        T: Clone,
    {
        self.reserve(from.len(), flags)?;
        self.0.extend_from_slice(from);
        Ok(())
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        &self.0
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    pub(crate) fn remove(&mut self, index: usize) -> Result<T, RemoveError> {
        (index < self.len())
            .then(|| self.0.remove(index))
            .ok_or(RemoveError)
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(|value| keep(value));
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        KVec::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for KVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<'a, T> IntoIterator for &'a KVec<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

pub(crate) struct Arc<T>(sync::Arc<T>);

impl<T> Arc<T> {
    pub(crate) fn new(value: T, flags: Flags) -> Result<Self, AllocError> {
        allocate(flags)?;
        Ok(Arc(sync::Arc::new(value)))
    }

    pub(crate) fn ptr_eq(this: &Self, other: &Self) -> bool {
        sync::Arc::ptr_eq(&this.0, &other.0)
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Arc(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> From<UniqueArc<T>> for Arc<T> {
    fn from(unique: UniqueArc<T>) -> Self {
        Arc(sync::Arc::new(unique.0))
    }
}

pub(crate) struct UniqueArc<T>(T);

impl<T> UniqueArc<T> {
    pub(crate) fn new_uninit(flags: Flags) -> Result<UniqueArc<MaybeUninit<T>>, AllocError> {
        allocate(flags)?;
        Ok(UniqueArc(MaybeUninit::uninit()))
    }
}

impl<T> UniqueArc<MaybeUninit<T>> {
    pub(crate) fn write(self, value: T) -> UniqueArc<T> {
        UniqueArc(value)
    }
}

pub(crate) struct Relaxed;

/// Of any type, so behind a lock.
pub(crate) struct Atomic<T>(Mutex<T>);

impl<T: Copy> Atomic<T> {
    pub(crate) const fn new(value: T) -> Self {
        Atomic(Mutex::new(value))
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, to: impl FnOnce(T) -> T) -> T {
        let mut value = self.lock();
        let old = *value;
        *value = to(old);
        old
    }

    pub(crate) fn load(&self, _: Relaxed) -> T {
        *self.lock()
    }

    pub(crate) fn store(&self, value: T, _: Relaxed) {
        self.change(|_| value);
    }

    pub(crate) fn xchg(&self, value: T, _: Relaxed) -> T {
        self.change(|_| value)
    }
}

impl<T: Number> Atomic<T> {
    pub(crate) fn add(&self, n: T, order: Relaxed) {
        self.fetch_add(n, order);
    }

    pub(crate) fn fetch_add(&self, n: T, _: Relaxed) -> T {
        self.change(|value| value.plus(n))
    }

    pub(crate) fn fetch_sub(&self, n: T, _: Relaxed) -> T {
        self.change(|value| value.minus(n))
    }
}

/// What can be added to, and wraps.
pub(crate) trait Number: Copy {
    fn plus(self, n: Self) -> Self;
    fn minus(self, n: Self) -> Self;
}

macro_rules! numbers {
    ($($t:ty)*) => {$(
        impl Number for $t {
            fn plus(self, n: Self) -> Self {
                self.wrapping_add(n)
            }

            fn minus(self, n: Self) -> Self {
                self.wrapping_sub(n)
            }
        }
    )*};
}

numbers!(i32 u32 u64 usize);
