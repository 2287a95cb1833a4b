// SPDX-License-Identifier: GPL-2.0

//! The roles of the patterns: one row each, and nothing else of a role outside its own file.

use super::{
    pipeline,
    pubsub,
    rep,
    req,
    Effects,
    Given,
    Handle,
    Pattern,
    Peers,
    Place,
    Received,
    Refused,
    Settings,
    Ticket,
    TopicError,
    World, //
};
use crate::address::Address;
use crate::bytes::Source;
use crate::error::Refusal;
use crate::ids::PipeId;
use crate::mem::KVec;
use crate::message::queue::Queue;
use crate::message::run::Taken;
use crate::message::tags::{
    Tagged,
    Tags, //
};
use crate::message::{
    Message,
    Msg, //
};
use crate::time::Instant;
use crate::uapi;

/// What the rest of the module has to know of a role.
pub(crate) struct Role {
    pub(crate) socket_type: u32,
    pub(crate) name: &'static str,
    /// The endpoint type in our greeting, and the one that the peer must have: the protocol, 12 bits, and
    /// the role in it, 4 bits. The numbers are those in use, see `wire/sp/greeting.rs`.
    pub(crate) own: u16,
    pub(crate) peer: u16,
    pub(crate) sends: bool,
    pub(crate) receives: bool,
    /// A message goes to all peers.
    pub(crate) sends_to_all: bool,
    /// Of messages that follow each other closely several are sent in one piece: nobody waits for the
    /// first to send the next. They have no tags.
    pub(crate) gathers: bool,
    /// Its machine has to know when a message is sent.
    pub(crate) times: bool,
    /// Bodies are kept or sent to several peers, so that sharing them is prepared for.
    pub(crate) shares: bool,
    /// Of the messages that arrive.
    pub(crate) tagged: Tagged,
    /// Their bodies are looked at.
    pub(crate) filters: bool,
    /// The options of level SOL_SP that not every type has.
    pub(crate) options: &'static [u32],
    /// The machine of a new socket.
    pub(crate) machine: fn(Seed, &Settings) -> Machine,
}

/// Bits that nobody can guess.
#[derive(Clone, Copy)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// As many as fit.
    pub(super) fn low(self) -> u32 {
        // CAST: Half of the bits are as good as any.
        self.0 as u32
    }
}

impl Role {
    /// The role of sockets of a type, if there is one.
    pub(crate) fn of(socket_type: u32) -> Option<&'static Role> {
        ROLES.iter().find(|role| role.socket_type == socket_type)
    }
}

macro_rules! roles {
    ($($variant:ident($machine:ty) $row:tt)*) => {
        /// The machine of a socket.
        pub(crate) enum Machine {
            $($variant($machine)),*
        }

        /// All there are.
        static ROLES: &[Role] = &[$(Role $row),*];

        /// Calls a method of whichever machine it is.
        macro_rules! each {
            ($self:ident, $m:ident => $call:expr) => {
                match $self {
                    $(Machine::$variant($m) => $call),*
                }
            };
        }
    };
}

roles! {
    Req(req::Req) {
        socket_type: uapi::SOCK_REQ,
        name: "REQ",
        own: 0x30,
        peer: 0x31,
        sends: true,
        receives: true,
        sends_to_all: false,
        gathers: false,
        times: true,
        shares: true,
        tagged: Tagged::Once,
        filters: false,
        options: &[uapi::SP_REQ_RESEND_IVL, uapi::SP_SNDPRIO],
        machine: |seed, settings| Machine::Req(req::Req::new(seed, settings)),
    }
    Rep(rep::Rep) {
        socket_type: uapi::SOCK_REP,
        name: "REP",
        own: 0x31,
        peer: 0x30,
        sends: true,
        receives: true,
        sends_to_all: false,
        gathers: false,
        times: false,
        shares: false,
        tagged: Tagged::Stack,
        filters: false,
        options: &[uapi::SP_MAXTTL, uapi::SP_RCVPRIO],
        machine: |seed, _| Machine::Rep(rep::Rep::new(seed)),
    }
    Pub(pubsub::Pub) {
        socket_type: uapi::SOCK_PUB,
        name: "PUB",
        own: 0x20,
        peer: 0x21,
        sends: true,
        receives: false,
        sends_to_all: true,
        gathers: true,
        times: false,
        shares: true,
        tagged: Tagged::Nothing,
        filters: false,
        options: &[],
        machine: |_, _| Machine::Pub(pubsub::Pub::new()),
    }
    Sub(pubsub::Sub) {
        socket_type: uapi::SOCK_SUB,
        name: "SUB",
        own: 0x21,
        peer: 0x20,
        sends: false,
        receives: true,
        sends_to_all: false,
        gathers: false,
        times: false,
        shares: false,
        tagged: Tagged::Nothing,
        filters: true,
        options: &[uapi::SP_SUBSCRIBE, uapi::SP_UNSUBSCRIBE, uapi::SP_RCVPRIO],
        machine: |_, _| Machine::Sub(pubsub::Sub::new()),
    }
    Push(pipeline::Push) {
        socket_type: uapi::SOCK_PUSH,
        name: "PUSH",
        own: 0x50,
        peer: 0x51,
        sends: true,
        receives: false,
        sends_to_all: false,
        gathers: true,
        times: false,
        shares: false,
        tagged: Tagged::Nothing,
        filters: false,
        options: &[uapi::SP_SNDPRIO],
        machine: |_, _| Machine::Push(pipeline::Push),
    }
    Pull(pipeline::Pull) {
        socket_type: uapi::SOCK_PULL,
        name: "PULL",
        own: 0x51,
        peer: 0x50,
        sends: false,
        receives: true,
        sends_to_all: false,
        gathers: false,
        times: false,
        shares: false,
        tagged: Tagged::Nothing,
        filters: false,
        options: &[uapi::SP_RCVPRIO],
        machine: |_, _| Machine::Pull(pipeline::Pull),
    }
}

