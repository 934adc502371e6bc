//! `rt`: routes and bridge entries of a VRF (reference cli.md section 4).

mod address;
mod dump;
mod get;
mod monitor;
mod program;
mod render;

use std::process::ExitCode;

use api::VrfId;

use crate::options::{Given, Number, Offer, Opt};
use crate::tool::{self, Failure, Session, Tool};
pub(crate) use address::masked;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Dump,
    Get,
    Vrf,
    Family,
    Monitor,
    ProgrammingHelp,
    ShortDump,
    Add,
    Delete,
    ShortVrf,
    ShortFamily,
    Prefix,
    Length,
    NextHop,
    Label,
    Mac,
    Replacement,
    Proxy,
    Trap,
    Flood,
    Learnt,
    Source,
    RawFlags,
}

/// Which table of a VRF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Inet,
    Inet6,
    Bridge,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "rt",
    about: "routes and bridge entries",
    synopsis: &[
        "--dump VRF [--family inet|inet6|bridge]",
        "--get ADDRESS/LENGTH --vrf VRF [--family inet|inet6]",
        "--get MAC --vrf VRF --family bridge",
        "--monitor",
        "-c [-f 0|2] -v VRF -p ADDRESS -l LENGTH -n NH [-t LABEL] [-e MAC] [-P] [-T] [-F] [-M x] [-x FLAGS]",
        "-c -f 1 -v VRF -e MAC -n NH [-t LABEL] [-x FLAGS]",
        "-d [-f 0|2] -v VRF -p ADDRESS -l LENGTH -r LENGTH | -d -f 1 -v VRF -e MAC",
        "-b -v VRF [-f 0|1|2]",
    ],
    options: &[
        Opt::valued(Id::Dump, "dump", "", "VRF", "the table of a VRF"),
        Opt::valued(Id::Get, "get", "", "PREFIX", "the longest match; the length is mandatory"),
        Opt::valued(Id::Vrf, "vrf", "", "VRF", "where to look up"),
        Opt::valued(Id::Family, "family", "", "FAMILY", "of which table, inet without")
            .offering(Offer::Words(&["inet", "inet6", "bridge"])),
        Opt::flag(Id::Monitor, "monitor", "", "changes as JSON, one a line, until a signal"),
        Opt::flag(Id::ProgrammingHelp, "cmd", "", "this text"),
        Opt::flag(Id::ShortDump, "", "b", "the table of a VRF"),
        Opt::flag(Id::Add, "", "c", "create or replace a route or bridge entry"),
        Opt::flag(Id::Delete, "", "d", "delete it"),
        Opt::valued(Id::ShortVrf, "", "v", "VRF", "of this VRF"),
        Opt::valued(Id::ShortFamily, "", "f", "N", "0 inet, 1 bridge, 2 inet6"),
        Opt::valued(Id::Prefix, "", "p", "ADDRESS", "the network"),
        Opt::valued(Id::Length, "", "l", "LENGTH", "its length, a host's without"),
        Opt::valued(Id::NextHop, "", "n", "NH", "where to"),
        Opt::valued(Id::Label, "", "t", "LABEL", "label or VNI"),
        Opt::valued(Id::Mac, "", "e", "MAC", "the station; of a route the MAC it is stitched to"),
        Opt::valued(
            Id::Replacement,
            "",
            "r",
            "LENGTH",
            "length of the route that comes in its place",
        ),
        Opt::flag(Id::Proxy, "", "P", "ARP for it is answered"),
        Opt::flag(Id::Trap, "", "T", "gratuitous ARP goes to the agent"),
        Opt::flag(Id::Flood, "", "F", "ARP for it is flooded"),
        Opt::valued(Id::Learnt, "", "M", "X", "learnt from a MAC and its address (any argument)"),
        Opt::valued(Id::Source, "", "s", "ADDRESS", ""),
        Opt::valued(Id::RawFlags, "", "x", "FLAGS", "flags as a hexadecimal number"),
    ],
    sock_dir: "u",
    usage_status: 1,
    lost_status: 1,
    run,
};

/// The command `rt`.
pub fn rt() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    if given.has(Id::ProgrammingHelp) {
        return Err(Failure::Usage);
    }
    let family = family(given.last(Id::Family), given.last(Id::ShortFamily))?;
    let vrf = given.last(Id::Vrf).or(given.last(Id::ShortVrf)).map(vrf);
    const COMMANDS: [Id; 6] = [Id::Dump, Id::ShortDump, Id::Get, Id::Monitor, Id::Add, Id::Delete];
    let mut commands = COMMANDS.into_iter().filter(|command| given.has(*command));
    let (Some(command), None) = (commands.next(), commands.next()) else {
        return Err(Failure::Usage);
    };
    match command {
        Id::Dump => dump::run(self::vrf(given.last(Id::Dump).unwrap_or_default()), family, session),
        Id::ShortDump => dump::run(vrf.ok_or(Failure::Usage)?, family, session),
        Id::Get => {
            let vrf = vrf.ok_or(Failure::Usage)?;
            let asked = address::read(given.last(Id::Get).unwrap_or_default(), family)?;
            get::run(&asked, vrf, session)
        }
        Id::Monitor => monitor::run(session),
        Id::Add => program::add(given, family, session),
        _ => program::delete(given, family, session),
    }
}

fn vrf(text: &str) -> VrfId {
    VrfId(Number::read(text).index())
}

/// Words are matched by prefix, `inet6…` before `inet…`.
fn family(word: Option<&str>, number: Option<&str>) -> Result<Family, Failure> {
    match (word, number) {
        (Some(word), _) if word.starts_with("inet6") => Ok(Family::Inet6),
        (Some(word), _) if word.starts_with("inet") => Ok(Family::Inet),
        (Some(word), _) if word.starts_with("bridge") => Ok(Family::Bridge),
        (Some(_), _) => Err(Failure::Usage),
        (None, None) => Ok(Family::Inet),
        (None, Some(number)) => match Number::read(number).value {
            0 => Ok(Family::Inet),
            1 => Ok(Family::Bridge),
            2 => Ok(Family::Inet6),
            _ => Err(Failure::Usage),
        },
    }
}
