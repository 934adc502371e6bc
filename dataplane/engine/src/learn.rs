//! Stations heard on interfaces that learn (reference dataplane.md section 5.1).
//!
//! A worker reads tables and writes none, so what it hears goes over a ring to the control thread, which puts the entry; a
//! packet later the station is known here. What an interface may tell is held to a rate, and a station that goes on
//! sending meanwhile is told of once in a while. The agent gets a copy of the first packet that meets a learnt entry, for
//! then the entry has an index.

use tables::{BridgeFlags, BridgeSlot, Fib, FibNextHop, NhId, VifId, VrfId};
use wire::{Ethernet, Mac};
use zerocopy::FromZeros;

use crate::graph::Cx;
use crate::neighbor;
use crate::packet::{Marks, Packet, Protocol, Trap};
use crate::storm::Storm;

/// A station was heard that the bridge table does not know, or knows elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Where.
    pub vif: VifId,
    /// In which table it belongs.
    pub vrf: VrfId,
    /// Who.
    pub mac: Mac,
}

/// How many sightings wait at most for the control thread.
pub(crate) const SIGHTINGS: usize = 256;
/// Stations remembered as just told of; a hash names the place, so two may drive each other out.
const RECENT: usize = 256;
/// Nanoseconds after which a station is told of again that the table still does not know.
const AGAIN: u64 = 50_000_000;

/// What a worker has told already.
pub(crate) struct Learner {
    ring: rtrb::Producer<Sighting>,
    recent: Box<[(u64, u64)]>,
    /// By the slot of its entry, the station that the agent was told of.
    told: Box<[u64]>,
}

impl Learner {
    pub(crate) fn new(ring: rtrb::Producer<Sighting>) -> Learner {
        Learner {
            ring,
            recent: std::iter::repeat_n((0, 0), RECENT).collect(),
            told: <[u64]>::new_box_zeroed_with_elems(BridgeSlot::LIMIT as usize)
                .unwrap_or_default(),
        }
    }

    /// The place of a station that was not told of lately.
    fn place(&mut self, key: u64, now: u64) -> Option<&mut (u64, u64)> {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let place = self.recent.get_mut(usize::try_from(hash).ok()? % RECENT)?;
        let lately = place.0 == key && now.saturating_sub(place.1) < AGAIN && place.1 != 0;
        (!lately).then_some(place)
    }
}

/// MAC and VRF in one word.
#[inline]
pub(crate) fn key(vrf: VrfId, mac: Mac) -> u64 {
    let [a, b, c, d, e, f] = mac.0;
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]) | u64::from(vrf.0) << 48
}

/// Looks at the sender of a packet that came in by an interface that learns.
#[inline(never)]
pub(crate) fn learn(cx: &mut Cx<'_>, packet: &mut Packet<'_>) {
    packet.meta.marks = packet.meta.marks.without(Marks::LEARN);
    let source = Ethernet::parse(packet.frame.data()).map(|(ethernet, _)| ethernet.source());
    let Some(mac) = source.filter(|mac| !mac.is_group() && !mac.is_zero()) else { return };
    if packet.meta.protocol == Protocol::Arp && neighbor::read(packet).is_none() {
        return; // It is about to be dropped (case H01).
    }
    let key = key(packet.meta.vrf, mac);
    match cx.fib.bridge(packet.meta.vrf, mac) {
        None => {
            tell(cx, packet, mac, key);
        }
        Some(hit) if is_heard_at(cx.fib, hit.nh, packet.meta.rx_vif) => {
            if hit.flags.contains(BridgeFlags::MAC_NEW) {
                cx.counters.heard(hit.slot, cx.now);
                trap_new(cx, packet, hit.slot, key);
            }
        }
        Some(hit) => {
            if !hit.flags.contains(BridgeFlags::MAC_MOVED) && tell(cx, packet, mac, key) {
                cx.trap_copy(packet, Trap::MacMove { slot: hit.slot });
            }
        }
    }
}

/// Whether it was told.
fn tell(cx: &mut Cx<'_>, packet: &Packet<'_>, mac: Mac, key: u64) -> bool {
    let (vif, vrf, now) = (packet.meta.rx_vif, packet.meta.vrf, cx.now.0);
    if cx.learner.place(key, now).is_none() || !cx.admit(vif, Storm::Learn) {
        return false;
    }
    if cx.learner.ring.push(Sighting { vif, vrf, mac }).is_err() {
        return false;
    }
    if let Some(place) = cx.learner.place(key, now) {
        *place = (key, now.max(1));
    }
    true
}

/// Once for each station.
fn trap_new(cx: &mut Cx<'_>, packet: &mut Packet<'_>, slot: BridgeSlot, key: u64) {
    let told = cx.learner.told.get(slot.index() as usize) == Some(&key);
    if !told
        && cx.trap_copy(packet, Trap::MacLearn { slot })
        && let Some(told) = cx.learner.told.get_mut(slot.index() as usize)
    {
        *told = key;
    }
}

/// Whether frames for a next hop's station may come in here (section 6.5): where it has one interface, by that.
fn is_heard_at(fib: &Fib, nh: NhId, vif: VifId) -> bool {
    match fib.next_hop(nh) {
        FibNextHop::Encap { vif: out, .. } => *out == vif,
        FibNextHop::Tunnel(_)
        | FibNextHop::SpecialTunnel(_)
        | FibNextHop::UdpTunnel(_)
        | FibNextHop::Invalid
        | FibNextHop::Discard => false,
        FibNextHop::Ecmp(group) => {
            group.slots.iter().flatten().any(|member| is_heard_at(fib, member.next_hop, vif))
        }
        FibNextHop::Receive { .. }
        | FibNextHop::Agent
        | FibNextHop::Translate { .. }
        | FibNextHop::L2Receive
        | FibNextHop::Resolve
        | FibNextHop::Flood(_)
        | FibNextHop::EncapGroup { .. } => true,
    }
}
