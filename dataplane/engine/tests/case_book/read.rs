//! Reading captures, of both formats and with whatever their headers claim.

use std::fs::File;
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};

use crate::site::shared_captures;

fn own_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

/// The packets of a capture; `None` when it is not on this machine.
pub(crate) fn capture(name: &str) -> Option<Vec<Vec<u8>>> {
    let file = format!("{name}.pcap");
    let own = own_folder().join(&file);
    let path = if own.is_file() { own } else { shared_captures()?.join(&file) };
    let packets = packets(&path);
    assert!(!packets.is_empty(), "{}: nothing in it", path.display());
    Some(packets)
}

fn packets(path: &Path) -> Vec<Vec<u8>> {
    let open = || File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut packets = Vec::new();
    if let Ok(mut reader) = PcapReader::new(open()) {
        while let Some(packet) = reader.next_raw_packet() {
            // The header of a fuzz file may say anything about time and wire length.
            packets.push(packet.unwrap().data.into_owned());
        }
    } else {
        let mut reader = PcapNgReader::new(open()).unwrap();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                packets.push(packet.data.into_owned());
            }
        }
    }
    packets
}

/// Names of the captures that are part of this project.
pub(crate) fn in_this_folder() -> Vec<String> {
    let entries = std::fs::read_dir(own_folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".pcap").map(str::to_owned)).collect()
}

/// Names of the captures in the case book's index, without those for the BGP and BMP decoder; none without the folder.
pub(crate) fn in_the_index() -> Vec<String> {
    let Some(folder) = shared_captures() else { return Vec::new() };
    let index = std::fs::read_to_string(folder.join("INDEX.md")).unwrap();
    let mut names = Vec::new();
    for line in index.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').trim_end_matches(".pcap").to_owned();
        if cells[4] != "C" {
            names.push(name);
        }
    }
    names
}
