//! Translation: floating IPs, services under addresses of a workload's own (reference dataplane.md section 14.7,
//! control-plane.md sections 4.8, 4.9 and 5.5).
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use site::policy::*;
use site::*;
use tables::flow::SessionFlags;
use tables::*;
use wire::{Mac, protocol};

const PUBLIC: VrfId = VrfId(7);

fn public(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn outside() -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, 9)
}

fn floating(last: u8, fixed: u8) -> FloatingIp {
    FloatingIp {
        address: public(last).into(),
        fixed: tenant(fixed).into(),
        vrf: PUBLIC,
        direction: FloatingDirection::Both,
        ports: Vec::new(),
    }
}

fn with_floating(id: VifId, floating_ips: Vec<FloatingIp>) -> Object {
    match policed(id, VifPolicy::default()) {
        Object::Vif(vif) => Object::Vif(Vif { floating_ips, ..vif }),
        other => other,
    }
}

/// vif3 has 192.0.2.100, vif4 192.0.2.101, and outside is behind 192.0.2.2.
fn with_public(site: &mut Site) {
    site.put([
        route(PUBLIC, "0.0.0.0/0", 40, Some(60)),
        route(PUBLIC, "192.0.2.100/32", 20, Some(20)),
        route(PUBLIC, "192.0.2.101/32", 21, Some(21)),
        with_floating(VIF3, vec![floating(100, 3)]),
        with_floating(VIF4, vec![floating(101, 4)]),
    ]);
}

fn packet(mac: Mac, from: Ipv4Addr, to: Ipv4Addr, ports: (u16, u16)) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(mac.0, Mac::GATEWAY.0)
        .ipv4(from.octets(), to.octets(), 64)
        .udp(ports.0, ports.1);
    let mut out = Vec::new();
    builder.write(&mut out, b"data").unwrap();
    out
}

/// Addresses and ports of an IP packet whose sums are right.
#[track_caller]
fn seen(ip: &[u8]) -> ((Ipv4Addr, Ipv4Addr), (u16, u16)) {
    assert_sums(ip);
    let parsed = PacketHeaders::from_ip_slice(ip).unwrap();
    let Some(NetHeaders::Ipv4(header, _)) = parsed.net else { panic!("IPv4") };
    let ports = match parsed.transport {
        Some(TransportHeader::Udp(udp)) => (udp.source_port, udp.destination_port),
        Some(TransportHeader::Tcp(tcp)) => (tcp.source_port, tcp.destination_port),
        _ => (0, 0),
    };
    ((header.source.into(), header.destination.into()), ports)
}

/// What is behind the outer headers of MPLSoUDP.
fn inner(frame: &[u8]) -> &[u8] {
    &frame[14 + 20 + 8 + 4..]
}

fn label_of(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[42..46].try_into().unwrap()) >> 12
}

#[test]
fn a_workload_goes_out_by_its_floating_ip_and_answers_come_back() {
    each_with_flows(|site, sessions| {
        with_public(site);
        let sent = site.through(VIF3, &packet(MAC3, tenant(3), outside(), (1000, 53)), FABRIC);
        assert_eq!(label_of(&sent), 60, "by the route of the floating IP's network");
        assert_eq!(seen(inner(&sent)), ((public(100), outside()), (1000, 53)));
        assert_eq!(ttl(inner(&sent)), 63);
        let answer = packet(MAC9, outside(), public(100), (53, 1000));
        let got = site.through(FABRIC, &mpls_over_udp(20, 64, &answer[14..]), VIF3);
        assert_eq!(seen(&got[14..]), ((outside(), tenant(3)), (53, 1000)));
        let all = flows(sessions);
        assert_eq!(all.len(), 2);
        assert!(all[0].session.contains(SessionFlags::TRANSLATED));
        // To another of its own network there is no translation.
        let sent = site.through(VIF3, &packet(MAC3, tenant(3), tenant(9), (1000, 53)), FABRIC);
        assert_eq!(seen(inner(&sent)).0, (tenant(3), tenant(9)));
    });
}

#[test]
fn what_comes_for_a_floating_ip_reaches_the_workload_under_its_own_address() {
    each_with_flows(|site, _| {
        with_public(site);
        let question = packet(MAC9, outside(), public(100), (2000, 80));
        let got = site.through(FABRIC, &mpls_over_udp(20, 64, &question[14..]), VIF3);
        assert_eq!(seen(&got[14..]), ((outside(), tenant(3)), (2000, 80)));
        let sent = site.through(VIF3, &packet(MAC3, tenant(3), outside(), (80, 2000)), FABRIC);
        assert_eq!(seen(inner(&sent)), ((public(100), outside()), (80, 2000)));
        assert_eq!(label_of(&sent), 60);
    });
}

#[test]
fn two_floating_ips_of_one_node_are_translated_at_once() {
    each_with_flows(|site, sessions| {
        with_public(site);
        let got = site.through(VIF3, &packet(MAC3, tenant(3), public(101), (1000, 80)), VIF4);
        assert_eq!(seen(&got[14..]), ((public(100), tenant(4)), (1000, 80)));
        let got = site.through(VIF4, &packet(MAC4, tenant(4), public(100), (80, 1000)), VIF3);
        assert_eq!(seen(&got[14..]), ((public(101), tenant(3)), (80, 1000)));
        assert_eq!(flows(sessions).len(), 2, "one session");
    });
}

