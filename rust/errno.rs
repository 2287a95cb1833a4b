// SPDX-License-Identifier: GPL-2.0

//! Errors by their names in errno(3).
//!
//! Those of `errno-base.h` are in the kernel crate's prelude, whatever its version. Which of the others are
//! there depends on it, so they are here, each that somebody uses. Only the kernel crate can make an [`Error`]
//! that is a constant: these become one by `?` or `into()`.

use crate::uapi;
use kernel::error::Error;
use kernel::ffi::c_int;

/// An errno, positive.
#[derive(Clone, Copy)]
pub(crate) struct Errno(pub(crate) u32);

impl Errno {
    /// As C functions return it.
    pub(crate) const fn to_errno(self) -> c_int {
        // CAST: A small number.
        (self.0 as c_int).wrapping_neg()
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error::from_errno(errno.to_errno())
    }
}

impl PartialEq<Errno> for Error {
    fn eq(&self, errno: &Errno) -> bool {
        self.to_errno() == errno.to_errno()
    }
}

macro_rules! errors {
    ($($name:ident)*) => {
        $(pub(crate) const $name: Errno = Errno(uapi::$name);)*
    };
}

errors! {
    EAFNOSUPPORT
    ECONNABORTED
    EINPROGRESS
    EISCONN
    EMSGSIZE
    ENOBUFS
    ENOPROTOOPT
    ENOTCONN
    EOPNOTSUPP
    EPROTONOSUPPORT
    ESOCKTNOSUPPORT
}
