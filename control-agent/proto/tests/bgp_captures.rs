//! Every capture of the case book with BGP (or BMP) in it, each a test of its own name and with its verdict: nothing
//! panics, and what is in order is read as it is.
//!
//! `td-` and `mk-` captures are in `tests/captures`; the others are read from the folder that `VROUTER_SHARED` names (or
//! `../shared` beside the repository) and are reported as skipped where there is none.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use proto::bgp::{
    AsWidth, Destination, Encapsulation, Family, Message, MessageError, Open, Relation,
    RouteRefresh, RouteUpdate, UpdateContext, decode_update, take_message,
};

/// Looks at what a capture decoded to; panics when it is wrong.
type Judge = fn(&Seen);

/// Name of the file, the verdict, and what judges it.
const CAPTURES: &[(&str, &str, Judge)] = &[
    (
        "td-bgp-open-evpn",
        "VPNv4, EVPN, refresh and graceful restart; what is unknown is skipped",
        |seen| {
            let open = seen.opens.first().expect("an OPEN");
            assert_eq!(open.families, [Family::Vpn4, Family::Evpn]);
            assert!(open.route_refresh && open.four_octet_as && open.graceful_restart.is_some());
        },
    ),
    (
        "td-bgp-rtc",
        "membership of any length costs no session; partly: used as prefixes with route-target constraint",
        |seen| {
            assert!(seen.resets.is_empty(), "{:?}", seen.resets);
            assert_eq!(seen.updates.len(), 2 * 8);
            assert!(seen.updates.iter().all(|update| update.announced.is_empty()));
        },
    ),
    (
        "td-bgp-lu-multi-label",
        "a family that is not ours is not negotiated, the session stays",
        |seen| {
            assert!(seen.resets.is_empty(), "{:?}", seen.resets);
            assert!(
                !seen.opens.is_empty() && seen.opens.iter().all(|open| open.families.is_empty())
            );
            assert!(seen.updates.iter().all(|update| update.announced.is_empty()));
        },
    ),
    (
        "td-bgp-addpath",
        "an UPDATE with path ids that nobody asked for is an error, not another route",
        |seen| {
            assert!(!seen.resets.is_empty());
            assert!(seen.updates.iter().all(|update| update.announced.is_empty()));
        },
    ),
    ("td-bgp-large-community", "large communities cost nothing", |seen| {
        assert!(seen.resets.is_empty(), "{:?}", seen.resets);
        // Read with AS numbers of four bytes, as they were sent.
        let mut read = seen.updates.iter().step_by(2);
        assert!(read.len() > 0 && read.all(|update| update.problems.is_empty()), "{seen:?}");
    }),
    ("td-bgp-v6-ll-nexthop", "a next hop of 32 bytes costs no session", |seen| {
        assert!(seen.resets.is_empty(), "{:?}", seen.resets);
        assert_eq!(seen.updates.len(), 2);
    }),
    (
        "td-bgp-mp-reach-junk",
        "an overrun MP_REACH: an error or withdrawn, no route",
        nothing_announced,
    ),
    (
        "td-bgp-vpn-rt-junk",
        "malformed route targets: an error or withdrawn, no route",
        nothing_announced,
    ),
    ("pp-bgp-open-malformed", "bad parameter lengths: OPEN error", |seen| {
        let refused = seen.resets.iter().filter(|e| matches!(e, MessageError::Open { .. })).count();
        assert!(refused >= 3, "{seen:?}");
    }),
    (
        "pp-bgp-messages",
        "OPEN, KEEPALIVE, UPDATE, NOTIFICATION and ROUTE-REFRESH are all read",
        |seen| {
            assert!(seen.resets.is_empty(), "{:?}", seen.resets);
            assert!(!seen.opens.is_empty() && !seen.updates.is_empty());
            assert!(seen.keepalives > 0 && seen.notifications > 0 && !seen.refreshes.is_empty());
        },
    ),
    ("ng-bgp-vpnv4-session", "labels, distinguishers and targets are read", |seen| {
        let routes: Vec<_> = seen.updates.iter().flat_map(|u| &u.announced).collect();
        assert!(!routes.is_empty(), "{seen:?}");
        assert!(routes.iter().all(|r| r.key.family == Family::Vpn4));
        assert!(routes.iter().any(|r| !r.attributes.targets.is_empty()));
    }),
    ("ng-bgp-vpnv46-ext-nexthop", "VPN routes behind an IPv6 next hop are read", |seen| {
        let routes: Vec<_> = seen.updates.iter().flat_map(|u| &u.announced).collect();
        for family in [Family::Vpn4, Family::Vpn6] {
            let of_family = || routes.iter().filter(|route| route.key.family == family);
            assert!(of_family().next().is_some(), "{family:?}: {seen:?}");
            assert!(of_family().all(|route| route.attributes.next_hop.is_ipv6()));
        }
    }),
    ("ng-bmp-vpnv4-withdraw", "a withdrawal's label does not matter", |seen| {
        let withdrawn: Vec<_> = seen.updates.iter().flat_map(|u| &u.withdrawn).collect();
        let announced: Vec<_> = seen.updates.iter().flat_map(|u| &u.announced).collect();
        assert!(!announced.is_empty() || !withdrawn.is_empty(), "{seen:?}");
    }),
    ("ng-bmp-evpn", "auto-discovery routes are passed over, the others read", |seen| {
        assert!(seen.updates.len() > 100 && seen.opens.len() >= 4);
        let families: Vec<Family> =
            seen.updates.iter().flat_map(|u| &u.announced).map(|r| r.key.family).collect();
        assert!(families.contains(&Family::Vpn4) && families.contains(&Family::Vpn6));
        assert!(!families.contains(&Family::Evpn), "auto-discovery routes are passed over");
    }),
    (
        "mk-H30-asn4",
        "the capability counts, a contradicting AS field is told; partly: loop through AS4_PATH in bgp_update",
        |seen| {
            let [right, wrong] = seen.opens.as_slice() else { panic!("{seen:?}") };
            assert_eq!((right.as_number, right.odd_as_field), (4_200_000_001, None));
            assert_eq!(wrong.odd_as_field, Some(0xea01));
        },
    ),
    ("mk-H31-evpn-label", "VXLAN: 24 bits, MPLS: the upper 20, nothing repaired", |seen| {
        let labels: Vec<u32> = seen
            .updates
            .iter()
            .filter(|update| !update.announced.is_empty())
            .map(|update| {
                let route = &update.announced[0];
                assert!(matches!(route.key.destination, Destination::Station { .. }));
                let encapsulation = route.attributes.encapsulations[0];
                route.label(encapsulation)
            })
            .collect();
        assert_eq!(labels, [5001, 5001, 5001, 5001, 80017, 80017], "read twice each");
    }),
    ("mk-H32-evpn-type5", "the route's own VNI and router's MAC; the tag is kept apart", |seen| {
        let routes: Vec<_> = seen.updates.iter().flat_map(|u| &u.announced).collect();
        assert_eq!(routes.len(), 2 * 3);
        assert!(routes.iter().all(|r| r.label(Encapsulation::Vxlan) == 6009));
        let macs = [0, 2, 4].map(|at| routes[at].attributes.router_mac.is_some());
        assert_eq!(macs, [true, false, true]);
        let next_hop: IpAddr = Ipv4Addr::new(192, 0, 2, 2).into();
        assert!(routes.iter().all(|r| r.attributes.next_hop == next_hop));
    }),
    (
        "mk-H33-rtc",
        "membership costs no session; partly: used with route-target constraint",
        |seen| {
            assert!(seen.resets.is_empty(), "{:?}", seen.resets);
            assert_eq!(seen.updates.len(), 2 * 3);
        },
    ),
];

