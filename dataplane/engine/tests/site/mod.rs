//! A compute node in memory: the bench that the cases assume, with one worker or with two.
//!
//! Every exchange asserts that packets in = packets out + counted drops, and that all frames are free again.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

pub mod policy;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{
    CounterReader, DropStatistics, Engine, Event, Seat, Seed, Settings, Tick, Wake, Worker,
    WorkerId,
};
use port::{
    Burst, Frame, FramePool, FramePools, Memory, MemoryEnd, MemoryPort, Port, PortInfo, ReplayPort,
    Train,
};
use tables::*;
use wire::{Label, Mac, Vni};

pub const FABRIC: VifId = VifId(0);
pub const HOST: VifId = VifId(1);
pub const VIF3: VifId = VifId(3);
pub const VIF4: VifId = VifId(4);
pub const RED: VrfId = VrfId(2);
pub const OVERLAY: VrfId = VrfId(10);

pub const UPLINK_MAC: Mac = Mac([2, 0, 0, 0, 0xf0, 1]);
pub const REMOTE_MAC: Mac = Mac([2, 0, 0, 0, 0xf0, 2]);
pub const HOST_MAC: Mac = Mac([2, 0, 0, 0, 0xf0, 0x11]);
pub const MAC3: Mac = Mac([2, 0, 0, 0, 0xa1, 3]);
pub const MAC4: Mac = Mac([2, 0, 0, 0, 0xa1, 4]);
pub const MAC9: Mac = Mac([2, 0, 0, 0, 0xa1, 9]);
pub const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0xc0, 0xfe]);

const FRAMES: u32 = 2048;
const LARGE_FRAMES: u32 = 32;

#[derive(Default)]
pub struct CountingWake(pub AtomicUsize);

impl Wake for CountingWake {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pub struct Site {
    pub model: Model,
    pub writer: Writer,
    pub engine: Engine,
    pub workers: Vec<Worker>,
    pub counters: CounterReader,
    pub wakes: Vec<Arc<CountingWake>>,
    pub pools: FramePools,
    pool: FramePool,
    ends: BTreeMap<VifId, MemoryEnd>,
    clock: u64,
}

/// The sending half of a replaying port: what is sent here comes round again at its sibling, and nothing comes in.
pub struct SendOnly(pub ReplayPort);

impl Port for SendOnly {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn receive(&mut self, _: &mut FramePool, _: &mut Burst) -> usize {
        0
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        self.0.transmit(frame)
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.0.flush(pool);
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.0.close(pool);
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        self.0.outstanding()
    }

    fn info(&self) -> PortInfo {
        self.0.info()
    }
}

/// Offers the same packets in every turn, each in a fresh frame, and swallows what is sent: nothing here allocates.
pub struct Mill {
    pub packets: Vec<Vec<u8>>,
    /// What is known of each, if they are trains.
    pub train: Option<Train>,
    pub takes_trains: bool,
    sent: Vec<Frame>,
}

impl Mill {
    pub fn new(packets: Vec<Vec<u8>>, train: Option<Train>, takes_trains: bool) -> Mill {
        Mill { packets, train, takes_trains, sent: Vec::with_capacity(4096) }
    }
}

impl Port for Mill {
    fn name(&self) -> &str {
        "mill"
    }

    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let before = burst.len();
        for packet in self.packets.iter().take(burst.remaining_capacity()) {
            let frame = if self.train.is_some() { pool.take_large() } else { pool.take() };
            let Some(mut frame) = frame else { break };
            frame.fill(packet).unwrap();
            frame.set_train(self.train.as_ref());
            burst.push(frame);
        }
        burst.len() - before
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        let refused = frame.train().is_some() && !self.takes_trains;
        if refused || self.sent.len() == self.sent.capacity() {
            return Err(frame);
        }
        self.sent.push(frame);
        Ok(())
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.sent.drain(..).for_each(|frame| pool.give(frame));
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.flush(pool);
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        self.sent.len()
    }

    fn takes_trains(&self) -> bool {
        self.takes_trains
    }

