//! The words of a flow: two lines of its session's slot.
//!
//! | word of a flow | from the lowest bit | written by |
//! |---|---|---|
//! | 0, 1 | destination and source port, scope; addresses of IPv4 or a digest | who fills the slot |
//! | 2 state | protocol 8, family 8, flags 16, owner 8, ECMP position 8, generation 8, 8 unused | or, and, exchange: anybody |
//! | 3 target | label 32 (all ones: none), next hop 32 | owner |
//! | 4 stamp | origin 32 (outer source, or interface), stamp of the tables 32 | owner |
//! | 5, 6 | packets, bytes | owner |
//! | 7 seen | time of the last packet 32, first local end 16, last local end 16 | owner; ends who fills |
//! | 8 to 11 | addresses of IPv6 | who fills the slot |
//! | 12 | TCP: last acknowledgement 32, sequence number 32 | owner |
//! | 13 | TCP flags 16 | or: anybody |
//! | 14 detail | stamp of policy 32, stamp of routes 32 | owner |
//! | 15 | next hop of the source 20, identities of the first direction's ends 20 and 20 (all ones: none) | owner |

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::key::{FlowAddresses, FlowKey, Packed, wide};
use super::slab::FLOW;
use super::words::AtomicU64;
use crate::object::flags;
use crate::{IdentityId, NhId, VifId};

flags!(
/// What a flow's state says beside its key.
FlowFlags(u16) {
    /// The slot is in use.
    ALIVE = 0x1;
    /// Its packets are dropped.
    DENIED = 0x2;
    /// Its packets are translated.
    NAT = 0x4;
    /// An agent has to decide: its packets wait.
    HELD = 0x8;
    /// The session has ended.
    DEAD = 0x10;
    /// Its packets need more than to be counted and forwarded: forced TTLs.
    SPECIAL = 0x20;
    /// TCP whose state is followed.
    TCP = 0x40;
    /// The target is a routed packet's.
    ROUTED = 0x80;
    /// An agent is told about it when it is met the first time.
    NEW = 0x100;
    /// Its packets are copied to the session's mirrors.
    MIRRORED = 0x200;
    /// Its key is coarser than those of its packets, each of which is judged for itself.
    FAT = 0x400;
});

flags!(
/// What TCP segments of a flow have shown (reference dataplane.md section 14.8). `_REVERSE`: the other direction's.
TcpFlags(u16) {
    /// FIN was sent.
    FIN = 0x1;
    /// And acknowledged.
    HALF_CLOSE = 0x2;
    /// The other direction's FIN.
    FIN_REVERSE = 0x4;
    /// SYN was sent.
    SYN = 0x8;
    /// The other direction's SYN.
    SYN_REVERSE = 0x10;
    /// Established.
    ESTABLISHED = 0x20;
    /// The other direction, too.
    ESTABLISHED_REVERSE = 0x40;
    /// Reset.
    RST = 0x80;
    /// Closed or reset.
    DEAD = 0x8000;
});

pub(crate) const STATE: usize = 2;
const TARGET: usize = 3;
const STAMP: usize = 4;
const PACKETS: usize = 5;
const BYTES: usize = 6;
const SEEN: usize = 7;
const WIDE: usize = 8;
const TCP: usize = 12;
const TCP_STATE: usize = 13;
const DETAIL: usize = 14;
const SOURCE: usize = 15;
/// Next hops and identities fit.
const BITS20: u64 = (1 << 20) - 1;

const KIND: u64 = 0xffff;
const FLAGS: u32 = 16;
const OWNER: u32 = 32;
const ECMP: u32 = 40;
const GENERATION: u32 = 48;
const NO_LABEL: u32 = u32::MAX;
const NOBODY: u8 = u8::MAX;
const NO_MEMBER: u8 = u8::MAX;
const NO_VIF: u16 = u16::MAX;

/// The words of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Flow<'s> {
    words: &'s [AtomicU64; FLOW],
}

/// A flow's state as one load found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(u64);

impl State {
    /// Of no flow.
    pub const NONE: State = State(0);

    /// The flags.
    #[inline]
    pub const fn flags(self) -> FlowFlags {
        FlowFlags(short(self.0, FLAGS))
    }

