//! Longest prefix match for both address families: a persistent multi-bit trie, eight bits a level.
//!
//! A node covers 256 values of one octet as *runs*: a bitmap marks where a run starts, and one slot is kept per run.
//! A slot holds the best route of the lengths that end in this node (`leaf`) and the node below, if a longer route
//! lies inside (`child`; its run is one value wide). A lookup walks down at most 4 (or 16) nodes and remembers the
//! last leaf it saw: no backtracking, no second look. A route changes exactly the one node its length ends in, however
//! many longer routes lie below: the default route of a table of a million costs one node.
//!
//! Invariants: bit 0 of a bitmap is set; there are as many slots as bits; neighbouring runs differ, or one of them
//! has a child; a child holds at least one leaf or child (an emptied one is cut off), so a child exists exactly where
//! a route longer than its position does. The last is what [`Leaves`] relies on.
//!
//! Persistence: nodes are behind `Arc`. A change copies the nodes of its path that a snapshot shares and alters the
//! others in place; a batch that starts from nothing copies nothing.
//!
//! Cost: 72 bytes a node and 24 a run, no more: an empty table is 96 bytes.
//!
//! Rejected: leaves pushed down into children (a short route then rewrites the whole table below it), DIR-24-8 (64 MiB
//! a table), slots as 256 plain words (2 KiB for one host route, and per level), an array of results beside the trie
//! (one more dependent load; a packed result is not larger than what would name it).

use std::marker::PhantomData;
use std::num::NonZeroU8;
use std::sync::Arc;

use arrayvec::ArrayVec;
use wire::{Address, Prefix};

use crate::{BridgeSlot, IdentityId, NhId, RouteFlags, RouteHit, limits};

/// A route's result, packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// The next hop in the lower 20 bits; above them the lower 12 of the identity.
    nh: u32,
    label: [u8; 3],
    /// The station in the lower 19 bits; above them 5 bits of the identity.
    bridge: [u8; 3],
    /// The flags in the lower 5 bits; above them the last 3 of the identity.
    flags: u8,
    /// The route's length plus one, so that `Option<Leaf>` is not larger.
    length: NonZeroU8,
}

const _: () = assert!(size_of::<Option<Leaf>>() == 12);
const NO_BRIDGE: u32 = 0x0007_ffff;
const NO_IDENTITY: u32 = 0x000f_ffff;
const NH: u32 = 0x000f_ffff;
const FLAGS: u8 = 0x1f;

const _: () = assert!(limits::NEXT_HOPS <= NH as usize + 1);
const _: () = assert!(BridgeSlot::LIMIT <= NO_BRIDGE);
const _: () = assert!(limits::IDENTITIES <= NO_IDENTITY as usize);

impl Leaf {
    /// Packs a result. The label's presence travels in `LABEL_VALID`, so all 24-bit values are labels.
    pub(crate) fn new(hit: &RouteHit, identity: Option<IdentityId>) -> Leaf {
        let flags = match hit.label {
            Some(_) => hit.flags.with(RouteFlags::LABEL_VALID),
            None => hit.flags.without(RouteFlags::LABEL_VALID),
        };
        let identity = identity.map_or(NO_IDENTITY, |id| id.0 & NO_IDENTITY);
        let bridge = hit.bridge.map_or(NO_BRIDGE, BridgeSlot::index);
        let [high, ..] = (identity << 7).to_be_bytes();
        let high = high & 7;
        Leaf {
            nh: hit.nh.0 & NH | identity << 20,
            label: pack(hit.label.unwrap_or(0)),
            bridge: pack(bridge | (identity >> 12 & 0x1f) << 19),
            flags: flags.0 & FLAGS | high << 5,
            length: NonZeroU8::MIN.saturating_add(hit.prefix_len),
        }
    }

    #[inline]
    fn length(self) -> u8 {
        self.length.get() - 1
    }

