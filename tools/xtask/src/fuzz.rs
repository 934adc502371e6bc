//! `make fuzz`: each target of `fuzz/src/targets.rs` under libFuzzer for a while.
//!
//! libFuzzer's coverage needs nothing but stable Rust; `SANITIZER=address` adds AddressSanitizer, by a nightly toolchain. The corpus grows in
//! `target/fuzz/corpus`; what crashes is written to `fuzz/src/__fuzz__`, where `cargo test` finds it from then on.

use anyhow::{Context, Result, bail, ensure};

use crate::command::{command, root};

/// Runs all targets, or one, for `seconds` each.
pub(crate) fn run(seconds: &str, only: Option<&str>) -> Result<()> {
    let seconds: u32 = seconds.parse().context("SECS: not a number of seconds")?;
    let corpora = root().join("target/fuzz/corpus");
    println!("== seeds: to {}", corpora.display());
    let mut seeds = command(
        "cargo",
        &[
            "test",
            "-q",
            "--locked",
            "-p",
            "fuzz",
            "--lib",
            "--",
            "targets::there_are_seeds_for_every_target",
            "--nocapture",
        ],
    );
    let told = seeds.env("FUZZ_SEEDS_TO", &corpora).output().context("cannot run cargo")?;
    ensure!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let told = String::from_utf8(told.stdout)?;
    let targets: Vec<&str> =
        told.lines().filter_map(|line| line.strip_prefix("target: ")).collect();
    if let Some(only) = only {
        ensure!(targets.contains(&only), "no target {only}: {targets:?}");
    }
    let chosen = targets.iter().filter(|target| only.is_none_or(|only| only == **target));
    let sanitizer = std::env::var("SANITIZER").unwrap_or_else(|_| "NONE".to_owned());
    let mut crashed = Vec::new();
    for target in chosen {
        let corpus = corpora.join(target);
        let test = format!("targets::{target}");
        let mut arguments =
            vec!["bolero", "test", &test, "--package", "fuzz", "--sanitizer", &sanitizer];
        let (corpus, time) = (corpus.to_string_lossy().into_owned(), format!("{seconds}s"));
        arguments.extend(["--corpus-dir", &corpus, "-T", &time, "--target-dir", "target/fuzz"]);
        if sanitizer != "NONE" {
            arguments.insert(0, "+nightly");
        }
        println!("== {target} for {seconds} s: cargo {}", arguments.join(" "));
        let status = command("cargo", &arguments)
            .env("FUZZ_SEEDS_ARE_GIVEN", "1")
            .status()
            .context("cannot run cargo")?;
        if !status.success() {
            crashed.push(*target);
        }
    }
    if crashed.is_empty() {
        println!("fuzz: all clean");
        return Ok(());
    }
    bail!("found something: {}; the inputs are in fuzz/src/__fuzz__", crashed.join(", "))
}
