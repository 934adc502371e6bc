//! The text of `vrmemstats`.

use api::MemoryStats;

/// What is counted, in print order: the name in the reply, which is printed, and how wide.
const KINDS: &[&str] = &[
    "Assembler Table",
    "Bridge MAC",
    "Btable",
    "Build Info",
    "Defer",
    "Drop Stats",
    "Drop Stats Request",
    "Flow queue",
    "Flow Request",
    "Flow Request Path",
    "Flow Hold Stat",
    "Flow Link Local",
    "Flow Metadata",
    "Flow Table Data",
    "Flow Table Info",
    "Fragment",
    "Fragment Queue",
    "Fragment Queue Element",
    "Fragment Scanner",
    "Host Packet Pool",
    "Hash Table",
    "Interface",
    "Interface Bridge Lock",
    "Interface Fat Flow Config",
    "Interface MAC",
    "Interface Mirror Meta Objects",
    "Interface Request",
    "Interface Request MAC",
    "Interface Request PBB MAC",
    "Interface Req Bridge ID",
    "Interface Mirror Req Meta Objects",
    "Interface Queue",
    "Interface Request Name",
    "Interface Stats",
    "Interface Table",
    "VRF Table",
    "Index Table",
    "Malloc",
    "Message",
    "Message Response",
    "Message Dump",
    "Memory Stats Request",
    "Mirror",
    "Mirror Table",
    "Mirror MetMirror Meta",
    "MTRIE",
    "Mtrie Bucket",
    "Mtrie Stats",
    "Mtrie Table",
    "Network Address",
    "Nexthop",
    "NextHop Component",
    "NextHop Request List",
    "NextHop Request Encap",
    "NextHop Request PBB BMAC",
    "NextHop Request",
    "Route Table",
    "Route Request MAC object",
    "Timer",
    "Usock",
    "Usock Poll",
    "Usock Buf",
    "Usock Iovec",
    "Vrouter Request",
    "QOS Map Objects",
    "Forwarding Class Objects",
    "Fatflow v4 exclude list object",
    "Fatflow v6 exclude list object",
];
/// Wider than the column, and therefore followed by spaces of its own.
const WIDE: &str = "Interface Mirror Req Meta Objects";

/// The whole table.
pub(super) fn memory(stats: &MemoryStats) -> String {
    let rows: String = KINDS.iter().map(|kind| row(kind, stats.count(kind))).collect();
    format!(
        "vRouter memory usage statistics\n\nAlloced {} Freed {}\nOutstanding memory/object:\n\n{rows}",
        stats.allocated, stats.freed
    )
}

fn row(kind: &str, count: u64) -> String {
    if kind == WIDE { format!("{kind}   {count}\n") } else { format!("{kind:<32}{count}\n") }
}
