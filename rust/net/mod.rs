// SPDX-License-Identifier: GPL-2.0

//! The kernel's side: protocol families, TCP, work, locks. The only folder with unsafe code.
//!
//! It knows sockets and TCP and nothing of patterns, requests or topics. Its modules use each other in one
//! direction, and all of them the bindings:
//!
//! ```text
//! family ──> stream ──┐
//!   │           v     v
//!   ├───────> sock ──> setting
//!   │           ^
//!   └──> netns ─┘ <── pool ──> chunk, lock, work      task   thread
//!
//! trace ──> stream
//! ```
//!
//! The safety argument, in short; each type's `# Invariants` has its part of it:
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
pub(crate) mod chunk;
pub(crate) mod family;
mod lent;
pub(crate) mod lock;
pub(crate) mod netns;
pub(crate) mod pool;
pub(crate) mod setting;
pub(crate) mod sock;
pub(crate) mod stream;
pub(crate) mod task;
pub(crate) mod thread;
pub(crate) mod trace;
pub(crate) mod work;
