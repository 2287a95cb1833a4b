// SPDX-License-Identifier: GPL-2.0

//! The subscriptions of a SUB socket: a counted set of topics, asked for each message whether one
//! of them is its prefix.
//!
//! Words: a *topic* is what was subscribed to, a string of bytes, perhaps empty; a *subscription* is
//! one call that did so. n subscriptions to a topic need n unsubscriptions, as in
//! nanomsg (src/protocols/utils/trie.c) and libzmq.
//!
//! The trie is binary and path-compressed (crit-bit, PATRICIA): a node names only the next bit at
//! which the topics below it part, and the bits skipped on the way are not looked at. Bits are
//! counted from the first byte's most significant one. There are two kinds of node:
//!
//! | node | `count` | `bit` | children |
//! |---|---|---|---|
//! | topic | >= 1 | the length of the topic in bits | none, one or two: topics that go on with 0, with 1 |
//! | branch | 0 | the first bit at which the topics below differ | two |
//!
//! A message is matched by walking down along its bits to the first topic, and comparing once. That
//! topic decides: all below it begin with it, and all aside differ from the message in a bit that
//! was tested. So the usual few subscriptions cost one comparison, after a step or two, and no
//! number of subscriptions costs more steps than the first topic met has bits.
//!
//! Every branch has two children and every leaf is a topic: n topics make at most 2n - 1 nodes.
//!
//! Pure: no locks of its own, nothing sleeps, nothing recurses.

use super::slab::Slab;
use crate::mem::{
    KVec,
    NoMemory, //
};
use core::mem;

/// The most subscriptions of a socket, duplicates included: a bound on memory.
const MAX_SUBSCRIPTIONS: u32 = crate::uapi::SP_SUBSCRIPTIONS_MAX;

/// No node. Never an id.
const NIL: u32 = u32::MAX;

/// A counted set of topics.
///
/// # Invariants
///
/// - Below a node, each `bit` is greater than the node's; all topics there agree in the bits before
///   the node's `bit`, and have as bit number `bit` the name of the child they are under.
/// - A branch has two children.
/// - `subscriptions` is the sum of the `count`s and at most [`MAX_SUBSCRIPTIONS`].
pub(crate) struct Trie {
    nodes: Slab<Node>,
    root: u32,
    subscriptions: u32,
}

/// Why the set is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrieError {
    /// There are [`MAX_SUBSCRIPTIONS`] already.
    Full,
    /// No memory for another topic.
    NoMemory,
    /// There is no subscription to take away.
    Absent,
}

struct Node {
    /// The topic that ends here. Empty in a branch.
    topic: KVec<u8>,
    count: u32,
    bit: usize,
    zero: u32,
    one: u32,
}

/// Where the id of a node is written.
#[derive(Clone, Copy)]
enum Link {
    Root,
    Child { of: u32, side: bool },
}

impl Trie {
    /// No subscriptions, and no memory held.
    pub(crate) const fn new() -> Self {
        Trie {
            nodes: Slab::new(2 * MAX_SUBSCRIPTIONS),
            root: NIL,
            subscriptions: 0,
        }
    }

    /// Whether some topic is a prefix of `message`.
    ///
    /// Called for each message that arrives, in softirq.
    #[inline]
    pub(crate) fn matches(&self, message: &[u8]) -> bool {
        let mut id = self.root;
        while let Some(node) = self.nodes.get(id) {
            if node.count > 0 {
                return message.starts_with(&node.topic);
            }
            // A message that ends here is shorter than all topics below.
            let Some(side) = bit_of(message, node.bit) else {
                return false;
            };
            id = node.child(side);
        }
        false
    }

    /// Adds a subscription.
    ///
    /// The caller bounds the length of topics, and provides their memory, which it can have charged to
    /// somebody.
    ///
    /// # Errors
    ///
    /// [`TrieError::Full`] and [`TrieError::NoMemory`]. The set is as before.
    pub(crate) fn subscribe(&mut self, mut topic: KVec<u8>) -> Result<(), TrieError> {
        if self.subscriptions >= MAX_SUBSCRIPTIONS {
            return Err(TrieError::Full);
        }
        self.add(&mut topic)?;
        self.subscriptions = self.subscriptions.saturating_add(1);
        Ok(())
    }