    #[inline]
    fn unpack(self) -> RouteHit {
        let flags = RouteFlags(self.flags & FLAGS);
        RouteHit {
            nh: NhId(self.nh & NH),
            label: flags.contains(RouteFlags::LABEL_VALID).then(|| unpack(self.label)),
            bridge: BridgeSlot::new(unpack(self.bridge) & NO_BRIDGE),
            flags,
            prefix_len: self.length(),
        }
    }
}

impl Leaf {
    fn identity(self) -> Option<IdentityId> {
        let middle = unpack(self.bridge) >> 19;
        let identity = self.nh >> 20 | middle << 12 | u32::from(self.flags >> 5) << 17;
        (identity != NO_IDENTITY).then_some(IdentityId(identity))
    }
}

fn pack(value: u32) -> [u8; 3] {
    let [_, a, b, c] = value.to_be_bytes();
    [a, b, c]
}

#[inline]
fn unpack([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

#[inline]
fn hit(leaf: Option<Leaf>) -> RouteHit {
    leaf.map_or(RouteHit::MISS, Leaf::unpack)
}

#[derive(Clone, Debug, Default)]
struct Slot {
    leaf: Option<Leaf>,
    child: Option<Arc<Node>>,
}

const _: () = assert!(size_of::<Slot>() == 24);

impl Slot {
    fn is_empty(&self) -> bool {
        self.leaf.is_none() && self.child.is_none()
    }

    fn joins(&self, next: &Slot) -> bool {
        self.child.is_none() && next.child.is_none() && self.leaf == next.leaf
    }
}

#[derive(Clone, Debug)]
struct Node {
    starts: [u64; 4],
    /// Bits in the words before each word of `starts`.
    before: [u8; 4],
    slots: Box<[Slot]>,
}

const _: () = assert!(size_of::<Node>() == 56);

impl Default for Node {
    fn default() -> Self {
        Node { starts: [1, 0, 0, 0], before: [0, 1, 1, 1], slots: Box::new([Slot::default()]) }
    }
}

impl Node {
    /// Index of the run that holds `octet`.
    #[inline]
    fn run(&self, octet: u8) -> usize {
        let word = usize::from(octet >> 6);
        let upto = self.starts[word] & (u64::MAX >> (63 - (octet & 63)));
        usize::from(self.before[word]) + upto.count_ones() as usize - 1
    }

    #[inline]
    fn slot(&self, octet: u8) -> &Slot {
        &self.slots[self.run(octet)]
    }

    fn is_empty(&self) -> bool {
        matches!(&*self.slots, [only] if only.is_empty())
    }

    /// Calls `change` on the slots of exactly `lo..=hi`, then joins what became equal.
    fn edit(&mut self, lo: u8, hi: u8, mut change: impl FnMut(&mut Slot)) {
        let mut slots = Vec::from(std::mem::take(&mut self.slots));
        slots.reserve_exact(2);
        self.split(&mut slots, lo);
        if let Some(next) = hi.checked_add(1) {
            self.split(&mut slots, next);
        }
        let (first, last) = (self.run(lo), self.run(hi));
        slots[first..=last].iter_mut().for_each(&mut change);
        self.join(&mut slots, lo, hi);
        self.slots = slots.into_boxed_slice();
    }

    fn split(&mut self, slots: &mut Vec<Slot>, at: u8) {
        if !self.is_start(at) {
            let run = self.run(at);
            slots.insert(run + 1, slots[run].clone());
            self.set_start(at);
        }
    }

    /// Joins equal neighbours from the border at `lo` to the border after `hi`.
    fn join(&mut self, slots: &mut Vec<Slot>, lo: u8, hi: u8) {
        for at in (lo.max(1)..=hi.saturating_add(1)).rev() {
            if self.is_start(at) {
                let run = self.run(at);
                if slots[run - 1].joins(&slots[run]) {
                    slots.remove(run);
                    self.clear_start(at);
                }
            }
        }
    }

    fn is_start(&self, at: u8) -> bool {
        self.starts[usize::from(at >> 6)] >> (at & 63) & 1 != 0
    }

    fn set_start(&mut self, at: u8) {
        self.starts[usize::from(at >> 6)] |= 1 << (at & 63);
        self.before[usize::from(at >> 6) + 1..].iter_mut().for_each(|before| *before += 1);
    }

    fn clear_start(&mut self, at: u8) {
        self.starts[usize::from(at >> 6)] &= !(1 << (at & 63));
        self.before[usize::from(at >> 6) + 1..].iter_mut().for_each(|before| *before -= 1);
    }
}

/// The routes of one VRF and family. Clones share everything.
#[derive(Debug)]
pub struct Lpm<A> {
    root: Arc<Node>,
    family: PhantomData<A>,
}

impl<A> Clone for Lpm<A> {
    fn clone(&self) -> Self {
        Lpm { root: Arc::clone(&self.root), family: PhantomData }
    }
}

impl<A> Default for Lpm<A> {
    fn default() -> Self {
        Lpm { root: Arc::default(), family: PhantomData }
    }
}

/// The level whose nodes hold routes of this length.
fn level(length: u8) -> usize {
    usize::from(length.saturating_sub(1) / 8)
}

/// The values of the octet at its level that a prefix covers.
fn span<A: Address>(prefix: &Prefix<A>) -> (u8, u8) {
    let level = level(prefix.length());
    let lo = prefix.address().octet(level);
    // Bits of this octet: 0 for the default route, else 1 to 8.
    let used = match prefix.length() {
        0 => 0,
        length => u32::from((length - 1) % 8 + 1),
    };
    (lo, lo | 0xffu8.checked_shr(used).unwrap_or(0))
}

/// The lengths a covering route may have to be found in the same node as a route of this length.
pub(crate) fn lengths_beside(length: u8) -> std::ops::Range<u8> {
    let level = length.saturating_sub(1) / 8;
    if level == 0 { 0..length } else { level * 8 + 1..length }
}

impl<A: Address> Lpm<A> {
    const LEVELS: usize = A::BITS as usize / 8;

    /// Longest match.
    #[inline]
    pub(crate) fn lookup(&self, address: A) -> RouteHit {
        hit(self.find(address))
    }

    /// The identity of the longest match.
    pub(crate) fn identity(&self, address: A) -> Option<IdentityId> {
        self.find(address)?.identity()
    }

    #[inline]
    fn find(&self, address: A) -> Option<Leaf> {
        let mut node = &*self.root;
        let mut best = None;
        for level in 0..Self::LEVELS {
            let slot = node.slot(address.octet(level));
            best = slot.leaf.or(best);
            match &slot.child {
                Some(child) => node = child,
                None => break,
            }
        }
        best
    }

    /// Creates or replaces a route; `leaf` carries the prefix's length.
    pub(crate) fn put(&mut self, prefix: &Prefix<A>, leaf: Leaf) {
        debug_assert_eq!(leaf.length(), prefix.length());
        let mut node = &mut self.root;
        for level in 0..level(prefix.length()) {
            let octet = prefix.address().octet(level);
            let here = Arc::make_mut(node);
            if here.slot(octet).child.is_none() {
                here.edit(octet, octet, |slot| slot.child = Some(Arc::default()));
            }
            let run = here.run(octet);
            node = here.slots[run].child.get_or_insert_default();
        }
        let (lo, hi) = span(prefix);
        Arc::make_mut(node).edit(lo, hi, |slot| {
            if slot.leaf.is_none_or(|old| old.length() <= leaf.length()) {
                slot.leaf = Some(leaf);
            }
        });
    }

    /// Removes a route. `cover` is the longest route that covers it of the lengths [`lengths_beside`] names.
    pub(crate) fn delete(&mut self, prefix: &Prefix<A>, cover: Option<Leaf>) {
        Self::delete_below(&mut self.root, 0, prefix, cover);
    }

    fn delete_below(node: &mut Arc<Node>, at: usize, prefix: &Prefix<A>, cover: Option<Leaf>) {
        if at == level(prefix.length()) {
            let (lo, hi) = span(prefix);
            Arc::make_mut(node).edit(lo, hi, |slot| {
                if slot.leaf.is_some_and(|old| old.length() == prefix.length()) {
                    slot.leaf = cover;
                }
            });
            return;
        }
        let octet = prefix.address().octet(at);
        if node.slot(octet).child.is_none() {
            return;
        }
        let here = Arc::make_mut(node);
        let run = here.run(octet);
        if let Some(child) = &mut here.slots[run].child {
            Self::delete_below(child, at + 1, prefix, cover);
            if child.is_empty() {
                here.edit(octet, octet, |slot| slot.child = None);
            }
        }
    }

    /// The rows a dump prints, from the first or after the given one.
    pub(crate) fn leaves(&self, after: Option<Prefix<A>>) -> Leaves<'_, A> {
        Leaves::new(&self.root, after)
    }

    /// Bytes held, as allocated (not what sharing with snapshots saves).
    pub(crate) fn bytes(&self) -> usize {
        fn below(node: &Node) -> usize {
            let children = node.slots.iter().filter_map(|slot| slot.child.as_deref());
            16 + size_of::<Node>() + size_of_val(&*node.slots) + children.map(below).sum::<usize>()
        }
        below(&self.root)
    }
}

/// How many lookups [`burst`] keeps in flight.
pub(crate) const BURST: usize = 64;

/// One lookup of a burst: where it stands.
struct Walk<'a, A> {
    address: A,
    node: Option<&'a Node>,
    slot: Option<&'a Slot>,
    best: Option<&'a Leaf>,
}

