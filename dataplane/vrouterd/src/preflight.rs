//! What must be so before anything is made: each failure is one line that an operator can act on.

use anyhow::{Context, Result, bail};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use sys::xdp::{Heartbeat, Program, Role};

/// Checks capabilities and kernel features; gives the heartbeat map all steering programs read.
///
/// # Errors
/// The first thing missing.
pub(crate) fn check() -> Result<Heartbeat> {
    sys::caps::check()?;
    if let Err(error) = sys::caps::raise_memlock() {
        tracing::debug!("locked memory stays limited: {error}");
    }
    check_af_xdp()?;
    check_programs()
}

/// That a device exists in this network namespace.
///
/// # Errors
/// It does not.
pub(crate) fn check_device(name: &str) -> Result<()> {
    match sys::device::index(name) {
        Ok(_) => Ok(()),
        Err(_) => bail!("--uplink: there is no device {name}"),
    }
}

fn check_af_xdp() -> Result<()> {
    match socket_with(AddressFamily::XDP, SocketType::RAW, SocketFlags::CLOEXEC, None) {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::AFNOSUPPORT) => {
            bail!("this kernel ({}) has no AF_XDP sockets (CONFIG_XDP_SOCKETS)", release())
        }
        Err(error) => Err(error).context("cannot open an AF_XDP socket"),
    }
}

/// Loads both programs once and lets go of them: a kernel that refuses them is found out now, not at the first port.
fn check_programs() -> Result<Heartbeat> {
    let refused = || format!("this kernel ({}) refuses the steering programs", release());
    let heartbeat = Heartbeat::new().with_context(refused)?;
    for role in [Role::Uplink, Role::Workload] {
        Program::load(role, &heartbeat).with_context(refused)?;
    }
    Ok(heartbeat)
}

/// The kernel's release, as `uname -r` says.
pub(crate) fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