    fn info(&self) -> PortInfo {
        PortInfo::default()
    }
}

/// What an exchange brought.
#[derive(Debug)]
pub struct Outcome {
    pub sent: BTreeMap<VifId, Vec<Vec<u8>>>,
    pub drops: DropStatistics,
    /// What is known of those that left as trains of segments.
    pub trains: Vec<(VifId, Train)>,
}

impl Outcome {
    pub fn on(&self, vif: VifId) -> &[Vec<u8>] {
        self.sent.get(&vif).map_or(&[], Vec::as_slice)
    }

    /// Exactly these drops, no more.
    #[track_caller]
    pub fn expect_drops(&self, expected: &[(DropReason, u64)]) {
        let got: Vec<(DropReason, u64)> = DropReason::ALL
            .iter()
            .map(|reason| (*reason, self.drops.get(*reason)))
            .filter(|(_, count)| *count != 0)
            .collect();
        let mut expected = expected.to_vec();
        expected.sort_by_key(|(reason, _)| reason.index());
        assert_eq!(got, expected);
    }

    pub fn count(&self) -> usize {
        self.sent.values().map(Vec::len).sum()
    }
}

/// What there was before an exchange, and what has come of it so far.
struct Exchange {
    free: usize,
    drops: DropStatistics,
    made: u64,
    merged: u64,
    held: u64,
    sent: BTreeMap<VifId, Vec<Vec<u8>>>,
    trains: Vec<(VifId, Train)>,
}

impl Exchange {
    fn begin(site: &Site) -> Exchange {
        Exchange {
            free: site.pools.free_frames(),
            drops: site.counters.drops(),
            made: site.counters.spawned(),
            merged: site.counters.merged(),
            held: site.counters.held(),
            sent: BTreeMap::new(),
            trains: Vec::new(),
        }
    }

    fn run(&mut self, site: &mut Site) {
        site.turn_all();
        for (vif, end) in &site.ends {
            let sent = self.sent.entry(*vif).or_default();
            while let Some((packet, train)) = end.collect_train(&mut site.pool) {
                sent.push(packet);
                self.trains.extend(train.map(|train| (*vif, train)));
            }
        }
    }

    #[track_caller]
    fn end(self, site: &Site, input: usize) -> Outcome {
        let after = site.counters.drops();
        let drops = DropStatistics(std::array::from_fn(|i| after.0[i] - self.drops.0[i]));
        let outcome = Outcome { sent: self.sent, drops, trains: self.trains };
        let made = usize::try_from(site.counters.spawned() - self.made).unwrap();
        let merged = usize::try_from(site.counters.merged() - self.merged).unwrap();
        let [before, held] =
            [self.held, site.counters.held()].map(|held| usize::try_from(held).unwrap());
        assert_eq!(
            outcome.count() + usize::try_from(drops.total()).unwrap() + merged + held,
            input + made + before,
            "packets in + made = packets out + drops + merged (+ those that wait): {drops:?}"
        );
        assert_eq!(
            site.pools.free_frames() + held,
            self.free + before,
            "all frames are free again, but for those that wait"
        );
        outcome
    }
}

/// Runs a test with one worker and with two.
pub fn each(test: impl Fn(&mut Site)) {
    for workers in [1, 2] {
        let mut site = Site::new(workers);
        test(&mut site);
        site.close();
    }
}

impl Site {
    /// The bench: fabric on the first worker, vif3 on the last, vif4 on the first.
    pub fn new(workers: usize) -> Site {
        Site::with_large_frames(workers, FRAMES, LARGE_FRAMES)
    }

    /// The same with an engine told otherwise than usual.
    pub fn with_options(workers: usize, options: Settings) -> Site {
        let memory = Memory::new(FRAMES, 2048, "engine-test").unwrap();
        Site::on(workers, FramePools::new(memory, workers + 1), options)
    }

