//! What arrived at the far workload, and what the machine worked meanwhile.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use lab::Namespace;

/// Counters at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    at: Instant,
    /// UDP packets with a right checksum that nobody listened for.
    received: u64,
    /// Clock ticks of all cores.
    busy: u64,
    total: u64,
}

/// What happened between two samples.
#[derive(Clone, Copy, Debug)]
pub(super) struct Between {
    /// Packets a second.
    pub(super) rate: f64,
    /// Cores kept busy, user, kernel and interrupts together.
    pub(super) cores: f64,
}

impl Sample {
    /// Takes one.
    pub(super) fn take(far: &Namespace) -> Result<Sample> {
        let (busy, total) = machine(&fs::read_to_string("/proc/stat")?)?;
        Ok(Sample { received: received(far)?, at: Instant::now(), busy, total })
    }

    /// What happened since an earlier one.
    pub(super) fn since(&self, earlier: &Sample) -> Result<Between> {
        let seconds = (self.at - earlier.at).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "seconds of packets and ticks")]
        let (packets, busy, total) = (
            (self.received - earlier.received) as f64,
            (self.busy - earlier.busy) as f64,
            (self.total - earlier.total).max(1) as f64,
        );
        #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
        let cores = std::thread::available_parallelism()?.get() as f64;
        Ok(Between { rate: packets / seconds, cores: cores * busy / total })
    }
}

/// UDP packets that reached the far workload's stack whole: the checksum was right, and nobody listened.
pub(super) fn received(far: &Namespace) -> Result<u64> {
    // The thread's own namespace: /proc/net is that of the process.
    let text = sys::netns::within(far.name(), || fs::read_to_string("/proc/thread-self/net/snmp"))?;
    udp_without_port(&text?)
}

fn udp_without_port(text: &str) -> Result<u64> {
    let mut rows = text.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = rows.next().zip(rows.next()).context("no UDP counters")?;
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let value = pairs.find(|(name, _)| *name == "NoPorts").context("no such counter")?.1;
    Ok(value.parse()?)
}

/// Busy and all ticks, of all cores. What the hypervisor took is neither.
fn machine(text: &str) -> Result<(u64, u64)> {
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, ..] = ticks.as_slice() else {
        anyhow::bail!("/proc/stat: {line}");
    };
    let busy = user + nice + system + irq + softirq;
    Ok((busy, busy + idle + iowait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name() {
        let text = "Ip: A\nIp: 1\nUdp: InDatagrams NoPorts InErrors\nUdp: 5 7 9\n";
        assert_eq!(udp_without_port(text).unwrap(), 7);
        assert_eq!(machine("cpu  1 2 3 4 5 6 7 8 0 0\n").unwrap(), (19, 28));
    }
}
