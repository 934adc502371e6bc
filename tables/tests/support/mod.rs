//! Short ways to write objects, for the tests of this folder.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tables::*;
use wire::{Mac, Vni};

pub fn put(object: Object) -> Op {
    Op::Put(object)
}

pub fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

pub fn vif(id: u16) -> Object {
    Object::Vif(Vif {
        vrf: VrfId(1),
        mac: Mac::GATEWAY,
        flags: VifFlags::L3,
        ..Vif::new(VifId(id), format!("tap{id}"), VifKind::Virtual)
    })
}

pub fn next_hop(id: u32, kind: NextHopKind) -> Object {
    Object::NextHop(NextHop {
        id: NhId(id),
        family: NhFamily::Inet,
        vrf: Some(VrfId(1)),
        flags: NhFlags::VALID,
        kind,
    })
}

pub fn tunnel(source: &str, destination: &str, encap: TunnelEncap) -> NextHopKind {
    NextHopKind::Tunnel {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        encap,
        rewrite: Rewrite::Underlay,
    }
}

pub fn ecmp(members: &[Option<(u32, u32)>]) -> NextHopKind {
    let member = |(nh, label)| Member { next_hop: NhId(nh), label: Some(label) };
    let members = members.iter().map(|slot| slot.map(member)).collect();
    NextHopKind::Composite { kind: CompositeKind::Ecmp(0), members }
}

pub fn route(vrf: u16, prefix: &str, next_hop: u32, label: Option<u32>) -> Route<Ipv4Addr> {
    Route {
        vrf: VrfId(vrf),
        prefix: prefix.parse().unwrap(),
        next_hop: NhId(next_hop),
        label: label.map(|label| Vni::try_from(label).unwrap()),
        flags: RouteFlags(0),
        mac: None,
        identity: None,
    }
}

pub fn route6(vrf: u16, prefix: &str, next_hop: u32) -> Object {
    Object::Inet6(Route::<Ipv6Addr> {
        vrf: VrfId(vrf),
        prefix: prefix.parse().unwrap(),
        next_hop: NhId(next_hop),
        label: None,
        flags: RouteFlags(0),
        mac: None,
        identity: None,
    })
}

pub fn bridge(vrf: u16, station: u8, next_hop: u32) -> Object {
    Object::Bridge(BridgeEntry {
        vrf: VrfId(vrf),
        mac: mac(station),
        next_hop: NhId(next_hop),
        label: None,
        flags: BridgeFlags(0),
    })
}

pub fn adjacency(destination: &str, vif: u16, neighbor: Mac) -> Object {
    Object::Adjacency(Adjacency {
        destination: destination.parse::<IpAddr>().unwrap(),
        vif: VifId(vif),
        source: mac(1),
        neighbor,
    })
}
