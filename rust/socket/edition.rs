// SPDX-License-Identifier: GPL-2.0

//! Short messages to all peers that follow each other closely are collected, as an *edition*, and then each pipe is
//! given all of it: the same one, if nothing is before it in the pipe that TCP was not offered, or a copy; or as much
//! as it has room for.
//!
//! It is given before anything else happens that a peer can tell: another message, the end of the socket, a peer being
//! parted with; and before its program asks what is queued, or was dropped. A peer that comes meanwhile is none of
//! those it is for. As whatever is gathered it waits for no more than a work that was queued with the first of it, see
//! `gather.rs`.
//!
//! An edition is no more than half of what a pipe may hold, and who gives it to the pipes holds `order` until TCP was
//! offered it. So none finds the one before it where TCP would have had room, however many send.

use super::gather::Gathered;
use super::{
    Socket,
    State, //
};
use crate::ids::PipeId;
use crate::mem::{
    accounted,
    GFP_KERNEL_ACCOUNT,
    NO_SLEEP, //
};
use crate::net::chunk::pages_for;
use crate::net::work;
use crate::pattern::{
    Effects,
    Given,
    Pattern,
    Place, //
};
use crate::wire::sp::Edition;
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    UniqueArc, //
};

/// How many messages are collected at most: who has to be given them one by one gets them under the socket's lock.
const MOST: u32 = 64;

/// How often memory is waited for, for one edition.
const TRIES: usize = 8;

/// How large the memory of one is at most, in bytes.
const LARGEST: usize = 64 << 10;

/// What became of a message that was to be collected.
pub(super) enum Collected {
    Yes,
    /// It is to be sent as others are.
    No,
    /// It is the first one, and there is to be a place for it.
    First,
}

impl State {
    /// Whether something is not given yet.
    pub(super) fn has_edition(&self) -> bool {
        self.collected() > 0 || self.published.is_some()
    }

    /// Whether it is to be given now.
    pub(super) fn has_full_edition(&self) -> bool {
        self.collected() >= MOST
    }

    fn collected(&self) -> u32 {
        self.edition
            .as_ref()
            .map_or(0, |edition| edition.messages())
    }

    /// Adds nothing to it any more.
    pub(super) fn close_edition(&mut self) {
        if let Some(mut edition) = self.edition.take_if(|edition| !edition.is_empty()) {
            edition.fit(accounted(NO_SLEEP));
            self.published = Some((edition.into(), Place::default()));
        }
    }

    /// A peer is up which what was collected is not for.
    pub(super) fn comes_late(&mut self, id: PipeId) {
        // Nor is anything added that would be for it.
        self.close_edition();
        if matches!(&self.published, Some((_, at)) if !at.is_behind(id)) {
            self.peers.set_late(id);
        }
    }

    /// What is collected and not given yet to all peers, in bytes of bodies, once for each: also for those who have it
    /// where memory is waited for.
    pub(super) fn not_given(&self) -> usize {
        let edition = self.edition.as_ref().map_or(0, |edition| edition.bodies());
        let published = self.published.as_ref().map_or(0, |(all, _)| all.bodies());
        let peers = usize::try_from(self.peers.count_up()).unwrap_or(0);
        edition.saturating_add(published).saturating_mul(peers)
    }
}

impl Socket {
    /// Adds a short message to the edition, in a `place` for a new one if it needs that. Under the socket's lock.
    pub(super) fn collect(
        &self,
        state: &mut State,
        body: &[u8],
        place: &mut Option<UniqueArc<Edition>>,
    ) -> Collected {
        let collects = state.with(work::NEVER, |machine, world| machine.collects(world));
        if collects != Some(true) || state.published.is_some() || state.has_full_edition() {
            return Collected::No;
        }
        if state.edition.is_none() {
            state.edition = place.take();
        }
        let Some(edition) = &mut state.edition else {
            return Collected::First;
        };
        if edition.append(body, &self.ledger) {
            return Collected::Yes;
        }
        if edition.is_empty() {
            *place = state.edition.take();
        }
        Collected::No
    }

