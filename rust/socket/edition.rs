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
use crate::net::task;
use crate::net::work;
use crate::pattern::Pattern;
use crate::wire::sp::Batch;
use kernel::sync::atomic::Relaxed;

/// How often memory is waited for, for one edition.
const TRIES: usize = 8;

impl Socket {
    /// Adds a short message to the edition. False if it is to be sent as others are. Under the socket's lock.
    pub(super) fn collect(&self, state: &mut State, body: &[u8]) -> bool {
        let collects = state.with(work::NEVER, |machine, world| machine.collects(world));
        if collects != Some(true) || state.edition_at.is_some() {
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

    /// Gives the edition to the peers' pipes, if there is one. False if memory is short for it, unless it is `forced` to
    /// do without. In a call of the program's; under the socket's lock.
    #[inline]
    pub(super) fn publish(&self, state: &mut State, forced: bool) -> bool {
        state.edition.is_empty() || self.give_edition(state, forced)
    }

    fn give_edition(&self, state: &mut State, forced: bool) -> bool {
        let mut edition = core::mem::replace(&mut state.edition, Batch::new());
        let mut at = state.edition_at.take().unwrap_or_default();
        let given = state.with(work::NEVER, |machine, world| {
            machine.send_all(world, &edition, &mut at, forced)
        });
        // A socket that is closing has given it before.
        let given = given.is_none_or(|effects| effects.is_some());
        if given {
            edition.clear();
        } else {
            state.edition_at = Some(at);
        }
        // The next one is going to need as much memory.
        state.edition = edition;
        given
    }

    /// The same where that memory cannot be waited for, and it may be no call of the program's. Whoever sends what was
    /// gathered is going to find it.
    pub(super) fn publish_at_once(&self, state: &mut State) {
        if !state.edition.is_empty() {
            self.sk.charged(NO_SLEEP, |_| self.publish(state, true));
        }
    }

    /// The same where it can, in a call of the program's or not. Holds no lock.
    pub(super) fn publish_patiently(&self, own: bool) {
        for tried in 0..=TRIES {
            let forced = tried == TRIES;
            let given = {
                let mut state = self.state.lock();
                if own {
                    self.publish(&mut state, forced)
                } else {
                    let publish = |_| self.publish(&mut state, forced);
                    self.sk.charged(NO_SLEEP, publish)
                }
            };
            if given {
                return;
            }
            if own {
                task::reclaim();
            } else {
                self.sk.reclaim();
            }
        }
    }

    /// Gives back the memory of the edition, if there is none.
    pub(super) fn trim_edition(&self) {
        let memory = self.state.lock().edition.trim();
        drop(memory);
    }
}
