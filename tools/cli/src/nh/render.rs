//! The text of `nh` (reference cli.md sections 3.2 and 3.3).

use std::fmt::Write;
use std::net::IpAddr;

use api::{Member, NextHopDetail, NextHopInfo, NhFamily, NhFlags, UnderlayHop, VifId};

const INDENT: &str = "              ";
const MEMBER_INDENT: &str = "                            ";
/// `--list` shows so many members.
const LISTED_MEMBERS: usize = 16;
/// After so many characters of members the line is broken.
const MEMBER_COLUMNS: usize = 60;

const TUNNEL: u8 = 3;
const COMPOSITE: u8 = 6;
const MPLS_OVER_MPLS: NhFlags = NhFlags(0x400_0000);

/// Bits, names, and the type they belong to.
const FLAGS: &[(u32, &str, Option<u8>)] = &[
    (0x1, "Valid", None),
    (0x2, "Policy", None),
    (0x8, "MPLSoGRE", Some(TUNNEL)),
    (0x10, "Udp", Some(TUNNEL)),
    (0x20, "Multicast", None),
    (0x40, "MPLSoUDP", Some(TUNNEL)),
    (0x80, "Vxlan", None),
    (0x100, "Policy(R)", None),
    (0x200, "Fabric", Some(COMPOSITE)),
    (0x400, "Ecmp", Some(COMPOSITE)),
    (0x1000, "Evpn", Some(COMPOSITE)),
    (0x2000, "Encap", Some(COMPOSITE)),
    (0x4000, "Tor", Some(COMPOSITE)),
    (0x8000, "RouteLookup", None),
    (0x1_0000, "Unicast Flood", None),
    (0x2_0000, "Copy SIP", None),
    (0x4_0000, "Flow Lookup", None),
    (0x8_0000, "Pbb", None),
    (0x10_0000, "Mac Learn", None),
    (0x20_0000, "Etree Root", None),
    (0x40_0000, "Indirect", None),
    (0x80_0000, "Evpn Control Word", None),
    (0x100_0000, "Encrypt Traffic", None),
    (0x200_0000, "l3_vxlan", None),
    (0x1000_0000, "Underlay Ecmp", None),
];

const HASH_FIELDS: &[(u8, &str)] =
    &[(0x1, "Proto,"), (0x2, "SrcIP,"), (0x4, "SrcPort,"), (0x8, "DstIp,"), (0x10, "DstPort")];

/// How many members of a composite are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Members {
    All,
    First16,
}

/// One next hop with the blank line behind it.
pub(super) fn next_hop(row: &NextHopInfo, members: Members) -> String {
    let (kind, number) = kind(&row.detail);
    let vrf = row.vrf.map_or(-1, |vrf| i32::from(vrf.0));
    let mut text = format!(
        "Id:{:<9}  Type:{kind:<13}  Fmly:{:>8}  Rid:0  Ref_cnt:{:<10} Vrf:{vrf}\n{INDENT}Flags:{}\n",
        row.id.0,
        family(row.family),
        row.references,
        flags(row.flags, number),
    );
    if let Some(child) = row.direct {
        let label = child.label.map_or("-1".to_owned(), |label| label.to_string());
        let _ = writeln!(text, "{INDENT}Direct NH(label): {}({label})", child.next_hop);
    }
    text.push_str(&detail(&row.detail, row.family, members));
    text.push('\n');
    text
}

fn kind(detail: &NextHopDetail) -> (&'static str, u8) {
    match detail {
        NextHopDetail::Dead => ("Dead", 0),
        NextHopDetail::Receive { .. } => ("Receive", 1),
        NextHopDetail::Encap { .. } => ("Encap", 2),
        NextHopDetail::Tunnel { .. } => ("Tunnel", TUNNEL),
        NextHopDetail::Resolve => ("Resolve", 4),
        NextHopDetail::Discard => ("Drop", 5),
        NextHopDetail::Composite { .. } => ("Composite", COMPOSITE),
        NextHopDetail::Translate { .. } => ("Vrf_Translate", 7),
        NextHopDetail::L2Receive => ("L2 Receive", 8),
        NextHopDetail::Other(number) => ("Invalid", *number),
    }
}

fn family(family: Option<NhFamily>) -> &'static str {
    match family {
        Some(NhFamily::Unspec) => "AF_UNSPEC",
        Some(NhFamily::Inet) => "AF_INET",
        Some(NhFamily::Bridge) => "AF_BRIDGE",
        Some(NhFamily::Inet6) => "AF_INET6",
        None => "N/A",
    }
}

fn flags(flags: NhFlags, kind: u8) -> String {
    let shown = FLAGS
        .iter()
        .filter(|(bit, _, only)| flags.0 & bit != 0 && only.is_none_or(|only| only == kind));
    let names: String = shown
        .map(|(_, name, _)| match *name {
            "MPLSoGRE" | "MPLSoUDP" if flags.contains(MPLS_OVER_MPLS) => format!("MPLSo{name}, "),
            name => format!("{name}, "),
        })
        .collect();
    if flags.0 == 0 { "None".to_owned() } else { names }
}

fn detail(detail: &NextHopDetail, family: Option<NhFamily>, shown: Members) -> String {
    match detail {
        NextHopDetail::Receive { vif } => format!("{INDENT}Oif:{}\n", index(*vif)),
        NextHopDetail::Encap { ether_type, vif, rewrite } => format!(
            "{INDENT}EncapFmly:{ether_type:04x} Oif:{} Len:{}\n{INDENT}Encap Data: {}\n",
            index(*vif),
            rewrite.len(),
            hex(rewrite),
        ),
        NextHopDetail::Tunnel { .. } => tunnel(detail, family),
        NextHopDetail::Composite { hash, members } => composite(*hash, members, shown),
        NextHopDetail::Translate { vrf } => format!("{INDENT}Vrf:{vrf}\n"),
        NextHopDetail::Dead
        | NextHopDetail::Resolve
        | NextHopDetail::Discard
        | NextHopDetail::L2Receive
        | NextHopDetail::Other(_) => String::new(),
    }
}

