//! `vrouter-agent --config FILE [--check]`
//!
//! Exit code 2: the configuration is wrong. 1: the system does not let us.
#![forbid(unsafe_code)]

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::{Config, EarlyHangups, run};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Control agent of vrouter-xdp: attaches workloads, speaks BGP, programs vrouterd.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The configuration file; SIGHUP reads it again.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Only check the file.
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let early = match EarlyHangups::note() {
        Ok(early) => early,
        Err(error) => {
            eprintln!("vrouter-agent: cannot listen to SIGHUP: {error}");
            return ExitCode::FAILURE;
        }
    };
    let config = match Config::load(&arguments.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("vrouter-agent: {error}");
            return ExitCode::from(2);
        }
    };
    if arguments.check {
        println!("{}: ok", arguments.config.display());
        return ExitCode::SUCCESS;
    }
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,netlink_packet_route=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match run(arguments.config, config, &early) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vrouter-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
