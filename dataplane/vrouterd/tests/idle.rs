//! What an idle node costs. Printed, and held to a bound far above what it should be: a shared machine is noisy.

mod support;

use std::time::{Duration, Instant};

use support::model::Tunnel;
use support::pair::Pair;
use support::privileged;

/// Processor time a process has used, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn an_idle_node_sleeps() {
    if !privileged() {
        return;
    }
    let pair = Pair::start(Tunnel::MplsOverUdp, &["--workers", "2"]);
    assert_eq!(pair.ping(5, "0.01"), 5);
    let pid = pair.a.daemon().pid();
    let start = Instant::now();
    let before = ticks(pid);
    while start.elapsed() < Duration::from_secs(5) {
        std::thread::park_timeout(Duration::from_secs(5));
    }
    let used = ticks(pid) - before;
    let share = used as f64
        / rustix::param::clock_ticks_per_second() as f64
        / start.elapsed().as_secs_f64();
    println!("idle, two workers: {:.2} % of a core", share * 100.0);
    assert!(share < 0.2, "{share}");
    assert_eq!(pair.ping(5, "0.01"), 5, "and wakes up");
}
