// SPDX-License-Identifier: GPL-2.0

//! Bindings to C: ours, generated for what `bindgen_parameters` lists, and the kernel crate's for the rest.
//!
//! What the kernel crate binds depends on the version of Linux, but for what its own code uses, and for what
//! everybody points at. So that, and no other type, constant or function, is taken from there. Whoever needs
//! something of C's says `bindings::` in either case.

#![allow(
    clippy::all,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::cast_lossless,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unknown_lints,
    unnecessary_transmutes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports,
    improper_ctypes
)]

pub(super) use kernel::bindings::*;
use kernel::ffi;
use pin_init::MaybeZeroable;

include!(concat!(env!("SP_OBJ"), "/rust/net/bindings_generated.rs"));
