//! Nodes alone: one packet in, one `Next` out, exactly these counters moved.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

use std::net::Ipv4Addr;
use std::sync::Arc;

use port::{Frame, FramePool, FramePools, Memory};
use tables::{
    BridgeEntry, BridgeFlags, DropReason, Model, NextHop as NextHopObject, NextHopKind, NhFamily,
    NhFlags, NhId, Object, Op, Owner, Route as RouteObject, RouteFlags, Vif, VifId, VifKind, VrfId,
    Writer,
};
use wire::Mac;

use super::{Bridge, Control, Decap, Encap, NextHop, Parse, Route, VifRx};
use crate::assembler::Assembler;
use crate::counters::{CounterReader, Counters};
use crate::flow_hash::Seed;
use crate::graph::{Cx, Next, Node, Spawned};
use crate::hand_off::{Peers, WorkerId, Workers};
use crate::inspect;
use crate::learn::Learner;
use crate::merge::Merger;
use crate::mss::MssClamp;
use crate::packet::{Cast, Hop, Layer, Meta, Packet, Protocol, Spread, Trap};
use crate::ports::Ports;
use crate::storm::{StormLimits, Storms};
use crate::worker::Tick;

const VM: VifId = VifId(3);
const UPLINK: VifId = VifId(0);
const RED: VrfId = VrfId(2);
const VM_MAC: Mac = Mac([2, 0, 0, 0, 0xa1, 3]);
const UPLINK_MAC: Mac = Mac([2, 0, 0, 0, 0xf0, 1]);

/// A packet outside of a burst.
struct Held {
    frame: Frame,
    meta: Meta,
}

impl Held {
    fn view(&mut self) -> Packet<'_> {
        Packet { frame: &mut self.frame, meta: &mut self.meta }
    }
}

/// Tables with one workload, and what a step may use.
struct Desk {
    writer: Writer,
    counters: Arc<Counters>,
    pool: FramePool,
    ports: Ports,
    peers: Peers,
    storms: Storms,
    learner: Learner,
    spawned: Spawned,
    merger: Merger,
    assembler: Assembler,
}

impl Desk {
    fn new() -> Desk {
        let mut model = Model::new();
        let vif = |id, kind, vrf, mac| Vif {
            vrf,
            mac,
            ..Vif::new(id, if id == UPLINK { "eth0" } else { "tap3" }, kind)
        };
        let nh = |id, family, kind| NextHopObject {
            id: NhId(id),
            family,
            vrf: Some(RED),
            flags: NhFlags::VALID,
            kind,
        };
        let rewrite = [&VM_MAC.0[..], &Mac::GATEWAY.0, &[8, 0]].concat();
        let inet = |prefix: &str, next_hop, flags| RouteObject {
            vrf: RED,
            prefix: prefix.parse().unwrap(),
            next_hop: NhId(next_hop),
            label: None,
            flags,
            mac: None,
            identity: None,
        };
        let objects = [
            Object::Vif(vif(UPLINK, VifKind::Physical, VrfId(0), UPLINK_MAC)),
            Object::Vif(vif(VM, VifKind::Virtual, RED, Mac::GATEWAY)),
            Object::NextHop(nh(20, NhFamily::Inet, NextHopKind::Encap { vif: VM, rewrite })),
            Object::NextHop(nh(50, NhFamily::Bridge, NextHopKind::L2Receive)),
            Object::NextHop(nh(51, NhFamily::Inet, NextHopKind::Translate(VrfId(7)))),
            Object::NextHop(nh(52, NhFamily::Bridge, NextHopKind::Translate(RED))),
            Object::NextHop(nh(53, NhFamily::Inet, NextHopKind::Resolve)),
            Object::Inet(inet("10.0.0.3/32", 20, RouteFlags::default())),
            Object::Inet(inet("10.0.0.0/24", 0, RouteFlags::ARP_PROXY)),
            Object::Bridge(BridgeEntry {
                vrf: RED,
                mac: Mac::GATEWAY,
                next_hop: NhId(50),
                label: None,
                flags: BridgeFlags::default(),
            }),
        ];
        let changes = model.apply(&objects.map(Op::Put), Owner::Agent).unwrap();
        let mut writer = Writer::new();
        writer.publish(&model, &changes);
        let pools = FramePools::new(Memory::new(8, 2048, "engine-node").unwrap(), 1);
        Desk {
            writer,
            counters: Counters::new(),
            pool: pools.pool(),
            ports: Ports::new(),
            peers: Peers::new([]),
            storms: Storms::new(StormLimits::default()),
            learner: Learner::new(rtrb::RingBuffer::new(1).0),
            spawned: Spawned::new(),
            merger: Merger::default(),
            assembler: Assembler::new(Seed(1), 8, 1),
        }
    }

