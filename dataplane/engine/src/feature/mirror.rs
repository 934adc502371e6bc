//! Copies: to a mirror's next hop (reference dataplane.md section 18), or as they are to a monitoring interface.
//!
//! A copy is a packet of the dataplane's own: it is never copied again, it meets no limit, and what becomes of it is
//! counted where it was made. One that cannot be made counts as `CloneFail`.

use arrayvec::ArrayVec;
use port::Frame;
use tables::{
    DropReason, Fib, FibNextHop, FibVif, Mirror, MirrorFlags, MirrorId, VifFeatures, VifId,
    VifKind, VrfId,
};

use crate::graph::{Cx, Next};
use crate::packet::{Marks, Meta, Packet, Spread};

/// Which way a mirrored packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Into the vRouter.
    Received,
    /// Out of it.
    Sent,
}

/// In front of a dynamic mirror's copy when the interface has no metadata.
const NO_METADATA: [u8; 2] = [0xff, 0x00];

/// Mirrors a frame if the interface wants that of this direction. What is no frame of the workload's or the fabric's, but a
/// copy, is not. A hardware-assisted mirror copies nothing.
pub(super) fn mirror(
    cx: &mut Cx<'_>,
    frame: &Frame,
    meta: &Meta,
    vif: &FibVif,
    direction: Direction,
) {
    let feature = match direction {
        Direction::Received => VifFeatures::MIRROR_RX,
        Direction::Sent => VifFeatures::MIRROR_TX,
    };
    if !vif.features.contains(feature) || meta.marks.contains(Marks::COPY) {
        return;
    }
    let fib = cx.fib;
    let Some(extras) = &vif.extras else { return };
    let Some(mirror) = extras.mirror.and_then(|id| fib.mirror(id)) else { return };
    if mirror.flags.contains(MirrorFlags::HW_ASSISTED) {
        return;
    }
    let copy = copied(fib, mirror, (vif.id, vif.kind), meta.vrf);
    let metadata = match direction {
        Direction::Received => &extras.ingress_metadata,
        Direction::Sent => &extras.egress_metadata,
    };
    let in_front: &[u8] = match (mirror.flags.contains(MirrorFlags::DYNAMIC), &**metadata) {
        (false, _) => &[],
        (true, []) => &NO_METADATA,
        (true, metadata) => metadata,
    };
    send(cx, frame, copy, in_front, Next::NextHop);
}

/// Copies a packet of a session that is mirrored by policy, before anything of it is translated. What came out of a tunnel
/// has no tunnel headers, and the Ethernet header that it would be delivered with.
pub(crate) fn of_session(cx: &mut Cx<'_>, packet: &Packet<'_>, mirrors: [Option<MirrorId>; 2]) {
    let meta = &*packet.meta;
    if meta.marks.contains(Marks::COPY) {
        return;
    }
    let fib = cx.fib;
    let (vif, header) = match fib.next_hop(meta.nh) {
        FibNextHop::Encap { vif, rewrite, .. } if !meta.is_from_workload() => {
            let ethertype = meta.protocol.ip_ethertype().filter(|_| meta.network == 0);
            let header = ethertype.map(|ethertype| {
                let mut header = *rewrite;
                let [.., a, b] = &mut header;
                [*a, *b] = ethertype.to_be_bytes();
                header
            });
            (*vif, header)
        }
        _ => (meta.rx_vif, None),
    };
    let kind = fib.vif(vif).map_or(meta.rx_kind, |vif| vif.kind);
    for mirror in mirrors.into_iter().flatten().filter_map(|id| fib.mirror(id)) {
        if mirror.flags.contains(MirrorFlags::HW_ASSISTED) {
            continue;
        }
        let mut in_front = ArrayVec::<u8, { NO_METADATA.len() + 14 }>::new();
        if mirror.flags.contains(MirrorFlags::DYNAMIC) {
            in_front.extend(NO_METADATA);
        }
        in_front.extend(header.into_iter().flatten());
        let copy = copied(fib, mirror, (vif, kind), meta.vrf);
        send(cx, packet.frame, copy, &in_front, Next::NextHop);
    }
}

/// What is known of a copy for a mirror: it is charged to an interface.
fn copied(fib: &Fib, mirror: &Mirror, (vif, kind): (VifId, VifKind), vrf: VrfId) -> Meta {
    let mut copy = Meta::arriving(vif, Spread::Done);
    copy.rx_kind = kind;
    copy.marks = Marks::COPY;
    copy.nh = mirror.next_hop;
    copy.set_label(mirror.vni.map(u32::from));
    copy.vrf = fib.next_hop_entry(mirror.next_hop).vrf.unwrap_or(vrf);
    copy
}

/// Copies a frame to the monitoring interface, if there is one; copies are not. Losses are the monitoring interface's.
pub(super) fn monitor(cx: &mut Cx<'_>, frame: &Frame, meta: &Meta, vif: &FibVif) {
    if meta.marks.contains(Marks::COPY) {
        return;
    }
    let Some(monitor) = vif.extras.as_ref().and_then(|extras| extras.monitor) else { return };
    let mut copy = Meta::arriving(monitor, Spread::Done);
    copy.vrf = vif.vrf;
    copy.marks = Marks::COPY;
    copy.tx_vif = monitor;
    send(cx, frame, copy, &[], Next::VifTx);
}

/// A copy with metadata in front, and still all the headroom that tunnels need. What the port noted of a train is not
/// kept: a train is then a packet that is too big.
fn copy_behind(cx: &mut Cx<'_>, frame: &Frame, in_front: &[u8]) -> Option<Frame> {
    let length = in_front.len() + frame.len();
    let mut copy = cx.pool.take_for(length)?;
    let set = copy.set_len(length);
    let (front, rest) = copy.data_mut().split_at_mut_checked(in_front.len())?;
    debug_assert!(set.is_ok() && rest.len() == frame.len());
    front.copy_from_slice(in_front);
    if rest.len() == frame.len() {
        rest.copy_from_slice(frame.data());
    }
    Some(copy)
}

fn send(cx: &mut Cx<'_>, frame: &Frame, meta: Meta, in_front: &[u8], next: Next) {
    let from = (meta.rx_vif, meta.vrf);
    let copy = match in_front.len() {
        0 => cx.pool.copy(frame),
        _ => copy_behind(cx, frame, in_front),
    };
    let sent = match copy {
        Some(copy) => cx.spawn(copy, meta, next).map_err(Some),
        None => Err(None),
    };
    if let Err(lost) = sent {
        // Made and lost: the sums stay right.
        cx.counters.spawned();
        cx.counters.dropped(from.0, from.1, DropReason::CloneFail, 1);
        lost.into_iter().for_each(|frame| cx.pool.give(frame));
    }
}