    /// Takes a subscription away. Returns whether it was the last one to the topic. Needs no memory.
    ///
    /// # Errors
    ///
    /// [`TrieError::Absent`]. The set is as before.
    pub(crate) fn unsubscribe(&mut self, topic: &[u8]) -> Result<bool, TrieError> {
        let length = bits(topic);
        let mut above = Link::Root;
        let mut link = Link::Root;
        let id = loop {
            let id = self.follow(link);
            let node = self.nodes.get(id).ok_or(TrieError::Absent)?;
            if node.bit >= length {
                break id;
            }
            let side = bit_of(topic, node.bit).ok_or(TrieError::Absent)?;
            above = link;
            link = Link::Child { of: id, side };
        };

        let node = self.nodes.get_mut(id).ok_or(TrieError::Absent)?;
        if node.count == 0 || *node.topic != *topic {
            return Err(TrieError::Absent);
        }
        node.count = node.count.saturating_sub(1);
        self.subscriptions = self.subscriptions.saturating_sub(1);
        if node.count > 0 {
            return Ok(false);
        }

        node.topic = KVec::new();
        match (node.zero, node.one) {
            (NIL, NIL) => {
                self.nodes.remove(id);
                self.point(link, NIL);
                self.join(above, link);
            }
            (child, NIL) | (NIL, child) => {
                self.nodes.remove(id);
                self.point(link, child);
            }
            // INVARIANT: With two children, the node is a branch from now on.
            (_, _) => {}
        }
        Ok(true)
    }

    /// [`Trie::subscribe`] without the count of all. Takes the topic if it is new.
    fn add(&mut self, topic: &mut KVec<u8>) -> Result<(), NoMemory> {
        let length = bits(topic);
        let (common, beyond) = match self.nearest(topic) {
            Some(nearest) => {
                let common = common_bits(topic, nearest);
                (common, bit_of(nearest, common).unwrap_or(false))
            }
            None => (0, false),
        };

        // Down to where the topic belongs: all nodes on the way agree with it.
        let mut link = Link::Root;
        let (below, below_bit) = loop {
            let id = self.follow(link);
            let Some(node) = self.nodes.get(id) else {
                // Nothing there: a leaf.
                let leaf = self.leaf(topic)?;
                self.point(link, leaf);
                return Ok(());
            };
            match bit_of(topic, node.bit) {
                Some(side) if node.bit <= common => link = Link::Child { of: id, side },
                Some(_) | None => break (id, node.bit),
            }
        };

        if below_bit <= common {
            // The topic ends in the bit of this node, and all its bits agree: it is the place.
            let node = self.nodes.get_mut(below).ok_or(NoMemory)?;
            if node.count == 0 {
                node.topic = mem::take(topic);
            }
            node.count = node.count.saturating_add(1);
            return Ok(());
        }

        // `nearest` is below this node, so it goes on after the common bits, with bit `beyond`.
        let leaf = self.leaf(topic)?;
        let upper = if common == length {
            // INVARIANT: All topics below go on with `beyond`.
            if let Some(node) = self.nodes.get_mut(leaf) {
                node.set_child(beyond, below);
            }
            leaf
        } else {
            // INVARIANT: The new topic differs from those below in bit `common`, and in none before.
            let mut branch = Node::new(common);
            branch.set_child(beyond, below);
            branch.set_child(!beyond, leaf);
            match self.nodes.insert(branch) {
                Ok(id) => id,
                Err(_) => {
                    self.nodes.remove(leaf);
                    return Err(NoMemory);
                }
            }
        };
        self.point(link, upper);
        Ok(())
    }

    /// A topic that has as many leading bits in common with `topic` as any.
    ///
    /// The walk passes through every node that agrees with `topic`.
    fn nearest(&self, topic: &[u8]) -> Option<&[u8]> {
        let mut node = self.nodes.get(self.root)?;
        loop {
            // After its end, both sides are equally near.
            let side = bit_of(topic, node.bit).unwrap_or(false);
            match self.nodes.get(node.child(side)) {
                Some(child) => node = child,
                // A branch has both children: this is a topic.
                None => return Some(&node.topic),
            }
        }
    }

    /// A new node for a topic, not linked yet.
    fn leaf(&mut self, topic: &mut KVec<u8>) -> Result<u32, NoMemory> {
        let mut node = Node::new(bits(topic));
        node.topic = mem::take(topic);
        node.count = 1;
        self.nodes.insert(node).map_err(|_| NoMemory)
    }

    /// Replaces the node that `link` belongs to by its other child, if it is a branch: what `link`
    /// led to is gone. `above` leads to the node.
    fn join(&mut self, above: Link, link: Link) {
        let Link::Child { of, side } = link else {
            return;
        };
        let Some(node) = self.nodes.get(of) else {
            return;
        };
        if node.count == 0 {
            let other = node.child(!side);
            self.nodes.remove(of);
            self.point(above, other);
        }
    }

