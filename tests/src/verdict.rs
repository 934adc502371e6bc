//! What a capture on the underlay must show of a site's tunnels.

use anyhow::{Context, Result, ensure};

use crate::{A_ADDRESS, B_ADDRESS, Capture, Encapsulation, GREEN_VNI, Node, Packet, RED_VNI, Site};

/// What flew from one node to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Outer source address.
    pub from: String,
    /// Outer destination address.
    pub to: String,
    /// Name of the node it flew to.
    pub receiver: String,
    /// Packets.
    pub packets: usize,
    /// The labels (or VNIs) that red and green packets came with, as the receiver has them in its tables.
    pub labels: [u32; 2],
}

impl Site {
    /// Ends a capture on the underlay and decodes what flew between the nodes.
    ///
    /// # Errors
    /// When tshark or a tool fails.
    pub fn decode(&self, capture: Capture) -> Result<Vec<Packet>> {
        let [a, b] = &self.nodes;
        capture.finish_tunnels(&[
            (&a.options().endpoint, a.frame_labels()?),
            (&b.options().endpoint, b.frame_labels()?),
        ])
    }

    /// Judges a capture of red and green traffic both ways: this encapsulation only, and in each direction the labels
    /// (or VNIs) that the receiver has in its tables, both of them.
    ///
    /// # Errors
    /// What was otherwise.
    pub fn judge(
        &self,
        encapsulation: Encapsulation,
        packets: &[Packet],
    ) -> Result<[Direction; 2]> {
        let stranger = packets.iter().find(|packet| packet.encapsulation != Some(encapsulation));
        ensure!(stranger.is_none(), "another encapsulation on the underlay: {stranger:?}");
        let [a, b] = &self.nodes;
        Ok([
            direction(encapsulation, packets, a, b, B_ADDRESS)?,
            direction(encapsulation, packets, b, a, A_ADDRESS)?,
        ])
    }
}

fn direction(
    encapsulation: Encapsulation,
    packets: &[Packet],
    sender: &Node,
    receiver: &Node,
    workload: &str,
) -> Result<Direction> {
    let (from, to) = (sender.options(), receiver.options());
    // Routed packets, bridged frames and flooded ones have labels of their own, VXLAN one VNI for all.
    let wanted = |vni: &str| -> Result<Vec<u32>> {
        match encapsulation {
            Encapsulation::Vxlan => {
                receiver.vni_next_hop(vni)?;
                Ok(vec![vni.parse()?])
            }
            _ => receiver.labels_of(vni, workload),
        }
    };
    let wanted = [wanted(RED_VNI)?, wanted(GREEN_VNI)?];
    let flown =
        |packet: &&Packet| packet.source == from.endpoint && packet.destination == to.endpoint;
    let flown: Vec<&Packet> = packets.iter().filter(flown).collect();
    let mut labels = [0; 2];
    for ((network, wanted), label) in ["red", "green"].into_iter().zip(&wanted).zip(&mut labels) {
        let count = |wanted: &u32| flown.iter().filter(|p| p.label == Some(*wanted)).count();
        let most = wanted.iter().copied().max_by_key(count).filter(|label| count(label) > 0);
        *label = most.with_context(|| {
            format!(
                "no packet of {network} with one of {wanted:?} from {} to {}",
                from.name, to.name
            )
        })?;
    }
    let foreign = |packet: &&&Packet| {
        !packet.label.is_some_and(|label| wanted.iter().flatten().any(|known| *known == label))
    };
    let odd = flown.iter().find(foreign);
    ensure!(odd.is_none(), "a label that {} does not have: {odd:?}", to.name);
    Ok(Direction {
        from: from.endpoint.clone(),
        to: to.endpoint.clone(),
        receiver: to.name.clone(),
        packets: flown.len(),
        labels,
    })
}
