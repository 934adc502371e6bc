//! `make check`: what must hold before a commit. Every check runs; the failures are listed at the end.

use anyhow::{Result, bail};

use crate::command::{command, step};
use crate::{direction, rules};

pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    let clippy =
        ["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"];
    for (what, arguments) in [("format", &["fmt", "--all", "--check"][..]), ("clippy", &clippy)] {
        if step(what, "cargo", arguments).is_err() {
            failed.push(what);
        }
    }
    if !list("directions", &direction::violations()?) {
        failed.push("directions");
    }
    if !list("house rules", &rules::violations()?) {
        failed.push("house rules");
    }
    for hint in rules::hints()? {
        println!("hint: {hint}");
    }
    if step(
        "licences",
        "cargo",
        &["deny", "--log-level", "error", "check", "licenses", "bans", "sources"],
    )
    .is_err()
    {
        failed.push("licences");
    }
    if advisories().is_err() {
        failed.push("advisories");
    }
    if failed.is_empty() {
        println!("check: all good");
        return Ok(());
    }
    bail!("check failed: {}", failed.join(", "))
}

fn list(what: &str, violations: &[String]) -> bool {
    println!("== {what}: {} violations", violations.len());
    for violation in violations {
        println!("{violation}");
    }
    violations.is_empty()
}

/// The advisory database lives outside the package registry; where it cannot be fetched the check is skipped, aloud.
fn advisories() -> Result<()> {
    println!("== advisories: cargo deny check advisories");
    let output =
        command("cargo", &["deny", "--log-level", "error", "check", "advisories"]).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(());
    }
    if text.contains("failed to fetch advisory database") {
        println!("skipped: advisories: the advisory database cannot be reached from here");
        return Ok(());
    }
    bail!("{text}")
}
