//! Judges one packet: output bytes, and exactly the counters that moved.

use tables::{DropReason, VifId};
use wire::Mac;

use crate::bench::AGENT;
use crate::row::Is;
use crate::site::*;

/// Bytes in front of a trapped frame: Ethernet and the agent header (section 19).
const TRAP_HEADERS: usize = 14 + 30;

/// Puts a packet in and compares what becomes of it with what is expected.
#[track_caller]
pub(crate) fn judge(site: &mut Site, from: VifId, number: usize, packet: &[u8], is: Is) {
    let vifs = [FABRIC, HOST, VIF3, VIF4, AGENT];
    let before = vifs.map(|vif| (site.counters.vif(vif), site.counters.vif_drops(vif)));
    let outcome = site.exchange(&[(from, packet)]);
    let what = format!("packet {number}, {} bytes, expected {is:?}: {outcome:?}", packet.len());
    let dropped = match is {
        Is::Drop(reason) => vec![(reason, 1)],
        _ => vec![],
    };
    let got: Vec<_> = DropReason::ALL
        .iter()
        .filter(|reason| !is_no_loss(**reason))
        .map(|reason| (*reason, outcome.drops.get(*reason)))
        .filter(|(_, count)| *count != 0)
        .collect();
    if !matches!(is, Is::Ignored) {
        assert_eq!(got, dropped, "{what}");
    }
    let out = |vif: VifId| -> &[Vec<u8>] { outcome.on(vif) };
    let only = |vif: VifId| -> &[u8] {
        assert_eq!((outcome.count(), out(vif).len()), (1, 1), "{what}");
        &out(vif)[0]
    };
    match is {
        Is::Drop(_) => assert_eq!(outcome.count(), 0, "{what}"),
        Is::Host => assert_eq!(only(HOST), packet, "{what}"),
        Is::Trap(command) => {
            let trapped = only(AGENT);
            assert_eq!(trapped[14 + 4..14 + 6], command.to_be_bytes(), "{what}");
            assert_eq!(&trapped[TRAP_HEADERS..], packet, "{what}");
        }
        Is::Frame(at, vif) => assert_eq!(only(vif), frame_of(&packet[at..]), "{what}"),
        Is::Ip(at, vif) => {
            let delivered = only(vif);
            let mac = if vif == VIF3 { MAC3 } else { MAC4 };
            assert_eq!(delivered[..6], mac.0, "{what}");
            assert_eq!(delivered[6..12], Mac::GATEWAY.0, "{what}");
            assert_eq!(&delivered[14..], ip_of(&packet[at..]), "{what}");
        }
        Is::Routed => {
            assert_eq!(
                tunnelled(only(FABRIC), &what),
                one_hop_less(ip_of(network(packet))),
                "{what}"
            );
        }
        Is::Finished => {
            let sent = tunnelled(only(FABRIC), &what);
            assert_sums(sent);
            assert_eq!(sent[..16], one_hop_less(ip_of(network(packet)))[..16], "{what}");
        }
        Is::Flooded => {
            let frame = frame_of(packet);
            assert_eq!(out(VIF4), [frame], "{what}");
            assert_eq!(out(FABRIC).len(), 1, "{what}");
            assert_eq!(out(FABRIC)[0][50..], *frame, "{what}");
            assert_eq!(outcome.count(), 2, "{what}");
        }
        Is::FloodedIn(at) => {
            let frame = frame_of(&packet[at..]);
            assert_eq!(out(VIF3), [frame], "{what}");
            assert_eq!(out(VIF4), [frame], "{what}");
            assert_eq!(outcome.count(), 2, "{what}");
        }
        Is::Ignored => {
            for vif in [from, HOST] {
                assert!(out(vif).is_empty(), "{what}");
            }
        }
    }
    for (vif, (counted, drops)) in vifs.into_iter().zip(before) {
        let now = site.counters.vif(vif);
        assert_eq!(now.tx_packets - counted.tx_packets, out(vif).len() as u64, "vif {vif}: {what}");
        let bytes: usize = out(vif).iter().map(Vec::len).sum();
        assert_eq!(now.tx_bytes - counted.tx_bytes, bytes as u64, "vif {vif}: {what}");
        let received = u64::from(vif == from);
        assert_eq!(now.rx_packets - counted.rx_packets, received, "vif {vif}: {what}");
        let dropped = site.counters.vif_drops(vif).total() - drops.total();
        let charged = if vif == from { outcome.drops.total() } else { 0 };
        assert_eq!(dropped, charged, "drops are charged to where it came in: vif {vif}: {what}");
    }
}

/// Counted, but not lost (section 20).
fn is_no_loss(reason: DropReason) -> bool {
    matches!(reason, DropReason::Duplicated | DropReason::ClonedOriginal)
}

/// The payload of an MPLSoUDP packet to the remote node with the default route's label.
fn tunnelled<'a>(sent: &'a [u8], what: &str) -> &'a [u8] {
    assert_eq!(sent[..12], [REMOTE_MAC.0, UPLINK_MAC.0].concat(), "{what}");
    assert_eq!(sent[26..34], [endpoint(1).octets(), endpoint(2).octets()].concat(), "{what}");
    assert_eq!(sent[36..38], 6635u16.to_be_bytes(), "{what}");
    assert_eq!(sent[42..45], mpls_word(33, 0)[..3], "{what}");
    &sent[46..]
}

/// An IP packet as it is after one hop: TTL or hop limit, and the header checksum by as much (RFC 1624).
fn one_hop_less(ip: &[u8]) -> Vec<u8> {
    let mut ip = ip.to_vec();
    if ip[0] >> 4 == 6 {
        ip[7] -= 1;
        return ip;
    }
    ip[8] -= 1;
    let sum = u32::from(u16::from_be_bytes([ip[10], ip[11]])) + 0x100;
    let folded = (sum & 0xffff) + (sum >> 16);
    ip[10..12].copy_from_slice(&folded.to_be_bytes()[2..]);
    ip
}

/// What is behind the Ethernet header and its tags.
fn network(frame: &[u8]) -> &[u8] {
    &frame[wire::ethernet_payload(frame).unwrap().offset..]
}

/// A frame without padding behind its IP packet.
pub(crate) fn frame_of(frame: &[u8]) -> &[u8] {
    let Some(found) = wire::ethernet_payload(frame) else { return frame };
    match found.ethertype {
        wire::ethertype::IPV4 | wire::ethertype::IPV6 => {
            &frame[..found.offset + ip_of(&frame[found.offset..]).len()]
        }
        _ => frame,
    }
}

/// An IP packet without padding.
fn ip_of(bytes: &[u8]) -> &[u8] {
    let length = match bytes[0] >> 4 {
        4 => usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        _ => 40 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]])),
    };
    &bytes[..length]
}