    /// The same with so many plain frames and no large ones.
    pub fn with_frames(workers: usize, frames: u32) -> Site {
        let memory = Memory::new(frames, 2048, "engine-test").unwrap();
        Site::on(workers, FramePools::new(memory, workers + 1), Settings::default())
    }

    /// The same with so many frames of each class.
    pub fn with_large_frames(workers: usize, frames: u32, large: u32) -> Site {
        let memory = Memory::new(frames, 2048, "engine-test").unwrap();
        let large = Memory::large(large, "engine-test").unwrap();
        let pools = FramePools::with_large(memory, large, workers + 1);
        Site::on(workers, pools, Settings::default())
    }

    fn on(workers: usize, pools: FramePools, options: Settings) -> Site {
        let mut writer = Writer::new();
        let wakes: Vec<_> = (0..workers).map(|_| Arc::new(CountingWake::default())).collect();
        let seats: Vec<Seat> = wakes
            .iter()
            .map(|wake| Seat {
                reader: writer.reader(),
                pool: pools.pool(),
                wake: Arc::clone(wake) as Arc<dyn Wake>,
            })
            .collect();
        let seed = Seed(0x1234_5678_9abc_def1);
        let (engine, workers) = Engine::configured(seats, seed, options);
        let counters = engine.counters();
        let pool = pools.pool();
        let mut site = Site {
            model: Model::new(),
            writer,
            engine,
            workers,
            counters,
            wakes,
            pools,
            pool,
            ends: BTreeMap::new(),
            clock: 0,
        };
        site.put(bench());
        site.apply(adjacencies(), Owner::Vrouterd);
        let last = site.workers.len() - 1;
        site.open(FABRIC, 0);
        site.open(VIF3, last);
        site.open(VIF4, 0);
        site.turn_all();
        site
    }

    /// Adds vhost0, so that what is for the host has somewhere to go.
    pub fn add_host(&mut self) {
        self.put([vif(HOST, "vhost0", VifKind::Host, VrfId(0), HOST_MAC)]);
        self.put([nh(10, NhFamily::Inet, VrfId(0), NextHopKind::Receive(HOST))]);
        self.open(HOST, 0);
        self.turn_all();
    }

    pub fn open(&mut self, vif: VifId, worker: usize) {
        self.open_as(vif, worker, |port| port);
    }

    /// Opens a port of which something is other than usual, in place of the one there is.
    pub fn open_as(
        &mut self,
        vif: VifId,
        worker: usize,
        special: impl FnOnce(MemoryPort) -> MemoryPort,
    ) {
        let (port, end) = MemoryPort::new("memory");
        self.ends.insert(vif, end);
        self.add_port(vif, worker, Box::new(special(port)));
    }

    pub fn add_port(&mut self, vif: VifId, worker: usize, port: Box<dyn Port>) {
        let worker = WorkerId(u8::try_from(worker).unwrap());
        assert!(self.engine.add_port(worker, vif, 0, port).is_ok());
    }

    pub fn put(&mut self, objects: impl IntoIterator<Item = Object>) {
        self.apply(objects.into_iter().map(Op::Put).collect::<Vec<_>>(), Owner::Agent);
    }

    pub fn apply(&mut self, ops: impl AsRef<[Op]>, owner: Owner) {
        let changes = self.model.apply(ops.as_ref(), owner).unwrap();
        self.writer.publish(&self.model, &changes);
    }

    /// Lets time pass, in nanoseconds.
    pub fn pass(&mut self, nanoseconds: u64) {
        self.clock += nanoseconds;
    }

    /// Turns all workers, a second apart.
    pub fn turn_at(&mut self, seconds: std::ops::Range<u64>) {
        for second in seconds {
            for worker in &mut self.workers {
                worker.turn(Tick(second * 1_000_000_000));
            }
        }
    }

    pub fn turn_all(&mut self) {
        let mut idle = 0;
        for turn in 0..10_000u64 {
            let work = self.workers.iter_mut().map(|worker| worker.turn(Tick(self.clock + turn)));
            let all_idle = work.fold(true, |all, work| all & work.is_idle());
            idle = if all_idle { idle + 1 } else { 0 };
            if idle == 2 {
                return;
            }
        }
        panic!("the workers never come to rest");
    }

