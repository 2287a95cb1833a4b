// SPDX-License-Identifier: GPL-2.0

//! What patterns can refuse, and the one table from a refusal to an errno.

use kernel::error::{
    code,
    Error, //
};

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

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::Again => code::EAGAIN,
            Refusal::State => code::EBADFD,
            Refusal::Direction => code::EOPNOTSUPP,
            Refusal::Cancelled => code::ECANCELED,
            Refusal::Reset => code::ECONNRESET,
            Refusal::TooLong => code::EMSGSIZE,
            Refusal::NoMemory => code::ENOMEM,
        }
    }
}

#[cfg(SP_KUNIT)]
#[kernel::macros::kunit_tests(sp_error)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_errno() {
        // As sp(7) tells.
        for (refusal, errno) in [
            (Refusal::Again, code::EAGAIN),
            (Refusal::State, code::EBADFD),
            (Refusal::Direction, code::EOPNOTSUPP),
            (Refusal::Cancelled, code::ECANCELED),
            (Refusal::Reset, code::ECONNRESET),
            (Refusal::TooLong, code::EMSGSIZE),
            (Refusal::NoMemory, code::ENOMEM),
        ] {
            assert_eq!(Error::from(refusal), errno);
        }
    }
}
