//! What lies beyond the fabric, and who answers ARP and ND for it (reference control-plane.md section 3.4).
//!
//! | of a bridging network | answered with |
//! |---|---|
//! | a host whose station is told too | the station's MAC |
//! | a host of a router that takes part in flooding | nothing: the question is flooded |
//! | a host of any other router, a host with several hops, any longer range | the gateway's MAC |
//!
//! Of a network that does not bridge everything is answered with the gateway's MAC.

use std::net::IpAddr;

use proto::bgp::Encapsulation;
use tables::{
    CompositeKind, Key, Member, NextHopKind, NhFamily, NhFlags, NhId, Rewrite, Route, RouteFlags,
    TunnelEncap, VrfId,
};
use wire::{Mac, Prefix, Vni};

use super::{Build, FABRIC, Family};
use crate::ids::IdsError;
use crate::rib::import::{Beyond, Hop};

impl Build<'_> {
    /// The bridge entry of a station; before the routes that are stitched to it.
    pub(super) fn remote_station(
        &mut self,
        network: &str,
        mac: Mac,
        slots: &[Option<Hop>],
    ) -> Result<(), IdsError> {
        let vrf = self.ids.vrf(network)?;
        // What is local is not reached through the fabric, whatever a peer says.
        if self.has(Key::Bridge(vrf, mac)) {
            return Ok(());
        }
        if let Some(hop) = slots.iter().flatten().next() {
            let tunnel = self.tunnel(hop)?;
            self.bridge(vrf, mac, tunnel, Vni::try_from(hop.label).ok());
        }
        Ok(())
    }

    pub(super) fn remote_prefix(
        &mut self,
        network: &str,
        beyond: Beyond,
        slots: &[Option<Hop>],
    ) -> Result<(), IdsError> {
        match beyond {
            Beyond::Inet(prefix) => self.prefix(network, prefix, slots),
            Beyond::Inet6(prefix) => self.prefix(network, prefix, slots),
            Beyond::Station(_) | Beyond::Flood(_) => Ok(()),
        }
    }

    fn prefix<A: Family>(
        &mut self,
        network: &str,
        prefix: Prefix<A>,
        slots: &[Option<Hop>],
    ) -> Result<(), IdsError> {
        let vrf = self.ids.vrf(network)?;
        if self.has(A::key(vrf, prefix)) {
            return Ok(());
        }
        let mut members = Vec::with_capacity(slots.len());
        for slot in slots {
            members.push(match slot {
                Some(hop) => Some(Member { next_hop: self.tunnel(hop)?, label: Some(hop.label) }),
                None => None,
            });
        }
        let hops: Vec<Hop> = slots.iter().flatten().copied().collect();
        let (next_hop, label, (flags, mac)) = match hops.as_slice() {
            [] => return Ok(()),
            [hop] => {
                let label = Vni::try_from(hop.label).ok();
                (self.tunnel(hop)?, label, self.answer(network, vrf, prefix, hop))
            }
            _ => {
                let name = format!("ecmp:{network}:{prefix}");
                let none = NhFlags::default();
                let group = self.next_hop(name, NhFamily::Inet, vrf, none, || {
                    NextHopKind::Composite { kind: CompositeKind::Ecmp(0), members }
                })?;
                (group, None, (RouteFlags::ARP_PROXY, None))
            }
        };
        let key = (network.to_owned(), A::beyond(prefix));
        let origin = self.inputs.origins.get(&key);
        let identity = origin.and_then(|origin| self.identity(origin));
        self.put(A::route(Route { vrf, prefix, next_hop, label, flags, mac, identity }));
        Ok(())
    }

    /// How ARP and ND for a route with one hop are answered.
    fn answer<A: Family>(
        &self,
        network: &str,
        vrf: VrfId,
        prefix: Prefix<A>,
        hop: &Hop,
    ) -> (RouteFlags, Option<Mac>) {
        let gateway = (RouteFlags::ARP_PROXY, None);
        let Some(network) = self.inputs.config.network(network) else { return gateway };
        if prefix.length() != A::BITS || network.bridging.is_none() {
            return gateway;
        }
        let binding = self.inputs.bindings.get(&(network.name.clone(), prefix.address().ip()));
        if let Some(mac) = binding.filter(|mac| self.has(Key::Bridge(vrf, **mac))) {
            return (RouteFlags::ARP_PROXY, Some(*mac));
        }
        if self.flood_list(&network.name).any(|member| member.endpoint == hop.endpoint) {
            return (RouteFlags::ARP_FLOOD, None);
        }
        gateway
    }

    fn has(&self, key: Key) -> bool {
        self.result.objects.contains_key(&key)
    }

    /// The tunnel next hop of an endpoint and encapsulation; the label is not part of it.
    pub(super) fn tunnel(&mut self, hop: &Hop) -> Result<NhId, IdsError> {
        let source: IpAddr = self.inputs.config.node.tunnel_endpoint;
        let (encap, suffix) = match (hop.encapsulation, hop.router_mac) {
            (Encapsulation::Vxlan, Some(mac)) => (TunnelEncap::VxlanL3(mac), format!(":{mac}")),
            (Encapsulation::Vxlan, None) => (TunnelEncap::Vxlan, String::new()),
            (Encapsulation::MplsOverGre, _) => (TunnelEncap::MplsOverGre, String::new()),
            (Encapsulation::MplsOverUdp, _) => (TunnelEncap::MplsOverUdp, String::new()),
        };
        let name = format!("tunnel:{}:{}{suffix}", hop.endpoint, hop.encapsulation);
        let destination = hop.endpoint;
        self.next_hop(name, NhFamily::Inet, FABRIC, NhFlags::default(), || NextHopKind::Tunnel {
            source,
            destination,
            encap,
            rewrite: Rewrite::Underlay,
        })
    }
}
