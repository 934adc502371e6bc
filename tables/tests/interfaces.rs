//! What is unusual about interfaces, and the objects beside them: rules of the model, and what packets read.

#[expect(dead_code, unreachable_pub, reason = "shared by the tests of this folder")]
mod support;

use std::collections::BTreeMap;

use support::*;
use tables::*;
use wire::Label;

const PARENT: VifId = VifId(3);
const RED: VrfId = VrfId(1);

struct Node {
    model: Model,
    writer: Writer,
}

impl Node {
    fn new(objects: impl IntoIterator<Item = Object>) -> Node {
        let mut node = Node { model: Model::new(), writer: Writer::new() };
        node.put(objects);
        node
    }

    fn put(&mut self, objects: impl IntoIterator<Item = Object>) {
        self.apply(&objects.into_iter().map(Op::Put).collect::<Vec<_>>());
    }

    fn apply(&mut self, ops: &[Op]) {
        let changes = self.model.apply(ops, Owner::Agent).unwrap();
        self.writer.publish(&self.model, &changes);
    }

    fn refused(&mut self, object: Object) -> String {
        let before = self.model.clone();
        let error = self.model.apply(&[Op::Put(object)], Owner::Agent).unwrap_err();
        assert_eq!(self.model.vifs(..).collect::<Vec<_>>(), before.vifs(..).collect::<Vec<_>>());
        error.to_string()
    }

    fn vif(&self, id: VifId) -> &FibVif {
        self.writer.fib().vif(id).unwrap()
    }

    fn features(&self, id: VifId) -> VifFeatures {
        self.vif(id).features
    }
}

fn plain(id: u16, kind: VifKind) -> Vif {
    Vif { vrf: RED, ..Vif::new(VifId(id), format!("tap{id}"), kind) }
}

fn sub(id: u16, vlan: u16, stations: &[u8]) -> Object {
    let stations = stations.iter().map(|last| mac(*last)).collect();
    let sub = SubInterface { parent: PARENT, rx_vlan: vlan, tx_vlan: vlan, stations };
    Object::Vif(Vif { sub: Some(sub), ..plain(id, VifKind::VirtualVlan) })
}

fn assign(vif: u16, vlan: u16, vrf: u16) -> Object {
    Object::VrfAssign(VrfAssign { vif: VifId(vif), vlan, vrf: VrfId(vrf), next_hop: None })
}

#[test]
fn a_plain_interface_has_no_features_and_nothing_beside_it() {
    let node = Node::new([vif(3)]);
    assert_eq!((node.features(PARENT), &node.vif(PARENT).extras), (VifFeatures(0), &None));
}

#[test]
fn point_45_capabilities_survive_updates_and_neither_layer_means_both() {
    let mut node = Node::new([Object::Vif(Vif {
        // An agent cannot set a capability.
        flags: VifFlags::POLICY.with(VifFlags::VLAN_OFFLOAD),
        ..plain(3, VifKind::Virtual)
    })]);
    let both = VifFlags::L3.with(VifFlags::L2);
    assert_eq!(node.vif(PARENT).flags, VifFlags::POLICY.with(both));
    let changes = node.model.set_capabilities(PARENT, VifFlags::TX_CSUM_OFFLOAD);
    node.writer.publish(&node.model, &changes);
    node.put([Object::Vif(Vif { flags: VifFlags::L2, ..plain(3, VifKind::Virtual) })]);
    assert_eq!(node.vif(PARENT).flags, VifFlags::L2.with(VifFlags::TX_CSUM_OFFLOAD));
    assert!(node.model.set_capabilities(VifId(77), VifFlags::TX_CSUM_OFFLOAD).is_empty());
    node.apply(&[Op::Delete(Key::Vif(PARENT))]);
    node.put([vif(3)]);
    assert_eq!(node.vif(PARENT).flags, VifFlags::L3, "a new interface, a new port");
}

