//! TCP segments on their way to a port that takes trains: joined again, so that they cost it one packet (reference
//! dataplane.md section 16).
//!
//! Segments of a flow that follow each other wait in a small table until the turn ends, or until something does not
//! continue them: then they leave as one train, with the length of a segment in it, so that the receiver can cut it into
//! the same packets again. What cannot be joined leaves behind what waits of its flow, so order is kept. Only what is
//! joined is verified; a single packet leaves as it came.
//!
//! It is entered when [`crate::ports::Ports`] does not send by itself, so other ports pay nothing. Counters tell packets as
//! they were before they were joined.

use arrayvec::ArrayVec;
use port::{Frame, Segmentation, Train};
use tables::{DropReason, NhId, VifId, VrfId};
use wire::checksum::{self, Sum, Transport};
use wire::{Ethernet, Ipv4, Ipv6, Tcp, ethertype, protocol};

use crate::graph::Cx;
use crate::ports::Exit;

/// Flows that wait at once on a worker.
const FLOWS: usize = 16;
/// Segments of a train at most: what is cut into more elsewhere is dropped.
const MOST: usize = 256;

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    flows: ArrayVec<Flow, FLOWS>,
}

impl Merger {
    /// Whether nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
}

/// The segments that wait of one flow, in one frame.
#[derive(Debug)]
struct Flow {
    exit: Exit,
    /// Where they came in, and the VRF they were in.
    from: (VifId, VrfId),
    frame: Frame,
    /// Of the first.
    segment: Segment,
    /// Sequence number of what continues it.
    next: u32,
    packets: usize,
    /// Of the frames as they came.
    bytes: u64,
}

/// Takes a packet for a port that takes trains.
#[inline(never)]
pub(crate) fn send(cx: &mut Cx<'_>, frame: Frame, exit: Exit, from: (VifId, VrfId)) {
    let Some(segment) = Segment::of(&frame) else {
        return alone(cx, frame, exit, from);
    };
    if let Some(at) = position(cx.merger, exit, &segment, &frame) {
        match joins(cx.merger, at, &segment, &frame) {
            Joins::No => release(cx, at),
            Joins::Yes(ends) => match append(cx, at, &segment, frame) {
                Appended::Yes if ends => return release(cx, at),
                Appended::Yes => return,
                Appended::Wrong(frame) => {
                    return cx.drop_frame(frame, (from.0, from.1, NhId(0)), DropReason::CksumErr);
                }
                Appended::Alone(frame) => return begin(cx, frame, exit, from, segment),
                Appended::NoRoom(frame) => {
                    release(cx, at);
                    return begin(cx, frame, exit, from, segment);
                }
            },
        }
    }
    begin(cx, frame, exit, from, segment);
}

/// Lets go of all that waits.
pub(crate) fn flush(cx: &mut Cx<'_>) {
    while !cx.merger.is_empty() {
        release(cx, 0);
    }
}

/// A packet that nothing waits for: it waits itself, if something may follow it.
fn begin(cx: &mut Cx<'_>, frame: Frame, exit: Exit, from: (VifId, VrfId), segment: Segment) {
    if !segment.may_begin {
        return alone(cx, frame, exit, from);
    }
    if cx.merger.flows.is_full() {
        release(cx, 0);
    }
    let next = segment.sequence.wrapping_add(segment.length);
    let bytes = frame.len() as u64;
    cx.merger.flows.push(Flow { exit, from, frame, segment, next, packets: 1, bytes });
}

/// Which flow that waits a packet belongs to.
fn position(merger: &Merger, exit: Exit, segment: &Segment, frame: &Frame) -> Option<usize> {
    merger.flows.iter().position(|flow| {
        flow.exit == exit
            && flow.segment.network == segment.network
            && segment.flow(frame).is_some_and(|key| flow.segment.flow(&flow.frame) == Some(key))
    })
}

enum Joins {
    No,
    /// And whether nothing may follow.
    Yes(bool),
}

/// Whether a packet continues what waits, and agrees with it in all that a train has but once.
fn joins(merger: &Merger, at: usize, segment: &Segment, frame: &Frame) -> Joins {
    let Some(flow) = merger.flows.get(at) else { return Joins::No };
    let first = &flow.segment;
    let total = flow.frame.len() + segment.length as usize;
    let continues = segment.may_join
        && segment.sequence == flow.next
        && segment.length <= first.length
        && segment.options == first.options
        && flow.packets < MOST
        // The IP packet's length, and room in a large frame.
        && total <= usize::from(u16::MAX - port::LARGE_HEADROOM)
        && first.agrees(&flow.frame, segment, frame);
    if continues { Joins::Yes(segment.pushes || segment.length < first.length) } else { Joins::No }
}

enum Appended {
    Yes,
    /// Its checksum is wrong.
    Wrong(Frame),
    /// What waited was wrong, and is gone.
    Alone(Frame),
    /// There is no large frame.
    NoRoom(Frame),
}

