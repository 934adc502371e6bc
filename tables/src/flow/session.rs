//! The words of a session that both its directions share: a line of its slot.
//!
//! From the lowest bit: lifecycle (dead 1, holders 8 from bit 8, generation 8 from bit 16), place (VRF 16, VRF behind
//! translation 16, drop reason 8, mirrors 8 and 8), born (creation 32, flags 32), then the rules of the network's policy
//! and of the groups, two words each; whom it is charged to (interface 16, VRF 16).

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::entry::{byte, halves, pair, short};
use super::key::FlowKey;
use super::slab::SHARED;
use super::words::AtomicU64;
use crate::object::flags;
use crate::{MirrorId, RuleId, VifId, VrfId};

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
    /// Keys are coarser than packets', each of which is judged for itself; TCP is not followed.
    FAT = 0x1_0000;
    /// It began from the fabric.
    FROM_FABRIC = 0x2_0000;
    /// The agent has decided.
    DECIDED = 0x4_0000;
});

impl NatFlags {
    /// What is translated between the first packet's direction and the answers'.
    pub fn between(first: &FlowKey, answers: &FlowKey) -> NatFlags {
        let plain = first.reversed(answers.scope);
        let parts = [
            (plain.addresses.destination() != answers.addresses.destination(), NatFlags::SOURCE),
            (plain.destination_port() != answers.destination_port(), NatFlags::SOURCE_PORT),
            (plain.addresses.source() != answers.addresses.source(), NatFlags::DESTINATION),
            (plain.source_port() != answers.source_port(), NatFlags::DESTINATION_PORT),
        ];
        let changed = parts.into_iter().filter(|(changes, _)| *changes);
        changed.fold(NatFlags::default(), |nat, (_, part)| nat.with(part))
    }
}

impl SessionFlags {
    /// What is translated, from the first packet's view.
    pub const fn nat(self) -> NatFlags {
        NatFlags((self.0 & 0xff) as u8)
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
        let generation = byte(self.load(LIFE), LIFE_GENERATION).wrapping_add(1);
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
        (VrfId(short(place, 0)), VrfId(short(place, 16)))
    }

    /// Why its packets are dropped, if they are.
    pub fn reason(&self) -> u8 {
        byte(self.load(PLACE), 32)
    }

    /// Where copies of its packets go.
    pub fn mirrors(&self) -> [Option<MirrorId>; 2] {
        let place = self.load(PLACE);
        [40, 48].map(|at| Some(byte(place, at)).filter(|id| *id != u8::MAX).map(MirrorId))
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
        self.flags().nat()
    }

    /// It has one direction, and what the other would be is known: nobody has decided yet.
    pub fn is_proposed(&self) -> bool {
        self.flags().contains(SessionFlags::ONE_SIDED.with(SessionFlags::AGENT))
    }

    /// An agent has decided about it.
    pub fn is_decided(&self) -> bool {
        self.flags().contains(SessionFlags::DECIDED)
    }

    /// The rules it was judged by: of the network, of the groups.
    pub fn rules(&self) -> (RuleId, RuleId) {
        let rule =
            |at: usize| RuleId(u128::from(self.load(at)) << 64 | u128::from(self.load(at + 1)));
        (rule(NETWORK_RULE), rule(GROUP_RULE))
    }

    /// Remembers a judgement; `reason` is why packets are dropped, in the original's numbers.
    pub fn set_judgement(
        &self,
        (vrf, behind): (VrfId, VrfId),
        reason: u8,
        mirrors: [Option<MirrorId>; 2],
        (network, group): (RuleId, RuleId),
    ) {
        let [first, second] = mirrors.map(|id| u64::from(id.map_or(u8::MAX, |id| id.0)));
        let vrfs = u64::from(vrf.0) | u64::from(behind.0) << 16;
        self.store(PLACE, vrfs | u64::from(reason) << 32 | first << 40 | second << 48);
        for (at, RuleId(rule)) in [(NETWORK_RULE, network), (GROUP_RULE, group)] {
            let high = u64::try_from(rule >> 64).unwrap_or(u64::MAX);
            let low = u64::try_from(rule & u128::from(u64::MAX)).unwrap_or(u64::MAX);
            self.store(at, high);
            self.store(at + 1, low);
        }
    }

    /// Remembers where copies of its packets go.
    pub(crate) fn set_mirrors(&self, mirrors: [Option<MirrorId>; 2]) {
        let [first, second] = mirrors.map(|id| u64::from(id.map_or(u8::MAX, |id| id.0)));
        self.store(PLACE, self.load(PLACE) & ((1 << 40) - 1) | first << 40 | second << 48);
    }

    /// Takes over what another table's session remembers, but for who holds it and whom it is charged to.
    pub(crate) fn copy(&self, from: Session<'_>) {
        let rules = [NETWORK_RULE, NETWORK_RULE + 1, GROUP_RULE, GROUP_RULE + 1];
        for word in [PLACE, BORN].into_iter().chain(rules) {
            self.store(word, from.load(word));
        }
    }

    /// Whom it is charged to.
    pub(crate) fn charged(&self) -> (VifId, VrfId) {
        let charged = self.load(CHARGED);
        (VifId(short(charged, 0)), VrfId(short(charged, 16)))
    }

    pub(crate) fn set_charged(&self, vif: VifId, vrf: VrfId) {
        self.store(CHARGED, u64::from(vif.0) | u64::from(vrf.0) << 16);
    }

    /// Clears some flags, then sets some.
    pub(crate) fn change_flags(&self, clear: SessionFlags, set: SessionFlags) {
        let (clear, set) = (pair(clear.0, 0), pair(set.0, 0));
        if let Some(word) = self.words.get(BORN) {
            // Nothing to fail: any value is replaced.
            let _ = word.fetch_update(AcqRel, Acquire, |born| Some(born & !clear | set));
        }
    }

    pub(crate) fn set_born(&self, flags: SessionFlags, now: u32) {
        self.store(BORN, pair(flags.0, now));
    }
}
