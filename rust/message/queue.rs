// SPDX-License-Identifier: GPL-2.0

//! A queue of messages.

use super::run::{
    Lost,
    Taken, //
};
use super::tags::Tags;
use super::{
    Message,
    Msg, //
};
use crate::address::Address;

/// A first-in first-out queue of messages whose operations never allocate and so never fail.
///
/// Two stacks linked through the messages themselves: pushes go to `inbox`, pops come from `outbox`,
/// and an empty `outbox` is refilled by turning the inbox over, once per message.
pub(crate) struct Queue {
    inbox: Option<Msg>,
    outbox: Option<Msg>,
    len: usize,
    bytes: usize,
}

impl Queue {
    pub(crate) const fn new() -> Self {
        Queue {
            inbox: None,
            outbox: None,
            len: 0,
            bytes: 0,
        }
    }

    /// Whether it has nothing, not even a run of which nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.inbox.is_none() && self.outbox.is_none()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The sum of what the program sees of the messages, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, mut msg: Msg) {
        self.len = self.len.saturating_add(msg.messages());
        self.bytes = self.bytes.saturating_add(msg.len());
        msg.next = self.inbox.take();
        self.inbox = Some(msg);
    }

    /// Takes the first message out, or a whole run.
    pub(crate) fn pop(&mut self) -> Option<Msg> {
        self.turn();
        let mut msg = self.outbox.take()?;
        self.outbox = msg.next.take();
        self.len = self.len.saturating_sub(msg.messages());
        self.bytes = self.bytes.saturating_sub(msg.len());
        Some(msg)
    }

    /// Gives the first message of a run that has more to `give`, as [`Message::give_first`].
    #[inline]
    pub(crate) fn give_first(
        &mut self,
        give: impl FnOnce(&[u8], &Address) -> bool,
    ) -> Option<usize> {
        let len = self.front()?.give_first(give)?;
        self.len = self.len.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len);
        Some(len)
    }

    /// Takes the first message out of a run that has more. If there is none, [`Self::pop`] is to be called.
    #[inline]
    pub(crate) fn take_first(&mut self) -> Option<Taken> {
        let taken = self.front()?.take_first()?;
        self.len = self.len.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(taken.len());
        Some(taken)
    }

    /// The message that [`Self::pop`] would return.
    pub(crate) fn front(&mut self) -> Option<&mut Message> {
        self.turn();
        self.outbox.as_deref_mut()
    }

    /// Takes the messages out that `keep` refuses, which sees their tags and the front of their bodies, and
    /// returns them for the caller to drop; and those that were in runs.
    pub(crate) fn purge(&mut self, mut keep: impl FnMut(&Tags, &[u8]) -> bool) -> (Queue, Lost) {
        let mut kept = Queue::new();
        let mut gone = Queue::new();
        let mut lost = Lost::default();
        while let Some(mut msg) = self.pop() {
            let (stays, less) = msg.retain(&mut keep);
            lost.add(less);
            if stays {
                kept.push(msg);
            } else {
                gone.push(msg);
            }
        }
        *self = kept;
        (gone, lost)
    }

    fn turn(&mut self) {
        if self.outbox.is_some() {
            return;
        }
        let mut next = self.inbox.take();
        while let Some(mut msg) = next {
            next = msg.next.take();
            msg.next = self.outbox.take();
            self.outbox = Some(msg);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // One by one: the links would otherwise be dropped by recursion.
        while self.pop().is_some() {}
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_queue))]
mod tests {
    use super::*;
    use crate::mem::{NoMemory, GFP_KERNEL};

    /// A message with a body of `len` bytes, each of which is `name`.
    fn message(name: u8, len: usize) -> Result<Msg, NoMemory> {
        Message::of([name; 32].get(..len).unwrap_or(&[]), GFP_KERNEL)
    }

    /// The first byte of the next message.
    fn pop(queue: &mut Queue) -> Option<u8> {
        queue.pop()?.bytes().head().first().copied()
    }

    #[test]
    fn any_pushed_and_popped_in_any_rhythm_keeps_the_order() -> Result<(), NoMemory> {
        let mut queue = Queue::new();
        let (mut pushed, mut popped) = (0_u8, 0_u8);
        // So many in, so many out, until both have been through most mixtures.
        for (ins, outs) in [
            (1, 1),
            (3, 1),
            (1, 2),
            (4, 0),
            (0, 3),
            (2, 2),
            (5, 1),
            (1, 6),
            (0, 1),
        ] {
            for _ in 0..ins {
                pushed += 1;
                queue.push(message(pushed, usize::from(pushed))?);
            }
            for _ in 0..outs {
                let next = (popped < pushed).then_some(popped + 1);
                let front = queue.front().and_then(|msg| msg.bytes().head().first());
                assert_eq!(front.copied(), next);
                assert_eq!(pop(&mut queue), next);
                popped = next.unwrap_or(popped);
            }
            let bytes: usize = (popped + 1..=pushed).map(usize::from).sum();
            assert_eq!(queue.bytes(), bytes);
            assert_eq!(queue.is_empty(), popped == pushed);
        }
        assert!(queue.is_empty());
        Ok(())
    }

    #[test]
    fn any_purged_keeps_the_order_of_both_parts() -> Result<(), NoMemory> {
        let mut queue = Queue::new();
        for name in 1..=3 {
            queue.push(message(name, 1)?);
        }
        // Some in each of the two stacks.
        assert!(queue.front().is_some());
        for name in 4..=8 {
            queue.push(message(name, 2)?);
        }
        let odd = |_: &Tags, body: &[u8]| body.first().is_some_and(|name| name % 2 == 1);
        let (mut gone, _) = queue.purge(odd);
        assert_eq!((queue.bytes(), gone.bytes()), (2 + 4, 1 + 6));
        for name in [1, 3, 5, 7] {
            assert_eq!(pop(&mut queue), Some(name));
            assert_eq!(pop(&mut gone), Some(name + 1));
        }
        assert!(queue.is_empty() && gone.is_empty());
        assert!(Queue::new().purge(odd).0.is_empty());
        Ok(())
    }

    #[test]
    fn long_queue_dropped_needs_no_stack() -> Result<(), NoMemory> {
        // More than there would be room for if each dropped the next.
        const LONG: usize = 600;
        let mut queue = Queue::new();
        for nth in 0..LONG {
            queue.push(message(0, 0)?);
            if nth == 0 {
                assert!(queue.front().is_some());
            }
        }
        drop(queue);
        Ok(())
    }
}
