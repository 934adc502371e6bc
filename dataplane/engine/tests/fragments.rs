//! Fragments in any order and in any amount (reference dataplane.md section 15.1, cases H04 and H13, point 31).
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::net::Ipv6Addr;

use site::*;
use tables::{DropReason, Key, NhFamily, Object, Op, Owner, VifId, VifKind};
use wire::Ipv6;

const SECOND: u64 = 1_000_000_000;

/// A piece of a UDP datagram from a remote workload to vif3's, behind outer headers.
fn piece(from: u8, id: u16, offset: u16, more: bool, length: usize) -> Vec<u8> {
    mpls_over_udp(20, 64, &inner(from, 3, id, offset, more, length))
}

fn inner(from: u8, to: u8, id: u16, offset: u16, more: bool, length: usize) -> Vec<u8> {
    let total = u16::try_from(20 + length).unwrap();
    let mut ip = wire::Ipv4::new(tenant(from), tenant(to), 17, 64, total).bytes().to_vec();
    ip[4..6].copy_from_slice(&id.to_be_bytes());
    ip[6..8].copy_from_slice(&(offset | if more { 0x2000 } else { 0 }).to_be_bytes());
    ip[10..12].fill(0);
    let sum = wire::checksum::Sum::ZERO.bytes(&ip).checksum();
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip.extend((0..length).map(|i| (i + usize::from(offset)).to_le_bytes()[0]));
    ip
}

fn drops(site: &Site, reason: DropReason) -> u64 {
    site.counters.drops().get(reason)
}

#[test]
fn h04_a_tail_alone_is_held_and_then_dropped_for_want_of_an_entry() {
    each(|site| {
        let packets = capture("mk-H04-short-last-fragment.pcap");
        let outcome = site.send(FABRIC, &packets);
        assert_eq!((outcome.count(), outcome.drops.total(), site.counters.held()), (0, 0, 1));
        site.pass(SECOND);
        let outcome = site.exchange(&[]);
        assert_eq!((outcome.count(), outcome.drops.total()), (0, 0));
        let due = site.workers.iter().filter_map(engine::Worker::due).min();
        assert!(due.is_some(), "a worker that sleeps is to wake for it");
        site.pass(SECOND + SECOND / 10);
        site.exchange(&[]).expect_drops(&[(DropReason::NoFragEntry, 1)]);
        assert_eq!(site.counters.vif_drops(FABRIC).get(DropReason::NoFragEntry), 1);
        assert_eq!(site.counters.held(), 0);
        assert!(site.workers.iter().all(|worker| worker.due().is_none()));
        // The head comes too late: what was dropped stays so.
        let head = piece(9, 77, 0, true, 1480);
        assert_eq!(site.exchange(&[(FABRIC, &head)]).on(VIF3).len(), 1);
        site.still_forwards();
    });
}

#[test]
fn h13_fragments_in_any_order_arrive_once_each_behind_their_head() {
    each(|site| {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for (id, order) in (1..).zip(orders) {
            let pieces =
                [piece(9, id, 0, true, 48), piece(9, id, 6, true, 48), piece(9, id, 12, false, 32)];
            for together in [true, false] {
                let mut out: Vec<Vec<u8>> = Vec::new();
                site.pass(3 * SECOND);
                if together {
                    let input: Vec<_> =
                        order.iter().map(|at| (FABRIC, pieces[*at].as_slice())).collect();
                    out.extend_from_slice(site.exchange(&input).on(VIF3));
                } else {
                    for at in order {
                        let outcome = site.exchange(&[(FABRIC, &pieces[at])]);
                        outcome.expect_drops(&[]);
                        out.extend_from_slice(outcome.on(VIF3));
                    }
                }
                assert_eq!(site.counters.held(), 0, "{order:?}");
                let mut offsets: Vec<_> =
                    out.iter().map(|ip| u16::from_be_bytes([ip[20], ip[21]]) & 0x1fff).collect();
                assert_eq!(offsets[0], 0, "the head first");
                offsets.sort_unstable();
                assert_eq!(offsets, [0, 6, 12]);
                for frame in out {
                    let at = u16::from_be_bytes([frame[20], frame[21]]) & 0x1fff;
                    let sent = pieces.iter().find(|p| p[53] == at.to_le_bytes()[0]).unwrap();
                    assert_eq!(frame[14..], sent[46..], "unchanged");
                }
            }
        }
    });
}

