//! `vrouter trace`: the ways of the next real packets that match.

use api::{PacketFilter, Request, VifId};

use super::packet::{self, PROTOCOLS};
use super::ways;
use crate::json;
use crate::options::{Given, Offer, Opt};
use crate::tool::{Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Vif,
    Source,
    Destination,
    Protocol,
    SourcePort,
    DestinationPort,
    Count,
    Seconds,
}

/// Packets and seconds, if nothing is said.
const COUNT: u32 = 1;
const SECONDS: u32 = 10;

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vrouter trace",
    about: "what becomes of the next packets that match, and why; in a tunnel, what it carries matches, too",
    synopsis: &[
        "[--vif N] [--src ADDRESS] [--dst ADDRESS] [--proto P] [--sport N] [--dport N] [--count N] [--seconds N]",
    ],
    options: &[
        Opt::valued(Id::Vif, "vif", "", "N", "came in by this interface"),
        Opt::valued(Id::Source, "src", "", "ADDRESS", "source, IPv4 or IPv6"),
        Opt::valued(Id::Destination, "dst", "", "ADDRESS", "destination"),
        Opt::valued(Id::Protocol, "proto", "", "P", "protocol by name or number")
            .offering(Offer::Words(&PROTOCOLS)),
        Opt::valued(Id::SourcePort, "sport", "", "N", "source port"),
        Opt::valued(Id::DestinationPort, "dport", "", "N", "destination port"),
        Opt::valued(Id::Count, "count", "", "N", "so many packets, 256 at most (1)"),
        Opt::valued(Id::Seconds, "seconds", "", "N", "wait so long, an hour at most (10)"),
    ],
    sock_dir: "",
    usage_status: 1,
    lost_status: 1,
    run,
};

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let filter = PacketFilter {
        vif: read(given, Id::Vif, "--vif")?.map(VifId),
        protocol: given
            .last(Id::Protocol)
            .map(packet::protocol)
            .transpose()
            .map_err(|w| wrong(&w))?,
        source: read(given, Id::Source, "--src")?,
        destination: read(given, Id::Destination, "--dst")?,
        source_port: read(given, Id::SourcePort, "--sport")?,
        destination_port: read(given, Id::DestinationPort, "--dport")?,
    };
    let count = read(given, Id::Count, "--count")?.unwrap_or(COUNT);
    let seconds = read(given, Id::Seconds, "--seconds")?.unwrap_or(SECONDS);
    for (name, value, most) in
        [("--count", count, Request::MOST_TRACED), ("--seconds", seconds, Request::LONGEST_TRACE)]
    {
        if !(1..=most).contains(&value) {
            return Err(wrong(&format!("{name}: {value} is not between 1 and {most}")));
        }
    }
    let explanation = session.connect()?.trace(filter, count, seconds)?;
    let none = explanation.packets.is_empty();
    if session.json() {
        json::object(session.out(), &explanation)?;
        return if none { Err(Failure::Said(1)) } else { Ok(()) };
    }
    if none {
        return Err(Failure::Ended(format!("no packet matched within {seconds} s"), 1));
    }
    session.print(&ways::text(&explanation))
}

fn wrong(words: &str) -> Failure {
    Failure::Explained(format!("vrouter trace: {words}"))
}

fn read<T: std::str::FromStr>(given: &Given<Id>, id: Id, name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = given.last(id) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| wrong(&format!("{name}: \"{text}\" is not understood")))
}
