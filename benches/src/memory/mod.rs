//! The packet path between memory ports: packets come from memory that is warm where the table of packets fits the
//! caches, and go nowhere.

mod changes;
mod flood;
mod once;
mod scenario;
mod site;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::meter::{Figures, hertz, middle};
use crate::row::Row;
use changes::Change;
use scenario::Scenario;
use site::Site;

/// Rounds of every scenario in turn.
const ROUNDS: usize = 5;
/// How long each is driven in a round.
const WINDOW: Duration = Duration::from_millis(600);

/// Measures the scenarios that are wanted.
pub(crate) fn measure(wanted: &impl Fn(&str) -> bool, rows: &mut Vec<Row>) -> Result<()> {
    let scenarios: Vec<Scenario> =
        Scenario::all().into_iter().filter(|scenario| wanted(&scenario.workload())).collect();
    // On a thread of its own, pinned to the last core: core 0 is left to everything else on the machine.
    let rounds = std::thread::scope(|scope| scope.spawn(|| rounds(&scenarios)).join());
    let rounds = rounds.map_err(|_| anyhow::anyhow!("a measurement panicked"))??;
    for (scenario, rounds) in scenarios.iter().zip(&rounds) {
        rows.push(row(scenario, rounds)?);
        rows.extend(begun(scenario, rounds));
    }
    let all: Vec<(Scenario, Change)> = Scenario::all()
        .into_iter()
        .filter(Scenario::is_changed)
        .flat_map(|scenario| Change::ALL.map(|change| (scenario, change)))
        .filter(|(scenario, change)| wanted(&change.workload(scenario)))
        .collect();
    for scenario in Scenario::all().into_iter().filter(Scenario::is_flooded) {
        if wanted(&flood::workload(&scenario)) {
            let flooded = std::thread::scope(|scope| scope.spawn(|| flooded(&scenario)).join());
            rows.push(flooded.map_err(|_| anyhow::anyhow!("a measurement panicked"))??);
        }
    }
    let changed = std::thread::scope(|scope| scope.spawn(|| changed(&all)).join());
    rows.extend(changed.map_err(|_| anyhow::anyhow!("a measurement panicked"))??);
    Ok(())
}

/// Figures of each scenario's rounds: with the packet path, of the port shim alone, and sessions begun a second.
type Rounds = Vec<(Figures, Figures, Option<f64>)>;

fn rounds(scenarios: &[Scenario]) -> Result<Vec<Rounds>> {
    if let Some(core) = sys::affinity::allowed()?.last() {
        sys::affinity::pin(*core)?;
    }
    let mut rounds: Vec<Rounds> = vec![Vec::new(); scenarios.len()];
    for round in 0..ROUNDS {
        for (scenario, rounds) in scenarios.iter().zip(&mut rounds) {
            let mut site = Site::new(scenario)?;
            if round == 0 {
                site.verify(scenario).with_context(|| scenario.workload())?;
            }
            let full = run(|| site.turn())?;
            let shim = run(|| site.shim())?;
            let begun = site.begun;
            site.close().with_context(|| scenario.workload())?;
            rounds.push((full, shim, begun));
        }
    }
    Ok(rounds)
}

/// Established sessions while others begin, on the last core.
fn flooded(scenario: &Scenario) -> Result<Row> {
    if let Some(core) = sys::affinity::allowed()?.last() {
        sys::affinity::pin(*core)?;
    }
    flood::row(scenario).with_context(|| flood::workload(scenario))
}

/// Established sessions while tables change: it takes a core for them and one for the changes.
fn changed(all: &[(Scenario, Change)]) -> Result<Vec<Row>> {
    let cores = sys::affinity::allowed()?;
    let mut rows = Vec::new();
    for (scenario, change) in all {
        let name = change.workload(scenario);
        let [first, .., last] = cores.as_slice() else {
            println!("skipped: {name}: needs two cores");
            continue;
        };
        sys::affinity::pin(*last)?;
        rows.push(changes::row(scenario, *change, *first).with_context(|| name)?);
    }
    Ok(rows)
}

/// How fast sessions begin, both directions of each: of many only.
fn begun(scenario: &Scenario, rounds: &Rounds) -> Option<Row> {
    let many = scenario.sessions() > Some(1);
    let (rate, spread) = middle(rounds.iter().filter_map(|(_, _, begun)| *begun))?;
    many.then(|| Row {
        workload: format!("{}/first-packets", scenario.workload()),
        system: "vrouter-xdp",
        median: Some(hertz() / rate),
        spread: Some(spread),
        mpps: Some(rate / 1e6),
        ..Row::default()
    })
}