impl Pattern for Machine {
    fn settings<H: Handle>(&mut self, w: &mut World<'_, H>, settings: &Settings) -> Effects {
        each!(self, m => m.settings(w, settings))
    }

    fn send<H: Handle>(&mut self, w: &mut World<'_, H>, msg: Msg) -> Result<Effects, Refused> {
        each!(self, m => m.send(w, msg))
    }

    fn send_short<H: Handle>(&mut self, w: &mut World<'_, H>, body: &[u8]) -> Option<Effects> {
        each!(self, m => m.send_short(w, body))
    }

    fn send_from<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        len: usize,
        body: &mut impl Source,
    ) -> Option<Effects> {
        each!(self, m => m.send_from(w, len, body))
    }

    fn collects<H: Handle>(&self, w: &World<'_, H>) -> bool {
        each!(self, m => m.collects(w))
    }

    fn send_all<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        all: &H::Many,
        at: &mut Place,
        forced: bool,
    ) -> Given {
        each!(self, m => m.send_all(w, all, at, forced))
    }

    fn go_on<H: Handle>(&mut self, w: &mut World<'_, H>) -> Option<Effects> {
        each!(self, m => m.go_on(w))
    }

    fn recv_now<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        give: impl FnOnce(&[u8], &Address) -> bool,
    ) -> Option<usize> {
        each!(self, m => m.recv_now(w, give))
    }

    fn recv<H: Handle>(
        &mut self,
        w: &mut World<'_, H>,
        ticket: &mut Ticket,
    ) -> Result<(Taken, Effects), Refusal> {
        each!(self, m => m.recv(w, ticket))
    }

    fn admits<H: Handle>(&self, w: &World<'_, H>) -> bool {
        each!(self, m => m.admits(w))
    }

    fn front<'a, H: Handle>(
        &'a mut self,
        peers: &'a mut Peers<H>,
    ) -> Result<&'a mut Message, Refusal> {
        each!(self, m => m.front(peers))
    }

    fn can_send<H: Handle>(&self, peers: &Peers<H>, caller: &H::Caller) -> bool {
        each!(self, m => m.can_send(peers, caller))
    }

    fn can_recv<H: Handle>(&self, peers: &Peers<H>, caller: &H::Caller) -> bool {
        each!(self, m => m.can_recv(peers, caller))
    }

    fn received<H: Handle>(&mut self, w: &mut World<'_, H>, from: PipeId, msg: Msg) -> Received {
        each!(self, m => m.received(w, from, msg))
    }

    fn too_long<H: Handle>(&mut self, w: &mut World<'_, H>, tags: &Tags) -> Effects {
        each!(self, m => m.too_long(w, tags))
    }

    fn opened<H: Handle>(&mut self, w: &mut World<'_, H>, id: PipeId) -> Option<Effects> {
        each!(self, m => m.opened(w, id))
    }

    fn writable<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        each!(self, m => m.writable(w))
    }

    fn in_hand<H: Handle>(&self, peers: &Peers<H>, id: PipeId) -> bool {
        each!(self, m => m.in_hand(peers, id))
    }

    fn gone<H: Handle>(&mut self, w: &mut World<'_, H>, id: PipeId) -> Effects {
        each!(self, m => m.gone(w, id))
    }

    fn expired<H: Handle>(&mut self, w: &mut World<'_, H>) -> Effects {
        each!(self, m => m.expired(w))
    }

    fn deadline(&self) -> Option<Instant> {
        each!(self, m => m.deadline())
    }

    fn subscribe(&mut self, topic: KVec<u8>) -> Result<(), TopicError> {
        each!(self, m => m.subscribe(topic))
    }

    fn unsubscribe(&mut self, topic: &[u8]) -> Result<Effects, TopicError> {
        each!(self, m => m.unsubscribe(topic))
    }

    fn purge<H: Handle>(&self, peers: &mut Peers<H>, from: u32) -> Option<(Queue, u32)> {
        each!(self, m => m.purge(peers, from))
    }
}

#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_role))]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_the_peer_of_its_peer() {
        for role in ROLES {
            for peer in ROLES.iter().filter(|peer| peer.own == role.peer) {
                assert_eq!(peer.peer, role.own);
                assert_eq!(peer.receives, role.sends);
            }
        }
    }

    #[test]
    fn every_role_is_found_by_its_type_alone() {
        for role in ROLES {
            assert!(Role::of(role.socket_type).is_some_and(|found| found.name == role.name));
            assert_eq!(
                ROLES.iter().filter(|other| other.own == role.own).count(),
                1
            );
        }
        assert!(Role::of(0).is_none());
    }
}
