//! Network namespaces: running a closure inside a named one.

use std::{io, path::Path, thread};

use rustix::{
    fs::{Mode, OFlags, open},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// Runs `work` in the namespace `name` (of `ip netns`), in a thread of its own.
///
/// Sockets and devices opened there stay in that namespace wherever they are used afterwards.
///
/// # Errors
/// `NotFound` if there is no such namespace; what the kernel answers to entering it.
pub fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    within_path(&Path::new("/run/netns").join(name), work)
}

/// Runs `work` in the namespace whose file is at `path`, in a thread of its own.
///
/// # Errors
/// As [`within`].
pub fn within_path<T: Send>(path: &Path, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let namespace = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind)?;
            Ok(work())
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
