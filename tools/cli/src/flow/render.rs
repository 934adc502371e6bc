//! The text of `flow` (reference cli.md sections 7.3 to 7.7).

use std::fmt::Write as _;
use std::net::IpAddr;

use api::{FlowAction, FlowInfo, FlowTableInfo};

/// Bytes of an entry in the original's table.
const ENTRY: u64 = 256;

pub(super) fn header(table: &FlowTableInfo) -> String {
    let mut text = String::new();
    let size = u64::from(table.entries) * ENTRY;
    let _ = write!(text, "Flow table(size {size}, entries {})\n\n", table.entries);
    let FlowTableInfo { created, added, deleted, changed, processed, overflow, .. } = table;
    let _ = writeln!(
        text,
        "Entries: Created {created} Added {added} Deleted {deleted} Changed {changed}Processed {processed} \
         Used Overflow entries {overflow}"
    );
    let by_core: Vec<String> = table.created_by_core.iter().map(u64::to_string).collect();
    let held = table.held_overflow;
    let _ = write!(text, "(Created Flows/CPU: {})(oflows {held})\n\n", by_core.join(" "));
    text + LEGEND
}

const LEGEND: &str = "\
Action:F=Forward, D=Drop N=NAT(S=SNAT, D=DNAT, Ps=SPAT, Pd=DPAT, L=Link Local Port)
 Other:K(nh)=Key_Nexthop, S(nh)=RPF_Nexthop
 Flags:E=Evicted, Ec=Evict Candidate, N=New Flow, M=Modified Dm=Delete Marked
TCP(r=reverse):S=SYN, F=FIN, R=RST, C=HalfClose, E=Established, D=Dead

";

pub(super) const COLUMNS: &str =
    "    Index                Source:Port/Destination:Port                      Proto(V)
-----------------------------------------------------------------------------------
";

/// Characters after which a line of statistics is broken.
const LINE: usize = 70;

pub(super) fn record(flow: &FlowInfo) -> String {
    let mut text = String::new();
    if flow.active {
        let _ = write!(text, "{:9}", flow.index);
        match flow.reverse {
            Some(reverse) => {
                let _ = write!(text, "<=>{reverse:<9}");
            }
            None => text.push_str("            "),
        }
        let source = end(flow.source, flow.source_port);
        let vrfs = match flow.destination_vrf {
            Some(destination) => format!("{}->{destination}", flow.vrf),
            None => flow.vrf.to_string(),
        };
        let _ = writeln!(text, "    {source:46}    {:3} ({vrfs})", flow.protocol);
        let destination = end(flow.destination, flow.destination_port);
        let _ = writeln!(text, "{:25}{destination}", "");
        text.push_str(&statistics(flow));
        text.push('\n');
    } else {
        let _ = writeln!(text, "{:6}", flow.index);
    }
    if !flow.overflow.is_empty() {
        text.push_str(&chain(&flow.overflow));
    }
    text.push('\n');
    text
}

fn end(address: IpAddr, port: u16) -> String {
    let padding = if address.is_ipv6() { "    " } else { "" };
    format!("{address}:{port:<5}{padding}")
}

fn chain(overflow: &[u32]) -> String {
    let mut text = String::from("     Oflow entries:\n\t");
    let mut line = 0;
    for index in overflow {
        let item = format!(" {index}");
        line += item.len();
        text.push_str(&item);
        if line > 65 {
            text.push_str("\n     ");
            line = 0;
        }
    }
    text.push('\n');
    text
}

/// The text in parentheses, broken where the original breaks it.
struct Breaking {
    text: String,
    line: usize,
}

impl Breaking {
    fn add(&mut self, part: &str) {
        self.text.push_str(part);
        self.line += part.len();
    }

    /// A part whose length does not count.
    fn uncounted(&mut self, part: &str) {
        self.text.push_str(part);
    }

    fn may_break(&mut self) {
        if self.line >= LINE {
            self.text.push('\n');
            self.line = 0;
        }
    }
}

