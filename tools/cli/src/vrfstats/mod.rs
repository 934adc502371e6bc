//! `vrfstats`: what packets of a VRF met (reference cli.md section 9).

mod dump;
mod get;
mod render;

use std::process::ExitCode;

use crate::options::{Given, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Get,
    Dump,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vrfstats",
    about: "packets of a VRF by the next hops they met",
    synopsis: &["--get VRF | --dump"],
    options: &[
        Opt::valued(Id::Get, "get", "", "VRF", "one VRF"),
        Opt::flag(Id::Dump, "dump", "", "every VRF that counted something"),
    ],
    sock_dir: "",
    usage_status: 234,
    lost_status: 1,
    run,
};

/// The command `vrfstats`.
pub fn vrfstats() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    match (given.number(Id::Get), given.has(Id::Dump)) {
        (Some(vrf), false) => get::run(vrf.index(), session),
        (None, true) => dump::run(session),
        _ => Err(Failure::Usage),
    }
}