    /// Protocol.
    pub const fn protocol(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// Who owns it.
    pub const fn owner(self) -> Option<u8> {
        match byte(self.0, OWNER) {
            NOBODY => None,
            owner => Some(owner),
        }
    }

    /// The position of its member in an ECMP group.
    #[inline]
    pub const fn ecmp(self) -> Option<u8> {
        match byte(self.0, ECMP) {
            NO_MEMBER => None,
            position => Some(position),
        }
    }

    /// Counts uses of the slot.
    pub const fn generation(self) -> u8 {
        byte(self.0, GENERATION)
    }
}

/// The byte that begins at a bit.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the byte is what is wanted")]
pub(super) const fn byte(word: u64, at: u32) -> u8 {
    (word >> at) as u8
}

/// The two bytes that begin at a bit.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the bytes are what is wanted")]
pub(super) const fn short(word: u64, at: u32) -> u16 {
    (word >> at) as u16
}

#[inline]
pub(super) const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
pub(super) const fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

impl<'s> Flow<'s> {
    #[inline]
    pub(crate) fn new(words: &'s [AtomicU64; FLOW]) -> Flow<'s> {
        Flow { words }
    }

    #[inline]
    fn load(&self, word: usize) -> u64 {
        self.words.get(word).map_or(0, |word| word.load(Relaxed))
    }

    /// The word that is written last where a flow is made: what is read behind it is that flow's, or a later one's.
    #[inline]
    fn state_word(&self) -> u64 {
        self.words.get(STATE).map_or(0, |word| word.load(Acquire))
    }

    #[inline]
    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.words.get(word) {
            word.store(value, Relaxed);
        }
    }

    /// Asks for the line every packet needs.
    #[inline]
    pub fn prefetch(&self) {
        if let Some(word) = self.words.first() {
            sys::prefetch::prefetch_read(word);
        }
    }

    /// Asks for the line that TCP and IPv6 need.
    #[inline]
    pub fn prefetch_more(&self) {
        if let Some(word) = self.words.get(WIDE) {
            sys::prefetch::prefetch_read(word);
        }
    }

    /// Whether it is a living flow of this key.
    #[inline]
    pub fn is(&self, key: &Packed) -> bool {
        let state = self.state_word();
        self.load(0) == key.scoped
            && self.load(1) == key.addresses
            && state & (KIND | (FlowFlags::ALIVE.0 as u64) << FLAGS)
                == key.kind | (FlowFlags::ALIVE.0 as u64) << FLAGS
            && (!key.is_ipv6() || self.is_wide(key.wide))
    }

    /// Its state if it is a living flow of this key.
    #[inline]
    pub fn state_of(&self, key: &FlowKey) -> Option<State> {
        let state = self.state_word();
        let ends = match key.addresses {
            FlowAddresses::V4 { source, destination } => {
                self.load(1) == pair(source.to_bits(), destination.to_bits())
            }
            FlowAddresses::V6 { source, destination } => self.is_wide(wide(source, destination)),
        };
        let is = ends
            && self.load(0) == key.scoped()
            && state & (KIND | (FlowFlags::ALIVE.0 as u64) << FLAGS)
                == key.kind() | (FlowFlags::ALIVE.0 as u64) << FLAGS;
        is.then_some(State(state))
    }

    #[inline(never)]
    fn is_wide(&self, key: [u64; 4]) -> bool {
        (WIDE..).zip(key).all(|(word, half)| self.load(word) == half)
    }

    /// Its key.
    pub fn key(&self) -> FlowKey {
        let (scope, ports) = halves(self.load(0));
        let state = self.state_word();
        let addresses = if state & 0xff00 == Packed::IPV6 {
            let wide = |at: usize| {
                Ipv6Addr::from_bits(u128::from(self.load(at)) << 64 | u128::from(self.load(at + 1)))
            };
            FlowAddresses::V6 { source: wide(WIDE), destination: wide(WIDE + 2) }
        } else {
            let (source, destination) = halves(self.load(1));
            FlowAddresses::V4 {
                source: Ipv4Addr::from_bits(source),
                destination: Ipv4Addr::from_bits(destination),
            }
        };
        FlowKey { scope: NhId(scope), protocol: (state & 0xff) as u8, ports, addresses }
    }

    /// Its state.
    #[inline]
    pub fn state(&self) -> State {
        State(self.state_word())
    }