fn append(cx: &mut Cx<'_>, at: usize, segment: &Segment, frame: Frame) -> Appended {
    let Some(flow) = cx.merger.flows.get_mut(at) else { return Appended::Alone(frame) };
    if !segment.is_right(&frame) {
        return Appended::Wrong(frame);
    }
    if flow.packets == 1 {
        if !flow.segment.is_right(&flow.frame) {
            let Flow { frame: wrong, from, .. } = cx.merger.flows.remove(at);
            cx.drop_frame(wrong, (from.0, from.1, NhId(0)), DropReason::CksumErr);
            return Appended::Alone(frame);
        }
        let Some(mut large) = cx.pool.take_large() else { return Appended::NoRoom(frame) };
        if large.fill(flow.frame.data()).is_err() {
            cx.pool.give(large);
            return Appended::NoRoom(frame);
        }
        cx.pool.give(std::mem::replace(&mut flow.frame, large));
    }
    let payload = frame.data().get(segment.payload..).unwrap_or_default();
    match flow.frame.extend(payload.len()) {
        Ok(room) => room.copy_from_slice(payload),
        Err(_) => return Appended::NoRoom(frame),
    }
    flow.next = flow.next.wrapping_add(segment.length);
    flow.packets += 1;
    flow.bytes += frame.len() as u64;
    flow.segment.pushes |= segment.pushes;
    cx.pool.give(frame);
    Appended::Yes
}

/// Lets go of what waits at a place.
fn release(cx: &mut Cx<'_>, at: usize) {
    if at >= cx.merger.flows.len() {
        return;
    }
    let Flow { exit, from, mut frame, segment, packets, bytes, .. } = cx.merger.flows.remove(at);
    if packets == 1 {
        return alone(cx, frame, exit, from);
    }
    let finished = segment.finish(&mut frame);
    debug_assert!(finished.is_some(), "its headers were parsed");
    match cx.ports.send_whole(frame, exit.vif) {
        Ok(()) => {
            cx.counters.sent(exit.counted, packets as u64, bytes);
            cx.counters.merged(from.1, packets as u64);
        }
        Err((frame, reason)) => {
            for _ in 0..packets {
                cx.counters.send_error(exit.counted);
                cx.drop_part(&frame, from, reason);
            }
            cx.pool.give(frame);
        }
    }
}