    /// Steps one packet; nothing but the packet and the counters named may change.
    fn step(&mut self, node: &mut impl Node, packet: &mut Held) -> Next {
        let reader = CounterReader::new([Arc::clone(&self.counters)]);
        let mut cx = Cx {
            fib: self.writer.fib(),
            counters: &self.counters,
            pool: &mut self.pool,
            ports: &mut self.ports,
            peers: &mut self.peers,
            workers: Workers::new(WorkerId(0), 1),
            seed: Seed(1),
            storms: &mut self.storms,
            learner: &mut self.learner,
            spawned: &mut self.spawned,
            merger: &mut self.merger,
            assembler: &mut self.assembler,
            mss: MssClamp::Both,
            marking: crate::feature::marking::Marking::new(crate::DscpMode::Pipe),
            flows: None,
            trace: None,
            now: Tick(0),
        };
        node.begin();
        node.gather(&cx, std::iter::once(&packet.meta));
        let next = node.step(&mut cx, &mut packet.view());
        assert_eq!(reader.drops().total(), 0, "only the drop node counts drops");
        next
    }

    fn errors(&self, vif: VifId) -> u64 {
        CounterReader::new([Arc::clone(&self.counters)]).vif(vif).rx_errors
    }

    fn packet(&mut self, rx_vif: VifId, bytes: &[u8]) -> Held {
        let mut frame = self.pool.take().unwrap();
        frame.fill(bytes).unwrap();
        let mut meta = Meta::arriving(rx_vif, Spread::Allowed);
        if rx_vif == UPLINK {
            meta.rx_kind = VifKind::Physical;
        } else {
            meta.vrf = RED;
        }
        Held { frame, meta }
    }

    /// A packet as `parse` leaves it.
    fn parsed(&mut self, bytes: &[u8]) -> Held {
        let mut packet = self.packet(VM, bytes);
        inspect::ethernet(&mut packet.view(), DropReason::InterfaceDrop).unwrap();
        packet
    }

    fn done(&mut self, packet: Held) {
        self.pool.give(packet.frame);
    }
}

fn udp(to: Mac, destination: Ipv4Addr, ttl: u8) -> Vec<u8> {
    let mut out = Vec::new();
    etherparse::PacketBuilder::ethernet2(VM_MAC.0, to.0)
        .ipv4([10, 0, 0, 3], destination.octets(), ttl)
        .udp(1, 2)
        .write(&mut out, b"node")
        .unwrap();
    out
}

const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

#[test]
fn vif_rx_gives_kind_and_vrf_or_drops_what_no_interface_has() {
    let mut desk = Desk::new();
    let mut packet = desk.packet(VM, &[0; 60]);
    packet.meta.vrf = VrfId(0);
    assert_eq!(desk.step(&mut VifRx::default(), &mut packet), Next::Parse);
    assert_eq!((packet.meta.rx_kind, packet.meta.vrf), (VifKind::Virtual, RED));
    packet.meta.rx_vif = VifId(9);
    let next = desk.step(&mut VifRx::default(), &mut packet);
    assert_eq!(next, Next::Drop(DropReason::InterfaceRxDiscard));
    desk.done(packet);
}

#[test]
fn parse_sends_workload_frames_to_the_bridge_with_their_offsets() {
    let mut desk = Desk::new();
    let mut packet = desk.packet(VM, &udp(Mac::GATEWAY, HERE, 64));
    assert_eq!(desk.step(&mut Parse::default(), &mut packet), Next::Bridge);
    assert_eq!((packet.meta.network, packet.meta.transport), (14, 34));
    assert_eq!((packet.meta.protocol, packet.meta.cast), (Protocol::Ipv4, Cast::Unicast));
    desk.done(packet);
    assert_eq!(desk.errors(VM), 0);
}

#[test]
fn parse_counts_what_is_no_frame_as_a_receive_error() {
    let mut desk = Desk::new();
    let mut packet = desk.packet(VM, &[0; 13]);
    let next = desk.step(&mut Parse::default(), &mut packet);
    assert_eq!(next, Next::Drop(DropReason::InterfaceDrop));
    assert_eq!(desk.errors(VM), 1);
    desk.done(packet);
}

#[test]
fn parse_takes_from_the_fabric_only_what_has_a_local_endpoint() {
    let mut desk = Desk::new();
    let mut packet = desk.packet(UPLINK, &udp(UPLINK_MAC, HERE, 64));
    assert_eq!(desk.step(&mut Parse::default(), &mut packet), Next::Drop(DropReason::Discard));
    desk.done(packet);
    let mut packet = desk.packet(UPLINK, &udp(VM_MAC, HERE, 64));
    let next = desk.step(&mut Parse::default(), &mut packet);
    assert_eq!(next, Next::Drop(DropReason::InterfaceDrop));
    desk.done(packet);
}

