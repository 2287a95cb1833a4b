// SPDX-License-Identifier: GPL-2.0

//! A spinlock that softirqs take too.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use super::bindings;
use kernel::sync::lock::{
    Backend,
    Lock, //
};

/// A `spinlock_t` that is held with bottom halves disabled.
pub(crate) type BhLock<T> = Lock<T, BhBackend>;

/// The backend of [`BhLock`].
pub(crate) struct BhBackend;

// SAFETY: `spin_lock_bh` provides mutual exclusion, and `relock` is the default one.
unsafe impl Backend for BhBackend {
    type State = bindings::spinlock_t;
    /// Whether bottom halves were disabled for it: not where they are anyway, as under another one, or in a softirq. So
    /// who locked first unlocks last.
    type GuardState = bool;

    #[inline]
    unsafe fn init(
        ptr: *mut Self::State,
        name: *const kernel::ffi::c_char,
        key: *mut bindings::lock_class_key,
    ) {
        // SAFETY: By this function's requirements `ptr` is valid for writes, and `name` and `key`
        // live for ever.
        unsafe { bindings::__spin_lock_init(ptr, name, key) }
    }

    #[inline]
    unsafe fn lock(ptr: *mut Self::State) -> bool {
        // SAFETY: By this function's requirements `ptr` is an initialised lock.
        unsafe { bindings::sp_helper_spin_lock_bh(ptr) }
    }

    #[inline]
    unsafe fn unlock(ptr: *mut Self::State, disabled: &bool) {
        // SAFETY: By this function's requirements the caller holds this lock, and this is what locking it told.
        unsafe { bindings::sp_helper_spin_unlock_bh(ptr, *disabled) }
    }

    #[inline]
    unsafe fn try_lock(ptr: *mut Self::State) -> Option<bool> {
        // SAFETY: By this function's requirements `ptr` is an initialised lock.
        (unsafe { bindings::sp_helper_spin_trylock_bh(ptr) } != 0).then_some(true)
    }

    #[inline]
    unsafe fn assert_is_held(ptr: *mut Self::State) {
        // Each lock asks, and where nobody checks that is a call for nothing.
        if cfg!(CONFIG_LOCKDEP) {
            // SAFETY: By this function's requirements `ptr` is an initialised lock.
            unsafe { bindings::spin_assert_is_held(ptr) }
        }
    }
}

/// Creates a [`BhLock`] initialiser; each use is a lock class of its own.
macro_rules! new_bhlock {
    ($inner:expr, $name:literal) => {
        $crate::net::lock::BhLock::new($inner, kernel::c_str!($name), kernel::static_lock_class!())
    };
}
pub(crate) use new_bhlock;
