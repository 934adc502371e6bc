//! Messages about the dataplane as a whole, and about mirrors, QoS and VRFs.

use std::net::IpAddr;

use api::{
    BuildInfo, Core, DropLogEntry, DropReason, ForwardingClassInfo, MemoryStats, MirrorInfo, NhId,
    PacketKind, QosMapInfo, VifId, VrfId, VrfInfo, VrfStats, VrouterInfo, VrouterValue,
};
use serde_json::Value;

use crate::messages::Fields;

pub(crate) fn mirror(fields: Fields<'_>) -> MirrorInfo {
    MirrorInfo {
        index: fields.get("mirr_index"),
        next_hop: NhId(fields.get("mirr_nhid")),
        flags: fields.get("mirr_flags"),
        vni: fields.option("mirr_vni", -1),
        vlan: fields.get("mirr_vlan"),
    }
}

pub(crate) fn class(fields: Fields<'_>) -> ForwardingClassInfo {
    let first = |name| u8::try_from(fields.list(name)[0]).expect("a byte");
    ForwardingClassInfo {
        id: fields.list("fmr_id")[0].to_le_bytes()[0],
        dscp: first("fmr_dscp"),
        mpls_qos: first("fmr_mpls_qos"),
        dotonep: first("fmr_dotonep"),
        queue: first("fmr_queue_id"),
    }
}

pub(crate) fn map(fields: Fields<'_>) -> QosMapInfo {
    let table = |name: &str| -> Vec<(u8, u8)> {
        let marks = fields.bytes(&format!("qmr_{name}"));
        let classes = fields.bytes(&format!("qmr_{name}_fc_id"));
        marks.into_iter().zip(classes).filter(|(_, class)| *class != 0).collect()
    };
    QosMapInfo {
        index: fields.get("qmr_id"),
        dscp: table("dscp"),
        mpls_qos: table("mpls_qos"),
        dotonep: table("dotonep"),
    }
}

pub(crate) fn vrf(fields: Fields<'_>) -> VrfInfo {
    VrfInfo {
        id: VrfId(fields.get("vrf_idx")),
        name: String::new(),
        hbs_left: fields.option("vrf_hbfl_vif_idx", -1).map(VifId),
        hbs_right: fields.option("vrf_hbfr_vif_idx", -1).map(VifId),
    }
}

pub(crate) fn statistics(fields: Fields<'_>) -> VrfStats {
    let count = |name: &str| fields.unsigned(&format!("vsr_{name}"));
    VrfStats {
        vrf: Some(VrfId(fields.get("vsr_vrf"))),
        discards: count("discards"),
        resolves: count("resolves"),
        receives: count("receives"),
        l2_receives: count("l2_receives"),
        vrf_translates: count("vrf_translates"),
        unknown_unicast_floods: count("uuc_floods"),
        ecmp_composites: count("ecmp_composites"),
        l2_mcast_composites: count("l2_mcast_composites"),
        fabric_composites: count("fabric_composites"),
        encap_composites: count("encap_composites"),
        evpn_composites: count("evpn_composites"),
        udp_tunnels: count("udp_tunnels"),
        udp_mpls_tunnels: count("udp_mpls_tunnels"),
        gre_mpls_tunnels: count("gre_mpls_tunnels"),
        vxlan_tunnels: count("vxlan_tunnels"),
        pbb_tunnels: count("pbb_tunnels"),
        mpls_over_mpls_tunnels: count("udp_mpls_over_mpls_tunnels"),
        l2_encaps: count("l2_encaps"),
        encaps: count("encaps"),
        gros: count("gros"),
        diags: count("diags"),
        arp_virtual_proxys: count("arp_virtual_proxy"),
        arp_virtual_stitchs: count("arp_virtual_stitch"),
        arp_virtual_floods: count("arp_virtual_flood"),
        arp_physical_stitchs: count("arp_physical_stitch"),
        arp_tor_proxys: count("arp_tor_proxy"),
        arp_physical_floods: count("arp_physical_flood"),
    }
}

