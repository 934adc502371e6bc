//! Packet memory: one shared mapping, cut into chunks that exist exactly once.
//!
//! [`Memory`] maps a memfd and hands each chunk out a single time as an owned [`Chunk`]. A chunk
//! cannot be copied or cloned, so whoever holds it is the only one to touch its bytes: that is
//! what makes `bytes_mut` safe without a lifetime or a lock. A chunk given to the kernel is
//! remembered as such by the ring code in this crate and comes back as a token when the kernel
//! names its address again.
//!
//! The mapping is unmapped when every chunk is home. If one is not, the mapping stays for the
//! life of the process: a leak is sound, a dangling chunk would not be.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap},
};

pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// Size of a large chunk.
pub const LARGE_CHUNK: u32 = 64 << 10;
/// Bytes behind each large chunk that belong to it and to no window: see [`Window::note`].
const NOTE_ROOM: usize = 4096;

/// Bytes of a large chunk's note.
pub const NOTE: usize = 16;

/// Chunks that were dropped instead of being given back, since the process started.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How many chunks this process dropped outside a pool. Anything but 0 is a bug.
pub fn lost_chunks() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Which pages back a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Reserved huge pages.
    Huge,
    /// Normal pages; the kernel was asked to merge them where it can.
    Normal,
}

/// One mapping of packet memory.
#[derive(Debug)]
pub struct Memory {
    base: NonNull<u8>,
    length: usize,
    fd: OwnedFd,
    chunk_size: u32,
    chunks: u32,
    pages: Pages,
    handed_out: AtomicBool,
    home: AtomicU32,
}

// SAFETY: `base` is only an address here; the bytes behind it are reached through `Chunk`s alone.
unsafe impl Send for Memory {}
// SAFETY: as above, and the counters are atomic.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps `chunks` chunks of `chunk_size` bytes (2048, 4096 or [`LARGE_CHUNK`]), on huge pages if there are any.
    ///
    /// Large chunks are not for AF_XDP: the kernel takes chunks of up to 4096 bytes. `name` shows in `/proc/PID/maps`. Pages are populated when first touched.
    ///
    /// # Errors
    /// `InvalidInput` for no chunks or another chunk size; otherwise what the system answers.
    pub fn new(chunks: u32, chunk_size: u32, name: &str) -> io::Result<Memory> {
        if !matches!(chunk_size, 2048 | 4096 | LARGE_CHUNK) {
            return Err(invalid("chunk size must be 2048, 4096 or 65536 bytes"));
        }
        if chunks == 0 {
            return Err(invalid("packet memory needs at least one chunk"));
        }
        if chunks > Window::MAX_INDEX {
            return Err(invalid("packet memory has at most 536870911 chunks"));
        }
        let wanted = chunks as usize * distance(chunk_size);
        let length = wanted.next_multiple_of(HUGE_PAGE);
        let (fd, base, pages) = map_huge(name, length).or_else(|_| map_normal(name, length))?;
        Ok(Memory {
            base,
            length,
            fd,
            chunk_size,
            chunks,
            pages,
            handed_out: AtomicBool::new(false),
            home: AtomicU32::new(chunks),
        })
    }

    /// Maps `chunks` large chunks.
    ///
    /// # Errors
    /// As [`Memory::new`].
    pub fn large(chunks: u32, name: &str) -> io::Result<Memory> {
        Memory::new(chunks, LARGE_CHUNK, name)
    }

    /// Every chunk, the first time it is called; nothing afterwards.
    pub fn hand_out(&self) -> Vec<Chunk> {
        if self.handed_out.swap(true, Ordering::AcqRel) {
            return Vec::new();
        }
        self.home.store(0, Ordering::Release);
        (0..self.chunks).map(|index| self.chunk(index)).collect()
    }

    /// Takes a chunk home for good. A chunk of another memory counts as lost.
    pub fn take_home(&self, chunk: Chunk) {
        if self.owns(&chunk) {
            std::mem::forget(chunk);
            self.home.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether `chunk` is one of this memory.
    #[inline]
    pub fn owns(&self, chunk: &Chunk) -> bool {
        self.offset(chunk) < self.used()
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Size of a chunk in bytes.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Which pages it got.
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// Length of the part cut into chunks, in bytes.
    pub fn used(&self) -> usize {
        self.chunks as usize * distance(self.chunk_size)
    }

    /// Address of the first byte, for registration with the kernel.
    pub(crate) fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// Distance of the chunk from the start of the mapping; beyond `used` if it is foreign.
    #[inline]
    pub(crate) fn offset(&self, chunk: &Chunk) -> usize {
        (chunk.at.as_ptr() as usize).wrapping_sub(self.base.as_ptr() as usize)
    }

    /// The token of chunk `index`. The caller must know that no other token of it exists.
    pub(crate) fn chunk(&self, index: u32) -> Chunk {
        assert!(index < self.chunks, "chunk {index} of {}", self.chunks);
        let offset = index as usize * distance(self.chunk_size);
        // SAFETY: index < chunks, so the offset lies inside the mapping.
        let at = unsafe { self.base.add(offset) };
        Chunk { at, index, size: self.chunk_size }
    }
}

/// Bytes from one chunk of this size to the next.
const fn distance(chunk_size: u32) -> usize {
    match chunk_size {
        LARGE_CHUNK => LARGE_CHUNK as usize + NOTE_ROOM,
        _ => chunk_size as usize,
    }
}

impl AsFd for Memory {
    /// The memfd, so that another process can map the same bytes.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if *self.home.get_mut() < self.chunks {
            return;
        }
        // SAFETY: every chunk is home, so no reference into the mapping is left.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping: {unmapped:?}");
    }
}

