//! Pinning threads to processors.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Pins the calling thread to one processor.
///
/// # Errors
/// `InvalidInput` for a processor the set cannot name; `EINVAL` if it is absent or not allowed.
pub fn pin(processor: usize) -> io::Result<()> {
    if processor >= CpuSet::MAX_CPU {
        let message = format!("processor {processor}: at most {} can be named", CpuSet::MAX_CPU);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}

/// The processors the calling thread may run on, ascending.
///
/// # Errors
/// What the kernel answers.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect())
}
