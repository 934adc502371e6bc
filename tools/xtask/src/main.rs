//! Chores behind the Makefile: `xtask check`, `xtask test`, `xtask bench`.
//!
//! | module | does |
//! |---|---|
//! | `check` | format, clippy, licences and the house rules that a program can hold |
//! | `direction` | which crate may use which, judged by `cargo metadata` |
//! | `rules` | house rules on the text of the sources |
//! | `suite` | runs every test, and shows what was skipped and why |
#![forbid(unsafe_code)]

mod check;
mod command;
mod direction;
mod rules;
mod suite;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let verb = std::env::args().nth(1);
    match run(verb.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Option<&str>) -> Result<()> {
    match verb {
        Some("check") => check::run(),
        Some("test") => suite::test(),
        Some("bench") => suite::bench(),
        _ => bail!("usage: xtask check|test|bench"),
    }
}
