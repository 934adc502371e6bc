//! 64-byte packets: how many a second arrive when as many as possible are sent, and what one costs at a rate that is
//! borne without loss.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::eventually;

use super::generator::{Generator, Pace};
use super::path::Path;
use super::sink::{Between, Sample, received};
use crate::meter::hertz;

const LEAD: Duration = Duration::from_millis(150);
const WINDOW: Duration = Duration::from_millis(800);
/// How long the machine is watched before anything is sent.
const QUIET: Duration = Duration::from_millis(300);
/// Share of the greatest rate at which the cost is taken: surplus packets would cost and not arrive.
const SHARE: f64 = 0.7;

/// What one round found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packets {
    /// Packets a second that arrived, sent flat out.
    pub(super) rate: f64,
    /// TSC cycles of the whole machine per packet that arrived, at a part of that rate: sender and receiver included.
    pub(super) cycles: f64,
    /// Share of the packets that did not arrive at that part of the rate.
    pub(super) loss: f64,
    /// Cores that were busy before anything was sent: with other things than these packets, which the cycles include.
    pub(super) background: f64,
    /// Packets our nodes dropped while sent flat out, by their own counters; 0 for the kernel.
    pub(super) drops: u64,
}

/// Measures one path.
pub(super) fn measure(path: &Path<'_>) -> Result<Packets> {
    let mut generator = Generator::open(path)?;
    let measured = with(path, &mut generator);
    generator.close()?;
    measured
}

fn with(path: &Path<'_>, generator: &mut Generator) -> Result<Packets> {
    let background = observe(path, QUIET)?.cores;
    let drops = path.drops()?;
    let (flat, sent) = window(path, generator, Pace::Flat)?;
    let drops = path.drops()? - drops;
    ensure!(flat.rate > 0.0, "nothing of {sent} packets arrived");
    let before = received(path.far)?;
    let (paced, sent) = window(path, generator, Pace::Rate(flat.rate * SHARE))?;
    let arrived = received(path.far)? - before;
    ensure!(paced.rate > 0.0, "nothing of {sent} paced packets arrived");
    #[expect(clippy::cast_precision_loss, reason = "seconds of packets")]
    let loss = sent.saturating_sub(arrived) as f64 / sent.max(1) as f64;
    let cycles = hertz() * paced.cores / paced.rate;
    Ok(Packets { rate: flat.rate, cycles, loss, background, drops })
}

/// Sends for a while; what arrived in the window, and what was sent in all. Returns when everything has come to rest.
fn window(path: &Path<'_>, generator: &mut Generator, pace: Pace) -> Result<(Between, u64)> {
    let stop = AtomicBool::new(false);
    let (between, sent) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            // The workers take the last cores.
            if let Some(core) = sys::affinity::allowed().ok().and_then(|all| all.first().copied()) {
                sys::affinity::pin(core).ok();
            }
            generator.run(pace, &stop)
        });
        std::thread::sleep(LEAD);
        let between = observe(path, WINDOW);
        stop.store(true, Ordering::Relaxed);
        (between, sender.join())
    });
    let sent = sent.ok().context("the generator panicked")?;
    let mut last = received(path.far)?;
    eventually("the last packets to arrive", Duration::from_secs(2), || {
        let now = received(path.far).unwrap_or(last);
        let still = now == last;
        last = now;
        still
    })?;
    Ok((between?, sent))
}

fn observe(path: &Path<'_>, window: Duration) -> Result<Between> {
    let start = Sample::take(path.far)?;
    std::thread::sleep(window);
    Sample::take(path.far)?.since(&start)
}
