//! Tables of one compute node with one workload, programmed by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tables::{
    BridgeEntry, BridgeFlags, Judge, LabelEntry, NextHop, NextHopKind, NhFamily, NhFlags, NhId,
    Object, Op, Peer, Ports, Rewrite, Route, RouteFlags, Rule, RuleFamily, RuleId, RuleSet,
    RuleSetId, Transport, TunnelEncap, Verdict, Vif, VifFlags, VifId, VifKind, VifPolicy, VniEntry,
    VrfId,
};
use wire::{Label, Mac, Prefix, Vni};

/// The tenants' VRF.
pub(crate) const VRF: VrfId = VrfId(1);
/// The uplink's vif.
pub(crate) const UPLINK: VifId = VifId(0);
/// The workload's vif.
pub(crate) const PORT: VifId = VifId(3);

/// The host's vif.
pub(crate) const HOST: VifId = VifId(1);
/// The vif of a second workload.
pub(crate) const SECOND: VifId = VifId(4);

const TO_HOST: NhId = NhId(10);
/// To the workload.
pub(crate) const TO_WORKLOAD: NhId = NhId(11);
/// The tunnel to the other side.
pub(crate) const TO_PEER: NhId = NhId(12);
const TO_VRF: NhId = NhId(13);
const TO_ROUTER: NhId = NhId(14);
/// To the host, by vhost0.
pub(crate) const TO_VHOST: NhId = NhId(15);
/// To the second workload.
pub(crate) const TO_SECOND: NhId = NhId(16);
const TO_AGENT: NhId = NhId(17);
/// To the workload, as a frame.
pub(crate) const BRIDGED: NhId = NhId(18);
/// The agent's vif.
pub(crate) const AGENT: VifId = VifId(5);

/// What one side of the tunnel is.
#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) uplink: String,
    pub(crate) uplink_mac: Mac,
    pub(crate) endpoint: IpAddr,
    pub(crate) port: String,
    pub(crate) workload: Ipv4Addr,
    pub(crate) workload_mac: Mac,
    pub(crate) router_mac: Mac,
    pub(crate) label: u32,
    pub(crate) vni: u32,
}

/// How two sides are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tunnel {
    MplsOverUdp,
    MplsOverGre,
    Vxlan,
}

/// Everything a node needs to reach its workload and the other side's.
pub(crate) fn program(here: &Side, there: &Side, tunnel: Tunnel) -> Vec<Op> {
    let mut objects = vec![
        Object::Vif(Vif {
            mac: here.uplink_mac,
            // Room for the outer headers around a workload's 1500 bytes.
            mtu: 1600,
            ..vif(UPLINK, &here.uplink, VifKind::Physical, VrfId(0))
        }),
        Object::Vif(vif(PORT, &here.port, VifKind::Virtual, VRF)),
    ];
    objects.extend(local(here));
    objects.extend(remote(here, there, tunnel));
    objects.into_iter().map(Op::Put).collect()
}

/// The uplink and the workload's interface with other MTUs.
pub(crate) fn mtus(here: &Side, uplink_mtu: u16, mtu: u16) -> Vec<Op> {
    let uplink = vif(UPLINK, &here.uplink, VifKind::Physical, VrfId(0));
    let port = vif(PORT, &here.port, VifKind::Virtual, VRF);
    vec![
        Op::Put(Object::Vif(Vif { mac: here.uplink_mac, mtu: uplink_mtu, ..uplink })),
        Op::Put(Object::Vif(Vif { mtu, ..port })),
    ]
}

/// vhost0, the workload as seen from the host, and the host as seen from the workload.
pub(crate) fn host(mac: Mac, workload: Ipv4Addr, host: Ipv4Addr) -> Vec<Op> {
    let proxy = RouteFlags::ARP_PROXY;
    let objects = [
        Object::Vif(Vif { mac, ..vif(HOST, "vhost0", VifKind::Host, VrfId(0)) }),
        next_hop(TO_VHOST, NhFamily::Inet, VrfId(0), NextHopKind::Receive(HOST)),
        route(VrfId(0), workload, TO_WORKLOAD, None, RouteFlags::default()),
        route(VRF, host, TO_VHOST, None, proxy),
    ];
    objects.map(Op::Put).into()
}

/// A second workload beside the first, in the same VRF.
pub(crate) fn second(port: &str, mac: Mac, address: Ipv4Addr) -> Vec<Op> {
    second_by(vif(SECOND, port, VifKind::Virtual, VRF), mac, address)
}

