//! TCP between two workloads, by iperf3.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Background, Namespace, eventually};

const PORT: &str = "5202";

/// Starts an iperf3 server and waits until it listens.
///
/// # Errors
/// When it does not.
pub fn tcp_server(namespace: &Namespace) -> Result<Background> {
    let log = Path::new("/dev/null");
    let server = namespace.start(Path::new("iperf3"), &["-s", "-p", PORT], log)?;
    eventually("iperf3 to listen", Duration::from_secs(5), || {
        let sockets = namespace.run(&format!("ss -Htln sport = {PORT}"));
        sockets.is_ok_and(|text| !text.trim().is_empty())
    })?;
    Ok(server)
}

/// Sends TCP for a second at `rate` (as `50M`; `0` is unlimited) to `address` at the server's workload; bit/s that
/// arrived. More options of iperf3 (`-R`) may be given.
///
/// # Errors
/// When the transfer fails.
pub fn tcp(
    client: &Namespace,
    server: &Namespace,
    address: &str,
    rate: &str,
    more: &[&str],
) -> Result<f64> {
    let _server = tcp_server(server)?;
    let mut arguments = vec!["-c", address, "-p", PORT, "-t", "1", "-b", rate, "-J"];
    arguments.extend(more);
    let report: Value = serde_json::from_str(&client.output("iperf3", &arguments)?)?;
    report["end"]["sum_received"]["bits_per_second"].as_f64().context("iperf3 shows no rate")
}
