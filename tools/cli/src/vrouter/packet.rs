//! The packet that `vrouter explain` asks about: built of fields, or a frame of a capture; and the fields that `vrouter
//! trace` looks for.

use std::fs::File;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::{
    Client, ClientError, ErrorCode, Lookup, Mac, RouteFlags, RouteInfo, Rows, VifId, VifInfo,
    VifKind, VrfId,
};
use etherparse::{IpNumber, PacketBuilder, VlanId};
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::tool::Failure;

/// What is said of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields {
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
    pub(super) protocol: Option<u8>,
    pub(super) ports: (Option<u16>, Option<u16>),
    pub(super) flags: TcpFlags,
    pub(super) ttl: Option<u8>,
    /// Bytes behind the last header.
    pub(super) payload: usize,
    pub(super) vlan: Option<u16>,
    pub(super) macs: (Option<Mac>, Option<Mac>),
}

/// Of a TCP segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpFlags {
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// Protocols by name.
pub(super) const PROTOCOLS: [&str; 5] = ["tcp", "udp", "icmp", "icmp6", "sctp"];

/// A protocol by name or number.
///
/// # Errors
/// What is wrong with it.
pub(super) fn protocol(text: &str) -> Result<u8, String> {
    match text {
        "tcp" => Ok(TCP),
        "udp" => Ok(UDP),
        "icmp" => Ok(ICMP),
        "icmp6" => Ok(ICMPV6),
        "sctp" => Ok(SCTP),
        number => number.parse().map_err(|_| {
            format!(
                "--proto: \"{number}\" is neither a number below 256 nor one of {}",
                PROTOCOLS.join(", ")
            )
        }),
    }
}

/// Flags as `syn,ack`.
///
/// # Errors
/// What is wrong with them.
pub(super) fn flags(text: &str) -> Result<TcpFlags, String> {
    let mut flags = TcpFlags::default();
    for word in text.split(',') {
        match word {
            "syn" => flags.syn = true,
            "ack" => flags.ack = true,
            "fin" => flags.fin = true,
            "rst" => flags.rst = true,
            other => {
                return Err(format!("--flags: \"{other}\" is none of syn, ack, fin, rst"));
            }
        }
    }
    Ok(flags)
}

/// A packet as a port would receive it. What is not said is what a workload there would send: its own address, the MAC
/// that its neighbour or gateway answers with.
pub(super) fn build(client: &mut Client, vif: VifId, fields: &Fields) -> Result<Vec<u8>, Failure> {
    let Some(destination) = fields.destination else {
        return Err(wrong("--dst: is needed, or --pcap"));
    };
    let row = interface(client, vif)?;
    let known = match destination {
        IpAddr::V4(_) => row.ip.map(IpAddr::V4),
        IpAddr::V6(_) => row.ip6.map(IpAddr::V6),
    };
    let source = fields.source.or(known);
    let Some(source) = source else {
        return Err(wrong(&format!(
            "--src: is needed, because vif {vif} has no address of that family"
        )));
    };
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(wrong("--src and --dst: are of different families"));
    }
    let vrf = row.vrf.unwrap_or(VrfId(0));
    let from = match fields.macs.0 {
        Some(mac) => mac,
        None => station(client, vrf, source)?.unwrap_or(LOCAL),
    };
    let to = match fields.macs.1 {
        Some(mac) => mac,
        None if row.kind == VifKind::Physical => row.mac,
        None => neighbor(client, vrf, destination)?,
    };
    Ok(frame((from, to), (source, destination), fields))
}

/// A MAC of nobody's.
const LOCAL: Mac = Mac([2, 0, 0, 0, 0, 1]);

fn wrong(words: &str) -> Failure {
    Failure::Explained(format!("vrouter explain: {words}"))
}

fn interface(client: &mut Client, id: VifId) -> Result<VifInfo, Failure> {
    match client.get(Lookup::Vif { id, core: None })? {
        Rows::Vif(rows) => rows.into_iter().next(),
        _ => None,
    }
    .ok_or_else(|| Failure::invalid(format!("vif {id}"), "is not told"))
}