#[test]
fn h13_a_second_middle_and_a_second_head_do_no_harm() {
    each(|site| {
        let packets = capture("mk-H13-fragment-order.pcap");
        let outcome = site.send(FABRIC, &packets);
        outcome.expect_drops(&[]);
        let offsets: Vec<_> = outcome
            .on(VIF3)
            .iter()
            .map(|ip| u16::from_be_bytes([ip[20], ip[21]]) & 0x1fff)
            .collect();
        assert_eq!(offsets.len(), 4);
        assert_eq!(offsets[0], 0, "the head first");
        let again = site.send(FABRIC, &packets[2..3]);
        assert_eq!(again.on(VIF3).len(), 1);
    });
}

#[test]
fn point_31_workloads_fragments_are_ordered_by_vrf_and_datagram_too() {
    each(|site| {
        let frame = |ip: Vec<u8>| [&wire::Mac::GATEWAY.0[..], &MAC3.0, &[8, 0], &ip].concat();
        let tail = frame(inner(3, 9, 5, 6, false, 16));
        let head = frame(inner(3, 9, 5, 0, true, 48));
        assert_eq!(site.exchange(&[(VIF3, &tail)]).count(), 0);
        // Another id, another protocol, another pair.
        let mut protocol = head.clone();
        protocol[23] = 132;
        for other in
            [frame(inner(3, 9, 6, 0, true, 48)), protocol, frame(inner(3, 10, 5, 0, true, 48))]
        {
            assert_eq!(site.exchange(&[(VIF3, &other)]).on(FABRIC).len(), 1);
        }
        // The same datagram in another VRF is another.
        let foreign = mpls_over_udp(52, 64, &inner(3, 9, 5, 0, true, 48));
        site.exchange(&[(FABRIC, &foreign)]);
        assert_eq!(site.counters.held(), 1);
        assert_eq!(site.exchange(&[(VIF3, &head)]).on(FABRIC).len(), 2);
        assert_eq!(site.counters.held(), 0);
    });
}

#[test]
fn ipv6_fragments_are_ordered_as_those_of_ipv4() {
    each(|site| {
        let [from, to]: [Ipv6Addr; 2] =
            ["2001:db8:a:1::9", "2001:db8:a:1::3"].map(|text| text.parse().unwrap());
        let piece = |id: u32, offset: u16, more: bool| {
            let mut ip = Ipv6::new(from, to, 44, 64, 8 + 48).bytes().to_vec();
            ip.extend([17, 0]);
            ip.extend((offset | u16::from(more)).to_be_bytes());
            ip.extend(id.to_be_bytes());
            ip.extend([offset.to_le_bytes()[0]; 48]);
            mpls_over_udp(20, 64, &ip)
        };
        let input = [piece(70_000, 96, false), piece(70_000, 48, true), piece(4464, 0, true)];
        let outcome = site.send(FABRIC, &input);
        assert_eq!((outcome.on(VIF3).len(), site.counters.held()), (1, 2), "another id waits");
        let outcome = site.exchange(&[(FABRIC, &piece(70_000, 0, true))]);
        let offsets: Vec<_> = outcome.on(VIF3).iter().map(|ip| ip[14 + 43] & 0xf8).collect();
        assert_eq!(offsets, [0, 96, 48], "the head, then in the order of arrival");
    });
}

