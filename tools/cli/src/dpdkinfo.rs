//! `dpdkinfo`: what of the original's view of DPDK has a counterpart here (reference cli.md section 15).

use std::process::ExitCode;

use api::Description;

use crate::engine_text::show;
use crate::options::{Given, Layout, Offer, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Version,
    Lcore,
    Stats,
    BufferSize,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "dpdkinfo",
    about: "workers and uplinks as the dpdk platform shows them",
    synopsis: &["--version | --lcore | --stats eth    (--layout dpdk or vtest)"],
    options: &[
        Opt::flag(Id::Version, "version", "v", "version of the dataplane"),
        Opt::flag(Id::Lcore, "lcore", "c", "which worker serves which queue"),
        Opt::valued(Id::Stats, "stats", "n", "eth", "counters of the uplinks")
            .offering(Offer::Words(&["eth"])),
        Opt::valued(Id::BufferSize, "buffsz", "", "N", "taken and ignored: answers have any size"),
    ],
    sock_dir: "s",
    usage_status: 234,
    lost_status: 255,
    run,
};

/// The command `dpdkinfo`.
pub fn dpdkinfo() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    if session.common.layout == Layout::Kernel {
        return Err(Failure::Usage);
    }
    match (given.has(Id::Version), given.has(Id::Lcore), given.last(Id::Stats)) {
        (true, false, None) => show(Description::EngineVersion, session),
        (false, true, None) => show(Description::Lcores, session),
        (false, false, Some("eth")) => show(Description::EthernetStatistics, session),
        _ => Err(Failure::Usage),
    }
}
