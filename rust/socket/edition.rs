// SPDX-License-Identifier: GPL-2.0

//! Short messages to all peers that follow each other closely are collected, as an *edition*, and then each pipe is
//! given a copy of all of it.
//!
//! It counts as given before anything else happens that a peer can tell: another message, a new peer, one that
//! leaves, the end of the socket; and before anybody asks what is queued, or was dropped. As whatever is gathered it
//! waits for no more than a work that was queued with the first of it, see `gather.rs`.

use super::{
    Socket,
    State, //
};
use crate::bytes::Room;
use crate::mem::{
    accounted,
    NO_SLEEP, //
};
use crate::net::work;
use crate::pattern::Pattern;
use crate::wire::sp::Batch;
use kernel::sync::atomic::Relaxed;

impl Socket {
    /// Adds a short message to the edition. False if it is to be sent as others are. Under the socket's lock.
    pub(super) fn collect(&self, state: &mut State, body: &[u8]) -> bool {
        let collects = state.with(work::NEVER, |machine, world| machine.collects(world));
        if collects != Some(true) {
            return false;
        }
        let sndbuf = self.limits.sndbuf.load(Relaxed);
        let flags = accounted(NO_SLEEP);
        let edition = &mut state.edition;
        edition.reserve(body.len(), 0, sndbuf, flags)
            && edition
                .append(body.len(), b"", &self.ledger, |room| room.extend(body))
                .is_some()
    }

    /// Gives the edition to the peers' pipes, if there is one; tells whether some were not given all of it for want of
    /// memory. In a call; under the socket's lock.
    #[inline]
    pub(super) fn publish(&self, state: &mut State) -> bool {
        !state.edition.is_empty() && self.give_edition(state)
    }

    fn give_edition(&self, state: &mut State) -> bool {
        let mut edition = core::mem::replace(&mut state.edition, Batch::new());
        let effects = state.with(work::NEVER, |machine, world| {
            machine.send_all(world, &edition)
        });
        edition.clear();
        // The next one is going to need as much memory.
        state.edition = edition;
        effects.is_some_and(|effects| effects.starved)
    }

    /// The same where it is not a call of the program's. Who sends what was gathered is going to find it.
    pub(super) fn publish_for(&self, state: &mut State) -> bool {
        self.sk.charged(NO_SLEEP, |_| self.publish(state))
    }

    /// The same, where the lock is not held.
    pub(super) fn publish_now(&self) {
        if self.role.sends_to_all {
            let _ = self.publish_for(&mut self.state.lock());
        }
    }
}
