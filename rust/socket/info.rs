// SPDX-License-Identifier: GPL-2.0

//! What a socket tells about itself.

use super::Socket;
use crate::net::family::OptionValue;
use crate::uapi;
use kernel::prelude::*;

impl Socket {
    pub(super) fn info(&self) -> Result<OptionValue> {
        let (listeners, dialers) = {
            let endpoints = self.endpoints.lock();
            (endpoints.listeners.len(), endpoints.dialers.len())
        };
        let mut tx_queued = 0_usize;
        self.each_pipe(|pipe| tx_queued = tx_queued.saturating_add(pipe.unsent()));
        let n32 = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let n64 = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let state = self.state.lock();
        let (up, stats) = (state.peers.count_up(), &state.stats);
        let info = uapi::sp_info {
            sp_type: self.role.socket_type(),
            sp_flags: 0,
            sp_listeners: n32(listeners),
            sp_dialers: n32(dialers),
            sp_pipes: up,
            sp_handshaking: state.pipes.saturating_sub(up),
            sp_rx_msgs: stats.rx_msgs,
            sp_rx_bytes: stats.rx_bytes,
            sp_tx_msgs: stats.tx_msgs,
            sp_tx_bytes: stats.tx_bytes,
            sp_rx_queued: n64(state.peers.bytes()),
            sp_tx_queued: n64(tx_queued),
            sp_rx_filtered: stats.rx_filtered,
            sp_rx_stale: stats.rx_stale,
            sp_rx_malformed: stats.rx_malformed,
            sp_rx_ttl: stats.rx_ttl,
            sp_rx_oversize: stats.rx_oversize,
            sp_rx_partial: stats.rx_partial,
            sp_tx_dropped: stats.tx_dropped,
            sp_tx_no_peer: stats.tx_no_peer,
            sp_resends: stats.resends,
            sp_bad_greetings: stats.bad_greetings,
            sp_pipe_ups: stats.pipe_ups,
            sp_pipe_downs: stats.pipe_downs,
            sp_reconnects: stats.reconnects,
        };
        drop(state);
        Ok(OptionValue::Info(KBox::new(info, GFP_KERNEL)?))
    }
}
