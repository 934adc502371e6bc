//! `dropstats`: why packets were dropped, and which (reference cli.md section 8).

mod clear;
mod log;
mod log_settings;
mod log_text;
mod pcap;
pub(crate) mod render;
mod show;

use std::process::ExitCode;

use api::{Core, DropReason};

use crate::options::{Given, Number, Offer, Opt, Quality};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Core,
    Debug,
    Clear,
    Offload,
    Log,
    Show,
    Pcap,
    DropType,
    MinimumLog,
    ClearLog,
    Help,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "dropstats",
    about: "why packets were dropped, and which",
    synopsis: &[
        "[--core N | --debug | --offload | --clear]",
        "--log N [--show REASON] [--pcap FILE]",
        "--drop-type REASON|help | --min-log 0|1 | --clear-drop-log",
    ],
    options: &[
        Opt::valued(
            Id::Core,
            "core",
            "c",
            "N",
            "one core, counted from 0; without it the sum of all",
        ),
        Opt::flag(Id::Debug, "debug", "", "only originals of cloned packets"),
        Opt::flag(Id::Offload, "offload", "", "what the NIC dropped"),
        Opt::valued(Id::Offload, "", "o", "X", ""),
        Opt::flag(Id::Clear, "clear", "", "set the counters to zero"),
        Opt::valued(
            Id::Log,
            "log",
            "l",
            "N",
            "the last dropped packets of core N, counted from 1; 0 is all cores",
        ),
        Opt::valued(
            Id::Show,
            "show",
            "",
            "REASON",
            "only those dropped for this reason, as VP_DROP_DISCARD",
        ),
        Opt::valued(
            Id::Pcap,
            "pcap",
            "",
            "FILE",
            "write them to this file as pcapng, - is standard output",
        )
        .offering(Offer::File)
        .extension(),
        Opt::valued(
            Id::DropType,
            "drop-type",
            "",
            "REASON",
            "log this reason only; VP_DROP_MAX is all, help lists them",
        ),
        Opt::valued(Id::MinimumLog, "min-log", "m", "0|1", "log without the packets' bytes")
            .offering(Offer::Words(&["0", "1"])),
        Opt::flag(Id::ClearLog, "clear-drop-log", "", "empty the log"),
        Opt::valued(Id::Help, "", "h", "X", ""),
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
    if given.has(Id::Help) {
        return Err(Failure::Usage);
    }
    if given.has(Id::Offload) {
        return Err(Failure::Explained("Error: hardware offloads not enabled".to_owned()));
    }
    let core = given.last(Id::Core).map(|text| number(text).map(Core)).transpose()?;
    let log = given.last(Id::Log).map(number).transpose()?;
    let minimum = given.last(Id::MinimumLog).map(number).transpose()?;
    if log.is_none() && (given.has(Id::Show) || given.has(Id::Pcap)) {
        return Err(Failure::Usage);
    }
    if let Some(name) = given.last(Id::DropType) {
        log_settings::set_reason(name, session)
    } else if let Some(minimum) = minimum {
        log_settings::set_minimum(minimum, session)
    } else if given.has(Id::ClearLog) {
        log_settings::clear(session)
    } else if let Some(core) = log {
        let reason =
            given.last(Id::Show).map(|name| reason(name).ok_or_else(no_reason)).transpose()?;
        log::run(log::Wanted { core, reason }, given.last(Id::Pcap), session)
    } else if given.has(Id::Clear) {
        clear::run(session)
    } else if given.has(Id::Debug) {
        show::debug(session)
    } else {
        show::run(core, session)
    }
}

fn number(text: &str) -> Result<u32, Failure> {
    let number = Number::read(text);
    let value = u32::try_from(number.value).ok().filter(|_| number.quality == Quality::Clean);
    value.ok_or_else(|| Failure::Explained(format!("Invalid argument {text}")))
}

/// A reason by its name.
fn reason(name: &str) -> Option<DropReason> {
    DropReason::ALL.iter().copied().find(|reason| reason.name() == name)
}

/// What the names are, when one is wrong.
fn no_reason() -> Failure {
    const EINVAL: u8 = 234;
    let names: Vec<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
    Failure::Ended(format!("Invalid log type help\n{}\nVP_DROP_MAX", names.join("\n")), EINVAL)
}
