//! What the dataplane should have: the wanted model, in the shape OpenContrail's agent gives it
//! (reference control-plane.md sections 3.1 to 3.5).
//!
//! | object | content |
//! |---|---|
//! | vif 0 | the uplink, in VRF 0 |
//! | VRF 0 | own endpoint's host route → Receive |
//! | each VRF | bridge entries of the gateway MAC and our router's MAC → L2 Receive; VNI → Translate |
//! | each subnet | prefix → Discard with ARP flood; gateway → Discard with ARP proxy (the gateway itself answers nothing but ARP and ND until there is a pkt0); with IPv6 also fe80::1 |
//! | each workload | vif, L3 and L2 Encap, label → L3, host routes → L3 with ARP proxy and stitched MAC, MAC → L2 |
//! | each remote prefix | Tunnel shared per endpoint, encapsulation and router's MAC, label on the route; several hops: an ECMP composite with labels on its members |
//!
//! | module | holds |
//! |---|---|
//! | (here) | fabric, networks, workloads |
//! | `remote` | what lies beyond the fabric, and who answers ARP and ND for it |
//! | `policy` | rule sets, identities, mirrors, floating IPs |
//! | `bridging` | broadcast trees, labels for frames |
//!
//! A pure function but for the ids it asks for.

mod bridging;
mod policy;
mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tables::{
    BridgeEntry, BridgeFlags, IdentityId, Key, LabelEntry, NextHop, NextHopKind, NhFamily, NhFlags,
    NhId, Object, Route, RouteFlags, Transport, Vif, VifFlags, VifId, VifKind, VniEntry, Vrf,
    VrfId, limits,
};
use wire::{Address, Label, Mac, Prefix, Vni};

use crate::config::{Config, Host, Network, PortKind, Subnet, UnknownUnicast, Workload};
use crate::ids::{Ids, IdsError, WorkloadIds, translate_name};
use crate::rib::import::{Beyond, Bindings, Hop, Origins};

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

/// By how much the IPv6 header is longer.
const IPV6_MORE: u16 = 20;

/// The largest MTU of workloads behind any uplink, in bytes.
pub(crate) const LARGEST_MTU: u16 = limits::MTU - OVERHEAD;

/// The largest MTU workloads may have behind an uplink, in bytes: what tunnels from this endpoint and the dataplane's
/// buffers take.
pub(crate) fn mtu_behind(uplink: &Uplink, endpoint: IpAddr) -> u16 {
    let overhead = if endpoint.is_ipv6() { OVERHEAD + IPV6_MORE } else { OVERHEAD };
    uplink.mtu.min(uplink.buffers).saturating_sub(overhead)
}

/// A workload whose interface pair exists, or whose TAP `vrouterd` is to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The host end, or the TAP until the workload has it.
    pub(crate) device: String,
    /// Which of the two.
    pub(crate) port: PortKind,
    /// L3 MTU in bytes.
    pub(crate) mtu: u16,
}

/// The hops of what lies beyond the fabric, by network.
pub(crate) type Remote = BTreeMap<(String, Beyond), Vec<Option<Hop>>>;

