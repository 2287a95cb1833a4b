// SPDX-License-Identifier: GPL-2.0

//! The user-space interface as the module uses it: generated from `include/uapi/linux/sp.h` and Linux's
//! own headers, and asserted here where a change would break programs.
//!
//! What Linux calls SOL_TCP, SOL_IP and SOL_IPV6 is not in its headers for programs; the IPPROTO_ of
//! that name is the same number.

pub(crate) use generated::*;

/// As bindgen reads `uapi.h`.
#[allow(
    clippy::all,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    unreachable_pub
)]
mod generated {
    include!(concat!(env!("SP_OBJ"), "/rust/uapi_generated.rs"));
}

const _: () = {
    assert!(PF_SP == 18 && SOL_SP == 400);
    assert!(SOCK_REQ == 6 && SOCK_REP == 7 && SOCK_PUB == 8 && SOCK_SUB == 9);
    // Six 32-bit words and nineteen 64-bit counters, without padding. Only ever appended to.
    assert!(core::mem::size_of::<sp_info>() == 6 * 4 + 19 * 8);
    assert!(core::mem::offset_of!(sp_info, sp_rx_msgs) == 24);
    assert!(core::mem::offset_of!(sp_info, sp_reconnects) == 24 + 18 * 8);
};
