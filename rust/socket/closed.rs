// SPDX-License-Identifier: GPL-2.0

//! The sockets that are closed and still hold what is not delivered, and how much that may be.
//!
//! Two bounds hold: one in each namespace, a knob of its owner's, and one over all that none of them can
//! lift. Beyond a bound the oldest socket, by the time of its close, is given up: of the user who holds
//! most (in all namespaces), so that nobody loses his messages by what another leaves behind.
//!
//! A work does that, a few sockets at a time; it only marks them, and what they hold counts no more. Each
//! one's own work ends its pipes.

use super::namespace::Net;
use super::users::Users;
use super::Socket;
use crate::ledger::Total;
use crate::time::Millis;
use kernel::prelude::*;
use kernel::rbtree::{
    RBTree,
    RBTreeNode, //
};
use kernel::sync::atomic::Relaxed;
use kernel::sync::{
    new_mutex,
    Arc,
    Mutex, //
};

/// How many sockets are given up before others get their turn.
const BATCH: u32 = 64;

/// Where in a list: whose it is, and when it was closed.
type Place = (u64, u64);

/// Some closed sockets, and the bytes of all of them.
#[pin_data]
pub(super) struct Closed {
    /// Held for look-ups only.
    #[pin]
    sockets: Mutex<RBTree<Place, Arc<Socket>>>,
    pub(super) total: Arc<Total>,
}

impl Closed {
    pub(super) fn new() -> Result<impl PinInit<Self>> {
        let total = Arc::new(Total::new(), GFP_KERNEL)?;
        Ok(pin_init!(Self {
            sockets <- new_mutex!(RBTree::new(), "sp_closed"),
            total,
        }))
    }

    /// # Errors
    ///
    /// `ENOMEM`.
    fn enlist(&self, place: Place, socket: &Arc<Socket>) -> Result {
        let node = RBTreeNode::new(place, socket.clone(), GFP_KERNEL)?;
        // Places are unique, so nobody is replaced.
        let none = self.sockets.lock().insert(node);
        drop(none);
        Ok(())
    }

    fn delist(&self, place: Place) {
        let node = self.sockets.lock().remove_node(&place);
        drop(node);
    }

    /// The oldest socket of the user who holds most.
    fn next(&self) -> Option<Arc<Socket>> {
        let sockets = self.sockets.lock();
        let mut first: Option<(u64, Arc<Socket>)> = None;
        let mut from = (0, 0);
        // The first of each user.
        while let Some(cursor) = sockets.cursor_lower_bound(&from) {
            let ((user, _), socket) = cursor.current();
            let held = socket.user.closed.bytes();
            if first.as_ref().is_none_or(|(most, _)| held > *most) {
                first = Some((held, socket.clone()));
            }
            let Some(next) = user.checked_add(1) else {
                break;
            };
            from = (next, 0);
        }
        first.map(|(_, socket)| socket)
    }

    /// Gives sockets up until `most` bytes are left. Returns whether there is more to do.
    pub(super) fn reduce(&self, most: u64) -> bool {
        for _ in 0..BATCH {
            if self.total.bytes() <= most {
                return false;
            }
            match self.next() {
                Some(socket) => socket.abort(),
                None => return false,
            }
        }
        true
    }
}

impl Socket {
    /// The program has let go: as long as there are pipes that hold what it sent, that is counted with what
    /// others have left, and bounded. Called once.
    pub(super) fn outlive(self: &Arc<Self>) {
        self.ledger.close();
        if self.ledger.is_empty() {
            return;
        }
        let users = self.user.users();
        self.closed_as.store(users.close_number(), Relaxed);
        let lists = [&self.net.closed, &users.closed];
        let listed = lists.map(|list| list.enlist(self.place(), self));
        if listed.iter().any(|listed| listed.is_err()) {
            // Nobody would find it.
            self.abort();
        }
        // It may have ended before it was listed.
        if self.state.lock().pipes == 0 {
            self.delist();
        }
        Net::limit_closed(&self.net);
        Users::limit_closed(users);
    }

    /// Takes it off the lists, if it is there.
    pub(super) fn delist(&self) {
        for list in [&self.net.closed, &self.user.users().closed] {
            list.delist(self.place());
        }
    }

    fn place(&self) -> Place {
        (self.user.key(), self.closed_as.load(Relaxed))
    }

    /// Nothing more is given to TCP. Returns at once; the pipes end soon.
    fn abort(self: &Arc<Self>) {
        let again = core::mem::replace(&mut self.state.lock().aborted, true);
        // Also when found again: it may have been put on the second list meanwhile.
        self.delist();
        if again {
            return;
        }
        self.ledger.write_off();
        self.net.count_aborted();
        self.tick_in(Millis::ZERO);
    }
}