/// The same with a TAP, which also the other side reaches, by a label.
pub(crate) fn second_by_tap(port: &str, mac: Mac, address: Ipv4Addr, label: u32) -> Vec<Op> {
    let transport = Transport::Tap;
    let vif = Vif { transport, ..vif(SECOND, port, VifKind::Virtual, VRF) };
    let mut ops = second_by(vif, mac, address);
    let label = Label::try_from(label).unwrap();
    ops.push(Op::Put(Object::Label(LabelEntry { label, next_hop: TO_SECOND })));
    ops
}

/// The way to an address behind the other side, by a label.
pub(crate) fn beyond(address: Ipv4Addr, label: u32) -> Vec<Op> {
    vec![Op::Put(route(VRF, address, TO_PEER, Some(label), RouteFlags::ARP_PROXY))]
}

fn second_by(vif: Vif, mac: Mac, address: Ipv4Addr) -> Vec<Op> {
    let rewrite = [&mac.0[..], &Mac::GATEWAY.0, &[0x08, 0x00]].concat();
    let objects = [
        Object::Vif(vif),
        next_hop(TO_SECOND, NhFamily::Inet, VRF, NextHopKind::Encap { vif: SECOND, rewrite }),
        route(VRF, address, TO_SECOND, None, RouteFlags::ARP_PROXY),
    ];
    objects.map(Op::Put).into()
}

/// The agent's interface, and what the agent answers for in the workloads' VRF.
pub(crate) fn agent(service: Ipv4Addr) -> Vec<Op> {
    let rewrite = [&Mac::GATEWAY.0[..], &Mac::GATEWAY.0, &[0x08, 0x00]].concat();
    let objects = [
        Object::Vif(Vif {
            transport: Transport::Socket,
            ..vif(AGENT, "pkt0", VifKind::Agent, VrfId(u16::MAX))
        }),
        next_hop(TO_AGENT, NhFamily::Inet, VRF, NextHopKind::Encap { vif: AGENT, rewrite }),
        route(VRF, service, TO_AGENT, None, RouteFlags::ARP_PROXY),
    ];
    objects.map(Op::Put).into()
}

/// The workload's interface with these flags, and a next hop that bridges to it.
pub(crate) fn bridged(port: &str, flags: VifFlags) -> Vec<Op> {
    let kind = NextHopKind::Encap { vif: PORT, rewrite: Vec::new() };
    let objects = [
        Object::Vif(Vif { flags, ..vif(PORT, port, VifKind::Virtual, VRF) }),
        next_hop(BRIDGED, NhFamily::Bridge, VRF, kind),
    ];
    objects.map(Op::Put).into()
}

/// Puts the workload's interface under a network policy of these rules.
pub(crate) fn policed(here: &Side, rules: Vec<Rule>) -> Vec<Op> {
    const SET: RuleSetId = RuleSetId(1);
    let rewrite = [&here.workload_mac.0[..], &Mac::GATEWAY.0, &[0x08, 0x00]].concat();
    let kind = NextHopKind::Encap { vif: PORT, rewrite };
    let flags = NhFlags::VALID.with(NhFlags::POLICY);
    let port = vif(PORT, &here.port, VifKind::Virtual, VRF);
    let policy = VifPolicy { network: vec![SET], ..VifPolicy::default() };
    let objects = [
        Object::RuleSet(RuleSet { id: SET, name: "network-policy red".to_owned(), rules }),
        Object::NextHop(NextHop {
            id: TO_WORKLOAD,
            family: NhFamily::Inet,
            vrf: Some(VRF),
            flags,
            kind,
        }),
        Object::Vif(Vif {
            flags: VifFlags::L3.with(VifFlags::POLICY),
            next_hop: Some(TO_WORKLOAD),
            policy,
            ..port
        }),
    ];
    objects.map(Op::Put).into()
}

/// The same objects with an agent that decides about the flows of their workloads.
pub(crate) fn undecided(ops: Vec<Op>) -> Vec<Op> {
    let mut objects: Vec<Object> = ops
        .into_iter()
        .filter_map(|op| match op {
            Op::Put(object) => Some(object),
            Op::Delete(_) => None,
        })
        .collect();
    for object in &mut objects {
        match object {
            Object::Vif(vif) if vif.kind == VifKind::Virtual => {
                vif.flags = VifFlags::L3.with(VifFlags::POLICY);
                vif.next_hop = Some(if vif.id == PORT { TO_WORKLOAD } else { TO_SECOND });
                vif.policy.judge = Judge::Agent;
            }
            Object::NextHop(hop) if hop.id == TO_WORKLOAD || hop.id == TO_SECOND => {
                hop.flags = NhFlags::VALID.with(NhFlags::POLICY);
            }
            _ => {}
        }
    }
    objects.into_iter().map(Op::Put).collect()
}