#[test]
fn a_parent_finds_its_sub_interfaces_by_vlan_and_station() {
    let mut node = Node::new([vif(3), sub(5, 101, &[]), sub(6, 101, &[7, 8]), sub(7, 0, &[])]);
    assert_eq!(node.features(PARENT), VifFeatures::PARENT);
    assert_eq!(node.features(VifId(5)), VifFeatures::SUB);
    let found = |node: &Node, vlan, station| {
        node.vif(PARENT).extras.as_ref().and_then(|extras| extras.sub(vlan, mac(station)))
    };
    assert_eq!(found(&node, 101, 8), Some(VifId(6)));
    assert_eq!(found(&node, 101, 9), Some(VifId(5)));
    assert_eq!(found(&node, 0, 9), Some(VifId(7)));
    assert_eq!(found(&node, 102, 9), None);
    assert_eq!(node.vif(VifId(6)).extras.as_ref().unwrap().parent, Some((PARENT, 101)));
    assert_eq!(node.model.vif_references(PARENT), 4);
    // To another parent: both know.
    node.put([vif(4)]);
    let moved = SubInterface { parent: VifId(4), rx_vlan: 101, tx_vlan: 0, stations: vec![] };
    node.put([Object::Vif(Vif { sub: Some(moved), ..plain(5, VifKind::VirtualVlan) })]);
    assert_eq!(found(&node, 101, 9), None);
    assert_eq!(node.features(VifId(4)), VifFeatures::PARENT);
    node.apply(&[6, 7].map(|id| Op::Delete(Key::Vif(VifId(id)))));
    assert_eq!(node.features(PARENT), VifFeatures(0));
}

#[test]
fn who_is_monitored_knows_as_long_as_it_is() {
    let mut node = Node::new([vif(3)]);
    let monitor = Vif { monitors: Some(PARENT), ..plain(4314, VifKind::Monitoring) };
    node.put([Object::Vif(monitor)]);
    assert_eq!(node.features(PARENT), VifFeatures::MONITORED);
    assert!(node.vif(PARENT).flags.contains(VifFlags::MONITORED));
    assert_eq!(node.vif(PARENT).extras.as_ref().unwrap().monitor, Some(VifId(4314)));
    assert_eq!(node.features(VifId(4314)), VifFeatures::MONITORING);
    node.apply(&[Op::Delete(Key::Vif(VifId(4314)))]);
    assert_eq!(node.features(PARENT), VifFeatures(0));
}

#[test]
fn no_monitor_is_monitored() {
    let mut model = Model::new();
    let [one, other] = [(4314, 4315), (4315, 4314)].map(|(id, of)| {
        let monitors = Some(VifId(of));
        Op::Put(Object::Vif(Vif { monitors, ..plain(id, VifKind::Monitoring) }))
    });
    let refused = model.apply(&[one, other], Owner::Agent).unwrap_err();
    assert!(refused.to_string().ends_with("vif 4314: monitors: must be no monitoring interface"));
}

#[test]
fn assignments_make_a_service_interface_and_go_with_it() {
    let mut node = Node::new([vif(3), assign(3, 101, 2), assign(3, 7, 4)]);
    assert_eq!(node.features(PARENT), VifFeatures::SERVICE);
    let vrf = |node: &Node, vlan| {
        let extras = node.vif(PARENT).extras.as_ref()?;
        extras.assignment(vlan).map(|assign| assign.vrf)
    };
    assert_eq!(
        (vrf(&node, 101), vrf(&node, 7), vrf(&node, 8)),
        (Some(VrfId(2)), Some(VrfId(4)), None)
    );
    // The flag may be cleared before the assignments are.
    node.put([Object::Vif(plain(3, VifKind::Virtual))]);
    assert_eq!(node.features(PARENT), VifFeatures::SERVICE);
    node.apply(&[Op::Delete(Key::Vif(PARENT)), Op::Put(vif(3))]);
    assert_eq!(node.features(PARENT), VifFeatures(0));
    assert_eq!(node.model.assignments(PARENT).count(), 0);
    let error = node.model.apply(&[Op::Put(assign(9, 1, 1))], Owner::Agent).unwrap_err();
    assert_eq!(error.to_string(), "vlan 1 of vif 9: vif: there is no vif 9");
}

