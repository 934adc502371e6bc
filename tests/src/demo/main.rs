//! `make demo`: two compute nodes with tenants that talk through real tunnels, shown step by step.
//!
//! `demo run` builds it, shows every step, and cleans up, also after Ctrl-C or a failure; it exits non-zero if a step
//! failed. `KEEP=1` in the environment leaves it standing. `demo clean` removes what is standing.
//!
//! | module | does |
//! |---|---|
//! | `steps` | what is shown; it stands on the lab's `Site` |
//! | `policy` | the steps about policy and floating IPs |
#![forbid(unsafe_code)]

mod policy;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use lab::{B_ADDRESS, Encapsulation, Family, Site, SiteOptions};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    let result = match verb.as_deref() {
        Some("run") => run(),
        Some("clean") => options().clean().map(|()| println!("demo: nothing is standing any more")),
        _ => Err(anyhow::anyhow!("usage: demo run|clean")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if let Some(reason) = lab::missing_for_lab(&["iperf3", "tshark", "ping", "python3"]) {
        bail!("cannot run here: {reason}");
    }
    options().clean()?;
    clean_up_when_interrupted()?;
    let keep = std::env::var("KEEP").is_ok_and(|value| value == "1");
    let shown = show(keep);
    if keep && shown.is_ok() {
        print_what_to_try();
    } else {
        options().clean()?;
    }
    shown
}

fn show(keep: bool) -> Result<()> {
    println!(
        "\nBuilding: an underlay bridge, node-a and node-b, and the workloads of networks red and green."
    );
    println!("Both networks have the same subnet and the same addresses.");
    let mut site = Site::build(options())?;
    site.start()?;
    steps::show(&mut site)?;
    if keep {
        site.keep();
    }
    Ok(())
}

/// Fixed names, so that a user can look into it with the commands of the README.
fn options() -> SiteOptions {
    SiteOptions {
        prefix: String::new(),
        directory: PathBuf::from("/run/vrouter"),
        workers: 1,
        encapsulations: vec![Encapsulation::MplsOverUdp],
        reflectors: Vec::new(),
        fabric: Family::Inet,
    }
}

/// What a user may do with a demo left standing.
fn print_what_to_try() {
    println!(
        "\nLeft standing. Try:
  ip netns exec red-a ping {B_ADDRESS}
  target/release/vif --sock-dir /run/vrouter/node-a --list
  target/release/rt --sock-dir /run/vrouter/node-a --dump 1
  target/release/nh --sock-dir /run/vrouter/node-a --list
  target/release/mpls --sock-dir /run/vrouter/node-b --dump
  target/release/vxlan --sock-dir /run/vrouter/node-b --dump
  target/release/dropstats --sock-dir /run/vrouter/node-a
  cat /run/vrouter/node-a/agent.toml
Logs are in /run/vrouter/node-a and /run/vrouter/node-b. `make demo-clean` removes everything."
    );
}

/// Ctrl-C ends the demo at once, wherever it is, and leaves nothing behind.
fn clean_up_when_interrupted() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\ndemo: interrupted, cleaning up");
            if let Err(error) = options().clean() {
                eprintln!("demo: {error:#}");
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
