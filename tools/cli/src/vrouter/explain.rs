//! `vrouter explain`: what would become of a packet, step by step; nothing becomes of it.

use std::net::IpAddr;
use std::str::FromStr;

use api::VifId;

use super::packet::{self, Fields, PROTOCOLS};
use super::ways;
use crate::json;
use crate::options::{Given, Offer, Opt, is_digits};
use crate::tool::{Failure, Session, Tool};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Vif,
    Source,
    Destination,
    Protocol,
    SourcePort,
    DestinationPort,
    Flags,
    Ttl,
    Payload,
    Vlan,
    SourceMac,
    DestinationMac,
    Pcap,
    Frame,
}

const FLAGS: Offer = Offer::Words(&["syn", "ack", "fin", "rst"]);

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vrouter explain",
    about: "what would become of a packet, and why: no counter, flow or packet changes",
    synopsis: &[
        "--vif N --dst ADDRESS [--src ADDRESS] [--proto P] [--sport N] [--dport N] …",
        "--vif N --pcap FILE [--frame K]",
    ],
    options: &[
        Opt::valued(Id::Vif, "vif", "", "N", "the interface it would come in by"),
        Opt::valued(Id::Destination, "dst", "", "ADDRESS", "destination, IPv4 or IPv6"),
        Opt::valued(Id::Source, "src", "", "ADDRESS", "source (the interface's address)"),
        Opt::valued(Id::Protocol, "proto", "", "P", "protocol by name or number (an echo request)")
            .offering(Offer::Words(&PROTOCOLS)),
        Opt::valued(Id::SourcePort, "sport", "", "N", "source port (40000)"),
        Opt::valued(Id::DestinationPort, "dport", "", "N", "destination port"),
        Opt::valued(Id::Flags, "flags", "", "FLAGS", "TCP flags syn,ack,fin,rst (syn)")
            .offering(FLAGS),
        Opt::valued(Id::Ttl, "ttl", "", "N", "TTL or hop limit (64)"),
        Opt::valued(Id::Payload, "payload", "", "BYTES", "bytes behind the last header (0)"),
        Opt::valued(Id::Vlan, "vlan", "", "ID", "802.1Q tag"),
        Opt::valued(
            Id::SourceMac,
            "src-mac",
            "",
            "MAC",
            "source MAC (the station's, if it is known)",
        ),
        Opt::valued(
            Id::DestinationMac,
            "dst-mac",
            "",
            "MAC",
            "destination MAC (what ARP or discovery would answer)",
        ),
        Opt::valued(Id::Pcap, "pcap", "", "FILE", "a packet of this capture (pcap or pcapng)")
            .offering(Offer::File),
        Opt::valued(Id::Frame, "frame", "", "K", "its number in the capture (1)"),
    ],
    sock_dir: "",
    usage_status: 1,
    lost_status: 1,
    run,
};

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let vif = number(given, Id::Vif, "--vif", u16::MAX)?.map(VifId);
    let Some(vif) = vif else { return Err(Failure::Usage) };
    if !given.has(Id::Pcap) && !given.has(Id::Destination) {
        return Err(Failure::Usage);
    }
    let packet;
    let mut client;
    if let Some(file) = given.last(Id::Pcap) {
        if !given.only(&[Id::Vif, Id::Pcap, Id::Frame]) {
            return Err(wrong(
                "--pcap: the capture says what the packet is; no field goes with it",
            ));
        }
        let frame = number(given, Id::Frame, "--frame", usize::MAX)?.unwrap_or(1);
        packet = packet::captured(file, frame)?;
        client = session.connect()?;
    } else {
        let fields = fields(given)?;
        client = session.connect()?;
        packet = packet::build(&mut client, vif, &fields)?;
    }
    let explanation = client.explain(vif, packet)?;
    if session.json() {
        return Ok(json::object(session.out(), &explanation)?);
    }
    session.print(&ways::text(&explanation))
}

fn fields(given: &Given<Id>) -> Result<Fields, Failure> {
    if given.has(Id::Frame) {
        return Err(wrong("--frame: needs --pcap"));
    }
    let protocol = given.last(Id::Protocol).map(packet::protocol).transpose();
    let flags = given.last(Id::Flags).map(packet::flags).transpose();
    let vlan = number(given, Id::Vlan, "--vlan", 4094u16)?;
    if vlan == Some(0) {
        return Err(wrong("--vlan: 0 is no VLAN"));
    }
    let payload = number(given, Id::Payload, "--payload", 65_000u16)?.unwrap_or(0);
    Ok(Fields {
        source: read::<IpAddr>(given, Id::Source, "--src: is no address")?,
        destination: read::<IpAddr>(given, Id::Destination, "--dst: is no address")?,
        protocol: protocol.map_err(|words| wrong(&words))?,
        ports: (
            number(given, Id::SourcePort, "--sport", u16::MAX)?,
            number(given, Id::DestinationPort, "--dport", u16::MAX)?,
        ),
        flags: flags.map_err(|words| wrong(&words))?.unwrap_or_default(),
        ttl: number(given, Id::Ttl, "--ttl", u8::MAX)?,
        payload: payload.into(),
        vlan,
        macs: (
            read(given, Id::SourceMac, "--src-mac: is no MAC")?,
            read(given, Id::DestinationMac, "--dst-mac: is no MAC")?,
        ),
    })
}

fn wrong(words: &str) -> Failure {
    Failure::Explained(format!("vrouter explain: {words}"))
}

fn read<T: FromStr>(given: &Given<Id>, id: Id, complaint: &str) -> Result<Option<T>, Failure> {
    let value = given.last(id).map(str::parse).transpose();
    value.map_err(|_| wrong(&format!("{complaint}: \"{}\"", given.last(id).unwrap_or_default())))
}

fn number<N: FromStr + PartialOrd + std::fmt::Display>(
    given: &Given<Id>,
    id: Id,
    name: &str,
    most: N,
) -> Result<Option<N>, Failure> {
    let Some(text) = given.last(id) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| *number <= most && is_digits(text));
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(wrong(&format!("{name}: \"{text}\" is no number up to {most}"))),
    }
}
