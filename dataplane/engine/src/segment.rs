//! Trains of segments: cut on the way out of a port that does not take them whole (reference dataplane.md section 16).
//!
//! A train goes through the graph as one packet and is encapsulated as one: its outer lengths are then those of a packet
//! larger than any. Here each segment gets a copy of all headers, outer and inner, and what differs is written: lengths,
//! identifications, sequence number, flags, checksums. It is entered when a port has refused a frame, so the common path
//! does not ask.

use std::ops::Range;

use port::{Frame, Segmentation, Train};
use tables::{DropReason, NhId, VifId, VrfId};
use wire::checksum::{self, Sum, Transport};
use wire::{Ipv4, Ipv6, Tcp, Udp, ethernet_payload, ethertype, protocol};

use crate::graph::Cx;
use crate::ports::Exit;

/// Segments a train is cut into at most.
const MOST: usize = 256;

/// Sends a train segment by segment, if that is why the port has refused it. `from` is where it came in and the VRF it
/// was in: segments that do not leave are dropped there, and the sent ones counted as `exit` says.
///
/// # Errors
/// The frame and the reason again when it is no train for such a port; `InvalidPacket` for a train whose headers are not
/// what its port said, or that would be more than 256 segments.
#[cold]
#[inline(never)]
pub(crate) fn refused(
    cx: &mut Cx<'_>,
    (frame, reason): (Frame, DropReason),
    exit: Exit,
    from: (VifId, VrfId),
) -> Result<(), (Frame, DropReason)> {
    if reason != DropReason::InterfaceDrop || frame.train().is_none() || !cx.ports.cuts(exit.vif) {
        return Err((frame, reason));
    }
    let Some(cut) = Cut::of(&frame) else { return Err((frame, DropReason::InvalidPacket)) };
    cx.counters.cut(cut.count as u64);
    let (mut sent, mut bytes) = (0, 0);
    for index in 0..cut.count {
        let length = cut.length(index);
        let made = cx.pool.take_for(length).and_then(|mut segment| {
            if cut.make(index, frame.data(), &mut segment).is_some() {
                return Some(segment);
            }
            cx.pool.give(segment);
            None
        });
        match made.map(|segment| cx.ports.send_own(segment, exit.vif)) {
            Some(Ok(())) => {
                sent += 1;
                bytes += length as u64;
            }
            Some(Err((segment, reason))) => {
                cx.counters.send_error(exit.counted);
                cx.drop_frame(segment, (from.0, from.1, NhId(0)), reason);
            }
            None => {
                cx.counters.send_error(exit.counted);
                cx.drop_part(&frame, from, DropReason::NoMemory);
            }
        }
    }
    cx.counters.sent(exit.counted, sent, bytes);
    cx.pool.give(frame);
    Ok(())
}

/// Makes the segments of a train small enough for a packet of `most` bytes from `front` bytes into the frame on; `false`
/// when it is no train, its segments are larger and must stay so. What may be fragmented may be cut smaller as well.
pub(crate) fn fit(frame: &mut Frame, front: usize, most: usize) -> bool {
    let Some(mut train) = frame.train() else { return false };
    let Some(payload) = payload(frame.data(), &train) else { return false };
    let Some(room) = (most + front).checked_sub(payload) else { return false };
    if usize::from(train.size) <= room {
        return true;
    }
    let may = train.segmentation != Segmentation::Udp && !dont_fragment(frame.data(), &train);
    match u16::try_from(room) {
        Ok(size @ 1..) if may => {
            train.size = size;
            frame.set_train(Some(&train))
        }
        _ => false,
    }
}

fn dont_fragment(data: &[u8], train: &Train) -> bool {
    match train.segmentation {
        Segmentation::TcpV6 { .. } | Segmentation::Udp => true,
        Segmentation::TcpV4 { .. } => {
            let ip = train.network.and_then(|at| data.get(usize::from(at)..)).and_then(Ipv4::parse);
            ip.is_none_or(|(ip, _)| ip.dont_fragment())
        }
    }
}

/// Where the payload of a train begins.
fn payload(data: &[u8], train: &Train) -> Option<usize> {
    let at = usize::from(train.transport);
    let header = match train.segmentation {
        Segmentation::Udp => Udp::LEN,
        Segmentation::TcpV4 { .. } | Segmentation::TcpV6 { .. } => {
            let (tcp, _) = Tcp::parse(data.get(at..)?)?;
            Some(tcp.header_length()).filter(|length| *length >= Tcp::LEN)?
        }
    };
    Some(at + header).filter(|payload| *payload <= data.len())
}

/// A network header that has lengths of its own to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    V4,
    V6,
}

/// How a train is cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// The tunnel's network header, if it is in one, and whether UDP is behind it.
    outer: Option<(Network, usize)>,
    network: (Network, usize),
    transport: (Transport, usize),
    payload: usize,
    /// Where the train ends.
    end: usize,
    size: usize,
    count: usize,
}