    /// Sets flags, from any worker.
    pub fn set(&self, flags: FlowFlags) {
        if let Some(word) = self.words.get(STATE) {
            word.fetch_or(u64::from(flags.0) << FLAGS, AcqRel);
        }
    }

    /// Clears flags, from any worker.
    pub fn clear(&self, flags: FlowFlags) {
        if let Some(word) = self.words.get(STATE) {
            word.fetch_and(!(u64::from(flags.0) << FLAGS), AcqRel);
        }
    }

    /// Sets flags; whether none of them was set before.
    pub(crate) fn gain(&self, flags: FlowFlags) -> bool {
        let bits = u64::from(flags.0) << FLAGS;
        self.words.get(STATE).is_some_and(|word| word.fetch_or(bits, AcqRel) & bits == 0)
    }

    /// Clears flags; whether one of them was set before.
    pub(crate) fn lose(&self, flags: FlowFlags) -> bool {
        let bits = u64::from(flags.0) << FLAGS;
        self.words.get(STATE).is_some_and(|word| word.fetch_and(!bits, AcqRel) & bits != 0)
    }

    /// Sets or clears flags.
    pub fn assign(&self, flags: FlowFlags, value: bool) {
        if value { self.set(flags) } else { self.clear(flags) }
    }

    fn exchange(&self, at: u32, value: u8, if_is: Option<u8>) -> Result<(), u8> {
        let Some(word) = self.words.get(STATE) else { return Ok(()) };
        let swapped = word.fetch_update(AcqRel, Acquire, |state| {
            let found = byte(state, at);
            let may = if_is.is_none_or(|wanted| wanted == found);
            may.then_some(state & !(0xff << at) | u64::from(value) << at)
        });
        swapped.map(|_| ()).map_err(|state| byte(state, at))
    }

    /// Makes a worker the owner if nobody is.
    ///
    /// # Errors
    /// Who is.
    pub(crate) fn own(&self, worker: u8) -> Result<(), u8> {
        self.exchange(OWNER, worker, Some(NOBODY))
    }

    /// Passes it on from one owner to another; `None` is nobody.
    pub(crate) fn disown(&self, worker: u8, to: Option<u8>) -> bool {
        self.exchange(OWNER, to.unwrap_or(NOBODY), Some(worker)).is_ok()
    }

    /// Remembers the member of an ECMP group.
    pub fn set_ecmp(&self, position: Option<u8>) {
        // Nothing to fail: any value is replaced.
        let _ = self.exchange(ECMP, position.unwrap_or(NO_MEMBER), None);
    }

    /// Where a routed packet goes.
    #[inline]
    pub fn target(&self) -> (NhId, Option<u32>) {
        let (next_hop, label) = halves(self.load(TARGET));
        (NhId(next_hop), (label != NO_LABEL).then_some(label))
    }

    /// Remembers it.
    pub fn set_target(&self, next_hop: NhId, label: Option<u32>) {
        self.store(TARGET, pair(next_hop.0, label.unwrap_or(NO_LABEL)));
    }

    /// The stamp of the tables it was judged by, and where its packets come from.
    #[inline]
    pub fn stamp(&self) -> (u32, u32) {
        halves(self.load(STAMP))
    }

    /// Remembers both.
    pub fn set_stamp(&self, stamp: u32, origin: u32) {
        self.store(STAMP, pair(stamp, origin));
    }

    /// The stamps of routes and of policy that make up its stamp.
    pub fn detail(&self) -> (u32, u32) {
        halves(self.load(DETAIL))
    }

    /// Remembers them.
    pub fn set_detail(&self, routes: u32, policy: u32) {
        self.store(DETAIL, pair(routes, policy));
    }

    /// The next hop of the route to its packets' source.
    pub fn source(&self) -> NhId {
        NhId((self.load(SOURCE) & BITS20) as u32)
    }

    /// What the ends of the session's first direction were to policy when it was judged.
    pub fn identities(&self) -> (Option<IdentityId>, Option<IdentityId>) {
        let word = self.load(SOURCE);
        let identity = |at: u32| {
            let id = word >> at & BITS20;
            (id != BITS20).then_some(IdentityId(id as u32))
        };
        (identity(20), identity(40))
    }

