// SPDX-License-Identifier: GPL-2.0

//! When a pipe may go on reading: the one answer to how much a socket holds, whose turn it is, and who
//! is held back.
//!
//! A pipe asks before it takes a frame out of TCP. Who is refused leaves the bytes there, and TCP's window
//! holds the peer back. The rule:
//!
//! 1. A frame of at most [`SMALL`] bytes stays in TCP until it is whole there, so half of one costs nothing
//!    here. It is *taken in* while the socket holds less than SO_RCVBUF; while others wait, only as long as
//!    its pipe holds less than its *share*, SO_RCVBUF divided by the pipes that hold or wait.
//!    Several that are there may be taken in at once, as a run, where none of them would have to wait.
//! 2. A pipe of which nothing is queued may go beyond SO_RCVBUF, one at a time (*the slot*; once more for a
//!    better rank), if not by more than [`SMALL`] before. So everybody is heard once in a round.
//! 3. Who was refused goes on when nothing of it is queued, or when half of its share is free. Hence each
//!    that is held back has something queued, and its own turn lets it go on: nobody is forgotten.
//! 4. A longer frame, or one that TCP has no room for, *reserves* its length at its first byte, within the
//!    *cap*: twice the longest frame, 8 MiB at least; and beyond that within what SO_RCVBUF has room for,
//!    which then counts as used. Half of the cap is for lengths up to a 16th of it. A pipe of which
//!    something is queued reserves only while all that is held and reserved is less than SO_RCVBUF: the cap
//!    is there to let everybody be heard, not to make one's buffer larger.
//!    What is kept in TCP's memory may pin more than it is long: that is reserved as well, while nobody waits and
//!    there is room, else it is copied. So it is with a shorter frame, where SO_RCVBUF has room for it.
//! 5. Those that wait for that stand in line: by rank, then who has nothing queued, then who has delivered
//!    a reserved one before, then in turn. None passes the first. A line moves because a holder that is
//!    slow while others wait is ended (`pipe/` does that, see [`Intake::holder_from`]).
//! 6. Whole, it counts as any other if there is room in SO_RCVBUF, else it keeps its reservation until the
//!    program takes it.
//!
//! So a socket never holds more than SO_RCVBUF, the cap, and twice [`SMALL`]; nothing that a peer does
//! before its first byte of a body counts; and who is ended took a place that others waited for.

use super::rota::{
    Priority,
    Ranks,
    Rota, //
};
use crate::mem::{
    Flags,
    NoMemory, //
};
use crate::message::{
    Message,
    Reserved,
    OVERHEAD,
    SMALL, //
};

/// What can be reserved at least, in bytes.
const CAP_MIN: usize = 8 << 20;

/// The ranks of a line for each priority.
const CLASSES: Priority = 4;

/// What the program has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// SO_RCVBUF, in bytes.
    pub(crate) rcvbuf: usize,
    /// The longest frame that is accepted, in bytes.
    pub(crate) longest: usize,
}

impl Limits {
    fn cap(&self) -> usize {
        self.longest.saturating_mul(2).max(CAP_MIN)
    }
}

/// What the frame under way was given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grant {
    Nothing,
    /// Taken in; what it counts for, in bytes.
    Whole(usize),
    Part(Reserved),
}

/// What a pipe waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Nothing,
    /// To take a frame in.
    Whole,
    /// To reserve so many bytes.
    Part(usize),
}

/// One pipe's part in what its socket holds.
pub(crate) struct Share {
    /// What it holds of SO_RCVBUF, in bytes.
    held: usize,
    /// How many of its messages are queued; a run is one.
    queued: usize,
    grant: Grant,
    wait: Wait,
    /// Its last reserved frame became whole.
    delivered: bool,
}

impl Share {
    pub(crate) const fn new() -> Self {
        Share {
            held: 0,
            queued: 0,
            grant: Grant::Nothing,
            wait: Wait::Nothing,
            delivered: false,
        }
    }

    /// What it holds of SO_RCVBUF, in bytes.
    #[cfg(any(test, SP_KUNIT))]
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    fn is_active(&self) -> bool {
        self.queued > 0 || self.wait == Wait::Whole
    }

    /// Its place in line; the least is first.
    fn class(&self, rank: Priority) -> Priority {
        let class = match (self.queued > 0, self.delivered) {
            (false, true) => 0,
            (false, false) => 1,
            (true, true) => 2,
            (true, false) => 3,
        };
        rank.saturating_mul(CLASSES).saturating_add(class)
    }
}

