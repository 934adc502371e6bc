//! `make deep`: Miri and the model checker. Slow, so not part of `make test`.

use anyhow::{Result, bail};

use crate::command::{command, output};

/// Interpreted by Miri: what is undefined behaviour in them or in what they use, it tells.
const MIRI: &[&str] = &["wire", "tables"];

/// Runs everything; failures are listed at the end.
pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    for krate in ["tables", "engine"] {
        let mut models = command(
            "cargo",
            &["test", "--release", "--locked", "-p", krate, "--lib", "loom_", "--", "--nocapture"],
        );
        println!("== all interleavings of {krate}: RUSTFLAGS=--cfg=loom {models:?}");
        // Apart from other builds: the flag changes every crate.
        models.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", "target/loom");
        if !models.status()?.success() {
            failed.push(format!("the model of {krate}"));
        }
    }
    if output("cargo", &["+nightly", "miri", "--version"]).is_ok() {
        for krate in MIRI {
            let arguments = ["+nightly", "miri", "test", "--locked", "-p", krate];
            println!("== Miri on {krate}: cargo {}", arguments.join(" "));
            let mut miri = command("cargo", &arguments);
            // Property tests keep a file of failures; there are no files in Miri, and few cases are slow enough.
            miri.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
            miri.env("CARGO_TARGET_DIR", "target/miri");
            if !miri.status()?.success() {
                failed.push(format!("Miri on {krate}"));
            }
        }
    } else {
        println!(
            "skipped: Miri: there is no nightly toolchain with it (rustup component add miri)"
        );
    }
    if failed.is_empty() {
        println!("deep: all good");
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}
