//! What is between workers, and between them and the control thread.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

mod site;

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Event, Tick, WorkerId};
use port::{Burst, Faults, FaultyPort, Frame, FramePool, MemoryPort, Port, PortInfo};
use site::*;
use tables::{DropReason, Generation};

#[test]
fn a_full_port_and_a_faulty_one_are_counted() {
    each(|site| {
        let (port, _end) = MemoryPort::new("full");
        site.add_port(FABRIC, 0, Box::new(port.with_limit(10)));
        site.turn_all();
        let packets: Vec<_> = (0..64).map(|_| ping(MAC3, 3, 9)).collect();
        let free = site.pools.free_frames();
        let before = site.counters.drops();
        site.inject(VIF3, &packets);
        site.turn_all();
        let dropped = site.counters.drops().get(DropReason::InterfaceDrop)
            - before.get(DropReason::InterfaceDrop);
        assert_eq!(dropped, 54);
        assert_eq!(site.counters.vif(FABRIC).tx_errors, 54);
        assert_eq!(site.pools.free_frames(), free - 10);
        let (port, _end) = MemoryPort::new("faulty");
        let faults = Faults { lose_received: 0, lose_sent: 3, refuse: 5, cut: 0 };
        site.add_port(FABRIC, 0, Box::new(FaultyPort::new(port, faults)));
        site.turn_all();
        site.inject(VIF3, &packets);
        site.turn_all();
    });
}

/// Receives into frames it took from the pool when it was flushed, as the kernel does.
struct FillPort {
    fill: Vec<Frame>,
    /// Packets that have not come in yet.
    wire: Arc<AtomicUsize>,
    says: Says,
}

/// Whether a port tells that it has no frames left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Starved,
    Nothing,
}

impl Port for FillPort {
    fn name(&self) -> &str {
        "fill"
    }

    fn receive(&mut self, _: &mut FramePool, burst: &mut Burst) -> usize {
        let waiting = self.wire.load(Ordering::Relaxed);
        let count = waiting.min(self.fill.len()).min(burst.remaining_capacity());
        for mut frame in self.fill.drain(..count) {
            frame.fill(&ping(MAC3, 3, 9)).unwrap();
            burst.push(frame);
        }
        self.wire.store(waiting - count, Ordering::Relaxed);
        count
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        Err(frame)
    }

    fn flush(&mut self, pool: &mut FramePool) {
        while self.fill.len() < 48
            && let Some(frame) = pool.take()
        {
            self.fill.push(frame);
        }
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.fill.drain(..).for_each(|frame| pool.give(frame));
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        self.fill.len()
    }

    fn starved(&self) -> bool {
        self.says == Says::Starved && self.fill.is_empty()
    }

    fn info(&self) -> PortInfo {
        PortInfo::default()
    }
}

/// A site whose vif3 has received into every frame there is, all of which wait on the fabric; and what is still to come.
fn drained(says: Says) -> (Site, Arc<AtomicUsize>) {
    let mut site = Site::with_frames(1, 2048);
    let wire = Arc::new(AtomicUsize::new(site.pools.capacity() + 10));
    let port = FillPort { fill: Vec::new(), wire: Arc::clone(&wire), says };
    site.add_port(VIF3, 0, Box::new(port));
    site.turn_all();
    assert_eq!((site.pools.free_frames(), wire.load(Ordering::Relaxed)), (0, 10));
    (site, wire)
}

#[test]
fn a_port_that_found_the_pool_empty_receives_again_when_frames_are_back() {
    let (mut site, wire) = drained(Says::Starved);
    assert!(site.workers[0].must_poll());
    site.collect();
    for _ in 0..2 {
        site.workers[0].turn(Tick(10));
    }
    assert_eq!(wire.load(Ordering::Relaxed), 0);
    site.collect();
    site.close();
}

#[test]
fn every_port_is_flushed_each_millisecond_whether_it_was_used_or_not() {
    let (mut site, wire) = drained(Says::Nothing);
    site.collect();
    let start = Tick(1_000_000_000);
    site.workers[0].turn(start);
    site.workers[0].turn(Tick(start.0 + 1));
    assert_eq!(wire.load(Ordering::Relaxed), 0);
    site.collect();
    site.close();
}

