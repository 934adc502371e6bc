//! Translation of addresses and ports in place, checksums patched and never recomputed (RFC 1624, RFC 3022 section 4).

use std::net::IpAddr;

use crate::{Ipv4, Ipv6, checksum, protocol};

/// What an IP packet is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Source; of the packet's family.
    pub source: IpAddr,
    /// Destination; likewise.
    pub destination: IpAddr,
    /// Source and destination port, where they are there and change.
    pub ports: Option<(u16, u16)>,
}

/// What is behind the IP header of the packet to translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The transport's protocol.
    pub protocol: u8,
    /// Where its header starts; `None` in a later fragment.
    pub transport: Option<usize>,
    /// The checksum is left to hardware: it is the pseudo header's sum alone.
    pub unfinished: bool,
}

/// Writes addresses and ports; `None`, and nothing has changed, when a header is cut or a family is another.
pub fn translate(packet: &mut [u8], carried: Carried, to: &Translation) -> Option<()> {
    match (packet.first()? >> 4, to.source, to.destination) {
        (4, IpAddr::V4(source), IpAddr::V4(destination)) => {
            Ipv4::parse(packet)?;
            let new = [source.octets(), destination.octets()];
            transport(packet, carried, to.ports, (12, new.as_flattened()))?;
            // The header's own sum is there whether it is used or not.
            patch(packet, 10, 12, new.as_flattened(), false)?;
            put(packet, 12, new.as_flattened())
        }
        (6, IpAddr::V6(source), IpAddr::V6(destination)) => {
            let new = [source.octets(), destination.octets()];
            Ipv6::parse(packet)?;
            transport(packet, carried, to.ports, (8, new.as_flattened()))?;
            put(packet, 8, new.as_flattened())
        }
        _ => None,
    }
}

/// Patches the transport's checksum for new addresses, and writes new ports.
fn transport(
    packet: &mut [u8],
    carried: Carried,
    ports: Option<(u16, u16)>,
    (at, addresses): (usize, &[u8]),
) -> Option<()> {
    let Some(start) = carried.transport else { return Some(()) };
    let field = match carried.protocol {
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        protocol::ICMPV6 if packet.first()? >> 4 == 6 => Some(2),
        _ => None,
    };
    let sum = field.map(|field| start + field);
    // No sum stays none; IPv6 has always one.
    let none = carried.protocol == protocol::UDP
        && packet.get(start + 6..start + 8)? == [0, 0]
        && !carried.unfinished;
    let sum = sum.filter(|_| !none);
    if let Some(sum) = sum {
        patch(packet, sum, at, addresses, carried.unfinished)?;
    }
    let Some((source, destination)) = ports else { return Some(()) };
    let [a, b] = source.to_be_bytes();
    let [c, d] = destination.to_be_bytes();
    let new = [a, b, c, d];
    if let Some(sum) = sum.filter(|_| !carried.unfinished) {
        patch(packet, sum, start, &new, false)?;
    }
    put(packet, start, &new)?;
    if carried.protocol == protocol::UDP
        && let Some(sum) = sum.filter(|_| !carried.unfinished)
    {
        let value = u16::from_be_bytes(*packet.get(sum..)?.first_chunk()?);
        put(packet, sum, &checksum::udp_field(value).to_be_bytes())?;
    }
    Some(())
}

/// Brings the sum at `sum` up to date with what is about to be written at `at`.
fn patch(packet: &mut [u8], sum: usize, at: usize, new: &[u8], unfinished: bool) -> Option<()> {
    let old = packet.get(at..at + new.len())?;
    let mut value = u16::from_be_bytes(*packet.get(sum..)?.first_chunk()?);
    if unfinished {
        value = !value;
    }
    for (old, new) in old.chunks_exact(2).zip(new.chunks_exact(2)) {
        let [old, new] =
            [old, new].map(|word| word.first_chunk().map(|word| u16::from_be_bytes(*word)));
        value = checksum::update(value, old?, new?);
    }
    if unfinished {
        value = !value;
    }
    put(packet, sum, &value.to_be_bytes())
}

