//! `mpls`: incoming MPLS labels (reference cli.md section 5).

mod dump;
mod get;
mod render;

use std::process::ExitCode;

use crate::label_map::{Id, OPTIONS, Verb, verb};
use crate::options::{Given, common_usage};
use crate::tool::{self, Failure, Session, Tool};

const USAGE: &str = concat!(
    "\
Usage: mpls --dump | --get LABEL
  -b, --dump            every incoming label
      --get LABEL       one of them (also: -g -l LABEL)
",
    common_usage!("-s")
);

const TOOL: Tool<Id> = Tool {
    name: "mpls",
    usage: USAGE,
    options: OPTIONS,
    sock_dir: "s",
    usage_status: 1,
    lost_status: 1,
    run,
};

/// The command `mpls`.
pub fn mpls() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    match verb(given)? {
        Verb::Dump => dump::run(session),
        Verb::Get(number) => get::run(number, session),
    }
}
