//! Publication of snapshots: one writer, any number of readers, each reader on its own thread.
//!
//! Invariants, for every version but the current one:
//! 1. The writer holds it until every reader has announced a later generation or is asleep, so a reader that lets
//!    go of a version never holds its last reference: freeing a large snapshot is the writer's work alone.
//! 2. `reached(g)` is true only if no reader will again use a version older than `g`.
//!
//! A reader lets go of the old version *before* it announces the new one (release; the writer reads with acquire).
//! Waking is the delicate step, because a sleeper counts as having reached everything: it announces that it is awake
//! and only then loads the current version, with a full fence in between; the writer stores the version and only then
//! looks at the readers, with a full fence in between. So of a wake and a publication that race, either the writer
//! sees the reader awake or the reader loads the new version.
//!
//! The cost of `enter` while nothing changes is one load of a line that only a publication writes.

use std::collections::VecDeque;
use std::sync::Arc;

#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::Generation;

const ASLEEP: u64 = u64::MAX;
const WAKING: u64 = 0;

#[derive(Debug)]
struct Version<T> {
    generation: u64,
    value: T,
}

#[derive(Debug)]
struct Shared<T> {
    current: Current<Version<T>>,
    /// Of `current`, stored after it: tells readers that there is something to load.
    generation: AtomicU64,
}

/// What a reader has announced; on a line of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Seat {
    observed: AtomicU64,
}

/// The publishing side.
#[derive(Debug)]
pub(crate) struct Publisher<T> {
    shared: Arc<Shared<T>>,
    seats: Vec<Arc<Seat>>,
    generation: u64,
    current: Arc<Version<T>>,
    /// Versions some reader may still use, each with the generation that replaced it, oldest first.
    retired: VecDeque<(u64, Arc<Version<T>>)>,
}

impl<T> Publisher<T> {
    /// Publishes `first` as generation 1.
    pub(crate) fn new(first: T) -> Self {
        let generation = 1;
        let current = Arc::new(Version { generation, value: first });
        let shared = Shared {
            current: Current::new(Arc::clone(&current)),
            generation: AtomicU64::new(generation),
        };
        Publisher {
            shared: Arc::new(shared),
            seats: Vec::new(),
            generation,
            current,
            retired: VecDeque::new(),
        }
    }

    pub(crate) fn generation(&self) -> Generation {
        Generation(self.generation)
    }

    pub(crate) fn current(&self) -> &T {
        &self.current.value
    }

    /// A further reader, asleep until it first enters.
    pub(crate) fn reader(&mut self) -> Observer<T> {
        let seat = Arc::new(Seat { observed: AtomicU64::new(ASLEEP) });
        self.seats.push(Arc::clone(&seat));
        Observer { shared: Arc::clone(&self.shared), seat, version: None }
    }

    /// Makes `value` what readers see from their next `enter` on.
    pub(crate) fn publish(&mut self, value: T) -> Generation {
        self.generation += 1;
        let version = Arc::new(Version { generation: self.generation, value });
        self.shared.current.store(Arc::clone(&version));
        // Pairs with the acquire in `Observer::enter`.
        self.shared.generation.store(self.generation, Ordering::Release);
        let old = std::mem::replace(&mut self.current, version);
        self.retired.push_back((self.generation, old));
        self.collect();
        Generation(self.generation)
    }

    /// Whether no reader uses anything older than `generation` any more.
    pub(crate) fn reached(&self, generation: Generation) -> bool {
        self.oldest() >= generation.0
    }

    /// Frees what no reader can use any more; forgets readers that are gone.
    pub(crate) fn collect(&mut self) {
        self.seats.retain(|seat| Arc::strong_count(seat) > 1);
        let oldest = self.oldest();
        while self.retired.front().is_some_and(|(replaced_by, _)| *replaced_by <= oldest) {
            self.retired.pop_front();
        }
    }

    pub(crate) fn retired(&self) -> usize {
        self.retired.len()
    }

    fn oldest(&self) -> u64 {
        // Pairs with the fence in `Observer::advance`.
        fence(Ordering::SeqCst);
        // The acquire pairs with the release of what is announced: the reader has let go of older versions.
        self.seats.iter().map(|seat| seat.observed.load(Ordering::Acquire)).min().unwrap_or(ASLEEP)
    }
}

/// The reading side, one a thread.
#[derive(Debug)]
pub(crate) struct Observer<T> {
    shared: Arc<Shared<T>>,
    seat: Arc<Seat>,
    version: Option<Arc<Version<T>>>,
}

impl<T> Observer<T> {
    /// The current version, and announces that older ones are no longer used.
    #[inline]
    pub(crate) fn enter(&mut self) -> &T {
        // Pairs with the release in `Publisher::publish`.
        let published = self.shared.generation.load(Ordering::Acquire);
        if self.version.as_ref().is_none_or(|version| version.generation < published) {
            self.advance();
        }
        let shared = &self.shared;
        &self.version.get_or_insert_with(|| shared.current.load()).value
    }

