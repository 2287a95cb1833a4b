// SPDX-License-Identifier: GPL-2.0

//! The sockets of one network namespace, as `/proc/net/sp` lists them, and its knobs in
//! `/proc/sys/net/sp`.
//!
//! A socket is listed from its creation until nothing of it is left: one that is closed but still delivers
//! is what an administrator looks for who wonders why the module cannot be unloaded. The list owns the
//! references that keep such a socket; its lock is a leaf, held for a look-up only.

use super::closed::Closed;
use super::Socket;
use crate::ids::PipeId;
use crate::mem::GFP_KERNEL_ACCOUNT;
use crate::net::netns::{
    Knob,
    Namespace,
    Page, //
};
use crate::net::work::{
    self,
    Lane, //
};
use crate::time::Millis;
use kernel::prelude::*;
use kernel::rbtree::{
    RBTree,
    RBTreeNode, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};
use kernel::sync::{
    new_mutex,
    Arc,
    Mutex, //
};
use kernel::workqueue::{
    impl_has_work,
    new_work,
    Work,
    WorkItem, //
};

/// How long a closed socket goes on delivering, in milliseconds.
const CLOSE_TIMEOUT: i32 = 30_000;

/// What that may be set to: whoever owns a namespace must not pin it, and the module, for ever.
static CLOSE_TIMEOUT_MAX: i32 = 600_000;

/// How much closed sockets may hold, in bytes.
const CLOSE_MEM: i32 = 64 << 20;
static CLOSE_MEM_MAX: i32 = i32::MAX;

/// What of a socket is shown.
#[derive(Clone, Copy)]
pub(super) enum Part {
    /// Its own line, and those of its endpoints.
    Socket,
    /// The line of the pipe with this id, if it is still there.
    Pipe(PipeId),
}

/// Where in the file: the number of a socket, then 17 bits for the part. The next part is at the next
/// position, or at a later one.
#[derive(Clone, Copy)]
struct Position(u64);

impl Position {
    const PART: u32 = 17;

    fn new(number: u64, part: Part) -> Self {
        let part = match part {
            Part::Socket => 0,
            Part::Pipe(id) => id.next(),
        };
        Position(number.wrapping_shl(Self::PART) | u64::from(part))
    }

    fn number(self) -> u64 {
        self.0 >> Self::PART
    }

    fn part(self) -> Part {
        // CAST: 17 bits.
        let part = (self.0 & ((1 << Self::PART) - 1)) as u32;
        part.checked_sub(1)
            .map_or(Part::Socket, |id| Part::Pipe(PipeId(id)))
    }
}

// A part for the socket and its endpoints, and one for each pipe.
const _: () = assert!(crate::uapi::SP_PIPES_MAX < 1 << Position::PART);

struct List {
    sockets: RBTree<u64, Arc<Socket>>,
    last: u64,
}

#[pin_data]
pub(crate) struct Net {
    #[pin]
    list: Mutex<List>,
    close_timeout: Atomic<i32>,
    close_mem: Atomic<i32>,
    #[pin]
    pub(super) closed: Closed,
    /// How many closed sockets were given up because there were too many bytes of them.
    given_up: Atomic<u64>,
    #[pin]
    work: Work<Net>,
}

impl_has_work! {
    impl HasWork<Self> for Net { self.work }
}

impl WorkItem for Net {
    type Pointer = Arc<Self>;

    fn run(this: Arc<Self>) {
        if this.closed.reduce(this.closed_most()) {
            work::enqueue::<_, 0>(Lane::Quick, this);
        }
    }
}

impl Net {
    /// A number for a socket, by which it is listed.
    pub(super) fn number(&self) -> u64 {
        let mut list = self.list.lock();
        list.last = list.last.saturating_add(1);
        list.last
    }

    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn enlist(&self, number: u64, socket: Arc<Socket>) -> Result {
        let node = RBTreeNode::new(number, socket, GFP_KERNEL_ACCOUNT)?;
        // Numbers are unique, so nobody is replaced.
        let none = self.list.lock().sockets.insert(node);
        drop(none);
        Ok(())
    }

    /// Takes a socket off the list, if it is there.
    pub(super) fn delist(&self, number: u64) {
        let node = self.list.lock().sockets.remove_node(&number);
        drop(node);
    }

    /// The first socket whose number is at least this, and its number.
    fn next(&self, from: u64) -> Option<(u64, Arc<Socket>)> {
        let list = self.list.lock();
        let cursor = list.sockets.cursor_lower_bound(&from)?;
        let (number, socket) = cursor.current();
        Some((*number, socket.clone()))
    }

    /// How long a closed socket goes on delivering.
    pub(super) fn close_timeout(&self) -> Millis {
        Millis(u64::try_from(self.close_timeout.load(Relaxed)).unwrap_or(0))
    }

    /// How much closed sockets may hold, in bytes.
    fn closed_most(&self) -> u64 {
        u64::try_from(self.close_mem.load(Relaxed)).unwrap_or(0)
    }

    /// Sees to it that closed sockets do not hold more than they may.
    pub(super) fn limit_closed(this: &Arc<Self>) {
        if this.closed.total.bytes() > this.closed_most() {
            work::enqueue::<_, 0>(Lane::Quick, this.clone());
        }
    }

    pub(super) fn count_aborted(&self) {
        self.given_up.add(1, Relaxed);
    }
}

impl Namespace for Net {
    type Row = Socket;

    const NAME: &'static CStr = c"sp";
    const KNOBS: &'static [Knob<Self>] = &[
        Knob {
            name: c"close_timeout_ms",
            max: &CLOSE_TIMEOUT_MAX,
            value: |net| &net.close_timeout,
        },
        Knob {
            name: c"close_mem",
            max: &CLOSE_MEM_MAX,
            value: |net| &net.close_mem,
        },
    ];

    fn new() -> Result<Arc<Self>> {
        let closed = Closed::new()?;
        Arc::pin_init(
            pin_init!(Self {
                list <- new_mutex!(List {
                    sockets: RBTree::new(),
                    last: 0,
                }, "sp_net"),
                close_timeout: Atomic::new(CLOSE_TIMEOUT),
                close_mem: Atomic::new(CLOSE_MEM),
                closed <- closed,
                given_up: Atomic::new(0),
                work <- new_work!("sp_net"),
            }),
            GFP_KERNEL,
        )
    }

    fn knob_written(this: Arc<Self>) {
        Self::limit_closed(&this);
        // By whoever writes, so that he pays for it. Those that come meanwhile know the new value.
        let last = this.list.lock().last;
        let mut from = 0;
        while let Some((number, socket)) = this.next(from).filter(|(n, _)| *n <= last) {
            socket.close_timeout_changed();
            from = number.saturating_add(1);
        }
    }

    fn row(&self, from: u64) -> Option<(u64, Arc<Socket>)> {
        let mut from = Position(from);
        loop {
            let (number, socket) = self.next(from.number())?;
            let part = match from.part() {
                Part::Pipe(id) if number == from.number() => socket.pipe_from(id).map(Part::Pipe),
                Part::Socket | Part::Pipe(_) => Some(Part::Socket),
            };
            if let Some(part) = part {
                return Some((Position::new(number, part).0, socket));
            }
            from = Position::new(number.checked_add(1)?, Part::Socket);
        }
    }

    fn show_header(&self, to: Page<'_>) {
        let given_up = self.given_up.load(Relaxed);
        Socket::show_header(self.closed.total.bytes(), given_up, to);
    }

    fn show_row(socket: &Arc<Socket>, at: u64, to: Page<'_>) {
        socket.show(Position(at).part(), to);
    }
}
