// SPDX-License-Identifier: GPL-2.0

//! What a socket counts, and why a message is not delivered: the one table from a reason to its counter,
//! to its field in `struct sp_info` (whose comments tell the meanings) and its column in `/proc/net/sp`.

use crate::net::trace;
use crate::uapi::sp_info;
use core::ffi::CStr;

macro_rules! counters {
    ($($name:ident: $field:ident, $column:literal;)*) => {
        /// A counter of a socket.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Counter {
            $($name),*
        }

        /// The names of all of them, each behind a blank.
        pub(crate) const COLUMNS: &str = concat!($(" ", $column),*);

        const ALL: [Counter; [$(Counter::$name),*].len()] = [$(Counter::$name),*];

        impl Counters {
            pub(crate) fn fill(&self, info: &mut sp_info) {
                $(info.$field = self.get(Counter::$name);)*
            }
        }
    };
}

counters! {
    RxMsgs: sp_rx_msgs, "rx_msgs";
    RxBytes: sp_rx_bytes, "rx_bytes";
    TxMsgs: sp_tx_msgs, "tx_msgs";
    TxBytes: sp_tx_bytes, "tx_bytes";
    RxQueued: sp_rx_queued, "rx_queued";
    TxQueued: sp_tx_queued, "tx_queued";
    RxFiltered: sp_rx_filtered, "rx_filtered";
    RxStale: sp_rx_stale, "rx_stale";
    RxMalformed: sp_rx_malformed, "rx_malformed";
    RxTtl: sp_rx_ttl, "rx_ttl";
    RxOversize: sp_rx_oversize, "rx_oversize";
    RxPartial: sp_rx_partial, "rx_partial";
    TxDropped: sp_tx_dropped, "tx_dropped";
    TxNoPeer: sp_tx_no_peer, "tx_no_peer";
    Resends: sp_resends, "resends";
    BadGreetings: sp_bad_greetings, "bad_greetings";
    PipeUps: sp_pipe_ups, "pipe_ups";
    PipeDowns: sp_pipe_downs, "pipe_downs";
    Reconnects: sp_reconnects, "reconnects";
}

/// Why a message, or a connection, is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The program has not asked for it.
    Filtered,
    /// It answers what nobody waits for any more, or asks what was asked.
    Stale,
    /// It is not what a peer of this type may send.
    Malformed,
    /// It has more tags than SP_MAXTTL.
    TooManyTags,
    /// It is longer than SP_RCVMAXSIZE.
    Oversize,
    /// It will not become whole.
    Partial,
    /// The peer's pipe is full.
    Full,
    /// There is no such peer.
    NoPeer,
    /// There is no memory to keep it.
    NoMemory,
    /// Not a greeting, or not of a peer for this type.
    Greeting,
}

impl Reason {
    fn name(self) -> &'static CStr {
        match self {
            Reason::Filtered => c"filtered",
            Reason::Stale => c"stale",
            Reason::Malformed => c"malformed",
            Reason::TooManyTags => c"ttl",
            Reason::Oversize => c"oversize",
            Reason::Partial => c"partial",
            Reason::Full => c"full",
            Reason::NoPeer => c"no_peer",
            Reason::NoMemory => c"no_memory",
            Reason::Greeting => c"greeting",
        }
    }

    fn counter(self) -> Option<Counter> {
        match self {
            Reason::Filtered => Some(Counter::RxFiltered),
            Reason::Stale => Some(Counter::RxStale),
            Reason::Malformed => Some(Counter::RxMalformed),
            Reason::TooManyTags => Some(Counter::RxTtl),
            Reason::Oversize => Some(Counter::RxOversize),
            Reason::Partial => Some(Counter::RxPartial),
            Reason::Full => Some(Counter::TxDropped),
            Reason::NoPeer => Some(Counter::TxNoPeer),
            Reason::NoMemory => None,
            Reason::Greeting => Some(Counter::BadGreetings),
        }
    }
}

/// The counters of one socket.
#[derive(Clone, Default)]
pub(crate) struct Counters {
    of: [u64; ALL.len()],
    /// The socket's inode number, for who traces what is thrown away.
    inode: u64,
}

impl Counters {
    pub(crate) fn new(inode: u64) -> Self {
        let of = [0; ALL.len()];
        Counters { of, inode }
    }

    pub(crate) fn get(&self, counter: Counter) -> u64 {
        // CAST: The number of a variant, below the length.
        self.of.get(counter as usize).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, counter: Counter, n: u64) {
        // CAST: As in `get`.
        if let Some(count) = self.of.get_mut(counter as usize) {
            *count = count.wrapping_add(n);
        }
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Counts what is thrown away.
    pub(crate) fn discarded(&mut self, why: Reason) {
        self.discarded_all(why, 1);
    }

    /// Counts so many messages that are.
    pub(crate) fn discarded_all(&mut self, why: Reason, messages: usize) {
        if messages == 0 {
            return;
        }
        if let Some(counter) = why.counter() {
            self.add(counter, u64::try_from(messages).unwrap_or(0));
        }
        trace::dropped(self.inode, why.name(), messages);
    }

    /// All of them, in the order of the columns.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.of.iter().copied()
    }
}

/// One more.
pub(crate) fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}
