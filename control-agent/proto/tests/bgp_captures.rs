//! Captures of other people's BGP: nothing panics, and what is in order is read.
//!
//! The files are third-party material and stay outside of this repository. `VROUTER_SHARED` names the folder that
//! holds `cases/pcaps`; without it, and without a `../shared` beside the repository, these tests skip.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use proto::bgp::{
    AsWidth, Destination, Family, Message, MessageError, Relation, RouteUpdate, UpdateContext,
    decode_update, take_message,
};

fn captures() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let root = std::env::var_os("VROUTER_SHARED").map_or(beside, PathBuf::from);
    let folder = root.join("cases/pcaps");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there (set VROUTER_SHARED)", folder.display());
        return None;
    }
    Some(folder)
}

/// The packets of a file in either format, as far as they can be read.
fn packets(path: &Path) -> Vec<Vec<u8>> {
    let open = || std::fs::File::open(path).unwrap();
    let mut packets = Vec::new();
    if let Ok(mut reader) = PcapReader::new(open()) {
        while let Some(Ok(packet)) = reader.next_packet() {
            packets.push(packet.data.to_vec());
        }
    } else if let Ok(mut reader) = PcapNgReader::new(open()) {
        while let Some(Ok(block)) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block {
                packets.push(packet.data.to_vec());
            }
        }
    }
    packets
}

/// TCP payloads of a capture, one after the other for each direction of each connection.
fn payloads(path: &Path) -> Vec<Vec<u8>> {
    let mut streams: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for packet in packets(path) {
        let data = packet.as_slice();
        // Ethernet (with or without a tag), Linux cooked or raw: look for the IPv4 header.
        let Some(start) = [0, 14, 16, 18]
            .into_iter()
            .find(|at| data.get(*at).is_some_and(|b| b >> 4 == 4) && data.get(at + 9) == Some(&6))
        else {
            continue;
        };
        let ip = &data[start..];
        let header = usize::from(ip[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]])).min(ip.len());
        let Some(tcp) = ip.get(header..total) else { continue };
        let Some(offset) = tcp.get(12).map(|b| usize::from(b >> 4) * 4) else { continue };
        let Some(payload) = tcp.get(offset..) else { continue };
        let key = [&ip[12..20], &tcp[..4]].concat();
        match streams.iter_mut().find(|(k, _)| *k == key) {
            Some((_, bytes)) => bytes.extend(payload),
            None => streams.push((key, payload.to_vec())),
        }
    }
    streams.into_iter().map(|(_, bytes)| bytes).collect()
}

#[derive(Default, Debug)]
struct Seen {
    opens: Vec<proto::bgp::Open>,
    updates: Vec<RouteUpdate>,
    resets: Vec<MessageError>,
    others: usize,
}

fn read(path: &Path) -> Seen {
    let mut seen = Seen::default();
    for stream in payloads(path) {
        // Captures begin anywhere: start at each marker.
        let mut rest = stream.as_slice();
        while let Some(at) = rest.windows(16).position(|w| w == [0xff; 16]) {
            rest = &rest[at..];
            let length = match take_message(rest) {
                Ok(Some((message, length))) => {
                    match message {
                        Message::Open(open) => seen.opens.push(open),
                        Message::Update(body) => {
                            for width in [AsWidth::Four, AsWidth::Two] {
                                match decode_update(body, &context(width)) {
                                    Ok(update) => seen.updates.push(update),
                                    Err(error) => seen.resets.push(error),
                                }
                            }
                        }
                        _ => seen.others += 1,
                    }
                    length
                }
                Ok(None) => break,
                Err(error) => {
                    seen.resets.push(error);
                    1
                }
            };
            rest = &rest[length..];
        }
    }
    seen
}

fn context(as_width: AsWidth) -> UpdateContext {
    UpdateContext {
        local_as: 1,
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        families: vec![Family::Vpn4, Family::Vpn6, Family::Evpn],
        as_width,
        relation: Relation::External,
    }
}

#[test]
fn every_capture_with_bgp_is_read_without_a_panic() {
    let Some(folder) = captures() else { return };
    let mut read_some = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let wanted = name.contains("bgp") || name.contains("-H3") || name.starts_with("ng-");
        if wanted && name.ends_with(".pcap") {
            let seen = read(&path);
            eprintln!(
                "{name}: {} OPEN, {} UPDATE readings, {} resets, {} others",
                seen.opens.len(),
                seen.updates.len(),
                seen.resets.len(),
                seen.others
            );
            read_some += 1;
        }
    }
    assert!(read_some > 0);
}

#[test]
fn an_open_of_a_router_offers_vpnv4_evpn_and_graceful_restart() {
    let Some(folder) = captures() else { return };
    let seen = read(&folder.join("td-bgp-open-evpn.pcap"));
    let open = seen.opens.first().unwrap_or_else(|| panic!("{seen:?}"));
    assert_eq!(open.families, [Family::Vpn4, Family::Evpn]);
    assert!(open.route_refresh && open.four_octet_as && open.graceful_restart.is_some());
}

#[test]
fn opens_with_bad_parameter_lengths_are_refused() {
    let Some(folder) = captures() else { return };
    let seen = read(&folder.join("pp-bgp-open-malformed.pcap"));
    let refused = seen.resets.iter().filter(|e| matches!(e, MessageError::Open { .. })).count();
    assert!(refused >= 3, "{seen:?}");
}

#[test]
fn vpn_routes_of_a_provider_edge_are_read_with_labels_and_targets() {
    let Some(folder) = captures() else { return };
    let seen = read(&folder.join("ng-bgp-vpnv4-session.pcap"));
    let routes: Vec<_> = seen.updates.iter().flat_map(|u| &u.announced).collect();
    assert!(!routes.is_empty(), "{seen:?}");
    assert!(routes.iter().all(|r| r.key.family == Family::Vpn4));
    assert!(routes.iter().any(|r| !r.attributes.targets.is_empty()));
}

#[test]
fn h31_mk_evpn_label_capture_has_one_station_under_three_label_fields() {
    let Some(folder) = captures() else { return };
    let seen = read(&folder.join("mk-H31-evpn-label.pcap"));
    let labels: Vec<u32> = seen
        .updates
        .iter()
        .flat_map(|update| &update.announced)
        .inspect(|route| assert!(matches!(route.key.destination, Destination::Station { .. })))
        .map(|route| route.label(route.attributes.encapsulations[0]))
        .collect();
    // Each update is read with either width of AS numbers; these have no path.
    assert_eq!(labels, [5001, 5001, 5001, 5001, 80017, 80017], "{seen:?}");
}

#[test]
fn ng_bmp_evpn_capture_has_ethernet_auto_discovery_routes_which_are_passed_over() {
    let Some(folder) = captures() else { return };
    let seen = read(&folder.join("ng-bmp-evpn.pcap"));
    let families: Vec<Family> =
        seen.updates.iter().flat_map(|update| &update.announced).map(|r| r.key.family).collect();
    assert!(families.contains(&Family::Vpn4) && families.contains(&Family::Vpn6), "{families:?}");
    assert!(!families.contains(&Family::Evpn));
}
