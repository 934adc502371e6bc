//! The map workers beat into. A program that sees no fresh beat stops steering to that worker.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use libbpf_rs::{MapHandle, MapType, libbpf_sys};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::LoadError;

/// Slots in the map: the most workers a process can have.
const WORKERS: u32 = 64;
const LENGTH: usize = WORKERS as usize * size_of::<u64>();

/// The beats of all workers of a process; every steering program it loads reads them.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    map: Arc<MapHandle>,
    beats: Arc<Mapping>,
}

/// The beat of one worker.
#[derive(Clone, Debug)]
pub struct Beat {
    beats: Arc<Mapping>,
    slot: usize,
}

impl Heartbeat {
    /// Creates the map, with nobody beating.
    ///
    /// # Errors
    /// [`LoadError`] if the kernel refuses it: missing capability, locked memory limit.
    pub fn new() -> Result<Heartbeat, LoadError> {
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            map_flags: libbpf_sys::BPF_F_MMAPABLE,
            ..Default::default()
        };
        let map = MapHandle::create(MapType::Array, Some("heartbeat"), 4, 8, WORKERS, &options)
            .map_err(|source| LoadError::new("heartbeat map", &source))?;
        let beats = Mapping::new(map.as_fd())
            .map_err(|source| LoadError { what: "heartbeat map", message: source.to_string() })?;
        Ok(Heartbeat { map: Arc::new(map), beats: Arc::new(beats) })
    }

    /// The beat of the worker with this slot; `None` beyond the last slot.
    pub fn beat(&self, slot: u32) -> Option<Beat> {
        (slot < WORKERS).then(|| Beat { beats: Arc::clone(&self.beats), slot: slot as usize })
    }

    pub(super) fn map(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

impl Beat {
    /// Shows that the worker is alive at `now`, in nanoseconds of `CLOCK_MONOTONIC`.
    ///
    /// Programs stop steering to a worker one second after its last beat.
    #[inline]
    pub fn beat(&self, now: u64) {
        self.beats.word(self.slot).store(now, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Mapping {
    base: NonNull<AtomicU64>,
}

// SAFETY: the mapping is reached through atomics alone.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(map: BorrowedFd<'_>) -> io::Result<Mapping> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { mmap(std::ptr::null_mut(), LENGTH, protection, flags, map, 0) }?;
        let base = NonNull::new(base.cast())
            .ok_or_else(|| io::Error::other("the kernel mapped a map at address zero"))?;
        Ok(Mapping { base })
    }

    #[inline]
    fn word(&self, slot: usize) -> &AtomicU64 {
        // SAFETY: `Heartbeat::beat` makes no slot beyond the map.
        let word = unsafe { self.base.add(slot) };
        // SAFETY: the word is mapped and aligned for as long as `self` lives.
        unsafe { word.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no reference into it outlives `self`.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), LENGTH) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping: {unmapped:?}");
    }
}
