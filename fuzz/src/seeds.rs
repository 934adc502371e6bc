//! The inputs to start from: the packets of the case book's captures, put the way a target reads them.

use std::path::{Path, PathBuf};

use wire::Mac;

use crate::dice::Dice;
use crate::site::{UPLINK_MAC, captures_here, packets_of, shared_captures};

/// The first inputs of a target, by its name.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "headers" => captures().into_iter().flatten().collect(),
        "fabric" => captures().iter().map(|packets| records(packets, Some(UPLINK_MAC))).collect(),
        "tenant" => captures().iter().map(|packets| records(packets, Some(Mac::GATEWAY))).collect(),
        "host" | "agent" => captures().iter().map(|packets| records(packets, None)).collect(),
        "codec" => requests(),
        "model" => (0..64u8).map(|n| (0..=255).map(|i| n.wrapping_mul(i)).collect()).collect(),
        "bgp_messages" => streams(),
        "bgp_session" => streams().iter().map(|stream| session(stream)).collect(),
        _ => Vec::new(),
    }
}

fn captures() -> Vec<Vec<Vec<u8>>> {
    let mut files: Vec<PathBuf> = captures_here();
    let bgp = Path::new(env!("CARGO_MANIFEST_DIR")).join("../control-agent/proto/tests/captures");
    for folder in [Some(bgp), shared_captures()].into_iter().flatten() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()));
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    files.sort();
    files.iter().map(|path| packets_of(path)).collect()
}

/// Packets as records of the pipeline's targets, addressed to a MAC if they were to one station.
fn records(packets: &[Vec<u8>], to: Option<Mac>) -> Vec<u8> {
    let mut out = vec![1];
    for packet in packets.iter().take(20) {
        let mut packet = packet.clone();
        packet.truncate(255 * 4);
        if let (Some(mac), Some(destination)) = (to, packet.get_mut(..6))
            && destination[0] & 1 == 0
        {
            destination.copy_from_slice(&mac.0);
        }
        let words = packet.len().div_ceil(4);
        packet.resize(words * 4, 0);
        out.extend([0, u8::try_from(words).unwrap_or(u8::MAX)]);
        out.extend(packet);
    }
    out
}

/// A request of each kind, framed.
fn requests() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for kind in 0..=u8::MAX {
        let rolled: Vec<u8> =
            (0..64).map(|i: u8| kind.wrapping_add(i.wrapping_mul(kind))).collect();
        let Some(request) = Dice::new(&rolled).roll::<api::Request>() else { continue };
        let mut frame = Vec::new();
        if api::encode(&request, &mut frame).is_ok() {
            frames.push(frame);
        }
    }
    frames
}

/// What follows the first marker in each packet with BGP in it.
fn streams() -> Vec<Vec<u8>> {
    let marked = |packet: Vec<u8>| {
        let at = packet.windows(16).position(|bytes| bytes == [0xff; 16])?;
        Some(packet[at..].to_vec())
    };
    captures().into_iter().flatten().filter_map(marked).collect()
}

/// A connection on which the stream arrives.
fn session(stream: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, 0, 0, 0];
    let stream = &stream[..stream.len().min(4095)];
    let [high, low] = u16::try_from(stream.len()).unwrap_or(0).to_be_bytes();
    out.extend([0, 2, low, high]);
    out.extend(stream);
    out
}
