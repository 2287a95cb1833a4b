// SPDX-License-Identifier: GPL-2.0

//! What a socket tells about itself: SP_INFO, and its lines in `/proc/net/sp`.

use super::namespace::Part;
use super::Socket;
use crate::address::Address;
use crate::ids::PipeId;
use crate::net::family::OptionValue;
use crate::net::netns::Page;
use crate::stats::{
    Counter,
    Counters,
    COLUMNS, //
};
use crate::uapi;
use kernel::prelude::*;

/// The columns of `/proc/net/sp`, after the version of the format. A change of what is there is a new
/// version; columns are only ever appended, to either kind of line.
const BEFORE: &str = "sp 3 \
    | closed: bytes given_up \
    | socket: inode type uid state listeners dialers pipes handshaking";
const BEHIND: &str = " \
    | endpoint: role local remote state rx_queued tx_queued arrived sent retries dropped";

impl Socket {
    pub(super) fn info(&self) -> Result<OptionValue> {
        self.send_edition_to_look();
        let (info, _) = self.snapshot();
        Ok(OptionValue::Info(KBox::new(info, GFP_KERNEL)?))
    }

    /// What waits to be sent, in bytes of the programs' messages, but for what others send meanwhile.
    pub(super) fn unsent(&self) -> usize {
        let mut bytes = {
            let mut state = self.state.lock();
            self.end_loan(&mut state);
            state.not_given()
        };
        self.each_pipe(|pipe| bytes = bytes.saturating_add(pipe.unsent()));
        bytes
    }

    fn snapshot(&self) -> (uapi::sp_info, Counters) {
        let (listeners, dialers) = {
            let endpoints = self.endpoints.lock();
            (endpoints.listeners.len(), endpoints.dialers.len())
        };
        let tx_queued = self.unsent();
        let n32 = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let n64 = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let (up, pipes, mut stats) = {
            let state = self.state.lock();
            let mut stats = state.stats.clone();
            stats.add(Counter::RxQueued, n64(state.peers.bytes()));
            (state.peers.count_up(), state.pipes, stats)
        };
        stats.add(Counter::TxQueued, n64(tx_queued));
        let mut info = uapi::sp_info {
            sp_type: self.role.socket_type,
            sp_listeners: n32(listeners),
            sp_dialers: n32(dialers),
            sp_pipes: up,
            sp_handshaking: pipes.saturating_sub(up),
            ..Default::default()
        };
        stats.fill(&mut info);
        (info, stats)
    }

    pub(super) fn show_header(closed: u64, given_up: u64, to: Page<'_>) {
        to.print(format_args!(
            "{BEFORE}{COLUMNS}{BEHIND}\nclosed {closed} {given_up}\n"
        ));
    }

    /// The first pipe at or after `from`.
    pub(super) fn pipe_from(&self, from: PipeId) -> Option<PipeId> {
        let state = self.state.lock();
        state.peers.handle_from(from.0).map(|(id, _)| id)
    }

    /// Writes one part.
    pub(super) fn show(&self, part: Part, to: Page<'_>) {
        match part {
            Part::Socket => self.show_socket(to),
            Part::Pipe(id) => self.show_pipe(id, to),
        }
    }

    fn show_socket(&self, to: Page<'_>) {
        let (i, stats) = self.snapshot();
        let closing = self.state.lock().closing;
        to.print(format_args!(
            "{} {} {} {} {} {} {} {}",
            self.sk.inode(),
            self.role.name,
            to.uid(&self.sk),
            if closing { "closing" } else { "open" },
            i.sp_listeners,
            i.sp_dialers,
            i.sp_pipes,
            i.sp_handshaking,
        ));
        for n in stats.iter() {
            to.print(format_args!(" {n}"));
        }
        to.print(format_args!("\n"));
        {
            let endpoints = self.endpoints.lock();
            for listener in &endpoints.listeners {
                let state = if listener.tcp.is_listening() {
                    "listening"
                } else {
                    "closed"
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
            let mut state = self.state.lock();
            self.end_loan(&mut state);
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
            pipe.life_name(),
            pipe.unsent(),
        ));
    }
}
