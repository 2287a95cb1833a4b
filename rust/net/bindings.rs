// SPDX-License-Identifier: GPL-2.0

//! Generated bindings to what the kernel crate does not bind.
//!
//! `bindgen_parameters` allows only what is listed there, so every other name is the kernel crate's
//! own type. The layout assertions stay on: a `struct sock` that differs fails the build.

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
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    unused_imports,
    improper_ctypes
)]

use kernel::{
    bindings::*,
    ffi, //
};
use pin_init::MaybeZeroable;

include!(concat!(env!("SP_OBJ"), "/rust/net/bindings_generated.rs"));