/// The most specific route to an address.
fn route(client: &mut Client, vrf: VrfId, address: IpAddr) -> Result<Option<RouteInfo>, Failure> {
    let lookup = match address {
        IpAddr::V4(address) => Lookup::Inet { vrf, address, length: 32 },
        IpAddr::V6(address) => Lookup::Inet6 { vrf, address, length: 128 },
    };
    match client.get(lookup) {
        Ok(Rows::Route(rows)) => Ok(rows.into_iter().next()),
        Ok(_) => Ok(None),
        Err(ClientError::Refused(refusal)) if refusal.code == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The station that an address is stitched to.
fn station(client: &mut Client, vrf: VrfId, address: IpAddr) -> Result<Option<Mac>, Failure> {
    let route = route(client, vrf, address)?;
    Ok(route.and_then(|route| route.stitched).map(|stitched| stitched.mac))
}

/// What ARP or neighbour discovery would answer: the station, unless the router answers for it (reference dataplane.md
/// section 11).
fn neighbor(client: &mut Client, vrf: VrfId, address: IpAddr) -> Result<Mac, Failure> {
    let route = route(client, vrf, address)?;
    let own = route.filter(|route| !route.flags.contains(RouteFlags::ARP_PROXY));
    Ok(own.and_then(|route| route.stitched).map_or(Mac::GATEWAY, |stitched| stitched.mac))
}

fn frame(
    (from, to): (Mac, Mac),
    (source, destination): (IpAddr, IpAddr),
    fields: &Fields,
) -> Vec<u8> {
    let start = PacketBuilder::ethernet2(from.0, to.0);
    let ttl = fields.ttl.unwrap_or(64);
    let vlan = fields.vlan.and_then(|vlan| VlanId::try_new(vlan).ok());
    let ip = match (source, destination, vlan) {
        (IpAddr::V4(from), IpAddr::V4(to), None) => start.ipv4(from.octets(), to.octets(), ttl),
        (IpAddr::V4(from), IpAddr::V4(to), Some(vlan)) => {
            start.single_vlan(vlan).ipv4(from.octets(), to.octets(), ttl)
        }
        (from, to, None) => start.ipv6(wide(from), wide(to), ttl),
        (from, to, Some(vlan)) => start.single_vlan(vlan).ipv6(wide(from), wide(to), ttl),
    };
    let own = if source.is_ipv4() { ICMP } else { ICMPV6 };
    let number = match fields.protocol {
        // As is meant.
        None | Some(ICMP | ICMPV6) => own,
        Some(number) => number,
    };
    let (from, to) = (fields.ports.0.unwrap_or(40_000), fields.ports.1.unwrap_or(0));
    let payload = vec![0; fields.payload];
    let mut frame = Vec::new();
    let written = match number {
        TCP => {
            let TcpFlags { syn, ack, fin, rst } = match fields.flags {
                none if none == TcpFlags::default() => TcpFlags { syn: true, ..none },
                given => given,
            };
            let tcp = ip.tcp(from, to, 1, 64_240);
            let tcp = if syn { tcp.syn() } else { tcp };
            let tcp = if ack { tcp.ack(1) } else { tcp };
            let tcp = if fin { tcp.fin() } else { tcp };
            let tcp = if rst { tcp.rst() } else { tcp };
            tcp.write(&mut frame, &payload)
        }
        UDP => ip.udp(from, to).write(&mut frame, &payload),
        ICMP => ip.icmpv4_echo_request(from, 1).write(&mut frame, &payload),
        ICMPV6 => ip.icmpv6_echo_request(from, 1).write(&mut frame, &payload),
        number => {
            let mut segment = Vec::new();
            if number == SCTP {
                segment.extend(from.to_be_bytes());
                segment.extend(to.to_be_bytes());
                segment.extend([0; 8]);
            }
            segment.extend(payload);
            ip.write(&mut frame, IpNumber(number), &segment)
        }
    };
    // Memory takes everything; what no header can say (a payload beyond 64 KiB) leaves an empty frame, which is refused.
    if written.is_err() {
        frame.clear();
    }
    frame
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => Ipv4Addr::to_ipv6_mapped(&address).octets(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address),
    }
}

/// A frame of a capture (pcap or pcapng), counted from 1 as Wireshark does.
///
/// # Errors
/// It cannot be read, or has no such frame.
pub(super) fn captured(file: &str, number: usize) -> Result<Vec<u8>, Failure> {
    let failed = |words: String| Failure::Ended(format!("vrouter explain: {file}: {words}"), 1);
    let open = || File::open(file).map(BufReader::new).map_err(|error| failed(error.to_string()));
    let none = || failed(format!("has no frame {number}"));
    let index = number.checked_sub(1).ok_or_else(none)?;
    if let Ok(mut reader) = PcapReader::new(open()?) {
        let mut at = 0;
        while let Some(packet) = reader.next_packet() {
            let packet = packet.map_err(|error| failed(error.to_string()))?;
            if at == index {
                return Ok(packet.data.into_owned());
            }
            at += 1;
        }
        return Err(none());
    }
    let mut reader = PcapNgReader::new(open()?)
        .map_err(|_| failed("is neither a pcap nor a pcapng file".to_owned()))?;
    let mut at = 0;
    while let Some(block) = reader.next_block() {
        let data = match block.map_err(|error| failed(error.to_string()))? {
            Block::EnhancedPacket(packet) => packet.data.into_owned(),
            Block::SimplePacket(packet) => packet.data.into_owned(),
            Block::Packet(packet) => packet.data.into_owned(),
            _ => continue,
        };
        if at == index {
            return Ok(data);
        }
        at += 1;
    }
    Err(none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sliced(fields: &Fields, ends: (&str, &str)) -> Vec<u8> {
        let ends = (ends.0.parse().unwrap(), ends.1.parse().unwrap());
        frame((LOCAL, Mac::GATEWAY), ends, fields)
    }

    #[test]
    fn what_is_not_said_is_what_a_workload_would_send() {
        let bare = Fields { protocol: Some(TCP), ports: (None, Some(80)), ..Fields::default() };
        let frame = sliced(&bare, ("10.1.1.3", "10.1.1.9"));
        assert_eq!(frame.len(), 54);
        assert_eq!(frame[..14], [0, 0, 0x5e, 0, 1, 0, 2, 0, 0, 0, 0, 1, 8, 0]);
        assert_eq!((frame[22], frame[23], frame[47]), (64, 6, 2), "TTL 64, TCP, SYN");
        assert_eq!(frame[34..38], [0x9c, 0x40, 0, 80]);
        let ping = sliced(&Fields::default(), ("fd00::3", "fd00::9"));
        assert_eq!((ping[20], ping[54]), (ICMPV6, 128));
    }

    #[test]
    fn every_field_is_in_the_packet() {
        let fields = Fields {
            protocol: Some(UDP),
            ports: (Some(5), Some(6)),
            ttl: Some(3),
            payload: 10,
            vlan: Some(7),
            ..Fields::default()
        };
        let frame = sliced(&fields, ("10.1.1.3", "10.1.1.9"));
        assert_eq!(frame[12..18], [0x81, 0, 0, 7, 8, 0]);
        assert_eq!((frame[26], frame.len()), (3, 18 + 20 + 8 + 10));
        let sctp = Fields { protocol: Some(SCTP), ports: (Some(5), Some(6)), ..Fields::default() };
        assert_eq!(sliced(&sctp, ("10.1.1.3", "10.1.1.9"))[34..38], [0, 5, 0, 6]);
        let reset =
            Fields { protocol: Some(TCP), flags: flags("rst,ack").unwrap(), ..Fields::default() };
        assert_eq!(sliced(&reset, ("10.1.1.3", "10.1.1.9"))[47], 0x14);
        assert!(flags("urg").is_err() && protocol("gre").is_err() && protocol("256").is_err());
        assert_eq!(protocol("47"), Ok(47));
    }
}
