//! `vrmemstats`: objects in memory (reference cli.md section 13).

mod render;
mod show;

use std::process::ExitCode;

use crate::options::{Given, Opt};
use crate::tool::{self, Failure, Session, Tool};

/// There is nothing to choose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vrmemstats",
    about: "objects in memory",
    synopsis: &[""],
    options: &[] as &[Opt<Id>],
    sock_dir: "",
    usage_status: 234,
    lost_status: 1,
    run,
};

/// The command `vrmemstats`.
pub fn vrmemstats() -> ExitCode {
    tool::main(&TOOL)
}

fn run(_: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    show::run(session)
}
