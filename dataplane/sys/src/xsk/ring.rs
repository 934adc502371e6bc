//! One ring shared with the kernel: single producer, single consumer, indices that wrap at 2^32.
//!
//! Whoever produces stores its index with release after writing slots; whoever consumes loads
//! that index with acquire before reading them, and the other way round for freeing slots. The
//! kernel's side pairs with these (`net/xdp/xsk_queue.h`).

use std::{
    io,
    os::fd::BorrowedFd,
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering, fence},
};

use rustix::{
    mm::{MapFlags, ProtFlags, mmap, munmap},
    net::xdp::{XdpRingFlags, XdpRingOffset},
};

/// What a ring's slots hold: plain numbers the kernel may write at will.
pub(super) trait Slot: Copy {}
impl Slot for u64 {}
impl Slot for rustix::net::xdp::XdpDesc {}

/// The mapping of a ring and our two indices into it.
#[derive(Debug)]
struct Ring<T> {
    base: NonNull<u8>,
    length: usize,
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: Option<NonNull<AtomicU32>>,
    slots: NonNull<T>,
    size: u32,
}

// SAFETY: the mapping belongs to this value alone on our side; the kernel's side is reached
// through atomics and through slots the protocol gives to one side at a time.
unsafe impl<T: Slot> Send for Ring<T> {}

impl<T: Slot> Ring<T> {
    fn map(fd: BorrowedFd<'_>, at: u64, offsets: &XdpRingOffset, size: u32) -> io::Result<Ring<T>> {
        let slots = usize_of(offsets.desc)?;
        let length = slots + size as usize * size_of::<T>();
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        let flags = flags | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { mmap(std::ptr::null_mut(), length, protection, flags, fd, at) }?;
        let base = NonNull::new(base.cast::<u8>())
            .ok_or_else(|| io::Error::other("the kernel mapped a ring at address zero"))?;
        Ok(Ring {
            base,
            length,
            producer: word(base, length, offsets.producer)?,
            consumer: word(base, length, offsets.consumer)?,
            flags: offsets.flags.map(|at| word(base, length, at)).transpose()?,
            // SAFETY: `length` was computed from this offset, so it lies inside the mapping.
            slots: unsafe { base.add(slots) }.cast(),
            size,
        })
    }

    #[inline]
    fn producer(&self) -> &AtomicU32 {
        // SAFETY: points to an aligned word of the mapping, which lives as long as `self`.
        unsafe { self.producer.as_ref() }
    }

    #[inline]
    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as for `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        let Some(flags) = self.flags else { return false };
        // SAFETY: as for `producer`.
        let flags = unsafe { flags.as_ref() };
        flags.load(Ordering::Relaxed) & XdpRingFlags::XDP_RING_NEED_WAKEUP.bits() != 0
    }

    /// The slot of an index. Masking keeps every index inside the ring.
    #[inline]
    fn slot(&self, index: u32) -> NonNull<T> {
        let position = (index & (self.size - 1)) as usize;
        // SAFETY: position < size, and the mapping has `size` slots.
        unsafe { self.slots.add(position) }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it after this value.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "munmap of our own ring: {unmapped:?}");
    }
}

/// A ring we write and the kernel reads: fill, tx.
#[derive(Debug)]
pub(super) struct Producer<T> {
    ring: Ring<T>,
    written: u32,
    freed: u32,
}

impl<T: Slot> Producer<T> {
    pub(super) fn map(
        fd: BorrowedFd<'_>,
        at: u64,
        offsets: &XdpRingOffset,
        size: u32,
    ) -> io::Result<Producer<T>> {
        Ok(Producer { ring: Ring::map(fd, at, offsets, size)?, written: 0, freed: 0 })
    }

    /// Writes the next slot; `false` if the kernel has not freed one.
    #[inline]
    pub(super) fn write(&mut self, value: T) -> bool {
        if self.written.wrapping_sub(self.freed) >= self.ring.size {
            self.freed = self.ring.consumer().load(Ordering::Acquire);
            if self.written.wrapping_sub(self.freed) >= self.ring.size {
                return false;
            }
        }
        let slot = self.ring.slot(self.written);
        // SAFETY: the slot is inside the mapping and free, so the kernel does not read it.
        unsafe { slot.write(value) };
        self.written = self.written.wrapping_add(1);
        true
    }

    /// Slots that can be written now.
    pub(super) fn room(&mut self) -> u32 {
        self.freed = self.ring.consumer().load(Ordering::Acquire);
        self.ring.size - self.written.wrapping_sub(self.freed)
    }

    /// Shows the kernel what was written.
    #[inline]
    pub(super) fn submit(&mut self) {
        self.ring.producer().store(self.written, Ordering::Release);
    }

    /// Slots submitted or written that the kernel has not read.
    #[inline]
    pub(super) fn unread(&self) -> u32 {
        self.written.wrapping_sub(self.ring.consumer().load(Ordering::Acquire))
    }

    /// Whether the kernel asks to be woken. Orders the submission before the question.
    pub(super) fn needs_wakeup(&self) -> bool {
        fence(Ordering::SeqCst);
        self.ring.needs_wakeup()
    }

    /// Bytes of the mapping.
    pub(super) fn bytes(&self) -> usize {
        self.ring.length
    }
}

/// A ring the kernel writes and we read: rx, completion.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    seen: u32,
    read: u32,
}

impl<T: Slot> Consumer<T> {
    pub(super) fn map(
        fd: BorrowedFd<'_>,
        at: u64,
        offsets: &XdpRingOffset,
        size: u32,
    ) -> io::Result<Consumer<T>> {
        Ok(Consumer { ring: Ring::map(fd, at, offsets, size)?, seen: 0, read: 0 })
    }

    /// The next slot the kernel has written.
    #[inline]
    pub(super) fn read(&mut self) -> Option<T> {
        if self.read == self.seen {
            self.seen = self.ring.producer().load(Ordering::Acquire);
            if self.read == self.seen {
                return None;
            }
        }
        let slot = self.ring.slot(self.read);
        // SAFETY: the slot is inside the mapping, written, and not freed: the kernel leaves it be.
        let value = unsafe { slot.read() };
        self.read = self.read.wrapping_add(1);
        Some(value)
    }

    /// Frees the slots read, for the kernel to write again.
    #[inline]
    pub(super) fn release(&mut self) {
        self.ring.consumer().store(self.read, Ordering::Release);
    }

    /// Bytes of the mapping.
    pub(super) fn bytes(&self) -> usize {
        self.ring.length
    }
}

fn word(base: NonNull<u8>, length: usize, at: u64) -> io::Result<NonNull<AtomicU32>> {
    let at = usize_of(at)?;
    if !at.is_multiple_of(align_of::<AtomicU32>()) || at + size_of::<AtomicU32>() > length {
        return Err(io::Error::other("the kernel named a ring index outside the ring"));
    }
    // SAFETY: the word lies inside the mapping of `length` bytes, as just checked.
    Ok(unsafe { base.add(at) }.cast())
}

fn usize_of(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}
