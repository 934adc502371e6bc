//! Chores behind the Makefile: `xtask check`, `test`, `bench`, `fuzz SECONDS [TARGET]` and `deep`.
//!
//! | module | does |
//! |---|---|
//! | `check` | format, clippy, licences and the house rules that a program can hold |
//! | `deep` | Miri and the model checker |
//! | `direction` | which crate may use which, judged by `cargo metadata` |
//! | `fuzz` | the fuzz targets under libFuzzer |
//! | `rules` | house rules on the text of the sources |
//! | `suite` | runs every test, and shows what was skipped and why |
#![forbid(unsafe_code)]

mod check;
mod command;
mod deep;
mod direction;
mod fuzz;
mod rules;
mod suite;

use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        ["check"] => check::run(),
        ["test"] => suite::test(),
        ["bench"] => suite::bench(),
        ["fuzz", seconds] => fuzz::run(seconds, None),
        ["fuzz", seconds, target] => fuzz::run(seconds, Some(target)),
        ["deep"] => deep::run(),
        _ => bail!("usage: xtask check|test|bench|fuzz SECONDS [TARGET]|deep"),
    }
}
