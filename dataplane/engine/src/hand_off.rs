//! Between workers: a bounded ring for each ordered pair, and a bell for the one that sleeps.
//!
//! # Thread-safety
//! A ring has one producer and one consumer (`rtrb`). Sleeping is announced in an `AtomicBool`: the sleeper sets it and
//! *then* looks at its rings once more; a sender pushes and *then* looks at the flag; a full fence stands between the
//! two steps on either side, so at least one of them sees the other. Ringing costs a system call and happens at most
//! once per sleep.

use std::sync::Arc;

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

use port::Frame;
use tables::{VifId, VrfId};

use crate::ports::Exit;

/// Index of a worker, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u8);

impl WorkerId {
    /// The id as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Interrupts a worker's wait, from any thread: an eventfd in the process, a flag in tests.
pub trait Wake: Send + Sync {
    /// Makes the wait end, or the next one not begin.
    fn wake(&self);
}

/// How many frames wait between two workers.
pub(crate) const RING: usize = 1024;

/// What one worker gives another.
#[derive(Debug)]
pub(crate) enum Parcel {
    /// To be sent as it is; a drop is charged to where it came in.
    Transmit { frame: Frame, exit: Exit, rx_vif: VifId, vrf: VrfId },
    /// To be processed as if it had come in here; it is already counted as received.
    Process { frame: Frame, rx_vif: VifId },
}

impl Parcel {
    pub(crate) fn into_frame(self) -> Frame {
        match self {
            Parcel::Transmit { frame, .. } | Parcel::Process { frame, .. } => frame,
        }
    }
}

/// How many workers there are and which one this is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workers {
    own: WorkerId,
    count: u8,
}

impl Workers {
    pub(crate) fn new(own: WorkerId, count: u8) -> Workers {
        Workers { own, count }
    }

    #[inline]
    pub(crate) fn own(self) -> WorkerId {
        self.own
    }

    #[inline]
    pub(crate) fn count(self) -> u8 {
        self.count
    }

    /// The worker a flow belongs to.
    #[inline]
    pub(crate) fn for_hash(self, hash: u32) -> WorkerId {
        // The product's high word is below `count`, so it fits.
        let share = (u64::from(hash) * u64::from(self.count)) >> 32;
        WorkerId(u8::try_from(share).unwrap_or(0))
    }
}

/// Wakes one worker, if it sleeps.
#[derive(Clone)]
pub(crate) struct Bell {
    asleep: Arc<AtomicBool>,
    wake: Arc<dyn Wake>,
}

impl Bell {
    pub(crate) fn new(asleep: Arc<AtomicBool>, wake: Arc<dyn Wake>) -> Bell {
        Bell { asleep, wake }
    }

    /// After something was put where the worker looks before it sleeps.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `Pillow::lie_down`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.wake.wake();
        }
    }
}

/// The sleeper's side of its bell.
pub(crate) struct Pillow {
    asleep: Arc<AtomicBool>,
}

impl Pillow {
    pub(crate) fn new() -> Pillow {
        Pillow { asleep: Arc::new(AtomicBool::new(false)) }
    }

    pub(crate) fn bell(&self, wake: Arc<dyn Wake>) -> Bell {
        Bell::new(Arc::clone(&self.asleep), wake)
    }

    /// Announces sleep; what is looked for afterwards was put there in time, or its sender rings.
    pub(crate) fn lie_down(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `Bell::ring`.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn get_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    #[cfg(all(test, loom))]
    fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }
}

/// The rings to the other workers, by their index.
pub(crate) struct Peers {
    lanes: Box<[Option<Lane>]>,
}

pub(crate) struct Lane {
    ring: rtrb::Producer<Parcel>,
    bell: Bell,
    used: bool,
}

impl Lane {
    pub(crate) fn new(ring: rtrb::Producer<Parcel>, bell: Bell) -> Lane {
        Lane { ring, bell, used: false }
    }
}

impl Peers {
    pub(crate) fn new(lanes: impl IntoIterator<Item = Option<Lane>>) -> Peers {
        Peers { lanes: lanes.into_iter().collect() }
    }

    /// Puts a parcel on a worker's ring.
    ///
    /// # Errors
    /// The parcel again, when the ring is full or there is no such worker.
    #[inline]
    pub(crate) fn push(&mut self, to: WorkerId, parcel: Parcel) -> Result<(), Parcel> {
        let Some(Some(lane)) = self.lanes.get_mut(to.index()) else { return Err(parcel) };
        match lane.ring.push(parcel) {
            Ok(()) => {
                lane.used = true;
                Ok(())
            }
            Err(rtrb::PushError::Full(parcel)) => Err(parcel),
        }
    }