    /// Puts packets in, if any, runs until nothing moves, and takes out what came.
    #[track_caller]
    pub fn exchange(&mut self, input: &[(VifId, &[u8])]) -> Outcome {
        let mut exchange = Exchange::begin(self);
        for chunk in input.chunks(256) {
            for (vif, packet) in chunk {
                assert!(self.ends[vif].inject(&mut self.pool, packet), "no frame for the input");
            }
            exchange.run(self);
        }
        if input.is_empty() {
            exchange.run(self);
        }
        exchange.end(self, input.len())
    }

    /// The same with trains of segments.
    #[track_caller]
    pub fn exchange_trains(&mut self, input: &[(VifId, &[u8], Train)]) -> Outcome {
        let mut exchange = Exchange::begin(self);
        for (vif, packet, train) in input {
            let put = self.ends[vif].inject_train(&mut self.pool, packet, train);
            assert!(put, "no frame for the input");
        }
        exchange.run(self);
        exchange.end(self, input.len())
    }

    /// Puts packets in and leaves the rest to the test.
    pub fn inject(&mut self, vif: VifId, packets: &[Vec<u8>]) {
        for packet in packets {
            assert!(self.ends[&vif].inject(&mut self.pool, packet), "no frame for the input");
        }
    }

    /// Takes out what came, unseen.
    pub fn collect(&mut self) {
        for end in self.ends.values() {
            end.collect_all(&mut self.pool);
        }
    }

    pub fn send(&mut self, vif: VifId, packets: &[Vec<u8>]) -> Outcome {
        let input: Vec<_> = packets.iter().map(|packet| (vif, packet.as_slice())).collect();
        self.exchange(&input)
    }

    /// One packet in, one packet out of `to`.
    #[track_caller]
    pub fn through(&mut self, from: VifId, packet: &[u8], to: VifId) -> Vec<u8> {
        let outcome = self.exchange(&[(from, packet)]);
        assert_eq!(outcome.on(to).len(), 1, "{:?}", outcome.drops);
        outcome.on(to)[0].clone()
    }

    /// A good packet each way: what every case ends with.
    #[track_caller]
    pub fn still_forwards(&mut self) {
        self.through(VIF3, &ping(MAC3, 3, 9), FABRIC);
        self.through(FABRIC, &mpls_over_udp(20, 64, &ping(MAC9, 9, 3)[14..]), VIF3);
    }

    pub fn close(self) {
        let Site { workers, mut engine, pools, .. } = self;
        let mut pool = pools.pool();
        for worker in workers {
            let id = worker.id();
            drop(worker.close());
            while let Some(event) = engine.event(id) {
                if let Event::Removed { mut port, .. } = event {
                    port.close(&mut pool);
                }
            }
        }
        assert_eq!(pools.free_frames(), pools.capacity(), "every frame came home");
    }
}

pub fn vif(id: VifId, name: &str, kind: VifKind, vrf: VrfId, mac: Mac) -> Object {
    let workload = kind == VifKind::Virtual;
    let gateway = workload.then_some(tenant(1));
    let gateway6 = workload.then_some("2001:db8:a:1::1".parse().unwrap());
    Object::Vif(Vif { vrf, mac, gateway, gateway6, ..Vif::new(id, name, kind) })
}

pub fn nh(id: u32, family: NhFamily, vrf: VrfId, kind: NextHopKind) -> Object {
    flagged(id, family, vrf, NhFlags(0), kind)
}

/// A next hop with flags beside `VALID`.
pub fn flagged(id: u32, family: NhFamily, vrf: VrfId, flags: NhFlags, kind: NextHopKind) -> Object {
    let flags = flags.with(NhFlags::VALID);
    Object::NextHop(NextHop { id: NhId(id), family, vrf: Some(vrf), flags, kind })
}

