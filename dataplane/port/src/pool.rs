//! Where frames are while nobody uses them.
//!
//! The pool of a worker keeps two magazines of up to [`MAGAZINE`] frames. `take` and `give` touch
//! the loaded one alone: a few instructions, nothing shared but one word that the worker alone
//! writes (how many frames it has, so that anybody can count). When the loaded one is empty or
//! full it is swapped with the other, and only when that does not help either is a whole magazine
//! exchanged with the shared depot: one atomic exchange in 64 frames at worst. (Bonwick's
//! magazines; a shared stack of single frames costs an exchange each.)
//!
//! Nothing is allocated after set-up: magazines are as many as pools and full depot need, and
//! move between the two.
//!
//! A second, small class of frames has chunks of 64 KiB ([`FramePool::take_large`]): for packets that are larger than a
//! plain chunk, so that a packet's bytes always lie in one piece. They lie in a memory of their own, which no socket
//! registers, and on one shared stack: whoever needs one pays an exchange. `give` takes both back, and all counts are of
//! both.
//!
//! Invariant: free frames + frames in ports + frames in workers' hands = capacity.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicUsize, Ordering},
};

use crossbeam_queue::ArrayQueue;
use sys::memory::{LARGE_CHUNK, Memory};

use crate::Frame;

/// Frames in a magazine: what one exchange with the depot moves.
const MAGAZINE: usize = 64;

type Magazine = Vec<Frame>;

/// All frames of one memory, and the source of the workers' pools.
#[derive(Clone, Debug)]
pub struct FramePools {
    depot: Arc<Depot>,
}

impl FramePools {
    /// Makes a frame of every chunk of `memory`, for about `workers` pools.
    ///
    /// A memory that was handed out before yields pools without frames.
    pub fn new(memory: Memory, workers: usize) -> FramePools {
        FramePools::build(memory, None, workers)
    }

    /// The same, and a large frame of every chunk of `large`, a memory of large chunks ([`Memory::large`]).
    pub fn with_large(memory: Memory, large: Memory, workers: usize) -> FramePools {
        FramePools::build(memory, Some(large), workers)
    }

    fn build(memory: Memory, large: Option<Memory>, workers: usize) -> FramePools {
        let memory = Arc::new(memory);
        let chunks = memory.hand_out();
        let capacity = chunks.len();
        let large = large.filter(|memory| memory.chunk_size() == LARGE_CHUNK).map(Large::new);
        let depot = Depot {
            // A magazine in the depot holds at least one frame, so this can never overflow.
            full: ArrayQueue::new(capacity.max(1)),
            empty: ArrayQueue::new(capacity / MAGAZINE + 2 * workers + 2),
            frames: AtomicUsize::new(0),
            caches: Mutex::new(Vec::new()),
            capacity: capacity + large.as_ref().map_or(0, |large| large.capacity),
            memory,
            large,
        };
        let mut magazine = Magazine::with_capacity(MAGAZINE);
        for chunk in chunks {
            magazine.push(Frame::empty(chunk));
            if magazine.len() == MAGAZINE {
                depot.put(std::mem::replace(&mut magazine, Magazine::with_capacity(MAGAZINE)));
            }
        }
        depot.put(magazine);
        FramePools { depot: Arc::new(depot) }
    }

    /// A pool for one worker (or for the thread that opens ports).
    pub fn pool(&self) -> FramePool {
        let cached = Arc::new(Cached::default());
        let mut caches = self.depot.caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(Arc::downgrade(&cached));
        FramePool {
            loaded: Magazine::with_capacity(MAGAZINE),
            spare: Magazine::with_capacity(MAGAZINE),
            cached,
            depot: Arc::clone(&self.depot),
        }
    }

    /// The memory the frames lie in.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.depot.memory
    }

    /// Frames that are free, large ones included: in the depot or in a worker's pool. Exact while nobody moves frames.
    pub fn free_frames(&self) -> usize {
        self.depot.free_frames()
    }

    /// Large frames that are free.
    pub fn free_large_frames(&self) -> usize {
        self.depot.large.as_ref().map_or(0, |large| large.free.len())
    }

    /// Frames there are, large ones included.
    pub fn capacity(&self) -> usize {
        self.depot.capacity
    }

    /// Large frames there are.
    pub fn large_capacity(&self) -> usize {
        self.depot.large.as_ref().map_or(0, |large| large.capacity)
    }
}

/// The frames of one worker, backed by those of all.
#[derive(Debug)]
pub struct FramePool {
    loaded: Magazine,
    spare: Magazine,
    cached: Arc<Cached>,
    depot: Arc<Depot>,
}

