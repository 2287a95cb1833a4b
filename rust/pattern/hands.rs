// SPDX-License-Identifier: GPL-2.0

//! Whose a request in hand is, where processes and threads share a socket.
//!
//! It belongs to the process that took it, and each has one: so the servers of the classic kind, that fork
//! and then receive, work and send, each answer their own.
//!
//! | who sends                            | answers what                                               |
//! |--------------------------------------|------------------------------------------------------------|
//! | a process that has received          | what it has in hand; once it has replaced a request that   |
//! |                                      | it had not answered, only the thread that took the last    |
//! | one that has not: a child, or one    | what its parent had in hand when it was started; else the  |
//! | that was given the descriptor        | socket's first request, while no other has been taken      |
//!
//! Nobody else answers anything, so that no reply goes to somebody whom the sender does not mean. What a
//! process had in hand when it died is forgotten when its place is needed.
//!
//! A parent may have adopted the process that sends, of which nothing tells how it was related before. So
//! one that may have done so bequeaths only what nobody can take for another request.

use crate::caller::{
    Birth,
    Caller,
    Company,
    Key,
    Name, //
};
use crate::error::Refusal;
use crate::ids::PipeName;
use crate::mem::{
    accounted,
    KVec,
    NO_SLEEP, //
};
use crate::message::tags::Tags;

/// How many processes that live can have received on one socket.
const HANDS_MAX: usize = 1024;

/// A request that was taken and is to be answered.
pub(crate) struct Request {
    /// Who asked; `None` if the pipe was closed when the request was taken.
    pub(super) from: Option<PipeName>,
    pub(super) backtrace: Tags,
}

/// What one process has.
struct Hand<N> {
    request: Option<Request>,
    /// Who took the last request, when, and with whom around.
    thread: Option<N>,
    at: u64,
    company: Company,
    /// It has taken a request without having answered the one before.
    replaced: bool,
}

impl<N> Hand<N> {
    const EMPTY: Self = Hand {
        request: None,
        thread: None,
        at: 0,
        company: Company::Threads,
        replaced: false,
    };
}

/// A place among [`Hands`] that belongs to a process.
pub(crate) struct Seat(usize);

/// Where a request is in hand that somebody may answer.
pub(crate) struct Debt(usize);

/// The requests in hand on one socket.
///
/// # Invariants
///
/// `processes` and `hands` are equally long, [`HANDS_MAX`] at most. No process is there twice.
pub(crate) struct Hands<C: Caller> {
    /// Whose the hands are; `None` where one is free.
    processes: KVec<Option<C::Name>>,
    hands: KVec<Hand<C::Name>>,
    /// Where a process was found last.
    last: usize,
    /// How many requests were taken, and by how many processes.
    taken: u64,
    takers: u64,
}

impl<C: Caller> Hands<C> {
    pub(crate) const fn new() -> Self {
        Hands {
            processes: KVec::new(),
            hands: KVec::new(),
            last: 0,
            taken: 0,
            takers: 0,
        }
    }

    fn find(&self, process: Key) -> Option<usize> {
        let is = |name: &Option<C::Name>| name.as_ref().is_some_and(|name| name.key() == process);
        match self.processes.get(self.last) {
            Some(name) if is(name) => Some(self.last),
            Some(_) | None => self.processes.iter().position(is),
        }
    }

    /// Whether there is room for a request in hand of the caller's process.
    pub(super) fn has_room(&self, caller: &C) -> bool {
        // Who is over takes longer to find out, so that comes last.
        self.processes.len() < HANDS_MAX
            || self.find(caller.process()).is_some()
            || !self.are_full()
    }

    /// Makes that room.
    ///
    /// # Errors
    ///
    /// [`Refusal::State`] if too many processes have received, [`Refusal::NoMemory`].
    pub(super) fn seat(&mut self, caller: &C) -> Result<Seat, Refusal> {
        if let Some(at) = self.find(caller.process()) {
            self.last = at;
            return Ok(Seat(at));
        }
        // Who has died is looked for before more memory is taken, so each time after as many newcomers as
        // there were processes.
        let full = self.processes.len() == self.processes.capacity();
        if full || self.processes.len() >= HANDS_MAX {
            self.forget_dead();
        }
        let at = match self.processes.iter().position(Option::is_none) {
            Some(at) => at,
            None => self.grow()?,
        };
        if let Some(name) = self.processes.get_mut(at) {
            *name = Some(caller.process_name());
        }
        self.last = at;
        self.takers = self.takers.saturating_add(1);
        Ok(Seat(at))
    }