    /// Rings for what this turn has pushed.
    pub(crate) fn ring(&mut self) {
        for lane in self.lanes.iter_mut().flatten() {
            if std::mem::take(&mut lane.used) {
                lane.bell.ring();
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Flag(AtomicBool);

    impl Wake for Flag {
        fn wake(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_bell_wakes_a_sleeper_once() {
        let (pillow, flag) = (Pillow::new(), Arc::new(Flag::default()));
        let bell = pillow.bell(Arc::clone(&flag) as Arc<dyn Wake>);
        bell.ring();
        assert!(!flag.0.swap(false, Ordering::Relaxed), "nobody sleeps");
        pillow.lie_down();
        bell.ring();
        assert!(flag.0.swap(false, Ordering::Relaxed));
        bell.ring();
        assert!(!flag.0.load(Ordering::Relaxed), "already ringing");
        pillow.lie_down();
        pillow.get_up();
        bell.ring();
        assert!(!flag.0.load(Ordering::Relaxed));
    }

    #[test]
    fn hashes_are_shared_out_over_all_workers() {
        let workers = Workers::new(WorkerId(0), 3);
        assert_eq!(workers.for_hash(0), WorkerId(0));
        assert_eq!(workers.for_hash(u32::MAX / 2), WorkerId(1));
        assert_eq!(workers.for_hash(u32::MAX), WorkerId(2));
    }
}

/// All interleavings of a sleeper and its senders: `make deep`. The ring is the word that a sender stores after its
/// parcel and the sleeper looks at, as in `rtrb`.
#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    /// Counts wakes, as an eventfd does: one that comes before the wait ends the wait.
    struct EventFd(AtomicUsize);

    impl Wake for EventFd {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Release);
        }
    }

    struct Scene {
        pillow: Pillow,
        bell: Bell,
        wakes: Arc<EventFd>,
        ring: Arc<AtomicUsize>,
    }

    impl Scene {
        fn new() -> Scene {
            let (pillow, wakes) = (Pillow::new(), Arc::new(EventFd(AtomicUsize::new(0))));
            let bell = pillow.bell(Arc::clone(&wakes) as Arc<dyn Wake>);
            Scene { pillow, bell, wakes, ring: Arc::new(AtomicUsize::new(0)) }
        }

        fn sender(&self) -> impl Fn() + 'static {
            let (bell, ring) = (self.bell.clone(), Arc::clone(&self.ring));
            move || {
                ring.fetch_add(1, Ordering::Release);
                bell.ring();
            }
        }

        /// As `Worker::lie_down`: whether it sleeps.
        fn lies_down(&self) -> bool {
            self.pillow.lie_down();
            let work = self.ring.load(Ordering::Acquire) != 0;
            if work {
                self.pillow.get_up();
            }
            !work
        }
    }

    #[test]
    fn loom_a_sleeper_and_a_sender_cannot_miss_each_other() {
        loom::model(|| {
            let scene = Scene::new();
            let sender = thread::spawn(scene.sender());
            let sleeps = scene.lies_down();
            sender.join().expect("the sender ends");
            let woken = scene.wakes.0.load(Ordering::Acquire);
            assert!(!sleeps || woken == 1, "sleeps on a full ring");
        });
    }

    #[test]
    fn loom_two_senders_wake_a_sleeper_once() {
        loom::model(|| {
            let scene = Scene::new();
            let senders = [thread::spawn(scene.sender()), thread::spawn(scene.sender())];
            let sleeps = scene.lies_down();
            for sender in senders {
                sender.join().expect("the sender ends");
            }
            let woken = scene.wakes.0.load(Ordering::Acquire);
            assert!(woken <= 1, "a bell rings once a sleep");
            assert!(!sleeps || woken == 1, "sleeps on a full ring");
        });
    }

    /// A bell that rings for a sleep that was already broken off must not take the next one's.
    #[test]
    fn loom_a_late_bell_does_not_spoil_the_next_sleep() {
        loom::model(|| {
            let scene = Scene::new();
            let (first, second) = (scene.sender(), scene.sender());
            let sender = thread::spawn(move || {
                first();
                second();
            });
            let mut taken = 0;
            for _ in 0..2 {
                if scene.lies_down() {
                    break;
                }
                // A turn: takes what is there.
                taken += scene.ring.swap(0, Ordering::Acquire);
            }
            sender.join().expect("the sender ends");
            let waits = scene.ring.load(Ordering::Acquire);
            assert_eq!(taken + waits, 2, "nothing is lost");
            let woken = scene.wakes.0.load(Ordering::Acquire) > 0;
            let awake = !scene.pillow.is_asleep();
            assert!(waits == 0 || woken || awake, "sleeps on a full ring");
        });
    }
}
