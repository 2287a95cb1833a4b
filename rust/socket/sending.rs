// SPDX-License-Identifier: GPL-2.0

//! Sending: a message from the calling program to the pipes that the machine chooses.
//!
//! A short one is copied to its pipe, or from the stack to many, if they take it so; any other is a message of its own.
//! When it goes out is told in `gather.rs`.

use super::edition::Collected;
use super::gather::{
    Gathered,
    SHORT, //
};
use super::{
    Origin,
    Socket,
    SocketPipe,
    State,
    Todo, //
};
use crate::bytes::AppendError;
use crate::errno::EMSGSIZE;
use crate::error::Refusal;
use crate::ids::PipeId;
use crate::mem::GFP_KERNEL_ACCOUNT;
use crate::message::{
    Bytes,
    Message,
    Msg, //
};
use crate::net::family::SendCall;
use crate::net::pool::Pages;
use crate::net::sock::Waiters;
use crate::net::task;
use crate::net::work;
use crate::pattern::role::Machine;
use crate::pattern::{
    Effects,
    Flush,
    Pattern,
    World,
    STEP, //
};
use crate::pipe::IDLE;
use crate::stats::Counter;
use core::mem::MaybeUninit;
use core::task::Poll;
use kernel::prelude::*;
use kernel::sync::{
    Arc,
    MutexGuard, //
};

impl From<AppendError> for Error {
    fn from(e: AppendError) -> Error {
        match e {
            AppendError::NoMemory => ENOMEM,
            AppendError::Fault => EFAULT,
        }
    }
}

impl Socket {
    /// Sends what the program calls with; waits for room unless it said `no_block`. `more` is going to be sent by the
    /// same call.
    pub(super) fn send_message(
        self: &Arc<Self>,
        call: &mut SendCall<'_>,
        more: bool,
        no_block: bool,
    ) -> Result {
        let begun = self.begin_send(more);
        let close = begun.close;
        let copied = self.send_copy(call, close)?;
        if copied == Copied::Not {
            let msg = self.make_message(self.take_bytes(call)?)?;
            if self.role.sends_to_all {
                self.send_to_all(Some(msg), close)?;
            } else {
                self.send_to_one(Some(msg), close, no_block)?;
            }
        }
        self.end_send(begun, call.len(), copied == Copied::Joined);
        Ok(())
    }

    /// Sends a short message if copies of it can be made at once: nothing that is waited for is waited for here.
    fn send_copy(self: &Arc<Self>, call: &mut SendCall<'_>, close: bool) -> Result<Copied> {
        let len = call.len();
        if self.role.sends_to_all || self.role.shares {
            return match len <= SHORT {
                true => self.send_short(call, close),
                false => Ok(Copied::Not),
            };
        }
        if len > self.longest_copied(close) {
            return Ok(Copied::Not);
        }
        // Straight from the program's memory, if that is there.
        let mut body = call.now();
        let mut todo = None;
        let sent = self.try_copy(len, close, &mut todo, |machine, world| {
            machine.send_from(world, len, &mut body)
        })?;
        if sent {
            return Ok(self.finish_copy(todo, None));
        }
        match body.is_absent() && len <= SHORT {
            true => self.send_short(call, close),
            false => Ok(Copied::Not),
        }
    }

    /// Sends a message that may be copied more than once, or whose copying may not sleep, from the stack.
    fn send_short(self: &Arc<Self>, call: &mut SendCall<'_>, close: bool) -> Result<Copied> {
        let mut room = [MaybeUninit::uninit(); SHORT];
        let body = call.read(room.get_mut(..call.len()).ok_or(EMSGSIZE)?)?;
        let mut todo = None;
        if close && self.role.sends_to_all && self.send_collected(body, &mut todo)? {
            return Ok(self.finish_collected(todo));
        }
        // Until it is sent, see `edition.rs`.
        let order = self.role.sends_to_all.then(|| self.order.lock());
        let some = order.is_some() && self.publish_patiently();
        let sent = self.try_copy(body.len(), close, &mut todo, |machine, world| {
            machine.send_short(world, body)
        })?;
        if some && !goes_out(&todo) {
            // Else it goes out with this one.
            self.send_gathered(Some(Gathered::ALL));
        }
        if !sent {
            call.rewind();
            return Ok(Copied::Not);
        }
        Ok(self.finish_copy(todo, order))
    }