impl<'a, A: Address> Walk<'a, A> {
    fn new(address: A, node: Option<&'a Node>, best: Option<&'a Leaf>) -> Self {
        Walk { address, node, slot: None, best }
    }

    /// Whether the other goes the first half of the levels as this one, which has not begun, will.
    #[inline]
    fn begins_as(&self, table: Option<&Lpm<A>>, address: A) -> bool {
        self.node.map(std::ptr::from_ref) == table.map(|table| Arc::as_ptr(&table.root))
            && first_half(self.address) == first_half(address)
    }
}

#[inline]
fn first_half<A: Address>(address: A) -> u128 {
    address.to_bits128() >> (A::BITS / 2)
}

/// Goes down these levels.
#[inline]
fn descend<A: Address>(walks: &mut [Walk<'_, A>], levels: std::ops::Range<usize>) {
    for level in levels {
        let mut going = false;
        for walk in walks.iter_mut() {
            walk.slot = walk.node.map(|node| node.slot(walk.address.octet(level)));
            if let Some(slot) = walk.slot {
                sys::prefetch::prefetch_read(slot);
            }
        }
        for walk in walks.iter_mut() {
            let Some(slot) = walk.slot else { continue };
            walk.best = slot.leaf.as_ref().or(walk.best);
            walk.node = slot.child.as_deref();
            if let Some(node) = walk.node {
                // It may lie in two lines.
                sys::prefetch::prefetch_read(&node.starts);
                sys::prefetch::prefetch_read(&node.slots);
                going = true;
            }
        }
        if !going {
            break;
        }
    }
}

/// How many first halves a burst remembers: a power of two.
const HALVES: usize = 16;

/// Looks up to [`BURST`] addresses up together, so that the loads of one hide behind those of the others, and calls
/// `each` with the answers in their order. Those of one table with the same first half go it once: a VRF's addresses
/// mostly begin alike.
#[inline]
pub(crate) fn burst<'a, A: Address>(
    keys: impl Iterator<Item = (Option<&'a Lpm<A>>, A)>,
    mut each: impl FnMut(RouteHit),
) {
    let mut heads = ArrayVec::<Walk<'a, A>, BURST>::new();
    let mut tails = ArrayVec::<(A, u8), BURST>::new();
    // By the last bits of a first half, the head that had them last.
    let mut recent = [0u8; HALVES];
    #[expect(clippy::cast_possible_truncation, reason = "the last bits, and a place in a burst")]
    for (table, address) in keys.take(BURST) {
        let recent = &mut recent[first_half(address) as usize % HALVES];
        if !heads.get(usize::from(*recent)).is_some_and(|head| head.begins_as(table, address)) {
            *recent = heads.len() as u8;
            heads.push(Walk::new(address, table.map(|table| &*table.root), None));
        }
        tails.push((address, *recent));
    }
    let levels = usize::from(A::BITS / 8);
    descend(&mut heads, 0..levels / 2);
    let follow = |(address, head): (A, u8)| {
        let head = heads.get(usize::from(head));
        Walk::new(address, head.and_then(|head| head.node), head.and_then(|head| head.best))
    };
    let mut walks: ArrayVec<Walk<'a, A>, BURST> = tails.into_iter().map(follow).collect();
    descend(&mut walks, levels / 2..levels);
    walks.iter().for_each(|walk| each(hit(walk.best.copied())));
}

/// The rows of a dump (reference cli.md section 4.4): where a longer route lies inside a position, its 256 children;
/// else the position with the longest route covering it.
pub(crate) struct Leaves<'a, A> {
    path: Vec<Step<'a>>,
    /// The single row of a table with nothing longer than the default route.
    whole: Option<RouteHit>,
    family: PhantomData<A>,
}

