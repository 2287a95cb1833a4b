// SPDX-License-Identifier: GPL-2.0

//! What peers are given to send.

use super::Peers;
use crate::bytes::{
    Slice,
    Source, //
};
use crate::ids::PipeId;
use crate::message::Msg;
use crate::pattern::hands::Debt;
use crate::pattern::{
    Handle,
    Room, //
};

impl<H: Handle> Peers<H> {
    /// Appends to the pipe's queue, and notes when it is full.
    pub(in crate::pattern) fn push(&mut self, id: PipeId, msg: Msg) {
        if let Some(room) = self.handle(id).map(|pipe| pipe.push(msg)) {
            self.has_given(id, room);
        }
    }

    /// Gives a copy of a short body, behind these tags, to the pipe whose turn it is. `None` if there is none with
    /// room, or it is to be pushed instead; then the turn stays where it is.
    pub(in crate::pattern) fn copy_to_next(
        &mut self,
        tags: &[u8],
        len: usize,
        body: &mut impl Source,
    ) -> Option<PipeId> {
        let id = PipeId(self.writable.next()?);
        let room = self
            .handle(id)
            .and_then(|pipe| pipe.copy(tags, len, body))?;
        self.writable.has_served(id.0);
        self.has_given(id, room);
        Some(id)
    }

    /// Whether every pipe that is up and has room takes a copy of a short body; makes room for it.
    pub(in crate::pattern) fn all_take_copies(&self, len: usize) -> bool {
        let mut next = 0;
        while let Some((id, pipe)) = self.up_from(next) {
            next = id.next();
            if self.is_writable(id) && !pipe.takes_copy(len) {
                return false;
            }
        }
        true
    }

    /// Gives a copy of a short body to a pipe that has room. False if it is to be pushed instead.
    pub(in crate::pattern) fn copy_to(&mut self, id: PipeId, body: &[u8]) -> bool {
        let copy = |pipe: &H| pipe.copy(b"", body.len(), &mut Slice::new(body));
        let room = self.handle(id).and_then(copy);
        room.map(|room| self.has_given(id, room)).is_some()
    }

    /// Gives the reply to a request in hand to a pipe that has room, as [`Self::copy_to`].
    pub(in crate::pattern) fn copy_reply(
        &mut self,
        id: PipeId,
        debt: &Debt,
        len: usize,
        body: &mut impl Source,
    ) -> bool {
        let request = self.hands.request(debt);
        let room = request
            .zip(self.handle(id))
            .and_then(|(request, pipe)| pipe.copy(request.backtrace.as_bytes(), len, body));
        room.map(|room| self.has_given(id, room)).is_some()
    }

    /// Notes what a pipe said when it was given a message.
    pub(crate) fn has_given(&mut self, id: PipeId, room: Room) {
        if room == Room::Full {
            self.writable.remove(id.0);
            self.filled = true;
        }
    }

    /// Whether a pipe was filled, since somebody was told to empty it.
    pub(crate) fn has_filled(&self) -> bool {
        self.filled
    }

    /// Somebody is told to.
    pub(crate) fn forget_filled(&mut self) {
        self.filled = false;
    }

    /// The only pipe that has room, if there is but one.
    #[inline]
    pub(crate) fn sole_writable(&self) -> Option<PipeId> {
        self.writable.sole().map(PipeId)
    }

    /// The pipe whose turn it is to be given a message.
    pub(in crate::pattern) fn next_writable(&mut self) -> Option<PipeId> {
        self.writable.serve().map(PipeId)
    }
}
