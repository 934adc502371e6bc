//! The packet path beside packaged peers, in one run: ours and the peer take turns on one core, packets from memory to
//! nowhere, the ports' cost included in both.
//!
//! | module | holds |
//! |---|---|
//! | (here) | the rounds |
//! | `ovs` | Open vSwitch on DPDK: connection tracking, routes, VXLAN |
//!
//! A peer is judged by its own count of cycles, as ours is by ours: TSC cycles a packet, busy time alone.

mod ovs;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::memory;
use crate::meter::{hertz, middle};
use crate::row::Row;
use ovs::{Ovs, Replay};

const ROUNDS: usize = 5;
const WINDOW: Duration = Duration::from_millis(600);
/// A peer's caches fill while it stands in nobody's figures.
const WARM: Duration = Duration::from_millis(400);
/// The first time it also learns its connections.
const FIRST_WARM: Duration = Duration::from_secs(6);
/// Sessions and routes of each row.
const COUNTS: [u32; 2] = [1, 10_000];
/// Sessions that begin in a round.
const NEW: usize = 200_000;
const NEW_SESSIONS: &str = "peers/new-sessions/200k/10/64";

fn workload(count: u32) -> String {
    let name = if count == 1 { "1" } else { "10k" };
    format!("peers/policy-encap/{name}/{name}/64")
}

/// Measures the rows that are wanted.
pub(crate) fn measure(wanted: &impl Fn(&str) -> bool, rows: &mut Vec<Row>) -> Result<()> {
    let counts: Vec<u32> = COUNTS.into_iter().filter(|count| wanted(&workload(*count))).collect();
    let new = wanted(NEW_SESSIONS);
    if counts.is_empty() && !new {
        return Ok(());
    }
    if let Some(reason) = ovs::missing() {
        println!("skipped: peers rows: {reason}");
        return Ok(());
    }
    let cores = sys::affinity::allowed()?;
    let [first, .., last] = cores.as_slice() else {
        println!("skipped: peers rows: need two cores");
        return Ok(());
    };
    let ovs = match Ovs::start(*last, *first) {
        Ok(ovs) => ovs,
        Err(error) => {
            println!("skipped: peers rows: {error:#}");
            return ovs::clean();
        }
    };
    for count in counts {
        rows.extend(beside(&ovs, count, *last).with_context(|| workload(count))?);
    }
    if new {
        rows.extend(new_sessions(&ovs, *last).context(NEW_SESSIONS)?);
    }
    Ok(())
}

/// Ours on the core the peer has, while it stands still.
fn ours_on<T: Send>(core: usize, run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let own = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                sys::affinity::pin(core)?;
                run()
            })
            .join()
    });
    own.map_err(|_| anyhow::anyhow!("a measurement panicked"))?
}

/// Both systems' figures of one row's rounds.
fn beside_each_other(workload: &str, ours: Vec<f64>, theirs: Vec<f64>) -> Result<[Row; 2]> {
    let ratios = ours.iter().zip(&theirs).map(|(own, peer)| peer / own).collect::<Vec<_>>();
    let row = |system, cycles: Vec<f64>| -> Result<Row> {
        let (median, spread) = middle(cycles).context("no round")?;
        Ok(Row {
            workload: workload.to_owned(),
            system,
            median: Some(median),
            spread: Some(spread),
            mpps: Some(hertz() / median / 1e6),
            ..Row::default()
        })
    };
    let (ratio, ratio_spread) = middle(ratios).context("no round")?;
    let ours = row("vrouter-xdp", ours)?;
    let theirs = row("ovs-dpdk", theirs)?;
    Ok([
        Row { ratio: Some(ratio), ratio_spread: Some(ratio_spread), ..ours },
        Row { ratio: Some(1.0), ..theirs },
    ])
}

/// Sessions that begin, each with one packet: what it costs until it is known and its packet sent.
fn new_sessions(ovs: &Ovs, core: usize) -> Result<[Row; 2]> {
    let (packets, routes) = memory::new_sessions(NEW);
    ovs.track_route_and_encapsulate(&packets, routes.into_iter(), Replay::Never)
        .with_context(ovs::log_end)?;
    ovs.stand_still()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(ours_on(core, || memory::begin_with_ports(&packets))?);
        theirs.push(ovs.begin(NEW)?);
    }
    beside_each_other(NEW_SESSIONS, ours, theirs)
}

/// Ours and the peer's row of so many sessions and routes.
fn beside(ovs: &Ovs, count: u32, core: usize) -> Result<[Row; 2]> {
    let (packets, routes) = memory::encapsulated_under_policy(count)?;
    ovs.track_route_and_encapsulate(&packets, routes.into_iter(), Replay::Forever)
        .with_context(ovs::log_end)?;
    ovs.window(FIRST_WARM, WINDOW)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        ours.push(ours_on(core, || memory::with_ports(count, WINDOW))?);
        theirs.push(ovs.window(WARM, WINDOW)?);
        if round == 0 {
            ovs.verify(count as usize)?;
        }
    }
    beside_each_other(&workload(count), ours, theirs)
}