#[test]
fn fragments_from_the_fabric_meet_on_one_worker_whatever_tunnel_and_queue_they_came_by() {
    let mut site = Site::new(2);
    for from in 100..140 {
        let tail = inner(from, 3, 9, 6, false, 16);
        let head = inner(from, 3, 9, 0, true, 48);
        let frame = |ip: &[u8]| [&MAC3.0[..], &MAC9.0, &[8, 0], ip].concat();
        for (first, then) in [
            (mpls_over_udp(20, 64, &tail), mpls_over_gre(20, 64, &head)),
            (mpls_over_gre(20, 64, &tail), vxlan(5001, &frame(&head))),
            // Padded inside the frame: handed over as it came.
            (vxlan(5001, &[&frame(&tail)[..], &[0xa5; 26]].concat()), mpls_over_udp(20, 64, &head)),
        ] {
            site.pass(3 * SECOND);
            let outcome = site.exchange(&[(FABRIC, &first)]);
            assert_eq!((outcome.count(), outcome.drops.total()), (0, 0));
            let outcome = site.exchange(&[(FABRIC, &then)]);
            assert_eq!(outcome.on(VIF3).len(), 2, "{outcome:?}");
            assert_eq!(outcome.on(VIF3)[1][14..], tail);
        }
    }
    let each = [0, 1].map(|worker| site.counters.vif_on(worker, VIF3).tx_packets);
    assert!(each.iter().sum::<u64>() >= 240);
    site.close();
}

#[test]
fn h13_a_flood_without_heads_is_bounded_counted_and_unnoticed_by_others() {
    each(|site| {
        let before = site.pools.free_frames();
        let mut sent = 0;
        for round in 0..40u16 {
            let flood: Vec<Vec<u8>> = (0..250)
                .map(|id| piece(100 + (id % 50) as u8, round * 250 + id, 100, true, 40))
                .collect();
            sent += flood.len() as u64;
            site.pass(SECOND / 100);
            let outcome = site.send(FABRIC, &flood);
            assert_eq!(outcome.count(), 0);
            assert!(site.counters.held() <= 256);
            assert!(site.pools.free_frames() >= before - 256);
            site.still_forwards();
            // Another tenant's fragments still find room.
            let (tail, head) = (inner(3, 4, round, 6, false, 16), inner(3, 4, round, 0, true, 48));
            let other = |ip: &[u8]| mpls_over_udp(52, 64, ip);
            assert_eq!(site.exchange(&[(FABRIC, &other(&tail))]).drops.total(), 0);
            site.exchange(&[(FABRIC, &other(&head))]);
        }
        let refused =
            drops(site, DropReason::FragmentQueueFail) + drops(site, DropReason::Fragments);
        assert_eq!(refused + site.counters.held(), sent);
        site.pass(3 * SECOND);
        let outcome = site.exchange(&[]);
        assert!(outcome.drops.get(DropReason::NoFragEntry) >= 50);
        assert_eq!((site.counters.held(), site.pools.free_frames()), (0, before));
        site.still_forwards();
    });
}

#[test]
fn h13_a_flood_of_heads_forgets_the_oldest_and_holds_nothing() {
    each(|site| {
        let heads: Vec<Vec<u8>> = (0..5000).map(|id| piece(9, id, 0, true, 48)).collect();
        let outcome = site.send(FABRIC, &heads);
        outcome.expect_drops(&[]);
        assert_eq!(outcome.on(VIF3).len(), 5000);
        let recent = piece(9, 4999, 6, false, 16);
        assert_eq!(site.exchange(&[(FABRIC, &recent)]).on(VIF3).len(), 1);
    });
}

/// A frame from the workload behind vif3 or vif4.
fn from(source: wire::Mac, ip: Vec<u8>) -> Vec<u8> {
    [&wire::Mac::GATEWAY.0[..], &source.0, &[8, 0], &ip].concat()
}

