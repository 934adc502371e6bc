//! Waking a sleeping thread.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::event::{EventfdFlags, eventfd};

/// A bell: `ring` makes it readable, `quiet` makes it unreadable again.
#[derive(Clone, Debug)]
pub struct EventFd {
    fd: Arc<OwnedFd>,
}

impl EventFd {
    /// A bell that has not rung.
    ///
    /// # Errors
    /// What the kernel answers: no descriptors left.
    pub fn new() -> io::Result<EventFd> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(EventFd { fd: Arc::new(fd) })
    }

    /// Wakes whoever waits for it. Ringing twice is ringing once.
    pub fn ring(&self) {
        // The only failure is a counter at its limit, which is as readable as can be.
        let _ = rustix::io::write(&*self.fd, &1u64.to_ne_bytes());
    }

    /// Takes the ring back; whether it had rung.
    pub fn quiet(&self) -> bool {
        let mut count = [0; 8];
        rustix::io::read(&*self.fd, &mut count).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
