//! A worker's thread: turn after turn, and sleep when there is nothing to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use engine::{Tick, Wake, Work, Worker};
use port::Beat;
use rustix::time::{ClockId, clock_gettime};
use sys::epoll::Epoll;
use sys::eventfd::EventFd;

use crate::patience::{Patience, Rest};

/// The longest sleep. Programs take a worker for dead a second after its last beat.
const LONG: Duration = Duration::from_millis(250);
/// The sleep of a worker that has something only polling can finish: frames the kernel did not take, ports without a
/// descriptor.
const SHORT: Duration = Duration::from_millis(1);
/// Beats are at least this far apart: each writes a cache line that every packet's program reads.
const BEAT: Duration = Duration::from_millis(1);

/// Whether a worker may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Polling {
    /// When it finds nothing for a while.
    Adaptive,
    /// Never.
    Busy,
}

/// What a worker's thread needs beside the worker.
pub(crate) struct Place {
    pub(crate) core: usize,
    pub(crate) polling: Polling,
    pub(crate) beat: Beat,
    pub(crate) bell: EventFd,
    pub(crate) stop: Arc<AtomicBool>,
}

/// Wakes a worker by its eventfd.
pub(crate) struct Bell(pub(crate) EventFd);

impl Wake for Bell {
    fn wake(&self) {
        self.0.ring();
    }
}

/// Starts the thread. It ends, and gives the worker back, when `stop` is set; a panic in it ends the process, because
/// the ports of a worker that is gone would hold packets for ever.
///
/// # Errors
/// No thread.
pub(crate) fn spawn(worker: Worker, place: Place) -> Result<JoinHandle<Worker>> {
    let name = format!("worker-{}", worker.id().0);
    let run = move || {
        let alarm = Alarm;
        if let Err(error) = sys::affinity::pin(place.core) {
            tracing::warn!(
                "worker {} cannot be pinned to core {}: {error}",
                worker.id().0,
                place.core
            );
        }
        let worker = run(worker, &place);
        std::mem::forget(alarm);
        worker
    };
    std::thread::Builder::new().name(name).spawn(run).context("cannot start a worker's thread")
}

/// Dropped only by a panic.
struct Alarm;

impl Drop for Alarm {
    fn drop(&mut self) {
        std::process::abort();
    }
}

fn run(mut worker: Worker, place: &Place) -> Worker {
    let mut epoll = listen(&worker, &place.bell);
    let mut patience = Patience::default();
    let mut beaten = Duration::ZERO;
    while !place.stop.load(Ordering::Relaxed) {
        let now = now();
        if now - beaten >= BEAT {
            beat(place, now);
            beaten = now;
        }
        let work = worker.turn(Tick(nanos(now)));
        if work.commands > 0 {
            // Ports came or went. Closed ones have left the set by themselves; a new set is simplest.
            epoll = listen(&worker, &place.bell);
        }
        if place.polling == Polling::Adaptive && patience.after(moved(work), now) == Rest::Sleep {
            sleep(&mut worker, place, &mut epoll, work);
            patience.woken();
        }
    }
    worker
}

fn moved(work: Work) -> usize {
    work.received + work.handed_over + work.commands
}

fn sleep(worker: &mut Worker, place: &Place, epoll: &mut Option<Epoll>, work: Work) {
    let limit = if work.pending > 0 {
        // Not asleep for the others: they need not ring for what a millisecond brings.
        SHORT
    } else if !worker.lie_down() {
        return;
    } else if worker.must_poll() {
        SHORT
    } else {
        LONG.min(until(worker.due(), now()))
    };
    beat(place, now());
    match epoll {
        Some(epoll) => match epoll.wait(limit) {
            Ok(ready) => drop(ready),
            Err(error) => tracing::error!("worker {}: {error}", worker.id().0),
        },
        None => std::thread::sleep(SHORT),
    }
    place.bell.quiet();
    worker.get_up();
}

/// How long it is until a turn is due.
fn until(due: Option<Tick>, now: Duration) -> Duration {
    due.map_or(LONG, |due| Duration::from_nanos(due.0).saturating_sub(now))
}

fn beat(place: &Place, now: Duration) {
    place.beat.beat(nanos(now));
}

/// What wakes the worker. Without descriptors to spare there is nothing, and it wakes by itself every millisecond.
fn listen(worker: &Worker, bell: &EventFd) -> Option<Epoll> {
    let fill = || {
        let epoll = Epoll::new()?;
        epoll.add(bell, 0)?;
        worker.poll_fds().try_for_each(|fd| epoll.add(fd, 1))?;
        std::io::Result::Ok(epoll)
    };
    fill().inspect_err(|error| tracing::error!("worker {}: {error}", worker.id().0)).ok()
}

/// The time that a worker's turns are given.
pub(crate) fn now_nanos() -> u64 {
    nanos(now())
}

/// The clock that the programs judge heartbeats by.
/// The workers' time.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// As nanoseconds.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