/// Gives a single packet to the port.
fn alone(cx: &mut Cx<'_>, frame: Frame, exit: Exit, from: (VifId, VrfId)) {
    let bytes = frame.len() as u64;
    match cx.ports.send_whole(frame, exit.vif) {
        Ok(()) => cx.counters.sent(exit.counted, 1, bytes),
        Err((frame, reason)) => {
            cx.counters.send_error(exit.counted);
            cx.drop_frame(frame, (from.0, from.1, NhId(0)), reason);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    V4,
    V6,
}

/// Where the network header is: tagged frames are not joined.
const NETWORK: usize = Ethernet::LEN;
/// Where a checksum is in a TCP header.
const TCP_SUM: u16 = 16;
/// TCP options that are no obstacle: two paddings, then a timestamp (RFC 7323, appendix A).
const TIMESTAMP: [u8; 4] = [1, 1, 8, 10];

/// A TCP packet in an untagged frame.
#[derive(Clone, Copy, Debug)]
struct Segment {
    network: Network,
    transport: usize,
    payload: usize,
    /// Bytes of payload.
    length: u32,
    sequence: u32,
    /// Its options, with the timestamps: they must be the same in all of a train.
    options: Option<[u8; 12]>,
    /// Nothing in it stands against being joined to what waits, or being the first.
    may_join: bool,
    may_begin: bool,
    pushes: bool,
}

impl Segment {
    /// `None` for what is no TCP packet, a fragment, a train already, or has IP options or extension headers.
    fn of(frame: &Frame) -> Option<Segment> {
        if frame.is_large() {
            return None;
        }
        let data = frame.data();
        let (ethernet, ip) = Ethernet::parse(data)?;
        let (network, transport, end) = match ethernet.ethertype() {
            ethertype::IPV4 => {
                let (header, _) = Ipv4::parse(ip)?;
                let plain = header.header_length() == Ipv4::LEN
                    && header.protocol() == protocol::TCP
                    && !header.is_fragment();
                plain.then_some(())?;
                let end = NETWORK + usize::from(header.total_length());
                (Network::V4, NETWORK + Ipv4::LEN, end)
            }
            ethertype::IPV6 => {
                let (header, _) = Ipv6::parse(ip)?;
                (header.next_header() == protocol::TCP).then_some(())?;
                let end = NETWORK + Ipv6::LEN + usize::from(header.payload_length());
                (Network::V6, NETWORK + Ipv6::LEN, end)
            }
            _ => return None,
        };
        let (tcp, rest) = Tcp::parse(data.get(transport..)?)?;
        let payload = transport + tcp.header_length();
        let length = u32::try_from(data.len().checked_sub(payload)?).ok()?;
        let options: Option<[u8; 12]> =
            match tcp.header_length() - Tcp::LEN.min(tcp.header_length()) {
                12 => rest.first_chunk().copied(),
                _ => None,
            };
        let known = tcp.header_length() == Tcp::LEN
            || options.is_some_and(|options| options.starts_with(&TIMESTAMP));
        let pushes = tcp.flags() & Tcp::PSH != 0;
        let plain = known && end == data.len() && length > 0 && tcp.flags() & !Tcp::PSH == Tcp::ACK;
        let sequence = tcp.sequence();
        Some(Segment {
            network,
            transport,
            payload,
            length,
            sequence,
            options,
            may_join: plain,
            may_begin: plain && !pushes,
            pushes,
        })
    }

    /// Addresses and ports of its flow.
    fn flow<'a>(&self, frame: &'a Frame) -> Option<(&'a [u8], &'a [u8])> {
        let addresses = match self.network {
            Network::V4 => NETWORK + 12..NETWORK + 20,
            Network::V6 => NETWORK + 8..NETWORK + 40,
        };
        let data = frame.data();
        Some((data.get(addresses)?, data.get(self.transport..self.transport + 4)?))
    }

    /// Whether another segment of the flow has the same headers, but for what differs between segments of a train:
    /// lengths, identification, sums, sequence number, PSH.
    fn agrees(&self, own: &Frame, other: &Segment, frame: &Frame) -> bool {
        let (own, theirs) = (own.data(), frame.data());
        let same = |range: std::ops::Range<usize>| own.get(range.clone()) == theirs.get(range);
        let at = self.transport;
        let network = match self.network {
            // Version and TOS; fragmentation, TTL and protocol.
            Network::V4 => same(NETWORK..NETWORK + 2) && same(NETWORK + 6..NETWORK + 10),
            // Version, traffic class and flow label; next header and hop limit.
            Network::V6 => same(NETWORK..NETWORK + 4) && same(NETWORK + 6..NETWORK + 8),
        };
        // Acknowledgment number and header length; window.
        let transport = same(at + 8..at + 13) && same(at + 14..at + 16);
        other.payload == self.payload && same(0..NETWORK) && network && transport
    }

    fn pseudo(&self, data: &[u8]) -> Option<Sum> {
        let (ip, length) = (data.get(NETWORK..)?, data.len().checked_sub(self.transport)?);
        Some(match self.network {
            Network::V4 => {
                let (ip, _) = Ipv4::parse(ip)?;
                let length = u16::try_from(length).ok()?;
                checksum::pseudo_v4(ip.source(), ip.destination(), protocol::TCP, length)
            }
            Network::V6 => {
                let (ip, _) = Ipv6::parse(ip)?;
                let length = u32::try_from(length).ok()?;
                checksum::pseudo_v6(ip.source(), ip.destination(), protocol::TCP, length)
            }
        })
    }

    fn is_right(&self, frame: &Frame) -> bool {
        let data = frame.data();
        let segment = data.get(self.transport..).unwrap_or_default();
        self.pseudo(data).is_some_and(|pseudo| checksum::is_right(Transport::Tcp, pseudo, segment))
    }

    /// Makes a frame that begins with this segment's headers a train of segments like it.
    fn finish(&self, frame: &mut Frame) -> Option<()> {
        let data = frame.data_mut();
        let length = u16::try_from(data.len().checked_sub(NETWORK)?).ok()?;
        let ip = data.get_mut(NETWORK..)?;
        let segmentation = match self.network {
            Network::V4 => {
                let (ip, _) = Ipv4::parse_mut(ip)?;
                ip.set_length_and_id(length, ip.id());
                Segmentation::TcpV4 { congestion: false }
            }
            Network::V6 => {
                let (ip, _) = Ipv6::parse_mut(ip)?;
                ip.set_payload_length(length.checked_sub(u16::try_from(Ipv6::LEN).ok()?)?);
                Segmentation::TcpV6 { congestion: false }
            }
        };
        let unfinished = self.pseudo(data)?.folded();
        let (tcp, _) = Tcp::parse_mut(data.get_mut(self.transport..)?)?;
        if self.pushes {
            tcp.set_flags(tcp.flags() | Tcp::PSH);
        }
        tcp.set_checksum(unfinished);
        let train = Train {
            segmentation,
            size: u16::try_from(self.length).ok()?,
            transport: u16::try_from(self.transport).ok()?,
            sum: TCP_SUM,
            network: u16::try_from(NETWORK).ok(),
        };
        frame.set_train(Some(&train)).then_some(())
    }
}
