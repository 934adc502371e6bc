//! `vrftable`: interfaces of host-based services (reference cli.md section 11).

mod create;
mod delete;
mod dump;
mod get;
mod render;

use std::process::ExitCode;

use api::VifId;

use crate::options::{Given, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Dump,
    Get,
    ShortGet,
    ShortVrf,
    Create,
    Left,
    Right,
    Delete,
    ProgrammingHelp,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vrftable",
    about: "VRFs and the interfaces of their host-based services",
    synopsis: &["--dump | --get VRF", "--create VRF --hbs-l VIF --hbs-r VIF | --delete VRF"],
    options: &[
        Opt::flag(Id::Dump, "dump", "b", "every VRF"),
        Opt::valued(Id::Get, "get", "", "VRF", "one VRF (also: -g -v VRF)"),
        Opt::flag(Id::ShortGet, "", "g", ""),
        Opt::valued(Id::ShortVrf, "", "v", "VRF", ""),
        Opt::valued(Id::Create, "create", "", "VRF", "give a VRF its interfaces"),
        Opt::valued(Id::Left, "hbs-l", "l", "VIF", "the left one"),
        Opt::valued(Id::Right, "hbs-r", "r", "VIF", "the right one"),
        Opt::valued(Id::Delete, "delete", "", "VRF", "take them from it"),
        Opt::flag(Id::ProgrammingHelp, "cmd", "", "this text"),
    ],
    sock_dir: "s",
    usage_status: 1,
    lost_status: 1,
    run,
};

/// The command `vrftable`.
pub fn vrftable() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let number = |id| given.number(id).map(|number| number.index::<u32>());
    if given.only(&[Id::Dump]) && given.has(Id::Dump) {
        return dump::run(session);
    }
    if let (Some(vrf), true) = (number(Id::Get), given.only(&[Id::Get])) {
        return get::run(vrf, session);
    }
    if given.has(Id::ShortGet) && given.only(&[Id::ShortGet, Id::ShortVrf]) {
        return get::run(number(Id::ShortVrf).ok_or(Failure::Usage)?, session);
    }
    if let (Some(vrf), true) = (number(Id::Delete), given.only(&[Id::Delete])) {
        return delete::run(vrf, session);
    }
    let vif = |id| given.number(id).map(|number| VifId(number.index()));
    let creating = given.only(&[Id::Create, Id::Left, Id::Right]);
    match (number(Id::Create), vif(Id::Left), vif(Id::Right), creating) {
        (Some(vrf), Some(left), Some(right), true) => create::run(vrf, left, right, session),
        _ => Err(Failure::Usage),
    }
}
