//! `vxlan`: incoming VXLAN network identifiers (reference cli.md section 6).

mod dump;
mod get;
mod render;

use std::process::ExitCode;

use crate::label_map::{Id, OPTIONS, Verb, verb};
use crate::options::{Given, common_usage};
use crate::tool::{self, Failure, Session, Tool};

const USAGE: &str = concat!(
    "\
Usage: vxlan --dump | --get VNID
  -b, --dump            every incoming VNI
      --get VNID        one of them (also: -g -l VNID)
",
    common_usage!("-s")
);

const TOOL: Tool<Id> = Tool {
    name: "vxlan",
    usage: USAGE,
    options: OPTIONS,
    sock_dir: "s",
    usage_status: 1,
    lost_status: 1,
    run,
};

/// The command `vxlan`.
pub fn vxlan() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    match verb(given)? {
        Verb::Dump => dump::run(session),
        Verb::Get(number) => get::run(number, session),
    }
}