impl Cut {
    fn of(frame: &Frame) -> Option<Cut> {
        let (train, data) = (frame.train()?, frame.data());
        let at = usize::from(train.network?);
        let network = match (train.segmentation, data.get(at)? >> 4) {
            (Segmentation::TcpV4 { .. } | Segmentation::Udp, 4) => Network::V4,
            (Segmentation::TcpV6 { .. } | Segmentation::Udp, 6) => Network::V6,
            _ => return None,
        };
        let transport = match train.segmentation {
            Segmentation::Udp => Transport::Udp,
            Segmentation::TcpV4 { .. } | Segmentation::TcpV6 { .. } => Transport::Tcp,
        };
        let payload = payload(data, &train)?;
        let size = usize::from(train.size);
        let count = (data.len() - payload).div_ceil(size).max(1);
        let link = ethernet_payload(data)?;
        let outer = match link.ethertype {
            _ if link.offset == at => None,
            ethertype::IPV4 => Some((Network::V4, link.offset)),
            ethertype::IPV6 => Some((Network::V6, link.offset)),
            _ => return None,
        };
        let transport = (transport, usize::from(train.transport));
        let network = (network, at);
        (count <= MOST).then_some(Cut {
            outer,
            network,
            transport,
            payload,
            end: data.len(),
            size,
            count,
        })
    }

    /// Which part of the payload a segment carries.
    fn part(&self, index: usize) -> Range<usize> {
        let start = self.payload + index * self.size;
        start..(start + self.size).min(self.end)
    }

    /// Bytes of a segment with all its headers.
    fn length(&self, index: usize) -> usize {
        self.payload + self.part(index).len()
    }

    /// Makes `segment` the one with this number; `None` if it has no room.
    fn make(&self, index: usize, train: &[u8], segment: &mut Frame) -> Option<()> {
        segment.clear();
        let bytes = segment.extend(self.length(index)).ok()?;
        let (headers, payload) = bytes.split_at_mut_checked(self.payload)?;
        headers.copy_from_slice(train.get(..self.payload)?);
        payload.copy_from_slice(train.get(self.part(index))?);
        let number = u16::try_from(index).ok()?;
        self.finish_transport(index, bytes)?;
        let (network, at) = self.network;
        network.finish(number, bytes.get_mut(at..)?)?;
        let Some((outer, at)) = self.outer else { return Some(()) };
        outer.finish(number, bytes.get_mut(at..)?)?;
        outer.finish_udp(bytes.get_mut(at..)?)
    }

    fn finish_transport(&self, index: usize, bytes: &mut [u8]) -> Option<()> {
        let (transport, at) = self.transport;
        let pseudo =
            self.network.0.pseudo(bytes.get(self.network.1..)?, transport, bytes.len() - at)?;
        let segment = bytes.get_mut(at..)?;
        let length = u16::try_from(segment.len()).ok()?;
        match transport {
            Transport::Tcp => {
                let (tcp, _) = Tcp::parse_mut(segment)?;
                let sent = u32::try_from(index * self.size).ok()?;
                tcp.set_sequence(tcp.sequence().wrapping_add(sent));
                let mut flags = tcp.flags();
                if index != 0 {
                    flags &= !Tcp::CWR;
                }
                if index + 1 != self.count {
                    flags &= !(Tcp::FIN | Tcp::PSH);
                }
                tcp.set_flags(flags);
            }
            Transport::Udp => Udp::parse_mut(segment)?.0.set_length(length),
        }
        checksum::write(transport, pseudo, segment);
        Some(())
    }
}

impl Network {
    /// Writes length, identification and checksum into the header that `bytes` begin with; they end with the packet.
    fn finish(self, number: u16, bytes: &mut [u8]) -> Option<()> {
        let length = u16::try_from(bytes.len()).ok()?;
        match self {
            Network::V4 => {
                let (ip, _) = Ipv4::parse_mut(bytes)?;
                ip.set_length_and_id(length, ip.id().wrapping_add(number));
            }
            Network::V6 => {
                let (ip, _) = Ipv6::parse_mut(bytes)?;
                ip.set_payload_length(length.checked_sub(u16::try_from(Ipv6::LEN).ok()?)?);
            }
        }
        Some(())
    }

    /// Writes the length of a tunnel's UDP header, if there is one, and its checksum, if it has one.
    fn finish_udp(self, bytes: &mut [u8]) -> Option<()> {
        let (next, at) = match self {
            Network::V4 => {
                let (ip, _) = Ipv4::parse(bytes)?;
                (ip.protocol(), ip.header_length())
            }
            Network::V6 => (Ipv6::parse(bytes)?.0.next_header(), Ipv6::LEN),
        };
        if next != protocol::UDP {
            return Some(());
        }
        let pseudo = self.pseudo(bytes, Transport::Udp, bytes.len().checked_sub(at)?)?;
        let datagram = bytes.get_mut(at..)?;
        let length = u16::try_from(datagram.len()).ok()?;
        let (udp, _) = Udp::parse_mut(datagram)?;
        udp.set_length(length);
        if udp.checksum() != 0 {
            checksum::write(Transport::Udp, pseudo, datagram);
        }
        Some(())
    }

    /// The pseudo-header's sum, of `length` bytes of transport header and payload.
    fn pseudo(self, header: &[u8], transport: Transport, length: usize) -> Option<Sum> {
        let protocol = match transport {
            Transport::Tcp => protocol::TCP,
            Transport::Udp => protocol::UDP,
        };
        let length = u16::try_from(length).ok()?;
        Some(match self {
            Network::V4 => {
                let (ip, _) = Ipv4::parse(header)?;
                checksum::pseudo_v4(ip.source(), ip.destination(), protocol, length)
            }
            Network::V6 => {
                let (ip, _) = Ipv6::parse(header)?;
                checksum::pseudo_v6(ip.source(), ip.destination(), protocol, length.into())
            }
        })
    }
}
