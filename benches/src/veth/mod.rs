//! Workload veth, tunnel, workload veth: ours beside the kernel's VXLAN in the same rounds; and what an idle node costs.
//!
//! | file | is |
//! |---|---|
//! | `path.rs` | what is measured: two workloads and the underlay between them, whoever forwards |
//! | `vrouter.rs` | two nodes of ours, from the lab |
//! | `kernel.rs` | the same namespaces with the kernel's bridge and VXLAN device |
//! | `offloads.rs` | switching offloads off |
//! | `generator.rs` | 64-byte packets out of a workload |
//! | `sink.rs` | what arrived at the far workload, and what the machine worked meanwhile |
//! | `packets.rs`, `rtt.rs`, `idle.rs` | the measurements; TCP is the lab's |
//! | `verify.rs` | that the packets on the underlay are the right ones |
//! | `report.rs` | rows of the rounds |
//! | `clean.rs` | nothing is left behind |

mod clean;
mod generator;
mod idle;
mod kernel;
mod offloads;
mod packets;
mod path;
mod report;
mod rtt;
mod sink;
mod verify;
mod vrouter;

use anyhow::{Context, Result};
use lab::Encapsulation;

use crate::row::Row;
use kernel::Kernel;
use packets::Packets;
use path::Path;
use rtt::Rtt;
use vrouter::Vrouter;

/// Rounds of every system in turn.
const ROUNDS: usize = 5;
/// Layer 3 MTU of the workloads, on both systems: what the largest of our tunnels leaves of 1500.
const MTU: u16 = 1450;
/// How long TCP is sent in each direction of a round.
const TCP_SECONDS: &str = "2";
const IDLE: &str = "veth/idle/1/1/0";

/// What is measured of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// 64-byte packets and round trips.
    Packets,
    /// TCP from node a to node b.
    Tcp,
    /// TCP from node b to node a.
    TcpReverse,
}

impl Part {
    const ALL: [Part; 3] = [Part::Packets, Part::Tcp, Part::TcpReverse];

    fn workload(self, encapsulation: Encapsulation) -> String {
        let word = encapsulation.word();
        match self {
            Part::Packets => format!("veth/{word}/1/1/64"),
            Part::Tcp => format!("veth/{word}-tcp/1/1/{MTU}"),
            Part::TcpReverse => format!("veth/{word}-tcp-reverse/1/1/{MTU}"),
        }
    }
}

/// What one round found of one system. What was not asked for is absent.
#[derive(Clone, Debug, Default)]
struct Round {
    packets: Option<(Packets, Rtt)>,
    /// Bit/s.
    tcp: Option<f64>,
    tcp_reverse: Option<f64>,
}

/// Measures the rows that are wanted.
pub(crate) fn measure(wanted: &impl Fn(&str) -> bool, rows: &mut Vec<Row>) -> Result<()> {
    let asked: Vec<(Encapsulation, Vec<Part>)> = Encapsulation::ALL
        .into_iter()
        .map(|encapsulation| {
            let parts = Part::ALL.into_iter().filter(|part| wanted(&part.workload(encapsulation)));
            (encapsulation, parts.collect::<Vec<Part>>())
        })
        .filter(|(_, parts)| !parts.is_empty())
        .collect();
    let idle = wanted(IDLE);
    if asked.is_empty() && !idle {
        return Ok(());
    }
    if let Some(reason) = missing() {
        println!("skipped: veth rows: {reason}");
        return Ok(());
    }
    clean::everything()?;
    clean::when_interrupted()?;
    let measured = run(&asked, idle);
    clean::everything()?;
    rows.extend(measured?);
    Ok(())
}

fn missing() -> Option<String> {
    let unbuilt = || {
        let tools = ["vrouterd", "vrouter-agent", "vif", "nh", "rt", "mpls", "vxlan", "dropstats"];
        let absent: Vec<&str> =
            tools.into_iter().filter(|name| !lab::tool(name).is_file()).collect();
        (!absent.is_empty()).then(|| format!("not built: {}", absent.join(", ")))
    };
    lab::missing_for_lab(&["iperf3", "ping", "tshark"])
        .or_else(|| sys::caps::check().err().map(|missing| missing.to_string()))
        .or_else(unbuilt)
}

fn run(asked: &[(Encapsulation, Vec<Part>)], idle: bool) -> Result<Vec<Row>> {
    let mut ours = Vrouter::build()?;
    let mut rows = Vec::new();
    if idle {
        rows.push(idle::measure(&ours)?);
    }
    if asked.is_empty() {
        return Ok(rows);
    }
    // The peer is measured on everything that is asked of one of ours.
    let peer: Vec<Part> = Part::ALL
        .into_iter()
        .filter(|part| asked.iter().any(|(_, parts)| parts.contains(part)))
        .collect();
    let kernel = match Kernel::build() {
        Ok(kernel) => Some(kernel),
        Err(error) => {
            println!("skipped: the kernel's VXLAN as peer: {error:#}");
            None
        }
    };
    let mut of_kernel = Vec::new();
    let mut of_ours: Vec<Vec<Round>> = vec![Vec::new(); asked.len()];
    for round in 0..ROUNDS {
        println!("veth: round {} of {ROUNDS}", round + 1);
        if let Some(kernel) = &kernel {
            of_kernel.push(measure_path(&kernel.path()?, &peer, round)?);
        }
        for ((encapsulation, parts), rounds) in asked.iter().zip(&mut of_ours) {
            ours.switch(*encapsulation)?;
            rounds.push(measure_path(&ours.path()?, parts, round)?);
        }
    }
    if kernel.is_some() {
        rows.extend(report::kernel(&peer, &of_kernel));
    }
    for ((encapsulation, parts), rounds) in asked.iter().zip(&of_ours) {
        rows.extend(report::ours(*encapsulation, parts, rounds, &of_kernel));
    }
    Ok(rows)
}

fn measure_path(path: &Path<'_>, parts: &[Part], round: usize) -> Result<Round> {
    let what = || format!("{} {}", path.system, path.encapsulation.word());
    let measured = || -> Result<Round> {
        path.settle()?;
        if round == 0 {
            verify::encapsulation(path)?;
        }
        let mut found = Round::default();
        if parts.contains(&Part::Packets) {
            found.packets = Some((packets::measure(path)?, rtt::measure(path)?));
        }
        let tcp = |more: &[&str]| lab::tcp(path.near, path.far, path.far_address, "0", more);
        if parts.contains(&Part::Tcp) {
            found.tcp = Some(tcp(&["-t", TCP_SECONDS])?);
        }
        if parts.contains(&Part::TcpReverse) {
            found.tcp_reverse = Some(tcp(&["-t", TCP_SECONDS, "-R"])?);
        }
        Ok(found)
    };
    measured().with_context(what)
}