impl FramePool {
    /// An empty frame with the usual headroom, or `None` when all are in use.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        if self.loaded.is_empty() {
            self.load();
        }
        let frame = self.loaded.pop()?;
        self.cached.loaded.store(self.loaded.len(), Ordering::Relaxed);
        Some(frame)
    }

    /// Takes a frame back.
    #[inline]
    pub fn give(&mut self, mut frame: Frame) {
        if frame.is_large() {
            return self.depot.give_large(frame);
        }
        if self.loaded.len() == MAGAZINE {
            self.unload();
        }
        frame.clear_plain();
        self.loaded.push(frame);
        self.cached.loaded.store(self.loaded.len(), Ordering::Relaxed);
    }

    /// An empty frame that holds packets of up to 65407 bytes behind [`LARGE_HEADROOM`](crate::LARGE_HEADROOM), or `None` when all are in use or
    /// the pool has none.
    pub fn take_large(&mut self) -> Option<Frame> {
        self.depot.large.as_ref()?.free.pop()
    }

    /// An empty frame that holds `length` bytes behind the usual headroom, or `None` when all are in use.
    #[inline]
    pub fn take_for(&mut self, length: usize) -> Option<Frame> {
        let frame = self.take()?;
        if length <= frame.tailroom() {
            return Some(frame);
        }
        self.give(frame);
        self.take_large()
    }

    /// A copy of the packet in a frame of its own, headroom and what is noted of a train included, or `None` when all are
    /// in use.
    pub fn copy(&mut self, frame: &Frame) -> Option<Frame> {
        if frame.is_large() {
            return self.copy_large(frame);
        }
        let mut copy = self.take()?;
        if copy.imitate(frame) {
            return Some(copy);
        }
        self.give(copy);
        None
    }

    #[cold]
    fn copy_large(&mut self, frame: &Frame) -> Option<Frame> {
        if frame.train().is_none() {
            let mut copy = self.take()?;
            if copy.imitate(frame) {
                return Some(copy);
            }
            self.give(copy);
        }
        let mut copy = self.take_large()?;
        // A large chunk holds what another holds.
        copy.imitate(frame);
        Some(copy)
    }

    /// Frames that are free in the whole pool, large ones included. Exact while nobody moves frames.
    pub fn free_frames(&self) -> usize {
        self.depot.free_frames()
    }

    /// Frames there are in the whole pool, large ones included.
    pub fn capacity(&self) -> usize {
        self.depot.capacity
    }

    /// The source this pool came from.
    pub fn pools(&self) -> FramePools {
        FramePools { depot: Arc::clone(&self.depot) }
    }

    /// Makes the loaded magazine one with frames, if there are any.
    #[cold]
    fn load(&mut self) {
        std::mem::swap(&mut self.loaded, &mut self.spare);
        if self.loaded.is_empty()
            && let Some(full) = self.depot.take()
        {
            self.depot.put(std::mem::replace(&mut self.loaded, full));
        }
        self.count();
    }

    /// Makes the loaded magazine one with room.
    #[cold]
    fn unload(&mut self) {
        std::mem::swap(&mut self.loaded, &mut self.spare);
        if self.loaded.len() == MAGAZINE {
            let empty = self.depot.empty.pop().unwrap_or_else(|| Magazine::with_capacity(MAGAZINE));
            self.depot.put(std::mem::replace(&mut self.loaded, empty));
        }
        self.count();
    }

    fn count(&self) {
        self.cached.loaded.store(self.loaded.len(), Ordering::Relaxed);
        self.cached.spare.store(self.spare.len(), Ordering::Relaxed);
    }
}

impl Drop for FramePool {
    fn drop(&mut self) {
        self.depot.put(std::mem::take(&mut self.loaded));
        self.depot.put(std::mem::take(&mut self.spare));
        self.count();
    }
}

/// How many frames a worker's pool has; written by that worker alone.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Cached {
    loaded: AtomicUsize,
    spare: AtomicUsize,
}

/// What the pools share.
#[derive(Debug)]
struct Depot {
    full: ArrayQueue<Magazine>,
    empty: ArrayQueue<Magazine>,
    /// Frames in `full`.
    frames: AtomicUsize,
    caches: Mutex<Vec<Weak<Cached>>>,
    capacity: usize,
    memory: Arc<Memory>,
    large: Option<Large>,
}

/// The large frames.
#[derive(Debug)]
struct Large {
    free: ArrayQueue<Frame>,
    capacity: usize,
    memory: Memory,
}

impl Large {
    fn new(memory: Memory) -> Large {
        let chunks = memory.hand_out();
        let capacity = chunks.len();
        let free = ArrayQueue::new(capacity.max(1));
        for chunk in chunks {
            let refused = free.push(Frame::empty(chunk));
            debug_assert!(refused.is_ok(), "there is room for all");
        }
        Large { free, capacity, memory }
    }
}

impl Depot {
    #[cold]
    fn give_large(&self, mut frame: Frame) {
        frame.clear();
        frame.set_train(None);
        // A frame of another pool is lost, and says so.
        let Some(large) = &self.large else { return drop(frame) };
        drop(large.free.push(frame));
    }

    fn take(&self) -> Option<Magazine> {
        let magazine = self.full.pop()?;
        self.frames.fetch_sub(magazine.len(), Ordering::Relaxed);
        Some(magazine)
    }

