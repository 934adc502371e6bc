//! `dpdkconf`: sets what only DPDK has, so here it answers with its usage (reference cli.md section 15).

use std::process::ExitCode;

use crate::options::{Given, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Ddp,
    Log,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "dpdkconf",
    about: "settings of DPDK, which this dataplane does not use",
    synopsis: &["--help    (there is no DPDK here; log levels: vrouter --set-log-level)"],
    options: &[
        Opt::valued(Id::Ddp, "ddp", "", "VERB", "not here: packages of a NIC's parser"),
        Opt::valued(Id::Log, "log", "", "VERB", "not here: log levels of DPDK"),
    ],
    sock_dir: "s",
    usage_status: 0,
    lost_status: 244,
    run,
};

/// The command `dpdkconf`.
pub fn dpdkconf() -> ExitCode {
    tool::main(&TOOL)
}

fn run(_: &Given<Id>, _: &mut Session<'_>) -> Result<(), Failure> {
    Err(Failure::Usage)
}
