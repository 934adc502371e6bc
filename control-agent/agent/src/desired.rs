//! What the dataplane should have: the wanted model, in the shape OpenContrail's agent gives it
//! (reference control-plane.md sections 3.1 to 3.5).
//!
//! | object | content |
//! |---|---|
//! | vif 0 | the uplink, in VRF 0 |
//! | VRF 0 | own endpoint /32 → Receive |
//! | each VRF | bridge entries of the gateway MAC and our router's MAC → L2 Receive; VNI → Translate |
//! | each subnet | prefix → Discard with ARP flood; gateway /32 → Discard with ARP proxy (the gateway itself answers nothing but ARP until there is a pkt0) |
//! | each workload | vif, L3 and L2 Encap, label → L3, /32 → L3 with ARP proxy and stitched MAC, MAC → L2 |
//! | each remote prefix | Tunnel shared per endpoint, encapsulation and router's MAC, label on the route; several hops: an ECMP composite with labels on its members |
//!
//! A pure function but for the ids it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};

use proto::bgp::Encapsulation;
use tables::{
    BridgeEntry, BridgeFlags, CompositeKind, Key, LabelEntry, Member, NextHop, NextHopKind,
    NhFamily, NhFlags, NhId, Object, Rewrite, Route, RouteFlags, TunnelEncap, Vif, VifId, VifKind,
    VniEntry, Vrf, VrfId, limits,
};
use wire::{Mac, Prefix, Vni};

use crate::config::{Config, Network, Workload};
use crate::ids::{Ids, IdsError, WorkloadIds, translate_name};
use crate::rib::import::Hop;

/// Everything wanted, by name.
pub(crate) type Objects = BTreeMap<Key, Object>;

/// The device of the fabric, as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uplink {
    /// Its name.
    pub name: String,
    /// Its MAC.
    pub mac: Mac,
    /// Its L3 MTU in bytes.
    pub mtu: u16,
    /// The largest L3 MTU that the dataplane's buffers take on this kernel, in bytes.
    pub buffers: u16,
}

/// What outer headers take of a packet at most: IPv4, UDP, VXLAN and the inner Ethernet header.
pub(crate) const OVERHEAD: u16 = 50;

/// The largest MTU of workloads behind any uplink, in bytes.
pub(crate) const LARGEST_MTU: u16 = limits::MTU - OVERHEAD;

/// The largest MTU workloads may have behind an uplink, in bytes: what its tunnels and the dataplane's buffers take.
pub(crate) fn mtu_behind(uplink: &Uplink) -> u16 {
    uplink.mtu.min(uplink.buffers).saturating_sub(OVERHEAD)
}

/// A workload whose interface pair exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The host end.
    pub(crate) device: String,
    /// L3 MTU in bytes.
    pub(crate) mtu: u16,
}

/// The hops of each remote prefix, by network.
pub(crate) type Remote = BTreeMap<(String, Prefix<Ipv4Addr>), Vec<Option<Hop>>>;

/// What [`desired`] is computed from.
pub(crate) struct Inputs<'a> {
    pub(crate) config: &'a Config,
    pub(crate) uplink: &'a Uplink,
    pub(crate) attached: &'a BTreeMap<String, Attachment>,
    pub(crate) remote: &'a Remote,
}

/// The wanted model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Desired {
    pub(crate) objects: Objects,
    /// The names of the next hops in it, but for those of workloads: the ids of others may go.
    pub(crate) next_hops: BTreeSet<String>,
    /// What is not in it, for there is no id for it.
    pub(crate) left_out: Vec<String>,
}

const UPLINK: VifId = VifId(0);
const HOST: VifId = VifId(1);
const FABRIC: VrfId = VrfId(0);
const DISCARD: NhId = NhId(0);

/// The host's interface: `vrouterd` makes it.
const HOST_NAME: &str = "vhost0";

/// The names OpenContrail gives the VRFs of the fabric and of a network.
const FABRIC_NAME: &str = "default-domain:default-project:ip-fabric:__default__";

/// Computes what the dataplane should have. What there is no id for is left out alone.
pub(crate) fn desired(inputs: &Inputs<'_>, ids: &mut Ids) -> Desired {
    let mut build = Build { inputs, ids, result: Desired::default() };
    let outcome = build.fabric();
    build.note("the fabric", outcome);
    for network in &inputs.config.networks {
        let outcome = build.network(network);
        build.note(format_args!("network {}", network.name), outcome);
    }
    for workload in &inputs.config.workloads {
        if let Some(attachment) = inputs.attached.get(&workload.name) {
            let outcome = build.workload(workload, attachment);
            let (name, network) = (&workload.name, &workload.network);
            build.note(format_args!("workload {name} of network {network}"), outcome);
        }
    }
    for ((network, prefix), slots) in inputs.remote {
        let outcome = build.remote(network, *prefix, slots);
        build.note(format_args!("route {prefix} of network {network}"), outcome);
    }
    build.result
}