#[test]
fn frames_for_a_port_elsewhere_go_over_a_bounded_ring() {
    let mut site = Site::new(2);
    // Only the sender turns: its ring holds so many, the rest is dropped where it came in.
    let packets: Vec<_> = (0..600).map(|_| ping(MAC3, 3, 9)).collect();
    for _ in 0..2 {
        site.inject(VIF3, &packets[..500]);
        for turn in 0..20 {
            site.workers[1].turn(Tick(turn));
        }
    }
    assert_eq!(site.counters.vif(FABRIC).tx_packets, 0);
    let drops = site.counters.vif_drops_on(1, VIF3);
    site.turn_all();
    let sent = site.counters.vif_on(0, FABRIC).tx_packets;
    assert_eq!(sent + drops.get(DropReason::InterfaceDrop), 1000);
    site.collect();
    site.close();
}

#[test]
fn a_sleeping_peer_is_woken_once_for_what_it_is_given() {
    let mut site = Site::new(2);
    assert!(site.workers[0].lie_down());
    let woken = site.wakes[0].0.load(Ordering::Relaxed);
    site.inject(VIF3, &[ping(MAC3, 3, 9), ping(MAC3, 3, 9)]);
    site.workers[1].turn(Tick(1));
    assert_eq!(site.wakes[0].0.load(Ordering::Relaxed), woken + 1);
    assert!(!site.workers[0].lie_down(), "something waits on its ring");
    site.turn_all();
    site.collect();
    assert!(site.workers[0].lie_down());
    site.open(VIF4, 0);
    assert_eq!(site.wakes[0].0.load(Ordering::Relaxed), woken + 2, "commands wake as well");
    site.turn_all();
    site.close();
}

#[test]
fn a_sleeping_worker_does_not_hold_a_generation_up() {
    let mut site = Site::new(2);
    site.put([vni(7, 51)]);
    let generation = site.writer.generation();
    assert!(generation > Generation(1) && !site.writer.reached(generation));
    site.workers[0].lie_down();
    site.workers[1].turn(Tick(0));
    assert!(site.writer.reached(generation));
    site.close();
}

#[test]
fn a_removed_port_comes_back_and_its_traffic_is_discarded() {
    each(|site| {
        site.engine.remove_port(WorkerId(0), FABRIC, 0).unwrap();
        site.turn_all();
        let Some(Event::Removed { vif, mut port, .. }) = site.engine.event(WorkerId(0)) else {
            panic!("no port came back")
        };
        port.close(&mut site.pools.pool());
        assert_eq!((vif, port.outstanding()), (FABRIC, 0));
        site.exchange(&[(VIF3, &ping(MAC3, 3, 9))])
            .expect_drops(&[(DropReason::InterfaceTxDiscard, 1)]);
        site.engine.inspect(WorkerId(0), VIF4, 0).unwrap();
        site.turn_all();
        let Some(Event::Info { info: Some(_), .. }) = site.engine.event(WorkerId(0)) else {
            panic!("no answer")
        };
    });
}

#[test]
fn a_port_without_an_interface_receives_nothing() {
    each(|site| {
        let unknown = tables::VifId(9);
        site.open(unknown, 0);
        site.turn_all();
        site.exchange(&[(unknown, &ping(MAC3, 3, 9))])
            .expect_drops(&[(DropReason::InterfaceRxDiscard, 1)]);
    });
}

#[test]
fn gre_of_many_flows_is_spread_over_the_workers_and_each_flow_stays_on_one() {
    let mut site = Site::new(2);
    let packet = |label, octet, flow: u16| {
        mpls_over_gre(label, 64, &udp(MAC9, 9, octet, (1000 + flow, 53), b"flow")[14..])
    };
    // Nobody has the address, so each packet ends on the worker that processed it and is counted there.
    let ended = |site: &Site| [0, 1].map(|worker| site.counters.drops_on(worker).total());
    for flow in 0..50 {
        let before = ended(&site);
        let packets = vec![packet(52, 77, flow); 4];
        site.send(FABRIC, &packets).expect_drops(&[(DropReason::Discard, 4)]);
        let after = ended(&site);
        let mut shares = [after[0] - before[0], after[1] - before[1]];
        shares.sort_unstable();
        assert_eq!(shares, [0, 4], "flow {flow} is on one worker");
    }
    let [first, second] = ended(&site);
    assert!(first >= 40 && second >= 40, "both have a share: {first} and {second}");
    // Wherever it was processed, it arrives.
    let packets: Vec<_> = (0..50).map(|flow| packet(20, 3, flow)).collect();
    assert_eq!(site.send(FABRIC, &packets).on(VIF3).len(), 50);
    assert_eq!(site.counters.vif(FABRIC).rx_packets, 250, "counted once");
    site.close();
}
