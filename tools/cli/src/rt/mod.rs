//! `rt`: routes and bridge entries of a VRF (reference cli.md section 4).

mod address;
mod dump;
mod get;
mod render;

use std::process::ExitCode;

use api::VrfId;

use crate::options::{Given, Number, Opt, common_usage};
use crate::tool::{self, Failure, Session, Tool};

const USAGE: &str = concat!(
    "\
Usage: rt --dump VRF [--family inet|inet6|bridge]
       rt --get ADDRESS/LENGTH --vrf VRF [--family inet|inet6]
       rt --get MAC --vrf VRF --family bridge
      --dump VRF        the table of a VRF (also: -b -v VRF [-f 0|1|2])
      --get PREFIX      the longest match; the length is mandatory
      --vrf VRF         where to look up
      --family FAMILY   inet (default), inet6 or bridge
",
    common_usage!("-u")
);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Id {
    Dump,
    Get,
    Vrf,
    Family,
    ShortDump,
    ShortVrf,
    ShortFamily,
    ProgrammingHelp,
}

/// Which table of a VRF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Inet,
    Inet6,
    Bridge,
}

const TOOL: Tool<Id> = Tool {
    name: "rt",
    usage: USAGE,
    options: &[
        Opt::valued(Id::Dump, "dump", ""),
        Opt::valued(Id::Get, "get", ""),
        Opt::valued(Id::Vrf, "vrf", ""),
        Opt::valued(Id::Family, "family", ""),
        Opt::flag(Id::ShortDump, "", "b"),
        Opt::valued(Id::ShortVrf, "", "v"),
        Opt::valued(Id::ShortFamily, "", "f"),
        Opt::flag(Id::ProgrammingHelp, "cmd", ""),
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
    let last =
        |wanted| given.iter().rev().find(|(id, _)| *id == wanted).map(|(_, value)| value.as_str());
    if last(Id::ProgrammingHelp).is_some() {
        return Err(Failure::Usage);
    }
    let family = family(last(Id::Family), last(Id::ShortFamily))?;
    let vrf = last(Id::Vrf).or(last(Id::ShortVrf)).map(vrf);
    match (last(Id::Dump), last(Id::ShortDump), last(Id::Get)) {
        (Some(number), None, None) => dump::run(self::vrf(number), family, session),
        (None, Some(_), None) => dump::run(vrf.ok_or(Failure::Usage)?, family, session),
        (None, None, Some(text)) => {
            let vrf = vrf.ok_or(Failure::Usage)?;
            get::run(&address::read(text, family)?, vrf, session)
        }
        _ => Err(Failure::Usage),
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
