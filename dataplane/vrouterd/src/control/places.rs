//! Who is served when more clients come than there are places.
//!
//! Clients that only sit there give way: first those that never said hello, then those that ask nothing. Whoever
//! programs the tables keeps its place whatever happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api::Request;
use tokio::task::AbortHandle;

/// Clients served at once.
const PLACES: usize = 128;
/// A client that was heard within this is busy and does not give way.
const BUSY: Duration = Duration::from_millis(200);

/// What a client has shown itself to be, the least welcome first.
const SILENT: u64 = 0;
const GREETED: u64 = 1;
const PROGRAMS: u64 = 2;

/// One client's place: what it is, and when it was heard last.
#[derive(Clone, Debug)]
pub(crate) struct Place(Arc<Heard>);

#[derive(Debug)]
struct Heard {
    began: Instant,
    rank: AtomicU64,
    /// Milliseconds since `began`.
    last: AtomicU64,
}

impl Place {
    fn new(began: Instant) -> Place {
        let place =
            Place(Arc::new(Heard { began, rank: AtomicU64::new(SILENT), last: AtomicU64::new(0) }));
        place.touch();
        place
    }

    /// It said hello.
    pub(crate) fn greeted(&self) {
        self.rise(GREETED);
        self.touch();
    }

    /// It asked something, or something that is not understood.
    pub(crate) fn heard(&self, request: Option<&Request>) {
        if matches!(request, Some(Request::Apply(_) | Request::BeginEpoch)) {
            self.rise(PROGRAMS);
        }
        self.touch();
    }

    fn rise(&self, rank: u64) {
        self.0.rank.fetch_max(rank, Ordering::Relaxed);
    }

    fn touch(&self) {
        self.0.last.store(milliseconds(self.0.began.elapsed()), Ordering::Relaxed);
    }

    fn rank(&self) -> u64 {
        self.0.rank.load(Ordering::Relaxed)
    }

    fn last(&self) -> u64 {
        self.0.last.load(Ordering::Relaxed)
    }

    fn gives_way(&self) -> bool {
        let now = milliseconds(self.0.began.elapsed());
        self.rank() < PROGRAMS && now.saturating_sub(self.last()) >= milliseconds(BUSY)
    }
}

/// All places, and the tasks that serve them.
#[derive(Debug)]
pub(crate) struct Places {
    began: Instant,
    taken: Vec<(Place, AbortHandle)>,
}

impl Default for Places {
    fn default() -> Self {
        Places { began: Instant::now(), taken: Vec::new() }
    }
}

impl Places {
    /// A place for one more client, if need be that of the least welcome one, whose task is ended.
    pub(crate) fn take(&mut self) -> Option<Place> {
        self.taken.retain(|(_, task)| !task.is_finished());
        if self.taken.len() >= PLACES {
            let idle = self.taken.iter().enumerate().filter(|(_, (place, _))| place.gives_way());
            let least = idle.min_by_key(|(_, (place, _))| (place.rank(), place.last()));
            let index = least.map(|(index, _)| index)?;
            self.taken.swap_remove(index).1.abort();
        }
        Some(Place::new(self.began))
    }

    /// The task that serves the client of a place.
    pub(crate) fn fill(&mut self, place: Place, task: AbortHandle) {
        self.taken.push((place, task));
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
