//! `vrouter`: limits and settings of the dataplane (reference cli.md section 12).

mod info;
mod knobs;
mod logging;
mod render;
mod set;

use std::process::ExitCode;

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
    tool::main(&TOOL)
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
