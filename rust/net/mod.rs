// SPDX-License-Identifier: GPL-2.0

//! The kernel's side: protocol families, TCP, work, locks. The only folder with unsafe code.
//!
//! It knows sockets and TCP and nothing of patterns, requests or topics. The safety argument, in short;
//! each type's `# Invariants` has its part of it:
//!
//! - Pointers to a `struct sock` live in types that own a count of it: [`sock::SkRef`] for ours,
//!   [`stream::Stream`] for TCP's. A `struct socket` of TCP has one owner, [`stream::TcpSocket`].
//! - What only works under the TCP lock is a method of [`stream::TcpLocked`], which exists only while the
//!   lock is held: inside a guard, or inside a callback that TCP makes with the lock held.
//! - The user data of a TCP sock is one reference of an `Arc`, stored and removed under its callback
//!   lock. A connection's callbacks run under the TCP lock, which removing takes too, so afterwards none
//!   runs. A listener has none of ours, but an entry in its wait queue, which calls it under its lock and
//!   lets it be removed under the same.
//! - A socket of ours owns one reference of its `Arc` from create to release. Works own one while they
//!   are queued. Everything that such an object needs to stay alive (our sock, thereby the namespace and
//!   the module) hangs on references inside it.
//! - A process or a thread is known by a counted `struct pid`, in [`task::Pid`].
//! - C may change what it shares with us at any time: fields of `struct sock` are read through helpers
//!   with `READ_ONCE`, and no Rust reference to one exists.

mod bindings;
pub(crate) mod family;
mod input;
pub(crate) mod lock;
pub(crate) mod netns;
pub(crate) mod sock;
pub(crate) mod stream;
pub(crate) mod task;
pub(crate) mod work;

/// The user-space interface, as bindgen reads it in `include/uapi/linux/sp.h`.
pub(crate) mod uapi {
    pub(crate) use super::bindings::{
        sp_info,
        PF_SP,
        SOCK_PUB,
        SOCK_REP,
        SOCK_REQ,
        SOCK_SUB,
        SOL_SP,
        SP_ENDPOINTS_MAX,
        SP_INFO,
        SP_MAXTTL,
        SP_PEERS,
        SP_PIPES_MAX,
        SP_RCVMAXSIZE,
        SP_RCVPRIO,
        SP_RECONNECT_IVL,
        SP_RECONNECT_IVL_MAX,
        SP_REMOVE,
        SP_REQ_RESEND_IVL,
        SP_SNDMAXSIZE,
        SP_SNDPRIO,
        SP_SUBSCRIBE,
        SP_SUBSCRIPTIONS_MAX,
        SP_TOPIC_MAX,
        SP_UNSUBSCRIBE, //
    };
    pub(crate) use super::bindings::{
        IPPROTO_TCP,
        IPV6_AUTOFLOWLABEL,
        IPV6_FREEBIND,
        IPV6_MINHOPCOUNT,
        IPV6_MTU_DISCOVER,
        IPV6_TCLASS,
        IPV6_TRANSPARENT,
        IPV6_UNICAST_HOPS,
        IPV6_V6ONLY,
        IP_BIND_ADDRESS_NO_PORT,
        IP_FREEBIND,
        IP_LOCAL_PORT_RANGE,
        IP_MINTTL,
        IP_MTU_DISCOVER,
        IP_TOS,
        IP_TRANSPARENT,
        IP_TTL,
        SOL_IP,
        SOL_IPV6,
        SOL_SOCKET,
        SOL_TCP,
        SO_BINDTODEVICE,
        SO_BINDTOIFINDEX,
        SO_DONTROUTE,
        SO_INCOMING_CPU,
        SO_KEEPALIVE,
        SO_LINGER,
        SO_MARK,
        SO_MAX_PACING_RATE,
        SO_PRIORITY,
        SO_RCVBUF,
        SO_RCVBUFFORCE,
        SO_RCVTIMEO_NEW,
        SO_RCVTIMEO_OLD,
        SO_REUSEADDR,
        SO_REUSEPORT,
        SO_SNDBUF,
        SO_SNDBUFFORCE,
        SO_SNDTIMEO_NEW,
        SO_SNDTIMEO_OLD,
        TCP_CONGESTION,
        TCP_KEEPCNT,
        TCP_KEEPIDLE,
        TCP_KEEPINTVL,
        TCP_MAXSEG,
        TCP_NODELAY,
        TCP_NOTSENT_LOWAT,
        TCP_SYNCNT,
        TCP_USER_TIMEOUT,
        TCP_WINDOW_CLAMP, //
    };
    pub(crate) use kernel::bindings::{
        POLLHUP,
        POLLIN,
        POLLOUT,
        POLLRDHUP,
        POLLRDNORM,
        POLLWRBAND,
        POLLWRNORM, //
    };
}
