//! Where captures are, and which there should be.

use crate::site::{captures_here, packets_of, shared_captures};

/// The packets of a capture; `None` when it is not on this machine.
pub(crate) fn capture(name: &str) -> Option<Vec<Vec<u8>>> {
    let file = format!("{name}.pcap");
    let own = captures_here().into_iter().find(|path| path.ends_with(&file));
    let path = own.map_or_else(|| shared_captures().map(|folder| folder.join(&file)), Some)?;
    let packets = packets_of(&path);
    assert!(!packets.is_empty(), "{}: nothing in it", path.display());
    Some(packets)
}

/// Names of the captures that are part of this project.
pub(crate) fn in_this_folder() -> Vec<String> {
    let names =
        captures_here().into_iter().filter(|path| path.extension().is_some_and(|e| e == "pcap"));
    names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
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
