//! A row of the summary, and the table that is printed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// What was measured of one system on one workload. Absent figures are not measurable there.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    /// `stage/what/flows/routes/size`.
    pub(crate) workload: String,
    /// `vrouter-xdp`, `kernel`, …
    pub(crate) system: &'static str,
    /// TSC cycles per packet, tenth percentile of the bursts, net of the port shim.
    pub(crate) cycles_per_packet: Option<f64>,
    /// TSC cycles per packet: median of the rounds' medians, net of the port shim.
    pub(crate) median: Option<f64>,
    /// Lowest and highest round's median.
    pub(crate) spread: Option<[f64; 2]>,
    /// Million packets a second.
    pub(crate) mpps: Option<f64>,
    /// Instructions per packet, counted by callgrind, net of the port shim.
    pub(crate) instructions_per_packet: Option<f64>,
    /// Ours by the peer's rate in the same round, median of the rounds; 1 for the peer itself.
    pub(crate) ratio: Option<f64>,
    /// Share of one core in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) core_percent: Option<f64>,
    /// Mbit/s of TCP payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mbit_per_second: Option<f64>,
    /// Lowest and highest round of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mbit_spread: Option<[f64; 2]>,
    /// Lowest and highest round of `mpps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mpps_spread: Option<[f64; 2]>,
    /// Lowest and highest round of `ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio_spread: Option<[f64; 2]>,
    /// Packets that did not arrive at the rate at which the cycles are taken, in percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loss_percent: Option<f64>,
    /// Cores busy with other things just before; the cycles include them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) background_cores: Option<f64>,
    /// Packets the system dropped by its own counters when sent as many as possible, in all rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drops: Option<u64>,
    /// Round trip of a 64-byte ping in microseconds, median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rtt_us_median: Option<f64>,
    /// The same, 99th percentile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rtt_us_p99: Option<f64>,
}

/// Prints the table and writes the summary.
pub(crate) fn write(rows: &[Row]) -> Result<()> {
    println!(
        "{:<34} {:<12} {:>8} {:>8} {:>15} {:>8} {:>8} {:>8} {:>7}",
        "workload", "system", "p10", "median", "spread", "Mpps", "instr", "Mbit/s", "ratio"
    );
    for row in rows {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let spread =
            row.spread.map_or_else(|| "-".to_owned(), |[lo, hi]| format!("{lo:.0}..{hi:.0}"));
        println!(
            "{:<34} {:<12} {:>8} {:>8} {:>15} {:>8} {:>8} {:>8} {:>7}{}{}{}",
            row.workload,
            row.system,
            number(row.cycles_per_packet, 0),
            number(row.median, 0),
            spread,
            number(row.mpps, 3),
            number(row.instructions_per_packet, 0),
            number(row.mbit_per_second, 0),
            number(row.ratio, 2),
            row.ratio_spread.map_or_else(String::new, |[lo, hi]| format!("  {lo:.2}..{hi:.2}")),
            row.rtt_us_median.zip(row.rtt_us_p99).map_or_else(String::new, |(median, p99)| {
                format!("  rtt {median:.0}/{p99:.0} us")
            }),
            row.core_percent.map_or_else(String::new, |share| format!("  {share:.2} % of a core")),
        );
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&folder).context("target/bench")?;
    let file = folder.join("summary.json");
    fs::write(&file, serde_json::to_string_pretty(rows)? + "\n")
        .context("target/bench/summary.json")?;
    println!("rows are in target/bench/summary.json");
    Ok(())
}
