//! The captures made for the cases. Where a case has more to it than its packets, `tests/cases.rs` and the files it
//! names go on.

use Expect::{All, Each, Own};
use Is::*;
use tables::DropReason::{
    InterfaceDrop, InvalidArp, InvalidLabel, InvalidPacket, InvalidSource, InvalidVnid, Pull,
    TtlExceeded,
};
use tables::{NextHopKind, NhFamily, Object, VifFlags, VifId, VrfId};
use wire::Mac;

use crate::bench::AGENT;
use crate::judge::judge;
use crate::row::{Expect, Is, Row};
use crate::site::*;

const UDP: usize = 14 + 20 + 8 + 4;
const GRE: usize = 14 + 20 + 4 + 4;
const VXLAN: usize = 14 + 20 + 8 + 8;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = parsing();
    rows.extend(sizes());
    rows.extend(neighbors());
    rows.extend(flows());
    rows
}

fn parsing() -> Vec<Row> {
    vec![
        Row::made("mk-H01-arp-lengths", VIF3, All(Drop(InvalidArp)), "Invalid ARP, four times"),
        Row::made(
            "mk-H02-inner-length",
            FABRIC,
            All(Drop(InvalidPacket)),
            "Invalid Packets, four times",
        ),
        Row::made(
            "mk-H03-trailer-padding",
            FABRIC,
            All(Frame(VXLAN, VIF3)),
            "both delivered, without padding",
        ),
        Row::made(
            "mk-H05-runts",
            VIF3,
            Each(&[
                Drop(InvalidPacket),
                Drop(InvalidPacket),
                Drop(InvalidPacket),
                Drop(InterfaceDrop),
                Drop(Pull),
            ]),
            "counted at the layer that is cut",
        ),
        Row::made(
            "mk-H06-v6-ext-headers",
            VIF3,
            Each(&[Routed, Routed, Drop(InvalidPacket), Drop(InvalidPacket)]),
            "bounded walk, the last two Invalid Packets; judged as TCP/23: `flow_cases`",
        ),
        Row::made(
            "mk-H07-vni-24bit",
            FABRIC,
            Each(&[Frame(VXLAN, VIF3), Drop(tables::DropReason::L2NoRoute), Frame(VXLAN, VIF4)]),
            "each VNI its own network",
        )
        .with(|site, _| {
            let translate = |vrf| {
                nh(
                    100 + u32::from(vrf),
                    NhFamily::Bridge,
                    VrfId(vrf),
                    NextHopKind::Translate(VrfId(vrf)),
                )
            };
            site.put([
                translate(3),
                translate(4),
                vni(11_158_251, 51),
                vni(672_491, 103),
                vni(16_777_215, 104),
                bridge(VrfId(3), MAC3, 31, None),
            ]);
        }),
        Row::made(
            "mk-H08-decap-variants",
            FABRIC,
            Each(&[
                Frame(VXLAN, VIF3),
                Drop(InvalidVnid),
                Frame(VXLAN, VIF3),
                Frame(VXLAN, VIF3),
                Ip(UDP, VIF3),
                Ip(UDP, VIF3),
                Ip(GRE, VIF3),
                Ip(GRE + 4, VIF3),
                Ip(GRE + 4, VIF3),
                Host,
                Host,
                Drop(InvalidLabel),
                Drop(InvalidLabel),
                Drop(InvalidLabel),
            ]),
            "eight tunnels taken off, two for the host, the rest counted",
        ),
        Row::made(
            "mk-H20-foreign-dmac",
            FABRIC,
            All(Drop(InterfaceDrop)),
            "not ours: IF Drop, nothing goes back out",
        ),
        Row::made(
            "mk-H27-fabric-to-fabric",
            FABRIC,
            Own(|site, packets| {
                judge(site, FABRIC, 1, &packets[0], Drop(InvalidSource));
                set_flags(site, FABRIC, VifFlags::FABRIC_GATEWAY);
                let out = site.through(FABRIC, &packets[0], FABRIC);
                assert_eq!(out[22], packets[0][22] - 1, "one hop less");
                assert_eq!(out[26..], packets[0][26..]);
            }),
            "no transit: Invalid Source; forwarded in gateway mode",
        )
        .with(|site, _| {
            let rewrite = [&REMOTE_MAC.0[..], &UPLINK_MAC.0, &[8, 0]].concat();
            site.put([
                nh(95, NhFamily::Inet, VrfId(0), NextHopKind::Encap { vif: FABRIC, rewrite }),
                route(VrfId(0), "198.51.100.0/24", 95, None),
            ]);
        }),
    ]
}