/// A composite of `(next hop, label)`.
pub fn composite(kind: CompositeKind, members: &[(u32, Option<u32>)]) -> NextHopKind {
    let member = |(next_hop, label): &(u32, Option<u32>)| {
        Some(Member { next_hop: NhId(*next_hop), label: *label })
    };
    NextHopKind::Composite { kind, members: members.iter().map(member).collect() }
}

pub fn tunnel(id: u32, far: u8, encap: TunnelEncap) -> Object {
    let kind = NextHopKind::Tunnel {
        source: IpAddr::V4(endpoint(1)),
        destination: IpAddr::V4(endpoint(far)),
        encap,
        rewrite: Rewrite::Underlay,
    };
    let family = match encap {
        TunnelEncap::Vxlan => NhFamily::Bridge,
        _ => NhFamily::Inet,
    };
    nh(id, family, VrfId(0), kind)
}

pub fn route(vrf: VrfId, prefix: &str, next_hop: u32, label: Option<u32>) -> Object {
    proxied(vrf, prefix, next_hop, label, RouteFlags::default())
}

pub fn proxied(
    vrf: VrfId,
    prefix: &str,
    next_hop: u32,
    label: Option<u32>,
    flags: RouteFlags,
) -> Object {
    let next_hop = NhId(next_hop);
    let label = label.map(|label| Vni::try_from(label).unwrap());
    match prefix.parse() {
        Ok(prefix) => {
            Object::Inet(Route { vrf, prefix, next_hop, label, flags, mac: None, identity: None })
        }
        Err(_) => {
            let prefix = prefix.parse().unwrap();
            Object::Inet6(Route { vrf, prefix, next_hop, label, flags, mac: None, identity: None })
        }
    }
}

pub fn bridge(vrf: VrfId, mac: Mac, next_hop: u32, label: Option<u32>) -> Object {
    Object::Bridge(BridgeEntry {
        vrf,
        mac,
        next_hop: NhId(next_hop),
        label: label.map(|label| Vni::try_from(label).unwrap()),
        flags: BridgeFlags::default(),
    })
}

pub fn label(label: u32, next_hop: u32) -> Object {
    Object::Label(LabelEntry { label: Label::try_from(label).unwrap(), next_hop: NhId(next_hop) })
}

pub fn vni(vni: u32, next_hop: u32) -> Object {
    Object::Vni(VniEntry { vni: Vni::try_from(vni).unwrap(), next_hop: NhId(next_hop) })
}

