//! Packets of workloads for the router that no route leads anywhere: they begin no session, so whether one is known need
//! not be asked. In a scan nearly all packets are such.

use std::net::Ipv4Addr;

use arrayvec::ArrayVec;
use port::BURST;
use tables::{BridgeSlot, DropReason, Fib, FibNextHop, NhId, RouteHit, VifId, VrfId};

use crate::graph::{Cx, Next, Places};
use crate::learn::key;
use crate::packet::{Addresses, Marks, Meta, Packet};
use crate::vrf_counts::VrfCount;

/// Which packets of a burst lead nowhere. IPv4 routes are looked up together.
pub(crate) struct Nowhere {
    gate: Gate,
    /// A run of packets to one destination is one key.
    keys: ArrayVec<(VrfId, Ipv4Addr), BURST>,
    /// The next hops by which they lead nowhere, of those that do.
    answers: ArrayVec<Option<NhId>, BURST>,
    /// Where the packets are that wait for an answer, and those that start a key.
    asked: Places,
    starts: Places,
    found: Found,
    run: Run,
}

/// Where the packets are that lead nowhere, and by which next hops.
struct Found {
    places: Places,
    by: [NhId; BURST],
}

/// The last interface and station, and whether it is a workload's whose packets for it are routed by their own addresses.
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

impl Found {
    /// The packet at a place is one.
    #[inline]
    fn note(&mut self, place: usize, nh: NhId) {
        if let Some(by) = self.by.get_mut(place) {
            self.places.insert(place);
            *by = nh;
        }
    }
}

impl Run {
    const NONE: Run = Run { station: NO_STATION, slot: None, vrf: VrfId(0), packets: 0 };
}

impl Default for Nowhere {
    fn default() -> Nowhere {
        Nowhere {
            gate: Gate::NONE,
            keys: ArrayVec::new(),
            answers: ArrayVec::new(),
            asked: Places::NONE,
            starts: Places::NONE,
            found: Found { places: Places::NONE, by: [NhId(0); BURST] },
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
        (self.asked, self.starts, self.found.places) = (Places::NONE, Places::NONE, Places::NONE);
    }

    /// Asks for the packet at a place of the burst; false if it is not for a route of its destination to say.
    #[inline]
    pub(crate) fn ask(&mut self, fib: &Fib, place: usize, meta: &Meta) -> bool {
        if meta.ip_ttl == 0 || meta.marks.meets(Marks::LOOKED_INTO) {
            return false;
        }
        let station = key(meta.vrf, meta.station);
        if (self.gate.vif, self.gate.station) != (meta.rx_vif, station) {
            let open = meta.is_from_workload() && is_routed(fib, meta);
            self.gate = Gate { vif: meta.rx_vif, station, open };
        }
        if !self.gate.open {
            return false;
        }
        match meta.addresses {
            Addresses::V4 { destination, .. } => {
                let key = (meta.vrf, destination);
                if self.keys.last() != Some(&key) {
                    // No more packets than a burst has.
                    if self.keys.try_push(key).is_err() {
                        return false;
                    }
                    self.starts.insert(place);
                }
                self.asked.insert(place);
                true
            }
            Addresses::V6 { destination, .. } => {
                let nh = leads_nowhere(fib, &fib.route(meta.vrf, destination));
                nh.inspect(|nh| self.found.note(place, *nh)).is_some()
            }
            Addresses::None | Addresses::Hashed(_) => false,
        }
    }

    /// Looks up what was asked for, and calls `other` for the places of packets that lead somewhere.
    pub(crate) fn look_up(&mut self, fib: &Fib, mut other: impl FnMut(usize)) {
        self.answers.clear();
        fib.route_burst(&self.keys, |hit| self.answers.push(leads_nowhere(fib, &hit)));
        let (mut answers, mut answer) = (self.answers.iter(), None);
        for place in self.asked {
            if self.starts.contains(place) {
                answer = answers.next().copied().flatten();
            }
            match answer {
                Some(nh) => self.found.note(place, nh),
                None => other(place),
            }
        }
    }

    /// The next hop by which the packet at a place leads nowhere, if it does.
    #[inline]
    pub(crate) fn by(&self, place: usize) -> Option<NhId> {
        self.found.by.get(place).copied().filter(|_| self.found.places.contains(place))
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

/// The next hop of a route, if that drops.
#[inline]
fn leads_nowhere(fib: &Fib, hit: &RouteHit) -> Option<NhId> {
    matches!(fib.next_hop(hit.nh), FibNextHop::Discard).then_some(hit.nh)
}

/// Whether what the packet's interface sends to its station goes to the router, which does not translate it.
#[inline(never)]
fn is_routed(fib: &Fib, meta: &Meta) -> bool {
    let settings = fib.vif(meta.rx_vif).and_then(|vif| vif.flow.as_ref());
    let router = fib.bridge(meta.vrf, meta.station).map(|hit| fib.next_hop(hit.nh));
    !settings.is_some_and(|settings| settings.translates())
        && matches!(router, Some(FibNextHop::L2Receive))
}
