//! `dropstats`: why packets were dropped (reference cli.md section 8).

mod clear;
pub(crate) mod render;
mod show;

use std::process::ExitCode;

use api::Core;

use crate::options::{Given, Number, Opt, Quality, common_usage};
use crate::tool::{self, Failure, Session, Tool};

const USAGE: &str = concat!(
    "\
Usage: dropstats [--core N | --debug | --clear]
                        without options: the sum over all cores
  -c, --core N          one core, counted from 0
      --debug           only originals of cloned packets
      --clear           set the counters to zero
",
    common_usage!("-s")
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Id {
    Core,
    Debug,
    Clear,
    Offload,
}

const TOOL: Tool<Id> = Tool {
    name: "dropstats",
    usage: USAGE,
    options: &[
        Opt::valued(Id::Core, "core", "c"),
        Opt::flag(Id::Debug, "debug", ""),
        Opt::flag(Id::Clear, "clear", ""),
        Opt::flag(Id::Offload, "offload", ""),
    ],
    sock_dir: "s",
    usage_status: 234,
    lost_status: 255,
    run,
};

/// The command `dropstats`.
pub fn dropstats() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let has = |wanted| given.iter().any(|(id, _)| *id == wanted);
    if has(Id::Offload) {
        return Err(Failure::Explained("Error: hardware offloads not enabled".to_owned()));
    }
    let core = given.iter().rev().find(|(id, _)| *id == Id::Core);
    let core = core.map(|(_, text)| read_core(text)).transpose()?;
    if has(Id::Clear) {
        clear::run(session)
    } else if has(Id::Debug) {
        show::debug(session)
    } else {
        show::run(core, session)
    }
}

fn read_core(text: &str) -> Result<Core, Failure> {
    let number = Number::read(text);
    let core = u32::try_from(number.value).ok().filter(|_| number.quality == Quality::Clean);
    core.map(Core).ok_or_else(|| Failure::Explained(format!("Invalid argument {text}")))
}