#[test]
fn decap_leaves_other_ports_to_the_host_and_refuses_unknown_labels() {
    let mut desk = Desk::new();
    let mut bytes = udp(UPLINK_MAC, HERE, 64);
    let mut packet = desk.parsed(&bytes);
    assert_eq!(desk.step(&mut Decap, &mut packet), Next::NextHop);
    desk.done(packet);
    bytes[36..38].copy_from_slice(&6635u16.to_be_bytes());
    bytes[42..46].copy_from_slice(&[0, 1, 0x41, 64]);
    let mut packet = desk.parsed(&bytes);
    let next = desk.step(&mut Decap, &mut packet);
    assert_eq!(next, Next::Drop(DropReason::InvalidLabel));
    desk.done(packet);
}

#[test]
fn bridge_finds_the_gateway_and_nobody_else() {
    let mut desk = Desk::new();
    let mut packet = desk.parsed(&udp(Mac::GATEWAY, HERE, 64));
    assert_eq!(desk.step(&mut Bridge::default(), &mut packet), Next::Route);
    assert_eq!((packet.meta.nh, packet.meta.layer), (NhId(50), Layer::L2));
    desk.done(packet);
    for to in [Mac([2, 9, 9, 9, 9, 9]), Mac::BROADCAST] {
        let mut packet = desk.parsed(&udp(to, HERE, 64));
        let next = desk.step(&mut Bridge::default(), &mut packet);
        assert_eq!(next, Next::Drop(DropReason::L2NoRoute));
        desk.done(packet);
    }
}

#[test]
fn route_owes_a_hop_and_refuses_an_expired_packet() {
    let mut desk = Desk::new();
    let mut packet = desk.parsed(&udp(Mac::GATEWAY, HERE, 64));
    assert_eq!(desk.step(&mut Route::default(), &mut packet), Next::NextHop);
    assert_eq!((packet.meta.nh, packet.meta.hop), (NhId(20), Hop::Due));
    desk.done(packet);
    let mut packet = desk.parsed(&udp(Mac::GATEWAY, NOWHERE, 64));
    assert_eq!(desk.step(&mut Route::default(), &mut packet), Next::NextHop);
    assert_eq!(packet.meta.nh, NhId(0), "a miss is the next hop that discards");
    desk.done(packet);
    let mut packet = desk.parsed(&udp(Mac::GATEWAY, HERE, 0));
    let next = desk.step(&mut Route::default(), &mut packet);
    assert_eq!(next, Next::Drop(DropReason::TtlExceeded));
    desk.done(packet);
}

#[test]
fn next_hop_is_one_decision_for_each_kind() {
    let mut desk = Desk::new();
    for (nh, expected) in [
        (0, Next::Drop(DropReason::Discard)),
        (20, Next::VifTx),
        (50, Next::Route),
        (51, Next::Route),
        (52, Next::Bridge),
        (53, Next::Punt),
        (99, Next::Drop(DropReason::InvalidNh)),
    ] {
        let mut packet = desk.parsed(&udp(Mac::GATEWAY, HERE, 64));
        packet.meta.nh = NhId(nh);
        assert_eq!(desk.step(&mut NextHop::default(), &mut packet), expected, "next hop {nh}");
        if expected == Next::Punt {
            assert_eq!(packet.meta.trap, Trap::Resolve);
        }
        desk.done(packet);
    }
}

#[test]
fn encap_refuses_what_is_no_tunnel() {
    let mut desk = Desk::new();
    let mut packet = desk.parsed(&udp(Mac::GATEWAY, HERE, 64));
    packet.meta.nh = NhId(20);
    let next = desk.step(&mut Encap::default(), &mut packet);
    assert_eq!(next, Next::Drop(DropReason::InvalidNh));
    desk.done(packet);
}

#[test]
fn arp_answers_where_a_route_says_so_and_leaves_the_rest_to_the_bridge() {
    let mut desk = Desk::new();
    let request = |sender, target| {
        let mut frame = vec![0; 60];
        wire::Ethernet::new(Mac::BROADCAST, VM_MAC, wire::ethertype::ARP).emit(&mut frame).unwrap();
        wire::Arp::new(wire::ArpOperation::Request, (VM_MAC, sender), (Mac::ZERO, target))
            .emit(&mut frame[14..])
            .unwrap();
        frame
    };
    let neighbour = Ipv4Addr::new(10, 0, 0, 77);
    for (bytes, expected) in [
        (request(HERE, neighbour), Next::VifTx),
        (request(HERE, NOWHERE), Next::Bridge),
        (request(Ipv4Addr::UNSPECIFIED, neighbour), Next::Bridge),
        (request(neighbour, neighbour), Next::Bridge),
    ] {
        let mut packet = desk.parsed(&bytes);
        assert_eq!(desk.step(&mut Control, &mut packet), expected);
        if expected == Next::VifTx {
            assert_eq!((packet.meta.tx_vif, packet.frame.len()), (VM, 42));
        }
        desk.done(packet);
    }
    let mut odd = request(HERE, neighbour);
    odd[18] = 7;
    let mut packet = desk.parsed(&odd);
    assert_eq!(desk.step(&mut Control, &mut packet), Next::Drop(DropReason::InvalidArp));
    desk.done(packet);
}
