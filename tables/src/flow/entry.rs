//! The words of a slot: of each flow two lines, and one of the session.
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
//!
//! The session's: lifecycle (dead 1, holders 8 from bit 8, generation 8 from bit 16), place (VRF 16, VRF behind
//! translation 16, drop reason 8, mirrors 8 and 8, forced TTLs are flags), born (creation 32, flags 32), then the rules of
//! the network's policy and of the groups, two words each; whom it is charged to (interface 16, VRF 16).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::key::{FlowAddresses, FlowKey, Packed};
use super::slab::{FLOW, SHARED};
use crate::object::flags;
use crate::{FlowDropReason, IdentityId, MirrorId, NhId, RuleId, VifId, VrfId};

flags!(
/// What a flow's state says beside its key.
FlowFlags(u16) {
    /// The slot is in use.
    ALIVE = 0x1;
    /// Its packets are dropped.
    DENIED = 0x2;
    /// Its packets are translated.
    NAT = 0x4;
    /// Nobody has decided yet: its packets wait.
    HELD = 0x8;
    /// The session has ended.
    DEAD = 0x10;
    /// Its packets need more than to be counted and forwarded: mirrors, another VRF, forced TTLs.
    SPECIAL = 0x20;
    /// TCP whose state is followed.
    TCP = 0x40;
    /// The target is a routed packet's.
    ROUTED = 0x80;
    /// An agent is told about it when it is met the first time.
    NEW = 0x100;
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

flags!(
/// What is translated, from the first packet's view.
NatFlags(u8) {
    /// Its source address.
    SOURCE = 0x2;
    /// Its source port.
    SOURCE_PORT = 0x4;
    /// Its destination address.
    DESTINATION = 0x8;
    /// Its destination port.
    DESTINATION_PORT = 0x10;
});

flags!(
/// What concerns both directions of a session. The low byte is [`NatFlags`] of the first packet's direction.
SessionFlags(u32) {
    /// It is logged.
    LOG = 0x100;
    /// A link-local service.
    LINK_LOCAL = 0x200;
    /// BGP as a service: never aged.
    BGP_SERVICE = 0x400;
    /// It was learnt in its middle, so who began it was told by the rules.
    MIDSTREAM = 0x800;
    /// It has one direction only: answers to what is denied are judged for themselves.
    ONE_SIDED = 0x1000;
    /// The agent decides about it.
    AGENT = 0x2000;
    /// Its VRF changes on the way.
    TRANSLATED = 0x4000;
    /// Its first direction's TTL becomes 255 and the other's 2.
    TTL = 0x8000;
    /// Keys are made coarser: TCP is not followed.
    FAT = 0x1_0000;
    /// It began from the fabric.
    FROM_FABRIC = 0x2_0000;
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
        FlowFlags((self.0 >> FLAGS) as u16)
    }

    /// Protocol.
    pub const fn protocol(self) -> u8 {
        (self.0 & 0xff) as u8
    }

    /// Who owns it.
    pub const fn owner(self) -> Option<u8> {
        match (self.0 >> OWNER) as u8 {
            NOBODY => None,
            owner => Some(owner),
        }
    }

    /// The position of its member in an ECMP group.
    #[inline]
    pub const fn ecmp(self) -> Option<u8> {
        match (self.0 >> ECMP) as u8 {
            NO_MEMBER => None,
            position => Some(position),
        }
    }

    /// Counts uses of the slot.
    pub const fn generation(self) -> u8 {
        (self.0 >> GENERATION) as u8
    }
}

#[inline]
const fn pair(high: u32, low: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the halves are what is wanted")]
const fn halves(word: u64) -> (u32, u32) {
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
        let state = self.load(STATE);
        self.load(0) == key.scoped
            && self.load(1) == key.addresses
            && state & (KIND | (FlowFlags::ALIVE.0 as u64) << FLAGS)
                == key.kind | (FlowFlags::ALIVE.0 as u64) << FLAGS
            && (!key.is_ipv6() || self.is_wide(key))
    }

    #[inline(never)]
    fn is_wide(&self, key: &Packed) -> bool {
        (WIDE..).zip(key.wide).all(|(word, half)| self.load(word) == half)
    }

    /// Its key.
    pub fn key(&self) -> FlowKey {
        let (scope, ports) = halves(self.load(0));
        let state = self.load(STATE);
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
        State(self.load(STATE))
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

    /// Sets or clears flags.
    pub fn assign(&self, flags: FlowFlags, value: bool) {
        if value { self.set(flags) } else { self.clear(flags) }
    }

    fn exchange(&self, at: u32, value: u8, if_is: Option<u8>) -> Result<(), u8> {
        let Some(word) = self.words.get(STATE) else { return Ok(()) };
        let swapped = word.fetch_update(AcqRel, Acquire, |state| {
            let found = (state >> at) as u8;
            let may = if_is.is_none_or(|wanted| wanted == found);
            may.then_some(state & !(0xff << at) | u64::from(value) << at)
        });
        swapped.map(|_| ()).map_err(|state| (state >> at) as u8)
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

    /// Writes everything, the state last.
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
            | u64::from(flags.with(FlowFlags::ALIVE).0) << FLAGS
            | u64::from(NOBODY) << OWNER
            | u64::from(NO_MEMBER) << ECMP
            | u64::from(generation) << GENERATION;
        if let Some(word) = self.words.get(STATE) {
            word.store(state, Release);
        }
    }

    pub(crate) fn bury(&self) {
        self.clear(FlowFlags::ALIVE);
    }
}

/// The words of both directions.
#[derive(Clone, Copy, Debug)]
pub struct Session<'s> {
    words: &'s [AtomicU64; SHARED],
}

const LIFE: usize = 0;
const PLACE: usize = 1;
const BORN: usize = 2;
const NETWORK_RULE: usize = 3;
const GROUP_RULE: usize = 5;
const CHARGED: usize = 7;

const DEAD: u64 = 1;
const HOLDER: u64 = 1 << 8;
const HOLDERS: u64 = 0xff << 8;
const LIFE_GENERATION: u32 = 16;

impl<'s> Session<'s> {
    #[inline]
    pub(crate) fn new(words: &'s [AtomicU64; SHARED]) -> Session<'s> {
        Session { words }
    }

    #[inline]
    fn load(&self, word: usize) -> u64 {
        self.words.get(word).map_or(0, |word| word.load(Relaxed))
    }

    #[inline]
    fn store(&self, word: usize, value: u64) {
        if let Some(word) = self.words.get(word) {
            word.store(value, Relaxed);
        }
    }

    fn update(&self, change: impl FnMut(u64) -> Option<u64>) -> Result<u64, u64> {
        match self.words.get(LIFE) {
            Some(word) => word.fetch_update(AcqRel, Acquire, change),
            None => Err(DEAD),
        }
    }

    /// Begins a life with one holder; the generation is the last one's plus one.
    pub(crate) fn begin(&self) -> u8 {
        let generation = ((self.load(LIFE) >> LIFE_GENERATION) as u8).wrapping_add(1);
        let life = u64::from(generation) << LIFE_GENERATION | HOLDER;
        self.words.get(LIFE).into_iter().for_each(|word| word.store(life, Release));
        generation
    }

    /// Keeps the slot from being used again; `false` when the session has ended.
    pub(crate) fn hold(&self) -> bool {
        self.update(|life| (life & DEAD == 0 && life & HOLDERS != HOLDERS).then_some(life + HOLDER))
            .is_ok()
    }

    /// The reverse of `hold`; `true` for the one after whom the slot is free.
    pub(crate) fn release(&self) -> bool {
        let last = self.update(|life| (life & HOLDERS != 0).then(|| life - HOLDER));
        last.is_ok_and(|life| life & DEAD != 0 && life & HOLDERS == HOLDER)
    }

    /// Ends the session; `true` for the one who did.
    pub(crate) fn end(&self) -> bool {
        self.update(|life| (life & DEAD == 0).then_some(life | DEAD)).is_ok()
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.load(LIFE) & DEAD != 0
    }

    /// The VRF of the first packet, and that behind translation.
    pub fn vrfs(&self) -> (VrfId, VrfId) {
        let place = self.load(PLACE);
        (VrfId((place & 0xffff) as u16), VrfId((place >> 16 & 0xffff) as u16))
    }

    /// Why its packets are dropped, if they are.
    pub fn reason(&self) -> u8 {
        (self.load(PLACE) >> 32 & 0xff) as u8
    }

    /// Where copies of its packets go.
    pub fn mirrors(&self) -> [Option<MirrorId>; 2] {
        let place = self.load(PLACE);
        [40, 48].map(|at| Some((place >> at) as u8).filter(|id| *id != u8::MAX).map(MirrorId))
    }

    /// When it began, in milliseconds.
    pub fn created(&self) -> u32 {
        halves(self.load(BORN)).1
    }

    /// What concerns both directions.
    pub fn flags(&self) -> SessionFlags {
        SessionFlags(halves(self.load(BORN)).0)
    }

    /// What is translated, from the first packet's view.
    pub fn nat(&self) -> NatFlags {
        NatFlags((self.flags().0 & 0xff) as u8)
    }

    /// The rules it was judged by: of the network, of the groups.
    pub fn rules(&self) -> (RuleId, RuleId) {
        let rule =
            |at: usize| RuleId(u128::from(self.load(at)) << 64 | u128::from(self.load(at + 1)));
        (rule(NETWORK_RULE), rule(GROUP_RULE))
    }

    /// Remembers a judgement.
    pub fn set_judgement(
        &self,
        (vrf, behind): (VrfId, VrfId),
        reason: FlowDropReason,
        mirrors: [Option<MirrorId>; 2],
        (network, group): (RuleId, RuleId),
    ) {
        let [first, second] = mirrors.map(|id| u64::from(id.map_or(u8::MAX, |id| id.0)));
        let vrfs = u64::from(vrf.0) | u64::from(behind.0) << 16;
        self.store(PLACE, vrfs | u64::from(reason as u8) << 32 | first << 40 | second << 48);
        for (at, RuleId(rule)) in [(NETWORK_RULE, network), (GROUP_RULE, group)] {
            let high = u64::try_from(rule >> 64).unwrap_or(u64::MAX);
            let low = u64::try_from(rule & u128::from(u64::MAX)).unwrap_or(u64::MAX);
            self.store(at, high);
            self.store(at + 1, low);
        }
    }

    /// Whom it is charged to.
    pub(crate) fn charged(&self) -> (VifId, VrfId) {
        let charged = self.load(CHARGED);
        (VifId((charged & 0xffff) as u16), VrfId((charged >> 16 & 0xffff) as u16))
    }

    pub(crate) fn set_charged(&self, vif: VifId, vrf: VrfId) {
        self.store(CHARGED, u64::from(vif.0) | u64::from(vrf.0) << 16);
    }

    pub(crate) fn set_born(&self, flags: SessionFlags, now: u32) {
        self.store(BORN, pair(flags.0, now));
    }
}
