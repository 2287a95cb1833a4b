// SPDX-License-Identifier: GPL-2.0

//! The pure code of the module, compiled for the machine at hand: the same files, with another `mem`.
//!
//! `scripts/unit.sh` runs their suites.

#![deny(unsafe_code)]
// What only the rest of the module uses.
#![allow(dead_code, unused_imports)]

include!("pure.rs");

#[cfg(test)]
mod short;
