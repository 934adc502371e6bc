//! Bad input of any shape on any port: counted, never a panic, never a lost frame. `Site::exchange` asserts it.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use proptest::prelude::*;
use site::*;

/// One good packet of every kind the graph tells apart.
fn specimens() -> Vec<(tables::VifId, Vec<u8>)> {
    let tenant_packet = ping(MAC9, 9, 3);
    let mut specimens = vec![
        (FABRIC, mpls_over_udp(20, 64, &tenant_packet[14..])),
        (FABRIC, mpls_over_udp(30, 64, &tenant_packet)),
        (FABRIC, mpls_over_gre(20, 64, &tenant_packet[14..])),
        (FABRIC, vxlan(5001, &tenant_packet)),
        (VIF3, udp(MAC3, 3, 9, (1, 2), b"payload")),
        (VIF4, ping(MAC4, 4, 3)),
    ];
    for name in [
        "mk-H01-arp-lengths.pcap",
        "mk-H05-runts.pcap",
        "mk-H08-decap-variants.pcap",
        "mk-H15-partial-checksum.pcap",
        "mk-H16-udp-zero-checksum.pcap",
        "mk-H17-arp-probe.pcap",
        "td-v6-rh0.pcap",
        "td-vxlan-vni100.pcap",
        "td-mpls-over-udp.pcap",
        "td-vrrp.pcap",
        "td-geneve.pcap",
    ] {
        specimens.extend(capture(name).into_iter().map(|packet| (VIF3, packet)));
    }
    specimens
}

#[test]
fn every_truncation_of_every_kind_of_packet_ends_counted() {
    each(|site| {
        for (_, packet) in specimens() {
            for vif in [FABRIC, VIF3] {
                let cuts: Vec<_> =
                    (0..packet.len()).map(|length| (vif, &packet[..length])).collect();
                site.exchange(&cuts);
            }
        }
        site.still_forwards();
    });
}

#[test]
fn truncated_payloads_in_whole_tunnels_end_counted() {
    each(|site| {
        site.add_host();
        for (_, packet) in specimens() {
            for length in 0..packet.len().min(120) {
                let (frame, ip) = (&packet[..length], &packet[14.min(length)..length]);
                for tunnelled in [
                    mpls_over_udp(20, 64, ip),
                    mpls_over_udp(52, 64, ip),
                    mpls_over_gre(30, 64, frame),
                    vxlan(5001, frame),
                    vxlan(6001, frame),
                ] {
                    site.exchange(&[(FABRIC, &tunnelled)]);
                }
            }
        }
        site.still_forwards();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_end_counted(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..100),
        workers in 1usize..=2,
    ) {
        let mut site = Site::new(workers);
        for vif in [FABRIC, VIF3, VIF4] {
            site.send(vif, &packets);
        }
        site.still_forwards();
        site.close();
    }

    #[test]
    fn flipped_bytes_in_good_packets_end_counted(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0usize..80, any::<u8>()), 200),
        workers in 1usize..=2,
    ) {
        let specimens = specimens();
        let mut site = Site::new(workers);
        site.add_host();
        for (which, at, value) in flips {
            let (vif, mut packet) = which.get(&specimens).clone();
            if let Some(byte) = packet.get_mut(at) {
                *byte = value;
            }
            site.exchange(&[(vif, &packet)]);
        }
        site.still_forwards();
        site.close();
    }
}

#[test]
fn third_party_captures_end_counted() {
    let Some(folder) = shared_captures() else {
        eprintln!(
            "skipped: no third-party captures (set VROUTER_SHARED to the folder that has cases/pcaps)"
        );
        return;
    };
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|ext| ext == "pcap"));
    assert!(names.len() > 50);
    each(|site| {
        for path in &names {
            let packets: Vec<_> = port::read_capture(path)
                .unwrap_or_default()
                .into_iter()
                .filter(|packet| packet.len() <= 1700)
                .collect();
            for vif in [FABRIC, VIF3] {
                site.send(vif, &packets);
            }
        }
        site.still_forwards();
    });
}
