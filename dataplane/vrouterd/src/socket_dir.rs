//! The socket directory: one `vrouterd` owns it, and a socket that a killed one left behind is replaced.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};

/// Name of the control socket inside the directory.
const SOCKET: &str = "vrouterd.sock";
/// Name of the file whose lock says that the directory is owned.
const LOCK: &str = "vrouterd.lock";

/// Ownership of a socket directory. The kernel drops the lock with the process, however it ends; dropping this value
/// also removes the socket.
#[derive(Debug)]
pub(crate) struct SocketDir {
    socket: PathBuf,
    _lock: File,
}

impl SocketDir {
    /// Makes the directory if needed and takes it.
    ///
    /// # Errors
    /// Another `vrouterd` has it, or the file system refuses.
    pub(crate) fn claim(directory: &Path) -> Result<SocketDir> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory)
            .with_context(|| format!("cannot make the socket directory {}", directory.display()))?;
        let path = directory.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o640)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(SocketDir { socket: directory.join(SOCKET), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                bail!(
                    "another vrouterd already runs on the socket directory {}",
                    directory.display()
                )
            }
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Binds the control socket, readable and writable by owner and group.
    ///
    /// It is bound under another name and moved into place, so that nobody meets a half-made one.
    ///
    /// # Errors
    /// The file system refuses, or the path is longer than a socket address holds.
    pub(crate) fn listen(&self) -> Result<UnixListener> {
        let fresh = self.socket.with_extension("fresh");
        remove(&fresh)?;
        let describe = || format!("cannot make the control socket {}", self.socket.display());
        let listener = UnixListener::bind(&fresh).with_context(describe)?;
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o660)).with_context(describe)?;
        std::fs::rename(&fresh, &self.socket).with_context(describe)?;
        listener.set_nonblocking(true).with_context(describe)?;
        Ok(listener)
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.socket) {
            tracing::warn!("{error:#}");
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
