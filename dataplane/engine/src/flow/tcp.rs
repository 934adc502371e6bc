//! TCP's state in both directions of a session (reference dataplane.md section 14.8). Nothing is dropped here: what makes
//! no sense is forwarded and changes no state.

use tables::flow::{Flow, TcpFlags};
use wire::Tcp;

use crate::packet::Packet;

/// What a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) flags: u8,
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    /// Bytes.
    pub(crate) payload: u32,
}

impl Segment {
    /// Of a whole TCP packet; `None` when its header is cut.
    pub(crate) fn of(packet: &Packet<'_>) -> Option<Segment> {
        let segment = packet.frame.data().get(usize::from(packet.meta.transport)..)?;
        let (tcp, _) = Tcp::parse(segment)?;
        Some(Segment {
            flags: tcp.flags(),
            sequence: tcp.sequence(),
            acknowledgment: tcp.acknowledgment(),
            payload: u32::try_from(segment.len().saturating_sub(tcp.header_length())).unwrap_or(0),
        })
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The first segment of a connection.
    pub(crate) fn opens(&self) -> bool {
        self.has(Tcp::SYN) && !self.has(Tcp::ACK)
    }
}

/// Follows a segment of `flow`, whose answers are `other`'s.
#[inline]
pub(crate) fn follow(flow: Flow<'_>, other: Flow<'_>, segment: Segment) {
    let (sequence, acknowledged) = flow.sequence();
    let has_ack = segment.has(Tcp::ACK);
    let acknowledgement = if has_ack { segment.acknowledgment } else { acknowledged };
    let news = Tcp::SYN | Tcp::FIN | Tcp::RST;
    let settled = TcpFlags::ESTABLISHED.with(TcpFlags::ESTABLISHED_REVERSE);
    let known = flow.tcp();
    if segment.flags & news == 0
        && known.contains(settled)
        && known.0 & TcpFlags::FIN_REVERSE.0 == 0
    {
        if acknowledgement != acknowledged {
            flow.set_sequence(sequence, acknowledgement);
        }
        return;
    }
    follow_news(flow, other, segment, (sequence, acknowledgement));
}

#[inline(never)]
fn follow_news(
    flow: Flow<'_>,
    other: Flow<'_>,
    segment: Segment,
    (mut sequence, acknowledgement): (u32, u32),
) {
    let (sequence_of_other, acknowledged_by_other) = other.sequence();
    let known = flow.tcp();
    let has_ack = segment.has(Tcp::ACK);
    let both = |mine: TcpFlags, others: TcpFlags| {
        flow.add_tcp(mine);
        other.add_tcp(others);
    };
    if segment.has(Tcp::RST) {
        let believed = if has_ack && known.contains(TcpFlags::SYN_REVERSE) {
            // Later in a connection it acknowledges something else, but has its place in it.
            let settled = TcpFlags::ESTABLISHED.with(TcpFlags::ESTABLISHED_REVERSE);
            segment.acknowledgment == sequence_of_other.wrapping_add(1)
                || known.contains(settled) && segment.sequence == acknowledged_by_other
        } else {
            segment.sequence == acknowledged_by_other
        };
        flow.set_sequence(sequence, acknowledgement);
        if believed {
            let end = TcpFlags::RST.with(TcpFlags::DEAD);
            both(end, end);
        }
        return;
    }
    if segment.has(Tcp::SYN) {
        sequence = segment.sequence;
        both(TcpFlags::SYN, TcpFlags::SYN_REVERSE);
        if has_ack
            && known.contains(TcpFlags::SYN_REVERSE)
            && segment.acknowledgment == sequence_of_other.wrapping_add(1)
        {
            both(TcpFlags::ESTABLISHED_REVERSE, TcpFlags::ESTABLISHED);
        }
    }
    if segment.has(Tcp::FIN) {
        sequence = segment.sequence.wrapping_add(segment.payload);
        both(TcpFlags::FIN, TcpFlags::FIN_REVERSE);
    }
    flow.set_sequence(sequence, acknowledgement);
    if !has_ack {
        return;
    }
    if known.contains(TcpFlags::FIN_REVERSE)
        && segment.acknowledgment == sequence_of_other.wrapping_add(1)
    {
        other.add_tcp(TcpFlags::HALF_CLOSE);
        if known.contains(TcpFlags::HALF_CLOSE) {
            both(TcpFlags::DEAD, TcpFlags::DEAD);
        }
    }
    if known.contains(TcpFlags::SYN_REVERSE)
        && !known.contains(TcpFlags::ESTABLISHED_REVERSE)
        && segment.acknowledgment != sequence_of_other
    {
        both(TcpFlags::ESTABLISHED_REVERSE, TcpFlags::ESTABLISHED);
    }
}