/// TTL, hashes, sizes, fragments and checksums.
fn sizes() -> Vec<Row> {
    vec![
        Row::made(
            "mk-H04-short-last-fragment",
            FABRIC,
            Own(short_last_fragment),
            "held for its head; delivered when that comes, before or after",
        ),
        Row::made(
            "mk-H09-ttl",
            VIF3,
            Own(|site, packets| {
                let service = site.through(VIF3, &packets[0], HOST);
                assert_eq!(service[14..], packets[0][14..54], "TTL 1 arrives as 1");
                let outcome = site.exchange(&[(VIF3, &packets[1])]);
                let [told] = outcome.on(VIF3) else { panic!("{outcome:?}") };
                assert_eq!(told[26..30], tenant(1).octets(), "from the gateway");
                assert_eq!(told[34..36], [11, 0], "time exceeded");
                let routed = site.through(VIF3, &packets[2], FABRIC);
                assert_eq!(ttl(&routed[46..]), 1, "one hop, two tables");
                for number in [4, 5] {
                    judge(site, FABRIC, number, &packets[number - 1], Drop(TtlExceeded));
                }
            }),
            "one hop a routed packet, none for a service, time exceeded to the sender",
        ),
        Row::made("mk-H10-hash-inputs", VIF3, All(Routed), "routed; ports by flow in h10_"),
        Row::made(
            "mk-H11-too-big",
            VIF3,
            Own(|site, packets| {
                let outcome = site.exchange(&[(VIF3, &packets[0])]);
                let [told] = outcome.on(VIF3) else { panic!("{outcome:?}") };
                assert_eq!(told[26..30], tenant(1).octets());
                assert_eq!(told[34..36], [3, 4]);
                assert_eq!(told[40..42], 1468u16.to_be_bytes());
                let outcome = site.exchange(&[(VIF3, &packets[1])]);
                let [told] = outcome.on(VIF3) else { panic!("{outcome:?}") };
                assert_eq!(told[54..56], [2, 0]);
                assert_eq!(told[58..62], 1468u32.to_be_bytes());
                let outcome = site.exchange(&[(VIF3, &packets[2])]);
                let pieces: Vec<u8> =
                    outcome.on(FABRIC).iter().flat_map(|sent| sent[66..].to_vec()).collect();
                assert_eq!(outcome.on(FABRIC).len(), 2);
                assert_eq!(pieces, packets[2][34..]);
            }),
            "fragmentation needed and packet too big of 1468, fragments without DF",
        ),
        Row::made(
            "mk-H12-mss",
            VIF3,
            Own(|site, packets| {
                let expected =
                    [(66usize + 20 + 2, 1428u16), (0, 1428), (66 + 20 + 2, 536), (0, 1408)];
                for (packet, (_, mss)) in packets.iter().zip(expected) {
                    let sent = site.through(VIF3, packet, FABRIC);
                    let ip = &sent[46..];
                    let tcp = if ip[0] >> 4 == 4 { &ip[20..] } else { &ip[40..] };
                    let option = tcp[20..].windows(2).position(|kind| kind == [2, 4]).unwrap();
                    assert_eq!(tcp[20 + option + 2..20 + option + 4], mss.to_be_bytes());
                    if ip[0] >> 4 == 4 {
                        assert_sums(ip);
                    }
                }
            }),
            "1428, 1428, 536, 1408",
        ),
        Row::made(
            "mk-H13-fragment-order",
            FABRIC,
            Own(|site, packets| {
                let pieces: Vec<(VifId, &[u8])> =
                    packets[..3].iter().map(|packet| (FABRIC, packet.as_slice())).collect();
                let outcome = site.exchange(&pieces);
                let mut pieces: Vec<(u16, Vec<u8>)> = outcome
                    .on(VIF3)
                    .iter()
                    .map(|ip| (u16::from_be_bytes([ip[20], ip[21]]) & 0x1fff, ip[34..].to_vec()))
                    .collect();
                pieces.sort();
                assert_eq!(pieces.len(), 3, "each once");
                let whole: Vec<u8> = pieces.into_iter().flat_map(|(_, bytes)| bytes).collect();
                assert_eq!(whole.len(), 8 + 120);
                judge(site, FABRIC, 4, &packets[3], Ip(UDP, VIF3));
            }),
            "the whole datagram once, the second middle does no harm",
        ),
        Row::made(
            "mk-H14-jumbo-sizes",
            VIF3,
            Own(|site, packets| {
                for packet in packets {
                    let outcome = site.exchange(&[(VIF3, packet)]);
                    outcome.expect_drops(&[]);
                    let pieces = outcome.on(FABRIC);
                    assert!(pieces.iter().all(|piece| piece.len() <= 1514), "{outcome:?}");
                    let whole: Vec<u8> =
                        pieces.iter().flat_map(|piece| piece[66..].to_vec()).collect();
                    assert_eq!(whole, packet[34..], "every byte once, in order");
                }
            }),
            "none has DF: in pieces that fit the tunnel, every byte once",
        ),
        Row::made(
            "mk-H15-partial-checksum",
            VIF3,
            Each(&[Finished, Finished]),
            "both leave with a right sum (and a lower MSS)",
        ),
        Row::made(
            "mk-H16-udp-zero-checksum",
            VIF3,
            Own(|site, packets| {
                judge(site, VIF3, 1, &packets[0], Routed);
                judge(site, VIF3, 2, &packets[1], Routed);
                judge(site, FABRIC, 3, &packets[2], Ip(UDP, VIF3));
                judge(site, FABRIC, 4, &packets[3], Ip(UDP, VIF3));
            }),
            "zero stays none, ones stay ones",
        ),
    ]
}

