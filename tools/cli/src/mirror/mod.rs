//! `mirror`: where copies of packets go (reference cli.md section 10).

mod create;
mod delete;
mod dump;
mod get;
mod render;

use std::process::ExitCode;

use crate::options::{Given, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Dump,
    Get,
    ShortGet,
    ShortIndex,
    Create,
    NextHop,
    Vni,
    Dynamic,
    Delete,
    ProgrammingHelp,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "mirror",
    about: "mirrors",
    synopsis: &[
        "--dump | --get INDEX",
        "--create INDEX --nh NH [--vni VNI] [--dyn] | --delete INDEX",
    ],
    options: &[
        Opt::flag(Id::Dump, "dump", "b", "every mirror"),
        Opt::valued(Id::Get, "get", "", "INDEX", "one mirror (also: -g -m INDEX)"),
        Opt::flag(Id::ShortGet, "", "g", ""),
        Opt::valued(Id::ShortIndex, "", "m", "INDEX", ""),
        Opt::valued(Id::Create, "create", "", "INDEX", "create or replace a mirror"),
        Opt::valued(Id::NextHop, "nh", "n", "NH", "the next hop that takes the copies away"),
        Opt::valued(Id::Vni, "vni", "v", "VNI", "the VNI of its copies"),
        Opt::flag(Id::Dynamic, "dyn", "", "metadata goes in front of its copies"),
        Opt::valued(Id::Delete, "delete", "", "INDEX", "delete a mirror"),
        Opt::flag(Id::ProgrammingHelp, "cmd", "", "this text"),
    ],
    sock_dir: "s",
    usage_status: 1,
    lost_status: 1,
    run,
};

/// The command `mirror`.
pub fn mirror() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let number = |id| given.number(id).map(|number| number.index::<u32>());
    if given.only(&[Id::Dump]) && given.has(Id::Dump) {
        return dump::run(session);
    }
    if let (Some(index), true) = (number(Id::Get), given.only(&[Id::Get])) {
        return get::run(index, session);
    }
    if given.has(Id::ShortGet) && given.only(&[Id::ShortGet, Id::ShortIndex]) {
        return get::run(number(Id::ShortIndex).ok_or(Failure::Usage)?, session);
    }
    if let (Some(index), true) = (number(Id::Delete), given.only(&[Id::Delete])) {
        return delete::run(index, session);
    }
    let creating = given.only(&[Id::Create, Id::NextHop, Id::Vni, Id::Dynamic]);
    match (number(Id::Create), number(Id::NextHop), creating) {
        (Some(index), Some(next_hop), true) => {
            let options = create::Options { vni: number(Id::Vni), dynamic: given.has(Id::Dynamic) };
            create::run(index, api::NhId(next_hop), options, session)
        }
        _ => Err(Failure::Usage),
    }
}