/// What all pipes of a socket hold and wait for.
///
/// # Invariants
///
/// `held` is the sum of the shares' `held`, `reserved` of what frames under way and messages have reserved,
/// `long` of those that were above a 16th of the cap. A pipe is in at most one of `starving`,
/// `hungry` and `line`: in `line` if it waits for a reservation, in one of the others if it waits to take a
/// frame in and may once there is room. `paused` counts all that wait to take a frame in, `active` those
/// and the ones that have something queued.
pub(crate) struct Intake {
    limits: Limits,
    held: usize,
    reserved: usize,
    long: usize,
    pub(super) active: usize,
    paused: usize,
    /// Whose message is beyond SO_RCVBUF, and its rank.
    slot: Option<(u32, Priority)>,
    /// Who waits and has nothing queued.
    starving: Ranks,
    /// Who waits and had half of its share free.
    hungry: Ranks,
    line: Ranks,
    /// How often somebody came to stand in an empty line.
    spell: u32,
    /// Whose frame under way has reserved.
    holders: Rota,
}

impl Intake {
    pub(crate) const fn new() -> Self {
        Intake {
            limits: Limits {
                rcvbuf: 0,
                longest: 0,
            },
            held: 0,
            reserved: 0,
            long: 0,
            active: 0,
            paused: 0,
            slot: None,
            starving: Ranks::new(),
            hungry: Ranks::new(),
            line: Ranks::new(),
            spell: 0,
            holders: Rota::new(),
        }
    }

    /// Whoever waits is to be asked again, see [`Self::next_whole`] and [`Self::first_in_line`].
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Makes room for one more pipe.
    ///
    /// # Errors
    ///
    /// [`NoMemory`].
    pub(crate) fn reserve(
        &mut self,
        id: u32,
        rank: Priority,
        flags: Flags,
    ) -> Result<(), NoMemory> {
        self.starving.reserve(id, rank, flags)?;
        self.hungry.reserve(id, rank, flags)?;
        for class in 0..CLASSES {
            let rank = rank.saturating_mul(CLASSES).saturating_add(class);
            self.line.reserve(id, rank, flags)?;
        }
        self.holders.reserve(id, flags)
    }

    /// What counts for SO_RCVBUF, in bytes.
    #[cfg(any(test, SP_KUNIT))]
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// What counts for SO_RCVBUF, with what is reserved beyond the cap, in bytes.
    fn used(&self) -> usize {
        self.held.saturating_add(self.beyond_cap(self.reserved))
    }

    fn beyond_cap(&self, reserved: usize) -> usize {
        reserved.saturating_sub(self.limits.cap())
    }

    /// Whether SO_RCVBUF is reached.
    fn is_full(&self) -> bool {
        self.used() >= self.limits.rcvbuf
    }

    /// Whether what a message takes beyond its length is within SO_RCVBUF.
    pub(crate) fn has_room_for(&self, extra: usize) -> bool {
        self.used().saturating_add(extra) < self.limits.rcvbuf
    }

    /// Whether SO_RCVBUF is reached, what is reserved included.
    pub(crate) fn is_loaded(&self) -> bool {
        self.held.saturating_add(self.reserved) >= self.limits.rcvbuf
    }

    /// Whether a frame of `len` bytes may be begun: one that is `whole` in TCP, or else by its first byte.
    /// If not, the pipe waits.
    pub(crate) fn ask(
        &mut self,
        id: u32,
        rank: Priority,
        share: &mut Share,
        len: usize,
        whole: bool,
    ) -> bool {
        if share.grant != Grant::Nothing {
            return true;
        }
        self.stop_waiting(id, share);
        if whole && len <= SMALL {
            self.ask_whole(id, rank, share, len)
        } else {
            self.ask_part(id, rank, share, len)
        }
    }

    fn ask_whole(&mut self, id: u32, rank: Priority, share: &mut Share, len: usize) -> bool {
        let room = !self.is_full() && (self.paused == 0 || share.held < self.portion(share));
        let slot = share.queued == 0 && self.slot_open(rank);
        if room || slot {
            if !room {
                self.slot = Some((id, rank));
            }
            let charge = len.saturating_add(OVERHEAD);
            share.grant = Grant::Whole(charge);
            self.add(share, charge);
            return true;
        }
        self.active = self.active.saturating_add(usize::from(!share.is_active()));
        self.paused = self.paused.saturating_add(1);
        share.wait = Wait::Whole;
        self.place(id, rank, share);
        false
    }

