//! Ping, counted.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result};

use crate::Namespace;

/// What ping counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PingResult {
    /// Requests sent.
    pub sent: u32,
    /// Requests without an answer.
    pub lost: u32,
    /// Average round trip in ms, as printed; `-` if nothing came back.
    pub average: String,
}

impl PingResult {
    /// Reads ping's summary.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(text: &str) -> Result<PingResult> {
        let line = text.lines().find(|line| line.contains("packets transmitted"));
        let line = line.with_context(|| format!("ping has no summary: {text}"))?;
        let number = |index: usize| {
            line.split_whitespace().nth(index).and_then(|word| word.parse::<u32>().ok())
        };
        let sent = number(0).context("ping: no count")?;
        let received = number(3).context("ping: no count")?;
        let average = text
            .lines()
            .find_map(|line| line.strip_prefix("rtt "))
            .and_then(|rest| rest.split('/').nth(4));
        Ok(PingResult {
            sent,
            lost: sent.saturating_sub(received),
            average: average.unwrap_or("-").to_owned(),
        })
    }
}

/// Pings `to` from a namespace: `count` requests, `interval` seconds apart, each waited for a second.
///
/// # Errors
/// When ping cannot run at all; lost packets are a result.
pub fn ping(from: &Namespace, to: &str, count: u32, interval: &str) -> Result<PingResult> {
    let count = count.to_string();
    let (stdout, stderr) = said(from, &["-q", "-c", &count, "-i", interval, "-W", "1", to])?;
    PingResult::read(&stdout).with_context(|| stderr)
}

/// Pings the broadcast address of a subnet for two seconds: who answers, each once, ascending. Linux answers only where
/// `net.ipv4.icmp_echo_ignore_broadcasts` is 0.
///
/// # Errors
/// When ping cannot run at all.
pub fn ping_broadcast(from: &Namespace, address: &str) -> Result<Vec<String>> {
    let (stdout, stderr) = said(from, &["-b", "-c", "5", "-i", "0.3", "-w", "2", address])?;
    PingResult::read(&stdout).with_context(|| stderr)?;
    let answered =
        |line: &str| Some(line.split_once("bytes from ")?.1.split(':').next()?.to_owned());
    let who: BTreeSet<String> = stdout.lines().filter_map(answered).collect();
    Ok(who.into_iter().collect())
}

fn said(from: &Namespace, arguments: &[&str]) -> Result<(String, String)> {
    let all = ["netns", "exec", from.name(), "ping"].into_iter().chain(arguments.iter().copied());
    let output = Command::new("ip").args(all).output().context("cannot run ping")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((text(&output.stdout), text(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_read() {
        let text = "5 packets transmitted, 4 received, 20% packet loss, time 4005ms\n\
                    rtt min/avg/max/mdev = 0.030/0.048/0.061/0.012 ms\n";
        let result = PingResult::read(text).unwrap();
        assert_eq!(result, PingResult { sent: 5, lost: 1, average: "0.048".to_owned() });
        assert!(PingResult::read("ping: unknown host").is_err());
    }
}
