//! Nothing is left behind, whatever ends the run.

use std::fs;

use anyhow::Result;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{kernel, vrouter};

/// Takes down what stands of this or of a killed run.
pub(super) fn everything() -> Result<()> {
    let ours = vrouter::options();
    ours.clean()?;
    if ours.directory.exists() {
        fs::remove_dir_all(&ours.directory)?;
    }
    kernel::clean()
}

/// Ctrl-C ends the run at once, wherever it is.
pub(super) fn when_interrupted() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            eprintln!("\nbenches: interrupted, cleaning up");
            if let Err(error) = everything() {
                eprintln!("benches: {error:#}");
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
