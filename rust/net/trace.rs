// SPDX-License-Identifier: GPL-2.0

//! Tracepoints: what happens to messages and peers, for those who want to see it (see sp(7)).
//!
//! C headers: `helpers/sp_trace.h`, [`include/linux/tracepoint.h`](srctree/include/linux/tracepoint.h)

use super::bindings;
use super::stream::SockAddr;
use kernel::prelude::*;

/// Which way messages go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

/// Whether somebody wants to see messages that go this way.
#[inline]
pub(crate) fn sees_messages(way: Way) -> bool {
    // SAFETY: No requirements.
    unsafe { bindings::sp_helper_traces_messages(way == Way::In) }
}

/// Messages have arrived from a peer, or TCP has taken them for it; so many bytes.
pub(crate) fn messages(way: Way, inode: u64, (address, _): SockAddr, messages: u64, bytes: u64) {
    let messages = u32::try_from(messages).unwrap_or(u32::MAX);
    let address = address.as_ptr().cast();
    let inwards = way == Way::In;
    // SAFETY: The address is as long as the longest that is copied.
    unsafe { bindings::sp_helper_trace_messages(inwards, inode, address, messages, bytes) };
}

/// So many messages are thrown away.
#[inline]
pub(crate) fn dropped(inode: u64, reason: &'static CStr, messages: usize) {
    let messages = u32::try_from(messages).unwrap_or(u32::MAX);
    // SAFETY: The reason ends with a zero.
    unsafe { bindings::sp_helper_trace_drop(inode, reason.as_char_ptr(), messages) };
}

/// A peer has come.
pub(crate) fn pipe_up(inode: u64, peer: SockAddr) {
    pipe(true, inode, peer, c"greeted");
}

/// A connection is over.
pub(crate) fn pipe_down(inode: u64, peer: SockAddr, reason: &'static CStr) {
    pipe(false, inode, peer, reason);
}

fn pipe(up: bool, inode: u64, (address, _): SockAddr, reason: &'static CStr) {
    let address = address.as_ptr().cast();
    // SAFETY: The address is as long as the longest that is copied; the reason ends with a zero.
    unsafe { bindings::sp_helper_trace_pipe(up, inode, address, reason.as_char_ptr()) };
}
