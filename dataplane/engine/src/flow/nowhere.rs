//! Packets of workloads for the router that no route leads anywhere: they begin no session, so whether one is known need
//! not be asked. In a scan nearly all packets are such.

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;
use port::BURST;
use tables::{BridgeSlot, DropReason, Fib, FibNextHop, NhId, RouteHit, VifId, VrfId};
use wire::Mac;

use crate::graph::{Cx, Next};
use crate::learn::key;
use crate::packet::{Addresses, Marks, Meta, Packet};
use crate::vrf_counts::VrfCount;

/// Which packets of a burst lead nowhere. IPv4 routes are looked up together.
pub(crate) struct Nowhere {
    gate: Gate,
    keys: ArrayVec<(VrfId, Ipv4Addr), BURST>,
    hits: [RouteHit; BURST],
    /// The places of packets in their burst, and their keys'.
    asked: ArrayVec<(u8, u8), BURST>,
    /// A bit for each place whose packet leads nowhere, and by which next hop.
    found: u64,
    by: [NhId; BURST],
    run: Run,
}

/// The last interface and station, and whether its packets for it are routed, and by their own addresses.
#[derive(Clone, Copy)]
struct Gate {
    vif: VifId,
    station: u64,
    open: bool,
}

/// Packets for the last router that ended here and are not counted yet.
#[derive(Clone, Copy)]
struct Run {
    station: u64,
    slot: Option<BridgeSlot>,
    vrf: VrfId,
    packets: u64,
}

/// No station has a group's address.
const NO_STATION: u64 = u64::MAX;

impl Gate {
    const NONE: Gate = Gate { vif: VifId(0), station: NO_STATION, open: false };
}

impl Run {
    const NONE: Run = Run { station: NO_STATION, slot: None, vrf: VrfId(0), packets: 0 };
}

impl Default for Nowhere {
    fn default() -> Nowhere {
        Nowhere {
            gate: Gate::NONE,
            keys: ArrayVec::new(),
            hits: [RouteHit::MISS; BURST],
            asked: ArrayVec::new(),
            found: 0,
            by: [NhId(0); BURST],
            run: Run::NONE,
        }
    }
}

impl Nowhere {
    /// There may be new tables.
    pub(crate) fn begin(&mut self) {
        (self.gate, self.run) = (Gate::NONE, Run::NONE);
    }

    /// A new burst.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.keys.clear();
        self.asked.clear();
        self.found = 0;
    }

    /// Asks for the packet at a place of the burst; false if it is not for a route of its destination to say.
    #[inline]
    pub(crate) fn ask(&mut self, fib: &Fib, place: usize, meta: &Meta) -> bool {
        if !meta.is_from_workload() || meta.ip_ttl == 0 || meta.marks.meets(Marks::LOOKED_INTO) {
            return false;
        }
        let station = key(meta.vrf, meta.station);
        if (self.gate.vif, self.gate.station) != (meta.rx_vif, station) {
            let open = is_routed(fib, meta.rx_vif, meta.vrf, meta.station);
            self.gate = Gate { vif: meta.rx_vif, station, open };
        }
        if !self.gate.open {
            return false;
        }
        match meta.addresses {
            Addresses::V4 { destination, .. } => {
                let key = (meta.vrf, destination);
                if self.keys.last() != Some(&key) && self.keys.try_push(key).is_err() {
                    return false;
                }
                #[expect(clippy::cast_possible_truncation, reason = "both are of a burst")]
                self.asked.try_push((place as u8, (self.keys.len() - 1) as u8)).is_ok()
            }
            Addresses::V6 { destination, .. } => {
                self.note(fib, place, fib.route(meta.vrf, destination).nh)
            }
            Addresses::None | Addresses::Hashed(_) => false,
        }
    }

    /// Looks up what was asked for, and calls `other` for the places of packets that lead somewhere.
    pub(crate) fn look_up(&mut self, fib: &Fib, mut other: impl FnMut(usize)) {
        fib.route_burst(&self.keys, &mut self.hits);
        for (place, key) in std::mem::take(&mut self.asked) {
            let hit = self.hits.get(usize::from(key)).unwrap_or(&RouteHit::MISS);
            if !self.note(fib, usize::from(place), hit.nh) {
                other(usize::from(place));
            }
        }
    }

    /// Notes whether the packet at a place leads nowhere, and says so.
    #[inline]
    fn note(&mut self, fib: &Fib, place: usize, nh: NhId) -> bool {
        let found = matches!(fib.next_hop(nh), FibNextHop::Discard);
        if let Some(by) = self.by.get_mut(place).filter(|_| found) {
            self.found |= 1 << place;
            *by = nh;
        }
        found
    }

    /// The next hop by which the packet at a place leads nowhere, if it does.
    #[inline]
    pub(crate) fn by(&self, place: usize) -> Option<NhId> {
        self.by.get(place).copied().filter(|_| self.found >> place & 1 != 0)
    }

    /// Such a packet ends, by this next hop.
    #[inline]
    pub(crate) fn end(&mut self, cx: &Cx<'_>, packet: &mut Packet<'_>, nh: NhId) -> Next {
        let station = key(packet.meta.vrf, packet.meta.station);
        if self.run.station != station {
            self.count(cx);
            let slot = cx.fib.bridge(packet.meta.vrf, packet.meta.station).map(|hit| hit.slot);
            self.run = Run { station, slot, vrf: packet.meta.vrf, packets: 0 };
        }
        self.run.packets += 1;
        packet.meta.nh = nh;
        Next::Drop(DropReason::Discard)
    }

    /// Counts them as `bridge` and `next_hop` would have.
    #[inline(never)]
    pub(crate) fn count(&mut self, cx: &Cx<'_>) {
        let packets = std::mem::take(&mut self.run.packets);
        if packets == 0 {
            return;
        }
        if let Some(slot) = self.run.slot {
            cx.counters.bridged(slot, self.run.station, packets);
        }
        cx.counters.met(self.run.vrf, VrfCount::L2Receives, packets);
        cx.counters.met(self.run.vrf, VrfCount::Discards, packets);
    }
}

/// Whether what an interface sends to a station goes to the router, which does not translate it.
#[inline(never)]
fn is_routed(fib: &Fib, vif: VifId, vrf: VrfId, station: Mac) -> bool {
    let settings = fib.vif(vif).and_then(|vif| vif.flow.as_ref());
    let router = fib.bridge(vrf, station).map(|hit| fib.next_hop(hit.nh));
    !settings.is_some_and(|settings| settings.translates())
        && matches!(router, Some(FibNextHop::L2Receive))
}
