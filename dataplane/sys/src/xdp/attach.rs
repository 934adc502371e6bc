//! Putting a steering program on a device, over netlink.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use libbpf_rs::{Program as LoadedProgram, libbpf_sys};

use super::{Program, Role, said::listening};

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver.
    Native,
    /// On socket buffers, after the driver.
    Generic,
}

impl AttachMode {
    fn flag(self) -> u32 {
        match self {
            AttachMode::Native => libbpf_sys::XDP_FLAGS_DRV_MODE,
            AttachMode::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
        }
    }
}

/// A program cannot be put on a device.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The device carries a program of somebody else. The user has to remove it.
    #[error("carries the XDP program \"{name}\" (id {id}), which is not ours")]
    Foreign {
        /// Name of that program.
        name: String,
        /// Its id in the kernel.
        id: u32,
    },
    /// The driver cannot run the program.
    #[error("the kernel refuses the XDP program: {source} ({said})")]
    Refused {
        /// What the kernel answered.
        source: io::Error,
        /// What it said about that.
        said: String,
    },
    /// The state of the device cannot be read.
    #[error("cannot read which XDP program is attached: {0}")]
    Unreadable(io::Error),
}

/// The program a device carries in one mode.
struct Present {
    fd: OwnedFd,
    id: u32,
    mode: AttachMode,
}

/// Puts `program` on a device; one of ours that is there is replaced in the same step.
///
/// # Errors
/// [`AttachError::Foreign`] when the device carries somebody else's program;
/// [`AttachError::Refused`] when the kernel or the driver does not want it.
pub fn attach(program: &Program, ifindex: u32, mode: AttachMode) -> Result<(), AttachError> {
    let ifindex = index(ifindex)?;
    let present = present(ifindex)?;
    let new = program.as_fd().as_raw_fd();
    if let Some(old) = &present {
        refuse_foreign(old)?;
    }
    let (outcome, said) = listening(|| match present {
        None => set(ifindex, new, mode.flag() | libbpf_sys::XDP_FLAGS_UPDATE_IF_NOEXIST, None),
        Some(old) if old.mode == mode => set(ifindex, new, mode.flag(), Some(&old.fd)),
        // The two modes exclude each other, so here there is a moment without a program.
        Some(old) => set(ifindex, -1, old.mode.flag(), Some(&old.fd))
            .and_then(|()| set(ifindex, new, mode.flag(), None)),
    });
    outcome.map_err(|source| AttachError::Refused { source, said })
}

/// What [`keep`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The program was in its place.
    There,
    /// It had been taken off, and is back.
    Restored,
}

/// Puts `program` back on a device that somebody took it off.
///
/// # Errors
/// As [`attach`].
pub fn keep(program: &Program, ifindex: u32, mode: AttachMode) -> Result<Kept, AttachError> {
    match present(index(ifindex)?)? {
        Some(there) => refuse_foreign(&there).map(|()| Kept::There),
        None => attach(program, ifindex, mode).map(|()| Kept::Restored),
    }
}

/// Takes our program off a device; a device without one is left as it is.
///
/// # Errors
/// As [`attach`].
pub fn detach(ifindex: u32) -> Result<(), AttachError> {
    let ifindex = index(ifindex)?;
    let Some(old) = present(ifindex)? else { return Ok(()) };
    refuse_foreign(&old)?;
    let (outcome, said) = listening(|| set(ifindex, -1, old.mode.flag(), Some(&old.fd)));
    outcome.map_err(|source| AttachError::Refused { source, said })
}

fn index(ifindex: u32) -> Result<i32, AttachError> {
    i32::try_from(ifindex).map_err(|e| AttachError::Unreadable(io::Error::other(e)))
}

fn refuse_foreign(present: &Present) -> Result<(), AttachError> {
    let name = program_name(&present.fd).map_err(AttachError::Unreadable)?;
    let ours = [Role::Uplink, Role::Workload].map(Role::program_name);
    if ours.contains(&name.as_str()) {
        return Ok(());
    }
    Err(AttachError::Foreign { name, id: present.id })
}

/// `NETDEV_XDP_ACT_*`: any driver that runs programs; one that does zero-copy.
const ACT_BASIC: u64 = 1;
const ACT_ZERO_COPY: u64 = 1 << 3;

/// Whether the driver of a device says it can do zero-copy; `None` where the kernel (before 6.3)
/// does not tell.
///
/// # Errors
/// [`AttachError::Unreadable`] if the device cannot be asked.
pub fn zero_copy(ifindex: u32) -> Result<Option<bool>, AttachError> {
    let features = query(index(ifindex)?)?.feature_flags;
    Ok((features & ACT_BASIC != 0).then_some(features & ACT_ZERO_COPY != 0))
}

fn query(ifindex: i32) -> Result<libbpf_sys::bpf_xdp_query_opts, AttachError> {
    let mut found = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    // SAFETY: `found` says its own size and is written within it.
    let answer = unsafe { libbpf_sys::bpf_xdp_query(ifindex, 0, &raw mut found) };
    check(answer).map_err(AttachError::Unreadable)?;
    Ok(found)
}

fn present(ifindex: i32) -> Result<Option<Present>, AttachError> {
    let found = query(ifindex)?;
    let (id, mode) = if found.skb_prog_id != 0 {
        (found.skb_prog_id, AttachMode::Generic)
    } else if found.drv_prog_id != 0 {
        (found.drv_prog_id, AttachMode::Native)
    } else {
        return Ok(None);
    };
    match LoadedProgram::fd_from_id(id) {
        Ok(fd) => Ok(Some(Present { fd, id, mode })),
        Err(error) => Err(AttachError::Unreadable(io::Error::other(error.to_string()))),
    }
}

/// Sets (or with -1 removes) the program, on condition that `old` is there or none is.
fn set(ifindex: i32, new: i32, flags: u32, old: Option<&OwnedFd>) -> io::Result<()> {
    let replace = if old.is_some() { libbpf_sys::XDP_FLAGS_REPLACE } else { 0 };
    let options = libbpf_sys::bpf_xdp_attach_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_attach_opts>() as libbpf_sys::size_t,
        old_prog_fd: old.map_or(0, |fd| fd.as_raw_fd()),
        ..Default::default()
    };
    // SAFETY: the descriptors are open, and `options` says its own size.
    let answer =
        unsafe { libbpf_sys::bpf_xdp_attach(ifindex, new, flags | replace, &raw const options) };
    check(answer)
}

fn program_name(fd: &OwnedFd) -> io::Result<String> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    let fd = fd.as_raw_fd();
    // SAFETY: `info` is writable for `length` bytes and asks for no further buffers.
    let answer = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd, &raw mut info, &raw mut length) };
    check(answer)?;
    let name = info.name.map(libc::c_char::cast_unsigned);
    let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
    Ok(name.to_string_lossy().into_owned())
}

fn check(answer: i32) -> io::Result<()> {
    if answer < 0 { Err(io::Error::from_raw_os_error(-answer)) } else { Ok(()) }
}
