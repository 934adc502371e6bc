//! `vrouter`: limits and settings of the dataplane (reference cli.md section 12); `vrouter explain` and `vrouter trace`:
//! what becomes of packets, and why.

mod explain;
mod info;
mod knobs;
mod logging;
mod packet;
mod render;
mod set;
mod trace;
mod ways;

use std::ffi::OsString;
use std::process::ExitCode;

use crate::description::Description;
use crate::options::{Given, Layout, Offer, Opt};
use crate::tool::{self, Failure, Session, Tool};
use knobs::{Knob, Platform};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Info,
    Set(Knob),
    GetLogLevel,
    GetLogTypes,
    SetLogLevel,
    EnableLogType,
    DisableLogType,
}

const LEVELS: Offer = Offer::Words(&api::VrouterValue::LOG_LEVELS);
const TYPES: Offer = Offer::Words(&api::VrouterValue::LOG_TYPES);

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vrouter",
    about: "limits and settings",
    synopsis: &[
        "--info",
        "--SETTING VALUE",
        "--get-log-level | --get-enabled-log-types | --set-log-level LEVEL | --enable-log-type TYPE | \
         --disable-log-type TYPE    (--layout dpdk)",
        "explain | trace    (see --help of each)",
    ],
    options: &[
        Opt::flag(Id::Info, "info", "", "limits, settings and what is in use"),
        Knob::FromVmMss.option(),
        Knob::ToVmMss.option(),
        Knob::FlowHoldLimit.option(),
        Knob::MplsOverUdp.option(),
        Knob::BurstTokens.option(),
        Knob::BurstInterval.option(),
        Knob::BurstStep.option(),
        Knob::PriorityTagging.option(),
        Knob::PacketDump.option(),
        Knob::Gro.option(),
        Knob::Segmentation.option(),
        Knob::Pull.option(),
        Knob::Spread1.option(),
        Knob::Spread2.option(),
        Knob::Spread3.option(),
        Knob::UdpChecksum.option(),
        Knob::Core1.option(),
        Knob::Core2.option(),
        Knob::Core3.option(),
        Opt::flag(Id::GetLogLevel, "get-log-level", "", "what is logged"),
        Opt::flag(Id::GetLogTypes, "get-enabled-log-types", "", "what is logged in detail"),
        Opt::valued(Id::SetLogLevel, "set-log-level", "", "LEVEL", "log this and what is worse")
            .offering(LEVELS),
        Opt::valued(Id::EnableLogType, "enable-log-type", "", "TYPE", "log this in detail")
            .offering(TYPES),
        Opt::valued(
            Id::DisableLogType,
            "disable-log-type",
            "",
            "TYPE",
            "no longer log it in detail",
        )
        .offering(TYPES),
    ],
    sock_dir: "",
    usage_status: 1,
    lost_status: 1,
    run,
};

/// The command `vrouter`.
pub fn vrouter() -> ExitCode {
    let mut arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match take_verb(&mut arguments) {
        Some(Verb::Explain) => tool::main_with(&explain::TOOL, arguments),
        Some(Verb::Trace) => tool::main_with(&trace::TOOL, arguments),
        None => tool::main_with(&TOOL, arguments),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Explain,
    Trace,
}

/// Takes out what is to be done, if it is one of our own verbs: the first word that is no option and no option's value.
fn take_verb(arguments: &mut Vec<OsString>) -> Option<Verb> {
    let takes_value = |word: &OsString| word == "--sock-dir" || word == "--layout";
    let mut at = 0;
    while let Some(word) = arguments.get(at) {
        let verb = match word.to_str() {
            Some("explain") => Verb::Explain,
            Some("trace") => Verb::Trace,
            Some(option) if option.starts_with('-') => {
                at += 1 + usize::from(takes_value(word));
                continue;
            }
            _ => return None,
        };
        arguments.remove(at);
        return Some(verb);
    }
    None
}

/// All of it, for completions.
pub(crate) fn description() -> Description {
    let mut all = TOOL.description();
    all.words = &["explain", "trace"];
    for verb in [explain::TOOL.description(), trace::TOOL.description()] {
        for option in verb.options {
            if all.options.iter().all(|known| known.long != option.long) {
                all.options.push(option);
            }
        }
    }
    all
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let layout = session.common.layout;
    for (id, _) in &given.0 {
        refuse_foreign(*id, layout)?;
    }
    let gets = |id: &Id| matches!(id, Id::Info | Id::GetLogLevel | Id::GetLogTypes);
    let get = given.0.iter().map(|(id, _)| *id).find(|id| gets(id));
    let set = given.0.iter().any(|(id, _)| !gets(id));
    match (get, set) {
        (Some(_), true) => {
            Err(Failure::Explained("vrouter: Can not use both get AND set options together".into()))
        }
        (Some(Id::GetLogLevel), false) => logging::level(session),
        (Some(Id::GetLogTypes), false) => logging::types(session),
        (Some(_), false) => info::run(session),
        (None, true) => set::run(given, session),
        (None, false) => Err(Failure::Usage),
    }
}

/// Options of another platform (reference cli.md section 12.1).
fn refuse_foreign(id: Id, layout: Layout) -> Result<(), Failure> {
    let (name, platform) = match id {
        Id::Info => return Ok(()),
        Id::Set(knob) => (knob.name(), knob.platform()),
        Id::GetLogLevel => ("get-log-level", Platform::Dpdk),
        Id::GetLogTypes => ("get-enabled-log-types", Platform::Dpdk),
        Id::SetLogLevel => ("set-log-level", Platform::Dpdk),
        Id::EnableLogType => ("enable-log-type", Platform::Dpdk),
        Id::DisableLogType => ("disable-log-type", Platform::Dpdk),
    };
    let (fits, word) = match layout {
        Layout::Kernel => (platform != Platform::Dpdk, "(null)"),
        Layout::Dpdk => (platform != Platform::Kernel, "dpdk"),
        Layout::Vtest => (platform == Platform::Any, "vtest"),
    };
    if fits {
        return Ok(());
    }
    Err(Failure::Explained(format!("Error: {name} option not supported on {word} platform")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_found_behind_options_and_nowhere_else() {
        let verb = |line: &str| {
            let mut arguments = line.split_whitespace().map(OsString::from).collect();
            (take_verb(&mut arguments), arguments.len())
        };
        assert_eq!(verb("explain --vif 3"), (Some(Verb::Explain), 2));
        assert_eq!(verb("--sock-dir explain --json trace --vif 3"), (Some(Verb::Trace), 5));
        assert_eq!(verb("--from_vm_mss_adj 1 explain"), (None, 3));
        assert_eq!(verb("--info"), (None, 1));
    }
}
