//! Namespaces, daemons and traffic for the tests of `vrouterd`. Everything is removed when it is dropped.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod daemon;
pub(crate) mod lab;
pub(crate) mod model;
pub(crate) mod pair;
pub(crate) mod traffic;

use std::time::{Duration, Instant};

/// Waits until `probe` gives something.
///
/// # Panics
/// When it does not within the limit; `what` says what was waited for.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether the tests may make namespaces here; says so when they may not.
pub(crate) fn privileged() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root for network namespaces");
    }
    root
}
