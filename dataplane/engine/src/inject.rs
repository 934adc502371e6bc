//! Packets from the agent: what its header says is to be done with the frame behind it (reference dataplane.md
//! section 19).

use tables::{DropReason, VifId, VifKind, VrfId};
use wire::{AgentHeader, Ethernet, agent_command};

use crate::graph::{Cx, Next};
use crate::inspect;
use crate::packet::{Marks, Packet};

/// Takes Ethernet and agent header off and obeys. `ROUTE` makes it a packet of the interface that the agent names, or of
/// the agent's own where that is none a workload could be behind.
pub(crate) fn obey(cx: &mut Cx<'_>, packet: &mut Packet<'_>) -> Next {
    match header(packet) {
        Some(header) => act(cx, packet, &header).unwrap_or_else(Next::Drop),
        None => Next::Drop(DropReason::Pull),
    }
}

/// The header, taken off the frame.
fn header(packet: &mut Packet<'_>) -> Option<AgentHeader> {
    let header = *AgentHeader::parse(packet.frame.data().get(Ethernet::LEN..)?)?.0;
    packet.frame.pull(Ethernet::LEN + AgentHeader::LEN).ok()?;
    Some(header)
}

fn act(cx: &mut Cx<'_>, packet: &mut Packet<'_>, header: &AgentHeader) -> Result<Next, DropReason> {
    let vif = cx.fib.vif(VifId(header.vif()));
    match header.command() {
        agent_command::SWITCH => {
            packet.meta.tx_vif = vif.ok_or(DropReason::InvalidIf)?.id;
            if packet.frame.len() < Ethernet::LEN {
                return Err(DropReason::Pull);
            }
            Ok(Next::VifTx)
        }
        agent_command::ROUTE => {
            if let Some(vif) = vif
                && vif.kind != VifKind::Physical
            {
                (packet.meta.rx_vif, packet.meta.rx_kind) = (vif.id, vif.kind);
            }
            packet.meta.vrf = VrfId(header.vrf());
            inspect::ethernet(packet, DropReason::Pull)?;
            inspect::complete_checksum(packet);
            if (header.param(), header.param_1()) == (1, 1) {
                packet.meta.marks = packet.meta.marks.with(Marks::DIAG);
            }
            Ok(Next::Bridge)
        }
        _ => Err(DropReason::InvalidPacket),
    }
}