fn neighbors() -> Vec<Row> {
    vec![
        Row::made(
            "mk-H17-arp-probe",
            VIF3,
            All(Flooded),
            "probe and announcement flooded, not answered",
        ),
        Row::made(
            "mk-H18-arp-for-others",
            FABRIC,
            Own(|site, packets| {
                judge(site, FABRIC, 1, &packets[0], FloodedIn(VXLAN));
                let reply = site.through(FABRIC, &packets[1], FABRIC);
                assert_eq!(reply[50..56], [2, 0, 0, 0, 0xb0, 5]);
                assert_eq!(reply[50 + 14 + 8..][..6], MAC3.0, "is at the workload's MAC");
            }),
            "elsewhere: flooded; a workload of this node: answered with its MAC",
        )
        .with(|site, _| {
            let mut stitched =
                proxied(RED, "10.10.1.3/32", 20, Some(20), tables::RouteFlags::ARP_PROXY);
            if let Object::Inet(route) = &mut stitched {
                route.mac = Some(MAC3);
            }
            site.put([stitched, bridge(RED, Mac([2, 0, 0, 0, 0xb0, 5]), 42, Some(5001))]);
        }),
        Row::made(
            "mk-H19-ns-variants",
            VIF3,
            Own(|site, packets| {
                for number in [1, 2, 3] {
                    let asked = &packets[number - 1];
                    let told = site.through(VIF3, asked, VIF3);
                    assert_eq!(told[..6], MAC3.0);
                    assert_eq!(told[21], 255, "hop limit");
                    assert_eq!(told[22..38], asked[62..78], "source is the target");
                    assert_eq!(told[38..54], asked[22..38], "to the asker");
                    assert_eq!(told[54], 136);
                    assert_eq!(told[58], 0xe0, "router, solicited, override");
                    assert_eq!(
                        told[78..86],
                        [&[2, 1][..], &Mac::GATEWAY.0].concat(),
                        "target link layer"
                    );
                    assert_eq!(icmpv6_sum(&told), 0xffff, "right sum");
                }
                judge(site, VIF3, 4, &packets[3], Ignored);
                judge(site, VIF3, 5, &packets[4], Flooded);
                judge(site, VIF3, 6, &packets[5], Ignored);
                judge(site, VIF3, 7, &packets[6], Ignored);
            }),
            "the gateway answers with R, S and O; duplicate detection flooded; odd ones ignored",
        )
        .with(|site, _| {
            let proxy = tables::RouteFlags::ARP_PROXY;
            site.put([
                proxied(RED, "fe80::1/128", 10, None, proxy),
                proxied(RED, "2001:db8:a:1::1/128", 10, None, proxy),
            ]);
        }),
    ]
}

