//! From the model to what packets read: compiled content, increments against a fresh build, snapshots.

#[expect(
    unreachable_pub,
    dead_code,
    reason = "shared by the tests of this folder; each uses a part"
)]
mod support;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use support::*;
use tables::*;
use wire::{Label, Mac, Prefix, Vni};

/// A model with its writer: applies and publishes.
struct Node {
    model: Model,
    writer: Writer,
}

impl Node {
    fn new(ops: &[Op]) -> Node {
        let mut node = Node { model: Model::new(), writer: Writer::new() };
        node.apply(ops);
        node
    }

    fn apply(&mut self, ops: &[Op]) {
        let changes = self.model.apply(ops, Owner::Agent).unwrap();
        self.writer.publish(&self.model, &changes);
    }

    fn fib(&self) -> &Fib {
        self.writer.fib()
    }

    fn tunnel(&self, id: u32) -> &TunnelHop {
        match self.fib().next_hop(NhId(id)) {
            FibNextHop::Tunnel(tunnel) => tunnel,
            other => panic!("not a tunnel: {other:?}"),
        }
    }
}

fn hit(fib: &Fib, vrf: u16, address: &str) -> (u32, u8) {
    let hit = fib.route(VrfId(vrf), address.parse::<Ipv4Addr>().unwrap());
    (hit.nh.0, hit.prefix_len)
}

#[test]
fn a_miss_a_vrf_without_table_and_an_unknown_next_hop_do_not_forward() {
    let node = Node::new(&[]);
    assert_eq!(node.fib().route4(VrfId(5), 1), RouteHit::MISS);
    assert_eq!(node.fib().next_hop(NhId(0)), &FibNextHop::Discard);
    assert_eq!(node.fib().next_hop(NhId(1)), &FibNextHop::Invalid);
    assert_eq!(node.fib().label(1 << 20), None);
    assert_eq!(node.fib().vni(1 << 24), None);
}

#[test]
fn a_deleted_next_hop_is_invalid_for_what_still_names_it_until_it_returns() {
    let discard = put(next_hop(4, NextHopKind::L2Receive));
    let mut node =
        Node::new(&[discard.clone(), put(Object::Inet(route(1, "10.0.0.0/8", 4, None)))]);
    node.apply(&[Op::Delete(Key::NextHop(NhId(4)))]);
    assert_eq!(hit(node.fib(), 1, "10.0.0.1"), (4, 8));
    assert_eq!(node.fib().next_hop(NhId(4)), &FibNextHop::Invalid);
    node.apply(&[discard]);
    assert_eq!(node.fib().next_hop(NhId(4)), &FibNextHop::L2Receive);
}

#[test]
fn a_next_hop_without_the_valid_flag_is_invalid() {
    let mut nh = match next_hop(4, NextHopKind::L2Receive) {
        Object::NextHop(nh) => nh,
        _ => unreachable!(),
    };
    nh.flags = NhFlags(0);
    let node = Node::new(&[put(Object::NextHop(nh))]);
    assert_eq!(node.fib().next_hop(NhId(4)), &FibNextHop::Invalid);
}

#[test]
fn labels_and_vnis_use_all_their_bits() {
    let label = Label::try_from(Label::MAX).unwrap();
    let vni = Vni::try_from(Vni::MAX).unwrap();
    let node = Node::new(&[
        put(next_hop(4, NextHopKind::L2Receive)),
        put(Object::Label(LabelEntry { label, next_hop: NhId(4) })),
        put(Object::Vni(VniEntry { vni, next_hop: NhId(4) })),
        put(next_hop(5, tunnel("192.0.2.1", "192.0.2.2", TunnelEncap::Vxlan))),
        put(Object::Inet(route(1, "10.0.0.0/8", 5, Some(Vni::MAX)))),
    ]);
    assert_eq!(node.fib().label(Label::MAX), Some(NhId(4)));
    assert_eq!(node.fib().vni(Vni::MAX), Some(NhId(4)));
    assert_eq!(node.fib().route4(VrfId(1), 0x0a00_0001).label, Some(Vni::MAX));
}

