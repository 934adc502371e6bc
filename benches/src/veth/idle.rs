//! What a node costs that has nothing to do.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::IDLE;
use super::vrouter::Vrouter;
use crate::row::Row;

const WINDOW: Duration = Duration::from_secs(5);

/// Share of one core that `vrouterd` and `vrouter-agent` of one node take, with neighbours and workloads that are silent.
pub(super) fn measure(ours: &Vrouter) -> Result<Row> {
    let processes = ours.processes();
    // Whatever starting up left to do is done by then.
    std::thread::sleep(Duration::from_secs(1));
    let (start, before) = (Instant::now(), used(&processes)?);
    std::thread::sleep(WINDOW);
    let (elapsed, after) = (start.elapsed(), used(&processes)?);
    let used = after.saturating_sub(before);
    let core_percent = Some(100.0 * used.as_secs_f64() / elapsed.as_secs_f64());
    Ok(Row { workload: IDLE.to_owned(), system: "vrouter-xdp", core_percent, ..Row::default() })
}

/// Time on a core of all threads, to the nanosecond: clock ticks are too coarse for what is nearly nothing.
fn used(processes: &[u32]) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for id in processes {
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            sum += on_core(&text).context("no time on a core")?;
        }
    }
    Ok(sum)
}

fn on_core(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(schedstat.split_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_a_core_is_the_first_number() {
        assert_eq!(on_core("1500 20 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(on_core(""), None);
    }
}
