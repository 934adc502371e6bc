//! The text of one interface (reference cli.md section 2.5).

use std::fmt::Write;
use std::net::Ipv4Addr;

use api::{
    Aggregate, Core, Duplex, FatFlowIgnore, FatFlowRule, LayerCounters, LinkState, Traffic,
    Transport, VifInfo, VifKind, VrfId,
};

use super::flags::{self, MIRRORED, MOCK, PMD, SERVICE};
use crate::options::Layout;

/// In front of every line but the first.
pub(super) const INDENT: &str = "            ";
/// Columns after which a line of mirror metadata is broken.
const METADATA_COLUMNS: usize = 68;
/// Shown for a VRF or mirror that is not set.
const NO_VRF: u16 = u16::MAX;
const NO_MIRROR: u16 = 255;

/// What decides about optional lines.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// Whose text.
    pub(super) layout: Layout,
    /// Named before counters.
    pub(super) core: Option<Core>,
    /// Which layers are shown.
    pub(super) layers: ShownLayers,
}

/// Which layers are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ShownLayers {
    /// Those that counted something.
    Counting,
    /// All, so that a changing picture stands still.
    All,
}

/// What `--list` and `--get` begin with.
pub(super) fn header() -> String {
    format!("Vrouter Interface Table\n\n{}\n", flags::legend())
}

/// One interface with the blank line behind it. `port` is put in front of that blank line.
pub(super) fn vif(row: &VifInfo, style: Style, port: &str) -> String {
    let mut text = first_line(row, style.layout);
    text.push_str(&addresses(row));
    if style.layout != Layout::Kernel {
        text.push_str(&receive_layers(row, style));
    }
    if style.layout == Layout::Dpdk {
        text.push_str(&fabric(row));
    }
    text.push_str(&traffic("RX", &row.rx, style.core));
    text.push_str(&traffic("TX", &row.tx, style.core));
    if row.isid != 0 || row.bmac.is_some() {
        let _ = writeln!(text, "{INDENT}ISID: {} Bmac: {}", row.isid, row.bmac.unwrap_or_default());
    }
    let _ = writeln!(text, "{INDENT}Drops:{}", row.drops);
    text.push_str(&metadata("Ingress Mirror Metadata: ", &row.ingress_mirror_metadata));
    text.push_str(&metadata("Egress Mirror Metadata: ", &row.egress_mirror_metadata));
    if style.layout != Layout::Kernel {
        text.push_str(&transmit_layers(row, style));
    }
    text.push_str(&fat_flow_rules(&row.fat_flow_rules));
    text.push_str(port);
    text.push('\n');
    text.push_str(&excluded("IPv4", &row.fat_flow_exclude));
    text.push_str(&excluded("IPv6", &row.fat_flow_exclude6));
    text
}

/// Which VLAN is which VRF; of service interfaces only, and without an end of line.
pub(super) fn vlan_table(row: &VifInfo) -> String {
    if !row.flags.contains(SERVICE) {
        return String::new();
    }
    let pairs: String =
        row.vlan_vrfs.iter().map(|pair| format!("{}:{}, ", pair.vlan, pair.vrf)).collect();
    format!("VRF table(vlan:vrf):\n{pairs}")
}

pub(super) fn first_line(row: &VifInfo, layout: Layout) -> String {
    let name = format!("vif0/{}", row.id);
    let mut text = format!("{name:<12}{}", identity(row, layout));
    let real = row.kind == VifKind::Physical && !row.flags.contains(MOCK);
    if let Some(speed) = row.speed_mbps.filter(|_| real) {
        let _ = write!(text, " (Speed {speed},");
        if let Some(duplex) = row.duplex {
            let _ = write!(text, " Duplex {}", u8::from(duplex == Duplex::Full));
        }
        text.push(')');
    }
    if let Some(vlan) = &row.vlan {
        let _ = write!(text, " Vlan(o/i)(,S): {}/{}", vlan.outer, vlan.inner);
        for station in &vlan.stations {
            let _ = write!(text, ", {} Bridge Index: {}", station.mac, station.bridge_index);
        }
    }
    if let Some(parent) = row.parent {
        let _ = write!(text, " Parent:vif0/{parent}");
    }
    if let Some(next_hop) = row.next_hop.filter(|id| id.0 != 0) {
        let _ = write!(text, " NH: {next_hop}");
    }
    text.push('\n');
    text
}

