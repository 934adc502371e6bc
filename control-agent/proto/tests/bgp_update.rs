//! UPDATEs: bytes both ways, against the library that writes them, and against what goes wrong on the wire.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::prelude::*;
use proto::bgp::{
    AdjOut, Announcement, AsWidth, Attributes, Destination, Encapsulation, Family, FloodTunnel,
    IpPrefix, MAX_MESSAGE, Membership, Message, Mobility, Origin, Rd, Relation, RouteKey,
    RouteTarget, RouteUpdate, Segment, Sender, UpdateContext, decode_update, encode_announcements,
    encode_end_of_rib, encode_withdrawals, take_message,
};
use wire::{Mac, Prefix};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn context() -> UpdateContext {
    UpdateContext {
        local_as: 65000,
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        families: vec![Family::Vpn4, Family::Vpn6, Family::Evpn],
        as_width: AsWidth::Four,
        relation: Relation::Internal,
    }
}

fn read(bytes: &[u8], context: &UpdateContext) -> RouteUpdate {
    match take_message(bytes) {
        Ok(Some((Message::Update(body), n))) if n == bytes.len() => {
            decode_update(body, context).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

const H32_TYPE5: &str = "ffffffffffffffffffffffffffffffff007002000000594001010040020040050400000064800e2d00194604c00002020005220001c0000202000a0000000000000000000000000000180a0a030000000000001779c010180002fde800000065030c000000000008060302000000c0fe";

#[test]
fn a_type_5_route_gives_vni_routers_mac_and_target() {
    let update = read(&hex(H32_TYPE5), &context());
    assert_eq!(update.problems, []);
    let [route] = update.announced.as_slice() else { panic!("{update:?}") };
    assert_eq!(route.key.destination.to_string(), "10.10.3.0/24");
    assert_eq!(route.key.rd.to_string(), "192.0.2.2:10");
    assert_eq!(route.label(Encapsulation::Vxlan), 6009);
    let attributes = &route.attributes;
    assert_eq!(attributes.next_hop, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
    assert_eq!(attributes.encapsulations, [Encapsulation::Vxlan]);
    assert_eq!(attributes.router_mac, Some(Mac([2, 0, 0, 0, 0xc0, 0xfe])));
    assert_eq!(attributes.targets, ["65000:101".parse().unwrap()]);
    assert_eq!(attributes.local_preference, Some(100));
}

#[test]
fn a_type_5_route_without_routers_mac_is_kept_and_a_tag_is_part_of_its_key() {
    let bare = "ffffffffffffffffffffffffffffffff006802000000514001010040020040050400000064800e2d00194604c00002020005220001c0000202000a0000000000000000000000000000180a0a030000000000001779c010100002fde800000065030c000000000008";
    let update = read(&hex(bare), &context());
    assert_eq!(update.announced[0].attributes.router_mac, None);
    let tagged = H32_TYPE5.replacen("0000000000180a0a03", "0000001389180a0a03", 1);
    let update = read(&hex(&tagged), &context());
    assert_eq!(update.announced[0].key.tag, 5001);
}

const H31_VXLAN: &str = "ffffffffffffffffffffffffffffffff006b02000000544001010040020040050400000064800e3000194604c00002020002250001c0000202000200000000000000000000000000003002000000a109200a0a0109001389c010100002fde800000065030c000000000008";
const H31_MPLS: &str = "ffffffffffffffffffffffffffffffff006b02000000544001010040020040050400000064800e3000194604c00002020002250001c0000202000200000000000000000000000000003002000000a109200a0a0109013891c010100002fde800000065030c00000000000d";
const H31_SHIFTED: &str = "ffffffffffffffffffffffffffffffff006b02000000544001010040020040050400000064800e3000194604c00002020002250001c0000202000200000000000000000000000000003002000000a109200a0a0109013891c010100002fde800000065030c000000000008";

#[test]
fn h31_the_label_field_is_read_by_the_encapsulation_community_and_never_repaired() {
    for (bytes, encapsulation, expected) in [
        (H31_VXLAN, Encapsulation::Vxlan, 5001),
        (H31_MPLS, Encapsulation::MplsOverUdp, 5001),
        (H31_SHIFTED, Encapsulation::Vxlan, 80017),
    ] {
        let update = read(&hex(bytes), &context());
        assert_eq!(update.problems, []);
        let [route] = update.announced.as_slice() else { panic!("{update:?}") };
        let mac = Mac([2, 0, 0, 0, 0xa1, 9]);
        let address = Some(IpAddr::V4(Ipv4Addr::new(10, 10, 1, 9)));
        assert_eq!(route.key.destination, Destination::Station { mac, address });
        assert_eq!(route.attributes.encapsulations, [encapsulation]);
        assert_eq!(route.label(encapsulation), expected);
    }
}

#[test]
fn h31_the_label_field_is_written_for_the_encapsulation() {
    let station = Destination::Station {
        mac: Mac([2, 0, 0, 0, 0xa1, 9]),
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 10, 1, 9))),
    };
    let rd = Rd::from_address(Ipv4Addr::new(192, 0, 2, 2), 2);
    let key = RouteKey { family: Family::Evpn, rd, tag: 0, destination: station };
    for (encapsulation, captured) in
        [(Encapsulation::Vxlan, H31_VXLAN), (Encapsulation::MplsOverUdp, H31_MPLS)]
    {
        let attributes = Attributes {
            next_hop: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
            targets: vec!["65000:101".parse().unwrap()],
            encapsulations: vec![encapsulation],
            ..attributes()
        };
        let label = Announcement::raw_label_of(encapsulation, 5001);
        let messages = encode_announcements(SENDER, Family::Evpn, &attributes, &[(key, label)]);
        let [message] = messages.as_slice() else { panic!("{messages:?}") };
        let written = read(message, &context());
        assert_eq!(written, read(&hex(captured), &context()));
        assert_eq!(written.announced[0].raw_label, label);
    }
}

#[test]
fn h31_a_flood_route_takes_its_label_from_the_pmsi_tunnel() {
    let router = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
    let rd = Rd::from_address(Ipv4Addr::new(192, 0, 2, 2), 2);
    let destination = Destination::Flood { router };
    let key = RouteKey { family: Family::Evpn, rd, tag: 0, destination };
    let tunnel = FloodTunnel { raw_label: [0, 0x13, 0x89], endpoint: router };
    let attributes = Attributes {
        encapsulations: vec![Encapsulation::Vxlan],
        flood: Some(tunnel),
        ..attributes()
    };
    let messages = encode_announcements(SENDER, Family::Evpn, &attributes, &[(key, [0; 3])]);
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    // Optional transitive, type 22: flags 0, ingress replication, VNI 5001, endpoint.
    let pmsi = [0xc0, 22, 9, 0, 6, 0, 0x13, 0x89, 192, 0, 2, 2];
    let at = message.windows(pmsi.len()).position(|w| w == pmsi).expect("a PMSI tunnel");
    let update = read(message, &context());
    assert_eq!(update.announced[0].label(Encapsulation::Vxlan), 5001);
    assert_eq!(update.announced[0].attributes.flood, Some(tunnel));

    let mut other_kind = message.clone();
    other_kind[at + 4] = 1;
    let update = read(&other_kind, &context());
    assert_eq!(update.announced[0].attributes.flood, None, "no ingress replication");
    let mut odd_endpoint = message.clone();
    odd_endpoint[at + 1] = 99;
    assert_eq!(read(&odd_endpoint, &context()).announced.len(), 1, "without one it is kept");
}

#[test]
fn type_2_routes_with_two_labels_ipv6_or_no_address_are_read() {
    let mac = Mac([2, 0, 0, 0, 0xa1, 9]);
    // The length of the route, of the list, of the attributes and of the message grow with it.
    let longer = |entry: &str, more: u8| {
        let mut bytes = hex(H31_VXLAN);
        let (message, list, attributes) = (17, 39, 22);
        let at = bytes.windows(2).position(|w| w == [2, 37]).unwrap();
        bytes.splice(at..at + 39, hex(entry));
        for field in [message, list, attributes] {
            bytes[field] = bytes[field].wrapping_add(more);
        }
        bytes
    };
    let head = "0001c00002020002000000000000000000000000000030020000 00a109".replace(' ', "");
    let v6 = format!("0231{head}8020010db8000000000000000000000009001389");
    let update = read(&longer(&v6, 12), &context());
    let address = Some("2001:db8::9".parse().unwrap());
    assert_eq!(update.announced[0].key.destination, Destination::Station { mac, address });
    let bare = format!("0221{head}00001389");
    let update = read(&longer(&bare, 252), &context());
    assert_eq!(update.announced[0].key.destination, Destination::Station { mac, address: None });
    let two = format!("0228{head}200a0a0109001389001771");
    let update = read(&longer(&two, 3), &context());
    assert_eq!(update.announced[0].label(Encapsulation::Vxlan), 5001);
    let excess = format!("0229{head}200a0a010900138900177100");
    let bytes = longer(&excess, 4);
    assert!(decode_update(&bytes[19..], &context()).is_err(), "bytes behind the second label");
}

#[test]
fn mac_mobility_is_read_with_its_sequence_and_the_sticky_mark() {
    let attributes =
        Attributes { mobility: Some(Mobility { sticky: true, sequence: 7 }), ..attributes() };
    let messages = encode_announcements(
        SENDER,
        Family::Vpn4,
        &attributes,
        &[(vpn4([10, 0, 0, 1]), [0, 1, 1])],
    );
    let update = read(&messages[0], &context());
    assert_eq!(update.announced[0].attributes.mobility, attributes.mobility);
}

#[test]
fn vpnv4_routes_with_an_ipv6_next_hop_go_to_peers_that_take_them() {
    let attributes =
        Arc::new(Attributes { next_hop: "2001:db8::1".parse().unwrap(), ..attributes() });
    let key = vpn4([203, 0, 113, 11]);
    let wanted = std::iter::once((key, ([0, 1, 0x91], Arc::clone(&attributes)))).collect();
    let families = [Family::Vpn4];
    let plain = Sender { extended_next_hop: false, ..SENDER };
    assert!(AdjOut::default().difference(plain, &families, &wanted).is_empty());
    let messages = AdjOut::default().difference(SENDER, &families, &wanted);
    let update = read(&messages[0], &context());
    assert_eq!(update.announced[0].attributes.next_hop, attributes.next_hop);
    // RFC 8950: an RD of zeros and the address, 24 bytes.
    let next_hop = [&[0, 1, 128, 24][..], &[0; 8], &[0x20, 1, 0x0d, 0xb8]].concat();
    assert!(messages[0].windows(next_hop.len()).any(|w| w == next_hop), "{:02x?}", messages[0]);
}

#[test]
fn our_as_in_as4_path_of_a_two_octet_session_is_a_loop() {
    let looped = "ffffffffffffffffffffffffffffffff00680200000051400101004002060202fdf25ba0c0110a02020000fdf2fa56ea01800e210001800c0000000000000000c000020200780002110001c000020200020a0a0109c010100001fde800000065030c00000000000d";
    let context = UpdateContext {
        local_as: 4_200_000_001,
        as_width: AsWidth::Two,
        relation: Relation::External,
        ..context()
    };
    let update = read(&hex(looped), &context);
    assert_eq!(update.announced, []);
    assert_eq!(update.withdrawn.len(), 1);
    let elsewhere = UpdateContext { local_as: 65001, ..context };
    let update = read(&hex(looped), &elsewhere);
    let path = vec![Segment::Sequence(vec![65010, 4_200_000_001])];
    assert_eq!(update.announced[0].attributes.as_path, path);
    assert_eq!(update.announced[0].label(Encapsulation::MplsOverUdp), 33);
}

#[test]
fn routes_of_families_not_negotiated_are_ignored() {
    let membership = "ffffffffffffffffffffffffffffffff003e02000000274001010040020040050400000064800e1600018404c00002fe00600000fde80002fde800000065";
    let update = read(&hex(membership), &context());
    assert!(update.announced.is_empty() && update.withdrawn.is_empty());
}

fn attributes() -> Attributes {
    Attributes {
        origin: Origin::Igp,
        as_path: vec![],
        next_hop: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        med: None,
        local_preference: Some(100),
        targets: vec!["64512:8000001".parse().unwrap()],
        encapsulations: vec![Encapsulation::MplsOverGre, Encapsulation::MplsOverUdp],
        encapsulation_given: true,
        router_mac: None,
        mobility: None,
        membership: Membership::default(),
        flood: None,
    }
}

const SENDER: Sender = Sender {
    local_as: 65001,
    relation: Relation::Internal,
    as_width: AsWidth::Four,
    extended_next_hop: true,
};

fn vpn4(address: [u8; 4]) -> RouteKey {
    RouteKey {
        family: Family::Vpn4,
        rd: Rd::from_address(Ipv4Addr::new(192, 0, 2, 1), 2),
        tag: 0,
        destination: Destination::Prefix(IpPrefix::V4(Prefix::host(address.into()))),
    }
}

#[test]
fn a_vpnv4_route_has_the_bytes_of_the_reference() {
    let key = vpn4([203, 0, 113, 11]);
    let messages =
        encode_announcements(SENDER, Family::Vpn4, &attributes(), &[(key, [0, 1, 0x91])]);
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    let contains = |part: &[u8]| message.windows(part.len()).any(|w| w == part);
    let nlri = hex("78000191 0001c00002010002 cb00710b".replace(' ', "").as_str());
    assert!(message.ends_with(&nlri) || contains(&nlri), "{message:02x?}");
    assert!(contains(&hex("0c0000000000000000c0000201")), "next hop: {message:02x?}");
    assert!(contains(&hex("0002fc00007a1201")), "target");
    assert!(contains(&hex("030c000000000002")) && contains(&hex("030c00000000000d")));
    let withdrawal = &encode_withdrawals(Family::Vpn4, &[key])[0];
    assert!(withdrawal.ends_with(&hex("788000000001c00002010002cb00710b")), "{withdrawal:02x?}");
    assert_eq!(read(withdrawal, &context()).withdrawn, [key]);
}

#[test]
fn end_of_rib_is_an_empty_mp_unreach_and_reads_back() {
    for family in [Family::Vpn4, Family::Vpn6, Family::Evpn] {
        let bytes = encode_end_of_rib(family);
        let update = read(&bytes, &context());
        assert_eq!(update.end_of_rib, Some(family));
        assert!(update.withdrawn.is_empty() && update.announced.is_empty());
    }
    let short = hex("ffffffffffffffffffffffffffffffff001d0200000006800f03001946");
    assert_eq!(read(&short, &context()).end_of_rib, Some(Family::Evpn));
}

#[test]
fn ten_thousand_routes_are_packed_into_messages_of_at_most_4096_bytes() {
    let routes: Vec<_> =
        (0..10_000u32).map(|i| (vpn4((0x0a00_0000 + i).to_be_bytes()), [0, 1, 0x91])).collect();
    let messages = encode_announcements(SENDER, Family::Vpn4, &attributes(), &routes);
    assert!(messages.iter().all(|m| m.len() <= MAX_MESSAGE));
    assert!(messages.len() <= 41, "{}", messages.len());
    let back: Vec<_> = messages
        .iter()
        .flat_map(|m| read(m, &context()).announced)
        .map(|a| (a.key, a.raw_label))
        .collect();
    assert_eq!(back, routes);
    let keys: Vec<_> = routes.iter().map(|(key, _)| *key).collect();
    let messages = encode_withdrawals(Family::Vpn4, &keys);
    assert!(messages.iter().all(|m| m.len() <= MAX_MESSAGE));
    let back: Vec<_> = messages.iter().flat_map(|m| read(m, &context()).withdrawn).collect();
    assert_eq!(back, keys);
}

#[test]
fn reflected_own_routes_are_loops() {
    let plain = &encode_announcements(
        SENDER,
        Family::Vpn4,
        &attributes(),
        &[(vpn4([10, 0, 0, 1]), [0, 1, 1])],
    )[0];
    let with = |extra: &[u8]| {
        let mut bytes = plain.clone();
        let total = u16::from_be_bytes([bytes[21], bytes[22]]) as usize + extra.len();
        bytes[21..23].copy_from_slice(&u16::try_from(total).unwrap().to_be_bytes());
        bytes.extend(extra);
        let length = u16::try_from(bytes.len()).unwrap();
        bytes[16..18].copy_from_slice(&length.to_be_bytes());
        read(&bytes, &context())
    };
    assert_eq!(with(&hex("800904c0000209800a04c00002fe")).announced.len(), 1);
    assert_eq!(with(&hex("800904c0000201")).withdrawn.len(), 1, "originator is us");
    assert_eq!(with(&hex("800a08c00002fec0000201")).withdrawn.len(), 1, "cluster list has us");
    assert_eq!(with(&hex("800903c00002")).withdrawn.len(), 1, "ORIGINATOR_ID of three bytes");
    assert_eq!(with(&hex("c0080400010002")).announced.len(), 1, "communities pass");
    let twice = with(&hex("40050400000005"));
    assert_eq!(twice.announced[0].attributes.local_preference, Some(100), "the first counts");
}

/// (attribute bytes, what becomes of the route)
#[test]
fn malformed_attributes_withdraw_and_malformed_lists_reset() {
    let reach = "800e210001800c0000000000000000c0000202007800021100 01c00002020002 0a0a0109"
        .replace(' ', "");
    let good = format!("40010100400200{reach}");
    let message = |attributes: &str| {
        let attributes = hex(attributes);
        let mut bytes = vec![0xff; 16];
        bytes.extend(u16::try_from(23 + attributes.len()).unwrap().to_be_bytes());
        bytes.extend([2, 0, 0]);
        bytes.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        bytes.extend(attributes);
        bytes
    };
    let result = |attributes: &str| {
        let bytes = message(attributes);
        let Ok(Some((Message::Update(body), _))) = take_message(&bytes) else { panic!() };
        decode_update(body, &context()).map(|u| (u.announced.len(), u.withdrawn.len()))
    };
    assert_eq!(result(&good), Ok((1, 0)));
    let withdrawn = [
        format!("40010103400200{reach}"),
        format!("40010200004002 00{reach}").replace(' ', ""),
        format!("400200{reach}"),
        format!("40010100{reach}"),
        format!("40010100400203020200{reach}"),
        format!("c0010100400200{reach}"),
        format!("{good}c01007 0002fde8000000").replace(' ', ""),
        format!("{good}8004020000"),
        format!("{good}400503000000"),
        format!("{good}4005"),
        good.replacen("0c0000000000000000c0000202", "0b00000000000000c0000202", 1)
            .replacen("800e21", "800e20", 1),
    ];
    for attributes in withdrawn {
        assert_eq!(result(&attributes), Ok((0, 1)), "{attributes}");
    }
    assert_eq!(result(&format!("{good}c017020002")), Ok((1, 0)), "attribute 23 is discarded");
    let resets = [
        format!("{good}{reach}"),
        good.replacen("0078000211", "0098000211", 1),
        good.replacen("0078000211", "0008000211", 1),
        "800e0400018000".to_owned(),
        "800f020001".to_owned(),
        "800f0500 01800508".replace(' ', ""),
    ];
    for attributes in resets {
        assert!(result(&attributes).is_err(), "{attributes}");
    }
}

#[test]
fn the_difference_tells_news_once_and_withdraws_what_is_gone() {
    let shared = Arc::new(attributes());
    let mut wanted: std::collections::BTreeMap<_, _> =
        (1..=3u8).map(|i| (vpn4([10, 0, 0, i]), ([0, 1, i], Arc::clone(&shared)))).collect();
    let families = [Family::Vpn4, Family::Evpn];
    let mut out = AdjOut::default();
    assert_eq!(out.difference(SENDER, &families, &wanted).len(), 1);
    assert_eq!(out.difference(SENDER, &families, &wanted).len(), 0);
    wanted.remove(&vpn4([10, 0, 0, 2]));
    wanted.insert(vpn4([10, 0, 0, 3]), ([0, 2, 2], Arc::clone(&shared)));
    let messages = out.difference(SENDER, &families, &wanted);
    assert_eq!(read(&messages[0], &context()).withdrawn, [vpn4([10, 0, 0, 2])]);
    let news = read(&messages[1], &context()).announced;
    assert_eq!((news.len(), news[0].key), (1, vpn4([10, 0, 0, 3])));
    out.forget(Family::Vpn4);
    assert_eq!(read(&out.difference(SENDER, &families, &wanted)[0], &context()).announced.len(), 2);
}

fn any_target() -> impl Strategy<Value = RouteTarget> {
    (0u8..3, any::<[u8; 6]>())
        .prop_map(|(form, [a, b, c, d, e, f])| RouteTarget([form, 2, a, b, c, d, e, f]))
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let next_hop = prop_oneof![
        (1u32..0x7f00_0000).prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        (1u64..)
            .prop_map(|low| IpAddr::V6(Ipv6Addr::from((0x2001_0db8u128 << 96) | u128::from(low)))),
    ];
    let segment = prop_oneof![
        proptest::collection::vec(1u32..60000, 1..4).prop_map(Segment::Sequence),
        proptest::collection::vec(100_000u32.., 1..4).prop_map(Segment::Set),
    ];
    let all = [Encapsulation::MplsOverGre, Encapsulation::MplsOverUdp, Encapsulation::Vxlan];
    (
        proptest::sample::select(vec![Origin::Igp, Origin::Egp, Origin::Incomplete]),
        proptest::collection::vec(segment, 0..3),
        next_hop,
        any::<Option<u32>>(),
        any::<u32>(),
        proptest::collection::btree_set(any_target(), 0..5),
        proptest::sample::subsequence(all.to_vec(), 0..=3),
        proptest::option::of(any::<[u8; 5]>()),
    )
        .prop_map(
            |(origin, as_path, next_hop, med, preference, targets, encapsulations, mac)| {
                Attributes {
                    origin,
                    as_path,
                    next_hop,
                    med,
                    local_preference: Some(preference),
                    targets: targets.into_iter().collect(),
                    encapsulation_given: !encapsulations.is_empty(),
                    encapsulations,
                    router_mac: mac.map(|[a, b, c, d, e]| Mac([2, a, b, c, d, e])),
                    mobility: med.map(|n| Mobility { sticky: n % 2 == 0, sequence: n }),
                    flood: mac.map(|[a, b, c, _, _]| FloodTunnel {
                        raw_label: [a, b, c],
                        endpoint: next_hop,
                    }),
                    membership: Membership::default(),
                }
            },
        )
}

fn any_key() -> impl Strategy<Value = RouteKey> {
    let rd =
        (0u8..3, any::<[u8; 6]>()).prop_map(|(k, [a, b, c, d, e, f])| Rd([0, k, a, b, c, d, e, f]));
    let v4 = (0u32..0xe000_0000, 0u8..=32)
        .prop_map(|(bits, n)| IpPrefix::V4(Prefix::new(Ipv4Addr::from(bits), n).unwrap()));
    let v6 = (any::<u128>(), 0u8..=128)
        .prop_map(|(bits, n)| IpPrefix::V6(Prefix::new(Ipv6Addr::from(bits >> 1), n).unwrap()));
    let address = prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
    ];
    let station = (any::<[u8; 6]>(), proptest::option::of(address.clone()))
        .prop_map(|(mac, address)| Destination::Station { mac: Mac(mac), address });
    let evpn = prop_oneof![
        v4.clone().prop_map(Destination::Prefix),
        v6.clone().prop_map(Destination::Prefix),
        station,
        address.prop_map(|router| Destination::Flood { router }),
    ];
    (0..4u8, rd, any::<u32>(), v4, v6, evpn).prop_map(|(kind, rd, tag, v4, v6, evpn)| {
        let (family, tag, destination) = match kind {
            0 => (Family::Vpn4, 0, Destination::Prefix(v4)),
            1 => (Family::Vpn6, 0, Destination::Prefix(v6)),
            _ => (Family::Evpn, tag, evpn),
        };
        RouteKey { family, rd, tag, destination }
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        mut attributes in any_attributes(),
        keys in proptest::collection::btree_set(any_key(), 1..300),
        label in any::<[u8; 3]>(),
        two_octets in any::<bool>(),
    ) {
        let as_width = if two_octets { AsWidth::Two } else { AsWidth::Four };
        let sender = Sender { as_width, ..SENDER };
        let context = UpdateContext { as_width, local_as: 64999, ..context() };
        // A set of one merges with its neighbours differently through AS4_PATH; keep paths plain there.
        if two_octets {
            attributes.as_path.retain(|s| matches!(s, Segment::Sequence(_)));
        }
        for family in [Family::Vpn4, Family::Vpn6, Family::Evpn] {
            let routes: Vec<_> =
                keys.iter().filter(|k| k.family == family).map(|k| (*k, label)).collect();
            let messages = encode_announcements(sender, family, &attributes, &routes);
            let mut back = Vec::new();
            for message in &messages {
                prop_assert!(message.len() <= MAX_MESSAGE);
                let update = read(message, &context);
                prop_assert_eq!(&update.problems, &[]);
                for route in update.announced {
                    prop_assert_eq!(&*route.attributes, &attributes);
                    back.push((route.key, route.raw_label));
                }
            }
            let tunnel = attributes.flood.map_or([0; 3], |tunnel| tunnel.raw_label);
            let expected: Vec<_> = routes
                .iter()
                .map(|(key, label)| match key.destination {
                    Destination::Flood { .. } => (*key, tunnel),
                    _ => (*key, *label),
                })
                .collect();
            prop_assert_eq!(back, expected);
        }
    }

    #[test]
    fn random_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = take_message(&body);
        let _ = decode_update(&body, &context());
        let mut framed = vec![0xff; 16];
        framed.extend(u16::try_from(body.len() + 18).unwrap().to_be_bytes());
        framed.extend(&body);
        let _ = take_message(&framed);
    }

    #[test]
    fn a_bitten_update_never_panics(at in 19usize..112, value in any::<u8>(), cut in 0usize..94) {
        let mut bytes = hex(H32_TYPE5);
        bytes[at] = value;
        let _ = decode_update(&bytes[19..], &context());
        let _ = decode_update(&bytes[19..bytes.len() - cut], &context());
    }
}

#[test]
fn network_and_groups_of_a_route_cross_as_opencontrails_communities() {
    let membership = Membership { as_number: 64512, network: Some(8), groups: vec![7, 80_001] };
    let told = Attributes { membership: membership.clone(), ..attributes() };
    let routes = [(vpn4([10, 0, 0, 1]), [0, 1, 1])];
    let bytes = &encode_announcements(SENDER, Family::Vpn4, &told, &routes)[0];
    for wanted in [[0x80, 0x71, 0xfc, 0, 0, 0, 0, 8], [0x80, 4, 0xfc, 0, 0, 1, 0x38, 0x81]] {
        assert!(bytes.windows(8).any(|window| window == wanted), "{wanted:02x?}");
    }
    assert_eq!(read(bytes, &context()).announced[0].attributes.membership, membership);
}
