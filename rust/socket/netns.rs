// SPDX-License-Identifier: GPL-2.0

//! The sockets of one network namespace, as `/proc/net/sp` lists them, and its knob
//! `/proc/sys/net/sp/close_timeout_ms`.
//!
//! A socket is listed from its creation until nothing of it is left: one that is closed but still delivers
//! is what an administrator looks for who wonders why the module cannot be unloaded. The list owns the
//! references that keep such a socket; its lock is a leaf, held for a look-up only.

use super::Socket;
use crate::net::netns::{
    Knob,
    Namespace,
    Page, //
};
use kernel::prelude::*;
use kernel::rbtree::{
    RBTree,
    RBTreeNode, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::{
    new_mutex,
    Arc,
    Mutex, //
};

/// How long a closed socket goes on delivering, in milliseconds.
const CLOSE_TIMEOUT: i32 = 30_000;

/// What that may be set to: whoever owns a namespace must not pin it, and the module, for ever.
static CLOSE_TIMEOUT_MAX: i32 = 600_000;

struct List {
    sockets: RBTree<u64, Arc<Socket>>,
    last: u64,
}

#[pin_data]
pub(crate) struct Net {
    #[pin]
    list: Mutex<List>,
    close_timeout: Atomic<i32>,
}

impl Net {
    /// A number for a socket, by which it is listed.
    pub(super) fn number(&self) -> u64 {
        let mut list = self.list.lock();
        list.last = list.last.saturating_add(1);
        list.last
    }

    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn enlist(&self, number: u64, socket: Arc<Socket>) -> Result {
        let node = RBTreeNode::new(number, socket, GFP_KERNEL)?;
        // Numbers are unique, so nobody is replaced.
        let none = self.list.lock().sockets.insert(node);
        drop(none);
        Ok(())
    }

    /// Takes a socket off the list, if it is there.
    pub(super) fn strike(&self, number: u64) {
        let node = self.list.lock().sockets.remove_node(&number);
        drop(node);
    }

    /// How long a closed socket goes on delivering, in milliseconds.
    pub(super) fn close_timeout(&self) -> u64 {
        u64::try_from(self.close_timeout.load(Relaxed)).unwrap_or(0)
    }
}

impl Namespace for Net {
    type Row = Socket;

    const NAME: &'static CStr = c"sp";
    const KNOB: Knob = Knob {
        name: c"close_timeout_ms",
        max: &CLOSE_TIMEOUT_MAX,
    };

    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                list <- new_mutex!(List {
                    sockets: RBTree::new(),
                    last: 0,
                }, "sp_net"),
                close_timeout: Atomic::new(CLOSE_TIMEOUT),
            }),
            GFP_KERNEL,
        )
    }

    fn knob(&self) -> &Atomic<i32> {
        &self.close_timeout
    }

    fn row(&self, from: u64) -> Option<(u64, Arc<Socket>)> {
        let list = self.list.lock();
        let cursor = list.sockets.cursor_lower_bound(&from)?;
        let (number, socket) = cursor.current();
        Some((*number, socket.clone()))
    }

    fn show_header(to: Page<'_>) {
        Socket::show_header(to);
    }

    fn show_row(socket: &Arc<Socket>, to: Page<'_>) {
        socket.show(to);
    }
}
