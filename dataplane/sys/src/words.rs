//! Words that threads share: a mapping of zeroes, read and written as atomics.
//!
//! [`Words::shared`] lies in a memfd, so that another process can map the same words; [`Words::private`] does not, and
//! gets huge pages more easily. Pages are populated when first touched, or all [at once](Words::populate).

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::AtomicU64;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::memory::{HUGE_PAGE, Pages, map_huge, map_normal};

/// A mapping of 64-bit words. See the module.
#[derive(Debug)]
pub struct Words {
    base: NonNull<AtomicU64>,
    count: usize,
    /// Of the mapping, in bytes.
    length: usize,
    fd: Option<OwnedFd>,
    pages: Pages,
}

// SAFETY: the words are reached through shared references to atomics alone.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// `count` words in a memfd, on reserved huge pages if there are any. `name` shows in `/proc/PID/maps`.
    ///
    /// # Errors
    /// What the system answers.
    pub fn shared(count: usize, name: &str) -> io::Result<Words> {
        let length = length(count)?;
        let (fd, base, pages) = map_huge(name, length).or_else(|_| map_normal(name, length))?;
        Ok(Words { base: base.cast(), count, length, fd: Some(fd), pages })
    }

    /// `count` words of this process alone, for which the kernel is asked to use huge pages.
    ///
    /// # Errors
    /// What the system answers.
    pub fn private(count: usize) -> io::Result<Words> {
        let length = length(count)?;
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), length, protection, flags) }?;
        let base: NonNull<AtomicU64> = NonNull::new(base.cast())
            .ok_or_else(|| io::Error::other("the kernel mapped address zero"))?;
        // SAFETY: the range is the mapping just made; advice does not change its content.
        // Without transparent huge pages the answer is an error we can live with.
        let _ = unsafe { madvise(base.as_ptr().cast(), length, Advice::LinuxHugepage) };
        Ok(Words { base, count, length, fd: None, pages: Pages::Normal })
    }

    /// Has the kernel provide all pages now, so that nobody waits for one later. One that cannot (before Linux 5.14) leaves
    /// them to their first touch.
    pub fn populate(&self) {
        // SAFETY: the range is this mapping; the advice does not change its content.
        let _ =
            unsafe { madvise(self.base.as_ptr().cast(), self.length, Advice::LinuxPopulateWrite) };
    }

    /// Which pages it got.
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// The memfd of shared words, so that another process can map them.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }
}

fn length(count: usize) -> io::Result<usize> {
    let bytes = count.max(1).checked_mul(size_of::<AtomicU64>());
    bytes
        .and_then(|bytes| bytes.checked_next_multiple_of(HUGE_PAGE))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "too many words"))
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `base` starts `count` mapped and aligned words, zero at first, which live as long as `self`; every bit
        // pattern is a valid word.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.count) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: references to the words borrow `self`, so none is left.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "munmap of our own mapping: {unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn words_are_zero_aligned_and_keep_what_is_written() {
        for words in [Words::shared(1000, "sys-test").unwrap(), Words::private(1000).unwrap()] {
            assert_eq!(words.len(), 1000);
            assert_eq!(words.as_ptr() as usize % 64, 0);
            assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
            (0u64..).zip(words.iter()).for_each(|(n, word)| word.store(n, Ordering::Relaxed));
            assert_eq!(words[999].load(Ordering::Relaxed), 999);
        }
    }

    #[test]
    fn more_words_than_there_are_addresses_are_refused() {
        assert!(Words::private(usize::MAX).is_err());
    }
}
