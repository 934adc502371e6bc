//! `nh`: next hops (reference cli.md section 3).

mod get;
mod list;
mod render;

use std::process::ExitCode;

use api::NhId;

use crate::options::{Given, Number, Opt, common_usage};
use crate::tool::{self, Failure, Session, Tool};

const USAGE: &str = concat!(
    "\
Usage: nh --list | --get ID
      --list            every next hop; of a composite the first 16 members
      --get ID          one next hop and, if it has members, each of them in turn
",
    common_usage!("  ")
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Id {
    List,
    Get,
    ProgrammingHelp,
}

const TOOL: Tool<Id> = Tool {
    name: "nh",
    usage: USAGE,
    options: &[
        Opt::flag(Id::List, "list", ""),
        Opt::valued(Id::Get, "get", ""),
        Opt::flag(Id::ProgrammingHelp, "cmd", ""),
    ],
    sock_dir: "",
    usage_status: 234,
    lost_status: 1,
    run,
};

/// The command `nh`.
pub fn nh() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let has = |wanted| given.iter().any(|(id, _)| *id == wanted);
    if has(Id::ProgrammingHelp) {
        return Err(Failure::Usage);
    }
    let id = given.iter().rev().find(|(id, _)| *id == Id::Get);
    match (has(Id::List), id) {
        (true, None) => list::run(session),
        (false, Some((_, id))) => get::run(NhId(Number::read(id).index()), session),
        _ => Err(Failure::Usage),
    }
}
