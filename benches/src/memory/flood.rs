//! What established sessions cost while others begin on the same core, as fast as a core is asked to take them:
//! `flow/…/session-flood`.
//!
//! Every eleventh burst is of first packets, which is more than 500,000 new sessions a second on a
//! quiet machine (`mpps` says how many); the cycles are those of the other bursts, beside a run in which no burst is. Nothing may be dropped in either.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::ROUNDS;
use super::scenario::Scenario;
use super::site::{BURST, Site};
use crate::meter::middle;
use crate::row::Row;

/// Bursts of established sessions between two of first packets.
const BETWEEN: usize = 10;
/// Bursts of first packets.
const FLOODS: usize = 500;

pub(super) fn workload(scenario: &Scenario) -> String {
    format!("{}/session-flood", scenario.workload())
}

/// A row: cycles of an established packet net of the ports, and by how much that is more than without the flood.
pub(super) fn row(scenario: &Scenario) -> Result<Row> {
    let (mut cycles, mut ratios, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (peace, _) = measure(scenario, false)?;
        let (flooded, rate) = measure(scenario, true)?;
        cycles.push(flooded);
        ratios.push(flooded / peace);
        rates.push(rate / 1e6);
    }
    let (median, spread) = middle(cycles).context("no round")?;
    let (ratio, ratios) = middle(ratios).context("no round")?;
    Ok(Row {
        workload: workload(scenario),
        system: "vrouter-xdp",
        median: Some(median),
        spread: Some(spread),
        mpps: middle(rates).map(|(rate, _)| rate),
        ratio: Some(ratio),
        ratio_spread: Some(ratios),
        ..Row::default()
    })
}

/// Cycles of an established packet, and sessions begun a second.
#[expect(clippy::cast_precision_loss, reason = "cycles of a second")]
fn measure(scenario: &Scenario, flood: bool) -> Result<(f64, f64)> {
    let burst = BURST as usize;
    let known = scenario.packets();
    let begin = known.len().div_ceil(burst);
    let mut established = known.iter().cycle().cloned();
    let mut packets: Vec<Vec<u8>> = established.by_ref().take(begin * burst).collect();
    for number in 0..FLOODS * burst {
        if number % burst == 0 {
            packets.extend(established.by_ref().take(BETWEEN * burst));
        }
        packets.extend(match flood {
            true => Some(scenario.another(number)),
            false => established.next(),
        });
    }
    let sessions = u32::try_from(known.len() + FLOODS * burst)?;
    let mut site = Site::with_packets(scenario, &packets, sessions)?;
    // The first burst came with the ports.
    for _ in 1..begin {
        site.turn();
    }
    let start = Instant::now();
    let (mut cycles, mut count) = (0, 0);
    for _ in 0..FLOODS {
        let before = sys::tsc::cycles();
        for _ in 0..BETWEEN {
            count += site.turn();
        }
        cycles += sys::tsc::cycles() - before;
        site.turn();
    }
    let rate = (FLOODS * burst) as f64 / start.elapsed().as_secs_f64();
    ensure!(count == FLOODS * BETWEEN * burst, "the source ran dry");
    let before = sys::tsc::cycles();
    let shim: usize = (0..FLOODS * BETWEEN).map(|_| site.shim()).sum();
    let of_ports = (sys::tsc::cycles() - before) as f64 / shim as f64;
    site.nothing_was_dropped()?;
    site.close()?;
    Ok((cycles as f64 / count as f64 - of_ports, rate))
}