fn identity(row: &VifInfo, layout: Layout) -> String {
    let (name, os) = (&row.name, row.os_index);
    let mock = if row.flags.contains(MOCK) { " Mock" } else { "" };
    match (layout, row.kind) {
        _ if row.flags.contains(PMD) => format!("PMD: {os}"),
        (Layout::Kernel, _) if os > 0 => {
            format!("OS: {}", row.os_name.as_deref().unwrap_or("(null)"))
        }
        (Layout::Kernel, _) => format!("    {name}"),
        (_, VifKind::Physical) if !mock.is_empty() => "PCI: Mock".to_owned(),
        (_, VifKind::Physical) => {
            let (domain, bus, device, function) =
                (os >> 16, os >> 8 & 0xff, os >> 3 & 0x1f, os & 7);
            format!("PCI: {domain:04x}:{bus:02x}:{device:02x}.{function:x}")
        }
        (_, VifKind::Monitoring) => {
            format!("Monitoring: {name} for vif0/{}", row.monitors.map_or(0, |id| id.0))
        }
        _ => format!("{}: {name}{mock}", transport(row.transport)),
    }
}

fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Virtual => "Virtual",
        Transport::Ethernet => "Ethernet",
        Transport::Pmd => "PMD",
        Transport::Socket => "Socket",
        Transport::Tap => "TAP",
    }
}

/// The word for what an interface is.
pub(super) fn kind(kind: VifKind) -> &'static str {
    match kind {
        VifKind::Host => "Host",
        VifKind::Agent => "Agent",
        VifKind::Physical => "Physical",
        VifKind::Virtual => "Virtual",
        VifKind::XenLl => "XenLL",
        VifKind::Gateway => "Gateway",
        VifKind::VirtualVlan => "Virtual(Vlan)",
        VifKind::Stats => "Stats",
        VifKind::Monitoring => "Monitoring",
    }
}

fn addresses(row: &VifInfo) -> String {
    let mut text = format!(
        "{INDENT}Type:{} HWaddr:{} IPaddr:{}\n",
        kind(row.kind),
        row.mac,
        row.ip.unwrap_or(Ipv4Addr::UNSPECIFIED)
    );
    if let Some(ip6) = row.ip6 {
        let _ = writeln!(text, "{INDENT}IP6addr:{ip6}");
    }
    let vrf = |vrf: Option<VrfId>| vrf.map_or(NO_VRF, |vrf| vrf.0);
    let _ = write!(
        text,
        "{INDENT}Vrf:{} Mcast Vrf:{} Flags:{} QOS:{} Ref:{}",
        vrf(row.vrf),
        vrf(row.mcast_vrf),
        flags::letters(row.flags),
        row.qos_map.map_or(-1, i32::from),
        row.references
    );
    if row.flags.0 & MIRRORED != 0 {
        let _ = write!(text, " Mirror index {}", row.mirror.unwrap_or(NO_MIRROR));
    }
    text.push('\n');
    text
}

fn core_prefix(core: Option<Core>) -> String {
    core.map_or(String::new(), |core| format!("Core {} ", core.0))
}

fn traffic(direction: &str, counters: &Traffic, core: Option<Core>) -> String {
    let Traffic { packets, bytes, errors } = counters;
    let core = core_prefix(core);
    format!("{INDENT}{core}{direction} packets:{packets}  bytes:{bytes} errors:{errors}\n")
}

/// How much of a layer's counters has a place in its line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Columns {
    /// Packets and errors.
    PacketsErrors,
    /// And bytes, as a device counts them.
    Bytes,
}

fn layer(title: &str, counters: &LayerCounters, columns: Columns, style: Style) -> String {
    if *counters == LayerCounters::default() && style.layers == ShownLayers::Counting {
        return String::new();
    }
    let LayerCounters { packets, bytes, errors, no_buffers, syscalls } = counters;
    let mut text = format!("{INDENT}{}{title} packets:{packets}", core_prefix(style.core));
    if columns == Columns::Bytes {
        let _ = write!(text, "  bytes:{bytes}");
    }
    let _ = write!(text, " errors:{errors}");
    if *syscalls != 0 {
        let _ = write!(text, " syscalls:{syscalls}");
    }
    if *no_buffers != 0 {
        let _ = write!(text, " no mbufs:{no_buffers}");
    }
    text.push('\n');
    text
}