    /// Whether a run that counts for so much may be taken in: only if none of its messages would have to wait, and none
    /// has reserved, which a run would not give back. If not, each is to be asked for.
    pub(crate) fn ask_run(&mut self, id: u32, share: &mut Share, charge: usize) -> bool {
        let room = self.used().saturating_add(charge) <= self.limits.rcvbuf;
        let mine = share.held.saturating_add(charge);
        let free = matches!(share.grant, Grant::Nothing);
        let fits = room && free && (self.paused == 0 || mine <= self.portion(share));
        if fits {
            self.stop_waiting(id, share);
        }
        fits
    }

    fn ask_part(&mut self, id: u32, rank: Priority, share: &mut Share, len: usize) -> bool {
        let class = share.class(rank);
        let first = self.line.best().is_none_or(|best| class < best);
        if first && self.fits(len) && !self.has_enough(share) {
            self.grant(id, share, len);
            return true;
        }
        if self.line.is_empty() {
            self.spell = self.spell.wrapping_add(1);
        }
        share.wait = Wait::Part(len);
        self.line.insert(id, class);
        false
    }

    fn slot_open(&self, rank: Priority) -> bool {
        self.used() < self.limits.rcvbuf.saturating_add(SMALL)
            && self.slot.is_none_or(|(_, holder)| rank < holder)
    }

    /// Whether somebody waits who may go beyond SO_RCVBUF.
    fn slot_waits(&self) -> bool {
        let best = self.starving.best();
        best.is_some_and(|rank| self.slot_open(rank))
    }

    fn fits(&self, len: usize) -> bool {
        let len = bytes_for(len);
        let cap = self.limits.cap();
        let long = self.long.saturating_add(len);
        let room = cap.saturating_add(self.limits.rcvbuf.saturating_sub(self.held));
        self.reserved.saturating_add(len) <= room && (!self.is_long(len) || long <= cap / 2)
    }

    /// Whether a pipe has to wait until what is queued of it, or of others, is taken.
    fn has_enough(&self, share: &Share) -> bool {
        share.queued > 0 && self.is_loaded()
    }

    fn is_long(&self, len: usize) -> bool {
        len > self.limits.cap() / 16
    }

    fn grant(&mut self, id: u32, share: &mut Share, len: usize) {
        let long = self.is_long(len);
        let bytes = bytes_for(len);
        share.grant = Grant::Part(Reserved { bytes, long });
        self.reserved = self.reserved.saturating_add(bytes);
        if long {
            self.long = self.long.saturating_add(bytes);
        }
        self.holders.insert(id);
    }

    /// Whether a frame that has reserved may hold so many bytes more.
    pub(crate) fn stretch(&mut self, share: &mut Share, bytes: usize) -> bool {
        let Grant::Part(reserved) = &mut share.grant else {
            return false;
        };
        let cap = self.limits.cap();
        let room = cap.saturating_add(self.limits.rcvbuf.saturating_sub(self.held));
        let long = self.long.saturating_add(bytes);
        let fits =
            self.reserved.saturating_add(bytes) <= room && (!reserved.long || long <= cap / 2);
        if !fits || !self.line.is_empty() {
            return false;
        }
        reserved.bytes = reserved.bytes.saturating_add(bytes);
        self.reserved = self.reserved.saturating_add(bytes);
        if reserved.long {
            self.long = long;
        }
        true
    }

    fn unreserve(&mut self, Reserved { bytes, long }: Reserved) {
        self.reserved = self.reserved.saturating_sub(bytes);
        if long {
            self.long = self.long.saturating_sub(bytes);
        }
    }

    fn add(&mut self, share: &mut Share, charge: usize) {
        share.held = share.held.saturating_add(charge);
        self.held = self.held.saturating_add(charge);
    }

    fn subtract(&mut self, share: &mut Share, charge: usize) {
        share.held = share.held.saturating_sub(charge);
        self.held = self.held.saturating_sub(charge);
    }

    /// What a pipe may hold while others wait, in bytes.
    fn portion(&self, share: &Share) -> usize {
        let active = self
            .active
            .saturating_add(usize::from(!share.is_active()))
            .max(1);
        self.limits.rcvbuf.checked_div(active).unwrap_or(0).max(1)
    }

    /// Notes a pipe that waits to take a frame in, if it may once there is room.
    fn place(&mut self, id: u32, rank: Priority, share: &Share) {
        self.hungry.remove(id);
        if share.queued == 0 {
            self.starving.insert(id, rank);
        } else if share.held <= self.portion(share) / 2 {
            self.hungry.insert(id, rank);
        }
    }

