//! Waiting for any of many descriptors to become readable.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};

/// A set of descriptors to wait for, each with a number of the caller's.
pub struct Epoll {
    fd: OwnedFd,
    ready: Vec<epoll::Event>,
}

impl Epoll {
    /// An empty set that reports up to 64 descriptors at once.
    ///
    /// # Errors
    /// What the kernel answers: no descriptors left.
    pub fn new() -> io::Result<Epoll> {
        let fd = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Epoll { fd, ready: Vec::with_capacity(64) })
    }

    /// Adds a descriptor; `token` comes back when it is readable.
    ///
    /// # Errors
    /// What the kernel answers: it is there already, or cannot be waited for.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.fd, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?)
    }

    /// Takes a descriptor out.
    ///
    /// # Errors
    /// What the kernel answers: it is not there.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.fd, fd)?)
    }

    /// Waits until a descriptor is readable or `timeout` is over; the tokens of those that are.
    ///
    /// # Errors
    /// What the kernel answers; an interruption by a signal is none, but nothing is readable.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<impl Iterator<Item = u64> + '_> {
        self.ready.clear();
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        match epoll::wait(&self.fd, spare_capacity(&mut self.ready), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.ready.iter().map(|event| event.data.u64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventfd::EventFd;

    #[test]
    fn a_rung_bell_is_reported_by_its_token_until_it_is_quieted() {
        let mut epoll = Epoll::new().unwrap();
        let (bell, other) = (EventFd::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&bell, 7).unwrap();
        epoll.add(&other, 8).unwrap();
        assert_eq!(epoll.wait(Duration::ZERO).unwrap().count(), 0);
        bell.ring();
        bell.ring();
        assert_eq!(epoll.wait(Duration::from_secs(5)).unwrap().collect::<Vec<_>>(), [7]);
        assert!(bell.quiet());
        assert!(!bell.quiet());
        assert_eq!(epoll.wait(Duration::ZERO).unwrap().count(), 0);
        epoll.remove(&other).unwrap();
        other.ring();
        assert_eq!(epoll.wait(Duration::ZERO).unwrap().count(), 0);
    }
}
