//! `flow`: the sessions that workers remember (reference cli.md section 7).

mod detail;
mod list;
mod matching;
mod profile;
mod render;
mod set;
mod watch;

use std::process::ExitCode;

use api::FlowChange;

use crate::options::{Given, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    List,
    ShowEvicted,
    Match,
    Get,
    Rules,
    Statistics,
    Rate,
    Forward,
    Drop,
    Invalidate,
    Evict,
    Mirror,
    DestinationVrf,
    Flush,
    Profile,
    Batch,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "flow",
    about: "flows",
    synopsis: &[
        "-l [--show-evicted] | --match EXPRESSION | --get INDEX | -s | -r",
        "-f INDEX | -d INDEX | -i INDEX | -e INDEX [--mirror MIRROR] | -F",
        "-p FLOWS [-b BATCH]",
    ],
    options: &[
        Opt::flag(Id::List, "", "l", "every flow"),
        Opt::flag(Id::ShowEvicted, "show-evicted", "", "those that were evicted, too"),
        Opt::valued(
            Id::Match,
            "match",
            "",
            "EXPRESSION",
            "flows of `A:P[,B:Q]`, `vrf N`, `proto NAME`, joined by &",
        ),
        Opt::valued(Id::Get, "get", "g", "INDEX", "one flow"),
        Opt::flag(Id::Rules, "rules", "", "with --get: the rules that decided, age, core")
            .extension(),
        Opt::flag(Id::Statistics, "", "s", "statistics, twice a second"),
        Opt::flag(Id::Rate, "", "r", "rates, twice a second"),
        Opt::valued(
            Id::Forward,
            "",
            "f",
            "INDEX",
            "forward a flow's packets until it is judged again",
        ),
        Opt::valued(Id::Drop, "", "d", "INDEX", "drop a flow's packets until it is judged again"),
        Opt::valued(Id::Invalidate, "", "i", "INDEX", "end a flow's session"),
        Opt::valued(Id::Evict, "force-evict", "e", "INDEX", "end it if TCP has closed it"),
        Opt::valued(
            Id::Mirror,
            "mirror",
            "",
            "MIRROR",
            "with -f or -d: where copies go; default: nowhere",
        ),
        Opt::valued(Id::DestinationVrf, "dvrf", "", "VRF", "ignored"),
        Opt::flag(Id::Flush, "", "F", "end all sessions"),
        Opt::valued(
            Id::Profile,
            "",
            "p",
            "FLOWS",
            "make so many flows, held first and then forwarded, as an agent does; they stay",
        ),
        Opt::valued(Id::Batch, "", "b", "BATCH", "with -p: flows a message, 1 (default) to 15"),
    ],
    sock_dir: "u",
    usage_status: 234,
    lost_status: 244,
    run,
};

/// The command `flow`.
pub fn flow() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let listing = given.has(Id::List) || given.has(Id::Match);
    if given.has(Id::ShowEvicted) && !listing {
        return Err(Failure::Usage);
    }
    if listing {
        let wanted = match given.last(Id::Match) {
            Some(text) => Some(matching::parse(text).map_err(|line| Failure::Ended(line, 234))?),
            None => None,
        };
        return list::run(session, given.has(Id::ShowEvicted), wanted);
    }
    if given.has(Id::Rate) {
        return watch::rate(session);
    }
    if given.has(Id::Statistics) {
        return watch::statistics(session);
    }
    if let Some(flows) = given.number(Id::Profile).map(|number| number.index::<u32>()) {
        if flows > profile::MOST {
            let line = format!("flow: {flows} flows; allowed are {}", profile::MOST);
            return Err(Failure::Ended(line, 255));
        }
        let batch = given.number(Id::Batch).map_or(1, |number| number.index::<u32>());
        return match profile::BATCH.contains(&batch) {
            true => profile::run(session, flows, batch),
            false => Err(Failure::Usage),
        };
    }
    if given.has(Id::Flush) {
        return set::flush(session);
    }
    // Index 0 cannot be named.
    let index =
        |id| given.number(id).map(|number| number.index::<u32>()).filter(|index| *index != 0);
    if let Some(index) = index(Id::Get) {
        return list::get(session, index, given.has(Id::Rules));
    }
    let changes = [
        (Id::Forward, FlowChange::Forward),
        (Id::Drop, FlowChange::Drop),
        (Id::Invalidate, FlowChange::Delete),
        (Id::Evict, FlowChange::Evict),
    ];
    let asked = changes.into_iter().find_map(|(id, change)| Some((index(id)?, change)));
    let mirror = given.number(Id::Mirror).map(|number| number.index::<u32>());
    match asked {
        Some((index, change)) => set::run(session, index, change, mirror),
        None => Err(Failure::Usage),
    }
}