    fn put(&self, magazine: Magazine) {
        let frames = magazine.len();
        if frames == 0 {
            // One too many is simply freed: it holds nothing.
            let _ = self.empty.push(magazine);
            return;
        }
        self.frames.fetch_add(frames, Ordering::Relaxed);
        let refused = self.full.push(magazine);
        debug_assert!(refused.is_ok(), "more magazines with frames than frames");
    }

    fn free_frames(&self) -> usize {
        let caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let cached: usize = caches
            .iter()
            .filter_map(Weak::upgrade)
            .map(|c| c.loaded.load(Ordering::Relaxed) + c.spare.load(Ordering::Relaxed))
            .sum();
        let large = self.large.as_ref().map_or(0, |large| large.free.len());
        self.frames.load(Ordering::Relaxed) + cached + large
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        while let Some(magazine) = self.full.pop() {
            for frame in magazine {
                self.memory.take_home(frame.into_parts().0);
            }
        }
        if let Some(large) = &mut self.large {
            while let Some(frame) = large.free.pop() {
                large.memory.take_home(frame.into_parts().0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pools(frames: u32) -> FramePools {
        FramePools::new(Memory::new(frames, 2048, "port-test").unwrap(), 2)
    }

    #[test]
    fn all_frames_can_be_taken_once_and_given_back() {
        let pools = pools(1000);
        let mut pool = pools.pool();
        let mut frames = Vec::new();
        while let Some(frame) = pool.take() {
            frames.push(frame);
            assert_eq!(pool.free_frames() + frames.len(), 1000);
        }
        assert_eq!(frames.len(), 1000);
        let mut chunks: Vec<_> = frames.iter().map(|f| f.data().as_ptr() as usize).collect();
        chunks.sort_unstable();
        chunks.dedup();
        assert_eq!(chunks.len(), 1000);
        frames.into_iter().for_each(|frame| pool.give(frame));
        assert_eq!(pools.free_frames(), 1000);
        drop(pool);
        assert_eq!(pools.free_frames(), 1000);
    }

    #[test]
    fn frames_taken_by_one_worker_and_given_by_another_come_home() {
        let pools = pools(512);
        let (send, receive) = std::sync::mpsc::sync_channel::<Frame>(64);
        let mut taker = pools.pool();
        let mut giver = pools.pool();
        let thread = std::thread::spawn(move || {
            for frame in receive {
                giver.give(frame);
            }
        });
        let mut sent = 0;
        while sent < 20_000 {
            match taker.take() {
                Some(frame) => {
                    send.send(frame).unwrap();
                    sent += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        drop(send);
        thread.join().unwrap();
        assert_eq!(pools.free_frames(), 512);
    }

    #[test]
    fn large_frames_hold_any_packet_and_are_counted_with_the_others() {
        let memory = Memory::new(8, 2048, "port-test").unwrap();
        let pools = FramePools::with_large(memory, Memory::large(3, "port-test").unwrap(), 2);
        assert_eq!((pools.capacity(), pools.large_capacity()), (11, 3));
        let mut pool = pools.pool();
        let mut frames = Vec::new();
        while let Some(frame) = pool.take_large() {
            frames.push(frame);
            assert_eq!(pools.free_frames() + frames.len(), 11);
        }
        assert_eq!((frames.len(), pools.free_large_frames()), (3, 0));
        assert!(pool.take_for(1793).is_none(), "no large one is left");
        let plain = pool.take_for(1792).unwrap();
        assert!(!plain.is_large());
        pool.give(plain);
        let mut large = frames.pop().unwrap();
        assert!(large.is_large());
        assert_eq!((large.headroom(), large.tailroom()), (128, 65407));
        large.fill(&[9; 65407]).unwrap();
        assert_eq!((large.len(), large.tailroom()), (65407, 0));
        assert!(pool.copy(&large).is_none());
        pool.give(frames.pop().unwrap());
        let copy = pool.copy(&large).unwrap();
        assert_eq!(copy.data(), large.data());
        large.trim(100);
        let small = pool.copy(&large).unwrap();
        assert!(!small.is_large(), "a packet that fits a plain frame gets one");
        for frame in frames.into_iter().chain([large, copy, small]) {
            pool.give(frame);
        }
        assert_eq!((pools.free_frames(), pools.free_large_frames()), (11, 3));
    }

    #[test]
    fn a_copy_has_the_bytes_and_the_headroom_of_the_original() {
        let mut pool = pools(2).pool();
        let mut frame = pool.take().unwrap();
        frame.fill(b"packet").unwrap();
        frame.pull(2).unwrap();
        let copy = pool.copy(&frame).unwrap();
        assert_eq!((copy.data(), copy.headroom()), (&b"cket"[..], 258));
        assert!(pool.copy(&frame).is_none());
        pool.give(frame);
        pool.give(copy);
        assert_eq!(pool.free_frames(), 2);
    }
}
