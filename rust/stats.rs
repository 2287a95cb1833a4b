// SPDX-License-Identifier: GPL-2.0

//! What a socket counts.

/// The counters of one socket; the meanings are those of `struct sp_info` in the uapi header.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) rx_msgs: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_msgs: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) rx_filtered: u64,
    pub(crate) rx_stale: u64,
    pub(crate) rx_malformed: u64,
    pub(crate) rx_ttl: u64,
    pub(crate) rx_oversize: u64,
    pub(crate) rx_partial: u64,
    pub(crate) tx_dropped: u64,
    pub(crate) tx_no_peer: u64,
    pub(crate) resends: u64,
    pub(crate) bad_greetings: u64,
    pub(crate) pipe_ups: u64,
    pub(crate) pipe_downs: u64,
    pub(crate) reconnects: u64,
}

/// One more.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}