fn statistics(flow: &FlowInfo) -> String {
    let mut out = Breaking { text: String::new(), line: 0 };
    out.add(&format!("(Gen: {}, K(nh):{}, Action:", flow.generation, flow.key_next_hop));
    out.add(&action(flow));
    out.add(&format!(", Flags:{}, ", letters(flow.flags, &FLAGS)));
    if flow.protocol == 6 {
        out.add(&format!("TCP:{}, ", letters(flow.tcp_flags, &TCP)));
    }
    if let Some(member) = flow.ecmp {
        out.add(&format!("E:{member}, "));
    }
    let qos = flow.qos_map.map_or(-1, i32::from);
    out.add(&format!("QOS:{qos}, S(nh):{}, ", flow.source_next_hop));
    out.may_break();
    out.add(&format!(" Stats:{}/{}, ", flow.packets, flow.bytes));
    out.may_break();
    if flow.flags & FlowInfo::MIRROR != 0 {
        out.add(" Mirror Index :");
        let [first, second] = flow.mirrors;
        first.into_iter().for_each(|mirror| out.add(&format!(" {mirror}")));
        second.into_iter().for_each(|mirror| out.add(&format!(", {mirror}, ")));
        out.may_break();
    }
    out.add(&format!(" SPort {},", flow.udp_source_port));
    out.may_break();
    out.uncounted(&format!(" TTL {},", flow.ttl));
    out.may_break();
    if let Some(uplink) = flow.underlay_ecmp {
        out.uncounted(&format!(" UnderlayEcmpIdx:{uplink},"));
        out.may_break();
    }
    for (bit, word) in [(0x1000, " HbsLeft,"), (0x2000, " HbsRight,")] {
        if flow.flags1 & bit != 0 {
            out.add(word);
        }
    }
    out.add(&format!(" Sinfo {})", flow.source_info));
    out.text
}

fn action(flow: &FlowInfo) -> String {
    match flow.action {
        FlowAction::Forward => "F".to_owned(),
        FlowAction::Hold => "H".to_owned(),
        FlowAction::Unknown => "U".to_owned(),
        FlowAction::Drop => format!("D({})", reason(flow.drop_reason)),
        FlowAction::Nat => format!("N({})", letters(flow.flags, &NAT)),
    }
}

const NAT: [(u16, &str); 5] = [
    (FlowInfo::SNAT, "S"),
    (FlowInfo::SPAT, "Ps"),
    (FlowInfo::DNAT, "D"),
    (FlowInfo::DPAT, "Pd"),
    (FlowInfo::LINK_LOCAL, "L"),
];

const FLAGS: [(u16, &str); 5] = [
    (FlowInfo::EVICTED, "E"),
    (FlowInfo::EVICT_CANDIDATE, "Ec"),
    (FlowInfo::NEW, "N"),
    (FlowInfo::MODIFIED, "M"),
    (FlowInfo::DELETE_MARKED, "Dm"),
];

const TCP: [(u16, &str); 9] = [
    (0x08, "S"),
    (0x10, "Sr"),
    (0x20, "E"),
    (0x40, "Er"),
    (0x01, "F"),
    (0x04, "Fr"),
    (0x80, "R"),
    (0x02, "C"),
    (0x8000, "D"),
];

pub(super) fn letters(bits: u16, of: &[(u16, &str)]) -> String {
    of.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| *letter).collect()
}

const REASONS: [&str; 35] = [
    "Unknown",
    "IntfErr",
    "Ipv4Dis",
    "VrfErr",
    "NoSrcRt",
    "NoDstRt",
    "Audit",
    "VrfChange",
    "NoRevFlow",
    "RevFlowChng",
    "NatChng",
    "FlowLim",
    "LinkSrcNatErr",
    "VrouterInstallFail",
    "InvalidL2Flow",
    "TSNFlow",
    "NoMirrorentry",
    "SameFlowRflowKey",
    "NoFipPortMap",
    "NoSrcRtRpfNh",
    "FatFlowNatConflict",
    "Policy",
    "OutPolicy",
    "SG",
    "OutSG",
    "RevSG",
    "RevOutSG",
    "FwPolicy",
    "OutFwPolicy",
    "RevFwPolicy",
    "RevOutFwPolicy",
    "FWAASPolicy",
    "OutFWAASPolicy",
    "RevFWAASPolicy",
    "RevOutFWAASPolicy",
];

pub(super) fn reason(code: u8) -> String {
    let known = REASONS.get(usize::from(code));
    known.map_or_else(|| code.to_string(), |text| (*text).to_owned())
}