#[test]
fn point_18_what_waited_is_resolved_anew_when_the_tables_have_changed() {
    each(|site| {
        let (tail, head) = (piece(9, 1, 6, false, 16), piece(9, 1, 0, true, 48));
        // An unrelated change, and another way to the same workload.
        for change in [
            route(RED, "10.10.9.0/24", 40, Some(9)),
            nh(20, NhFamily::Inet, RED, to_workload(VIF3, MAC4)),
        ] {
            site.pass(3 * SECOND);
            assert_eq!(site.exchange(&[(FABRIC, &tail)]).count(), 0);
            site.put([change]);
            let outcome = site.exchange(&[(FABRIC, &head)]);
            outcome.expect_drops(&[]);
            assert_eq!(outcome.on(VIF3).len(), 2);
            assert_eq!(outcome.on(VIF3)[0][..6], outcome.on(VIF3)[1][..6], "the same way");
            assert_eq!(outcome.on(VIF3)[1][14..], tail[46..], "unchanged");
        }
        // The label is another workload's in the same VRF by now, and the next hop another's.
        site.pass(3 * SECOND);
        assert_eq!(site.exchange(&[(FABRIC, &tail)]).count(), 0);
        site.put([label(20, 21), nh(20, NhFamily::Inet, OVERLAY, to_workload(VIF3, MAC3))]);
        let outcome = site.exchange(&[(FABRIC, &head)]);
        assert_eq!((outcome.on(VIF3).len(), outcome.on(VIF4).len()), (0, 2));
        // And another tenant's.
        site.pass(3 * SECOND);
        assert_eq!(site.exchange(&[(FABRIC, &tail)]).count(), 0);
        site.put([label(20, 20), label(22, 21)]);
        let head = mpls_over_udp(22, 64, &inner(9, 3, 1, 0, true, 48));
        let outcome = site.exchange(&[(FABRIC, &head)]);
        assert_eq!((outcome.on(VIF3).len(), outcome.on(VIF4).len()), (0, 1));
        assert_eq!(site.counters.held(), 1, "its label names another VRF: its head is not there");
        site.pass(3 * SECOND);
        site.exchange(&[]).expect_drops(&[(DropReason::NoFragEntry, 1)]);
    });
}

#[test]
fn point_18_frames_under_a_vni_are_resolved_anew_too() {
    each(|site| {
        let frame = |ip: Vec<u8>| [&MAC3.0[..], &MAC9.0, &[8, 0], &ip].concat();
        let tail = vxlan(5001, &frame(inner(9, 3, 1, 6, false, 16)));
        let head = vxlan(5001, &frame(inner(9, 3, 1, 0, true, 48)));
        assert_eq!(site.exchange(&[(FABRIC, &tail)]).count(), 0);
        site.put([bridge(RED, MAC3, 31, None)]);
        let outcome = site.exchange(&[(FABRIC, &head)]);
        outcome.expect_drops(&[]);
        assert_eq!(outcome.on(VIF4).len(), 2);
        assert_eq!(outcome.on(VIF4)[1], frame(inner(9, 3, 1, 6, false, 16)));
    });
}

#[test]
fn point_19_what_waited_of_an_interface_that_was_replaced_is_dropped() {
    each(|site| {
        let last = site.workers.len() - 1;
        let (tail, head) = (inner(3, 9, 5, 6, false, 16), inner(3, 9, 5, 0, true, 48));
        let (tail, head) = (from(MAC3, tail), from(MAC3, head));
        assert_eq!(site.exchange(&[(VIF3, &tail)]).count(), 0);
        let again = vif(VIF3, "tap3", VifKind::Virtual, RED, wire::Mac::GATEWAY);
        site.apply([Op::Delete(Key::Vif(VIF3))], Owner::Agent);
        site.put([again.clone()]);
        let outcome = site.exchange(&[(VIF3, &head)]);
        outcome.expect_drops(&[(DropReason::InvalidIf, 1)]);
        assert_eq!(outcome.on(FABRIC).len(), 1);
        // A change that leaves it what it is.
        site.pass(3 * SECOND);
        assert_eq!(site.exchange(&[(VIF3, &tail)]).count(), 0);
        let Object::Vif(mut changed) = again else { unreachable!() };
        changed.mtu = 1400;
        site.put([Object::Vif(changed.clone())]);
        assert_eq!(site.exchange(&[(VIF3, &head)]).on(FABRIC).len(), 2);
        // Into another VRF.
        site.pass(3 * SECOND);
        assert_eq!(site.exchange(&[(VIF3, &tail)]).count(), 0);
        changed.vrf = OVERLAY;
        site.put([Object::Vif(changed)]);
        let from_red = mpls_over_udp(20, 64, &inner(3, 9, 5, 0, true, 48));
        let outcome = site.exchange(&[(FABRIC, &from_red)]);
        assert!(last > 0 || outcome.drops.get(DropReason::InvalidIf) == 1, "{outcome:?}");
        site.pass(3 * SECOND);
        site.exchange(&[]);
        assert_eq!(site.counters.held(), 0);
    });
}

