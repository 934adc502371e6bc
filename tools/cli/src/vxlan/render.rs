//! The text of `vxlan`.

use api::Rows;

pub(super) const HEADER: &str = "VXLAN Table\n\n VNID    NextHop\n----------------\n";

pub(super) fn rows(rows: &Rows) -> String {
    let Rows::Vni(rows) = rows else { return String::new() };
    rows.iter()
        .map(|row| {
            format!(
                "{:7}    {}
",
                row.vni, row.next_hop
            )
        })
        .collect()
}
