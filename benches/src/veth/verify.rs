//! That the packets on the underlay are the right ones: captured between the nodes and decoded by tshark.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab::{Capture, eventually};

use super::generator::Generator;
use super::path::Path;
use super::sink::received;
use super::vrouter;

const PACKETS: u64 = 32;

/// Sends a few of the generator's packets: all arrive, in the path's encapsulation and no other.
pub(super) fn encapsulation(path: &Path<'_>) -> Result<()> {
    let file = vrouter::options().directory.join("underlay.pcap");
    let capture = Capture::start(path.underlay, path.underlay_port, &file)?;
    let mut generator = Generator::open(path)?;
    let before = received(path.far)?;
    let sent = generator.send(PACKETS);
    let mut arrived = 0;
    let all = eventually("the packets to arrive", Duration::from_secs(2), || {
        arrived = received(path.far).unwrap_or(before) - before;
        arrived >= sent
    });
    generator.close()?;
    // The capture takes its time to write what it has seen.
    eventually("the capture to be written", Duration::from_secs(5), || {
        std::fs::metadata(&file).is_ok_and(|meta| meta.len() > PACKETS * 64)
    })?;
    let packets = match path.nodes {
        [] => capture.finish(&format!("ip.src == {} and udp.dstport == 9", path.near_address))?,
        // Under a label of ours may be a frame: who receives it knows.
        [near, far] => capture.finish_tunnels(&[
            (&near.options().endpoint, near.frame_labels()?),
            (&far.options().endpoint, far.frame_labels()?),
        ])?,
        nodes => anyhow::bail!("{} nodes", nodes.len()),
    };
    ensure!(all.is_ok(), "{arrived} of {sent} packets arrived");
    let generated = |packet: &lab::Packet| packet.inner_source == path.near_address;
    let packets: Vec<lab::Packet> = packets.into_iter().filter(generated).collect();
    ensure!(!packets.is_empty(), "no packet between the nodes");
    let odd = packets.iter().find(|packet| {
        packet.encapsulation != Some(path.encapsulation)
            || packet.inner_destination != path.far_address
    });
    ensure!(odd.is_none(), "not what was to be sent: {odd:?}");
    Ok(())
}
