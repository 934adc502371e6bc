//! `qosmap --get-queue` and `--set-queue`: queues of a NIC, which this dataplane leaves alone.

use std::path::Path;

use super::Id;
use crate::options::{Given, Layout};
use crate::tool::{Failure, Session};

const EINVAL: u8 = 22;

pub(super) fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let name = given.last(Id::GetQueue).or(given.last(Id::SetQueue)).unwrap_or_default();
    let exists = !name.contains('/') && Path::new("/sys/class/net").join(name).exists();
    if session.common.layout == Layout::Kernel && (name.is_empty() || !exists) {
        let line = format!("{name}: No such interface exist in the system");
        return Err(Failure::Ended(line, EINVAL));
    }
    let line = "Queue options are valid only for kernel based vRouter";
    Err(Failure::Ended(line.to_owned(), EINVAL))
}
