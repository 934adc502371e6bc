//! IPv6 between two agents: networks of both families, and tunnels that end at IPv6 addresses.

use std::net::Ipv6Addr;

use tables::RouteFlags;

use super::*;

const A6: &str = "2001:db8:1::11";
const B6: &str = "2001:db8:1::12";

/// As [`World::new`], with an IPv6 subnet in red, and red-a and red-b in it.
fn dual(encapsulations: &str, change: impl Fn(String) -> String) -> World {
    let mut world = World::new(encapsulations);
    for (node, (own, other), workload, address, address6) in
        [(0, (A, B), "red-a", "10.1.0.11", A6), (1, (B, A), "red-b", "10.1.0.12", B6)]
    {
        let text = text(own, other, encapsulations, &[(workload, address)]);
        let subnet = "{ prefix = \"10.1.0.0/24\", gateway = \"10.1.0.1\" }";
        let both =
            format!("{subnet}, {{ prefix = \"2001:db8:1::/64\", gateway = \"2001:db8:1::1\" }}");
        let text = text.replacen(subnet, &both, 1) + &format!("address6 = \"{address6}\"\n");
        world.nodes[node].config = parse(&change(text));
    }
    world
}

fn started(mut world: World) -> World {
    world.start(0);
    world.start(1);
    world.pass(10);
    world
}

impl Node {
    fn route6(&self, vni: u32, address: &str) -> Option<tables::Route<Ipv6Addr>> {
        let key = Key::Inet6(self.vrf(vni), Prefix::host(address.parse().unwrap()));
        match self.wanted.get(&key)? {
            Object::Inet6(route) => Some(*route),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_workload_of_both_families_is_reached_by_both_under_one_label() {
    for (list, vxlan) in [(ALL, false), ("\"vxlan\"", true)] {
        let world = started(dual(list, |text| text));
        let [a, b] = &world.nodes;
        let (_, label) = a.tunnel(5001, "10.1.0.12").unwrap();
        let route = a.route6(5001, B6).unwrap();
        assert_eq!(route.label.map(u32::from), Some(label));
        let NextHopKind::Tunnel { encap, .. } = a.next_hop(route.next_hop) else { panic!() };
        let expected = if vxlan { TunnelEncap::VxlanL3(b.mac) } else { TunnelEncap::MplsOverUdp };
        assert_eq!(*encap, expected);
        let mac = b.config.workloads[0].mac;
        assert_eq!((route.flags, route.mac), (RouteFlags::ARP_PROXY, Some(mac)));
        let own = a.route6(5001, A6).unwrap();
        assert!(
            matches!(a.next_hop(own.next_hop), NextHopKind::Encap { rewrite, .. } if rewrite.len() == 14)
        );
        assert_eq!(own.mac, Some(a.config.workloads[0].mac));
        assert_sound(&a.wanted);
    }
}

#[test]
fn the_gateway_answers_at_its_address_and_at_fe80_1() {
    let world = started(dual(ALL, |text| text));
    let node = &world.nodes[0];
    for gateway in ["2001:db8:1::1", "fe80::1"] {
        let route = node.route6(5001, gateway).unwrap();
        assert_eq!((route.next_hop, route.flags), (NhId(0), RouteFlags::ARP_PROXY), "{gateway}");
        assert_eq!(node.route6(5002, gateway), None, "green has no IPv6");
    }
    let key = Key::Inet6(node.vrf(5001), "2001:db8:1::/64".parse().unwrap());
    let subnet = node.wanted.get(&key);
    assert!(matches!(subnet, Some(Object::Inet6(r)) if r.flags == RouteFlags::ARP_FLOOD));
    let vif = node.wanted.values().find_map(|object| match object {
        Object::Vif(vif) if vif.name == "tap-red-a" => Some(vif),
        _ => None,
    });
    assert_eq!(vif.unwrap().ip6, Some(A6.parse().unwrap()));
}

#[test]
fn a_workload_may_have_ipv6_alone() {
    let world = started(dual(ALL, |text| {
        let address = text.rfind("address = ").unwrap();
        let end = address + text[address..].find('\n').unwrap();
        format!("{}{}", &text[..address], &text[end + 1..])
    }));
    let node = &world.nodes[0];
    assert!(node.route6(5001, B6).is_some());
    assert_eq!(node.route(5001, "10.1.0.12"), None);
}

#[test]
fn tunnels_may_end_at_ipv6_addresses_with_sessions_over_either_family() {
    for over in [4, 6] {
        for (list, vxlan) in [(ALL, false), ("\"vxlan\"", true)] {
            let world = dual(list, |text| {
                let own = if text.contains(&format!("router_id = \"{A}\"")) { 1 } else { 2 };
                let text = text.replacen(
                    "uplink = ",
                    &format!("tunnel_endpoint = \"2001:db8:ffff::{own}\"\nuplink = "),
                    1,
                );
                match over {
                    4 => text,
                    _ => {
                        let (v4, v6) = if own == 1 { (B, 2) } else { (A, 1) };
                        text.replacen(
                            &format!("address = \"{v4}\""),
                            &format!("address = \"2001:db8:ffff::{v6}\""),
                            1,
                        )
                    }
                }
            });
            let mut world = world;
            if over == 6 {
                for (which, last) in [(0, 1), (1, 2)] {
                    world.nodes[which].address = format!("2001:db8:ffff::{last}").parse().unwrap();
                }
            }
            let world = started(world);
            let [a, _] = &world.nodes;
            let far: IpAddr = "2001:db8:ffff::2".parse().unwrap();
            for next_hop in [a.route6(5001, B6).unwrap().next_hop, {
                let key = Key::Inet(a.vrf(5001), Prefix::host([10, 1, 0, 12].into()));
                let Some(Object::Inet(route)) = a.wanted.get(&key) else { panic!("{:?}", a.log) };
                route.next_hop
            }] {
                let NextHopKind::Tunnel { source, destination, .. } = a.next_hop(next_hop) else {
                    panic!()
                };
                assert_eq!(*source, "2001:db8:ffff::1".parse::<IpAddr>().unwrap());
                assert_eq!(*destination, far);
            }
            let own = Key::Inet6(VrfId(0), Prefix::host("2001:db8:ffff::1".parse().unwrap()));
            let Some(Object::Inet6(own)) = a.wanted.get(&own) else { panic!() };
            assert_eq!(*a.next_hop(own.next_hop), NextHopKind::Receive(tables::VifId(1)));
            let tree = a.wanted.values().any(|object| {
                matches!(object, Object::NextHop(nh) if matches!(&nh.kind,
                    NextHopKind::Composite { kind: tables::CompositeKind::Evpn, members }
                        if members.len() == 1))
            });
            assert!(tree, "the flood list follows, vxlan {vxlan}");
            assert_sound(&a.wanted);
        }
    }
}
