// SPDX-License-Identifier: MIT

//! The numbers of `<linux/sp.h>`, which explains them; a test compares the two.

/// The protocol family.
pub const PF_SP: i32 = 18;
/// The level of the options.
pub const SOL_SP: i32 = 400;

/// The longest topic, in bytes.
pub const SP_TOPIC_MAX: usize = 4096;
/// The most topics of a socket.
pub const SP_SUBSCRIPTIONS_MAX: usize = 65536;
/// The most endpoints of a socket.
pub const SP_ENDPOINTS_MAX: usize = 1024;
/// The most connected peers of a socket.
pub const SP_PIPES_MAX: usize = 65536;

pub(crate) const SP_SUBSCRIBE: i32 = 1;
pub(crate) const SP_UNSUBSCRIBE: i32 = 2;
pub(crate) const SP_REMOVE: i32 = 11;
pub(crate) const SP_INFO: i32 = 13;

/// The type of a socket: a pattern, and the role in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Type {
    /// Hands each message to one of its peers.
    Push = 2,
    /// Collects what its peers push.
    Pull = 3,
    /// Sends a request to one peer, receives its reply.
    Req = 6,
    /// Receives requests, and replies to each.
    Rep = 7,
    /// Sends each message to all peers.
    Pub = 8,
    /// Receives the messages that begin with one of its topics.
    Sub = 9,
}

/// An option whose value is an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Opt {
    /// Milliseconds until a request is sent again; `Req`.
    ReqResendIvl = 3,
    /// Milliseconds between two attempts to connect.
    ReconnectIvl = 4,
    /// What those may grow to; 0: they do not.
    ReconnectIvlMax = 5,
    /// Bytes of the largest message that a peer may send.
    RcvMaxSize = 6,
    /// Bytes of the largest message that `send` takes.
    SndMaxSize = 7,
    /// How many tags a request may carry; `Rep`.
    MaxTtl = 8,
    /// Rank for sending of the endpoints to come; `Req`, `Push`.
    SndPrio = 9,
    /// Rank for receiving of the endpoints to come; `Rep`, `Sub`, `Pull`.
    RcvPrio = 10,
    /// How many peers are connected now; get only.
    Peers = 12,
}

macro_rules! info {
    ($($member:ident: $type:ty,)*) => {
        /// State and counters of a socket: `struct sp_info`, whose members the header explains.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        #[non_exhaustive]
        #[allow(missing_docs)]
        pub struct Info {
            $(pub $member: $type,)*
        }

        impl Info {
            /// The members and their sizes, in order.
            #[doc(hidden)]
            pub const MEMBERS: &'static [(&'static str, usize)] =
                &[$((stringify!($member), size_of::<$type>()),)*];
        }
    };
}

info! {
    sp_type: u32,
    sp_flags: u32,
    sp_listeners: u32,
    sp_dialers: u32,
    sp_pipes: u32,
    sp_handshaking: u32,
    sp_rx_msgs: u64,
    sp_rx_bytes: u64,
    sp_tx_msgs: u64,
    sp_tx_bytes: u64,
    sp_rx_queued: u64,
    sp_tx_queued: u64,
    sp_rx_filtered: u64,
    sp_rx_stale: u64,
    sp_rx_malformed: u64,
    sp_rx_ttl: u64,
    sp_rx_oversize: u64,
    sp_rx_partial: u64,
    sp_tx_dropped: u64,
    sp_tx_no_peer: u64,
    sp_resends: u64,
    sp_bad_greetings: u64,
    sp_pipe_ups: u64,
    sp_pipe_downs: u64,
    sp_reconnects: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn header() -> String {
        let path = std::env::var("SP_HEADER").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../include/uapi/linux/sp.h").into()
        });
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn constants_are_the_headers() {
        let header = header();
        let mut defined: BTreeMap<&str, i32> = header
            .lines()
            .filter_map(|line| {
                let mut words = line.strip_prefix("#define")?.split_whitespace();
                Some((words.next()?, words.next()?.parse().ok()?))
            })
            .collect();
        // Not implemented yet, so without a name here.
        for name in ["SOCK_PAIR", "SOCK_SURVEYOR", "SOCK_BUS", "SOCK_RESPONDENT"] {
            assert!(defined.remove(name).is_some());
        }
        let ours = [
            ("PF_SP", PF_SP),
            ("SOL_SP", SOL_SP),
            ("SOCK_PUSH", Type::Push as i32),
            ("SOCK_PULL", Type::Pull as i32),
            ("SOCK_REQ", Type::Req as i32),
            ("SOCK_REP", Type::Rep as i32),
            ("SOCK_PUB", Type::Pub as i32),
            ("SOCK_SUB", Type::Sub as i32),
            ("SP_SUBSCRIBE", SP_SUBSCRIBE),
            ("SP_UNSUBSCRIBE", SP_UNSUBSCRIBE),
            ("SP_REQ_RESEND_IVL", Opt::ReqResendIvl as i32),
            ("SP_RECONNECT_IVL", Opt::ReconnectIvl as i32),
            ("SP_RECONNECT_IVL_MAX", Opt::ReconnectIvlMax as i32),
            ("SP_RCVMAXSIZE", Opt::RcvMaxSize as i32),
            ("SP_SNDMAXSIZE", Opt::SndMaxSize as i32),
            ("SP_MAXTTL", Opt::MaxTtl as i32),
            ("SP_SNDPRIO", Opt::SndPrio as i32),
            ("SP_RCVPRIO", Opt::RcvPrio as i32),
            ("SP_REMOVE", SP_REMOVE),
            ("SP_PEERS", Opt::Peers as i32),
            ("SP_INFO", SP_INFO),
            ("SP_TOPIC_MAX", SP_TOPIC_MAX as i32),
            ("SP_SUBSCRIPTIONS_MAX", SP_SUBSCRIPTIONS_MAX as i32),
            ("SP_ENDPOINTS_MAX", SP_ENDPOINTS_MAX as i32),
            ("SP_PIPES_MAX", SP_PIPES_MAX as i32),
        ];
        assert_eq!(defined, BTreeMap::from(ours));
    }

    #[test]
    fn info_has_the_headers_members() {
        let header = header();
        let members: Vec<(&str, usize)> = header
            .lines()
            .filter_map(|line| {
                let (size, rest) = match line.strip_prefix("\t__u32 ") {
                    Some(rest) => (4, rest),
                    None => (8, line.strip_prefix("\t__aligned_u64 ")?),
                };
                Some((rest.strip_suffix(';')?, size))
            })
            .collect();
        assert_eq!(Info::MEMBERS, members);
        assert_eq!(size_of::<Info>(), 6 * 4 + 19 * 8);
    }
}
