//! Fragment: an IP packet that is larger than its way carries, and may be cut, goes on in pieces that fit. The inner packet
//! is cut, not the tunnel's: each piece gets outer headers of its own (reference dataplane.md section 15.3).

use arrayvec::ArrayVec;
use port::Frame;
use tables::DropReason;
use wire::{Cut, Ipv4};

use super::next_hop::once_more;
use crate::flow_hash::identification;
use crate::graph::{Cx, Next, Node, NodeId};
use crate::packet::{Cast, Fragment as Part, Meta, Packet, Protocol, Trap};

/// How many pieces a packet is cut into at most.
const MOST: usize = 7;
/// What every IPv6 link carries (RFC 8200 section 5): a sender is never told of less.
const LEAST_MTU_V6: u16 = 1280;
/// Ethernet header and tags of a frame whose packet is cut, at most.
const MOST_IN_FRONT: usize = 32;

/// Counts identifications of IPv6 packets that had none.
#[derive(Default)]
pub(crate) struct Fragment {
    made: u64,
}

impl Node for Fragment {
    const ID: NodeId = NodeId::Fragment;
    const EDGES: &'static [NodeId] = &[NodeId::NextHop, NodeId::Drop];

    /// The first piece goes on in the packet's own frame, the others follow the burst. All are given to the next hop
    /// again, and have the whole packet's flow, so the same outer source port.
    fn step(&mut self, cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let Trap::HandleDf { mtu } = packet.meta.trap else {
            return Next::Drop(DropReason::InterfaceDrop);
        };
        match self.plan(cx, packet, mtu).and_then(|cut| in_pieces(cx, packet, &cut)) {
            Some(()) => once_more(cx, packet),
            None => Next::Drop(DropReason::InterfaceDrop),
        }
    }
}

impl Fragment {
    fn plan(&mut self, cx: &Cx<'_>, packet: &Packet<'_>, mtu: u16) -> Option<Cut> {
        let network = packet.network();
        let cut = match packet.meta.protocol {
            Protocol::Ipv4 => Cut::v4(network, mtu)?,
            Protocol::Ipv6 => {
                self.made = self.made.wrapping_add(1);
                let number = self.made << 8 | u64::from(cx.workers.own().0);
                Cut::v6(network, mtu, identification(cx.seed, number))?
            }
            Protocol::Arp | Protocol::Other => return None,
        };
        (2..=MOST).contains(&cut.pieces()).then_some(cut)
    }
}

/// `None` when frames or room are lacking; then nothing has changed.
fn in_pieces(cx: &mut Cx<'_>, packet: &mut Packet<'_>, cut: &Cut) -> Option<()> {
    let network = usize::from(packet.meta.network);
    if network > MOST_IN_FRONT || cx.spawned.room() < cut.pieces() {
        return None;
    }
    let mut frames: ArrayVec<Frame, MOST> = ArrayVec::new();
    for piece in 1..cut.pieces() {
        let length = network + cut.header_length(piece) + cut.payload(piece).len();
        let filled = cx.pool.take_for(length).map(|mut frame| {
            let filled = fill(&mut frame, packet, cut, piece).is_some();
            frames.push(frame);
            filled
        });
        if filled != Some(true) {
            frames.into_iter().for_each(|frame| cx.pool.give(frame));
            return None;
        }
    }
    let head = shorten(packet, cut);
    for (piece, frame) in (1..).zip(frames) {
        let mut meta = packet.meta.clone();
        meta.fragment = Part::Later;
        meta.transport = offset(network + cut.header_length(piece));
        if head.is_none() {
            // Without its beginning the rest is of no use.
            cx.pool.give(frame);
        } else if let Err(frame) = cx.spawn(frame, meta, Next::NextHop) {
            cx.pool.give(frame);
        }
    }
    head
}

/// Makes an empty frame a piece of the packet: what is in front of its IP header, the piece's headers, its payload.
fn fill(frame: &mut Frame, packet: &Packet<'_>, cut: &Cut, piece: usize) -> Option<()> {
    let in_front = packet.frame.data().get(..usize::from(packet.meta.network))?;
    let payload = packet.network().get(cut.payload(piece))?;
    let headers = cut.header_length(piece);
    let room = frame.extend(in_front.len() + headers + payload.len()).ok()?;
    let (front, rest) = room.split_at_mut_checked(in_front.len())?;
    front.copy_from_slice(in_front);
    let (header, rest) = rest.split_at_mut_checked(headers)?;
    cut.emit(piece, header)?;
    rest.copy_from_slice(payload);
    Some(())
}

/// Makes the packet its own first piece.
fn shorten(packet: &mut Packet<'_>, cut: &Cut) -> Option<()> {
    let network = usize::from(packet.meta.network);
    let payload = cut.payload(0);
    let mut in_front = [0; MOST_IN_FRONT];
    let kept = in_front.get_mut(..network)?;
    kept.copy_from_slice(packet.frame.data().get(..network)?);
    packet.frame.trim(network + payload.end);
    packet.frame.pull(network + payload.start).ok()?;
    let room = packet.frame.push(network + cut.header_length(0)).ok()?;
    let (front, header) = room.split_at_mut_checked(network)?;
    front.copy_from_slice(kept);
    cut.emit(0, header)?;
    let meta: &mut Meta = packet.meta;
    if meta.fragment == Part::Whole {
        meta.fragment = Part::Head;
    }
    let headers = usize::from(meta.transport).saturating_sub(network + payload.start);
    meta.transport = offset(network + cut.header_length(0) + headers);
    Some(())
}

fn offset(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}

/// What becomes of a packet of which `mtu` bytes from its IP header on would fit. IPv4 without DF is cut. With DF, and
/// always for IPv6, the sender is told; a group is not asked (section 15.2). An IPv6 sender need not go below 1280 bytes,
/// so where less fits, what is no longer than that is cut on its behalf: the far ends of tunnels do not reassemble outer
/// fragments, so that the inner packet is (RFC 2473 section 7.1 has the same bound, and cuts the outer one).
#[cold]
pub(super) fn too_big(packet: &mut Packet<'_>, mtu: usize) -> Next {
    let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
    let (may_be_cut, told) = match packet.meta.protocol {
        Protocol::Ipv4 => {
            let keep_whole = Ipv4::parse(packet.network()).is_none_or(|(ip, _)| ip.dont_fragment());
            (!keep_whole && packet.frame.train().is_none(), mtu)
        }
        Protocol::Ipv6 => {
            let short = packet.network().len() <= usize::from(LEAST_MTU_V6);
            (short, mtu.max(LEAST_MTU_V6))
        }
        Protocol::Arp | Protocol::Other => return Next::Drop(DropReason::InterfaceDrop),
    };
    if may_be_cut {
        packet.meta.trap = Trap::HandleDf { mtu };
        return Next::Fragment;
    }
    packet.meta.trap = Trap::HandleDf { mtu: told };
    match packet.meta.cast {
        Cast::Group => Next::Drop(DropReason::McastDfBit),
        Cast::Unicast => Next::Icmp,
    }
}
