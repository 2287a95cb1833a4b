// SPDX-License-Identifier: GPL-2.0

//! The user-space interface as the module uses it: generated from `include/uapi/linux/sp.h`, and
//! asserted here where a change would break programs.

pub(crate) use crate::net::uapi::*;

const _: () = {
    assert!(PF_SP == 18 && SOL_SP == 400);
    assert!(SOCK_REQ == 6 && SOCK_REP == 7 && SOCK_PUB == 8 && SOCK_SUB == 9);
    // Six 32-bit words and nineteen 64-bit counters, without padding. Only ever appended to.
    assert!(core::mem::size_of::<sp_info>() == 6 * 4 + 19 * 8);
    assert!(core::mem::offset_of!(sp_info, sp_rx_msgs) == 24);
    assert!(core::mem::offset_of!(sp_info, sp_reconnects) == 24 + 18 * 8);
};