    fn stop_waiting(&mut self, id: u32, share: &mut Share) {
        let was_active = share.is_active();
        match core::mem::replace(&mut share.wait, Wait::Nothing) {
            Wait::Nothing => return,
            Wait::Whole => {
                self.paused = self.paused.saturating_sub(1);
                self.starving.remove(id);
                self.hungry.remove(id);
            }
            Wait::Part(_) => self.line.remove(id),
        }
        if was_active && !share.is_active() {
            self.active = self.active.saturating_sub(1);
        }
    }

    /// The frame under way has become a message: what it was given is its own now.
    pub(crate) fn arrived(&mut self, id: u32, share: &mut Share, msg: &mut Message) {
        match core::mem::replace(&mut share.grant, Grant::Nothing) {
            Grant::Nothing => {}
            Grant::Whole(charge) => self.subtract(share, charge),
            Grant::Part(reserved) => {
                share.delivered = true;
                self.holders.remove(id);
                msg.reserved = Some(reserved);
            }
        }
    }

    /// A message that arrived was dealt with: queued, or not.
    pub(crate) fn settled(&mut self, id: u32, share: &Share) {
        if share.queued == 0 && self.slot.is_some_and(|(holder, _)| holder == id) {
            self.slot = None;
        }
    }

    /// A message was queued.
    pub(crate) fn queued(&mut self, share: &mut Share, msg: &mut Message) {
        let charge = msg.charge();
        if let Some(Reserved { bytes, .. }) = msg.reserved {
            let others = self.beyond_cap(self.reserved.saturating_sub(bytes));
            let used = self.held.saturating_add(others).saturating_add(charge);
            if used <= self.limits.rcvbuf {
                self.release(msg);
            }
        }
        if msg.reserved.is_none() {
            self.add(share, charge);
        }
        self.active = self.active.saturating_add(usize::from(!share.is_active()));
        share.queued = share.queued.saturating_add(1);
    }

    /// A message was taken out of its queue, or a run was, or the last one of it. Who waits may go on now.
    pub(crate) fn taken(&mut self, id: u32, rank: Priority, share: &mut Share, msg: &mut Message) {
        let was_active = share.is_active();
        share.queued = share.queued.saturating_sub(1);
        if was_active && !share.is_active() {
            self.active = self.active.saturating_sub(1);
        }
        let charge = match msg.reserved {
            None => msg.charge(),
            Some(_) => {
                self.release(msg);
                0
            }
        };
        self.lost(id, rank, share, charge);
    }

    /// So many bytes are not counted for any more.
    pub(crate) fn lost(&mut self, id: u32, rank: Priority, share: &mut Share, charge: usize) {
        self.subtract(share, charge);
        if self.slot.is_some_and(|(holder, _)| holder == id) {
            self.slot = None;
        }
        match share.wait {
            Wait::Nothing => {}
            Wait::Whole => self.place(id, rank, share),
            Wait::Part(_) => {
                self.line.remove(id);
                self.line.insert(id, share.class(rank));
            }
        }
    }

    /// Gives back what a message has reserved.
    pub(crate) fn release(&mut self, msg: &mut Message) {
        if let Some(reserved) = msg.reserved.take() {
            self.unreserve(reserved);
        }
    }

    /// The pipe reads no further: it gives back what the frame under way was given, and waits for nothing.
    pub(crate) fn abandon(&mut self, id: u32, share: &mut Share) {
        self.stop_waiting(id, share);
        match core::mem::replace(&mut share.grant, Grant::Nothing) {
            Grant::Nothing => {}
            Grant::Whole(charge) => {
                self.subtract(share, charge);
                self.settled(id, share);
            }
            Grant::Part(reserved) => {
                self.holders.remove(id);
                self.unreserve(reserved);
            }
        }
    }

    /// Who may take a frame in now, of those that were refused.
    pub(crate) fn next_whole(&mut self) -> Option<u32> {
        if !self.is_full() {
            return self.starving.serve().or_else(|| self.hungry.serve());
        }
        if self.slot_waits() {
            self.starving.serve()
        } else {
            None
        }
    }

    /// Lets the one go on that [`Self::next_whole`] has named.
    pub(crate) fn call(&mut self, id: u32, share: &mut Share) -> bool {
        self.stop_waiting(id, share);
        true
    }

    /// Who is first among those that wait for a reservation.
    pub(crate) fn first_in_line(&self) -> Option<u32> {
        self.line.next()
    }