/// Keeps each hop in its slot: those that left leave a hole, new ones fill holes first.
pub(crate) fn place(before: &[Option<Hop>], hops: &BTreeSet<Hop>) -> Vec<Option<Hop>> {
    let mut slots: Vec<Option<Hop>> =
        before.iter().map(|slot| slot.filter(|hop| hops.contains(hop))).collect();
    for hop in hops {
        if slots.contains(&Some(*hop)) {
            continue;
        }
        if slots.iter().flatten().count() == limits::ECMP_MEMBERS {
            break;
        }
        match slots.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(*hop),
            None => slots.push(Some(*hop)),
        }
    }
    while slots.last().is_some_and(Option::is_none) {
        slots.pop();
    }
    slots
}

struct Build<'a> {
    inputs: &'a Inputs<'a>,
    ids: &'a mut Ids,
    result: Desired,
}

impl Build<'_> {
    fn note(&mut self, what: impl Display, outcome: Result<(), IdsError>) {
        if let Err(error) = outcome {
            self.result.left_out.push(format!("{what} is left out: {error}"));
        }
    }

    fn put(&mut self, object: Object) {
        self.result.objects.insert(object.key(), object);
    }

    /// The next hop of this name, made by `kind` when it is new.
    fn next_hop(
        &mut self,
        name: String,
        family: NhFamily,
        vrf: VrfId,
        flags: NhFlags,
        kind: impl FnOnce() -> NextHopKind,
    ) -> Result<NhId, IdsError> {
        let id = self.ids.next_hop(&name)?;
        if self.result.next_hops.insert(name) {
            let flags = NhFlags::VALID.with(flags);
            self.put(Object::NextHop(NextHop { id, family, vrf: Some(vrf), flags, kind: kind() }));
        }
        Ok(id)
    }

    fn route(
        &mut self,
        vrf: VrfId,
        prefix: Prefix<Ipv4Addr>,
        next_hop: NhId,
        flags: RouteFlags,
        with: (Option<Vni>, Option<Mac>),
    ) {
        let (label, mac) = with;
        self.put(Object::Inet(Route { vrf, prefix, next_hop, label, flags, mac }));
    }

    fn bridge(&mut self, vrf: VrfId, mac: Mac, next_hop: NhId) {
        let flags = BridgeFlags::default();
        self.put(Object::Bridge(BridgeEntry { vrf, mac, next_hop, label: None, flags }));
    }

    fn l2_receive(&mut self) -> Result<NhId, IdsError> {
        let none = NhFlags::default();
        self.next_hop("l2-receive".to_owned(), NhFamily::Inet, FABRIC, none, || {
            NextHopKind::L2Receive
        })
    }

    fn fabric(&mut self) -> Result<(), IdsError> {
        let node = &self.inputs.config.node;
        let uplink = self.inputs.uplink;
        self.put(Object::Vrf(Vrf { id: FABRIC, name: FABRIC_NAME.to_owned() }));
        self.put(Object::Vif(Vif {
            vrf: FABRIC,
            mac: uplink.mac,
            ip: Some(node.tunnel_endpoint),
            mtu: uplink.mtu,
            ..Vif::new(UPLINK, uplink.name.as_str(), VifKind::Physical)
        }));
        // As in the original it has the uplink's MAC, so that what the fabric sent to the node can go there as it is. The
        // node's address stays on the uplink.
        self.put(Object::Vif(Vif {
            vrf: FABRIC,
            mac: uplink.mac,
            mtu: uplink.mtu,
            ..Vif::new(HOST, HOST_NAME, VifKind::Host)
        }));
        let none = NhFlags::default();
        let receive = self.next_hop("receive".to_owned(), NhFamily::Inet, FABRIC, none, || {
            NextHopKind::Receive(HOST)
        })?;
        let own = Prefix::host(node.tunnel_endpoint);
        self.route(FABRIC, own, receive, RouteFlags::ARP_PROXY, (None, None));
        Ok(())
    }

    fn network(&mut self, network: &Network) -> Result<(), IdsError> {
        let vrf = self.ids.vrf(&network.name)?;
        let name = &network.name;
        self.put(Object::Vrf(Vrf { id: vrf, name: format!("default-domain:demo:{name}:{name}") }));
        let l2_receive = self.l2_receive()?;
        self.bridge(vrf, Mac::GATEWAY, l2_receive);
        self.bridge(vrf, self.inputs.uplink.mac, l2_receive);
        self.bridge(vrf, router_mac(self.inputs.config, self.inputs.uplink), l2_receive);
        for subnet in &network.subnets {
            self.route(vrf, subnet.prefix, DISCARD, RouteFlags::ARP_FLOOD, (None, None));
            let gateway = Prefix::host(subnet.gateway);
            self.route(vrf, gateway, DISCARD, RouteFlags::ARP_PROXY, (None, None));
        }
        let flags = NhFlags::TUNNEL_VXLAN;
        let translate =
            self.next_hop(translate_name(name), NhFamily::Bridge, vrf, flags, || {
                NextHopKind::Translate(vrf)
            })?;
        self.put(Object::Vni(VniEntry { vni: network.vni, next_hop: translate }));
        Ok(())
    }

    fn workload(&mut self, workload: &Workload, attachment: &Attachment) -> Result<(), IdsError> {
        let ids = self.ids.workload(&workload.network, &workload.name)?;
        let WorkloadIds { vrf, vif, label, l3, l2 } = ids;
        let mac = workload.mac;
        let rewrite = [&mac.0[..], &Mac::GATEWAY.0, &[0x08, 0x00]].concat();
        for (id, family, rewrite) in
            [(l3, NhFamily::Inet, rewrite), (l2, NhFamily::Bridge, Vec::new())]
        {
            let (flags, kind) = (NhFlags::VALID, NextHopKind::Encap { vif, rewrite });
            self.put(Object::NextHop(NextHop { id, family, vrf: Some(vrf), flags, kind }));
        }
        self.put(Object::Vif(Vif {
            vrf,
            mac: Mac::GATEWAY,
            ip: Some(workload.address),
            mtu: attachment.mtu,
            next_hop: Some(l3),
            ..Vif::new(vif, attachment.device.as_str(), VifKind::Virtual)
        }));
        self.put(Object::Label(LabelEntry { label, next_hop: l3 }));
        self.bridge(vrf, mac, l2);
        let own = Prefix::host(workload.address);
        self.route(vrf, own, l3, RouteFlags::ARP_PROXY, (None, Some(mac)));
        Ok(())
    }

    fn remote(
        &mut self,
        network: &str,
        prefix: Prefix<Ipv4Addr>,
        slots: &[Option<Hop>],
    ) -> Result<(), IdsError> {
        let vrf = self.ids.vrf(network)?;
        // What is local is not reached through the fabric, whatever a peer says.
        if self.result.objects.contains_key(&Key::Inet(vrf, prefix)) {
            return Ok(());
        }
        let mut members = Vec::with_capacity(slots.len());
        for slot in slots {
            members.push(match slot {
                Some(hop) => Some((self.tunnel(hop)?, hop.label)),
                None => None,
            });
        }
        let filled: Vec<(NhId, u32)> = members.iter().flatten().copied().collect();
        match filled.as_slice() {
            [] => {}
            [(next_hop, label)] => {
                let label = Vni::try_from(*label).ok();
                self.route(vrf, prefix, *next_hop, RouteFlags::ARP_PROXY, (label, None));
            }
            _ => {
                let members = members
                    .into_iter()
                    .map(|slot| {
                        slot.map(|(next_hop, label)| Member { next_hop, label: Some(label) })
                    })
                    .collect();
                let name = format!("ecmp:{network}:{prefix}");
                let group = self.next_hop(name, NhFamily::Inet, vrf, NhFlags::default(), || {
                    NextHopKind::Composite { kind: CompositeKind::Ecmp(0), members }
                })?;
                self.route(vrf, prefix, group, RouteFlags::ARP_PROXY, (None, None));
            }
        }
        Ok(())
    }

    /// The tunnel next hop of an endpoint and encapsulation; the label is not part of it.
    fn tunnel(&mut self, hop: &Hop) -> Result<NhId, IdsError> {
        let source = self.inputs.config.node.tunnel_endpoint;
        let (encap, suffix) = match (hop.encapsulation, hop.router_mac) {
            (Encapsulation::Vxlan, Some(mac)) => (TunnelEncap::VxlanL3(mac), format!(":{mac}")),
            (Encapsulation::Vxlan, None) => (TunnelEncap::Vxlan, String::new()),
            (Encapsulation::MplsOverGre, _) => (TunnelEncap::MplsOverGre, String::new()),
            (Encapsulation::MplsOverUdp, _) => (TunnelEncap::MplsOverUdp, String::new()),
        };
        let name = format!("tunnel:{}:{}{suffix}", hop.endpoint, hop.encapsulation);
        self.next_hop(name, NhFamily::Inet, FABRIC, NhFlags::default(), || NextHopKind::Tunnel {
            source: IpAddr::V4(source),
            destination: IpAddr::V4(hop.endpoint),
            encap,
            rewrite: Rewrite::Underlay,
        })
    }
}

/// What we advertise as Router's MAC.
pub(crate) fn router_mac(config: &Config, uplink: &Uplink) -> Mac {
    config.node.router_mac.unwrap_or(uplink.mac)
}
