//! Route: the longest prefix of the destination in the VRF names a next hop (reference dataplane.md section 4).
//!
//! One TTL decrement is owed per routed packet, however many tables are consulted; `next_hop` takes it off, because
//! packets for a local service and those routed again do not pay it here (case H09).

use std::net::{Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayVec;
use port::BURST;
use tables::{DropReason, NhId, RouteHit, VrfId};

use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{Addresses, Hop, Layer, Meta, OutLabel, Packet};

/// IPv4 is looked up for all packets of a burst together, so that the table's loads overlap; a run of packets to one
/// destination is one key. IPv6 remembers the last destination.
pub(crate) struct Route {
    keys: ArrayVec<(VrfId, Ipv4Addr), BURST>,
    /// What they lead to.
    targets: ArrayVec<Target, BURST>,
    /// Which packets, the next one first, start a new key.
    starts: u64,
    /// How many keys were started, and what the last of them found.
    started: usize,
    current: Target,
    last6: Option<(VrfId, Ipv6Addr, Target)>,
}

#[derive(Clone, Copy)]
struct Target {
    nh: NhId,
    label: OutLabel,
}

impl Target {
    const MISS: Target = Target { nh: RouteHit::MISS.nh, label: OutLabel::NONE };
}

impl From<RouteHit> for Target {
    #[inline]
    fn from(hit: RouteHit) -> Target {
        Target { nh: hit.nh, label: hit.label.into() }
    }
}

impl Default for Route {
    fn default() -> Route {
        Route {
            keys: ArrayVec::new(),
            targets: ArrayVec::new(),
            starts: 0,
            started: 0,
            current: Target::MISS,
            last6: None,
        }
    }
}

impl Node for Route {
    const ID: NodeId = NodeId::Route;
    const EDGES: &'static [NodeId] = &[NodeId::NextHop, NodeId::Drop];

    fn begin(&mut self) {
        self.last6 = None;
    }

    #[inline]
    fn gather<'a>(&mut self, cx: &Cx<'_>, metas: impl Iterator<Item = &'a Meta> + Clone) {
        self.keys.clear();
        (self.starts, self.started) = (0, 0);
        // No key's word.
        let (mut bit, mut last) = (1u64, u64::MAX);
        for meta in metas {
            let Addresses::V4 { destination, .. } = meta.addresses else { continue };
            let word = u64::from(meta.vrf.0) << 32 | u64::from(destination.to_bits());
            if last != word {
                last = word;
                self.starts |= bit;
                // No more packets than a burst has.
                let gathered = self.keys.try_push((meta.vrf, destination));
                debug_assert!(gathered.is_ok());
            }
            bit <<= 1;
        }
        self.targets.clear();
        cx.fib.route_burst(&self.keys, |hit| {
            cx.prefetch_next_hop(hit.nh);
            self.targets.push(hit.into());
        });
    }

    #[inline]
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let meta = &mut *packet.meta;
        let target = match meta.addresses {
            Addresses::V4 { .. } => self.inet(),
            Addresses::V6 { destination, .. } => self.inet6(cx, meta.vrf, destination),
            Addresses::None | Addresses::Hashed(_) => {
                return Next::Drop(DropReason::InvalidProtocol);
            }
        };
        if meta.ip_ttl == 0 {
            return Next::Drop(DropReason::TtlExceeded);
        }
        meta.layer = Layer::L3;
        meta.hop = Hop::Due;
        meta.nh = target.nh;
        meta.set_label(target.label);
        Next::NextHop
    }
}

impl Route {
    /// The packets come in the order in which they were gathered.
    #[inline]
    fn inet(&mut self) -> Target {
        if self.starts & 1 != 0 {
            self.current = self.targets.get(self.started).copied().unwrap_or(Target::MISS);
            self.started += 1;
        }
        self.starts >>= 1;
        self.current
    }

    #[inline]
    fn inet6(&mut self, cx: &Cx<'_>, vrf: VrfId, address: Ipv6Addr) -> Target {
        match self.last6 {
            Some((last_vrf, last, target)) if last == address && last_vrf == vrf => target,
            _ => {
                let target = Target::from(cx.fib.route(vrf, address));
                self.last6 = Some((vrf, address, target));
                target
            }
        }
    }
}
