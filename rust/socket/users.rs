// SPDX-License-Identifier: GPL-2.0

//! The users, and what the sockets of each have in common.
//!
//! Who a user is, says [`crate::net::sock::user`].

use super::closed::Closed;
use crate::endpoint::pace::Pace;
use crate::ledger::Total;
use crate::mem::GFP_KERNEL_ACCOUNT;
use crate::net::lock::{
    new_bhlock,
    BhLock, //
};
use crate::net::work::{
    self,
    Lane, //
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
use kernel::sync::Arc;
use kernel::workqueue::{
    impl_has_work,
    new_work,
    Work,
    WorkItem, //
};

/// What closed sockets may hold over all, in bytes: so much, or this part of the machine's memory.
const CLOSED_MEMORY: u64 = 64 << 20;
const CLOSED_PART: u64 = 16;

/// One user, while he has sockets.
pub(super) struct User {
    pub(super) pace: Arc<Pace>,
    /// The bytes of his sockets that are closed.
    pub(super) closed: Arc<Total>,
}

struct Entry {
    user: Arc<User>,
    sockets: usize,
}

/// All users that have sockets.
#[pin_data]
pub(crate) struct Users {
    #[pin]
    table: BhLock<RBTree<u64, Entry>>,
    /// The closed sockets of all namespaces.
    #[pin]
    pub(super) closed: Closed,
    /// How many sockets were closed, to number them.
    closed_count: Atomic<u64>,
    #[pin]
    work: Work<Users>,
}

impl_has_work! {
    impl HasWork<Self> for Users { self.work }
}

impl WorkItem for Users {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.closed.reduce(this.closed_most()) {
            work::enqueue::<_, 0>(Lane::Quick, this);
        }
    }
}

/// That a socket belongs to a user.
pub(super) struct Member {
    users: Arc<Users>,
    key: u64,
    user: Arc<User>,
}

impl Users {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Arc<Self>> {
        let closed = Closed::new()?;
        Arc::pin_init(
            pin_init!(Self {
                table <- new_bhlock!(RBTree::new(), "sp_users"),
                closed <- closed,
                closed_count: Atomic::new(0),
                work <- new_work!("sp_users"),
            }),
            GFP_KERNEL,
        )
    }

    /// One more socket of user `key`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn enter(self: &Arc<Self>, key: u64) -> Result<Member> {
        let member = |user: &Arc<User>| Member {
            users: self.clone(),
            key,
            user: user.clone(),
        };
        if let Some(entry) = self.table.lock().get_mut(&key) {
            entry.sockets = entry.sockets.saturating_add(1);
            return Ok(member(&entry.user));
        }
        let pace = Pace::new()?;
        let closed = Arc::new(Total::new(), GFP_KERNEL_ACCOUNT)?;
        let user = Arc::new(User { pace, closed }, GFP_KERNEL_ACCOUNT)?;
        let entry = Entry {
            user: user.clone(),
            sockets: 1,
        };
        let node = RBTreeNode::new(key, entry, GFP_KERNEL_ACCOUNT)?;
        let mut table = self.table.lock();
        // Somebody may have been faster; what was made for nothing is dropped after the lock.
        if let Some(entry) = table.get_mut(&key) {
            entry.sockets = entry.sockets.saturating_add(1);
            return Ok(member(&entry.user));
        }
        table.insert(node);
        Ok(member(&user))
    }

    /// A number for a socket that is closed, larger than those before.
    pub(super) fn close_number(&self) -> u64 {
        self.closed_count.fetch_add(1, Relaxed).wrapping_add(1)
    }

    /// How much closed sockets may hold, in bytes.
    fn closed_most(&self) -> u64 {
        CLOSED_MEMORY.max(work::memory() / CLOSED_PART)
    }

    /// Sees to it that closed sockets do not hold more than they may.
    pub(super) fn limit_closed(this: &Arc<Self>) {
        if this.closed.total.bytes() > this.closed_most() {
            work::enqueue::<_, 0>(Lane::Quick, this.clone());
        }
    }

    /// One socket less.
    fn leave(&self, key: u64) {
        let mut table = self.table.lock();
        let Some(entry) = table.get_mut(&key) else {
            return;
        };
        entry.sockets = entry.sockets.saturating_sub(1);
        let node = match entry.sockets {
            0 => table.remove_node(&key),
            _ => None,
        };
        drop(table);
        drop(node);
    }
}

impl Member {
    pub(super) fn users(&self) -> &Arc<Users> {
        &self.users
    }

    pub(super) fn key(&self) -> u64 {
        self.key
    }
}

impl core::ops::Deref for Member {
    type Target = User;

    fn deref(&self) -> &User {
        &self.user
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.users.leave(self.key);
    }
}
