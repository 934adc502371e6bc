//! Waiting for a condition with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks again and again until the answer is `Some`, at most `limit` long.
///
/// # Errors
/// Names what was waited for when the time is over.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {} s", limit.as_secs_f32());
        }
        std::thread::park_timeout(Duration::from_millis(25));
    }
}

/// The same for a yes or no.
///
/// # Errors
/// Names what was waited for when the time is over.
pub fn eventually(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) -> Result<()> {
    until(what, limit, || ask().then_some(()))
}

/// Lets time pass, all of it, while something else is running.
pub fn pause(length: Duration) {
    let deadline = Instant::now() + length;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        // May return early: others may have left this thread a token.
        std::thread::park_timeout(left);
    }
}