/// Where a field's name and the printed one differ by more than spaces.
const KINDS: &[(&str, &str)] = &[
    ("Assembler Table", "assembler_table"),
    ("Drop Stats Request", "drop_stats_req"),
    ("Flow Request", "flow_req"),
    ("Flow Request Path", "flow_req_path"),
    ("Host Packet Pool", "hpacket_pool"),
    ("Hash Table", "htable"),
    ("Interface Mirror Meta Objects", "interface_mirror_meta"),
    ("Interface Request", "interface_req"),
    ("Interface Request MAC", "interface_req_mac"),
    ("Interface Request PBB MAC", "interface_req_pbb_mac"),
    ("Interface Mirror Req Meta Objects", "interface_req_mirror_meta"),
    ("Interface Request Name", "interface_req_name"),
    ("VRF Table", "interface_vrf_table"),
    ("Index Table", "itable"),
    ("Memory Stats Request", "mem_stats_req"),
    ("Mirror MetMirror Meta", "mirror_meta"),
    ("NextHop Request List", "nexthop_req_list"),
    ("NextHop Request Encap", "nexthop_req_encap"),
    ("NextHop Request PBB BMAC", "nexthop_req_bmac"),
    ("NextHop Request", "nexthop_req"),
    ("Route Request MAC object", "route_req_mac"),
    ("Vrouter Request", "vrouter_req"),
    ("QOS Map Objects", "qos_map"),
    ("Forwarding Class Objects", "fc"),
    ("Fatflow v4 exclude list object", "interface_fat_flow_ipv4_exclude_list"),
    ("Fatflow v6 exclude list object", "interface_fat_flow_ipv6_exclude_list"),
];

pub(crate) fn memory(fields: Fields<'_>) -> MemoryStats {
    let all = fields.0.as_object().expect("fields");
    let kind = |field: &str| {
        let known = KINDS.iter().find(|(_, name)| *name == field);
        // Names are only compared without regard to case here, so the printed one is found by its words.
        known.map_or_else(|| field.replace('_', " "), |(printed, _)| (*printed).to_owned())
    };
    let named = all.iter().filter_map(|(field, _)| {
        let short = field.strip_prefix("vms_")?.strip_suffix("_object")?;
        Some((printed(&kind(short)), fields.unsigned(field)))
    });
    MemoryStats {
        allocated: fields.unsigned("vms_alloced"),
        freed: fields.unsigned("vms_freed"),
        objects: named.collect(),
    }
}

/// The printed spelling of words.
fn printed(words: &str) -> String {
    if words.chars().any(char::is_uppercase) {
        return words.to_owned();
    }
    match words {
        "flow queue" => "Flow queue".to_owned(),
        "mtrie" => "MTRIE".to_owned(),
        "bridge mac" => "Bridge MAC".to_owned(),
        "interface mac" => "Interface MAC".to_owned(),
        "nexthop component" => "NextHop Component".to_owned(),
        "interface req bridge id" => "Interface Req Bridge ID".to_owned(),
        words => {
            let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
            words.split(' ').map(capital).collect::<Vec<_>>().join(" ")
        }
    }
}

pub(crate) fn text(fields: Fields<'_>) -> String {
    let bytes = fields.bytes("vdu_proc_info");
    String::from_utf8(bytes).expect("text").trim_end_matches('\0').to_owned()
}

pub(crate) fn vrouter(fields: Fields<'_>) -> VrouterInfo {
    let build: Value = serde_json::from_str(fields.text("vo_build_info")).expect("JSON");
    let fact = |name: &str| build["build-info"][0][name].as_str().unwrap_or_default().to_owned();
    let value = |name: &str| fields.get::<u32>(&format!("vo_{name}"));
    let types = fields.list("vo_log_type_enable").iter().fold(0, |bits, bit| bits | bit);
    let values = vec![
        (VrouterValue::Interfaces, value("interfaces")),
        (VrouterValue::Vrfs, value("vrfs")),
        (VrouterValue::NextHops, value("nexthops")),
        (VrouterValue::Labels, value("mpls_labels")),
        (VrouterValue::BridgeEntries, value("bridge_entries")),
        (VrouterValue::BridgeOverflow, value("oflow_bridge_entries")),
        (VrouterValue::FlowEntries, value("flow_entries")),
        (VrouterValue::FlowOverflow, value("oflow_entries")),
        (VrouterValue::Mirrors, value("mirror_entries")),
        (VrouterValue::VifBridgeEntries, value("vif_bridge_entries")),
        (VrouterValue::VifBridgeOverflow, value("vif_oflow_bridge_entries")),
        (VrouterValue::DropLogEntries, value("pkt_droplog_bufsz")),
        (VrouterValue::DropLogSupport, value("pkt_droplog_buf_en")),
        (VrouterValue::Gro, value("perfr")),
        (VrouterValue::Segmentation, value("perfs")),
        (VrouterValue::FromVmMssAdjust, value("from_vm_mss_adj")),
        (VrouterValue::ToVmMssAdjust, value("to_vm_mss_adj")),
        (VrouterValue::Perfr1, value("perfr1")),
        (VrouterValue::Perfr2, value("perfr2")),
        (VrouterValue::Perfr3, value("perfr3")),
        (VrouterValue::Perfp, value("perfp")),
        (VrouterValue::Perfq1, value("perfq1")),
        (VrouterValue::FlowHoldLimit, value("flow_hold_limit")),
        (VrouterValue::FlowUsed, value("flow_used_entries")),
        (VrouterValue::FlowOverflowUsed, value("flow_used_oentries")),
        (VrouterValue::BridgeUsed, value("bridge_used_entries")),
        (VrouterValue::PriorityTagging, value("priority_tagging")),
        (VrouterValue::DropLog, value("pkt_droplog_en")),
        (VrouterValue::CloseOnReset, value("uncond_close_flow_on_tcp_rst")),
        (VrouterValue::LogLevel, value("log_level")),
        (VrouterValue::LogTypes, u32::try_from(types).expect("bits")),
    ];
    let build = BuildInfo {
        version: fact("build-version"),
        user: fact("build-user"),
        host: fact("build-hostname"),
        time: fact("build-time"),
    };
    VrouterInfo { build, values }
}