/// A piece of packet memory that exists once. Dropping it loses it: debug builds panic.
#[derive(Debug)]
pub struct Chunk {
    at: NonNull<u8>,
    index: u32,
    size: u32,
}

const _: () = assert!(size_of::<Chunk>() == 16);

// SAFETY: a chunk is the only token of its bytes, so they move with it.
unsafe impl Send for Chunk {}
// SAFETY: through a shared reference the bytes can only be read.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// Its number within its memory.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its size in bytes.
    #[inline]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// All its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `at` starts `size` mapped bytes, which only this token reaches.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.size as usize) }
    }

    /// All its bytes, to write.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the exclusive borrow of the token is one of the bytes.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.size as usize) }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        lost(self.index);
    }
}

/// A chunk and the range of its bytes that is in use, in two words. As unique as the chunk it is made of.
///
/// Two plain words travel in registers; a struct of small fields would be passed through memory.
///
/// Invariant: the range lies within the chunk (`start + length <= size`), so that no access needs to check it, and ends
/// at 65535 at most, so that a length that grows towards the front always fits its 16 bits.
#[derive(Debug)]
pub struct Window {
    at: NonNull<u8>,
    /// From the lowest bit: start (16 bits), length (16), how often the chunk's size is twice 2048 (3), index (29).
    packed: u64,
}

const _: () = assert!(size_of::<Option<Window>>() == 16);

// SAFETY: as for `Chunk`.
unsafe impl Send for Window {}
// SAFETY: as for `Chunk`.
unsafe impl Sync for Window {}

impl Window {
    const MAX_INDEX: u32 = u32::MAX >> 3;
    const SMALL: u32 = 2048;
    /// Of a large chunk's size.
    const LARGE: u64 = (LARGE_CHUNK / Window::SMALL).trailing_zeros() as u64;

    /// `length` bytes of a chunk from `start` on, cut to what it holds.
    #[inline]
    pub fn new(chunk: Chunk, start: u16, length: u16) -> Window {
        let (at, index, size) = (chunk.at, chunk.index, chunk.size);
        // The window is the token from here on.
        std::mem::forget(chunk);
        let end = end(size);
        let start = u32::from(start).min(end);
        let length = u32::from(length).min(end - start);
        let doubled = u64::from((size / Window::SMALL).trailing_zeros());
        let range = u64::from(start) | u64::from(length) << 16;
        Window { at, packed: (u64::from(index) << 3 | doubled) << 32 | range }
    }

    /// The chunk, and where in it the range starts and how long it is.
    #[inline]
    pub fn into_parts(self) -> (Chunk, u16, u16) {
        let chunk = Chunk { at: self.at, index: self.index(), size: self.size() };
        let (start, length) = (self.start(), self.length());
        // The chunk is the token from here on.
        std::mem::forget(self);
        (chunk, start, length)
    }

    /// Number of the chunk within its memory.
    #[inline]
    pub fn index(&self) -> u32 {
        (self.packed >> 35) as u32
    }

    /// Size of the chunk in bytes.
    #[inline]
    pub fn size(&self) -> u32 {
        Window::SMALL << (self.packed >> 32 & 7)
    }

    /// Whether the chunk is a large one.
    #[inline]
    pub fn is_large(&self) -> bool {
        self.packed >> 32 & 7 == Window::LARGE
    }

    /// Bytes that go with a large chunk whatever window of it is in use; other chunks have none.
    #[inline]
    pub fn note(&self) -> Option<&[u8; NOTE]> {
        if !self.is_large() {
            return None;
        }
        // SAFETY: behind a large chunk there are `NOTE_ROOM` mapped bytes, which belong to it.
        let note = unsafe { self.at.add(LARGE_CHUNK as usize) };
        // SAFETY: as above, and only this token reaches them.
        Some(unsafe { note.cast().as_ref() })
    }