    fn forget_dead(&mut self) {
        let both = self.processes.iter_mut().zip(self.hands.iter_mut());
        for (name, hand) in both {
            if name.take_if(|name| name.is_over()).is_some() {
                *hand = Hand::EMPTY;
            }
        }
    }

    fn grow(&mut self) -> Result<usize, Refusal> {
        let at = self.processes.len();
        if at >= HANDS_MAX {
            return Err(Refusal::State);
        }
        let no_memory = |_| Refusal::NoMemory;
        let flags = accounted(NO_SLEEP);
        self.hands.push(Hand::EMPTY, flags).map_err(no_memory)?;
        if self.processes.push(None, flags).is_err() {
            self.hands.pop();
            return Err(Refusal::NoMemory);
        }
        Ok(at)
    }

    /// Gives the caller's process, which has this seat, a request instead of what it has.
    pub(super) fn take(&mut self, seat: Seat, caller: &C, request: Request) {
        let Some(hand) = self.hands.get_mut(seat.0) else {
            return;
        };
        self.taken = self.taken.saturating_add(1);
        hand.replaced |= hand.request.is_some();
        hand.request = Some(request);
        hand.at = caller.now();
        hand.company = caller.company();
        let same = |name: &C::Name| name.key() == caller.thread();
        if !hand.thread.as_ref().is_some_and(same) {
            hand.thread = Some(caller.thread_name());
        }
    }

    /// Whether the caller may send.
    pub(super) fn can_answer(&self, caller: &C) -> bool {
        self.owed(caller).is_some()
    }

    /// The request that somebody may answer.
    pub(super) fn request(&self, debt: &Debt) -> Option<&Request> {
        self.hands.get(debt.0)?.request.as_ref()
    }

    /// The request that is answered now, which nobody has in hand any more.
    pub(super) fn answer(&mut self, debt: Debt) -> Option<Request> {
        self.hands.get_mut(debt.0)?.request.take()
    }

    /// Whether a request is in hand that came through this pipe, and somebody is left who may answer it.
    pub(super) fn hold(&self, origin: PipeName) -> bool {
        let mut both = self.processes.iter().zip(self.hands.iter());
        both.any(|(process, hand)| {
            let from = hand.request.as_ref().and_then(|request| request.from);
            let lives = |process: &C::Name| match (&hand.thread, hand.replaced) {
                (Some(thread), true) => !thread.has_exited(),
                (Some(_), false) | (None, _) => !process.is_over(),
            };
            from == Some(origin) && process.as_ref().is_some_and(lives)
        })
    }

    /// Whether whoever comes now finds no room.
    pub(super) fn are_full(&self) -> bool {
        let free = |name: &Option<C::Name>| name.as_ref().is_none_or(|name| name.is_over());
        self.processes.len() >= HANDS_MAX && !self.processes.iter().any(free)
    }

    /// In whose hand the request is that the caller may answer.
    pub(super) fn owed(&self, caller: &C) -> Option<Debt> {
        let Some(at) = self.find(caller.process()) else {
            let inherited = self.bequeathed(&caller.birth());
            return inherited.or_else(|| self.only()).map(Debt);
        };
        let hand = self.hands.get(at)?;
        let took = |name: &C::Name| name.key() == caller.thread();
        let may = !hand.replaced || hand.thread.as_ref().is_some_and(took);
        (may && hand.request.is_some()).then_some(Debt(at))
    }

    /// Where the request is that a process may answer that has not received: its parent had it in hand when
    /// the process was started, and it knows of no other.
    fn bequeathed(&self, birth: &Birth) -> Option<usize> {
        let at = self.find(birth.parent)?;
        let hand = self.hands.get(at)?;
        // Another thread than the one that took it may have started the process, and that for a request
        // which was replaced.
        let clear = !hand.replaced || hand.company != Company::Threads;
        let own = !birth.adopted
            || self.takers == 1 && (!hand.replaced || hand.company == Company::Nobody);
        (hand.request.is_some() && hand.at < birth.at && clear && own).then_some(at)
    }

