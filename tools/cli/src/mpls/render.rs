//! The text of `mpls`.

use api::Rows;

pub(super) const HEADER: &str =
    "MPLS Input Label Map\n\n   Label    NextHop\n-------------------\n";

pub(super) fn rows(rows: &Rows) -> String {
    let Rows::Label(rows) = rows else { return String::new() };
    rows.iter()
        .map(|row| {
            format!(
                "{:8}    {:6}
",
                row.label, row.next_hop
            )
        })
        .collect()
}