#[test]
fn a_tunnel_waits_for_its_adjacency_and_follows_it() {
    let mut node = Node::new(&[
        put(vif(0)),
        put(next_hop(5, tunnel("192.0.2.1", "192.0.2.2", TunnelEncap::MplsOverUdp))),
        put(next_hop(6, tunnel("192.0.2.1", "192.0.2.3", TunnelEncap::MplsOverUdp))),
    ]);
    assert!(!node.tunnel(5).ready);
    assert_eq!(node.model.tunnel_destinations().count(), 2);
    node.apply(&[put(adjacency("192.0.2.2", 0, mac(2)))]);
    assert!(node.tunnel(5).ready && !node.tunnel(6).ready);
    assert_eq!(node.tunnel(5).header.bytes()[..6], mac(2).0);
    node.apply(&[put(adjacency("192.0.2.2", 0, mac(3)))]);
    assert_eq!(node.tunnel(5).header.bytes()[..6], mac(3).0);
    node.apply(&[Op::Delete(Key::Adjacency("192.0.2.2".parse::<IpAddr>().unwrap()))]);
    assert!(!node.tunnel(5).ready);
}

/// Fills in what the engine patches, then lets etherparse judge.
fn filled(tunnel: &TunnelHop) -> Vec<u8> {
    let header = &tunnel.header;
    let mut bytes = header.bytes().to_vec();
    let ip = OuterHeader::IP;
    let length = u16::try_from(bytes.len() - ip).unwrap();
    if matches!(tunnel.endpoints, Endpoints::V4 { .. }) {
        let mut sum = u32::from(header.partial_checksum()) + u32::from(length) + 0x1234;
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        bytes[ip + 2..ip + 4].copy_from_slice(&length.to_be_bytes());
        bytes[ip + 4..ip + 6].copy_from_slice(&[0x12, 0x34]);
        bytes[ip + 10..ip + 12].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    } else {
        bytes[ip + 4..ip + 6].copy_from_slice(&(length - 40).to_be_bytes());
    }
    if !matches!(tunnel.encap, TunnelEncap::MplsOverGre) {
        let length = u16::try_from(bytes.len() - header.transport()).unwrap();
        bytes[header.transport() + 4..header.transport() + 6]
            .copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

#[test]
fn prebuilt_headers_are_what_the_wire_formats_say() {
    let encaps = [
        TunnelEncap::MplsOverGre,
        TunnelEncap::MplsOverUdp,
        TunnelEncap::Vxlan,
        TunnelEncap::VxlanL3(mac(9)),
    ];
    for (ends, ip_length) in
        [(["192.0.2.1", "192.0.2.2"], 20), (["2001:db8::1", "2001:db8::2"], 40)]
    {
        for encap in encaps {
            let node = Node::new(&[
                put(vif(0)),
                put(adjacency(ends[1], 0, mac(2))),
                put(next_hop(5, tunnel(ends[0], ends[1], encap))),
            ]);
            let hop = node.tunnel(5);
            let bytes = filled(hop);
            let parsed = etherparse::SlicedPacket::from_ethernet(&bytes).unwrap();
            let (ttl, protocol) = match parsed.net.as_ref().unwrap() {
                etherparse::NetSlice::Ipv4(ip) => {
                    let ip = ip.header().to_header();
                    assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                    assert!(!ip.dont_fragment);
                    assert_eq!(
                        [IpAddr::from(ip.source), IpAddr::from(ip.destination)],
                        [hop.source(), hop.destination()]
                    );
                    (ip.time_to_live, ip.protocol)
                }
                etherparse::NetSlice::Ipv6(ip) => {
                    let ip = ip.header().to_header();
                    assert_eq!(
                        [IpAddr::from(ip.source), IpAddr::from(ip.destination)],
                        [hop.source(), hop.destination()]
                    );
                    (ip.hop_limit, ip.next_header)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(ttl, 64);
            assert_eq!(hop.header.transport(), 14 + ip_length);
            match encap {
                TunnelEncap::MplsOverGre => {
                    assert_eq!(protocol, etherparse::IpNumber::GRE);
                    assert_eq!(bytes[14 + ip_length..], [0, 0, 0x88, 0x47, 0, 0, 0, 0]);
                    assert_eq!(hop.header.shim(), 14 + ip_length + 4);
                }
                _ => {
                    assert_eq!(protocol, etherparse::IpNumber::UDP);
                    let Some(etherparse::TransportSlice::Udp(udp)) = &parsed.transport else {
                        panic!()
                    };
                    let mpls = encap == TunnelEncap::MplsOverUdp;
                    assert_eq!(udp.destination_port(), if mpls { 6635 } else { 4789 });
                    assert_eq!(udp.checksum(), 0);
                    let shim: &[u8] = if mpls { &[0; 4] } else { &[8, 0, 0, 0, 0, 0, 0, 0] };
                    assert_eq!(&bytes[hop.header.shim()..], shim);
                }
            }
        }
    }
}

#[test]
fn ecmp_members_keep_their_positions_when_one_goes_and_returns() {
    let member = |id| put(next_hop(id, tunnel("192.0.2.1", "192.0.2.9", TunnelEncap::MplsOverUdp)));
    let mut node = Node::new(&[
        member(2),
        member(3),
        member(4),
        put(next_hop(9, ecmp(&[Some((2, 33)), Some((3, 34)), Some((4, 35))]))),
    ]);
    let group = |node: &Node| match node.fib().next_hop(NhId(9)) {
        FibNextHop::Ecmp(group) => group.clone(),
        other => panic!("{other:?}"),
    };
    let chosen = |group: &EcmpGroup| -> Vec<_> {
        (0..300).map(|hash| group.select(hash).map(|(_, member)| member.next_hop.0)).collect()
    };
    let before = chosen(&group(&node));
    node.apply(&[Op::Delete(Key::NextHop(NhId(3)))]);
    assert_eq!(group(&node).active, [0, 2]);
    for (old, new) in before.iter().zip(chosen(&group(&node))) {
        assert!(new.is_some() && (*old == new || *old == Some(3)) && new != Some(3));
    }
    node.apply(&[member(3)]);
    assert_eq!(chosen(&group(&node)), before);
    node.apply(&[2, 3, 4].map(|id| Op::Delete(Key::NextHop(NhId(id)))));
    assert_eq!(group(&node).select(7), None);
}

#[test]
fn a_stitched_mac_is_told_while_the_bridge_entry_exists_and_never_becomes_anothers() {
    let mut stitched = route(1, "10.0.0.1/32", 0, None);
    stitched.mac = Some(mac(1));
    let mut node = Node::new(&[put(bridge(1, 1, 0)), put(Object::Inet(stitched))]);
    let told = |node: &Node| node.fib().stitched_mac(&node.fib().route4(VrfId(1), 0x0a00_0001));
    assert_eq!(told(&node), Some(mac(1)));
    node.apply(&[
        Op::Delete(Key::Bridge(VrfId(1), mac(1))),
        put(bridge(1, 2, 0)),
        put(bridge(1, 3, 0)),
    ]);
    assert_eq!(told(&node), None);
    node.apply(&[put(bridge(1, 1, 0))]);
    assert_eq!(told(&node), Some(mac(1)));
    // Without entry and route the slot is free for others.
    node.apply(&[
        Op::Delete(Key::Bridge(VrfId(1), mac(1))),
        Op::Delete(Key::Inet(VrfId(1), "10.0.0.1/32".parse().unwrap())),
    ]);
    node.apply(&[put(bridge(7, 4, 0))]);
    assert_eq!(node.fib().bridge(VrfId(7), mac(4)).unwrap().slot.index(), 0);
    assert_eq!(node.fib().bridge(VrfId(1), mac(4)), None);
}

#[test]
fn a_dump_needs_a_table_and_an_emptied_table_stays_one() {
    let mut node = Node::new(&[put(Object::Inet(route(1, "10.0.0.0/8", 0, None)))]);
    assert_eq!(node.fib().leaves::<Ipv4Addr>(VrfId(1), None).count(), 256);
    assert_eq!(node.fib().leaves::<Ipv4Addr>(VrfId(2), None).count(), 0);
    assert_eq!(node.fib().leaves::<Ipv6Addr>(VrfId(1), None).count(), 0);
    node.apply(&[Op::Delete(Key::Inet(VrfId(1), "10.0.0.0/8".parse().unwrap()))]);
    let rows: Vec<_> = node.fib().leaves::<Ipv4Addr>(VrfId(1), None).collect();
    assert_eq!(rows, [("0.0.0.0/0".parse().unwrap(), RouteHit::MISS)]);
}

#[test]
fn readers_move_on_at_their_next_entry_and_sleepers_hold_nothing_up() {
    let mut node = Node::new(&[]);
    let (mut awake, mut sleeper) = (node.writer.reader(), node.writer.reader());
    awake.enter();
    sleeper.enter();
    let old = node.writer.generation();
    node.apply(&[put(Object::Inet(route(1, "10.0.0.0/8", 0, None)))]);
    let new = node.writer.generation();
    assert!(node.writer.reached(old) && !node.writer.reached(new));
    assert_eq!(node.writer.retired(), 1);
    sleeper.sleep();
    assert!(!node.writer.reached(new));
    assert_eq!(awake.enter().generation(), new);
    assert!(node.writer.reached(new));
    node.writer.collect();
    assert_eq!(node.writer.retired(), 0);
    assert_eq!(sleeper.enter().generation(), new);
    assert_eq!(hit(sleeper.enter(), 1, "10.1.1.1"), (0, 8));
    drop(awake);
    sleeper.sleep();
    assert!(node.writer.reached(Generation(new.0 + 1)));
}

#[test]
fn threads_see_every_transaction_whole() {
    let pair = |nh: u32| {
        [
            put(Object::Inet(route(1, "10.0.0.0/8", nh, None))),
            put(Object::Inet(route(1, "11.0.0.0/8", nh, None))),
        ]
    };
    let hops: Vec<_> = (1..50).map(|id| put(next_hop(id, NextHopKind::L2Receive))).collect();
    let mut node = Node::new(&hops);
    let readers: Vec<_> = (0..2).map(|_| node.writer.reader()).collect();
    std::thread::scope(|scope| {
        for mut reader in readers {
            scope.spawn(move || {
                loop {
                    let fib = reader.enter();
                    let nh = fib.route4(VrfId(1), 0x0a00_0001).nh;
                    assert_eq!(nh, fib.route4(VrfId(1), 0x0b00_0001).nh);
                    if nh == NhId(49) {
                        return;
                    }
                    if nh.0.is_multiple_of(2) {
                        reader.sleep();
                    }
                }
            });
        }
        for nh in 1..50 {
            node.apply(&pair(nh));
            while !node.writer.reached(node.writer.generation()) {
                std::thread::yield_now();
            }
        }
    });
    node.writer.collect();
    assert_eq!(node.writer.retired(), 0);
}

// ------------------------------------------------------------------------- increments against a fresh build

fn prefix4() -> impl Strategy<Value = Prefix<Ipv4Addr>> {
    (prop::sample::select(vec![0u32, 0x0a00_0000, 0x0a00_0001, 0x0a01_0203, 0xffff_ffff]), 0u8..=32)
        .prop_map(|(bits, length)| Prefix::new(Ipv4Addr::from_bits(bits), length).unwrap())
}

fn object() -> impl Strategy<Value = Object> {
    let nh = 0u32..8;
    let hop = prop_oneof![
        Just(NextHopKind::L2Receive),
        Just(NextHopKind::Translate(VrfId(2))),
        (1u8..4).prop_map(|i| tunnel(
            "192.0.2.9",
            &format!("192.0.2.{i}"),
            TunnelEncap::MplsOverUdp
        )),
        (1u8..4).prop_map(|i| tunnel("192.0.2.9", &format!("192.0.2.{i}"), TunnelEncap::Vxlan)),
        prop::collection::vec(prop::option::of((8u32..12, 0u32..99)), 0..4).prop_map(|m| ecmp(&m)),
    ];
    let route =
        (0u16..3, prefix4(), nh.clone(), prop::option::of(0u32..99), prop::option::of(1u8..4));
    prop_oneof![
        (0u16..3).prop_map(vif),
        (1u32..12, hop).prop_map(|(id, kind)| next_hop(id, kind)),
        route.prop_map(|(vrf, prefix, nh, label, station)| {
            let mut route = route_of(vrf, prefix, nh);
            route.label = label.map(|label| Vni::try_from(label).unwrap());
            route.mac = station.map(mac);
            Object::Inet(route)
        }),
        (0u16..3, 1u8..4, nh.clone()).prop_map(|(vrf, station, nh)| bridge(vrf, station, nh)),
        (0u32..5, nh.clone()).prop_map(|(label, nh)| Object::Label(LabelEntry {
            label: Label::try_from(label).unwrap(),
            next_hop: NhId(nh)
        })),
        (0u32..5, nh).prop_map(|(vni, nh)| Object::Vni(VniEntry {
            vni: Vni::try_from(vni * 5_000_000 / 2).unwrap(),
            next_hop: NhId(nh)
        })),
        (1u8..4, 0u16..3, 1u8..9).prop_map(|(i, vif, n)| adjacency(
            &format!("192.0.2.{i}"),
            vif,
            mac(n)
        )),
    ]
}

fn route_of(vrf: u16, prefix: Prefix<Ipv4Addr>, nh: u32) -> Route<Ipv4Addr> {
    Route { prefix, ..route(vrf, "0.0.0.0/0", nh, None) }
}

fn transaction() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![2 => object().prop_map(Op::Put), 1 => object().prop_map(|o| Op::Delete(o.key()))];
    prop::collection::vec(op, 1..6)
}

/// Everything in the model that a fresh one needs, in no helpful order.
fn everything(model: &Model) -> Vec<Op> {
    let mut objects: Vec<Object> = Vec::new();
    for vrf in 0..3 {
        objects.extend(model.inet_routes(VrfId(vrf), None).copied().map(Object::Inet));
    }
    objects.extend(model.bridge_entries(..).copied().map(Object::Bridge));
    objects.extend(model.labels(..).copied().map(Object::Label));
    objects.extend(model.vnis(..).copied().map(Object::Vni));
    objects.extend(model.adjacencies().copied().map(Object::Adjacency));
    objects.extend(model.next_hops(NhId(1)..).cloned().map(Object::NextHop));
    objects.extend(model.vifs(..).cloned().map(Object::Vif));
    objects.into_iter().map(Op::Put).collect()
}

/// All that can be asked, as comparable data (slots, and since when an id names an interface, aside: they depend on
/// history).
fn answers(fib: &Fib) -> impl PartialEq + std::fmt::Debug + use<> {
    let hit =
        |hit: RouteHit| (hit.nh, hit.label, hit.flags, hit.prefix_len, fib.stitched_mac(&hit));
    let routes: Vec<_> = (0..3)
        .flat_map(|vrf| {
            let addresses = [
                0,
                1,
                0x0a00_0000,
                0x0a00_0001,
                0x0a00_0002,
                0x0a01_0203,
                0x0b00_0000,
                0xffff_ffff,
            ];
            addresses.map(|address| hit(fib.route4(VrfId(vrf), address)))
        })
        .collect();
    let hops: Vec<_> = (0..12).map(|id| fib.next_hop_entry(NhId(id)).clone()).collect();
    let labels: Vec<_> = (0..5).map(|i| (fib.label(i), fib.vni(i * 5_000_000 / 2))).collect();
    let stations: Vec<_> = (0..9)
        .map(|i| {
            fib.bridge(VrfId(i / 3), mac((i % 3) as u8 + 1))
                .map(|hit| (hit.nh, hit.label, hit.flags))
        })
        .collect();
    let timeless = |vif: &FibVif| FibVif { since: Generation(0), ..vif.clone() };
    let vifs: Vec<_> = (0..3).map(|id| fib.vif(VifId(id)).map(timeless)).collect();
    (routes, hops, labels, stations, vifs)
}

/// Whether everything named exists, which a fresh build needs and deletes do not keep up.
fn mended(model: &mut Model) -> Changes {
    let mut changes = Changes::default();
    for id in 1..12 {
        if model.next_hop(NhId(id)).is_none() {
            changes.merge(
                model.apply(&[put(next_hop(id, NextHopKind::L2Receive))], Owner::Agent).unwrap(),
            );
        }
    }
    for id in 0..3 {
        changes.merge(model.apply(&[put(vif(id))], Owner::Agent).unwrap());
        for station in 1..4 {
            if model.bridge_entry(VrfId(id), mac(station)).is_none() {
                changes.merge(model.apply(&[put(bridge(id, station, 0))], Owner::Agent).unwrap());
            }
        }
    }
    changes
}

proptest! {
    #[test]
    fn increments_end_where_a_fresh_build_does_and_errors_change_nothing(
        transactions in prop::collection::vec(transaction(), 1..40),
        coalesce in 1usize..4,
    ) {
        let mut model = Model::new();
        let mut writer = Writer::new();
        let mut pending = Changes::default();
        for (turn, ops) in transactions.iter().enumerate() {
            let before = everything(&model);
            match model.apply(ops, Owner::Agent) {
                Ok(changes) => pending.merge(changes),
                Err(_) => prop_assert_eq!(before, everything(&model)),
            }
            if turn % coalesce == 0 {
                writer.publish(&model, &std::mem::take(&mut pending));
            }
        }
        pending.merge(mended(&mut model));
        let old = writer.fib().clone();
        let as_it_was = answers(&old);
        writer.publish(&model, &pending);
        prop_assert_eq!(as_it_was, answers(&old), "a published snapshot changed");

        // Routes whose next hop became a tunnel under them would be refused afresh.
        let mut fresh = Model::new();
        let ops = everything(&model);
        if let Ok(changes) = fresh.apply(&ops, Owner::Agent) {
            let mut twin = Writer::new();
            twin.publish(&fresh, &changes);
            prop_assert_eq!(answers(writer.fib()), answers(twin.fib()));
            for id in 0..12 {
                prop_assert_eq!(model.next_hop_references(NhId(id)), fresh.next_hop_references(NhId(id)));
            }
        }
    }

    #[test]
    fn the_bridge_table_answers_as_a_map(
        steps in prop::collection::vec((0u16..4, any::<u8>(), prop::bool::weighted(0.7)), 1..600)
    ) {
        let mut node = Node::new(&[]);
        let mut twin = std::collections::BTreeMap::new();
        for (vrf, station, there) in steps {
            if there {
                node.apply(&[put(bridge(vrf, station, 0))]);
                let slot = node.fib().bridge(VrfId(vrf), mac(station)).unwrap().slot;
                prop_assert_eq!(*twin.entry((vrf, station)).or_insert(slot), slot, "an index moved");
            } else {
                node.apply(&[Op::Delete(Key::Bridge(VrfId(vrf), mac(station)))]);
                twin.remove(&(vrf, station));
            }
        }
        for vrf in 0..4 {
            for station in 0..=255 {
                let found = node.fib().bridge(VrfId(vrf), mac(station)).map(|hit| hit.slot);
                prop_assert_eq!(found, twin.get(&(vrf, station)).copied());
                if let Some(slot) = found {
                    let expected = Station { vrf: VrfId(vrf), mac: mac(station) };
                    prop_assert_eq!(node.fib().station(slot), Some(&expected));
                }
            }
        }
    }
}

#[test]
fn a_reader_may_outlive_its_writer() {
    let mut node = Node::new(&[put(Object::Inet(route(1, "10.0.0.0/8", 0, None)))]);
    let mut reader = node.writer.reader();
    reader.enter();
    drop(node);
    assert_eq!(hit(reader.enter(), 1, "10.0.0.1"), (0, 8));
    assert_eq!(reader.enter().bridge(VrfId(1), Mac::BROADCAST), None);
}