pub fn endpoint(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

pub fn to_workload(vif: VifId, mac: Mac) -> NextHopKind {
    let rewrite = [&mac.0[..], &Mac::GATEWAY.0, &[8, 0]].concat();
    NextHopKind::Encap { vif, rewrite }
}

fn bench() -> Vec<Object> {
    let proxy = RouteFlags::ARP_PROXY;
    let inet = NhFamily::Inet;
    let l2 = NhFamily::Bridge;
    let frame = |vif| NextHopKind::Encap { vif, rewrite: Vec::new() };
    vec![
        vif(FABRIC, "eth0", VifKind::Physical, VrfId(0), UPLINK_MAC),
        vif(VIF3, "tap3", VifKind::Virtual, RED, Mac::GATEWAY),
        vif(VIF4, "tap4", VifKind::Virtual, RED, Mac::GATEWAY),
        nh(10, inet, VrfId(0), NextHopKind::Receive(FABRIC)),
        nh(20, inet, RED, to_workload(VIF3, MAC3)),
        nh(21, inet, RED, to_workload(VIF4, MAC4)),
        nh(30, l2, RED, frame(VIF3)),
        nh(31, l2, RED, frame(VIF4)),
        tunnel(40, 2, TunnelEncap::MplsOverUdp),
        tunnel(41, 2, TunnelEncap::MplsOverGre),
        tunnel(42, 2, TunnelEncap::Vxlan),
        tunnel(43, 2, TunnelEncap::VxlanL3(ROUTER_MAC)),
        nh(50, l2, VrfId(0), NextHopKind::L2Receive),
        nh(51, l2, RED, NextHopKind::Translate(RED)),
        nh(52, inet, OVERLAY, NextHopKind::Translate(OVERLAY)),
        nh(53, l2, OVERLAY, NextHopKind::Translate(OVERLAY)),
        nh(54, inet, VrfId(0), NextHopKind::Resolve),
        route(VrfId(0), "192.0.2.1/32", 10, None),
        proxied(RED, "10.10.1.0/24", 0, None, proxy),
        proxied(RED, "10.10.1.1/32", 10, None, proxy),
        route(RED, "10.10.1.3/32", 20, Some(20)),
        route(RED, "10.10.1.4/32", 21, Some(21)),
        proxied(RED, "10.10.1.9/32", 40, Some(33), proxy),
        route(RED, "10.10.1.10/32", 41, Some(34)),
        route(RED, "10.10.1.11/32", 43, Some(6009)),
        route(RED, "10.10.1.99/32", 54, None),
        route(RED, "10.10.2.0/24", 52, None),
        route(OVERLAY, "10.10.2.9/32", 40, Some(35)),
        route(OVERLAY, "10.10.1.3/32", 20, None),
        route(RED, "2001:db8:a:1::3/128", 20, None),
        route(RED, "2001:db8:a:1::4/128", 21, None),
        route(RED, "2001:db8:a:1::9/128", 40, Some(33)),
        bridge(RED, Mac::GATEWAY, 50, None),
        bridge(RED, MAC3, 30, None),
        bridge(RED, MAC4, 31, None),
        bridge(RED, MAC9, 42, Some(5001)),
        bridge(OVERLAY, Mac::GATEWAY, 50, None),
        label(20, 20),
        label(21, 21),
        label(30, 30),
        label(52, 52),
        vni(5001, 51),
        vni(6001, 53),
    ]
}

fn adjacencies() -> Vec<Op> {
    let adjacency = |last| Adjacency {
        destination: IpAddr::V4(endpoint(last)),
        vif: FABRIC,
        source: UPLINK_MAC,
        neighbor: REMOTE_MAC,
    };
    (2..=4).map(|last| Op::Put(Object::Adjacency(adjacency(last)))).collect()
}

// ------------------------------------------------------------------------------------------------------ packets

pub fn tenant(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 10, 1, last)
}

/// Makes the IPv4 header's checksum right in a frame without tags and options.
pub fn fix_sum(packet: &mut [u8]) {
    packet[24..26].fill(0);
    let sum = wire::checksum::Sum::ZERO.bytes(&packet[14..34]).checksum();
    packet[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// A finished UDP packet from a workload to the gateway's MAC.
pub fn udp(source: Mac, from: u8, to: u8, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(source.0, Mac::GATEWAY.0)
        .ipv4(tenant(from).octets(), tenant(to).octets(), 64)
        .udp(ports.0, ports.1);
    let mut out = Vec::new();
    builder.write(&mut out, payload).unwrap();
    out
}

pub fn ping(source: Mac, from: u8, to: u8) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(source.0, Mac::GATEWAY.0)
        .ipv4(tenant(from).octets(), tenant(to).octets(), 64)
        .icmpv4_echo_request(7, 1);
    let mut out = Vec::new();
    builder.write(&mut out, b"payload of a ping").unwrap();
    out
}

pub fn mpls_word(label: u32, ttl: u8) -> [u8; 4] {
    (label << 12 | 0x100 | u32::from(ttl)).to_be_bytes()
}

/// Outer headers from 192.0.2.2 to here around a payload, built by another library.
pub fn outer_udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let builder = etherparse::PacketBuilder::ethernet2(REMOTE_MAC.0, UPLINK_MAC.0)
        .ipv4(endpoint(2).octets(), endpoint(1).octets(), 64)
        .udp(53001, port);
    let mut out = Vec::new();
    builder.write(&mut out, payload).unwrap();
    out
}

pub fn mpls_over_udp(label: u32, ttl: u8, payload: &[u8]) -> Vec<u8> {
    outer_udp(6635, &[&mpls_word(label, ttl), payload].concat())
}