    /// Remembers all three.
    pub fn set_source(
        &self,
        next_hop: NhId,
        (source, destination): (Option<IdentityId>, Option<IdentityId>),
    ) {
        let identity = |id: Option<IdentityId>| id.map_or(BITS20, |id| u64::from(id.0) & BITS20);
        let next_hop = u64::from(next_hop.0) & BITS20;
        self.store(SOURCE, next_hop | identity(source) << 20 | identity(destination) << 40);
    }

    /// Counts a packet, met at `now` (milliseconds). For its owner.
    #[inline]
    pub fn count(&self, bytes: u64, now: u32) {
        self.store(PACKETS, self.load(PACKETS).wrapping_add(1));
        self.store(BYTES, self.load(BYTES).wrapping_add(bytes));
        self.touch(now);
    }

    /// The same, for anybody.
    pub fn count_shared(&self, bytes: u64, now: u32) {
        for (word, more) in [(PACKETS, 1), (BYTES, bytes)] {
            if let Some(word) = self.words.get(word) {
                word.fetch_add(more, Relaxed);
            }
        }
        self.touch(now);
    }

    /// Notes that a packet came at `now` (milliseconds), without counting it. For its owner.
    #[inline]
    pub fn touch(&self, now: u32) {
        self.store(SEEN, self.load(SEEN) & 0xffff_ffff_0000_0000 | u64::from(now));
    }

    /// Packets and bytes.
    pub fn counts(&self) -> (u64, u64) {
        (self.load(PACKETS), self.load(BYTES))
    }

    /// When its last packet came, in milliseconds.
    pub fn seen(&self) -> u32 {
        halves(self.load(SEEN)).1
    }

    /// The local interfaces at the ends of its session: where the first packet came from, and where it went.
    #[inline]
    pub fn ends(&self) -> (Option<VifId>, Option<VifId>) {
        let (ends, _) = halves(self.load(SEEN));
        let vif = |id: u16| (id != NO_VIF).then_some(VifId(id));
        (vif((ends & 0xffff) as u16), vif((ends >> 16) as u16))
    }

    /// What TCP has shown.
    pub fn tcp(&self) -> TcpFlags {
        TcpFlags((self.load(TCP_STATE) & 0xffff) as u16)
    }

    /// Adds to it, from any worker.
    pub fn add_tcp(&self, flags: TcpFlags) {
        if let Some(word) = self.words.get(TCP_STATE) {
            word.fetch_or(u64::from(flags.0), AcqRel);
        }
    }

    /// The sequence number of its SYN or FIN, and its last acknowledgement.
    pub fn sequence(&self) -> (u32, u32) {
        halves(self.load(TCP))
    }

    /// Remembers both. For its owner.
    pub fn set_sequence(&self, sequence: u32, acknowledgement: u32) {
        self.store(TCP, pair(sequence, acknowledgement));
    }

    /// Writes everything, the state last. It is alive if `flags` say so.
    pub(crate) fn fill(
        &self,
        key: &Packed,
        flags: FlowFlags,
        generation: u8,
        ends: (Option<VifId>, Option<VifId>),
        now: u32,
    ) {
        self.store(0, key.scoped);
        self.store(1, key.addresses);
        (WIDE..).zip(key.wide).for_each(|(word, half)| self.store(word, half));
        let vif = |id: Option<VifId>| u32::from(id.map_or(NO_VIF, |id| id.0));
        self.store(SEEN, pair(vif(ends.1) << 16 | vif(ends.0), now));
        self.set_target(NhId(0), None);
        for word in [STAMP, PACKETS, BYTES, TCP, TCP_STATE, DETAIL, SOURCE] {
            self.store(word, 0);
        }
        let state = key.kind
            | u64::from(flags.0) << FLAGS
            | u64::from(NOBODY) << OWNER
            | u64::from(NO_MEMBER) << ECMP
            | u64::from(generation) << GENERATION;
        if let Some(word) = self.words.get(STATE) {
            word.store(state, Release);
        }
    }

    /// Takes over what another table's flow of the same key remembers, but for its flags and its owner.
    pub(crate) fn copy(&self, from: Flow<'_>) {
        for word in [TARGET, STAMP, PACKETS, BYTES, SEEN, TCP, TCP_STATE, DETAIL, SOURCE] {
            self.store(word, from.load(word));
        }
        self.set_ecmp(from.state().ecmp());
    }

    pub(crate) fn bury(&self) {
        self.clear(FlowFlags::ALIVE);
    }
}
