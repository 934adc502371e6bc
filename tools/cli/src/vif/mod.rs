//! `vif`: interfaces (reference cli.md section 2).

mod clear;
mod flags;
mod get;
mod list;
mod port;
mod rate;
mod render;
mod terminal;

use std::process::ExitCode;

use api::Core;

use crate::options::{Given, Number, Opt, Quality, common_usage, is_digits};
use crate::tool::{self, Failure, Session, Tool, system_text};

const USAGE: &str = concat!(
    "\
Usage: vif --list [--core N] [--rate]
       vif --get INDEX [--kernel] [--core N] [--rate] [--get-drop-stats] [--port]
       vif --clear [--id INDEX] [--core N]
  -l, -b, --list        all interfaces
  -g, --get INDEX       one interface
  -C, --core N          counters of one core, counted from 0
      --rate            counters per second, until q or a signal
      --get-drop-stats  behind it why its packets were dropped
  -k, --kernel          INDEX is the kernel's (as in ip link)
      --port            three more lines: what its port got from the kernel (XDP mode, copies, queues,
                        memory) and the statistics of its AF_XDP sockets
      --clear           set counters to zero
      --id INDEX        only of this interface
",
    common_usage!("-s")
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Id {
    List,
    Get,
    Core,
    Rate,
    GetDropStats,
    Kernel,
    Port,
    Clear,
    Index,
}

const TOOL: Tool<Id> = Tool {
    name: "vif",
    usage: USAGE,
    options: &[
        Opt::flag(Id::List, "list", "lb"),
        Opt::valued(Id::Get, "get", "g"),
        Opt::valued(Id::Core, "core", "C"),
        Opt::flag(Id::Rate, "rate", ""),
        Opt::flag(Id::GetDropStats, "get-drop-stats", ""),
        Opt::flag(Id::Kernel, "kernel", "k"),
        Opt::flag(Id::Port, "port", "").extension(),
        Opt::flag(Id::Clear, "clear", ""),
        Opt::valued(Id::Index, "id", "i"),
    ],
    sock_dir: "s",
    usage_status: 0,
    lost_status: 244,
    run,
};

/// The command `vif`.
pub fn vif() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let has = |wanted| given.iter().any(|(id, _)| *id == wanted);
    let only = |allowed: &[Id]| given.iter().all(|(id, _)| allowed.contains(id));
    let last =
        |wanted| given.iter().rev().find(|(id, _)| *id == wanted).map(|(_, value)| value.as_str());
    let index = last(Id::Get).map(|text| index(text, "vif --get")).transpose()?;
    let id = last(Id::Index).map(|text| self::index(text, "vif add --id")).transpose()?;
    let core = last(Id::Core).map(read_core).transpose()?;

    if has(Id::List) && only(&[Id::List, Id::Core, Id::Rate]) {
        if has(Id::Rate) { rate::list(core, session) } else { list::run(core, session) }
    } else if let (Some(index), false) = (index, has(Id::List) || has(Id::Clear) || has(Id::Index))
    {
        let lookup = if has(Id::Kernel) {
            api::Lookup::VifByOsIndex { os_index: index.index(), core }
        } else {
            api::Lookup::Vif { id: api::VifId(index.index()), core }
        };
        if has(Id::Rate) {
            return rate::get(lookup, core, session);
        }
        let extra = get::Extra { drops: has(Id::GetDropStats), port: has(Id::Port) };
        get::run(lookup, core, extra, session)
    } else if has(Id::Clear) && only(&[Id::Clear, Id::Core, Id::Index]) {
        clear::run(id.map(|id| api::VifId(id.index())), core, session)
    } else {
        Err(Failure::Usage)
    }
}

/// An index: digits only. The complaint is not an error to the shell.
fn index(text: &str, what: &str) -> Result<Number, Failure> {
    if is_digits(text) {
        Ok(Number::read(text))
    } else {
        Err(Failure::Ended(format!("Invalid arguments for {what} "), 0))
    }
}

fn read_core(text: &str) -> Result<Core, Failure> {
    const ERANGE: i32 = 34;
    let number = Number::read(text);
    match u32::try_from(number.value) {
        Ok(core) if number.quality != Quality::OutOfRange => Ok(Core(core)),
        _ => Err(Failure::Explained(format!("Error parsing core {text}: {}", system_text(ERANGE)))),
    }
}
