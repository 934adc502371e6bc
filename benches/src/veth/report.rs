//! Rows of the rounds.

use lab::Encapsulation;

use super::{Part, Round};
use crate::meter::middle;
use crate::row::Row;

/// Cycles are of the whole machine: with more cores than this busy elsewhere they would be somebody else's.
const QUIET_CORES: f64 = 0.2;

/// The kernel's rows: it has one tunnel.
pub(super) fn kernel(parts: &[Part], rounds: &[Round]) -> Vec<Row> {
    let row = |part: &Part| Row {
        ratio: Some(1.0),
        ..row("kernel", *part, Encapsulation::Vxlan, rounds)
    };
    parts.iter().map(row).collect()
}

/// Our rows of one tunnel, each beside the kernel in the same round.
pub(super) fn ours(
    encapsulation: Encapsulation,
    parts: &[Part],
    rounds: &[Round],
    kernel: &[Round],
) -> Vec<Row> {
    let row = |part: &Part| {
        let ratios = rounds
            .iter()
            .zip(kernel)
            .filter_map(|(ours, kernel)| Some(rate(ours, *part)? / rate(kernel, *part)?));
        let ratio = middle(ratios);
        Row {
            ratio: ratio.map(|(median, _)| median),
            ratio_spread: ratio.map(|(_, spread)| spread),
            ..row("vrouter-xdp", *part, encapsulation, rounds)
        }
    };
    parts.iter().map(row).collect()
}

/// Packets or bits a second.
fn rate(round: &Round, part: Part) -> Option<f64> {
    match part {
        Part::Packets => round.packets.map(|(packets, _)| packets.rate),
        Part::Tcp => round.tcp,
        Part::TcpReverse => round.tcp_reverse,
    }
}

fn row(system: &'static str, part: Part, encapsulation: Encapsulation, rounds: &[Round]) -> Row {
    let rates = middle(rounds.iter().filter_map(|round| rate(round, part)));
    let rate = rates.map(|(median, _)| median / 1e6);
    let spread = rates.map(|(_, [low, high])| [low / 1e6, high / 1e6]);
    let empty = Row { workload: part.workload(encapsulation), system, ..Row::default() };
    if part != Part::Packets {
        return Row { mbit_per_second: rate, mbit_spread: spread, ..empty };
    }
    let found = || rounds.iter().filter_map(|round| round.packets);
    let median = |values: Vec<f64>| middle(values).map(|(median, _)| median);
    let background = median(found().map(|(packets, _)| packets.background).collect());
    let cycles = middle(found().map(|(packets, _)| packets.cycles));
    let cycles = cycles.filter(|_| {
        let quiet = background.is_some_and(|cores| cores <= QUIET_CORES);
        if !quiet {
            let cores = background.unwrap_or_default();
            println!(
                "skipped: cycles of {} ({system}): {cores:.1} cores were busy with other things",
                part.workload(encapsulation)
            );
        }
        quiet
    });
    Row {
        // Of a handful of rounds the tenth percentile is the lowest.
        cycles_per_packet: cycles.map(|(_, [low, _])| low),
        median: cycles.map(|(median, _)| median),
        spread: cycles.map(|(_, spread)| spread),
        mpps: rate,
        mpps_spread: spread,
        loss_percent: median(found().map(|(packets, _)| 100.0 * packets.loss).collect()),
        background_cores: background,
        drops: Some(found().map(|(packets, _)| packets.drops).sum()),
        rtt_us_median: median(found().map(|(_, rtt)| rtt.median).collect()),
        rtt_us_p99: median(found().map(|(_, rtt)| rtt.p99).collect()),
        ..empty
    }
}