    /// Lets go of the snapshot: this reader holds nothing up until it next enters.
    pub(crate) fn sleep(&mut self) {
        self.let_go();
        self.seat.observed.store(ASLEEP, Ordering::Release);
    }

    #[cold]
    fn advance(&mut self) {
        if self.version.is_none() {
            self.seat.observed.store(WAKING, Ordering::Relaxed);
            // Pairs with the fence in `Publisher::oldest`.
            fence(Ordering::SeqCst);
        }
        let version = self.shared.current.load();
        let generation = version.generation;
        self.let_go();
        self.version = Some(version);
        self.seat.observed.store(generation, Ordering::Release);
    }

    fn let_go(&mut self) {
        let old = self.version.take();
        #[cfg(loom)]
        assert!(
            old.as_ref().is_none_or(|old| Arc::strong_count(old) > 1),
            "a reader frees a snapshot"
        );
        drop(old);
    }
}

impl<T> Drop for Observer<T> {
    fn drop(&mut self) {
        // A writer that is gone holds nothing any more; then the last reader frees.
        self.version = None;
        self.seat.observed.store(ASLEEP, Ordering::Release);
    }
}

#[cfg(not(loom))]
#[derive(Debug)]
struct Current<V>(arc_swap::ArcSwap<V>);

#[cfg(not(loom))]
impl<V> Current<V> {
    fn new(value: Arc<V>) -> Self {
        Current(arc_swap::ArcSwap::new(value))
    }

    fn load(&self) -> Arc<V> {
        self.0.load_full()
    }

    fn store(&self, value: Arc<V>) {
        self.0.store(value);
    }
}

/// What `arc_swap` does, as far as order goes, for the model checker: an index stored with release and loaded with
/// acquire names a value.
#[cfg(loom)]
#[derive(Debug)]
struct Current<V> {
    index: loom::sync::atomic::AtomicUsize,
    values: std::sync::Mutex<Vec<std::sync::Weak<V>>>,
}

#[cfg(loom)]
impl<V> Current<V> {
    fn new(value: Arc<V>) -> Self {
        let values = std::sync::Mutex::new(vec![Arc::downgrade(&value)]);
        Current { index: loom::sync::atomic::AtomicUsize::new(0), values }
    }

    fn load(&self) -> Arc<V> {
        let index = self.index.load(Ordering::Acquire);
        let values = self.values.lock().expect("no panic under the lock");
        values[index].upgrade().expect("the writer still holds what a reader may load")
    }

    fn store(&self, value: Arc<V>) {
        let index = {
            let mut values = self.values.lock().expect("no panic under the lock");
            values.push(Arc::downgrade(&value));
            values.len() - 1
        };
        self.index.store(index, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod tests {
    use loom::sync::atomic::AtomicBool;

    use super::*;

    /// All interleavings with up to three preemptions.
    fn check(scene: impl Fn() + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(scene);
    }

    /// One reader that enters, sleeps and wakes while the writer publishes twice.
    #[test]
    fn loom_no_reader_uses_what_reached_says_is_past_and_none_frees_a_snapshot() {
        check(|| {
            let mut publisher = Publisher::new(1);
            let mut reader = publisher.reader();
            let passed = loom::sync::Arc::new(AtomicBool::new(false));
            let told = loom::sync::Arc::clone(&passed);
            let thread = loom::thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    let value = *reader.enter();
                    assert!(last <= value, "a reader went back");
                    assert!(value >= 2 || !told.load(Ordering::Acquire), "past, but in use");
                    last = value;
                    reader.sleep();
                }
            });
            let second = publisher.publish(2);
            if publisher.reached(second) {
                passed.store(true, Ordering::Release);
            }
            publisher.publish(3);
            thread.join().expect("the reader's assertions hold");
            publisher.collect();
            assert_eq!(publisher.retired(), 0);
        });
    }

    #[test]
    fn loom_a_reader_that_stays_awake_moves_on_without_going_back() {
        check(|| {
            let mut publisher = Publisher::new(1);
            let mut reader = publisher.reader();
            reader.enter();
            let passed = loom::sync::Arc::new(AtomicBool::new(false));
            let told = loom::sync::Arc::clone(&passed);
            let thread = loom::thread::spawn(move || {
                let first = *reader.enter();
                assert!(first >= 2 || !told.load(Ordering::Acquire), "past, but in use");
                let next = *reader.enter();
                assert!(first <= next);
                assert!(next >= 2 || !told.load(Ordering::Acquire), "past, but in use");
            });
            let second = publisher.publish(2);
            if publisher.reached(second) {
                passed.store(true, Ordering::Release);
            }
            publisher.collect();
            thread.join().expect("the reader's assertions hold");
        });
    }
}
