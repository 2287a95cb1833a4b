// SPDX-License-Identifier: GPL-2.0

//! What peers are given to send.

use super::Peers;
use crate::ids::PipeId;
use crate::message::Msg;
use crate::pattern::{
    Handle,
    Room, //
};

impl<H: Handle> Peers<H> {
    /// Appends to the pipe's queue, and notes when it is full.
    pub(in crate::pattern) fn push(&mut self, id: PipeId, msg: Msg) {
        if self.handle(id).map(|pipe| pipe.push(msg)) == Some(Room::Full) {
            self.writable.remove(id.0);
        }
    }

    /// Gives a copy of a short body to the pipe whose turn it is. `None` if there is none with room, or it is
    /// to be pushed instead; then the turn stays where it is.
    pub(in crate::pattern) fn copy_to_next(&mut self, body: &[u8]) -> Option<PipeId> {
        let id = PipeId(self.writable.next()?);
        let room = self.handle(id).and_then(|pipe| pipe.copy(body))?;
        self.writable.serve();
        if room == Room::Full {
            self.writable.remove(id.0);
        }
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
        let room = self.handle(id).and_then(|pipe| pipe.copy(body));
        if room == Some(Room::Full) {
            self.writable.remove(id.0);
        }
        room.is_some()
    }

    /// The pipe whose turn it is to be given a message.
    pub(in crate::pattern) fn next_writable(&mut self) -> Option<PipeId> {
        self.writable.serve().map(PipeId)
    }
}
