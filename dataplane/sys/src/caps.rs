//! What this process is allowed to do.

use std::io;

use caps::{CapSet, Capability};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the dataplane needs, and for what.
const NEEDED: [(Capability, &str); 4] = [
    (Capability::CAP_NET_ADMIN, "CAP_NET_ADMIN"),
    (Capability::CAP_NET_RAW, "CAP_NET_RAW"),
    (Capability::CAP_BPF, "CAP_BPF"),
    (Capability::CAP_IPC_LOCK, "CAP_IPC_LOCK"),
];

/// What the control agent needs, and for what: devices and addresses, and the namespaces of workloads.
const AGENT: [(Capability, &str); 2] =
    [(Capability::CAP_NET_ADMIN, "CAP_NET_ADMIN"), (Capability::CAP_SYS_ADMIN, "CAP_SYS_ADMIN")];

/// Capabilities are missing. The user has to grant them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("missing {}: run as root or grant them to the executable", .missing.join(", "))]
pub struct Missing {
    /// Their names.
    pub missing: Vec<&'static str>,
}

/// Checks for all capabilities that AF_XDP ports and their programs need.
///
/// # Errors
/// [`Missing`], naming every one that is not effective.
pub fn check() -> Result<(), Missing> {
    // Someone with CAP_SYS_ADMIN may do what CAP_BPF allows.
    let admin = effective(Capability::CAP_SYS_ADMIN);
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|&(capability, _)| !effective(capability))
        .filter(|&(capability, _)| !(admin && capability == Capability::CAP_BPF))
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing { missing }) }
}

/// Checks for all capabilities that attaching workloads needs.
///
/// # Errors
/// [`Missing`], naming every one that is not effective.
pub fn check_agent() -> Result<(), Missing> {
    let missing: Vec<_> = AGENT
        .into_iter()
        .filter(|&(capability, _)| !effective(capability))
        .map(|(_, name)| name)
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing { missing }) }
}

fn effective(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// Raises the limit of locked memory as far as it goes.
///
/// CAP_IPC_LOCK exempts packet memory from the limit; kernels before 5.11 also count eBPF maps.
///
/// # Errors
/// What the kernel answers: the hard limit cannot be exceeded.
pub fn raise_memlock() -> io::Result<()> {
    let unlimited = Rlimit { current: None, maximum: None };
    if setrlimit(Resource::Memlock, unlimited).is_ok() {
        return Ok(());
    }
    let hard = getrlimit(Resource::Memlock).maximum;
    Ok(setrlimit(Resource::Memlock, Rlimit { current: hard, maximum: hard })?)
}