fn nothing_announced(seen: &Seen) {
    assert!(seen.streams > 0, "the capture was read");
    assert!(seen.updates.iter().all(|update| update.announced.is_empty()), "{seen:?}");
}

fn main() {
    let trials = CAPTURES.iter().map(|(capture, verdict, judge)| {
        let name = format!("{capture}: {verdict}");
        let Some(path) = find(capture) else {
            println!("skipped: {name}: a third party's capture (VROUTER_SHARED names the folder)");
            return Trial::test(name, || Ok(())).with_ignored_flag(true);
        };
        Trial::test(name, move || {
            judge(&read(&path));
            Ok(())
        })
    });
    let complete = Trial::test("every capture with BGP in it has its row", complete);
    libtest_mimic::run(&Arguments::from_args(), trials.chain([complete]).collect()).exit();
}

fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

fn shared_folder() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    std::env::var_os("VROUTER_SHARED").map_or(beside, PathBuf::from).join("cases/pcaps")
}

fn find(capture: &str) -> Option<PathBuf> {
    let file = format!("{capture}.pcap");
    [own_folder(), shared_folder()]
        .into_iter()
        .map(|folder| folder.join(&file))
        .find(|p| p.is_file())
}

/// The captures in this folder, and those of the index that are for this decoder.
fn complete() -> Result<(), Failed> {
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(own_folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pcap") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    let index = std::fs::read_to_string(shared_folder().join("INDEX.md")).unwrap_or_default();
    for line in index.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells[4] == "C" {
            names.push(cells[1].trim_matches('`').trim_end_matches(".pcap").to_owned());
        }
    }
    names.retain(|name| CAPTURES.iter().all(|(capture, _, _)| capture != name));
    if names.is_empty() { Ok(()) } else { Err(format!("no row for {names:?}").into()) }
}

