//! The text of the log of dropped packets (reference cli.md section 8.3).

use std::fmt::Write;
use std::net::IpAddr;

use api::{Core, DropLogEntry, DropReason, PacketKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// So many bytes of a packet are shown.
const SHOWN_BYTES: usize = 100;

/// What is said while nothing is logged.
pub(super) fn disabled(value: u32) -> String {
    let gap = " ".repeat(17);
    format!(
        "\n\nPacket Drop Log sysctl is not enabled or misconfigured,{gap}Configured value is {value}\n\
         You can enable it by passing \"echo 1 >{gap}/proc/sys/net/vrouter/pkt_drop_log_enable\"\n"
    )
}

/// What is said where nothing can be logged.
pub(super) fn unsupported(value: u32) -> String {
    let gap = " ".repeat(17);
    format!(
        "\n\nPkt drop stats log support is not enabled or misconfigured in vrouter module parameters.\
         {gap}Configured value is {value}\n"
    )
}

/// What comes before the first packet.
pub(super) fn header(cores: u32, core: Core) -> String {
    format!(
        "**********PKT DROP LOG**********\nTotal No. of CPU's {cores}\nPkt Drop Log for Core {}\n\n",
        core.0 + 1
    )
}

/// A packet: two lines, and a blank one.
pub(super) fn entry(row: &DropLogEntry) -> String {
    let seconds = row.time / 1_000_000_000;
    let mut text = format!(
        "sl no: {}  Epoch Time: {seconds} Local Time: {}\n Packet Type: {}  ",
        row.slot,
        local_time(seconds),
        kind(row.kind)
    );
    if row.reason != DropReason::Invalid {
        let _ = write!(text, "Drop reason: {}  ", row.reason.label());
    }
    let index = row.vif.map_or(0, |vif| u32::from(vif.0));
    number(&mut text, "Vif idx", index);
    number(&mut text, "Nexthop id", row.next_hop.map_or(0, |id| id.0));
    match row.addresses {
        Some((source @ IpAddr::V4(_), destination)) => {
            let _ = write!(text, "Src IP: {source}  Dst IP: {destination}  ");
        }
        Some((source, destination)) => {
            let _ = write!(text, "Src IPv6: {source}  Dst IPv6: {destination}  ");
        }
        None => {}
    }
    number(&mut text, "Source port", row.ports.0.into());
    number(&mut text, "Dest port", row.ports.1.into());
    if !row.file.is_empty() {
        let _ = write!(text, "file: {}  ", row.file);
    }
    let _ = write!(text, "line no: {}  ", row.line);
    if !row.bytes.is_empty() {
        let _ = write!(text, "Packet Length: {}  Packet Data: ", row.length);
        text.extend(row.bytes.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02X}  ")));
    }
    text.push_str("\n\n");
    text
}

fn number(text: &mut String, name: &str, value: u32) {
    if value != 0 {
        let _ = write!(text, "{name}: {value}  ");
    }
}

/// As `asctime` writes it.
fn local_time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::system()).strftime("%a %b %e %H:%M:%S %Y").to_string()
}

fn kind(kind: PacketKind) -> &'static str {
    match kind {
        PacketKind::Arp => "ARP",
        PacketKind::Ip => "IP",
        PacketKind::Ip6 => "IP6",
        PacketKind::IpOverIp => "IPOIP",
        PacketKind::Ip6OverIp => "IP6OIP",
        PacketKind::Agent => "AGENT",
        PacketKind::Pbb => "PBB",
        PacketKind::Unknown => "UNKNOWN",
    }
}