    /// Where the first request is, if no other has been taken.
    fn only(&self) -> Option<usize> {
        match self.taken {
            1 => self.hands.iter().position(|hand| hand.request.is_some()),
            _ => None,
        }
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_hands))]
mod tests {
    use super::super::bench::{
        refused,
        Bench,
        Fault,
        Somebody, //
    };
    use super::super::rep::Rep;
    use super::super::PipeId;
    use super::*;
    use crate::mem::{
        Atomic,
        Relaxed, //
    };
    use crate::message::tags::TAG;
    use crate::pattern::role::Seed;

    /// The times at which things happen.
    const BEFORE: u64 = 10;
    const TAKEN: u64 = 20;
    const AFTER: u64 = 30;
    const LATER: u64 = 40;
    const LAST: u64 = 50;

    /// A REP with requests "0", "1", ... from a client each.
    fn asked<const N: usize>() -> Result<(Bench<Rep>, [PipeId; N]), Fault> {
        let mut bench = Bench::new(Rep::new(Seed(0)))?;
        let mut pipes = [PipeId(0); N];
        for (nth, pipe) in pipes.iter_mut().enumerate() {
            *pipe = bench.open(99)?;
            bench.arrives(*pipe, &tags(nth), &body(nth))?;
        }
        Ok((bench, pipes))
    }

    fn tags(nth: usize) -> [u8; TAG] {
        [0x80, 0, 0, nth as u8]
    }

    fn body(nth: usize) -> [u8; 1] {
        [b'0' + nth as u8]
    }

    /// A process of one thread, with the same number.
    fn process(bench: &Bench<Rep>, key: Key) -> Somebody {
        Somebody {
            process: key,
            thread: key,
            ..bench.caller
        }
    }

    fn child(bench: &Bench<Rep>, key: Key, parent: Key, at: u64) -> Somebody {
        let adopted = false;
        Somebody {
            birth: Birth {
                parent,
                at,
                adopted,
            },
            ..process(bench, key)
        }
    }

    trait As {
        fn takes(&mut self, who: Somebody, at: u64, nth: usize) -> bool;
        fn answers(&mut self, who: Somebody, pipe: PipeId, nth: usize) -> bool;
        fn is_refused(&mut self, who: Somebody) -> bool;
    }

    impl As for Bench<Rep> {
        /// Whether somebody receives request `nth`.
        fn takes(&mut self, who: Somebody, at: u64, nth: usize) -> bool {
            self.caller = who;
            self.caller.now = at;
            self.gets(&body(nth))
        }

        /// Whether somebody's reply goes to the client of request `nth`.
        fn answers(&mut self, who: Somebody, pipe: PipeId, nth: usize) -> bool {
            self.caller = who;
            self.send(b"r").is_ok() && self.sent(&[(pipe, &tags(nth), b"r")])
        }

        /// Whether somebody may not send.
        fn is_refused(&mut self, who: Somebody) -> bool {
            self.caller = who;
            self.send(b"r").err() == refused(Refusal::State) && self.sent(&[])
        }
    }

    #[test]
    fn processes_each_answer_their_own() -> Result<(), Fault> {
        let (mut bench, pipes) = asked::<4>()?;
        let who = [5, 6, 7].map(|key| process(&bench, key));
        for (nth, who) in who.iter().enumerate() {
            assert!(bench.takes(*who, TAKEN, nth));
        }
        for nth in [1, 2, 0] {
            assert!(bench.answers(who[nth], pipes[nth], nth));
            assert!(bench.is_refused(who[nth]));
        }
        // Whoever receives has one again.
        assert!(bench.takes(who[1], LATER, 3));
        assert!(bench.is_refused(who[0]));
        assert!(bench.answers(who[1], pipes[3], 3));
        Ok(())
    }

