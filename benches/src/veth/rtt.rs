//! Round trips by ping, one at a time.

use anyhow::{Context, Result, ensure};

use super::path::Path;

const COUNT: usize = 200;

/// Microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rtt {
    pub(super) median: f64,
    pub(super) p99: f64,
}

/// Pings the receiver from the sender with 64-byte packets, 5 ms apart.
pub(super) fn measure(path: &Path<'_>) -> Result<Rtt> {
    let count = COUNT.to_string();
    let arguments = ["-c", &count, "-i", "0.005", "-s", "22", "-W", "1", path.far_address];
    let text = path.near.output("ping", &arguments)?;
    let times: Vec<f64> = text.lines().filter_map(time).collect();
    ensure!(times.len() == COUNT, "{} of {COUNT} pings answered", times.len());
    of(times).context("no ping")
}

fn time(line: &str) -> Option<f64> {
    let milliseconds: f64 = line.split_once("time=")?.1.split_whitespace().next()?.parse().ok()?;
    Some(milliseconds * 1000.0)
}

fn of(mut times: Vec<f64>) -> Option<Rtt> {
    times.sort_by(f64::total_cmp);
    Some(Rtt { median: *times.get(times.len() / 2)?, p99: *times.get(times.len() * 99 / 100)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_ranked() {
        let line = "30 bytes from 10.1.1.12: icmp_seq=1 ttl=62 time=0.125 ms";
        assert_eq!(time(line), Some(125.0));
        let rtt = of((0..200).map(f64::from).collect()).unwrap();
        assert_eq!(rtt, Rtt { median: 100.0, p99: 198.0 });
    }
}