fn tunnel(detail: &NextHopDetail, family: Option<NhFamily>) -> String {
    let NextHopDetail::Tunnel {
        source,
        destination,
        underlay,
        ports,
        l3_vxlan_mac,
        pbb,
        transport_label,
        crypt_vif,
    } = detail
    else {
        return String::new();
    };
    let mut text = match pbb {
        Some(pbb) => {
            let label = pbb.label.map_or("-1".to_owned(), |label| label.to_string());
            format!("{INDENT}Bmac:{} Label:{label}", pbb.mac)
        }
        None => {
            let ends = ends(family, *source, *destination);
            format!("{}{INDENT}{ends}", ways_out(underlay))
        }
    };
    if let Some(label) = transport_label {
        let _ = write!(text, " Transport Label:{label}");
    }
    if let Some(mac) = l3_vxlan_mac {
        let _ = write!(text, " L3_Vxlan_Mac: {mac}");
    }
    text.push('\n');
    // Each of these two lines has one more line end than it needs, as in the original.
    if let Some((source, destination)) = ports {
        let _ = writeln!(text, "{INDENT}Sport:{source} Dport:{destination}\n");
    }
    if let Some(vif) = crypt_vif {
        let _ = writeln!(text, "{INDENT}CryptOif:{vif}\n");
    }
    text
}

/// The outer addresses. The original prints none for a tunnel of another family.
fn ends(family: Option<NhFamily>, source: IpAddr, destination: IpAddr) -> String {
    match family {
        Some(NhFamily::Inet) => format!("Sip:{source} Dip:{destination}"),
        Some(NhFamily::Inet6) => format!("Sip: {source} Dip: {destination}"),
        _ => String::new(),
    }
}

fn ways_out(underlay: &[UnderlayHop]) -> String {
    if let [only] = underlay {
        return format!(
            "{INDENT}Oif:{} Len:{} Data:{}\n",
            index(only.vif),
            only.rewrite.len(),
            hex(&only.rewrite)
        );
    }
    let way = |hop: &UnderlayHop| {
        let data = if hop.valid {
            format!("Len:{} Data:{}", hop.rewrite.len(), hex(&hop.rewrite))
        } else {
            "Len:0 Data:NULL".to_owned()
        };
        format!("{INDENT}Oif:{} EncapValid:{} {data}\n", index(hop.vif), u8::from(hop.valid))
    };
    underlay.iter().map(way).collect()
}

fn composite(hash: u8, members: &[Option<Member>], shown: Members) -> String {
    let mut text = String::new();
    if hash != 0 {
        let fields = HASH_FIELDS.iter().filter(|(bit, _)| hash & bit != 0);
        let names: String = fields.map(|(_, name)| *name).collect();
        let _ = writeln!(text, "{INDENT}Valid Hash Key Parameters: {names}");
    }
    let listed = match shown {
        Members::First16 => LISTED_MEMBERS.min(members.len()),
        Members::All => members.len(),
    };
    let _ = write!(text, "{INDENT}Sub NH(label):");
    let mut column = 0;
    for slot in members.iter().take(listed) {
        if column > MEMBER_COLUMNS {
            let _ = write!(text, "\n{MEMBER_INDENT}");
            column = 0;
        }
        let member = member(slot.as_ref());
        column += member.len();
        text.push_str(&member);
    }
    if members.len() > listed {
        let _ = write!(text, " and {} more components...\n\n", members.len() - listed);
    } else {
        text.push('\n');
    }
    text
}

fn member(slot: Option<&Member>) -> String {
    match slot {
        None => " -1".to_owned(),
        Some(Member { next_hop, label: Some(label) }) => format!(" {next_hop}({label})"),
        Some(Member { next_hop, label: None }) => format!(" {next_hop}"),
    }
}

fn index(vif: Option<VifId>) -> i32 {
    vif.map_or(-1, |vif| i32::from(vif.0))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{NhId, VrfId};

    fn ecmp(count: u32) -> NextHopInfo {
        let member = |label| Some(Member { next_hop: NhId(17), label: Some(label) });
        NextHopInfo {
            id: NhId(50),
            family: Some(NhFamily::Inet),
            vrf: Some(VrfId(1)),
            references: 2,
            flags: NhFlags(0x401),
            direct: None,
            detail: NextHopDetail::Composite {
                hash: 0,
                members: (1000..1000 + count).map(member).collect(),
            },
        }
    }

    #[test]
    fn sixteen_members_are_listed_and_the_rest_counted() {
        let start = "\
Id:50         Type:Composite      Fmly: AF_INET  Rid:0  Ref_cnt:2          Vrf:1
              Flags:Valid, Ecmp, 
              Sub NH(label): 17(1000) 17(1001) 17(1002) 17(1003) 17(1004) 17(1005) 17(1006)
                             17(1007) 17(1008) 17(1009) 17(1010) 17(1011) 17(1012) 17(1013)
                             17(1014) 17(1015)";
        assert_eq!(next_hop(&ecmp(16), Members::First16), format!("{start}\n\n"));
        assert_eq!(
            next_hop(&ecmp(20), Members::First16),
            format!("{start} and 4 more components...\n\n\n")
        );
        assert_eq!(
            next_hop(&ecmp(17), Members::All),
            format!("{start} 17(1016)\n\n"),
            "a get shows all members"
        );
    }
}