    #[test]
    fn stranger_answers_the_first_while_it_is_the_only_one() -> Result<(), Fault> {
        let (mut bench, pipes) = asked::<3>()?;
        let (one, stranger) = (process(&bench, 5), process(&bench, 6));
        assert!(bench.is_refused(stranger));
        assert!(bench.takes(one, TAKEN, 0));
        assert!(bench.answers(stranger, pipes[0], 0));
        assert!(bench.is_refused(stranger));
        assert!(bench.is_refused(one));
        assert!(bench.takes(one, TAKEN, 1));
        assert!(bench.is_refused(stranger));
        assert!(bench.answers(one, pipes[1], 1));
        // One that has received is no stranger.
        let (mut bench, _) = asked::<2>()?;
        assert!(bench.takes(one, TAKEN, 0));
        assert!(bench.takes(stranger, TAKEN, 1));
        assert!(bench.is_refused(process(&bench, 7)));
        Ok(())
    }

    #[test]
    fn child_answers_what_its_parent_had_when_it_was_started() -> Result<(), Fault> {
        let (mut bench, pipes) = asked::<4>()?;
        let parent = process(&bench, 5);
        assert!(bench.takes(process(&bench, 9), BEFORE, 0));
        assert!(bench.takes(parent, TAKEN, 1));
        // Started too early, and at a time that cannot be told from the other.
        assert!(bench.is_refused(child(&bench, 6, 5, BEFORE)));
        assert!(bench.is_refused(child(&bench, 6, 5, TAKEN)));
        // Somebody else's, and one of nobody's.
        assert!(bench.is_refused(child(&bench, 6, 7, AFTER)));
        assert!(bench.is_refused(child(&bench, 6, 0, AFTER)));
        let heir = child(&bench, 6, 5, AFTER);
        assert!(bench.answers(heir, pipes[1], 1));
        // Once, whoever it is.
        assert!(bench.is_refused(heir));
        assert!(bench.is_refused(parent));
        assert!(bench.is_refused(child(&bench, 7, 5, AFTER)));
        // Not what the parent takes later; that is its next child's.
        assert!(bench.takes(parent, LATER, 2));
        assert!(bench.is_refused(heir));
        assert!(bench.answers(child(&bench, 7, 5, LAST), pipes[2], 2));
        Ok(())
    }

    #[test]
    fn child_of_a_parent_that_has_replaced_its_request_is_refused() -> Result<(), Fault> {
        let (mut bench, pipes) = asked::<3>()?;
        let parent = process(&bench, 5);
        assert!(bench.takes(parent, TAKEN, 0));
        let old = child(&bench, 6, 5, AFTER);
        assert!(bench.takes(parent, LATER, 1));
        assert!(bench.is_refused(old));
        // The parent's only thread took the last one, so its next child knows that.
        assert!(bench.answers(child(&bench, 7, 5, LAST), pipes[1], 1));
        // Where there are others, one of them may have started a child for what was replaced.
        let threads = Somebody {
            company: Company::Threads,
            ..parent
        };
        assert!(bench.takes(threads, LATER, 2));
        assert!(bench.is_refused(child(&bench, 8, 5, LAST)));
        assert!(bench.answers(threads, pipes[2], 2));
        Ok(())
    }

    #[test]
    fn child_maybe_adopted_is_refused_what_it_may_not_know() -> Result<(), Fault> {
        let adopted = |bench: &Bench<Rep>, at| {
            let mut who = child(bench, 6, 5, at);
            who.birth.adopted = true;
            who
        };
        // All that was taken is the parent's, one after the other.
        let (mut bench, pipes) = asked::<4>()?;
        let parent = process(&bench, 5);
        for (nth, pipe) in pipes.into_iter().enumerate() {
            assert!(bench.takes(parent, TAKEN, nth));
            assert!(bench.answers(adopted(&bench, AFTER), pipe, nth));
        }
        // One is replaced while somebody may still be at it, or nobody.
        for (company, fits) in [(Company::Children, false), (Company::Nobody, true)] {
            let (mut bench, pipes) = asked::<4>()?;
            assert!(bench.takes(parent, TAKEN, 0));
            assert!(bench.takes(Somebody { company, ..parent }, TAKEN, 1));
            assert!(if fits {
                bench.answers(adopted(&bench, AFTER), pipes[1], 1)
            } else {
                bench.is_refused(adopted(&bench, AFTER))
            });
        }
        // Others have taken some, too.
        let (mut bench, _) = asked::<4>()?;
        assert!(bench.takes(process(&bench, 9), BEFORE, 0));
        assert!(bench.takes(parent, TAKEN, 1));
        assert!(bench.is_refused(adopted(&bench, AFTER)));
        Ok(())
    }

