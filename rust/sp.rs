// SPDX-License-Identifier: GPL-2.0

//! PF_SP: Scalability Protocols sockets over TCP.
//!
//! # Words
//!
//! A *socket* has a *role* in a *pattern* (REQ and REP, PUB and SUB, PUSH and PULL) and any number of *endpoints*:
//! *listeners* (bind) and *dialers* (connect). Endpoints make *pipes*, one for each TCP connection whose
//! peer greets as it should. A *message* is what a program sends and receives in one call; on the wire it
//! is a frame: *tags*, which route it, and the *body*, which the program sees.
//! The *machine* of a socket is the state of its role, in `pattern`.
//!
//! Five words tell how things end, and no others do:
//!
//! - *close*: what a program or the socket does to something of ours, orderly; a closed pipe still delivers.
//! - *end*, *ended*: something is over, whoever wanted it, and for a reason. Each pipe ends once.
//! - *gone*: the other side, or what the one who reports it knew, is not there any more.
//! - *abort*: end at once, whatever is undelivered; with a reset, unless TCP has all of it.
//! - *abandon*: give up a message, or all that a pipe would still read, that is not whole.
//!
//! An ended pipe is *over* once its owner is done with it. TCP has words of its own for its sockets: they are
//! connected and disconnected, callbacks are detached, listening stops.
//!
//! # Layers
//!
//! Who imports whom, top down; what has no line imports nothing. This file may import all.
//!
//! ```text
//! socket ──> endpoint, pattern, pipe, wire, net, message, options, address, bytes, errno, error, ids, ledger, mem, stats, time, uapi
//! endpoint ──> pipe, net, options, address, errno, ids, mem, time, uapi
//! pipe ──> wire, net, message, address, bytes, ids, ledger, mem, stats, time
//! pattern ──> message, options, address, bytes, caller, error, ids, mem, stats, time, uapi
//! wire ──> message, address, bytes, ledger, mem, stats
//! message ──> net, address, bytes, ledger, mem
//! stats ──> net, uapi
//! net ──> bytes, caller, errno, mem, time, uapi
//! ground floor
//! options ──> mem, time, uapi
//! errno ──> uapi
//! error ──> uapi
//! ledger ──> mem
//! ```
//!
//! `pattern`, `wire`, `message`, and the two sides of a pipe in `pipe`, are arithmetic on values; all that they
//! know of `net` is memory, and that somebody may be told what was thrown away. `net` has all the unsafe code and knows TCP, not SP. `pipe` and `endpoint` report to the layer above through a trait
//! that they declare.
//!
//! # The way of a message
//!
//! send(2) copies it once, lets the pattern choose the pipe and append to its queue under the socket's
//! lock, and then, in the same context, hands the pipe's queue to TCP; but for messages of PUB and PUSH that
//! follow each other closely, which a thread of ours has a work send together, see `socket/gather.rs`. TCP's receive callback, in softirq
//! or in whoever releases the TCP lock, decodes it and lets the pattern judge it; what is kept waits in
//! its pipe's receive queue, and one sleeper is woken, or all, as the pattern says. recv(2) copies it once more. No other thread has a
//! part in this. Works do what may sleep and has no caller: accepting, greeting, going on when TCP had no
//! room, redialing, closing; and what is too much for one call or callback. When a pipe may go on reading
//! is told in `pattern/intake.rs`.
//!
//! # Lock order
//!
//! 1. the mutex around a socket's endpoints, then a pipe's, `Pipe::open`, around closing its connection and setting options on it;
//!    `Socket::order`, of those who send to all peers
//! 2. the lock of one TCP socket; callbacks run with it held
//! 3. the callback lock of that TCP socket, inside `net`
//! 4. `Pipe::rx`
//! 5. the lock of a socket's state
//! 6. `Pipe::tx`, `Pipe::tcp`
//! 7. wait queues, timers, the workqueues and threads
//!
//! 4 to 6 are spinlocks taken with bottom halves off; of two, the one that was taken first is released last. TCP is never called with one of them held, and
//! never two TCP locks are held at a time. Who holds a lock of 1 may send, because flushing takes only those
//! from 2 on. The mutexes around a namespace's list of sockets and around lists
//! of closed ones are taken with nothing held, and nothing is taken under them, nor under the table of
//! users, a spinlock.
//!
//! # Lifetimes
//!
//! ```text
//!      list of the namespace, lists of closed sockets
//!                     v
//! file ──> sock ──> Socket ──> its own sock (a count), thereby the namespace and this module
//!                     ^ │ peers          endpoints
//!        upper, owner │ v                  v
//!   Pipe, Acceptor ───┘ Pipe             Listener, Dialer ──> TCP sockets
//! ```
//!
//! The cycle between a socket and its pipes is broken by `release`, which closes or aborts each of them, and
//! by each pipe's end, which takes it out of the peers; the last one to end takes the socket off the lists. See
//! `socket/` and `pipe/`. A queued work and an
//! installed callback own one reference each. So the module cannot go while anything can still run in
//! it, but for a function that is just returning: the workqueues and threads are destroyed, which waits for those,
//! before the code goes.

#![deny(unsafe_code)]
#![deny(unsafe_op_in_unsafe_fn)]
// A panic is a BUG(). The tests, which may panic, are compiled with SP_KUNIT.
#![cfg_attr(
    not(SP_KUNIT),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod address;
mod bytes;
mod caller;
mod endpoint;
mod errno;
mod error;
mod ids;
mod ledger;
mod mem;
mod message;
#[allow(unsafe_code)]
mod net;
mod options;
mod pattern;
mod pipe;
mod socket;
mod stats;
mod time;
mod uapi;
mod wire;

use kernel::prelude::*;
use net::family::Registration;
use net::thread::Threads;
use net::work::{
    Lane,
    WorkQueue, //
};
use socket::Socket;

module! {
    type: Sp,
    name: "sp",
    authors: ["The PF_SP authors"],
    description: "PF_SP: Scalability Protocols sockets over TCP",
    license: "GPL",
    alias: ["net-pf-18"],
    params: {
        pf: u32 {
            default: 18,
            description: "The number of the protocol family; programs are compiled with -DPF_SP=number",
        },
    },
}

/// The loaded module. Fields are dropped in this order.
struct Sp {
    _family: Registration<Socket>,
    _works: [WorkQueue; 2],
    _threads: Threads,
}

impl kernel::Module for Sp {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // For test.sh, which wants to see that the kernel knows it for a warning.
        #[cfg(SP_WARN)]
        kernel::warn_on!(true);
        // A reference in Linux 7.2, a number in 7.3.
        let number: &u32 = &module_parameters::pf.value();
        let works = [
            WorkQueue::new(Lane::Quick, c"sp")?,
            WorkQueue::new(Lane::Patient, c"sp_patient")?,
        ];
        let threads = Threads::new()?;
        let family = Registration::new(*number, c"SP", module).inspect_err(|e| {
            if *e == EEXIST {
                pr_err!("protocol family {number} is taken; load with pf=NUMBER for another one\n");
            } else {
                pr_err!("cannot register protocol family {number}: {e:?}\n");
            }
        })?;
        Ok(Sp {
            _family: family,
            _works: works,
            _threads: threads,
        })
    }
}
