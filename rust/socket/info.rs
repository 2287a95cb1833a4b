// SPDX-License-Identifier: GPL-2.0

//! What a socket tells about itself: SP_INFO, and its lines in `/proc/net/sp`.

use super::{
    Role,
    Socket, //
};
use crate::address::Address;
use crate::net::family::OptionValue;
use crate::net::netns::Page;
use crate::pattern::PipeId;
use crate::uapi;
use kernel::prelude::*;

/// The columns of `/proc/net/sp`, after the version of the format. A change of what is there is a new
/// version; columns are only ever appended, to either kind of line.
const HEADER: &str = "sp 3 \
    | closed: bytes given_up \
    | socket: inode type uid state listeners dialers pipes handshaking \
    rx_msgs rx_bytes tx_msgs tx_bytes rx_queued tx_queued \
    rx_filtered rx_stale rx_malformed rx_ttl rx_oversize rx_partial \
    tx_dropped tx_no_peer resends bad_greetings pipe_ups pipe_downs reconnects \
    | endpoint: role local remote state rx_queued tx_queued arrived sent retries dropped\n";

impl Socket {
    pub(super) fn info(&self) -> Result<OptionValue> {
        Ok(OptionValue::Info(KBox::new(self.snapshot(), GFP_KERNEL)?))
    }

    fn snapshot(&self) -> uapi::sp_info {
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
        uapi::sp_info {
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
        }
    }

    pub(super) fn show_header(closed: u64, given_up: u64, to: Page<'_>) {
        to.print(format_args!("{HEADER}closed {closed} {given_up}\n"));
    }

    /// The first part at or after `from`, which is not 0, that [`Self::show`] would write.
    pub(super) fn part_from(&self, from: u32) -> Option<u32> {
        let state = self.state.lock();
        let (id, _) = state.peers.handle_from(from.checked_sub(1)?)?;
        id.0.checked_add(1)
    }

    /// Writes one part: 0 is the socket's line and those of its endpoints, any other the line of the pipe
    /// with the id before, if it is still there.
    pub(super) fn show(&self, part: u32, to: Page<'_>) {
        match part.checked_sub(1) {
            None => self.show_socket(to),
            Some(id) => self.show_pipe(PipeId(id), to),
        }
    }

    fn show_socket(&self, to: Page<'_>) {
        let i = self.snapshot();
        let closing = self.state.lock().closing;
        to.print(format_args!(
            "{} {} {} {} {} {} {} {}",
            to.inode(&self.sk),
            self.role.name(),
            to.uid(&self.sk),
            if closing { "closing" } else { "open" },
            i.sp_listeners,
            i.sp_dialers,
            i.sp_pipes,
            i.sp_handshaking,
        ));
        for n in [
            i.sp_rx_msgs,
            i.sp_rx_bytes,
            i.sp_tx_msgs,
            i.sp_tx_bytes,
            i.sp_rx_queued,
            i.sp_tx_queued,
            i.sp_rx_filtered,
            i.sp_rx_stale,
            i.sp_rx_malformed,
            i.sp_rx_ttl,
            i.sp_rx_oversize,
            i.sp_rx_partial,
            i.sp_tx_dropped,
            i.sp_tx_no_peer,
            i.sp_resends,
            i.sp_bad_greetings,
            i.sp_pipe_ups,
            i.sp_pipe_downs,
            i.sp_reconnects,
        ] {
            to.print(format_args!(" {n}"));
        }
        to.print(format_args!("\n"));
        {
            let endpoints = self.endpoints.lock();
            for listener in &endpoints.listeners {
                let state = match listener.tcp.is_listening() {
                    true => "listening",
                    false => "closed",
                };
                let local = listener.address;
                to.print(format_args!("  listener {local} - {state} 0 0 0 0 0 0\n"));
            }
            for dialer in &endpoints.dialers {
                let pipe = dialer.pipe.as_ref().filter(|pipe| !pipe.is_over());
                let state = match pipe {
                    None => "waiting",
                    Some(pipe) if pipe.is_greeting() => "dialing",
                    Some(_) => "connected",
                };
                let (remote, retries) = (dialer.address, dialer.retries);
                to.print(format_args!(
                    "  dialer - {remote} {state} 0 0 0 0 {retries} 0\n"
                ));
            }
        }
    }

    fn show_pipe(&self, id: PipeId, to: Page<'_>) {
        let (pipe, queued, dropped) = {
            let state = self.state.lock();
            let Some(pipe) = state.peers.handle(id) else {
                return;
            };
            (
                pipe.clone(),
                state.peers.queued(id),
                state.peers.dropped(id),
            )
        };
        let local = Address::of(pipe.stream().local());
        let (arrived, sent) = pipe.messages();
        to.print(format_args!(
            "  pipe {} {} {} {queued} {} {arrived} {sent} 0 {dropped}\n",
            local.unwrap_or(Address::Unspec),
            pipe.peer,
            pipe.phase_name(),
            pipe.unsent(),
        ));
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Req => "REQ",
            Role::Rep => "REP",
            Role::Pub => "PUB",
            Role::Sub => "SUB",
        }
    }
}