#[test]
fn a_mapped_port_is_translated_and_others_do_not_pass() {
    each_with_flows(|site, _| {
        with_public(site);
        let ports = vec![PortMapping { protocol: protocol::UDP, floating: 8080, fixed: 80 }];
        site.put([with_floating(VIF3, vec![FloatingIp { ports, ..floating(100, 3) }])]);
        network_rules_keep(site, vec![to_port(rule(1, Verdict::Pass), protocol::UDP, 80)]);
        let question =
            |port| mpls_over_udp(20, 64, &packet(MAC9, outside(), public(100), (2000, port))[14..]);
        let got = site.through(FABRIC, &question(8080), VIF3);
        assert_eq!(seen(&got[14..]), ((outside(), tenant(3)), (2000, 80)));
        let sent = site.through(VIF3, &packet(MAC3, tenant(3), outside(), (80, 2000)), FABRIC);
        assert_eq!(seen(inner(&sent)), ((public(100), outside()), (8080, 2000)));
        // The rule is for the workload's own port.
        let outcome = site.send(FABRIC, &[question(8081)]);
        assert_eq!(outcome.on(VIF3).len(), 0);
        // Without a mapped source port nothing leads outside.
        let outcome = site.send(VIF3, &[packet(MAC3, tenant(3), outside(), (81, 2000))]);
        outcome.expect_drops(&[(DropReason::Discard, 1)]);
    });
}

/// Puts vif3 under rules and leaves its floating IPs.
fn network_rules_keep(site: &mut Site, rules: Vec<Rule>) {
    let Some(Object::Vif(vif)) = site.model.get(&Key::Vif(VIF3)) else { panic!("vif3") };
    let policy = VifPolicy { network: vec![NETWORK], ..VifPolicy::default() };
    site.put([rule_set(NETWORK, rules), Object::Vif(Vif { policy, ..vif })]);
}

#[test]
fn a_direction_is_kept() {
    each_with_flows(|site, _| {
        with_public(site);
        let one_way =
            |direction| with_floating(VIF3, vec![FloatingIp { direction, ..floating(100, 3) }]);
        site.put([one_way(FloatingDirection::Ingress)]);
        site.send(VIF3, &[packet(MAC3, tenant(3), outside(), (1000, 53))])
            .expect_drops(&[(DropReason::Discard, 1)]);
        let question =
            mpls_over_udp(20, 64, &packet(MAC9, outside(), public(100), (2000, 80))[14..]);
        site.through(FABRIC, &question, VIF3);
        site.put([one_way(FloatingDirection::Egress)]);
        site.through(VIF3, &packet(MAC3, tenant(3), outside(), (1001, 53)), FABRIC);
    });
}

#[test]
fn an_error_about_a_translated_packet_quotes_what_the_workload_sent() {
    each_with_flows(|site, _| {
        with_public(site);
        let sent = site.through(VIF3, &packet(MAC3, tenant(3), outside(), (1000, 53)), FABRIC);
        // A router on the way, which is nobody's translation.
        let router = Ipv4Addr::new(203, 0, 113, 1);
        let quoted = &inner(&sent)[..28];
        let builder = PacketBuilder::ipv4(router.octets(), public(100).octets(), 60)
            .icmpv4_raw(11, 0, [0; 4]);
        let mut error = Vec::new();
        builder.write(&mut error, quoted).unwrap();
        let got = site.through(FABRIC, &mpls_over_udp(20, 64, &error), VIF3);
        let ip = &got[14..];
        assert_eq!((&ip[12..16], &ip[16..20]), (&router.octets()[..], &tenant(3).octets()[..]));
        assert_eq!(wire::checksum::Sum::ZERO.bytes(&ip[20..]).folded(), 0xffff, "ICMP sum");
        let quote = &ip[28..];
        assert_eq!(
            (&quote[12..16], &quote[16..20]),
            (&tenant(3).octets()[..], &outside().octets()[..])
        );
        assert_eq!(quote[20..24], [0x03, 0xe8, 0, 53]);
        assert_eq!(wire::checksum::Sum::ZERO.bytes(&quote[..20]).folded(), 0xffff, "quoted header");
    });
}

fn service(kind: ServiceKind, ports: Ports) -> ServiceAddress {
    ServiceAddress {
        kind,
        protocol: protocol::UDP,
        address: "169.254.169.254".parse().unwrap(),
        port: 53,
        server: public(254).into(),
        server_port: 5353,
        source: IpAddr::from(Ipv4Addr::new(169, 254, 0, 3)),
        source_ports: ports,
        vrf: VrfId(0),
    }
}

fn with_service(service: ServiceAddress) -> Object {
    match policed(VIF3, VifPolicy { network: vec![NETWORK], ..VifPolicy::default() }) {
        Object::Vif(vif) => Object::Vif(Vif { services: vec![service], ..vif }),
        other => other,
    }
}