fn row(scenario: &Scenario, rounds: &Rounds) -> Result<Row> {
    let best = rounds.iter().map(|(full, shim, _)| full.p10 - shim.p10);
    let (median, spread) = middle(rounds.iter().map(|(full, shim, _)| full.median - shim.median))
        .context("no round")?;
    let with_shim = middle(rounds.iter().map(|(full, ..)| full.median)).context("no round")?.0;
    Ok(Row {
        workload: scenario.workload(),
        system: "vrouter-xdp",
        cycles_per_packet: middle(best).map(|(p10, _)| p10),
        median: Some(median),
        spread: Some(spread),
        mpps: Some(hertz() / with_shim / 1e6),
        instructions_per_packet: match scenario.is_long() {
            true => None,
            false => instructions(&scenario.workload())?,
        },
        ..Row::default()
    })
}

/// The packets and the prefixes of so many sessions and routes under policy: what a peer is given.
pub(crate) fn encapsulated_under_policy(count: u32) -> Result<(Vec<Vec<u8>>, Vec<String>)> {
    let scenario = Scenario::under_policy(count);
    Ok((scenario.packets(), scenario.prefixes().collect()))
}

/// Cycles a packet of the same, the ports' included: the median of the bursts.
pub(crate) fn with_ports(count: u32, window: Duration) -> Result<f64> {
    let mut site = Site::new(&Scenario::under_policy(count))?;
    let figures = run_for(window, || site.turn())?;
    site.nothing_was_dropped()?;
    site.close()?;
    Ok(figures.median)
}

/// Packets of so many sessions that nobody knows yet, by a few routes, and the prefixes of those.
pub(crate) fn new_sessions(count: usize) -> (Vec<Vec<u8>>, Vec<String>) {
    let scenario = Scenario::under_policy(FEW_ROUTES);
    let packets = (0..count).map(|number| scenario.another(number)).collect();
    (packets, scenario.prefixes().collect())
}

/// Routes of new sessions.
const FEW_ROUTES: u32 = 10;

/// Cycles a session of which these are the first packets, each installed in both directions; the ports' included.
pub(crate) fn begin_with_ports(packets: &[Vec<u8>]) -> Result<f64> {
    site::begin(&Scenario::under_policy(FEW_ROUTES), packets)
}

/// Drives for a window; cycles per packet of each burst.
fn run(burst: impl FnMut() -> usize) -> Result<Figures> {
    run_for(WINDOW, burst)
}

fn run_for(window: Duration, mut burst: impl FnMut() -> usize) -> Result<Figures> {
    let mut figures = Vec::new();
    let end = Instant::now() + window;
    while Instant::now() < end {
        for _ in 0..256 {
            let start = sys::tsc::cycles();
            let packets = burst();
            let cycles = sys::tsc::cycles() - start;
            ensure!(packets > 0, "the source ran dry");
            #[expect(clippy::cast_precision_loss, reason = "a burst's cycles are few")]
            figures.push(cycles as f64 / packets as f64);
        }
    }
    Figures::of(figures).context("no burst")
}

/// What callgrind runs: `bursts` bursts of the scenario (of the port shim alone when prefixed `shim:`).
pub(crate) fn drive(workload: &str, bursts: usize) -> Result<()> {
    let (name, shim) =
        workload.strip_prefix("shim:").map_or((workload, false), |name| (name, true));
    let scenario = Scenario::all().into_iter().find(|scenario| scenario.workload() == name);
    let mut site = Site::new(&scenario.context("no such workload")?)?;
    for _ in 0..bursts {
        let packets = if shim { site.shim() } else { site.turn() };
        ensure!(packets > 0, "the source ran dry");
    }
    site.close()
}

/// Instructions per packet net of the shim: the difference of two counts of each, so that set-up cancels out.
fn instructions(workload: &str) -> Result<Option<f64>> {
    if !lab::have("valgrind") {
        println!("skipped: instructions of {workload}: needs valgrind");
        return Ok(None);
    }
    const FEW: u32 = 200;
    const MORE: u32 = 1200;
    let per_packet = |name: &str| -> Result<f64> {
        let [few, more] = [count(name, FEW)?, count(name, MORE)?];
        Ok((more - few) / f64::from((MORE - FEW) * site::BURST))
    };
    Ok(Some(per_packet(workload)? - per_packet(&format!("shim:{workload}"))?))
}

fn count(workload: &str, bursts: u32) -> Result<f64> {
    let own = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["count", workload, &bursts.to_string()])
        .output()
        .context("cannot run valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "callgrind: {text}");
    let line = text.lines().find_map(|line| line.split_once("Collected : ")).context("no count")?;
    line.1.trim().parse().context("callgrind's count")
}