/// The packets of a file in either format, whatever its headers claim about times and wire lengths.
fn packets(path: &Path) -> Vec<Vec<u8>> {
    let open = || std::fs::File::open(path).unwrap();
    let mut packets = Vec::new();
    if let Ok(mut reader) = PcapReader::new(open()) {
        while let Some(Ok(packet)) = reader.next_raw_packet() {
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
        let Some((addresses, tcp)) = tcp(&packet) else { continue };
        let Some(offset) = tcp.get(12).map(|b| usize::from(b >> 4) * 4) else { continue };
        let Some(payload) = tcp.get(offset..) else { continue };
        let key = [addresses, &tcp[..4]].concat();
        match streams.iter_mut().find(|(k, _)| *k == key) {
            Some((_, bytes)) => bytes.extend(payload),
            None => streams.push((key, payload.to_vec())),
        }
    }
    streams.into_iter().map(|(_, bytes)| bytes).collect()
}

/// Addresses and TCP segment of a packet: behind Ethernet (with or without a tag), Linux cooked or nothing.
fn tcp(packet: &[u8]) -> Option<(&[u8], &[u8])> {
    [0, 14, 16, 18].into_iter().find_map(|at| {
        let ip = packet.get(at..)?;
        match (ip.first()? >> 4, ip.get(9)?, ip.get(6)?) {
            (4, 6, _) => {
                // A damaged length is that of what is there.
                let header = usize::from(ip[0] & 15) * 4;
                let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
                let total = if total <= header { ip.len() } else { total.min(ip.len()) };
                Some((ip.get(12..20)?, ip.get(header..total)?))
            }
            (6, _, 6) => Some((ip.get(8..40)?, ip.get(40..)?)),
            _ => None,
        }
    })
}

#[derive(Default, Debug)]
struct Seen {
    streams: usize,
    opens: Vec<Open>,
    updates: Vec<RouteUpdate>,
    resets: Vec<MessageError>,
    refreshes: Vec<RouteRefresh>,
    notifications: usize,
    keepalives: usize,
}

fn read(path: &Path) -> Seen {
    let mut seen = Seen::default();
    for stream in payloads(path) {
        seen.streams += 1;
        // Captures begin anywhere: start at each marker.
        let mut rest = stream.as_slice();
        while let Some(at) = rest.windows(16).position(|w| w == [0xff; 16]) {
            rest = &rest[at..];
            let length = match take_message(rest) {
                Ok(Some((message, length))) => {
                    seen.note(message);
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

impl Seen {
    fn note(&mut self, message: Message<'_>) {
        match message {
            Message::Open(open) => self.opens.push(open),
            Message::Update(body) => {
                for width in [AsWidth::Four, AsWidth::Two] {
                    match decode_update(body, &context(width)) {
                        Ok(update) => self.updates.push(update),
                        Err(error) => self.resets.push(error),
                    }
                }
            }
            Message::RouteRefresh(refresh) => self.refreshes.push(refresh),
            Message::Notification(_) => self.notifications += 1,
            Message::KeepAlive => self.keepalives += 1,
        }
    }
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
