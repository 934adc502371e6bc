//! `vrouterd`: the forwarding engine's process. The README draws its threads and says who owns what.
//!
//! | module | does |
//! |---|---|
//! | `process` | start and end: what is made, in which order, and how it is taken down |
//! | `options`, `cores`, `preflight`, `socket_dir` | check everything before anything is made |
//! | `worker`, `patience` | a worker's thread, and when it sleeps |
//! | `server`, `follow`, `touched` | the control thread: requests, and what follows from a change |
//! | `control` | sockets of clients, pages, publication |
//! | `settings`, `facts`, `describe` | what can be set while it runs; limits, use and memory as the tools show them |
//! | `verdicts` | what an agent decides about flows, looked at |
//! | `flows` | sessions as rows, and changed by hand |
//! | `export` | sessions told to a collector |
//! | `explain` | packets that are followed, thought of or real |
//! | `stations` | what workers have heard and the bridge table learns |
//! | `ports`, `links` | ports follow the model and the netdevs |
//! | `kernel`, `underlay`, `route_changes` | tunnel destinations follow the kernel's routes and neighbours |
#![forbid(unsafe_code)]

mod control;
mod cores;
mod describe;
mod explain;
mod export;
mod facts;
mod flows;
mod follow;
mod kernel;
mod links;
mod options;
mod patience;
mod ports;
mod preflight;
mod process;
mod route_changes;
mod server;
mod settings;
mod socket_dir;
mod stations;
mod touched;
mod underlay;
mod verdicts;
mod worker;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Usage errors exit here, with 2.
    let options = options::Options::parse();
    match process::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // One line, whatever the causes brought along.
            let text = format!("{:#}", failure.error).replace('\n', " ");
            eprintln!("vrouterd: {text}");
            ExitCode::from(failure.code)
        }
    }
}
