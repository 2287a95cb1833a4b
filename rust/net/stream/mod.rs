// SPDX-License-Identifier: GPL-2.0

//! Kernel TCP: connections and listeners, their owners, their locks and their callbacks.
//!
//! Modules use each other from left to right: `listener`, `tcp`, `callbacks`, `reference`, `locked`,
//! `segment`, `kept`; and all of them `address` and `within`.
//!
//! Words: a [`TcpSocket`] owns a `struct socket`; dropping it closes the connection. A [`Stream`] is a
//! counted reference to the `struct sock` inside, enough to lock, read and send, and harmless once the
//! owner is gone. *Attaching* gives a stream's callbacks to an object, *detaching* takes them back.
//! We *close* a connection in order and *abort* it by a reset; after either, and after what the peer or the
//! network did, it has *ended*. A listener that *stops* leaves TCP_LISTEN and keeps its port.
//!
//! Callbacks run with the TCP lock held: in softirq from the packet path, or in whatever task releases
//! the lock after packets had to wait. They must not sleep, take another TCP lock, close or send.
//!
//! # Who can call them
//!
//! A connection is attached to only after it was dialed or accepted by us, so nobody inherits our
//! callbacks: a listener, the only sock that is ever cloned, keeps TCP's own (it is heard through its
//! wait queue, see [`TcpListener`]), and so do the connections in its queue, which another listener of
//! the SO_REUSEPORT group may get, also long after this module is gone. What comes to us from such a
//! listener loses in `sp_helper_tcp_accept` what is not ours. While attached, the user data is ours; a
//! sockmap, the one that would put other callbacks before ours and call them from its works, finds it
//! taken, as we find it taken where it was first. A ULP that would do so cannot be asked for through our
//! sockets (TCP_ULP is not among their options). Then, of what we replace,
//!
//! - `sk_state_change` is called by `tcp_done`, `tcp_fin`, the handshake and `inet_shutdown`,
//! - `sk_data_ready` by what queues received bytes, urgent ones too,
//! - `sk_write_space` by what takes acknowledged bytes off the queue, by a send that found no room and by
//!   the options that make room; not by `sock_wfree`, since TCP socks have SOCK_USE_WRITE_QUEUE,
//!
//! all of them with the TCP lock held.
//!
//! `sk_error_report` is left alone. `sock_queue_err_skb` calls it for timestamps, zerocopy and ICMP
//! messages without the lock, and it tells nothing that we need: each way to break a connection or to
//! fail to make one (a reset, a timeout, ICMP during the handshake, SOCK_DESTROY) goes through
//! `tcp_done`, which is `sk_state_change` in state TCP_CLOSE, `sk_err` set before. The others are no end:
//! ICMP on an established connection, which only counts when IP_RECVERR is set, and our own
//! `tcp_disconnect`. That routing fails at once, `connect` returns.
//!
//! C headers: [`include/net/tcp.h`](srctree/include/net/tcp.h),
//! [`include/linux/net.h`](srctree/include/linux/net.h),
//! [`include/linux/wait.h`](srctree/include/linux/wait.h)

mod address;
mod callbacks;
mod kept;
mod listener;
mod locked;
mod reference;
mod segment;
mod tcp;
mod within;

pub(crate) use address::SockAddr;
pub(crate) use callbacks::StreamEvents;
pub(crate) use kept::Kept;
pub(crate) use listener::{
    ListenEvents,
    TcpListener, //
};
pub(crate) use locked::TcpLocked;
pub(crate) use reference::Stream;
pub(crate) use tcp::TcpSocket;
