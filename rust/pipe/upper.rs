// SPDX-License-Identifier: GPL-2.0

//! Who a pipe belongs to: what it is told, and asked.

use super::{
    End,
    Pipe, //
};
use crate::address::Address;
use crate::ids::PipeName;
use crate::ledger::Ledger;
use crate::message::tags::Tags;
use crate::message::Msg;
use crate::net::sock::SkRef;
use crate::net::stream::TcpSocket;
use crate::stats::Reason;
use crate::time::Millis;
use crate::wire::{
    self,
    Unwelcome, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::Arc;

/// What the owner of a pipe has set. It stores what changes; the pipes read it when they need it.
pub(crate) struct Limits {
    /// The longest body that is accepted, in bytes.
    pub(crate) body: Atomic<usize>,
    /// The most tags in front of it.
    pub(crate) tags: Atomic<usize>,
    /// How many bytes a pipe may hold unsent and still have room.
    pub(crate) sndbuf: Atomic<usize>,
    /// How long a closing pipe goes on delivering, in milliseconds. Who shortens that calls
    /// [`Pipe::check`].
    pub(crate) close_timeout: Atomic<u64>,
}

impl Limits {
    pub(super) fn of_wire(&self) -> wire::Limits {
        wire::Limits {
            body: self.body.load(Relaxed),
            tags: self.tags.load(Relaxed),
        }
    }

    pub(super) fn close_timeout(&self) -> Millis {
        Millis(self.close_timeout.load(Relaxed))
    }
}

/// Who a pipe belongs to.
pub(crate) trait Upper: Send + Sync + Sized + 'static {
    fn limits(&self) -> &Limits;

    /// Whose memory is charged, and who can have some reclaimed.
    fn sk(&self) -> &SkRef;

    /// The inode number of its descriptors.
    fn inode(&self) -> u64;

    /// What the memory of messages that are to be sent is entered in.
    fn ledger(&self) -> &Arc<Ledger>;

    /// Where messages may follow each other so closely that several are to be sent in one piece: how long
    /// one may be to be copied for that, in bytes. They have no tags.
    fn gathers(&self) -> Option<usize>;

    /// Whether a frame of so many bytes may be begun, which is `whole` there or in part. If not,
    /// [`Pipe::resume`] is called when it may. Under the TCP lock and `rx`, in a callback or the work.
    fn admit(this: &Arc<Self>, name: PipeName, len: usize, whole: bool) -> bool;

    /// Whether the frame that was admitted may hold so many bytes more. Under the TCP lock and `rx`, in a
    /// callback or the work.
    fn stretch(this: &Arc<Self>, name: PipeName, bytes: usize) -> bool;

    /// A message arrived, which was `admitted` or is to be now. Under the TCP lock and `rx`, in a callback
    /// or the work.
    ///
    /// # Errors
    ///
    /// Why it is not taken.
    fn received(
        this: &Arc<Self>,
        name: PipeName,
        msg: Msg,
        admitted: bool,
    ) -> Result<(), Unwelcome>;

    /// Something happened to the pipe. Where, [`Event`] tells.
    fn happened(this: &Arc<Self>, name: PipeName, event: Event<'_>);

    /// Both greetings are exchanged. False if the owner wants no such pipe: it ends. Under the TCP lock and
    /// `rx`, in a callback or the work.
    fn opened(this: &Arc<Self>, name: PipeName, peer: Address) -> bool;

    /// The pipe was full and may not be any more. In task context, with no lock held.
    fn writable(this: &Arc<Self>, pipe: &Pipe<Self>);

    /// [`Pipe::check`] is to be called so soon. From any context, under any lock of the pipe's.
    fn check_in(this: &Arc<Self>, time: Millis);

    /// A pipe that was up perhaps is about to end, or has ended, and does not send what is added to what it has lent. From
    /// any context, under any lock of the pipe's.
    fn ends(this: &Arc<Self>);

    /// What the pipe has lent is given back, and cannot be lent again before `then` is done. In task context,
    /// under the TCP lock.
    fn with_nothing_lent<T>(this: &Arc<Self>, then: impl FnOnce() -> T) -> T;

    /// The pipe has ended; `tcp` is its connection if it owned that. In task context, with no lock held.
    fn gone(
        this: &Arc<Self>,
        pipe: &Pipe<Self>,
        end: End,
        unfinished: bool,
        tcp: Option<TcpSocket>,
    );
}

/// What happens to a pipe and needs no answer.
pub(crate) enum Event<'a> {
    /// A message that is too long begins with these tags; the pipe ends. Under the TCP lock and `rx`.
    TooLong(&'a Tags),
    /// A message is thrown away, that was perhaps admitted. Under the TCP lock and `rx`.
    Discarded(Reason),
    /// What was admitted last will not become whole. With no lock held.
    Abandoned,
    /// The peer is gone, and what it has sent waits to be admitted. Under the TCP lock.
    Gone,
}