    /// A place for an edition of messages as long as this one: in pages that TCP sends where they are, if that is a lot.
    pub(super) fn place_for(self: &Arc<Self>, len: usize) -> Result<UniqueArc<Edition>> {
        let most = usize::try_from(MOST).unwrap_or(1);
        let room = Edition::room_for(len, most).min(LARGEST);
        let pages = self.pages(u32::try_from(pages_for(room)).unwrap_or(0));
        let edition = Edition::new(room, pages, GFP_KERNEL_ACCOUNT)?;
        Ok(UniqueArc::new(edition, GFP_KERNEL_ACCOUNT)?)
    }

    /// Gives the edition to the peers' pipes, or a part of it; all there is if it is `forced`. Under the
    /// socket's lock.
    fn publish(&self, state: &mut State, forced: bool) -> Given {
        if !state.has_edition() {
            return Given::All(Effects::NONE);
        }
        // Who happens to do it, to tell what is queued perhaps, is not to pay for it.
        let published = self.sk.charged(NO_SLEEP, |_| {
            state.close_edition();
            let (all, mut at) = state.published.take()?;
            let given = state.with(work::NEVER, |machine, world| {
                machine.send_all(world, &all, &mut at, forced)
            });
            Some((all, at, given))
        });
        let Some((all, at, given)) = published else {
            return Given::All(Effects::NONE);
        };
        // A socket that is closing has given it before.
        let given = given.unwrap_or(Given::All(Effects::NONE));
        if !matches!(given, Given::All(_)) {
            state.published = Some((all, at));
        }
        given
    }

    /// Gives all of it, as far as there is memory. Whoever sends what was gathered is going to find it. Under the
    /// socket's lock; where it is not done soon after [`Self::publish_patiently`] it takes too long.
    #[inline]
    pub(super) fn publish_at_once(&self, state: &mut State) {
        if self.role.sends_to_all {
            let _ = self.publish(state, true);
        }
    }

    /// The same in steps, and waits for memory. Holds no lock but `order`, until the pipes are flushed, where some
    /// could be given more meanwhile. Tells whether there was any.
    pub(super) fn publish_patiently(&self) -> bool {
        let (mut tries, mut some) = (0, false);
        loop {
            let mut state = self.state.lock();
            some |= state.has_edition();
            let given = self.publish(&mut state, tries == TRIES);
            drop(state);
            match given {
                Given::All(effects) => {
                    if effects.starved {
                        // For the next one.
                        self.sk.reclaim();
                    }
                    return some;
                }
                Given::Part => {}
                Given::Short => {
                    tries = tries.saturating_add(1);
                    self.sk.reclaim();
                }
            }
        }
    }

    /// Gives all of it, and has it sent before anything else is given. Holds no lock but `order`; in task context.
    pub(super) fn give_out(&self) {
        let some = self.publish_patiently();
        self.send_gathered(some.then_some(Gathered::ALL));
    }

    /// The same, with what was gathered otherwise.
    pub(super) fn send_edition(&self) {
        if !self.role.sends_to_all {
            return;
        }
        let order = self.order.lock();
        let gathered = loop {
            self.give_out();
            let mut state = self.state.lock();
            // Whoever collects after this finds nothing gathered, and has the work queued. Who has collected before
            // waits for `order` once it is enough: so this ends.
            if !state.has_edition() {
                break state.gathered.take();
            }
        };
        self.send_gathered(gathered);
        drop(order);
    }

    /// The same for a program that wants to know what is queued: as far as there is memory without waiting, and unless
    /// somebody is just doing it. In task context.
    pub(super) fn send_edition_to_look(&self) {
        let order = match self.role.sends_to_all {
            true => self.order.try_lock(),
            false => None,
        };
        if order.is_none() {
            return;
        }
        let mut some = false;
        let mut given = Given::Part;
        while matches!(given, Given::Part) {
            let mut state = self.state.lock();
            some |= state.has_edition();
            given = self.publish(&mut state, false);
        }
        // What others rely on for what they collect meanwhile stays.
        self.send_gathered(some.then_some(Gathered::ALL));
    }
}