    #[test]
    fn threads_of_a_process_share_a_request_until_one_is_replaced() -> Result<(), Fault> {
        let (mut bench, pipes) = asked::<4>()?;
        let one = Somebody {
            company: Company::Threads,
            ..process(&bench, 5)
        };
        let two = Somebody { thread: 6, ..one };
        assert!(bench.takes(one, TAKEN, 0));
        assert!(bench.answers(two, pipes[0], 0));
        assert!(bench.takes(one, TAKEN, 1));
        assert!(bench.takes(two, TAKEN, 2));
        assert!(bench.is_refused(one));
        assert!(bench.answers(two, pipes[2], 2));
        // From now on it is the one who takes it who may answer.
        assert!(bench.takes(one, TAKEN, 3));
        assert!(bench.is_refused(two));
        assert!(bench.answers(one, pipes[3], 3));
        // It is nothing to other processes.
        let (mut bench, pipes) = asked::<3>()?;
        assert!(bench.takes(one, TAKEN, 0));
        assert!(bench.takes(process(&bench, 7), TAKEN, 1));
        assert!(bench.takes(one, TAKEN, 2));
        let other = Somebody {
            thread: 8,
            ..process(&bench, 7)
        };
        assert!(bench.answers(other, pipes[1], 1));
        Ok(())
    }

    #[test]
    fn request_of_a_dead_process_is_answered_by_nobody() -> Result<(), Fault> {
        let (mut bench, pipes) = asked::<4>()?;
        let dead = Somebody {
            over: |key| key == 5,
            ..process(&bench, 5)
        };
        assert!(bench.takes(dead, TAKEN, 0));
        assert!(bench.takes(process(&bench, 6), TAKEN, 1));
        // A newcomer gets its place, and not what it had.
        for key in 7..9 {
            assert!(bench.is_refused(process(&bench, key)));
        }
        assert!(bench.takes(process(&bench, 7), TAKEN, 2));
        assert!(bench.answers(process(&bench, 7), pipes[2], 2));
        assert!(bench.answers(process(&bench, 6), pipes[1], 1));
        assert_eq!(bench.peers.hands.processes.len(), 2);
        Ok(())
    }

    #[test]
    fn stranger_answers_the_only_request_of_a_dead_process() -> Result<(), Fault> {
        let (mut bench, pipes) = asked::<1>()?;
        let dead = Somebody {
            over: |_| true,
            ..process(&bench, 5)
        };
        assert!(bench.takes(dead, TAKEN, 0));
        assert!(bench.answers(process(&bench, 6), pipes[0], 0));
        Ok(())
    }

    /// Whether process 77 has died.
    static DEAD: Atomic<u32> = Atomic::new(0);

    #[test]
    fn too_many_processes_receive_is_refused_until_one_dies() -> Result<(), Fault> {
        DEAD.store(0, Relaxed);
        let (mut bench, [pipe]) = asked::<1>()?;
        bench.caller.over = |key| key == 77 && DEAD.load(Relaxed) != 0;
        assert!(bench.takes(process(&bench, 1), TAKEN, 0));
        for key in 2..=HANDS_MAX {
            bench.arrives(pipe, &tags(1), &body(1))?;
            assert!(bench.takes(process(&bench, key), TAKEN, 1));
        }
        let newcomer = process(&bench, HANDS_MAX + 1);
        // Nothing is there, and something is.
        for nth in [2, 3] {
            bench.caller = newcomer;
            assert_eq!(bench.recv().err(), refused(Refusal::State));
            assert_eq!(bench.peek().err(), refused(Refusal::State));
            assert!(bench.is_refused(newcomer));
            bench.arrives(pipe, &tags(nth), &body(nth))?;
        }
        // Those who have a place go on.
        assert!(bench.takes(process(&bench, HANDS_MAX), TAKEN, 2));
        assert!(bench.answers(process(&bench, HANDS_MAX), pipe, 2));
        DEAD.store(1, Relaxed);
        assert!(bench.takes(newcomer, TAKEN, 3));
        assert!(bench.answers(newcomer, pipe, 3));
        assert_eq!(bench.peers.hands.processes.len(), HANDS_MAX);
        Ok(())
    }
}