    /// Gives the first in line its reservation, if it may have it. Also lets one go that is longer than is
    /// accepted by now, for its decoder to find out.
    pub(crate) fn let_in(&mut self, id: u32, share: &mut Share) -> bool {
        let Wait::Part(len) = share.wait else {
            return false;
        };
        if !self.may_enter(share) {
            return false;
        }
        self.line.serve();
        self.stop_waiting(id, share);
        if len <= self.limits.longest {
            self.grant(id, share, len);
        }
        true
    }

    fn may_enter(&self, share: &Share) -> bool {
        match share.wait {
            Wait::Part(len) if len > self.limits.longest => true,
            Wait::Part(len) => self.fits(len) && !self.has_enough(share),
            Wait::Nothing | Wait::Whole => false,
        }
    }

    /// Whether somebody who was refused may go on; `first` is the share of the first in line.
    pub(crate) fn moves(&self, first: Option<&Share>) -> bool {
        if self.paused == 0 && first.is_none() {
            return false;
        }
        let whole = if self.is_full() {
            self.slot_waits()
        } else {
            !self.starving.is_empty() || !self.hungry.is_empty()
        };
        whole || first.is_some_and(|share| self.may_enter(share))
    }

    /// While somebody waits for what others have reserved, a number that tells this wait from earlier ones;
    /// `first` is the share of the first in line. Who waits for the program to read is in nobody's way.
    pub(crate) fn contended(&self, first: Option<&Share>) -> Option<u32> {
        first
            .filter(|share| !self.has_enough(share))
            .map(|_| self.spell)
    }

    /// The first pipe at or after `from` whose frame under way has reserved.
    pub(crate) fn holder_from(&self, from: u32) -> Option<u32> {
        self.holders.first_from(from)
    }
}

/// What a frame of this length reserves, in bytes: a short one also what belongs to its message. A long one
/// does not, so that half of the cap is enough for the longest.
fn bytes_for(len: usize) -> usize {
    if len <= SMALL {
        len.saturating_add(OVERHEAD)
    } else {
        len
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_intake))]
mod tests {
    use super::super::bench::message;
    use super::*;
    use crate::mem::{
        KVec,
        GFP_KERNEL, //
    };
    use crate::message::Msg;

    const RCVBUF: usize = 20_000;

    /// How long the messages are, whatever their frames claim: to make them takes its time.
    const BODY: usize = 808;

    /// What [`Limits::cap`] is for the frames of these tests.
    const CAP: usize = CAP_MIN;

    /// Pipes with a rank each, and their queues.
    struct Pipes {
        intake: Intake,
        of: KVec<(Priority, Share, KVec<Msg>)>,
    }

    impl Pipes {
        fn new(ranks: &[Priority]) -> Result<Self, NoMemory> {
            let mut intake = Intake::new();
            intake.set_limits(Limits {
                rcvbuf: RCVBUF,
                longest: 1 << 20,
            });
            let mut of = KVec::new();
            for (id, rank) in ranks.iter().enumerate() {
                intake.reserve(id as u32, *rank, GFP_KERNEL)?;
                of.push((*rank, Share::new(), KVec::new()), GFP_KERNEL)?;
            }
            Ok(Pipes { intake, of })
        }

        fn ask(&mut self, id: usize, len: usize, whole: bool) -> bool {
            let (rank, share, _) = &mut self.of[id];
            self.intake.ask(id as u32, *rank, share, len, whole)
        }

        /// The frame that was admitted becomes a message of `len` bytes, and is queued.
        fn arrive(&mut self, id: usize, len: usize) -> Result<(), NoMemory> {
            static ZEROES: [u8; BODY] = [0; BODY];
            let mut msg = message(&[], &ZEROES[..len.min(BODY)])?;
            let (_, share, queue) = &mut self.of[id];
            self.intake.arrived(id as u32, share, &mut msg);
            self.intake.queued(share, &mut msg);
            self.intake.settled(id as u32, share);
            Ok(queue.push(msg, GFP_KERNEL)?)
        }

        /// Takes a frame in, if it may.
        fn small(&mut self, id: usize, len: usize) -> Result<bool, NoMemory> {
            let admitted = self.ask(id, len, true);
            if admitted {
                self.arrive(id, len)?;
            }
            Ok(admitted)
        }

        /// The program takes a pipe's oldest message.
        fn take(&mut self, id: usize) -> bool {
            let (rank, share, queue) = &mut self.of[id];
            let Ok(mut msg) = queue.remove(0) else {
                return false;
            };
            self.intake.taken(id as u32, *rank, share, &mut msg);
            true
        }

