//! Frames between two agents' workloads: stations, labels, broadcast trees, and who answers ARP.

use tables::{BridgeEntry, CompositeKind, Member, RouteFlags};

use super::*;

/// Members of a composite: what each does, and its label.
type Members = Vec<(NextHopKind, Option<u32>)>;

impl Node {
    fn entry(&self, vni: u32, mac: Mac) -> Option<BridgeEntry> {
        match self.wanted.get(&Key::Bridge(self.vrf(vni), mac))? {
            Object::Bridge(entry) => Some(*entry),
            other => panic!("{other:?}"),
        }
    }

    fn members(&self, id: NhId, expected: CompositeKind) -> Vec<Member> {
        match self.next_hop(id) {
            NextHopKind::Composite { kind, members } if *kind == expected => {
                members.iter().flatten().copied().collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// The broadcast tree of the network of a VNI: its far members and its members here.
    fn tree(&self, vni: u32) -> Option<(Members, Members)> {
        let top = self.entry(vni, Mac::BROADCAST)?.next_hop;
        let parts = self.members(top, CompositeKind::Multicast);
        let [far, here] = parts.as_slice() else { panic!("{parts:?}") };
        let of = |part: &Member, kind| {
            let members = self.members(part.next_hop, kind);
            members.iter().map(|m| (self.next_hop(m.next_hop).clone(), m.label)).collect()
        };
        Some((of(far, CompositeKind::Evpn), of(here, CompositeKind::Encap)))
    }

    fn host(&self, vni: u32, address: [u8; 4]) -> tables::Route<Ipv4Addr> {
        let key = Key::Inet(self.vrf(vni), Prefix::host(address.into()));
        match self.wanted.get(&key) {
            Some(Object::Inet(route)) => *route,
            other => panic!("{other:?}"),
        }
    }

    fn mac_of(&self, workload: &str) -> Mac {
        self.config.workloads.iter().find(|w| w.name == workload).unwrap().mac
    }
}

fn started(encapsulations: &str) -> World {
    let mut world = World::new(encapsulations);
    world.start(0);
    world.start(1);
    world.pass(10);
    world
}

/// A tunnel's encapsulation.
fn encap(kind: &NextHopKind) -> TunnelEncap {
    match kind {
        NextHopKind::Tunnel { encap, .. } => *encap,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_remote_station_is_reached_under_its_label_or_the_vni() {
    for (list, expected) in [
        (ALL, TunnelEncap::MplsOverUdp),
        ("\"mplsogre\"", TunnelEncap::MplsOverGre),
        ("\"vxlan\", \"mplsoudp\"", TunnelEncap::Vxlan),
    ] {
        let world = started(list);
        let [a, b] = &world.nodes;
        let mac = b.mac_of("red-b");
        let entry = a.entry(5001, mac).unwrap();
        assert_eq!(encap(a.next_hop(entry.next_hop)), expected);
        let label = entry.label.map(u32::from).unwrap();
        if expected == TunnelEncap::Vxlan {
            assert_eq!(label, 5001);
        } else {
            let NextHopKind::Encap { rewrite, .. } = b.label(label) else { panic!() };
            assert!(rewrite.is_empty(), "frames go out as they are");
        }
        assert_eq!(a.entry(5002, mac), None, "not in the other network");
        assert_sound(&a.wanted);
    }
}

#[test]
fn broadcast_goes_to_the_workloads_here_and_to_each_node_with_one() {
    for (list, vxlan) in [(ALL, false), ("\"vxlan\"", true)] {
        let mut world = started(list);
        let [a, b] = &world.nodes;
        let (far, here) = a.tree(5001).unwrap();
        let [(kind, Some(label))] = far.as_slice() else { panic!("{far:?}") };
        if vxlan {
            assert_eq!((encap(kind), *label), (TunnelEncap::Vxlan, 5001));
        } else {
            assert_eq!(encap(kind), TunnelEncap::MplsOverUdp);
            let expected = b.vrf(5001);
            assert_eq!(*b.label(*label), NextHopKind::Translate(expected));
        }
        let [(NextHopKind::Encap { vif, .. }, None)] = here.as_slice() else { panic!("{here:?}") };
        let vif = a.wanted.get(&Key::Vif(*vif));
        assert!(matches!(vif, Some(Object::Vif(vif)) if vif.name == "tap-red-a"), "{vif:?}");
        world.give(1, Input::Detached("red-b".to_owned()));
        world.settle();
        let (far, here) = world.nodes[0].tree(5001).unwrap();
        assert_eq!((far.len(), here.len()), (0, 1), "nobody there who would hear it");
        assert_eq!(world.nodes[0].tree(5002).unwrap().0.len(), 1);
        assert_sound(&world.nodes[0].wanted);
    }
}

#[test]
fn a_tree_takes_frames_from_its_own_members_only() {
    let world = started(ALL);
    let top = world.nodes[0].entry(5001, Mac::BROADCAST).unwrap().next_hop;
    let Some(Object::NextHop(top)) = world.nodes[0].wanted.get(&Key::NextHop(top)) else {
        panic!()
    };
    assert_eq!(top.wire_flags().0 & 0x800_0020, 0x800_0020, "VALIDATE_MCAST_SRC and MCAST");
    assert_eq!(top.family, tables::NhFamily::Bridge);
}

#[test]
fn arp_for_a_remote_host_is_answered_with_its_stations_mac() {
    let world = started(ALL);
    let [a, b] = &world.nodes;
    let route = a.host(5001, [10, 1, 0, 12]);
    assert_eq!((route.flags, route.mac), (RouteFlags::ARP_PROXY, Some(b.mac_of("red-b"))));
}

#[test]
fn a_network_that_does_not_bridge_has_no_tree_and_is_answered_for_by_the_gateway() {
    let mut world = World::new(ALL);
    for node in &mut world.nodes {
        for network in &mut node.config.networks {
            network.bridging = None;
        }
    }
    world.start(0);
    world.start(1);
    world.pass(10);
    let [a, b] = &world.nodes;
    assert_eq!(a.tree(5001), None);
    assert_eq!(a.entry(5001, b.mac_of("red-b")), None);
    let route = a.host(5001, [10, 1, 0, 12]);
    assert_eq!((route.flags, route.mac), (RouteFlags::ARP_PROXY, None));
    let subnet = a.wanted.get(&Key::Inet(a.vrf(5001), "10.1.0.0/24".parse().unwrap()));
    assert!(matches!(subnet, Some(Object::Inet(r)) if r.flags == RouteFlags::ARP_PROXY));
    assert_eq!(a.labels().len(), 2, "for packets only");
    assert!(a.tunnel(5001, "10.1.0.12").is_some());
}

#[test]
fn switching_bridging_on_the_fly_changes_nothing_else() {
    let mut world = started(ALL);
    let before = world.nodes.each_ref().map(|node| Arc::clone(&node.fresh));
    let mut off = world.nodes[1].config.clone();
    for network in off.networks.iter_mut().filter(|network| network.name == "red") {
        network.bridging = None;
    }
    let whole = world.nodes[1].config.clone();
    world.reconfigure(1, off);
    let [a, b] = &world.nodes;
    assert_eq!(a.tree(5001).unwrap().0.len(), 0);
    assert_eq!(b.tree(5001), None);
    assert_eq!(a.tree(5002).unwrap().0.len(), 1);
    let route = a.host(5001, [10, 1, 0, 12]);
    let answered = (route.flags, route.mac);
    assert_eq!(answered, (RouteFlags::ARP_PROXY, None), "it would hear no flooded question");
    world.reconfigure(1, whole);
    assert_eq!(world.nodes.each_ref().map(|node| Arc::clone(&node.fresh)), before);
}

#[test]
fn unknown_unicast_is_flooded_where_it_is_configured() {
    let mut world = World::new(ALL);
    world.nodes[0].config.networks[1].unknown_unicast = crate::config::UnknownUnicast::Flooded;
    world.start(0);
    let node = &world.nodes[0];
    for (vni, floods) in [(5001, true), (5002, false)] {
        let Some(Object::Vni(entry)) = node.wanted.get(&Key::Vni(vni.try_into().unwrap())) else {
            panic!()
        };
        let Some(Object::NextHop(nh)) = node.wanted.get(&Key::NextHop(entry.next_hop)) else {
            panic!()
        };
        assert_eq!(nh.flags.contains(tables::NhFlags::UNKNOWN_UNICAST_FLOOD), floods);
        let name = if vni == 5001 { "tap-red-a" } else { "tap-green-a" };
        let vif = node.wanted.values().find_map(|object| match object {
            Object::Vif(vif) if vif.name == name => Some(vif),
            _ => None,
        });
        let flags = vif.unwrap().flags;
        assert_eq!(flags.contains(tables::VifFlags::UNKNOWN_UNICAST_FLOOD), floods);
    }
}

#[test]
fn a_label_for_frames_rests_like_any_other() {
    let mut world = started(ALL);
    let mac = world.nodes[1].mac_of("red-b");
    let label = world.nodes[0].entry(5001, mac).unwrap().label.unwrap();
    let flood = world.nodes[0].tree(5001).unwrap().0[0].1.unwrap();
    let without = text(B, A, ALL, &[("green-b", "10.1.0.12")]);
    let (head, red) = without.split_once("[[network]]\nname = \"red\"").unwrap();
    let (_, rest) = red.split_once("[[network]]").unwrap();
    world.reconfigure(1, parse(&format!("{head}[[network]]{rest}")));
    let resting = world.nodes[1].control.as_ref().unwrap().resting();
    for label in [u32::from(label), flood] {
        assert!(resting.contains(&Key::Label(label.try_into().unwrap())), "{label}");
    }
    assert_eq!(world.nodes[0].entry(5001, mac), None);
}