#[test]
fn h13_one_interface_holds_a_quarter_and_its_neighbour_in_the_network_finds_room() {
    let mut site = Site::new(1);
    let tails: Vec<Vec<u8>> =
        (0..300).map(|id| from(MAC3, inner(3, 9, id, 6, false, 16))).collect();
    site.send(VIF3, &tails).expect_drops(&[(DropReason::FragmentQueueFail, 236)]);
    assert_eq!(site.counters.held(), 64);
    let (tail, head) = (inner(4, 9, 5, 6, false, 16), inner(4, 9, 5, 0, true, 48));
    assert_eq!(site.exchange(&[(VIF4, &from(MAC4, tail))]).drops.total(), 0);
    assert_eq!(site.exchange(&[(VIF4, &from(MAC4, head))]).on(FABRIC).len(), 2);
    // What tunnels bring for the same network, too.
    assert_eq!(site.exchange(&[(FABRIC, &piece(9, 1, 6, false, 16))]).drops.total(), 0);
    assert_eq!(site.exchange(&[(FABRIC, &piece(9, 1, 0, true, 48))]).on(VIF3).len(), 2);
    assert_eq!(site.counters.held(), 64);
    // Its own heads let go of them, and it has room again.
    let heads: Vec<Vec<u8>> = (0..300).map(|id| from(MAC3, inner(3, 9, id, 0, true, 48))).collect();
    assert_eq!(site.send(VIF3, &heads).on(FABRIC).len(), 364);
    assert_eq!(site.counters.held(), 0);
    site.pass(3 * SECOND);
    site.send(VIF3, &tails).expect_drops(&[(DropReason::FragmentQueueFail, 236)]);
    site.close();
}

#[test]
fn h13_a_flood_of_heads_from_one_source_leaves_what_others_have_remembered() {
    each(|site| {
        let mine: Vec<(VifId, Vec<u8>)> = (0..8)
            .flat_map(|id| {
                let head = |from, to| inner(from, to, id, 0, true, 48);
                [(VIF4, from(MAC4, head(4, 9))), (FABRIC, mpls_over_udp(21, 64, &head(9, 4)))]
            })
            .collect();
        for (vif, head) in &mine {
            assert_eq!(site.exchange(&[(*vif, head)]).count(), 1);
        }
        let flood: Vec<Vec<u8>> =
            (0..5000).map(|id| from(MAC3, inner(3, 9, id, 0, true, 48))).collect();
        assert_eq!(site.send(VIF3, &flood).on(FABRIC).len(), 5000);
        for id in 0..8 {
            let tail = |from, to| inner(from, to, id, 6, false, 16);
            assert_eq!(site.exchange(&[(VIF4, &from(MAC4, tail(4, 9)))]).count(), 1, "{id}");
            let tail = mpls_over_udp(21, 64, &tail(9, 4));
            assert_eq!(site.exchange(&[(FABRIC, &tail)]).count(), 1, "{id}");
        }
    });
}

#[test]
fn what_waits_too_long_is_in_the_drop_log() {
    each(|site| {
        let tail = piece(9, 1, 6, false, 16);
        site.exchange(&[(FABRIC, &tail)]);
        site.pass(3 * SECOND);
        site.exchange(&[]).expect_drops(&[(DropReason::NoFragEntry, 1)]);
        let logged: Vec<_> = (0..site.workers.len())
            .flat_map(|worker| site.counters.drop_log(worker))
            .filter(|drop| drop.reason == DropReason::NoFragEntry)
            .collect();
        assert_eq!(logged.len(), 1);
        assert_eq!(logged[0].bytes[..], tail[..logged[0].bytes.len()], "as it came in");
    });
}

#[test]
fn what_waits_when_the_workers_close_goes_home() {
    each(|site| {
        let tail: &[(VifId, &[u8])] = &[(FABRIC, &piece(9, 1, 6, false, 16))];
        assert_eq!(site.exchange(tail).count(), 0);
        assert_eq!(site.counters.held(), 1);
    });
}
