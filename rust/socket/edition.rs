// SPDX-License-Identifier: GPL-2.0

//! Short messages to all peers that follow each other closely are collected, as an *edition*, and then each pipe is
//! given a copy of all of it.
//!
//! It is given before anything else happens that a peer can tell: another message, the end of the socket, a peer being
//! parted with; and before anybody asks what is queued, or was dropped. A peer that comes meanwhile is none of those it
//! is for. As whatever is gathered it waits for no more than a work that was queued with the first of it, see
//! `gather.rs`.
//!
//! An edition is no more than half of what a pipe may hold, and who gives it to the pipes holds `order` until TCP was
//! offered it. So none finds the one before it where TCP would have had room, however many send.

use super::{
    Socket,
    State, //
};
use crate::bytes::Room;
use crate::ids::PipeId;
use crate::mem::{
    accounted,
    NO_SLEEP, //
};
use crate::net::work;
use crate::pattern::{
    Effects,
    Given,
    Pattern, //
};
use crate::wire::sp::Batch;
use kernel::sync::atomic::Relaxed;

/// How many messages are collected at most: who has to be given them one by one gets them under the socket's lock.
const MOST: u32 = 64;

/// How often memory is waited for, for one edition.
const TRIES: usize = 8;

impl Socket {
    /// Adds a short message to the edition. False if it is to be sent as others are. Under the socket's lock.
    pub(super) fn collect(&self, state: &mut State, body: &[u8]) -> bool {
        let collects = state.with(work::NEVER, |machine, world| machine.collects(world));
        if collects != Some(true) || state.edition_at.is_some() || Self::is_full(state) {
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

    /// Whether it is to be given now. Under the socket's lock.
    pub(super) fn is_full(state: &State) -> bool {
        state.edition.messages() >= MOST
    }

    /// Adds nothing to it any more. Under the socket's lock.
    pub(super) fn close_edition(state: &mut State) {
        if !state.edition.is_empty() {
            state.edition_at.get_or_insert_default();
        }
    }

    /// A peer is up which what was collected is not for. Under the socket's lock.
    pub(super) fn comes_late(state: &mut State, id: PipeId) {
        if !state.edition.is_empty() {
            // Nor is anything added that would be for it.
            Self::close_edition(state);
            state.peers.set_late(id);
        }
    }

    /// Gives the edition to the peers' pipes, or a part of it; all there is if it is `forced`. Under the
    /// socket's lock.
    #[inline]
    fn publish(&self, state: &mut State, forced: bool) -> Given {
        if state.edition.is_empty() {
            return Given::All(Effects::NONE);
        }
        let mut edition = core::mem::replace(&mut state.edition, Batch::new());
        let mut at = state.edition_at.take().unwrap_or_default();
        // Who happens to do it, to tell what is queued perhaps, is not to pay for it.
        let given = self.sk.charged(NO_SLEEP, |_| {
            state.with(work::NEVER, |machine, world| {
                machine.send_all(world, &edition, &mut at, forced)
            })
        });
        // A socket that is closing has given it before.
        let given = given.unwrap_or(Given::All(Effects::NONE));
        match &given {
            Given::All(_) => edition.clear(),
            Given::Part | Given::Short => state.edition_at = Some(at),
        }
        // The next one is going to need as much memory.
        state.edition = edition;
        given
    }

    /// Gives all of it, as far as there is memory. Whoever sends what was gathered is going to find it. Under the
    /// socket's lock; where it is not done soon after [`Self::publish_patiently`] it takes too long.
    #[inline]
    pub(super) fn publish_at_once(&self, state: &mut State) {
        let _ = self.publish(state, true);
    }

    /// The same in steps, and waits for memory. Holds no lock but `order`, until the pipes are flushed, where some
    /// could be given more meanwhile.
    pub(super) fn publish_patiently(&self) {
        let mut tries = 0;
        loop {
            let given = self.publish(&mut self.state.lock(), tries == TRIES);
            match given {
                Given::All(effects) => {
                    if effects.starved {
                        // For the next one.
                        self.sk.reclaim();
                    }
                    return;
                }
                Given::Part => {}
                Given::Short => {
                    tries = tries.saturating_add(1);
                    self.sk.reclaim();
                }
            }
        }
    }

    /// Gives all of it, and has it sent. In task context.
    pub(super) fn send_edition(&self) {
        if !self.role.sends_to_all {
            return;
        }
        let order = self.order.lock();
        self.publish_patiently();
        let gathered = self.state.lock().gathered.take();
        self.send_gathered(gathered);
        drop(order);
    }

    /// The same for who only wants to know what is queued: as far as there is memory without waiting, and unless somebody
    /// is just doing it. Tells how many bytes are not given yet, to all peers. In task context.
    pub(super) fn send_edition_to_look(&self) -> usize {
        if !self.role.sends_to_all {
            return 0;
        }
        let order = self.order.try_lock();
        let left = loop {
            let mut state = self.state.lock();
            let given = match &order {
                Some(_) => self.publish(&mut state, false),
                None => Given::Short,
            };
            match given {
                Given::All(_) => break 0,
                Given::Part => {}
                Given::Short => {
                    let peers = usize::try_from(state.peers.count_up()).unwrap_or(0);
                    break state.edition.bodies().saturating_mul(peers);
                }
            }
        };
        if order.is_some() {
            let gathered = self.state.lock().gathered.take();
            self.send_gathered(gathered);
        }
        left
    }

    /// Gives back the memory of the edition, if there is none.
    pub(super) fn trim_edition(&self) {
        let memory = self.state.lock().edition.trim();
        drop(memory);
    }
}