    /// The same, to write.
    #[inline]
    pub fn note_mut(&mut self) -> Option<&mut [u8; NOTE]> {
        if !self.is_large() {
            return None;
        }
        // SAFETY: as in `note`.
        let note = unsafe { self.at.add(LARGE_CHUNK as usize) };
        // SAFETY: as in `note`; the exclusive borrow of the token is one of the bytes.
        Some(unsafe { note.cast().as_mut() })
    }

    /// Where in the chunk the range starts.
    #[inline]
    pub fn start(&self) -> u16 {
        (self.packed & 0xffff) as u16
    }

    /// How many bytes it has.
    #[inline]
    pub fn length(&self) -> u16 {
        (self.packed >> 16 & 0xffff) as u16
    }

    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: by the invariant `start` is no more than the chunk's size.
        let first = unsafe { self.at.add(usize::from(self.start())) };
        // SAFETY: by the invariant the range lies in the chunk, whose mapped bytes only this token reaches.
        unsafe { slice::from_raw_parts(first.as_ptr(), usize::from(self.length())) }
    }

    /// The `count` bytes in front of it; less if there are not as many.
    pub fn in_front(&self, count: u16) -> &[u8] {
        let count = count.min(self.start());
        // SAFETY: by the invariant `start` is no more than the chunk's size, and `count` no more than `start`.
        let first = unsafe { self.at.add(usize::from(self.start() - count)) };
        // SAFETY: they end where the range starts, which is in the chunk, whose mapped bytes only this token reaches.
        unsafe { slice::from_raw_parts(first.as_ptr(), usize::from(count)) }
    }

    /// The bytes, to write.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: by the invariant `start` is no more than the chunk's size.
        let first = unsafe { self.at.add(usize::from(self.start())) };
        // SAFETY: as in `bytes`; the exclusive borrow of the token is one of the bytes.
        unsafe { slice::from_raw_parts_mut(first.as_ptr(), usize::from(self.length())) }
    }

    /// Makes it another range of the chunk; `false`, and nothing changed, if that does not lie within.
    #[inline]
    #[must_use]
    pub fn set(&mut self, start: u16, length: u16) -> bool {
        let fits = u32::from(start) + u32::from(length) <= end(self.size());
        if fits {
            self.packed = self.packed >> 32 << 32 | range(start, length);
        }
        fits
    }

    /// Makes it no bytes, `START` into the chunk.
    #[inline]
    pub fn empty<const START: u16>(&mut self) {
        const { assert!(START as u32 <= Window::SMALL) }
        self.packed = self.packed >> 32 << 32 | u64::from(START);
    }

    /// Takes `less` bytes off the front, then adds `more` there; `false`, and nothing changed, if there are not as many.
    #[inline]
    #[must_use]
    pub fn shift(&mut self, less: u16, more: u16) -> bool {
        let (start, length) = (u32::from(self.start()), u32::from(self.length()));
        let fits = u32::from(less) <= length && u32::from(more) <= start + u32::from(less);
        if fits {
            // The start moves, the end stays where it is. Neither half can overflow into its neighbour.
            let by = u64::from(less).wrapping_sub(u64::from(more));
            self.packed = self.packed.wrapping_add(by).wrapping_sub(by << 16);
        }
        fits
    }

    /// Cuts it to at most `length` bytes.
    #[inline]
    pub fn cut(&mut self, length: u16) {
        let off = self.length().saturating_sub(length);
        self.packed -= u64::from(off) << 16;
    }

    /// Asks the processor to load the line at `offset` of the chunk; out of range it asks for nothing useful.
    #[inline]
    pub fn prefetch(&self, offset: u16) {
        crate::prefetch::prefetch_address(self.at.as_ptr().wrapping_add(usize::from(offset)));
    }
}

/// Where a range of a chunk of this size ends at most.
#[inline]
fn end(size: u32) -> u32 {
    size - (size >> 16)
}

/// A range as it lies in [`Window::packed`].
#[inline]
fn range(start: u16, length: u16) -> u64 {
    u64::from(start) | u64::from(length) << 16
}

impl Drop for Window {
    fn drop(&mut self) {
        lost(self.index());
    }
}

#[cold]
fn lost(index: u32) {
    LOST.fetch_add(1, Ordering::Relaxed);
    if cfg!(debug_assertions) && !std::thread::panicking() {
        panic!("packet memory chunk {index} was dropped outside its pool");
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

pub(crate) fn map_huge(name: &str, length: usize) -> io::Result<(OwnedFd, NonNull<u8>, Pages)> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB)?;
    let base = map(&fd, length)?;
    Ok((fd, base, Pages::Huge))
}

