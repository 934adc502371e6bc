//! UNIX datagram sockets at a path, sending to another path. Neither sending nor receiving waits.

use std::fs::Permissions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv,
    sendto, socket_with,
};

/// A bound socket. Dropping it removes its path, unless that is another socket's by now.
#[derive(Debug)]
pub struct Datagram {
    fd: OwnedFd,
    path: PathBuf,
    /// Device and inode of the path.
    identity: (u64, u64),
    to: SocketAddrUnix,
}

/// What became of a datagram to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the receiver's queue.
    Queued,
    /// The receiver's queue is full now.
    Full,
    /// Nobody receives there.
    Absent,
}

impl Datagram {
    /// Binds `path`, replacing what is there, readable and writable by owner and group; `to` is where it is going to send.
    /// It is bound under another name and moved into place, so that nobody meets a half-made one.
    ///
    /// # Errors
    /// What the kernel answers: a directory that is not there, a path of more than 107 bytes.
    pub fn bind(path: &Path, to: &Path) -> io::Result<Datagram> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        let to = SocketAddrUnix::new(to)?;
        let fresh = path.with_extension("fresh");
        remove(&fresh)?;
        bind(&fd, &SocketAddrUnix::new(&fresh)?)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o660))?;
        let identity = identity(&fresh)?;
        std::fs::rename(&fresh, path)?;
        Ok(Datagram { fd, path: path.to_owned(), identity, to })
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// What the kernel answers beside [`Sent`]: the datagram is larger than the socket's buffer, or access is denied.
    pub fn send(&self, bytes: &[u8]) -> io::Result<Sent> {
        match sendto(&self.fd, bytes, SendFlags::NOSIGNAL, &self.to) {
            Ok(_) => Ok(Sent::Queued),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => Ok(Sent::Full),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(Sent::Absent),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives one datagram into the start of `buffer`; `None` when there is none. The length is that of the datagram:
    /// more than the buffer has if it did not fit and is lost.
    ///
    /// # Errors
    /// What the kernel answers.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(&self.fd, buffer, RecvFlags::TRUNC) {
            Ok((_, length)) => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Datagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Whoever comes next replaces what stays.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