fn receive_layers(row: &VifInfo, style: Style) -> String {
    let mut text = layer("RX device", &row.layers.rx_device, Columns::Bytes, style);
    text.push_str(&layer("RX port  ", &row.layers.rx_port, Columns::PacketsErrors, style));
    text.push_str(&layer("RX queue ", &row.layers.rx_queue, Columns::PacketsErrors, style));
    let errors: String =
        row.layers.rx_queue_errors_to_lcore.iter().map(|errors| format!(" {errors}")).collect();
    let _ = writeln!(text, "{INDENT}RX queue errors to lcore{errors}");
    text
}

fn transmit_layers(row: &VifInfo, style: Style) -> String {
    let mut text = layer("TX queue ", &row.layers.tx_queue, Columns::PacketsErrors, style);
    text.push_str(&layer("TX port  ", &row.layers.tx_port, Columns::PacketsErrors, style));
    text.push_str(&layer("TX device", &row.layers.tx_device, Columns::Bytes, style));
    text
}

fn fabric(row: &VifInfo) -> String {
    let Some(fabric) = row.fabric.as_ref().filter(|_| row.kind == VifKind::Physical) else {
        return String::new();
    };
    let status = |state| if state == LinkState::Up { "UP" } else { "DOWN" };
    let mut text = format!(
        "{INDENT}Fabric Interface: {}  Status: {}  Driver: {}\n",
        fabric.name,
        status(fabric.state),
        fabric.driver
    );
    for (number, member) in fabric.members.iter().enumerate() {
        let _ = writeln!(
            text,
            "{INDENT}Slave Interface({number}): {}  Status: {}  Driver: {}",
            member.name,
            status(member.state),
            member.driver
        );
    }
    if let Some(vlan) = fabric.vlan {
        let _ = write!(text, "{INDENT}Vlan Id: {vlan}");
        if !fabric.vlan_interface.is_empty() {
            let _ = write!(text, " VLAN fwd Interface: {}", fabric.vlan_interface);
        }
        text.push('\n');
    }
    text
}

fn metadata(title: &str, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return String::new();
    }
    let start = INDENT.len() + title.len();
    let mut text = format!("{INDENT}{title}");
    let mut column = start;
    for byte in bytes {
        let byte = format!("{byte:x} ");
        column += byte.len();
        text.push_str(&byte);
        if column > METADATA_COLUMNS {
            let _ = write!(text, "\n{:start$}", "");
            column = start;
        }
    }
    text.push('\n');
    text
}

fn fat_flow_rules(rules: &[FatFlowRule]) -> String {
    if rules.is_empty() {
        return String::new();
    }
    let rules: String = rules.iter().map(fat_flow_rule).collect();
    format!("\n{INDENT}FatFlow rules: \n{rules}")
}

fn fat_flow_rule(rule: &FatFlowRule) -> String {
    let mut text = match (rule.protocol, rule.port) {
        (0, protocol) => format!("{INDENT}\t{protocol}:*"),
        (protocol, 0) => format!("{INDENT}\t{protocol}:*"),
        (protocol, port) => format!("{INDENT}\t{protocol}:{port} "),
    };
    text.push_str(match rule.ignore {
        None => "",
        Some(FatFlowIgnore::Source) => " - Sip",
        Some(FatFlowIgnore::Destination) => " - Dip",
    });
    for (name, aggregate) in [("AggrSrc", rule.source), ("AggrDst", rule.destination)] {
        if let Some(Aggregate { prefix, length, aggregate_length }) = aggregate {
            let _ = write!(text, " {name} {prefix}/{length} {aggregate_length}");
        }
    }
    text.push('\n');
    text
}

fn excluded(family: &str, addresses: &[impl std::fmt::Display]) -> String {
    if addresses.is_empty() {
        return String::new();
    }
    let lines: String = addresses.iter().map(|address| format!("{INDENT}\t{address}\n")).collect();
    format!("{INDENT}FatFlows {family} exclude prefix list:\n{lines}\n")
}
