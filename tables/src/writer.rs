//! The two ends of the way from the control thread to the workers, for the snapshot at hand.

use crate::publish::{Observer, Publisher};
use crate::{Fib, Generation};

/// Compiles changes into the next snapshot and publishes it. Lives on the control thread.
#[derive(Debug)]
pub struct Writer {
    pub(crate) next: Fib,
    publisher: Publisher<Fib>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer::new()
    }
}

impl Writer {
    /// A writer that has published an empty snapshot.
    pub fn new() -> Writer {
        let publisher = Publisher::new(Fib { generation: Generation(1), ..Fib::default() });
        Writer { next: publisher.current().clone(), publisher }
    }

    /// A further reader, asleep until it first enters. Give each worker its own.
    pub fn reader(&mut self) -> Reader {
        Reader { observer: self.publisher.reader() }
    }

    /// The snapshot published last.
    pub fn fib(&self) -> &Fib {
        self.publisher.current()
    }

    /// The generation published last.
    pub fn generation(&self) -> Generation {
        self.publisher.generation()
    }

    /// Whether every reader has observed `generation`, or sleeps.
    pub fn reached(&self, generation: Generation) -> bool {
        self.publisher.reached(generation)
    }

    /// Frees, on this thread, the snapshots that no reader can use any more. Call it when idle; publishing does too.
    pub fn collect(&mut self) {
        self.publisher.collect();
    }

    /// How many snapshots wait for readers to move on.
    pub fn retired(&self) -> usize {
        self.publisher.retired()
    }

    pub(crate) fn publish_next(&mut self) -> Generation {
        self.next.generation = Generation(self.publisher.generation().0 + 1);
        self.publisher.publish(self.next.clone())
    }
}

/// A worker's view of the snapshots.
#[derive(Debug)]
pub struct Reader {
    observer: Observer<Fib>,
}

impl Reader {
    /// The current snapshot, and announces that older ones are no longer used. Once a burst; a load when nothing
    /// changed.
    #[inline]
    pub fn enter(&mut self) -> &Fib {
        self.observer.enter()
    }

    /// Lets go of the snapshot before a wait: a sleeping reader holds nothing up.
    pub fn sleep(&mut self) {
        self.observer.sleep();
    }
}
