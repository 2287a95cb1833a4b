// SPDX-License-Identifier: GPL-2.0

//! Short messages that join others while there is but one pipe that they can go to.
//!
//! That pipe *lends* the socket the batch that it gathers them in: what follows closely is written there under the
//! socket's lock alone, and neither the machine nor the pipe is asked. The pipe has it back, under the same lock, before
//! it is given anything else, or is parted with, or what was gathered is sent: at the latest when the thread has its
//! turn, see `gather.rs`. A flush that finds nothing else asks for it, once. What was written is the pipe's all the same:
//! it is lost with it, as what else it was given, and one that is parted with delivers it.

use super::cadence::Cadence;
use super::gather::{
    LONGEST,
    TINY, //
};
use super::{
    room,
    Socket,
    SocketPipe,
    State, //
};
use crate::bytes::Source;
use crate::ids::PipeId;
use crate::message::OVERHEAD;
use crate::net::family::{
    self,
    SendCall, //
};
use crate::net::task;
use crate::net::work;
use crate::wire::sp::Batch;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

/// A batch that a pipe has lent.
///
/// # Invariants
///
/// It is lent: there are no messages in its place. Something is gathered, for this pipe, which is a peer.
pub(super) struct Loan {
    pipe: SocketPipe,
    batch: Batch,
    /// How the sends follow each other, once one has gone this way; the socket knows until then.
    cadence: Option<Cadence>,
    /// How much could be added at first, and can be now, in bytes: of what messages count for, and of bodies.
    at_first: Bounds,
    now: Bounds,
    /// The longest message that may be added, in bytes.
    longest: usize,
}

/// In bytes: of what messages count for, and of bodies.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) charge: usize,
    pub(super) bodies: usize,
}

impl Socket {
    /// The pipe has just been given a message that joins others, and lends its batch for those that follow if it is the
    /// only one with room; no more is added than within these `bounds`. Under the socket's lock.
    pub(super) fn begin_loan(&self, state: &mut State, id: PipeId, mut bounds: Bounds) {
        if state.peers.sole_writable() != Some(id) {
            return;
        }
        let Some(pipe) = state.peers.handle(id).cloned() else {
            return;
        };
        // Before: a pipe that ends from now on is one that does not lend, or is heard of.
        self.has_loan.store(1, Relaxed);
        let Some((batch, charge)) = pipe.lend() else {
            self.distrust_loan();
            return;
        };
        bounds.charge = bounds.charge.min(charge);
        // INVARIANT: It was just lent, and others were joined.
        state.loan = Some(Loan {
            pipe,
            batch,
            cadence: None,
            at_first: bounds,
            now: bounds,
            longest: LONGEST.min(self.options.sndmaxsize()),
        });
    }

    /// Nothing is added to it any more, if there is one.
    pub(super) fn distrust_loan(&self) {
        self.has_loan.store(0, Relaxed);
    }

    /// The pipe has its batch back. Under the socket's lock.
    #[inline]
    pub(super) fn end_loan(&self, state: &mut State) {
        if let Some(loan) = state.loan.take() {
            self.give_back(state, loan);
        }
    }

    #[cold]
    fn give_back(&self, state: &mut State, loan: Loan) {
        let id = loan.pipe.name.id;
        // OVERFLOW: It only becomes less.
        let charge = loan.at_first.charge.wrapping_sub(loan.now.charge);
        let bodies = loan.at_first.bodies.wrapping_sub(loan.now.bodies);
        match loan.pipe.take_back(loan.batch, charge) {
            Some(more) => state.peers.has_given(id, room(more)),
            // Nothing it is given helps.
            None => state.peers.set_writable(id, false),
        }
        if let Some(gathered) = &mut state.gathered {
            gathered.add(charge, bodies);
        }
        if let Some(cadence) = loan.cadence {
            self.cadence.store(cadence.bits(), Relaxed);
        }
        self.distrust_loan();
    }

    /// Sends a message the way of the one before, if that is open, and it follows closely and there is room. False if it
    /// is to be sent as others are; then the way is closed.
    #[inline]
    pub(super) fn send_along(self: &Arc<Self>, call: &mut SendCall<'_>) -> bool {
        let mut state = self.state.lock();
        let sole = state.peers.sole_writable();
        let Some(loan) = &mut state.loan else {
            return false;
        };
        let len = call.len();
        if sole == Some(loan.pipe.name.id) && self.goes_along(loan, call) {
            self.has_sent(&mut state, len);
            return true;
        }
        self.end_loan(&mut state);
        false
    }

    #[inline]
    fn goes_along(&self, loan: &mut Loan, call: &mut SendCall<'_>) -> bool {
        let (len, flags) = (call.len(), call.flags());
        let charge = len.saturating_add(OVERHEAD);
        if len > loan.longest
            || charge >= loan.now.charge
            || len >= loan.now.bodies
            || flags & family::MSG_OOB != 0
            || call.has_address()
            || task::is_urgent()
        {
            return false;
        }
        let more = family::says_more(flags);
        let mut cadence = match loan.cadence {
            Some(cadence) => cadence,
            None => Cadence::of(self.cadence.load(Relaxed)),
        };
        let mut at = None;
        if !cadence.begin(more, || *at.insert(work::now_ns())) {
            return false;
        }
        let mut body = call.now();
        let added = loan
            .batch
            .append(len, b"", &self.ledger, |room| body.append(room, len));
        if added.is_none() {
            return false;
        }
        match at {
            _ if more => {}
            Some(at) if len <= TINY => cadence.joined(at),
            Some(_) | None => cadence.end(work::now_ns()),
        }
        // OVERFLOW: There is more room than that.
        loan.now.charge = loan.now.charge.wrapping_sub(charge);
        loan.now.bodies = loan.now.bodies.wrapping_sub(len);
        loan.cadence = Some(cadence);
        true
    }
}
