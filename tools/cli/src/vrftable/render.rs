//! The text of `vrftable`.

use api::{Rows, VifId, VrfInfo};

pub(super) const HEADER: &str = "\
VRF Table

Flags: V=Valid, Hl=HBS Left Valid, Hr=HBS Right Valid

   Vrf   Flags      HBS-L   HBS-R
------------------------------------------------
";

pub(super) fn rows(rows: &Rows) -> String {
    let Rows::Vrf(rows) = rows else { return String::new() };
    rows.iter().map(row).collect()
}

fn row(row: &VrfInfo) -> String {
    let side = |vif: Option<VifId>| vif.map_or("-".to_owned(), |vif| vif.to_string());
    let left = if row.hbs_left.is_some() { "Hl" } else { "" };
    let right = if row.hbs_right.is_some() { "Hr" } else { "" };
    let flags = format!("V{left}{right}");
    let (left, right) = (side(row.hbs_left), side(row.hbs_right));
    format!("{:5}    {flags:>4}    {left:>7}    {right:>4}\n", row.id.0)
}