pub fn mpls_over_gre(label: u32, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let inner = [&[0, 0, 0x88, 0x47], &mpls_word(label, ttl)[..], payload].concat();
    let ip = etherparse::PacketBuilder::ethernet2(REMOTE_MAC.0, UPLINK_MAC.0).ipv4(
        endpoint(2).octets(),
        endpoint(1).octets(),
        64,
    );
    let mut out = Vec::new();
    ip.write(&mut out, etherparse::IpNumber::GRE, &inner).unwrap();
    out
}

pub fn vxlan(vni: u32, frame: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    outer_udp(4789, &[&[8, 0, 0, 0, a, b, c, 0], frame].concat())
}

/// The TTL of an IPv4 header.
pub fn ttl(ip: &[u8]) -> u8 {
    ip[8]
}

/// Whether all checksums of an IP packet are right, judged by another library.
#[track_caller]
pub fn assert_sums(ip: &[u8]) {
    use etherparse::{NetHeaders, PacketHeaders, TransportHeader};
    let parsed = PacketHeaders::from_ip_slice(ip).unwrap();
    let payload = parsed.payload.slice();
    match parsed.net.unwrap() {
        NetHeaders::Ipv4(header, _) => {
            assert_eq!(header.calc_header_checksum(), header.header_checksum, "IPv4 header");
            match parsed.transport {
                Some(TransportHeader::Tcp(tcp)) => {
                    assert_eq!(tcp.calc_checksum_ipv4(&header, payload).unwrap(), tcp.checksum);
                }
                Some(TransportHeader::Udp(udp)) => {
                    assert_eq!(udp.calc_checksum_ipv4(&header, payload).unwrap(), udp.checksum);
                }
                _ => {}
            }
        }
        NetHeaders::Ipv6(header, _) => match parsed.transport {
            Some(TransportHeader::Tcp(tcp)) => {
                assert_eq!(tcp.calc_checksum_ipv6(&header, payload).unwrap(), tcp.checksum);
            }
            Some(TransportHeader::Udp(udp)) => {
                assert_eq!(udp.calc_checksum_ipv6(&header, payload).unwrap(), udp.checksum);
            }
            _ => {}
        },
        other => panic!("not IP: {other:?}"),
    }
}

// ------------------------------------------------------------------------------------------------------ captures

/// The workspace this crate is in; `file!` and the shared folder are found from it.
pub fn workspace() -> &'static Path {
    let mut folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.find(|folder| folder.join("Cargo.lock").is_file()).expect("the crate is in a workspace")
}

/// The folder with the captures that are part of the project.
fn own_captures() -> PathBuf {
    workspace().join("dataplane/engine/tests/captures")
}

/// The captures that are part of the project.
pub fn captures_here() -> Vec<PathBuf> {
    std::fs::read_dir(own_captures()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The packets of one of them.
pub fn capture(name: &str) -> Vec<Vec<u8>> {
    packets_of(&own_captures().join(name))
}

/// The packets of a capture file of either format, whatever its headers claim about times and wire lengths.
pub fn packets_of(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::read(path).unwrap();
    let mut packets = Vec::new();
    if let Ok(mut reader) = pcap_file::pcap::PcapReader::new(&file[..]) {
        while let Some(packet) = reader.next_raw_packet() {
            packets.push(packet.unwrap().data.into_owned());
        }
    } else {
        let mut reader = pcap_file::pcapng::PcapNgReader::new(&file[..]).unwrap();
        while let Some(block) = reader.next_block() {
            if let pcap_file::pcapng::Block::EnhancedPacket(packet) = block.unwrap() {
                packets.push(packet.data.into_owned());
            }
        }
    }
    packets
}

/// The folder with captures of third parties, if this machine has it.
pub fn shared_captures() -> Option<PathBuf> {
    let shared = std::env::var_os("VROUTER_SHARED")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let folder = shared.join("cases/pcaps");
    folder.is_dir().then_some(folder)
}
