//! Measurements. `benches` runs every row and writes `target/bench/summary.json`; `benches NAME…` runs the rows whose
//! workload contains one of the names.
//!
//! | module | does |
//! |---|---|
//! | `row` | a row of the summary, and the table that is printed |
//! | `meter` | cycles per packet of one burst each, their percentiles, and rounds of interleaved systems |
//! | `memory` | the packet path between memory ports: scenarios, the port shim, instruction counts |
//! | `peers` | the packet path beside Open vSwitch on DPDK |
//! | `veth` | veth, tunnel, veth beside the kernel's VXLAN; an idle node |
//!
//! Method: reference figures are only comparable within one run. All cycles are TSC cycles.
#![forbid(unsafe_code)]

mod memory;
mod meter;
mod peers;
mod row;
mod veth;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// Before everything else on the machine that is not measured.
const NICE: i32 = -15;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benches: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    // What callgrind runs: a fixed number of bursts of one scenario, nothing measured.
    if let [verb, workload, bursts] = arguments
        && verb == "count"
    {
        let bursts = bursts.parse().context("the number of bursts")?;
        return memory::drive(workload, bursts);
    }
    if arguments.iter().any(|argument| argument.starts_with('-')) {
        bail!("usage: benches [NAME…]");
    }
    let wanted = |workload: &str| {
        arguments.is_empty() || arguments.iter().any(|name| workload.contains(name.as_str()))
    };
    // Programs that are started inherit it, so every system measured has it.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        println!("priority stays as it is: {error}");
    }
    let mut rows = Vec::new();
    let stages = [
        memory::measure(&wanted, &mut rows),
        peers::measure(&wanted, &mut rows),
        veth::measure(&wanted, &mut rows),
    ];
    // What the others measured is not lost.
    let failed: Vec<String> =
        stages.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    row::write(&rows)?;
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("{}", failed.join("; ")),
    }
}