fn put(packet: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    packet.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, PacketHeaders, TransportHeader};

    use super::*;

    fn carried(protocol: u8, transport: usize) -> Carried {
        Carried { protocol, transport: Some(transport), unfinished: false }
    }

    #[test]
    fn sums_of_both_families_are_right_after_translation() {
        let v4: [IpAddr; 2] = ["192.0.2.100".parse().unwrap(), "198.51.100.9".parse().unwrap()];
        let v6: [IpAddr; 2] = ["2001:db8::1".parse().unwrap(), "2001:db8:ffff::2".parse().unwrap()];
        for tcp in [true, false] {
            for is_v6 in [true, false] {
                let builder = match is_v6 {
                    false => PacketBuilder::ipv4([10, 1, 1, 1], [10, 2, 2, 2], 64),
                    true => PacketBuilder::ipv6([1; 16], [0xfe; 16], 64),
                };
                let mut packet = Vec::new();
                match tcp {
                    true => builder.tcp(1000, 80, 7, 8).write(&mut packet, b"odd").unwrap(),
                    false => builder.udp(1000, 80).write(&mut packet, b"odd").unwrap(),
                }
                let [source, destination] = if is_v6 { v6 } else { v4 };
                let to = Translation { source, destination, ports: Some((50_000, 8080)) };
                let protocol = if tcp { protocol::TCP } else { protocol::UDP };
                translate(&mut packet, carried(protocol, if is_v6 { 40 } else { 20 }), &to)
                    .unwrap();
                let parsed = PacketHeaders::from_ip_slice(&packet).unwrap();
                let (net, payload) = (parsed.net.unwrap(), parsed.payload.slice());
                let (sum, right, ports) = match (parsed.transport.unwrap(), &net) {
                    (TransportHeader::Tcp(tcp), etherparse::NetHeaders::Ipv4(ip, _)) => {
                        assert_eq!(ip.calc_header_checksum(), ip.header_checksum);
                        assert_eq!(
                            (ip.source, ip.destination),
                            ([192, 0, 2, 100], [198, 51, 100, 9])
                        );
                        let right = tcp.calc_checksum_ipv4(ip, payload).unwrap();
                        (tcp.checksum, right, (tcp.source_port, tcp.destination_port))
                    }
                    (TransportHeader::Udp(udp), etherparse::NetHeaders::Ipv4(ip, _)) => {
                        let right = udp.calc_checksum_ipv4(ip, payload).unwrap();
                        (udp.checksum, right, (udp.source_port, udp.destination_port))
                    }
                    (TransportHeader::Tcp(tcp), etherparse::NetHeaders::Ipv6(ip, _)) => {
                        let right = tcp.calc_checksum_ipv6(ip, payload).unwrap();
                        (tcp.checksum, right, (tcp.source_port, tcp.destination_port))
                    }
                    (TransportHeader::Udp(udp), etherparse::NetHeaders::Ipv6(ip, _)) => {
                        let right = udp.calc_checksum_ipv6(ip, payload).unwrap();
                        (udp.checksum, right, (udp.source_port, udp.destination_port))
                    }
                    other => panic!("{other:?}"),
                };
                assert_eq!((sum, ports), (right, (50_000, 8080)));
            }
        }
    }

    #[test]
    fn no_sum_stays_none_and_an_unfinished_one_changes_by_the_addresses_alone() {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 1, 1, 1], [10, 2, 2, 2], 64)
            .udp(1, 2)
            .write(&mut packet, b"x")
            .unwrap();
        let to = Translation {
            source: "10.1.1.2".parse().unwrap(),
            destination: "10.2.2.2".parse().unwrap(),
            ports: Some((3, 2)),
        };
        packet[26..28].fill(0);
        let mut none = packet.clone();
        translate(&mut none, carried(protocol::UDP, 20), &to).unwrap();
        assert_eq!((&none[26..28], &none[20..22]), (&[0, 0][..], &[0, 3][..]));
        let pseudo = |last| {
            checksum::pseudo_v4([10, 1, 1, last].into(), [10, 2, 2, 2].into(), protocol::UDP, 9)
                .folded()
        };
        packet[26..28].copy_from_slice(&pseudo(1).to_be_bytes());
        let carried = Carried { unfinished: true, ..carried(protocol::UDP, 20) };
        translate(&mut packet, carried, &to).unwrap();
        assert_eq!(packet[26..28], pseudo(2).to_be_bytes());
    }

    #[test]
    fn a_later_fragment_has_its_addresses_translated_alone() {
        let mut packet = Vec::new();
        PacketBuilder::ipv4([10, 1, 1, 1], [10, 2, 2, 2], 64)
            .udp(1, 2)
            .write(&mut packet, b"x")
            .unwrap();
        let payload = packet[20..].to_vec();
        let to = Translation {
            source: "10.1.1.2".parse().unwrap(),
            destination: "10.2.2.2".parse().unwrap(),
            ports: Some((3, 2)),
        };
        let later = Carried { protocol: protocol::UDP, transport: None, unfinished: false };
        translate(&mut packet, later, &to).unwrap();
        assert_eq!((&packet[12..16], &packet[20..]), (&[10, 1, 1, 2][..], &payload[..]));
        let cut = packet[..19].to_vec();
        assert!(translate(&mut packet[..19], later, &to).is_none());
        assert_eq!(packet[..19], cut);
    }
}