    fn follow(&self, link: Link) -> u32 {
        match link {
            Link::Root => self.root,
            Link::Child { of, side } => match self.nodes.get(of) {
                Some(node) => node.child(side),
                None => NIL,
            },
        }
    }

    fn point(&mut self, link: Link, id: u32) {
        match link {
            Link::Root => self.root = id,
            Link::Child { of, side } => {
                if let Some(node) = self.nodes.get_mut(of) {
                    node.set_child(side, id);
                }
            }
        }
    }
}

impl Node {
    const fn new(bit: usize) -> Self {
        Node {
            topic: KVec::new(),
            count: 0,
            bit,
            zero: NIL,
            one: NIL,
        }
    }

    #[inline]
    fn child(&self, side: bool) -> u32 {
        if side {
            self.one
        } else {
            self.zero
        }
    }

    fn set_child(&mut self, side: bool, id: u32) {
        if side {
            self.one = id;
        } else {
            self.zero = id;
        }
    }
}

impl From<NoMemory> for TrieError {
    fn from(_: NoMemory) -> Self {
        TrieError::NoMemory
    }
}

/// The length in bits. No slice is long enough to saturate it.
fn bits(bytes: &[u8]) -> usize {
    bytes.len().saturating_mul(8)
}

/// Bit number `bit`, unless `bytes` is shorter.
#[inline]
fn bit_of(bytes: &[u8], bit: usize) -> Option<bool> {
    // CAST: Less than 8.
    let mask = 0x80u8.wrapping_shr((bit % 8) as u32);
    bytes.get(bit / 8).map(|byte| byte & mask != 0)
}

/// How many leading bits are equal.
fn common_bits(a: &[u8], b: &[u8]) -> usize {
    let mut common = 0usize;
    for (a, b) in a.iter().zip(b) {
        if a != b {
            // CAST: At most 7, as they differ.
            let equal = (a ^ b).leading_zeros() as usize;
            return common.saturating_add(equal);
        }
        common = common.saturating_add(8);
    }
    common
}
#[cfg(any(test, SP_KUNIT))]
#[cfg_attr(SP_KUNIT, kernel::macros::kunit_tests(sp_trie))]
mod tests {
    use super::*;
    use crate::mem::NO_SLEEP;

    fn copy(topic: &[u8]) -> Result<KVec<u8>, NoMemory> {
        let mut copy = KVec::new();
        copy.extend_from_slice(topic, NO_SLEEP)?;
        Ok(copy)
    }

    impl Trie {
        fn add_copy(&mut self, topic: &[u8]) -> Result<(), TrieError> {
            self.subscribe(copy(topic)?)
        }
    }

    /// The set as it is defined: a list, searched from end to end.
    struct Model(KVec<(KVec<u8>, u32)>);

    impl Model {
        fn subscribe(&mut self, topic: &[u8]) -> Result<(), NoMemory> {
            for (known, count) in self.0.iter_mut() {
                if **known == *topic {
                    *count += 1;
                    return Ok(());
                }
            }
            self.0.push((copy(topic)?, 1), NO_SLEEP)?;
            Ok(())
        }

        fn unsubscribe(&mut self, topic: &[u8]) -> Result<bool, TrieError> {
            for (known, count) in self.0.iter_mut() {
                if **known == *topic {
                    *count -= 1;
                    let last = *count == 0;
                    self.0.retain(|(_, count)| *count > 0);
                    return Ok(last);
                }
            }
            Err(TrieError::Absent)
        }

        fn matches(&self, message: &[u8]) -> bool {
            self.0.iter().any(|(topic, _)| message.starts_with(topic))
        }
    }

    /// Topics, messages that match, messages that don't.
    type Case<'a> = (&'a [&'a [u8]], &'a [&'a [u8]], &'a [&'a [u8]]);

    struct Random(u32);

    impl Random {
        fn below(&mut self, bound: u32) -> u32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 17;
            self.0 ^= self.0 << 5;
            (self.0 >> 4) % bound
        }

        /// Any string that fits, of an alphabet small enough for prefixes and repetitions to be
        /// common.
        fn string<'a>(&mut self, buffer: &'a mut [u8]) -> &'a [u8] {
            let mut len = 0;
            for byte in buffer.iter_mut() {
                *byte = match self.below(4) {
                    0 => 0x00,
                    1 => 0x80,
                    2 => 0x81,
                    _ => 0xff,
                };
                len += usize::from(self.below(5) > 0);
            }
            buffer.get(..len).unwrap_or_default()
        }
    }

    /// How many nodes there are.
    fn nodes(trie: &Trie) -> u32 {
        let mut nodes = 0;
        let mut id = 0;
        while let Some(found) = trie.nodes.next_from(id) {
            nodes += 1;
            id = found + 1;
        }
        nodes
    }

