// SPDX-License-Identifier: GPL-2.0

//! What peers have sent.

use super::{
    Peers,
    RECENT, //
};
use crate::address::Address;
use crate::ids::PipeId;
use crate::message::queue::Queue;
use crate::message::run::Taken;
use crate::message::tags::Tags;
use crate::message::{
    Message,
    Msg, //
};
use crate::pattern::Handle;

impl<H: Handle> Peers<H> {
    pub(in crate::pattern) fn enqueue(&mut self, id: PipeId, mut msg: Msg) {
        match self.slab.get_mut(id.0) {
            Some(peer) => {
                self.intake.queued(&mut peer.share, &mut msg);
                self.bytes = self.bytes.saturating_add(msg.len());
                peer.queue.push(msg);
                self.readable.insert(id.0, peer.priorities.receive);
            }
            None => self.intake.release(&mut msg),
        }
    }

    /// Queues a request, unless one that is among the last of this peer's that wait has the same digest.
    /// Then the request comes back.
    pub(in crate::pattern) fn enqueue_new(
        &mut self,
        id: PipeId,
        msg: Msg,
        digest: u64,
    ) -> Result<(), Msg> {
        if let Some(peer) = self.slab.get_mut(id.0) {
            if peer.recent.has(digest, peer.queue.len()) {
                return Err(msg);
            }
            peer.recent.add(digest);
        }
        self.enqueue(id, msg);
        Ok(())
    }

    /// Takes out the requests of a peer that have these tags, if there is one among the last that wait; if
    /// no more than those wait, for all of them are looked at; and if nobody has been shown one of this
    /// peer, who may count on finding it.
    pub(in crate::pattern) fn retract(
        &mut self,
        id: PipeId,
        tags: &Tags,
        digest: impl FnOnce() -> u64,
    ) -> Queue {
        let peer = self.slab.get_mut(id.0);
        let Some(peer) = peer.filter(|peer| (1..=RECENT).contains(&peer.queue.len())) else {
            return Queue::new();
        };
        let digest = digest();
        if !peer.recent.has(digest, peer.queue.len()) || self.readable.prefers(id.0) {
            return Queue::new();
        }
        peer.recent.remove(digest);
        let others = |queued: &Tags, _: &[u8]| queued.as_bytes() != tags.as_bytes();
        let purged = self.purge_from(id.0, others);
        purged.map_or(Queue::new(), |(gone, _)| gone)
    }

    /// Gives the message whose turn it is to `give`, with who sent it, if it is one of a run of which more is left, and
    /// takes it out if that has taken it. Tells how long it is; `None` if it is to be dequeued.
    #[inline]
    pub(in crate::pattern) fn give_first(
        &mut self,
        give: impl FnOnce(&[u8], &Address) -> bool,
    ) -> Option<usize> {
        let id = self.readable.next()?;
        let len = self.slab.get_mut(id)?.queue.give_first(give)?;
        self.readable.has_served(id);
        self.bytes = self.bytes.saturating_sub(len);
        Some(len)
    }

    /// Takes the message whose turn it is, and tells whose it was and whether that peer is still up.
    pub(in crate::pattern) fn dequeue(&mut self) -> Option<(PipeId, Taken, bool)> {
        let id = self.readable.serve()?;
        let peer = self.slab.get_mut(id)?;
        let alive = peer.up;
        let taken = match peer.queue.take_first() {
            Some(taken) => {
                self.bytes = self.bytes.saturating_sub(taken.len());
                taken
            }
            None => Taken::whole(self.pop(id)?),
        };
        Some((PipeId(id), taken, alive))
    }

    /// Takes the first message of a peer out, or a whole run.
    fn pop(&mut self, id: u32) -> Option<Msg> {
        let peer = self.slab.get_mut(id)?;
        let mut msg = peer.queue.pop()?;
        let rank = peer.priorities.receive;
        self.intake.taken(id, rank, &mut peer.share, &mut msg);
        self.bytes = self.bytes.saturating_sub(msg.len());
        if peer.queue.is_empty() {
            let gone = peer.handle.is_none();
            self.readable.remove(id);
            if gone {
                self.slab.remove(id);
            }
        }
        Some(msg)
    }

    /// Takes any received message out, or a run, to drop it; for a socket that nobody reads any more.
    pub(crate) fn discard(&mut self) -> Option<Msg> {
        let id = self.readable.serve()?;
        self.pop(id)
    }

    /// The message that `dequeue` is going to return, also if others arrive before.
    pub(in crate::pattern) fn front(&mut self) -> Option<&mut Message> {
        let id = self.readable.prefer()?;
        self.slab.get_mut(id)?.queue.front()
    }

    /// Takes out the queued messages that `keep` refuses, one peer's at a time from `from` on, and
    /// returns them with the id to go on from.
    pub(in crate::pattern) fn purge_from(
        &mut self,
        from: u32,
        keep: impl FnMut(&Tags, &[u8]) -> bool,
    ) -> Option<(Queue, u32)> {
        let id = self.slab.next_from(from)?;
        let peer = self.slab.get_mut(id)?;
        let (had, before) = (!peer.queue.is_empty(), peer.queue.bytes());
        let (mut purged, lost) = peer.queue.purge(keep);
        let bytes = before.saturating_sub(peer.queue.bytes());
        self.bytes = self.bytes.saturating_sub(bytes);
        let rank = peer.priorities.receive;
        if lost.charge > 0 {
            self.intake.lost(id, rank, &mut peer.share, lost.charge);
        }
        let mut gone = Queue::new();
        while let Some(mut msg) = purged.pop() {
            self.intake.taken(id, rank, &mut peer.share, &mut msg);
            gone.push(msg);
        }
        if had && peer.queue.is_empty() {
            self.readable.remove(id);
            // Its pipe has ended: a place that is only reserved has had no messages.
            if peer.handle.is_none() {
                self.slab.remove(id);
            }
        }
        Some((gone, id.saturating_add(1)))
    }
}
