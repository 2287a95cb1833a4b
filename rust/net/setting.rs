// SPDX-License-Identifier: GPL-2.0

//! One option that a program has set, to be set on other sockets as well.
//!
//! C header: [`include/linux/cred.h`](srctree/include/linux/cred.h)

use super::bindings;
use crate::errno::ENOPROTOOPT;
use core::ptr::NonNull;
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::prelude::*;

/// One setsockopt(2), with the credentials of the task that called it: it is permitted what that task is,
/// on whichever socket and in whichever task it is carried out.
///
/// # Invariants
///
/// Owns a count of `by`. `len` is at most that of `value`.
pub(crate) struct Setting {
    level: c_int,
    name: c_int,
    value: [u8; VALUE_MAX],
    len: usize,
    by: NonNull<bindings::cred>,
}

/// How long a value is at most, in bytes: as the names of devices and of congestion controls, and a
/// timeout. Of a longer one, no option of the levels that settings are for looks at more.
const VALUE_MAX: usize = 16;

// SAFETY: Credentials are shared by design, and constant.
unsafe impl Send for Setting {}
// SAFETY: No method changes a setting.
unsafe impl Sync for Setting {}

impl Setting {
    /// A setting by the calling task.
    ///
    /// # Errors
    ///
    /// `ENOPROTOOPT` where level or name are no numbers of options.
    pub(crate) fn new(level: u32, name: u32, value: &[u8]) -> Result<Self> {
        let number = |n| c_int::try_from(n).map_err(|_| ENOPROTOOPT);
        let (level, name) = (number(level)?, number(name)?);
        let mut bytes = [0; VALUE_MAX];
        for (to, from) in bytes.iter_mut().zip(value) {
            *to = *from;
        }
        // SAFETY: No requirements.
        let by = unsafe { bindings::sp_helper_current_cred() };
        let by = NonNull::new(by.cast_mut()).ok_or(EPERM)?;
        // INVARIANT: The helper took the count.
        Ok(Setting {
            level,
            name,
            value: bytes,
            len: value.len().min(VALUE_MAX),
            by,
        })
    }

    pub(crate) fn is(&self, level: u32, name: u32) -> bool {
        self.is_of(level) && Ok(self.name) == c_int::try_from(name)
    }

    pub(crate) fn is_of(&self, level: u32) -> bool {
        Ok(self.level) == c_int::try_from(level)
    }

    /// Whether both set the same option.
    pub(crate) fn is_like(&self, other: &Setting) -> bool {
        (self.level, self.name) == (other.level, other.name)
    }

    /// Sets it on `sk`. May sleep.
    ///
    /// # Errors
    ///
    /// The errors of setsockopt(2).
    ///
    /// # Safety
    ///
    /// `sk` is a live sock that the calling task has not locked, and that is not closed during the call:
    /// TCP has given up what some options change once it is.
    pub(super) unsafe fn apply(&self, sk: *mut bindings::sock) -> Result {
        // SAFETY: By this function's requirements for `sk`; `len` bytes of the value live during the call, which only
        // reads them, and the credentials by the type invariant.
        to_result(unsafe {
            bindings::sp_helper_setsockopt(
                sk,
                self.by.as_ptr(),
                self.level,
                self.name,
                self.value.as_ptr().cast(),
                self.len,
            )
        })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the count is ours.
        unsafe { bindings::sp_helper_put_cred(self.by.as_ptr()) };
    }
}