struct Step<'a> {
    node: &'a Node,
    /// Next octet to visit; 256 when done.
    next: u16,
    /// Bits above this level.
    bits: u128,
    best: Option<Leaf>,
}

impl<'a, A: Address> Leaves<'a, A> {
    fn new(root: &'a Node, after: Option<Prefix<A>>) -> Self {
        let mut leaves = Leaves { path: Vec::new(), whole: None, family: PhantomData };
        let deep =
            |slot: &Slot| slot.child.is_some() || slot.leaf.is_some_and(|leaf| leaf.length() > 0);
        if !root.slots.iter().any(deep) {
            leaves.whole = after.is_none().then(|| hit(root.slot(0).leaf));
            return leaves;
        }
        leaves.path.push(Step { node: root, next: 0, bits: 0, best: None });
        if let Some(after) = after {
            leaves.resume(&after);
        }
        leaves
    }

    /// Walks down to `after` and steps past it, or past what is there now.
    fn resume(&mut self, after: &Prefix<A>) {
        if after.length() == 0 {
            self.path.clear();
        }
        for level in 0..usize::from(after.length() / 8) {
            let Some(step) = self.path.get_mut(level) else { return };
            step.next = u16::from(after.address().octet(level));
            if level + 1 < usize::from(after.length() / 8) {
                let _ = self.visit();
            } else {
                step.next += 1;
            }
        }
    }

    /// Takes the next position of the deepest step: pushes its child, or returns its row.
    fn visit(&mut self) -> Option<(Prefix<A>, RouteHit)> {
        let depth = self.path.len();
        let step = self.path.last_mut()?;
        let octet = u8::try_from(step.next).ok()?;
        step.next += 1;
        let slot = step.node.slot(octet);
        let best = slot.leaf.or(step.best);
        let bits = step.bits << 8 | u128::from(octet);
        if let Some(child) = &slot.child {
            self.path.push(Step { node: child, next: 0, bits, best });
            return None;
        }
        let length = u8::try_from(8 * depth).unwrap_or(A::BITS);
        let address = A::from_bits128(bits << (A::BITS - length));
        Prefix::new(address, length).ok().map(|prefix| (prefix, hit(best)))
    }
}

impl<A: Address> Iterator for Leaves<'_, A> {
    type Item = (Prefix<A>, RouteHit);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(row) = self.whole.take() {
            return Prefix::new(A::from_bits128(0), 0).ok().map(|all| (all, row));
        }
        loop {
            if self.path.last()?.next > 255 {
                self.path.pop();
            } else if let Some(row) = self.visit() {
                return Some(row);
            }
        }
    }
}

#[cfg(test)]
mod tests;