/// Lets everything of a protocol pass.
pub(crate) fn pass(id: u128, protocol: u8) -> Rule {
    Rule {
        id: RuleId(id),
        family: RuleFamily::Any,
        protocol: Some(protocol),
        source: Peer::Any,
        source_ports: Ports::ANY,
        destination: Peer::Any,
        destination_ports: Ports::ANY,
        verdict: Verdict::Pass,
        log: false,
        mirror: None,
    }
}

/// A workload's IPv6 address, and the gateway's.
pub(crate) fn v6(addresses: [(NhId, Ipv6Addr); 2], gateways: &[Ipv6Addr]) -> Vec<Op> {
    let route = |to, next_hop, flags| {
        Op::Put(Object::Inet6(Route {
            vrf: VRF,
            prefix: Prefix::host(to),
            next_hop,
            label: None,
            flags,
            mac: None,
            identity: None,
        }))
    };
    let hosts = addresses.map(|(next_hop, to)| route(to, next_hop, RouteFlags::default()));
    let gateways = gateways.iter().map(|to| route(*to, TO_HOST, RouteFlags::ARP_PROXY));
    hosts.into_iter().chain(gateways).collect()
}

fn vif(id: VifId, name: &str, kind: VifKind, vrf: VrfId) -> Vif {
    Vif { vrf, mac: Mac::GATEWAY, flags: VifFlags::L3, ..Vif::new(id, name, kind) }
}

fn next_hop(id: NhId, family: NhFamily, vrf: VrfId, kind: NextHopKind) -> Object {
    Object::NextHop(NextHop { id, family, vrf: Some(vrf), flags: NhFlags::VALID, kind })
}

fn local(here: &Side) -> Vec<Object> {
    let rewrite = [&here.workload_mac.0[..], &Mac::GATEWAY.0, &[0x08, 0x00]].concat();
    vec![
        next_hop(TO_HOST, NhFamily::Inet, VrfId(0), NextHopKind::Receive(UPLINK)),
        next_hop(TO_WORKLOAD, NhFamily::Inet, VRF, NextHopKind::Encap { vif: PORT, rewrite }),
        next_hop(TO_VRF, NhFamily::Bridge, VRF, NextHopKind::Translate(VRF)),
        next_hop(TO_ROUTER, NhFamily::Bridge, VRF, NextHopKind::L2Receive),
        endpoint(here.endpoint),
        route(VRF, here.workload, TO_WORKLOAD, None, RouteFlags::ARP_PROXY),
        Object::Label(LabelEntry {
            label: Label::try_from(here.label).unwrap(),
            next_hop: TO_WORKLOAD,
        }),
        Object::Vni(VniEntry { vni: Vni::try_from(here.vni).unwrap(), next_hop: TO_VRF }),
        // What workloads, and routers at the far end, send to be routed.
        station(Mac::GATEWAY),
        station(here.router_mac),
    ]
}

fn station(mac: Mac) -> Object {
    let (next_hop, label, flags) = (TO_ROUTER, None, BridgeFlags::default());
    Object::Bridge(BridgeEntry { vrf: VRF, mac, next_hop, label, flags })
}

fn remote(here: &Side, there: &Side, tunnel: Tunnel) -> Vec<Object> {
    let (encap, label) = match tunnel {
        Tunnel::MplsOverUdp => (TunnelEncap::MplsOverUdp, there.label),
        Tunnel::MplsOverGre => (TunnelEncap::MplsOverGre, there.label),
        Tunnel::Vxlan => (TunnelEncap::VxlanL3(there.router_mac), there.vni),
    };
    let kind = NextHopKind::Tunnel {
        source: here.endpoint,
        destination: there.endpoint,
        encap,
        rewrite: Rewrite::Underlay,
    };
    vec![
        next_hop(TO_PEER, NhFamily::Inet, VrfId(0), kind),
        route(VRF, there.workload, TO_PEER, Some(label), RouteFlags::ARP_PROXY),
    ]
}

/// A local tunnel endpoint: the fabric's host route to the host itself.
fn endpoint(address: IpAddr) -> Object {
    let (vrf, flags) = (VrfId(0), RouteFlags::default());
    match address {
        IpAddr::V4(address) => route(vrf, address, TO_HOST, None, flags),
        IpAddr::V6(address) => {
            let prefix = Prefix::host(address);
            Object::Inet6(Route {
                vrf,
                prefix,
                next_hop: TO_HOST,
                label: None,
                flags,
                mac: None,
                identity: None,
            })
        }
    }
}

fn route(
    vrf: VrfId,
    to: Ipv4Addr,
    next_hop: NhId,
    label: Option<u32>,
    flags: RouteFlags,
) -> Object {
    let label = label.map(|label| Vni::try_from(label).unwrap());
    Object::Inet(Route {
        vrf,
        prefix: Prefix::host(to),
        next_hop,
        label,
        flags,
        mac: None,
        identity: None,
    })
}