        /// Who goes on now.
        fn next(&mut self) -> Option<usize> {
            let first = self
                .intake
                .first_in_line()
                .map(|id| &self.of[id as usize].1);
            let moves = self.intake.moves(first);
            let next = match self.intake.next_whole() {
                Some(id) => {
                    let id = id as usize;
                    self.intake.call(id as u32, &mut self.of[id].1);
                    Some(id)
                }
                None => self
                    .intake
                    .first_in_line()
                    .map(|id| id as usize)
                    .filter(|id| self.intake.let_in(*id as u32, &mut self.of[*id].1)),
            };
            // What was told is what happens.
            next.filter(|_| moves)
        }

        fn contended(&self) -> bool {
            let first = self.intake.first_in_line();
            let first = first.map(|id| &self.of[id as usize].1);
            self.intake.contended(first).is_some()
        }

        fn holds(&self, held: usize, reserved: usize) -> bool {
            self.intake.held == held && self.intake.reserved == reserved
        }
    }

    /// How many messages of this length fill SO_RCVBUF.
    const fn fill(len: usize) -> usize {
        RCVBUF.div_ceil(len + OVERHEAD)
    }

    #[test]
    fn alone_fills_the_buffer_and_goes_on_at_half() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8])?;
        for _ in 0..fill(BODY) {
            assert!(pipes.small(0, BODY)?);
        }
        // Something of it is queued, so there is no slot for it.
        assert!(!pipes.small(0, BODY)?);
        assert_eq!(pipes.next(), None);
        for _ in 0..fill(BODY) / 2 - 1 {
            assert!(pipes.take(0));
            assert_eq!(pipes.next(), None);
        }
        assert!(pipes.take(0));
        assert_eq!(pipes.next(), Some(0));
        assert_eq!(pipes.next(), None);
        assert!(pipes.small(0, BODY)?);
        Ok(())
    }

    #[test]
    fn run_is_taken_in_only_where_none_would_wait() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8, 8])?;
        let run = |pipes: &mut Pipes, charge| {
            let share = &mut pipes.of[0].1;
            pipes.intake.ask_run(0, share, charge)
        };
        assert!(run(&mut pipes, RCVBUF) && !run(&mut pipes, RCVBUF + 1));
        while pipes.small(1, BODY)? {}
        assert!(!run(&mut pipes, 1));
        for _ in 0..11 {
            assert!(pipes.take(1));
        }
        // The other one waits, so it is a share for each.
        assert!(run(&mut pipes, RCVBUF / 2) && !run(&mut pipes, RCVBUF / 2 + 1));
        // It is the first message that waits, not the run.
        assert!(pipes.of[0].1.wait == Wait::Nothing);
        assert_eq!(pipes.next(), Some(1));
        assert_eq!(pipes.next(), None);
        Ok(())
    }

    #[test]
    fn room_beyond_a_length_is_within_the_buffer() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8])?;
        assert!(pipes.intake.has_room_for(RCVBUF - 1) && !pipes.intake.has_room_for(RCVBUF));
        assert!(pipes.small(0, BODY)?);
        let left = RCVBUF - BODY - OVERHEAD;
        assert!(pipes.intake.has_room_for(left - 1) && !pipes.intake.has_room_for(left));
        Ok(())
    }

    #[test]
    fn full_others_are_heard_one_at_a_time() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8, 8, 8])?;
        while pipes.small(0, BODY)? {}
        assert!(pipes.small(1, SMALL)?);
        assert!(!pipes.small(2, BODY)?);
        assert!(!pipes.small(1, BODY)?);
        assert_eq!(pipes.next(), None);
        // Its message is taken, so the next one's turn has come; the flood is to wait for its share.
        assert!(pipes.take(1));
        assert_eq!(pipes.next(), Some(1));
        assert!(pipes.small(1, BODY)?);
        assert!(pipes.take(0) && pipes.take(0));
        assert_eq!(pipes.next(), Some(2));
        Ok(())
    }

    #[test]
    fn full_a_better_rank_is_heard_behind_a_worse_one() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8, 8, 1, 1])?;
        while pipes.small(0, BODY)? {}
        assert!(pipes.small(1, BODY)?);
        assert!(pipes.small(2, BODY)?);
        assert!(!pipes.small(3, BODY)?);
        assert!(pipes.take(2));
        assert_eq!(pipes.next(), Some(3));
        Ok(())
    }

    #[test]
    fn others_wait_each_has_its_share() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8, 8])?;
        while pipes.small(0, BODY)? {}
        assert!(pipes.small(1, BODY)?);
        assert!(!pipes.small(1, BODY)?);
        // From each in turn, and both always have more.
        for _ in 0..60 {
            for id in [0, 1] {
                assert!(pipes.take(id));
                while let Some(next) = pipes.next() {
                    while pipes.small(next, BODY)? {}
                }
            }
        }
        for (_, share, _) in pipes.of.iter() {
            assert!((RCVBUF / 4 - 1000..=RCVBUF / 2 + 1000).contains(&share.held));
        }
        Ok(())
    }

    #[test]
    fn reserved_up_to_the_cap_and_half_of_it_for_long_ones() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8; 20])?;
        for id in 0..4 {
            assert!(pipes.ask(id, 1 << 20, false));
        }
        // A long one waits, but short ones have a half of their own; who comes later does not pass.
        assert!(!pipes.ask(4, 1 << 20, false));
        assert!(!pipes.ask(5, CAP / 16, false));
        assert!(pipes.holds(0, CAP / 2));
        let (_, share, _) = &mut pipes.of[4];
        pipes.intake.abandon(4, share);
        assert_eq!(pipes.next(), Some(5));
        for id in 6..13 {
            assert!(pipes.ask(id, CAP / 16, false));
        }
        assert!(pipes.holds(0, CAP));
        assert!(!pipes.ask(13, CAP / 16, false));
        assert_eq!(pipes.next(), None);
        // What the buffer has room for can be reserved, too, and is not there for others then.
        let (_, share, _) = &mut pipes.of[13];
        pipes.intake.abandon(13, share);
        assert!(pipes.ask(14, RCVBUF, false));
        assert!(pipes.small(15, BODY)? && !pipes.small(16, BODY)?);
        Ok(())
    }

    #[test]
    fn alone_reserves_no_more_than_the_buffer_and_one() -> Result<(), NoMemory> {
        for len in [SMALL, SMALL + 1, RCVBUF, 1 << 20] {
            let mut pipes = Pipes::new(&[8, 8])?;
            let all = |pipes: &Pipes| pipes.intake.held + pipes.intake.reserved;
            while pipes.ask(0, len, false) {
                assert!(all(&pipes) <= RCVBUF + bytes_for(len));
                pipes.arrive(0, len)?;
                if pipes.of[0].2.len() > RCVBUF / BODY {
                    break;
                }
            }
            // Nobody is in its way, and it is in nobody's.
            assert!(!pipes.contended());
            assert!(all(&pipes) >= RCVBUF);
            assert!(pipes.ask(1, len, false));
            while pipes.next().is_none() {
                assert!(pipes.take(0));
            }
            assert!(pipes.ask(0, len, false));
        }
        Ok(())
    }

    #[test]
    fn line_is_by_rank_then_who_has_nothing_then_who_delivered() -> Result<(), NoMemory> {
        const LEN: usize = 1 << 20;
        let mut pipes = Pipes::new(&[8; 8])?;
        pipes.of[7].0 = 1;
        pipes.intake.reserve(7, 1, GFP_KERNEL)?;
        // Delivered, and taken; and queued still.
        for id in [4, 5] {
            assert!(pipes.ask(id, LEN, false));
            pipes.arrive(id, LEN)?;
        }
        assert!(pipes.take(4));
        for id in 0..4 {
            assert!(pipes.ask(id, LEN, false));
        }
        for id in [5, 6, 4, 7] {
            assert!(!pipes.ask(id, LEN, false));
        }
        for (done, next) in [(0, Some(7)), (1, Some(4)), (2, Some(6)), (3, None)] {
            assert_eq!(pipes.contended(), next.is_some());
            let (_, share, _) = &mut pipes.of[done];
            pipes.intake.abandon(done as u32, share);
            assert_eq!(pipes.next(), next);
            assert_eq!(pipes.next(), None);
        }
        Ok(())
    }

    #[test]
    fn reserved_whole_counts_as_queued_where_it_fits() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8, 8, 8])?;
        assert!(pipes.ask(0, SMALL + 1, false));
        assert!(pipes.holds(0, SMALL + 1));
        pipes.arrive(0, BODY)?;
        assert!(pipes.holds(BODY + OVERHEAD, 0));
        while pipes.small(1, BODY)? {}
        let held = pipes.intake.held;
        assert!(pipes.ask(2, SMALL + 1, false));
        pipes.arrive(2, BODY)?;
        assert!(pipes.holds(held, SMALL + 1));
        assert!(pipes.take(2) && pipes.take(0));
        assert!(pipes.holds(held - BODY - OVERHEAD, 0));
        Ok(())
    }

    #[test]
    fn longer_than_is_accepted_by_now_is_let_go() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8; 6])?;
        for id in 0..4 {
            assert!(pipes.ask(id, 1 << 20, false));
        }
        assert!(!pipes.ask(4, 1 << 20, false));
        assert!(!pipes.ask(5, 100_000, false));
        pipes.intake.set_limits(Limits {
            rcvbuf: RCVBUF,
            longest: 200_000,
        });
        assert_eq!(pipes.next(), Some(4));
        assert_eq!(pipes.next(), Some(5));
        assert!(pipes.holds(0, CAP / 2 + 100_000));
        Ok(())
    }

    #[test]
    fn any_state_random_events_keep_the_bounds() -> Result<(), NoMemory> {
        const PIPES: usize = 6;
        let mut pipes = Pipes::new(&[8, 8, 8, 8, 1, 1])?;
        let mut random = 0x9e37_79b9_u32;
        // What is asked for and was not admitted yet.
        let mut wants: [Option<(usize, bool)>; PIPES] = [None; PIPES];
        for _ in 0..600 {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            let id = (random >> 8) as usize % PIPES;
            match random % 8 {
                0..=4 => {
                    let large = random % 3 == 0;
                    let len = (random >> 12) as usize % if large { 1 << 20 } else { SMALL };
                    let (len, whole) = *wants[id].get_or_insert((len, !large));
                    if pipes.ask(id, len, whole) {
                        pipes.arrive(id, len)?;
                        wants[id] = None;
                    }
                }
                5 => drop(pipes.take(id)),
                6 => {
                    if let Some(id) = pipes.next() {
                        if let Some((len, whole)) = wants[id].take() {
                            assert!(pipes.ask(id, len, whole));
                            pipes.arrive(id, len)?;
                        }
                    }
                }
                _ => {
                    let (_, share, _) = &mut pipes.of[id];
                    pipes.intake.abandon(id as u32, share);
                    wants[id] = None;
                }
            }
            assert!(pipes.intake.held <= RCVBUF + 2 * (SMALL + OVERHEAD));
            let all = pipes.intake.held + pipes.intake.reserved;
            assert!(all <= RCVBUF + CAP + 2 * (SMALL + OVERHEAD));
            assert!(pipes.intake.long <= CAP / 2);
            let held: usize = pipes.of.iter().map(|(_, share, _)| share.held).sum();
            assert_eq!(held, pipes.intake.held);
            // Who waits and is not called has something queued, or room is short.
            let active = pipes.of.iter().filter(|(_, share, _)| share.is_active());
            assert_eq!(active.count(), pipes.intake.active);
        }
        for id in 0..PIPES {
            while pipes.take(id) {}
            let (_, share, _) = &mut pipes.of[id];
            pipes.intake.abandon(id as u32, share);
        }
        assert!(pipes.holds(0, 0));
        assert_eq!(
            (pipes.intake.long, pipes.intake.active, pipes.intake.paused),
            (0, 0, 0)
        );
        Ok(())
    }

    #[test]
    fn reserved_stretches_while_there_is_room_and_nobody_waits() -> Result<(), NoMemory> {
        let mut pipes = Pipes::new(&[8, 8])?;
        let (intake, of) = (&mut pipes.intake, &mut pipes.of);
        assert!(!intake.stretch(&mut of[0].1, 1));
        assert!(pipes.ask(0, CAP / 4, false));
        let room = CAP / 2 - bytes_for(CAP / 4);
        let (intake, of) = (&mut pipes.intake, &mut pipes.of);
        assert!(!intake.stretch(&mut of[0].1, room + 1));
        assert!(intake.stretch(&mut of[0].1, room - 1));
        assert!(intake.stretch(&mut of[0].1, 1));
        assert!(!intake.stretch(&mut of[0].1, 1));
        assert_eq!((intake.reserved, intake.long), (CAP / 2, CAP / 2));
        // Another long one is to wait for it now.
        assert!(!pipes.ask(1, CAP / 4, false));
        let (intake, of) = (&mut pipes.intake, &mut pipes.of);
        assert!(!intake.stretch(&mut of[0].1, 0));
        pipes.arrive(0, 0)?;
        assert_eq!((pipes.intake.reserved, pipes.intake.long), (0, 0));
        Ok(())
    }
}
