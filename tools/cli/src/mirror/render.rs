//! The text of `mirror`.

use api::{MirrorInfo, Rows};

pub(super) const HEADER: &str = "\
Mirror Table

Flags:D=Dynamic Mirroring, Hw=NIC Assisted Mirroring \n
Index    NextHop    Flags       VNI    Vlan
------------------------------------------------
";

pub(super) fn rows(rows: &Rows) -> String {
    let Rows::Mirror(rows) = rows else { return String::new() };
    rows.iter().map(row).collect()
}

/// Without a VNI the VLAN stands in its place, as in the original.
fn row(row: &MirrorInfo) -> String {
    let letters = [(MirrorInfo::DYNAMIC, "D"), (MirrorInfo::NIC_ASSISTED, "Hw")];
    let flags: String =
        letters.iter().filter(|(bit, _)| row.flags & bit != 0).map(|(_, letter)| *letter).collect();
    let vni = row.vni.map_or(String::new(), |vni| format!("    {vni:7}"));
    format!("{:5}    {:>7}    {flags:>4}{vni}    {:4}\n", row.index, row.next_hop.0, row.vlan)
}
