// SPDX-License-Identifier: GPL-2.0

//! Registering a protocol family, and the way from its system calls to a [`Family`].
//!
//! A socket is a `struct sock` with one pointer after it, to the [`Family`] object that the system calls
//! are dispatched to. The functions in `ops` only convert arguments and results.
//! Modules use each other from left to right: `registration`, `ops`, `interface`, `calls`.
//!
//! C header: [`include/linux/net.h`](srctree/include/linux/net.h)

mod calls;
mod interface;
mod ops;
mod registration;

pub(crate) use super::bindings::{
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL, //
};
pub(crate) use calls::{
    says_more,
    RecvCall,
    SendCall, //
};
pub(crate) use interface::{
    Family,
    OptionValue, //
};
pub(crate) use registration::Registration;