    /// Sends a message to all, with others that follow it. False if it is to be sent as others are.
    fn send_collected(self: &Arc<Self>, body: &[u8], todo: &mut Option<Todo>) -> Result<bool> {
        let mut place = None;
        loop {
            let mut state = self.state.lock();
            if state.send_shut {
                return Err(EPIPE);
            }
            match self.collect(&mut state, body, &mut place) {
                Collected::Yes => {
                    self.has_sent(&mut state, body.len());
                    let all = Flush::Span(PipeId(0), PipeId(u32::MAX));
                    let effects = Effects::flush(all);
                    if !self.joins(&mut state, effects, body.len()) {
                        *todo = Some(self.todo_of_send(&mut state, effects, body.len(), true));
                    }
                    return Ok(true);
                }
                Collected::No => return Ok(false),
                Collected::First => {}
            }
            drop(state);
            let Ok(new) = self.place_for(body.len()) else {
                return Ok(false);
            };
            place = Some(new);
        }
    }

    /// One try to send copies of a message: tells whether they were taken, and what is left to be done of it.
    fn try_copy(
        self: &Arc<Self>,
        len: usize,
        close: bool,
        todo: &mut Option<Todo>,
        send: impl FnOnce(&mut Machine, &mut World<'_, SocketPipe>) -> Option<Effects>,
    ) -> Result<bool> {
        let now = match self.role.times {
            true => work::now(),
            false => work::NEVER,
        };
        let mut state = self.state.lock();
        if state.send_shut {
            return Err(EPIPE);
        }
        self.settle(&mut state);
        // Nobody is in a call on a socket that is closing.
        let Some(effects) = state.call(now, send).flatten() else {
            return Ok(false);
        };
        self.has_sent(&mut state, len);
        if !close || !self.joins(&mut state, effects, len) {
            *todo = Some(self.todo_of_send(&mut state, effects, len, close));
        }
        Ok(true)
    }

    /// Does what is left to be done of a message that was collected.
    fn finish_collected(self: &Arc<Self>, todo: Option<Todo>) -> Copied {
        // Else the work is going to give it.
        let order = goes_out(&todo).then(|| self.order.lock());
        if order.is_some() {
            self.publish_patiently();
        }
        self.finish_copy(todo, order)
    }

    /// Does what is left to be done of that.
    #[inline]
    fn finish_copy(
        self: &Arc<Self>,
        todo: Option<Todo>,
        order: Option<MutexGuard<'_, Turn>>,
    ) -> Copied {
        let Some(todo) = todo else {
            return Copied::Joined;
        };
        let starved = todo.starved;
        self.perform(todo, Origin::Task);
        drop(order);
        if starved {
            // As in `send_to_all`.
            task::reclaim();
        }
        Copied::Sent
    }

    /// One try to send what is in `slot`. `close` if it follows another one closely. Those it was given to at
    /// first, of all, are added to `turn`.
    fn try_send(
        self: &Arc<Self>,
        slot: &mut Option<Msg>,
        close: bool,
        turn: &mut Turn,
    ) -> Poll<Result<Todo>> {
        let now = work::now();
        let mut state = self.state.lock();
        if state.send_shut {
            return Poll::Ready(Err(EPIPE));
        }
        let Some(msg) = slot.take() else {
            return Poll::Pending;
        };
        self.settle(&mut state);
        let len = msg.len();
        match state.call(now, |machine, world| machine.send(world, msg)) {
            // Nobody is in a call on a socket that is closing.
            None => Poll::Pending,
            Some(Ok(effects)) => {
                self.has_sent(&mut state, len);
                turn.starved |= effects.starved;
                let many = usize::try_from(state.peers.count_up()).unwrap_or(usize::MAX) > STEP;
                if self.role.sends_to_all && (many || !close) {
                    // A walk of several steps is not gathered.
                    state.add_span(effects, turn);
                    return Poll::Ready(Ok(state.todo(effects)));
                }
                Poll::Ready(Ok(self.todo_of_send(&mut state, effects, len, close)))
            }
            Some(Err(refused)) => {
                *slot = Some(refused.msg);
                match refused.why {
                    Refusal::Again => Poll::Pending,
                    why => Poll::Ready(Err(why.into())),
                }
            }
        }
    }

    /// A message was given to the machine. Under the socket's lock.
    #[inline]
    pub(super) fn has_sent(self: &Arc<Self>, state: &mut State, len: usize) {
        state.stats.count(Counter::TxMsgs);
        let bytes = u64::try_from(len).unwrap_or(0);
        state.stats.add(Counter::TxBytes, bytes);
        if self.role.receives {
            self.has_asked(state);
        }
    }

    /// The machine may have replaced a reply, or a request that waits, which others waited for the end of.
    fn has_asked(self: &Arc<Self>, state: &mut State) {
        self.arm(state);
        self.let_go_on(state);
        self.see_off_soon(state);
        self.take_connections(state);
    }

    /// Gives some more peers the message that is on its way to all of them, and adds these to `turn`; false
    /// once all have it.
    fn send_on(&self, turn: &mut Turn) -> bool {
        let mut state = self.state.lock();
        let effects = state.with(work::NEVER, |machine, world| machine.go_on(world));
        match effects.flatten() {
            Some(effects) => {
                turn.starved |= effects.starved;
                state.add_span(effects, turn);
                true
            }
            None => false,
        }
    }

    /// Sends to the peer that the machine chooses; waits until there is one with room, and then follows nothing
    /// closely.
    fn send_to_one(
        self: &Arc<Self>,
        mut slot: Option<Msg>,
        mut close: bool,
        no_block: bool,
    ) -> Result {
        let todo = self.patiently(Waiters::Writers, false, no_block, || {
            let close = core::mem::take(&mut close);
            self.try_send(&mut slot, close, &mut Turn::new())
        })?;
        self.perform(todo, Origin::Task);
        Ok(())
    }

    /// Sends to all peers, some at a time. Who does that never waits for one of them, so the order is kept
    /// for as long as it takes TCP to take, or to refuse, a message each.
    fn send_to_all(self: &Arc<Self>, mut slot: Option<Msg>, close: bool) -> Result {
        let mut turn = self.order.lock();
        self.give_out();
        let todo = match self.try_send(&mut slot, close, &mut turn) {
            Poll::Ready(sent) => sent?,
            Poll::Pending => return Err(EAGAIN),
        };
        self.perform(todo, Origin::Task);
        loop {
            while let Some(pipe) = turn.pipes.pop() {
                pipe.flush();
            }
            if !self.send_on(&mut turn) {
                break;
            }
        }
        let starved = core::mem::take(&mut turn.starved);
        drop(turn);
        if starved {
            // What was allocated under the lock could not wait for memory, and what is allocated before may find
            // what its like has left: so nobody else would have any reclaimed. The next message is to reach all.
            task::reclaim();
        }
        Ok(())
    }

    /// Copies a message from the calling program: into pages that TCP can send where they are, if the program is
    /// in the control group of the socket, and that has room for them; else into memory that is charged to the program's, as far as it can be had.
    fn take_bytes(self: &Arc<Self>, call: &mut SendCall<'_>) -> Result<Bytes> {
        let len = call.len();
        let pages = Bytes::pages(len);
        let mut bytes = match self.pages(pages) {
            Some(pages) => Bytes::in_pages(pages, GFP_KERNEL_ACCOUNT).map_err(|_| ENOMEM)?,
            None => Bytes::new(),
        };
        while bytes.len() < len {
            let rest = len.saturating_sub(bytes.len());
            bytes.append(call, rest, len, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(bytes)
    }

    /// So many bytes of pages, if there are any, and they can be charged.
    pub(super) fn pages(self: &Arc<Self>, bytes: u32) -> Option<Pages> {
        if bytes == 0 {
            return None;
        }
        let charge = self.sk.charge_own(bytes)?;
        if self.pool.open(GFP_KERNEL_ACCOUNT) {
            self.check_pipes_in(IDLE);
        }
        Some(Pages::new(self.pool.clone(), charge))
    }

    /// A message of what a program sends, entered in the ledger.
    fn make_message(&self, mut bytes: Bytes) -> Result<Msg> {
        bytes.enter(self.ledger.clone());
        let no_memory = |_| ENOMEM;
        let mut msg = Message::new(bytes, GFP_KERNEL_ACCOUNT).map_err(no_memory)?;
        if self.role.shares {
            msg.share(GFP_KERNEL_ACCOUNT).map_err(no_memory)?;
        }
        Ok(msg)
    }
}

/// Whether what was gathered is to be sent.
fn goes_out(todo: &Option<Todo>) -> bool {
    todo.as_ref().is_some_and(|todo| todo.gathered.is_some())
}

/// Whether copies were made of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copied {
    /// It is to be sent as others are.
    Not,
    /// It goes out with others.
    Joined,
    Sent,
}

/// One message's way to all peers.
pub(super) struct Turn {
    /// Who was given it and is to be flushed.
    pub(super) pipes: KVec<SocketPipe>,
    /// For want of memory some were not.
    starved: bool,
}

impl Turn {
    pub(super) const fn new() -> Self {
        Turn {
            pipes: KVec::new(),
            starved: false,
        }
    }
}

impl State {
    /// Adds those that were given a message, if they are some of many.
    #[inline]
    fn add_span(&self, effects: Effects, turn: &mut Turn) {
        let Flush::Span(PipeId(mut from), PipeId(behind)) = effects.flush else {
            return;
        };
        while let Some((id, pipe)) = self.peers.up_from(from).filter(|(id, _)| id.0 < behind) {
            // There is room for all of them, see `STEP`.
            let _ = turn.pipes.push_within_capacity(pipe.clone());
            from = id.next();
        }
    }
}