    /// Whether the invariants hold, and no memory is held for nothing.
    fn is_sound(trie: &Trie) -> bool {
        let mut subscriptions = 0;
        let mut topics = 0;
        let mut links = u32::from(trie.root != NIL);
        let mut id = 0;
        while let Some(found) = trie.nodes.next_from(id) {
            let Some(node) = trie.nodes.get(found) else {
                return false;
            };
            subscriptions += node.count;
            topics += u32::from(node.count > 0);
            if node.count > 0 && node.bit != bits(&node.topic) {
                return false;
            }
            if node.count == 0 && (node.zero == NIL || node.one == NIL || !node.topic.is_empty()) {
                return false;
            }
            for side in [false, true] {
                let child = node.child(side);
                if child == NIL {
                    continue;
                }
                links += 1;
                // A topic below stands for all: it has `side` as bit `node.bit`.
                let mut below = child;
                let mut bit = node.bit;
                loop {
                    let Some(next) = trie.nodes.get(below) else {
                        return false;
                    };
                    if next.bit <= bit {
                        return false;
                    }
                    bit = next.bit;
                    if next.count > 0 {
                        if bit_of(&next.topic, node.bit) != Some(side) {
                            return false;
                        }
                        if node.count > 0 && !next.topic.starts_with(&node.topic) {
                            return false;
                        }
                        break;
                    }
                    below = next.zero;
                }
            }
            id = found + 1;
        }
        subscriptions == trie.subscriptions
            && links == nodes(trie)
            && nodes(trie) <= (2 * topics).saturating_sub(1)
    }

    #[test]
    fn empty_message_arrived_matches_nothing() {
        let mut trie = Trie::new();
        assert!(!trie.matches(b""));
        assert!(!trie.matches(b"a"));
        assert_eq!(trie.unsubscribe(b""), Err(TrieError::Absent));
        assert_eq!(trie.unsubscribe(b"a"), Err(TrieError::Absent));
        assert!(is_sound(&trie));
    }

    #[test]
    fn subscribed_message_arrived_matches_prefixes_only() {
        let cases: [Case<'_>; 7] = [
            (&[b""], &[b"", b"a", b"\xff\x00"], &[]),
            (
                &[b"ab"],
                &[b"ab", b"abc"],
                &[b"", b"a", b"xab", b"ac", b"b"],
            ),
            (&[b"", b"q"], &[b"", b"q1", b"x"], &[]),
            (
                &[b"ab", b"abcd"],
                &[b"ab", b"abc", b"abcd", b"abce"],
                &[b"a", b"b"],
            ),
            (
                &[b"ac", b"ab"],
                &[b"ab", b"ac", b"acc"],
                &[b"", b"a", b"ad", b"aa", b"b"],
            ),
            (
                &[b"\x00", b"\x00\x00\x01"],
                &[b"\x00", b"\x00\x00"],
                &[b"", b"\x01"],
            ),
            (
                &[b"\x80", b"\x7f", b"\xff"],
                &[b"\x80a", b"\x7f", b"\xff"],
                &[b"", b"\x00", b"\xfe"],
            ),
        ];
        for (topics, matching, others) in cases {
            let mut trie = Trie::new();
            for topic in topics {
                assert_eq!(trie.add_copy(topic), Ok(()));
                assert!(is_sound(&trie));
            }
            for message in matching {
                assert!(trie.matches(message));
            }
            for message in others {
                assert!(!trie.matches(message));
            }
            for topic in topics {
                assert_eq!(trie.unsubscribe(topic), Ok(true));
                assert!(is_sound(&trie));
            }
            assert_eq!(nodes(&trie), 0);
        }
    }

    #[test]
    fn subscribed_twice_unsubscribed_once_still_matches() {
        let mut trie = Trie::new();
        assert_eq!(trie.add_copy(b"ab"), Ok(()));
        assert_eq!(trie.add_copy(b"ab"), Ok(()));
        assert_eq!(trie.unsubscribe(b"ab"), Ok(false));
        assert!(trie.matches(b"abc"));
        assert_eq!(trie.unsubscribe(b"ab"), Ok(true));
        assert!(!trie.matches(b"abc"));
        assert_eq!(trie.unsubscribe(b"ab"), Err(TrieError::Absent));
    }