pub(crate) fn log_facts(fields: Fields<'_>) -> VrouterInfo {
    let value = |name: &str| fields.get::<u32>(name);
    let values = vec![
        (VrouterValue::DropLog, value("vdl_pkt_droplog_sysctl_en")),
        (VrouterValue::DropLogSupport, value("vdl_pkt_droplog_en")),
        (VrouterValue::DropLogCores, value("vdl_max_num_cores")),
        (VrouterValue::DropLogEntries, value("vdl_pkt_droplog_max_bufsz")),
    ];
    VrouterInfo { build: BuildInfo::default(), values }
}

/// Bytes of a record, and where its parts begin.
const RECORD: usize = 168;
const FILES: &[(u8, &str)] = &[(1, "UVROUTER_C"), (2, "VR_HOST_MTRANSPORT_C")];

/// The records that were made: those with a time.
pub(crate) fn log(fields: Fields<'_>) -> Vec<DropLogEntry> {
    let bytes = fields.bytes("vdl_pkt_droplog_arr");
    let core = Core(fields.get::<u32>("vdl_core").saturating_sub(1));
    let records = bytes.chunks_exact(RECORD).enumerate();
    records.filter_map(|(slot, record)| entry(core, slot, record)).collect()
}

fn entry(core: Core, slot: usize, record: &[u8]) -> Option<DropLogEntry> {
    let number = |at: usize, size: usize| {
        record[at..at + size].iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let narrow = |at, size| u32::try_from(number(at, size)).expect("32 bits");
    let short = |at| u16::try_from(number(at, 2)).expect("16 bits");
    let seconds = number(0, 8);
    if seconds == 0 {
        return None;
    }
    let kind = match record[8] {
        1 => PacketKind::Arp,
        2 => PacketKind::Ip,
        3 => PacketKind::Ip6,
        _ => PacketKind::Unknown,
    };
    let address = |at: usize| -> IpAddr {
        if kind == PacketKind::Ip6 {
            IpAddr::from(<[u8; 16]>::try_from(&record[at..at + 16]).expect("16 bytes"))
        } else {
            IpAddr::from(<[u8; 4]>::try_from(&record[at..at + 4]).expect("4 bytes"))
        }
    };
    let reason = *DropReason::ALL.iter().find(|it| **it as u8 == record[10]).expect("a reason");
    let length = number(64, 2);
    Some(DropLogEntry {
        core,
        slot: u32::try_from(slot).expect("few"),
        time: seconds * 1_000_000_000,
        reason,
        kind,
        vif: Some(VifId(short(12))),
        vrf: None,
        next_hop: Some(NhId(narrow(16, 4))),
        generation: 0,
        addresses: (kind != PacketKind::Arp).then(|| (address(20), address(36))),
        ports: (short(52), short(54)),
        file: FILES
            .iter()
            .find(|(number, _)| *number == record[56])
            .map_or(String::new(), |(_, name)| (*name).to_owned()),
        line: narrow(60, 4),
        length: narrow(64, 2),
        bytes: record[66..66 + usize::try_from(length).expect("small").min(100)].to_vec(),
    })
}