/// Cases of flows and services, as far as packets go without them.
fn flows() -> Vec<Row> {
    vec![
        Row::made(
            "mk-H21-icmp-errors",
            FABRIC,
            All(Ip(UDP, VIF3)),
            "delivered without flows; error in error and short embedding: `flow_cases`",
        ),
        Row::made(
            "mk-H22-tcp-reuse",
            VIF3,
            Own(|site, packets| {
                for (number, packet) in packets.iter().enumerate() {
                    let (from, to) =
                        if packet[6..12] == MAC3.0 { (VIF3, VIF4) } else { (VIF4, VIF3) };
                    judge(site, from, number + 1, packet, Frame(0, to));
                }
            }),
            "bridged both ways; the fresh pair: `flow_cases`",
        ),
        Row::made(
            "mk-H25-v6-under-v4-rule",
            VIF3,
            All(Frame(0, VIF4)),
            "bridged; rules by family: `flows`, `flow_cases`",
        ),
        Row::made(
            "mk-H39-dhcp",
            VIF3,
            Own(|site, packets| {
                set_flags(site, VIF3, VifFlags::DHCP);
                for number in [1, 3] {
                    judge(site, VIF3, number, &packets[number - 1], Trap(7));
                }
                judge(site, VIF3, 2, &packets[1], Trap(7));
                set_flags(site, VIF3, VifFlags::default());
                judge(site, VIF3, 1, &packets[0], Flooded);
                judge(site, VIF3, 3, &packets[2], Flooded);
            }),
            "to the agent by the flag alone, else flooded; partly: flags by family, option overrun with the DHCP service",
        ),
        Row::made(
            "mk-H40-dns-linklocal",
            VIF3,
            Each(&[Trap(4), Trap(4), Routed]),
            "to the agent once, other ports are plain traffic; the service's NAT: `flow_cases`",
        )
        .with(|site, packets| {
            let rewrite = [&Mac::GATEWAY.0[..], &Mac::GATEWAY.0, &[8, 0]].concat();
            // The third is not for the service's port: without flows the address alone decides.
            packets[2][30..34].copy_from_slice(&tenant(9).octets());
            site.put([
                nh(90, NhFamily::Inet, RED, NextHopKind::Encap { vif: AGENT, rewrite }),
                route(RED, "169.254.169.254/32", 90, None),
                route(RED, "10.10.1.2/32", 90, None),
            ]);
        }),
    ]
}

fn set_flags(site: &mut Site, vif: VifId, flags: VifFlags) {
    let mut vif = site.model.vifs(vif..).next().unwrap().clone();
    vif.flags = flags;
    site.put([Object::Vif(vif)]);
}

/// The head that the capture's last fragment waits for: id 77, 1480 bytes of UDP 4000 to 5000.
fn head() -> Vec<u8> {
    let mut ip = vec![0u8; 20 + 1480];
    ip[..12].copy_from_slice(&[0x45, 0, 0x05, 0xdc, 0, 77, 0x20, 0, 64, 17, 0, 0]);
    ip[12..16].copy_from_slice(&tenant(9).octets());
    ip[16..20].copy_from_slice(&tenant(3).octets());
    let sum =
        ip[..20].chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&(!sum).to_be_bytes()[2..]);
    ip[20..28].copy_from_slice(&[0x0f, 0xa0, 0x13, 0x88, 0x05, 0xd4, 0, 0]);
    mpls_over_udp(20, 64, &ip)
}

fn short_last_fragment(site: &mut Site, packets: &[Vec<u8>]) {
    let last = &packets[0];
    let head = head();
    for order in [[&head, last], [last, &head]] {
        let input: Vec<(VifId, &[u8])> =
            order.iter().map(|packet| (FABRIC, packet.as_slice())).collect();
        let outcome = site.exchange(&input);
        let mut payloads: Vec<usize> = outcome.on(VIF3).iter().map(|ip| ip.len() - 34).collect();
        payloads.sort_unstable();
        assert_eq!(payloads, [4, 1480], "{outcome:?}");
    }
}

/// The sum over an ICMPv6 message and its pseudo header: all ones when its checksum is right.
fn icmpv6_sum(frame: &[u8]) -> u32 {
    let pseudo = [&frame[22..54], &frame[18..20], &[0, 58][..], &frame[54..]].concat();
    let sum: u32 = pseudo
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) + (sum >> 16)
}
