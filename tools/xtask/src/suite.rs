//! `make test` and `make bench`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::command::{command, step};

/// How many tests of a run passed, failed and were skipped.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: Vec<String>,
}

/// Runs every test of the workspace. What needs namespaces runs one at a time: the machine's cores are shared.
pub(crate) fn test() -> Result<()> {
    step("build", "cargo", &["build", "--workspace", "--bins", "--locked"])?;
    let mut tally = Tally::default();
    let near = [
        "test",
        "--workspace",
        "--exclude",
        "tests",
        "--locked",
        "--no-fail-fast",
        "--",
        "--show-output",
    ];
    run("unit, property and graph tests", &near, &mut tally)?;
    let serial = [
        "test",
        "-p",
        "tests",
        "--locked",
        "--no-fail-fast",
        "--",
        "--show-output",
        "--test-threads=1",
    ];
    run("end-to-end tests", &serial, &mut tally)?;
    for reason in &tally.skipped {
        println!("{reason}");
    }
    println!("{} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped.len());
    ensure!(tally.failed == 0, "{} tests failed", tally.failed);
    Ok(())
}

/// Runs the measurements; `target/bench/summary.json` holds their rows.
pub(crate) fn bench() -> Result<()> {
    // What is measured between namespaces are the programs themselves.
    step("build", "cargo", &["build", "--release", "--workspace", "--bins", "--locked"])?;
    step("measure", "cargo", &["run", "--release", "--locked", "-q", "-p", "benches"])
}

/// Runs cargo test, shows failures and one line per test, and adds to the tally. A test skips by printing a line that
/// begins with `skipped: `.
fn run(what: &str, arguments: &[&str], tally: &mut Tally) -> Result<()> {
    println!("== {what}: cargo {}", arguments.join(" "));
    let mut child =
        command("cargo", arguments).stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut in_failures = false;
    let (mut failed, mut skipped) = (0, Vec::new());
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some(outcome) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit(" ... ").next())
        {
            match outcome {
                "ok" => tally.passed += 1,
                "FAILED" => failed += 1,
                _ => {}
            }
        }
        if line.starts_with("skipped: ") {
            skipped.push(line.clone());
        }
        in_failures |= line == "failures:";
        in_failures &= !line.starts_with("test result:");
        if in_failures || line.starts_with("test ") || line.starts_with("skipped: ") {
            println!("{line}");
        }
    }
    let status = child.wait()?;
    // A crash of a test program shows no FAILED line of its own.
    tally.failed += if status.success() { failed } else { failed.max(1) };
    tally.skipped.append(&mut skipped);
    Ok(())
}