    #[test]
    fn subscribed_unsubscribed_from_other_changes_nothing() {
        let mut trie = Trie::new();
        for topic in [b"abcd", b"abce", b"abde"] {
            assert_eq!(trie.add_copy(topic), Ok(()));
        }
        let strangers: [&[u8]; 7] = [b"", b"a", b"ab", b"abc", b"abcde", b"abcf", b"x"];
        for topic in strangers {
            assert_eq!(trie.unsubscribe(topic), Err(TrieError::Absent));
        }
        assert!(is_sound(&trie));
        assert_eq!(trie.subscriptions, 3);
    }

    #[test]
    fn full_subscribed_is_refused() {
        let mut trie = Trie::new();
        assert_eq!(trie.add_copy(b"b"), Ok(()));
        assert_eq!(trie.add_copy(b"a"), Ok(()));
        // As if that had been subscribed to as often as can be, but once.
        let mut from = 0;
        while let Some(id) = trie.nodes.next_from(from) {
            if let Some(node) = trie
                .nodes
                .get_mut(id)
                .filter(|node| &node.topic[..] == b"a")
            {
                node.count = MAX_SUBSCRIPTIONS - 2;
            }
            from = id + 1;
        }
        trie.subscriptions = MAX_SUBSCRIPTIONS - 1;
        assert_eq!(trie.add_copy(b"a"), Ok(()));
        assert_eq!(trie.add_copy(b"a"), Err(TrieError::Full));
        assert_eq!(trie.add_copy(b"c"), Err(TrieError::Full));
        assert!(is_sound(&trie));
        assert_eq!(trie.unsubscribe(b"b"), Ok(true));
        assert_eq!(trie.add_copy(b"c"), Ok(()));
        assert_eq!(trie.add_copy(b"c"), Err(TrieError::Full));
    }

    #[test]
    fn chain_of_prefixes_subscribed_matches_at_its_shortest() -> Result<(), NoMemory> {
        const LENGTH: usize = 100;
        let mut text = KVec::new();
        for byte in 0..LENGTH {
            text.push(byte as u8, NO_SLEEP)?;
        }
        let mut trie = Trie::new();
        // From the middle out, so that topics arrive above and below those present.
        for length in (50..=LENGTH).chain(0..50) {
            assert_eq!(
                trie.add_copy(text.get(..length).unwrap_or_default()),
                Ok(())
            );
        }
        assert!(is_sound(&trie));
        for length in 0..LENGTH {
            let topic = text.get(..length).unwrap_or_default();
            assert!(trie.matches(topic));
            assert_eq!(trie.unsubscribe(topic), Ok(true));
            assert!(!trie.matches(topic));
            assert!(trie.matches(&text));
        }
        assert!(is_sound(&trie));
        assert_eq!(nodes(&trie), 1);
        Ok(())
    }

    #[test]
    fn many_subscribed_each_matches_until_unsubscribed() {
        const TOPICS: u32 = 150;
        // Odd, so that the products differ.
        let topic = |number: u32| number.wrapping_mul(0x9e37_79b1).to_be_bytes();
        let mut trie = Trie::new();
        for number in 0..TOPICS {
            assert_eq!(trie.add_copy(&topic(number)), Ok(()));
        }
        assert!(is_sound(&trie));
        for number in 0..TOPICS {
            assert!(trie.matches(&topic(number)));
            assert!(!trie.matches(&topic(TOPICS + number)));
        }
        for number in 0..TOPICS {
            assert_eq!(trie.unsubscribe(&topic(number)), Ok(true));
            assert!(!trie.matches(&topic(number)));
        }
        assert_eq!(nodes(&trie), 0);
        assert_eq!(trie.root, NIL);
    }

    #[test]
    fn any_state_random_calls_agree_with_a_model() -> Result<(), NoMemory> {
        let mut trie = Trie::new();
        let mut model = Model(KVec::new());
        let mut random = Random(0x1234_5678);
        for step in 0..500u32 {
            let mut buffer = [0; 3];
            let topic = random.string(&mut buffer);
            // Waves: mostly subscriptions, then mostly the reverse.
            let growing = if step / 100 % 2 == 0 { 5 } else { 2 };
            if random.below(8) < growing {
                assert_eq!(trie.add_copy(topic), Ok(model.subscribe(topic)?));
            } else {
                assert_eq!(trie.unsubscribe(topic), model.unsubscribe(topic));
            }
            let mut buffer = [0; 4];
            let message = random.string(&mut buffer);
            assert_eq!(trie.matches(message), model.matches(message));
            if step % 100 == 0 {
                assert!(is_sound(&trie));
            }
        }
        while let Some((topic, _)) = model.0.first() {
            let topic = copy(topic)?;
            assert_eq!(trie.unsubscribe(&topic), model.unsubscribe(&topic));
        }
        assert!(is_sound(&trie));
        assert_eq!(nodes(&trie), 0);
        Ok(())
    }
}
