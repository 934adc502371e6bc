//! `vrinfo`: what the dataplane is (reference cli.md section 15).

use std::process::ExitCode;

use api::Description;

use crate::engine_text::show;
use crate::options::{Given, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Version,
    BufferSize,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vrinfo",
    about: "what the dataplane is",
    synopsis: &["--version"],
    options: &[
        Opt::flag(Id::Version, "version", "v", "its version"),
        Opt::valued(Id::BufferSize, "buffsz", "", "N", "taken and ignored: answers have any size"),
    ],
    sock_dir: "s",
    usage_status: 234,
    lost_status: 255,
    run,
};

/// The command `vrinfo`.
pub fn vrinfo() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    if given.has(Id::Version) { show(Description::Version, session) } else { Err(Failure::Usage) }
}