#[test]
fn classes_are_found_by_dscp_and_priority_and_what_is_not_named_is_class_0() {
    let class = |id, dscp| ForwardingClass { id: ClassId(id), dscp, exp: 5, dot1p: 5, queue: 7 };
    let map = QosMap {
        dscp: BTreeMap::from([(10, ClassId(2))]),
        dot1p: BTreeMap::from([(5, ClassId(2))]),
        ..QosMap::new(QosMapId(1))
    };
    let mut node = Node::new([Object::QosMap(map), Object::Class(class(2, 46))]);
    let fib = |node: &Node, dscp| {
        node.writer.fib().class_of_dscp(QosMapId(1), dscp).map(|class| class.dscp)
    };
    assert_eq!((fib(&node, 10), fib(&node, 11)), (Some(46), None));
    assert!(node.writer.fib().class_of_dot1p(QosMapId(1), 5).is_some());
    node.put([Object::Class(class(0, 8)), Object::Class(class(2, 47))]);
    assert_eq!((fib(&node, 10), fib(&node, 11)), (Some(47), Some(8)));
    node.apply(&[Op::Delete(Key::QosMap(QosMapId(1)))]);
    assert_eq!(fib(&node, 10), None);
}

#[test]
fn special_tunnels_compile_beside_plain_ones() {
    let uplink = |vif| Some(Uplink { vif: VifId(vif), rewrite: vec![2; 14] });
    let to = |encap, rewrite| NextHopKind::Tunnel {
        source: "192.0.2.1".parse().unwrap(),
        destination: "192.0.2.2".parse().unwrap(),
        encap,
        rewrite,
    };
    let transport = Label::try_from(299_808).unwrap();
    let stacked = TunnelEncap::MplsOverMplsOverUdp(transport);
    let given = || Rewrite::Given(VifId(0), vec![2; 14]);
    let encrypted = |vif| Rewrite::Encrypted(vif, Box::new(given()));
    let analyser = TunnelEncap::Udp { source: 8097, destination: 8099 };
    let node = Node::new([
        vif(0),
        vif(1),
        next_hop(25, to(stacked, given())),
        next_hop(
            27,
            to(TunnelEncap::MplsOverUdp, Rewrite::Uplinks(vec![uplink(0), None, uplink(1)])),
        ),
        next_hop(29, to(TunnelEncap::MplsOverGre, encrypted(None))),
        next_hop(24, to(analyser, given())),
    ]);
    let special = |id| match node.writer.fib().next_hop(NhId(id)) {
        FibNextHop::SpecialTunnel(tunnel) => (**tunnel).clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(special(25).transport, Some(transport));
    let ways: Vec<_> = special(27).uplinks.iter().map(|hop| hop.as_ref().map(|h| h.vif)).collect();
    assert_eq!(ways, [Some(VifId(0)), None, Some(VifId(1))]);
    assert_eq!(special(29).crypt, Some(Crypt::Missing));
    let FibNextHop::UdpTunnel(udp) = node.writer.fib().next_hop(NhId(24)) else { panic!() };
    assert_eq!((udp.ports, udp.underlay), ((8097, 8099), Some((VifId(0), [2; 14]))));
    let flags = |id| node.model.next_hop(NhId(id)).unwrap().wire_flags().without(NhFlags::VALID);
    assert_eq!(flags(25), NhFlags(0x400_0040));
    assert_eq!(flags(27), NhFlags(0x1000_0040));
    assert_eq!(flags(29), NhFlags(0x100_0008));
    assert_eq!(flags(24), NhFlags(0x10));
}

#[test]
fn refusals_name_the_object_the_field_and_the_rule() {
    let mut node = Node::new([vif(3), sub(5, 101, &[])]);
    let with = |change: fn(&mut Vif)| {
        let mut vif = plain(3, VifKind::Virtual);
        change(&mut vif);
        Object::Vif(vif)
    };
    let mut nested = plain(6, VifKind::VirtualVlan);
    nested.sub = Some(SubInterface { parent: VifId(5), rx_vlan: 1, tx_vlan: 1, stations: vec![] });
    let cases = [
        (Object::Vif(plain(3, VifKind::Physical)), "vif 3: id: 3 is above 2"),
        (with(|vif| vif.mirror = Some(MirrorId(255))), "vif 3: mirror: 255 is above 254"),
        (
            with(|vif| vif.egress_metadata = vec![0; 256]),
            "vif 3: egress_metadata: 256 is above 255",
        ),
        (with(|vif| vif.qos_map = Some(QosMapId(4096))), "vif 3: qos_map: 4096 is above 4095"),
        (
            Object::Vif(plain(6, VifKind::VirtualVlan)),
            "vif 6: sub: must be given for a VLAN sub-interface and for nothing else",
        ),
        (
            with(|vif| vif.monitors = Some(VifId(5))),
            "vif 3: monitors: must be given for a monitoring interface and for nothing else",
        ),
        (sub(6, 4096, &[]), "vif 6: sub.rx_vlan: 4096 is above 4095"),
        (sub(6, 1, &[1, 2, 3, 4, 5]), "vif 6: sub.stations: 5 is above 4"),
        (Object::Vif(nested), "vif 6: sub.parent: must be a virtual or physical interface"),
        (assign(3, 1024, 1), "vlan 1024 of vif 3: vlan: 1024 is above 1023"),
        (
            Object::Mirror(Mirror {
                id: MirrorId(3),
                next_hop: NhId(28),
                vni: None,
                vlan: 0,
                flags: MirrorFlags(0),
            }),
            "mirror 3: next_hop: there is no next hop 28",
        ),
        (
            Object::QosMap(QosMap {
                dscp: BTreeMap::from([(64, ClassId(1))]),
                ..QosMap::new(QosMapId(1))
            }),
            "qos map 1: dscp: 64 is above 63",
        ),
        (
            Object::VrfTable(VrfTable { vrf: RED, hbs_left: Some(VifId(40)), hbs_right: None }),
            "table of vrf 1: hbs_left: there is no vif 40",
        ),
    ];
    for (object, message) in cases {
        assert_eq!(node.refused(object), message);
    }
}

#[test]
fn composites_take_the_members_of_their_kind() {
    let udp = TunnelEncap::Udp { source: 1, destination: 2 };
    let mut node = Node::new([
        vif(3),
        next_hop(5, tunnel("192.0.2.1", "192.0.2.2", TunnelEncap::MplsOverUdp)),
        next_hop(6, tunnel("192.0.2.1", "192.0.2.2", udp)),
        next_hop(7, NextHopKind::Encap { vif: PARENT, rewrite: vec![0; 14] }),
        next_hop(8, NextHopKind::L2Receive),
    ]);
    let of = |kind, member| {
        let members = vec![None, Some(Member { next_hop: NhId(member), label: None })];
        next_hop(40, NextHopKind::Composite { kind, members })
    };
    let cases = [
        (CompositeKind::Fabric, 6, "no plain UDP tunnel"),
        (CompositeKind::Evpn, 7, "a tunnel"),
        (CompositeKind::Tor, 5, "a VXLAN tunnel"),
        (CompositeKind::Encap, 7, "with the multicast flag, being of family inet"),
        (CompositeKind::Encap, 8, "an encap next hop"),
        (CompositeKind::Multicast, 5, "a fabric, EVPN, encap or ToR composite"),
    ];
    for (kind, member, rule) in cases {
        let message =
            format!("next hop 40: members: position 1 (next hop {member}) must be {rule}");
        assert_eq!(node.refused(of(kind, member)), message);
    }
    node.put([
        of(CompositeKind::Ecmp(0), 8),
        of(CompositeKind::Tor, 99),
        of(CompositeKind::Fabric, 5),
    ]);
}
