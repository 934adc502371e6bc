//! The text of `vrouter`.

use std::fmt::Write;

use api::{VrouterInfo, VrouterValue as Value};

use crate::options::Layout;

/// Lines in print order: a heading, or a label with its value. Spelling and columns are the original's.
const STARTUP: &[(&str, Value)] = &[
    ("Interfaces limit", Value::Interfaces),
    ("VRF tables limit", Value::Vrfs),
    ("NextHops limit", Value::NextHops),
    ("MPLS Labels limit", Value::Labels),
    ("Bridge Table limit", Value::BridgeEntries),
    ("Bridge Table Overflow limit", Value::BridgeOverflow),
    ("Flow Table limit", Value::FlowEntries),
    ("Flow Table overflow limit", Value::FlowOverflow),
    ("Mirror entries limit", Value::Mirrors),
    ("Memroy Allocation Checks", Value::MemoryChecks),
    ("Vif Bridge Table limit", Value::VifBridgeEntries),
    ("Vif Bridge Table Overflow limit", Value::VifBridgeOverflow),
    ("Vrouter pkt drop log buf size   \t  ", Value::DropLogEntries),
    ("En/Dis pkt drop debug log infra", Value::DropLogSupport),
];
const RUNTIME: &[(&str, &[(&str, Value)])] = &[
    (
        "Performance tweaks",
        &[("GRO", Value::Gro), ("Segmentation in software", Value::Segmentation)],
    ),
    (
        "TCP MSS adjust settings",
        &[
            ("TCP MSS on packets from VM", Value::FromVmMssAdjust),
            ("TCP MSS on packet sent to VM", Value::ToVmMssAdjust),
        ],
    ),
    (
        "RPS settings",
        &[
            ("RPS after pulling inner hdr (perfr1)", Value::Perfr1),
            ("RPS after GRO on pkt1 (perfr2)", Value::Perfr2),
            ("RPS from phys rx handler (perfr3)", Value::Perfr3),
            ("Pull inner header (faster version)", Value::Perfp),
            ("CPU to send pkts to, if perfr1 set", Value::Perfq1),
            ("CPU to send pkts to, if perfr2 set", Value::Perfq2),
            ("CPU to send pkts to, if perfr3 set", Value::Perfq3),
        ],
    ),
    (
        "Other settings",
        &[
            ("NIC cksum offload for outer UDP hdr", Value::UdpChecksumOffload),
            ("Flow hold limit:", Value::FlowHoldLimit),
            ("MPLS over UDP globally", Value::MplsOverUdp),
            ("Used Flow entries", Value::FlowUsed),
            ("Used Over Flow entries", Value::FlowOverflowUsed),
            ("Used Bridge entries", Value::BridgeUsed),
            ("Used Over Flow bridge entries", Value::BridgeOverflowUsed),
            ("Burst Total Tokens", Value::BurstTokens),
            ("Burst Interval", Value::BurstInterval),
            ("Burst Step", Value::BurstStep),
            ("NIC Priority Tagging", Value::PriorityTagging),
            ("Packet dump", Value::PacketDump),
            ("Vrouter packet drop log enable", Value::DropLog),
            ("Vrouter Packet drop log minimum enable ", Value::DropLogMinimum),
            ("Unconditional closure of Flow on TCP RST   ", Value::CloseOnReset),
        ],
    ),
];

/// All of it.
pub(super) fn info(info: &VrouterInfo, layout: Layout) -> String {
    let line = |(label, value): &(&str, Value)| {
        // The one with a tab has its spaces behind it.
        let width = if label.contains('\t') { 0 } else { 37 };
        format!("    {label:<width$}{}\n", info.value(*value))
    };
    let title =
        if layout == Layout::Dpdk { "vRouter/DPDK version" } else { "vRouter module version" };
    let mut text = format!("{title:<29}{}\n\nStartup parameters\n", build(info));
    text.extend(STARTUP.iter().map(line));
    text.push_str("\nRuntime parameters\n");
    for (heading, lines) in RUNTIME {
        let _ = writeln!(text, "  {heading}");
        text.extend(lines.iter().map(line));
    }
    text.push('\n');
    if layout == Layout::Dpdk {
        text.push_str(&level(info));
        text.push_str(&types(info));
    }
    text
}

/// The version and, where it is known, who built it.
fn build(info: &VrouterInfo) -> String {
    let build = &info.build;
    if build.user.is_empty() {
        return build.version.clone();
    }
    format!("{} (Built by {}@{} on {})", build.version, build.user, build.host, build.time)
}

/// What is logged.
pub(super) fn level(info: &VrouterInfo) -> String {
    let level = (info.value(Value::LogLevel) as usize).checked_sub(1);
    let word = level.and_then(|level| Value::LOG_LEVELS.get(level)).copied().unwrap_or("none");
    format!("{:<41}{word}\n", "Current log level")
}

/// What is logged in detail; of none the original ends the line twice.
pub(super) fn types(info: &VrouterInfo) -> String {
    let bits = info.value(Value::LogTypes);
    let names: String = (Value::LOG_TYPES.iter().enumerate())
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, name)| format!("{name} "))
        .collect();
    let names = if names.is_empty() { "none\n".to_owned() } else { names };
    format!("{:<41}{names}\n", "Enabled log types")
}