pub(crate) fn map_normal(name: &str, length: usize) -> io::Result<(OwnedFd, NonNull<u8>, Pages)> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC)?;
    let base = map(&fd, length)?;
    // SAFETY: the range is the mapping just made; advice does not change its content.
    // Without transparent huge pages for shared memory the answer is an error we can live with.
    let _ = unsafe { madvise(base.as_ptr().cast(), length, Advice::LinuxHugepage) };
    Ok((fd, base, Pages::Normal))
}

fn map(fd: &OwnedFd, length: usize) -> io::Result<NonNull<u8>> {
    ftruncate(fd, length as u64)?;
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let base = unsafe { mmap(std::ptr::null_mut(), length, protection, flags, fd, 0) }?;
    NonNull::new(base.cast()).ok_or_else(|| io::Error::other("the kernel mapped address zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_handed_out_once_and_is_writable() {
        let memory = Memory::new(8, 2048, "sys-test").unwrap();
        let mut chunks = memory.hand_out();
        assert_eq!(chunks.len(), 8);
        assert!(memory.hand_out().is_empty());
        for (number, chunk) in chunks.iter_mut().enumerate() {
            chunk.bytes_mut().fill(u8::try_from(number).unwrap());
        }
        for (number, chunk) in chunks.iter().enumerate() {
            assert_eq!(chunk.index() as usize, number);
            assert!(chunk.bytes().iter().all(|&byte| usize::from(byte) == number));
        }
        chunks.into_iter().for_each(|chunk| memory.take_home(chunk));
    }

    #[test]
    fn a_window_never_leaves_its_chunk() {
        for size in [2048u16, 4096] {
            let memory = Memory::new(3, size.into(), "sys-test").unwrap();
            for chunk in memory.hand_out() {
                let index = chunk.index();
                let mut window = Window::new(chunk, 256, u16::MAX);
                assert_eq!((window.index(), window.size()), (index, size.into()));
                assert_eq!((window.start(), window.length()), (256, size - 256));
                assert!(!window.set(1, size) && !window.set(u16::MAX, u16::MAX));
                assert!(window.set(100, 50));
                assert!(!window.shift(51, 0) && !window.shift(0, 101) && !window.shift(50, 151));
                assert!(!window.shift(u16::MAX, u16::MAX));
                assert!(window.shift(50, 150));
                assert_eq!((window.start(), window.bytes_mut().len()), (0, 150));
                assert!(window.set(size, 0));
                assert!(window.bytes().is_empty());
                let (chunk, start, length) = window.into_parts();
                assert_eq!((chunk.index(), chunk.size()), (index, u32::from(size)));
                assert_eq!((start, length), (size, 0));
                memory.take_home(chunk);
            }
        }
    }

    #[test]
    fn a_large_chunk_ends_where_lengths_end_and_has_a_note_that_no_window_touches() {
        let memory = Memory::new(3, LARGE_CHUNK, "sys-test").unwrap();
        let mut windows: Vec<Window> =
            memory.hand_out().into_iter().map(|chunk| Window::new(chunk, 256, 0)).collect();
        for (number, window) in windows.iter_mut().enumerate() {
            let number = u8::try_from(number).unwrap();
            assert!(window.is_large());
            *window.note_mut().unwrap() = [number; NOTE];
            assert!(!window.set(1, u16::MAX));
            assert!(window.set(128, u16::MAX - 128));
            assert!(window.shift(0, 128) && !window.shift(0, 1));
            assert_eq!((window.start(), window.bytes_mut().len()), (0, 65535));
            window.bytes_mut().fill(0xee);
        }
        for (number, window) in windows.into_iter().enumerate() {
            assert_eq!(window.index() as usize, number);
            assert_eq!(*window.note().unwrap(), [u8::try_from(number).unwrap(); NOTE]);
            memory.take_home(window.into_parts().0);
        }
        let memory = Memory::new(1, 2048, "sys-test").unwrap();
        for chunk in memory.hand_out() {
            let window = Window::new(chunk, 0, 0);
            assert!(!window.is_large() && window.note().is_none());
            memory.take_home(window.into_parts().0);
        }
    }

    #[test]
    fn a_chunk_size_the_kernel_refuses_is_refused_here() {
        assert!(Memory::new(8, 1024, "sys-test").is_err());
        assert!(Memory::new(0, 2048, "sys-test").is_err());
    }

    #[test]
    #[cfg(debug_assertions)]
    fn dropping_a_chunk_outside_its_pool_panics() {
        let memory = Memory::new(1, 2048, "sys-test").unwrap();
        let chunks = memory.hand_out();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(chunks)));
        assert!(outcome.is_err());
    }
}
