//! What established sessions cost while the tables change: routes at 50,000 updates a second, or the network's rules once a
//! second, beside what they cost in peace. `flow/…/route-changes` and `flow/…/policy-changes`.
//!
//! A mean over all packets, because a change costs the few packets that come after it; peace and changes take turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tables::{Model, Op, Owner, Writer};

use super::ROUNDS;
use super::scenario::Scenario;
use super::site::Site;
use crate::meter::middle;
use crate::row::Row;

/// How long each half of a round lasts.
const WINDOW: Duration = Duration::from_secs(2);
/// Updates of routes that are published together, a millisecond apart.
const BATCH: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);
/// Between two sets of rules.
const SECOND: Duration = Duration::from_secs(1);

/// What changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Routes,
    Rules,
}

impl Change {
    pub(super) const ALL: [Change; 2] = [Change::Routes, Change::Rules];

    pub(super) fn workload(self, scenario: &Scenario) -> String {
        let word = match self {
            Change::Routes => "route-changes",
            Change::Rules => "policy-changes",
        };
        format!("{}/{word}", scenario.workload())
    }
}

/// A row: cycles a packet net of the ports while tables change on another core, and by how much that is more than in peace.
pub(super) fn row(scenario: &Scenario, change: Change, core: usize) -> Result<Row> {
    let (mut cycles, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut site = Site::new(scenario)?;
        let shim = mean(|| site.shim())?;
        let peace = mean(|| site.turn())? - shim;
        let tables = site.tables.take().context("tables are at home")?;
        let stop = Arc::new(AtomicBool::new(false));
        let (scenario, asked) = (*scenario, Arc::clone(&stop));
        let changing = std::thread::spawn(move || {
            // Threads start where their parent is pinned.
            sys::affinity::pin(core)?;
            disturb(&scenario, change, tables, &asked)
        });
        let disturbed = mean(|| site.turn());
        stop.store(true, Ordering::Relaxed);
        let (tables, count) =
            changing.join().map_err(|_| anyhow::anyhow!("the changes panicked"))??;
        site.tables = Some(tables);
        let disturbed = disturbed? - shim;
        let wanted = match change {
            Change::Routes => 45_000 * WINDOW.as_secs(),
            Change::Rules => WINDOW.as_secs(),
        };
        ensure!(count >= wanted, "{count} changes instead of {wanted}: the machine is busy");
        site.close()?;
        cycles.push(disturbed);
        ratios.push(disturbed / peace);
    }
    let (median, spread) = middle(cycles).context("no round")?;
    let (ratio, ratios) = middle(ratios).context("no round")?;
    Ok(Row {
        workload: change.workload(scenario),
        system: "vrouter-xdp",
        median: Some(median),
        spread: Some(spread),
        ratio: Some(ratio),
        ratio_spread: Some(ratios),
        ..Row::default()
    })
}

/// Cycles per packet over a window.
#[expect(clippy::cast_precision_loss, reason = "cycles of a few seconds")]
fn mean(mut burst: impl FnMut() -> usize) -> Result<f64> {
    let (start, end) = (sys::tsc::cycles(), Instant::now() + WINDOW);
    let mut packets = 0;
    while Instant::now() < end {
        for _ in 0..256 {
            packets += burst();
        }
    }
    let cycles = sys::tsc::cycles() - start;
    ensure!(packets > 0, "the source ran dry");
    Ok(cycles as f64 / packets as f64)
}

type Tables = (Model, Writer);

/// Changes the tables until it is told to stop; gives them back, and how many changes there were.
fn disturb(
    scenario: &Scenario,
    change: Change,
    (mut model, mut writer): Tables,
    stop: &AtomicBool,
) -> Result<(Tables, u64)> {
    let mut next = Instant::now();
    let (mut number, mut count) = (0u32, 0u64);
    while !stop.load(Ordering::Relaxed) {
        let (ops, pause): (Vec<Op>, Duration) = match change {
            Change::Routes => {
                let ops = (number..number + BATCH).map(|n| Op::Put(Scenario::other_route(n)));
                (ops.collect(), PAUSE)
            }
            Change::Rules => (vec![Op::Put(scenario.other_rules(number))], SECOND),
        };
        number = number.wrapping_add(BATCH);
        let changes = model.apply(&ops, Owner::Agent)?;
        writer.publish(&model, &changes);
        writer.collect();
        count += ops.len() as u64;
        next += pause;
        if let Some(rest) = next.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest);
        }
    }
    Ok(((model, writer), count))
}
