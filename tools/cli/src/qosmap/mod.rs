//! `qosmap`: forwarding classes and QoS maps (reference cli.md section 14).

mod class;
mod map;
mod queue;
mod render;

use std::process::ExitCode;

use crate::options::{Given, Offer, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    DumpClass,
    GetClass,
    SetClass,
    Dscp,
    MplsQos,
    DotOneP,
    Queue,
    DumpMap,
    GetMap,
    SetMap,
    Class,
    DeleteMap,
    GetQueue,
    SetQueue,
    Dcbx,
    PriorityGroup,
    Bandwidth,
    Strict,
    TrafficClass,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "qosmap",
    about: "forwarding classes and QoS maps",
    synopsis: &[
        "--dump-fc | --get-fc ID | --set-fc ID --dscp N --mpls_qos N --dotonep N --queue N",
        "--dump-qos | --get-qos INDEX | --set-qos INDEX --dscp|--mpls_qos|--dotonep N --fc ID | --delete-qos INDEX",
        "--get-queue INTERFACE | --set-queue INTERFACE --dcbx MODE --bw N.. --strict N.. [--pg N..] [--tc N..]",
    ],
    options: &[
        Opt::flag(Id::DumpClass, "dump-fc", "", "every forwarding class"),
        Opt::valued(Id::GetClass, "get-fc", "", "ID", "one forwarding class"),
        Opt::valued(Id::SetClass, "set-fc", "", "ID", "create or replace a forwarding class"),
        Opt::valued(Id::Dscp, "dscp", "", "N", "its DSCP; of a map the DSCP that means the class"),
        Opt::valued(Id::MplsQos, "mpls_qos", "", "N", "the same for MPLS experimental bits"),
        Opt::valued(Id::DotOneP, "dotonep", "", "N", "the same for 802.1p priorities"),
        Opt::valued(Id::Queue, "queue", "", "N", "its queue"),
        Opt::flag(Id::DumpMap, "dump-qos", "", "every QoS map"),
        Opt::valued(Id::GetMap, "get-qos", "", "INDEX", "one QoS map"),
        Opt::valued(Id::SetMap, "set-qos", "", "INDEX", "set one entry of a QoS map"),
        Opt::valued(Id::Class, "fc", "", "ID", "what it means"),
        Opt::valued(Id::DeleteMap, "delete-qos", "", "INDEX", "delete a QoS map"),
        Opt::valued(Id::GetQueue, "get-queue", "", "INTERFACE", "queues of a NIC")
            .offering(Offer::Device),
        Opt::valued(Id::SetQueue, "set-queue", "", "INTERFACE", "set queues of a NIC")
            .offering(Offer::Device),
        Opt::valued(Id::Dcbx, "dcbx", "", "MODE", "by this standard")
            .offering(Offer::Words(&["cee", "ieee"])),
        Opt::valued(Id::PriorityGroup, "pg", "", "N..", "priority groups"),
        Opt::valued(Id::Bandwidth, "bw", "", "N..", "shares of the line in per cent"),
        Opt::valued(Id::Strict, "strict", "", "BITS", "groups that go first"),
        Opt::valued(Id::TrafficClass, "tc", "", "N..", "traffic classes"),
    ],
    sock_dir: "",
    usage_status: 22,
    lost_status: 1,
    run,
};

/// The command `qosmap`.
pub fn qosmap() -> ExitCode {
    tool::main(&TOOL)
}

const COMMANDS: [Id; 9] = [
    Id::DumpClass,
    Id::GetClass,
    Id::SetClass,
    Id::DumpMap,
    Id::GetMap,
    Id::SetMap,
    Id::DeleteMap,
    Id::GetQueue,
    Id::SetQueue,
];

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut commands = COMMANDS.into_iter().filter(|command| given.has(*command));
    let (Some(command), None) = (commands.next(), commands.next()) else {
        let nothing = given.0.is_empty();
        let explained = || Failure::Explained("Invalid options".to_owned());
        return Err(if nothing { Failure::Usage } else { explained() });
    };
    match command {
        Id::DumpClass => class::dump(session),
        Id::GetClass => class::get(given, session),
        Id::SetClass => class::set(given, session),
        Id::DumpMap => map::dump(session),
        Id::GetMap => map::get(given, session),
        Id::SetMap => map::set(given, session),
        Id::DeleteMap => map::delete(given, session),
        _ => queue::run(given, session),
    }
}

/// A number of at most `most`; anything else is worth these words.
fn number(given: &Given<Id>, id: Id, most: u16, words: &str) -> Result<u16, Failure> {
    const EINVAL: u8 = 22;
    let bad = || Failure::Ended(words.to_owned(), EINVAL);
    let number = given.number(id).ok_or_else(bad)?;
    if number.quality != crate::options::Quality::Clean {
        return Err(bad());
    }
    u16::try_from(number.value).ok().filter(|number| *number <= most).ok_or_else(bad)
}
