// SPDX-License-Identifier: GPL-2.0

//! The users, and what the sockets of each have in common.
//!
//! Who a user is, says [`crate::net::sock::user`].

use crate::endpoint::pace::Pace;
use crate::net::lock::{
    new_bhlock,
    BhLock, //
};
use kernel::prelude::*;
use kernel::rbtree::{
    RBTree,
    RBTreeNode, //
};
use kernel::sync::Arc;

/// One user, while he has sockets.
pub(super) struct User {
    pub(super) pace: Arc<Pace>,
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
        Arc::pin_init(
            pin_init!(Self {
                table <- new_bhlock!(RBTree::new(), "sp_users"),
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
        let user = Arc::new(User { pace: Pace::new()? }, GFP_KERNEL)?;
        let entry = Entry {
            user: user.clone(),
            sockets: 1,
        };
        let node = RBTreeNode::new(key, entry, GFP_KERNEL)?;
        let mut table = self.table.lock();
        // Somebody may have been faster; what was made for nothing is dropped after the lock.
        if let Some(entry) = table.get_mut(&key) {
            entry.sockets = entry.sockets.saturating_add(1);
            return Ok(member(&entry.user));
        }
        table.insert(node);
        Ok(member(&user))
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