#[test]
fn h40_a_link_local_service_is_reached_whatever_policy_says() {
    each_with_flows(|site, sessions| {
        site.add_host();
        site.put([
            // Nothing passes.
            rule_set(NETWORK, Vec::new()),
            with_service(service(ServiceKind::LinkLocal, Ports { first: 4780, last: 51300 })),
            nh(10, NhFamily::Inet, VrfId(0), NextHopKind::Receive(HOST)),
            route(VrfId(0), "192.0.2.254/32", 10, None),
            route(VrfId(0), "169.254.0.3/32", 20, None),
        ]);
        let packets = capture("mk-H40-dns-linklocal.pcap");
        let got = site.through(VIF3, &packets[0], HOST);
        let ((source, destination), ports) = seen(&got[14..]);
        assert_eq!((source, destination), (Ipv4Addr::new(169, 254, 0, 3), public(254)));
        assert_eq!(ports.1, 5353);
        let answer = packet(HOST_MAC, public(254), source, (5353, ports.0));
        let back = site.through(HOST, &answer, VIF3);
        let ((source, destination), back_ports) = seen(&back[14..]);
        assert_eq!((source, destination), (Ipv4Addr::new(169, 254, 169, 254), tenant(3)));
        assert_eq!(back_ports.0, 53);
        assert_eq!(flows(sessions)[0].rules.0, RuleId::LINK_LOCAL);
        // No port of a tunnel is ever a source.
        for from in [4789 - 4780, 6635 - 4780, 51234u16 - 4780] {
            let query = packet(MAC3, tenant(3), "169.254.169.254".parse().unwrap(), (from, 53));
            let got = site.through(VIF3, &query, HOST);
            assert!(![4789, 6635, 51234].contains(&seen(&got[14..]).1.0));
        }
        // Without a route to the server there is nothing to translate.
        site.apply(
            [Op::Delete(Key::Inet(VrfId(0), "192.0.2.254/32".parse().unwrap()))],
            Owner::Agent,
        );
        let again = packet(MAC3, tenant(3), "169.254.169.254".parse().unwrap(), (999, 53));
        let outcome = site.exchange(&[(VIF3, &again)]);
        assert_eq!(outcome.count(), 0);
        assert_eq!(outcome.drops.total(), 1);
    });
}

#[test]
fn two_workloads_ports_to_a_service_never_meet() {
    each_with_flows(|site, _| {
        site.add_host();
        site.put([
            rule_set(NETWORK, Vec::new()),
            with_service(service(ServiceKind::LinkLocal, Ports { first: 10_000, last: 10_001 })),
            nh(10, NhFamily::Inet, VrfId(0), NextHopKind::Receive(HOST)),
            route(VrfId(0), "192.0.2.254/32", 10, None),
            route(VrfId(0), "169.254.0.3/32", 20, None),
        ]);
        let query = |port| packet(MAC3, tenant(3), "169.254.169.254".parse().unwrap(), (port, 53));
        let first = seen(&site.through(VIF3, &query(1), HOST)[14..]).1.0;
        let second = seen(&site.through(VIF3, &query(3), HOST)[14..]).1.0;
        assert_ne!(first, second);
        site.send(VIF3, &[query(5)]).expect_drops(&[(DropReason::FlowTableFull, 1)]);
    });
}

#[test]
fn bgp_as_a_service_is_translated_with_the_ttl_that_ebgp_needs() {
    each_with_flows(|site, _| {
        site.add_host();
        let session = ServiceAddress {
            protocol: protocol::TCP,
            address: tenant(1).into(),
            port: 179,
            server_port: 179,
            ..service(ServiceKind::Bgp, Ports { first: 50_000, last: 50_000 })
        };
        site.put([
            rule_set(NETWORK, Vec::new()),
            with_service(session),
            nh(10, NhFamily::Inet, VrfId(0), NextHopKind::Receive(HOST)),
            route(VrfId(0), "192.0.2.254/32", 10, None),
            route(VrfId(0), "169.254.0.3/32", 20, None),
        ]);
        let segment = |mac: Mac, from: Ipv4Addr, to: Ipv4Addr, ports: (u16, u16), ttl| {
            let mut out = Vec::new();
            PacketBuilder::ethernet2(mac.0, Mac::GATEWAY.0)
                .ipv4(from.octets(), to.octets(), ttl)
                .tcp(ports.0, ports.1, 1, 1)
                .syn()
                .write(&mut out, &[])
                .unwrap();
            out
        };
        let got = site.through(VIF3, &segment(MAC3, tenant(3), tenant(1), (4000, 179), 1), HOST);
        assert_eq!(seen(&got[14..]).1, (50_000, 179));
        assert!(ttl(&got[14..]) >= 254);
        let source = Ipv4Addr::new(169, 254, 0, 3);
        let back = segment(HOST_MAC, public(254), source, (179, 50_000), 64);
        let got = site.through(HOST, &back, VIF3);
        assert_eq!(seen(&got[14..]), ((tenant(1), tenant(3)), (179, 4000)));
        assert_eq!(ttl(&got[14..]), 1);
    });
}
