//! The text of `qosmap`.

use api::{QosMapInfo, Rows};

/// What the forwarding classes begin with.
pub(super) const CLASSES: &str = "Forwarding Class Map 0\n FC            DSCP  EXP  .1p    Queue\n";

pub(super) fn classes(rows: &Rows) -> String {
    let Rows::ForwardingClass(rows) = rows else { return String::new() };
    let row = |row: &api::ForwardingClassInfo| {
        format!(
            "{:3}        {:8}  {:3}  {:3} {:8}\n",
            row.id, row.dscp, row.mpls_qos, row.dotonep, row.queue
        )
    };
    rows.iter().map(row).collect()
}

pub(super) fn maps(rows: &Rows) -> String {
    let Rows::QosMap(rows) = rows else { return String::new() };
    rows.iter().map(map).collect()
}

fn map(map: &QosMapInfo) -> String {
    let table = |title: &str, entries: &[(u8, u8)]| {
        let rows = entries.iter().filter(|(_, class)| *class != 0);
        let rows: String =
            rows.map(|(mark, class)| format!("{mark:8}        {class:8}\n")).collect();
        format!("{title:>8}              FC\n{rows}\n")
    };
    let tables = [("DSCP", &map.dscp), ("EXP", &map.mpls_qos), ("DOTONEP", &map.dotonep)];
    let tables: String = tables.iter().map(|(title, entries)| table(title, entries)).collect();
    format!("QOS Map 0/{}\n{tables}\n", map.index)
}
