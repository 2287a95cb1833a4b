// SPDX-License-Identifier: GPL-2.0

//! What patterns can refuse, and the one table from a refusal to an errno.
//!
//! Pure: the errno is a number here, and an error of the kernel's in `socket`.

use crate::uapi;

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not now; waiting can help.
    Again,
    /// Not in this state of the pattern (nanomsg's EFSM).
    State,
    /// Never in this direction: a receive on PUB, a send on SUB.
    Direction,
    /// Another thread replaced the request that this receive was waiting for.
    Cancelled,
    /// The request is not resent and the pipe that carried it is gone.
    Reset,
    /// The reply is longer than the program takes.
    TooLong,
    /// Out of memory.
    NoMemory,
}

impl Refusal {
    pub(crate) const fn errno(self) -> u32 {
        match self {
            Refusal::Again => uapi::EAGAIN,
            Refusal::State => uapi::EBADFD,
            Refusal::Direction => uapi::EOPNOTSUPP,
            Refusal::Cancelled => uapi::ECANCELED,
            Refusal::Reset => uapi::ECONNRESET,
            Refusal::TooLong => uapi::EMSGSIZE,
            Refusal::NoMemory => uapi::ENOMEM,
        }
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_error))]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_errno() {
        // As sp(7) tells, and as Linux numbers them on most machines.
        for (refusal, errno) in [
            (Refusal::Again, 11),
            (Refusal::State, 77),
            (Refusal::Direction, 95),
            (Refusal::Cancelled, 125),
            (Refusal::Reset, 104),
            (Refusal::TooLong, 90),
            (Refusal::NoMemory, 12),
        ] {
            assert_eq!(refusal.errno(), errno);
        }
    }
}
