//! Packets' ways as text.

use std::fmt::Write;

use api::{ExplainedPacket, Explanation, PacketEnding};

/// Columns of a node's name.
const NODE: usize = 10;

/// All of them, a blank line between.
pub(super) fn text(explanation: &Explanation) -> String {
    let packets: Vec<String> = explanation.packets.iter().map(packet).collect();
    let mut text = packets.join("\n");
    if explanation.left_out != 0 {
        let _ = writeln!(text, "\n{} more copies are not shown", explanation.left_out);
    }
    text
}

fn packet(packet: &ExplainedPacket) -> String {
    let core = packet.core.map_or(String::new(), |core| format!(", core {}", core.0));
    let what = if packet.made { "made by the dataplane from a packet of" } else { "in at" };
    let mut text = format!("{what} vif0/{}: {} bytes{core}\n", packet.vif, packet.length);
    for step in &packet.steps {
        let mut node = step.node.as_str();
        for says in &step.says {
            let _ = writeln!(text, "  {node:<NODE$}{says}");
            node = "";
        }
    }
    let _ = writeln!(text, "=> {}", ending(packet.ending));
    text
}

fn ending(ending: PacketEnding) -> String {
    match ending {
        PacketEnding::Sent { vif } => format!("sent by vif0/{vif}"),
        PacketEnding::Dropped { reason } => format!("dropped: {}", reason.label()),
        PacketEnding::ToAgent => "to the agent".to_owned(),
        PacketEnding::HandedOver { core } => format!("handed over to core {}", core.0),
        PacketEnding::Undecided => "held until the agent decides about its flow".to_owned(),
        PacketEnding::Held => "held until the rest of its datagram comes".to_owned(),
        PacketEnding::Unfinished => "not followed any further".to_owned(),
    }
}