/// What [`desired`] is computed from.
pub(crate) struct Inputs<'a> {
    pub(crate) config: &'a Config,
    pub(crate) uplink: &'a Uplink,
    pub(crate) attached: &'a BTreeMap<String, Attachment>,
    pub(crate) remote: &'a Remote,
    pub(crate) bindings: &'a Bindings,
    pub(crate) origins: &'a Origins,
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
    for mirror in &inputs.config.mirrors {
        let outcome = build.mirror(mirror);
        build.note(format_args!("mirror {}", mirror.name), outcome);
    }
    let outcome = build.rule_sets();
    build.note("policy", outcome);
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
    for ((network, beyond), slots) in inputs.remote {
        if let Beyond::Station(mac) = beyond {
            let outcome = build.remote_station(network, *mac, slots);
            build.note(format_args!("{beyond} of network {network}"), outcome);
        }
    }
    for network in &inputs.config.networks {
        let outcome = build.broadcast(network);
        build.note(format_args!("broadcast of network {}", network.name), outcome);
    }
    for ((network, beyond), slots) in inputs.remote {
        let outcome = build.remote_prefix(network, *beyond, slots);
        build.note(format_args!("{beyond} of network {network}"), outcome);
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

    /// A route of the fabric or the node's own part of a network: it has no label.
    fn route<A: Family>(
        &mut self,
        vrf: VrfId,
        prefix: Prefix<A>,
        next_hop: NhId,
        flags: RouteFlags,
        mac: Option<Mac>,
        identity: Option<IdentityId>,
    ) {
        self.put(A::route(Route { vrf, prefix, next_hop, label: None, flags, mac, identity }));
    }

    fn bridge(&mut self, vrf: VrfId, mac: Mac, next_hop: NhId, label: Option<Vni>) {
        let flags = BridgeFlags::default();
        self.put(Object::Bridge(BridgeEntry { vrf, mac, next_hop, label, flags }));
    }

    fn label(&mut self, label: Label, next_hop: NhId) {
        self.put(Object::Label(LabelEntry { label, next_hop }));
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
        self.put(Object::Vrf(Vrf::new(FABRIC, FABRIC_NAME)));
        self.put(Object::Vif(Vif {
            vrf: FABRIC,
            mac: uplink.mac,
            ip: inet(node.tunnel_endpoint),
            ip6: inet6(node.tunnel_endpoint),
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
        let flags = RouteFlags::ARP_PROXY;
        match node.tunnel_endpoint {
            IpAddr::V4(own) => self.route(FABRIC, Prefix::host(own), receive, flags, None, None),
            IpAddr::V6(own) => self.route(FABRIC, Prefix::host(own), receive, flags, None, None),
        }
        Ok(())
    }

    fn network(&mut self, network: &Network) -> Result<(), IdsError> {
        let vrf = self.ids.vrf(&network.name)?;
        let name = &network.name;
        let named = Vrf::new(vrf, format!("default-domain:demo:{name}:{name}"));
        let (rpf, max_flows) = (network.rpf, network.max_flows);
        self.put(Object::Vrf(Vrf { rpf, max_flows, ..named }));
        let identity = self.identity_of_network(network);
        let l2_receive = self.l2_receive()?;
        let uplink = self.inputs.uplink;
        for mac in [Mac::GATEWAY, uplink.mac, router_mac(self.inputs.config, uplink)] {
            self.bridge(vrf, mac, l2_receive, None);
        }
        // Where nothing is bridged nobody hears a flooded question: the gateway answers for all.
        let unknown = match network.bridging {
            Some(_) => RouteFlags::ARP_FLOOD,
            None => RouteFlags::ARP_PROXY,
        };
        self.subnets(vrf, &network.subnets, unknown, identity);
        self.subnets(vrf, &network.subnets6, unknown, identity);
        if !network.subnets6.is_empty() {
            let gateway = Prefix::host(LINK_LOCAL_GATEWAY);
            self.route(vrf, gateway, DISCARD, RouteFlags::ARP_PROXY, None, None);
        }
        let translate = self.translate(network, vrf)?;
        self.put(Object::Vni(VniEntry { vni: network.vni, next_hop: translate }));
        Ok(())
    }

    fn subnets<A: Family>(
        &mut self,
        vrf: VrfId,
        subnets: &[Subnet<A>],
        unknown: RouteFlags,
        identity: Option<IdentityId>,
    ) {
        for subnet in subnets {
            self.route(vrf, subnet.prefix, DISCARD, unknown, None, identity);
            let gateway = Prefix::host(subnet.gateway);
            self.route(vrf, gateway, DISCARD, RouteFlags::ARP_PROXY, None, identity);
        }
    }

    /// What brings a frame from the fabric to the network's bridge table.
    fn translate(&mut self, network: &Network, vrf: VrfId) -> Result<NhId, IdsError> {
        let flags = match network.unknown_unicast {
            UnknownUnicast::Dropped => NhFlags::TUNNEL_VXLAN,
            UnknownUnicast::Flooded => NhFlags::TUNNEL_VXLAN.with(NhFlags::UNKNOWN_UNICAST_FLOOD),
        };
        let name = translate_name(&network.name);
        self.next_hop(name, NhFamily::Bridge, vrf, flags, || NextHopKind::Translate(vrf))
    }

    fn workload(&mut self, workload: &Workload, attachment: &Attachment) -> Result<(), IdsError> {
        let ids = self.ids.workload(&workload.network, &workload.name)?;
        let WorkloadIds { vrf, vif, label, l2_label, l3, l2 } = ids;
        let network = self.inputs.config.network(&workload.network);
        let bridged = network.is_some_and(|network| network.bridging.is_some());
        let floods =
            network.is_some_and(|network| network.unknown_unicast == UnknownUnicast::Flooded);
        let policy = self.policy_of(workload);
        let flags = match &policy {
            Some(_) => VifFlags::L3.with(VifFlags::L2).with(VifFlags::POLICY),
            None => VifFlags::L3.with(VifFlags::L2),
        };
        let floating_ips = self.floating_ips(workload)?;
        let mac = workload.mac;
        let rewrite = [&mac.0[..], &Mac::GATEWAY.0, &[0x08, 0x00]].concat();
        for (id, family, rewrite) in
            [(l3, NhFamily::Inet, rewrite), (l2, NhFamily::Bridge, Vec::new())]
        {
            let flags = match &policy {
                Some(_) => NhFlags::VALID.with(NhFlags::POLICY),
                None => NhFlags::VALID,
            };
            let kind = NextHopKind::Encap { vif, rewrite };
            self.put(Object::NextHop(NextHop { id, family, vrf: Some(vrf), flags, kind }));
        }
        self.put(Object::Vif(Vif {
            vrf,
            mac: Mac::GATEWAY,
            ip: workload.inet.map(|host| host.address),
            ip6: workload.inet6.map(|host| host.address),
            gateway: workload.inet.map(|host| host.subnet.gateway),
            gateway6: workload.inet6.map(|host| host.subnet.gateway),
            mtu: attachment.mtu,
            transport: match attachment.port {
                PortKind::Veth => Transport::Virtual,
                PortKind::Tap => Transport::Tap,
            },
            flags: if floods { flags.with(VifFlags::UNKNOWN_UNICAST_FLOOD) } else { flags },
            next_hop: Some(l3),
            policy: policy.unwrap_or_default(),
            floating_ips,
            fat_flow_rules: workload.fat_flows.clone(),
            fat_flow_exclude: workload.fat_flow_exclude.clone(),
            fat_flow_exclude6: workload.fat_flow_exclude6.clone(),
            ..Vif::new(vif, attachment.device.as_str(), VifKind::Virtual)
        }));
        self.label(label, l3);
        if bridged {
            self.label(l2_label, l2);
        }
        self.bridge(vrf, mac, l2, None);
        let identity = self.identity_of(&workload.network, workload);
        self.own_host(vrf, workload.inet, l3, Some(mac), identity);
        self.own_host(vrf, workload.inet6, l3, Some(mac), identity);
        // Networks that its own speaks with reach it directly.
        let config = self.inputs.config;
        for other in config.networks.iter().filter(|it| it.joined.contains(&workload.network)) {
            let vrf = self.ids.vrf(&other.name)?;
            self.own_host(vrf, workload.inet, l3, None, identity);
            self.own_host(vrf, workload.inet6, l3, None, identity);
        }
        for floating in &workload.floating_ips {
            let vrf = self.ids.vrf(&floating.network)?;
            let identity = self.identity_of(&floating.network, workload);
            let flags = RouteFlags::ARP_PROXY;
            match floating.address {
                IpAddr::V4(address) => {
                    self.route(vrf, Prefix::host(address), l3, flags, None, identity);
                }
                IpAddr::V6(address) => {
                    self.route(vrf, Prefix::host(address), l3, flags, None, identity);
                }
            }
        }
        Ok(())
    }

    fn own_host<A: Family>(
        &mut self,
        vrf: VrfId,
        host: Option<Host<A>>,
        l3: NhId,
        mac: Option<Mac>,
        identity: Option<IdentityId>,
    ) {
        if let Some(host) = host {
            let prefix = Prefix::host(host.address);
            self.route(vrf, prefix, l3, RouteFlags::ARP_PROXY, mac, identity);
        }
    }
}

/// What we advertise as Router's MAC.
pub(crate) fn router_mac(config: &Config, uplink: &Uplink) -> Mac {
    config.node.router_mac.unwrap_or(uplink.mac)
}

/// What workloads may have as IPv6 gateway besides that of their subnet.
pub(crate) const LINK_LOCAL_GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// An address family's routes among the objects.
trait Family: Address {
    fn route(route: Route<Self>) -> Object;
    fn key(vrf: VrfId, prefix: Prefix<Self>) -> Key;
    fn beyond(prefix: Prefix<Self>) -> Beyond;
    fn ip(self) -> IpAddr;
}

impl Family for Ipv4Addr {
    fn route(route: Route<Ipv4Addr>) -> Object {
        Object::Inet(route)
    }

    fn key(vrf: VrfId, prefix: Prefix<Ipv4Addr>) -> Key {
        Key::Inet(vrf, prefix)
    }

    fn beyond(prefix: Prefix<Ipv4Addr>) -> Beyond {
        Beyond::Inet(prefix)
    }

    fn ip(self) -> IpAddr {
        IpAddr::V4(self)
    }
}

impl Family for Ipv6Addr {
    fn route(route: Route<Ipv6Addr>) -> Object {
        Object::Inet6(route)
    }

    fn key(vrf: VrfId, prefix: Prefix<Ipv6Addr>) -> Key {
        Key::Inet6(vrf, prefix)
    }

    fn beyond(prefix: Prefix<Ipv6Addr>) -> Beyond {
        Beyond::Inet6(prefix)
    }

    fn ip(self) -> IpAddr {
        IpAddr::V6(self)
    }
}

fn inet(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn inet6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

#[cfg(test)]
mod tests;
