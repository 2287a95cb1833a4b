// SPDX-License-Identifier: GPL-2.0

//! Objects that C keeps a reference to, while it calls with them.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use kernel::sync::Arc;

/// An `Arc` that somebody else has counted, so that nobody else has to.
///
/// # Invariants
///
/// During `'a` it has a reference that is not given up.
pub(super) struct Lent<'a, T>(ManuallyDrop<Arc<T>>, PhantomData<&'a Arc<T>>);

impl<T> Lent<'_, T> {
    /// # Safety
    ///
    /// `object` came from [`Arc::into_raw`], whose reference is not given up during `'a`.
    pub(super) unsafe fn new(object: *const T) -> Self {
        // SAFETY: By this function's requirements; it is not dropped, so that reference stays whose it is.
        let object = unsafe { Arc::from_raw(object) };
        // INVARIANT: By this function's requirements.
        Lent(ManuallyDrop::new(object), PhantomData)
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        &self.0
    }
}
