//! `vr_interface_req` as a row.

use std::net::IpAddr;

use api::{
    Aggregate, BondMember, Duplex, Fabric, FatFlowIgnore, FatFlowRule, LayerCounters, Layers,
    LinkState, Mac, NhId, Traffic, Transport, VifFlags, VifId, VifInfo, VifKind, VlanStation,
    VlanTag, VlanVrf, VrfId,
};

use crate::messages::{Fields, ipv4, ipv6};

const NO_VRF: i64 = 65535;
const NO_MIRROR: i64 = 255;
const NO_VLAN: i64 = 65535;

pub(crate) fn row(fields: Fields<'_>) -> VifInfo {
    let kind = kind(fields.integer("vifr_type"));
    let os_index = fields.integer("vifr_os_idx");
    let mut row = VifInfo::new(
        VifId(fields.integer("vifr_idx").try_into().unwrap_or(0)),
        fields.text("vifr_name"),
        kind,
    );
    row.os_index = u32::try_from(os_index).expect("an index");
    row.transport = transport(fields.integer("vifr_transport"));
    row.speed_mbps = fields.option("vifr_speed", -1);
    row.duplex = match fields.integer("vifr_duplex") {
        0 => Some(Duplex::Half),
        1 => Some(Duplex::Full),
        _ => None,
    };
    row.vlan = (kind == VifKind::VirtualVlan).then(|| vlan(fields));
    row.monitors = (kind == VifKind::Monitoring).then(|| VifId(fields.get("vifr_os_idx")));
    row.parent = fields.option("vifr_parent_vif_idx", -1).map(VifId);
    row.next_hop = fields.option("vifr_nh_id", 0).map(NhId);
    row.mac = fields.mac("vifr_mac").unwrap_or_default();
    row.ip = Some(ipv4(fields.unsigned("vifr_ip"))).filter(|ip| !ip.is_unspecified());
    row.ip6 = Some(ipv6(fields.unsigned("vifr_ip6_u"), fields.unsigned("vifr_ip6_l")))
        .filter(|ip| !ip.is_unspecified());
    row.vrf = fields.option("vifr_vrf", NO_VRF).map(VrfId);
    row.mcast_vrf = fields.option("vifr_mcast_vrf", NO_VRF).map(VrfId);
    row.mtu = fields.get("vifr_mtu");
    row.flags = VifFlags(fields.get("vifr_flags"));
    row.qos_map = fields.option("vifr_qos_map_index", -1);
    row.references = fields.get("vifr_ref_cnt");
    row.mirror = fields.option("vifr_mir_id", NO_MIRROR);
    row.rx = traffic(fields, "i");
    row.tx = traffic(fields, "o");
    row.drops = fields.unsigned("vifr_dpackets");
    row.layers = layers(fields);
    row.fabric = (kind == VifKind::Physical).then(|| fabric(fields));
    row.isid = fields.get("vifr_isid");
    row.bmac = fields.mac("vifr_pbb_mac").filter(|mac| !mac.is_zero());
    row.ingress_mirror_metadata = fields.bytes("vifr_in_mirror_md");
    row.egress_mirror_metadata = fields.bytes("vifr_out_mirror_md");
    let rules = fields.list("vifr_fat_flow_protocol_port");
    row.fat_flow_rules =
        rules.iter().enumerate().map(|(number, word)| rule(fields, number, *word)).collect();
    let excluded = fields.list("vifr_fat_flow_exclude_ip_list");
    row.fat_flow_exclude = excluded.iter().map(|number| ipv4(number.cast_unsigned())).collect();
    let (upper, lower) = (
        fields.list("vifr_fat_flow_exclude_ip6_u_list"),
        fields.list("vifr_fat_flow_exclude_ip6_l_list"),
    );
    row.fat_flow_exclude6 =
        upper.iter().zip(&lower).map(|(u, l)| ipv6(u.cast_unsigned(), l.cast_unsigned())).collect();
    row
}

/// `vr_vrf_assign_req`: one mapping of a service interface.
pub(crate) fn assign(row: &mut VifInfo, fields: Fields<'_>) {
    row.vlan_vrfs
        .push(VlanVrf { vlan: fields.get("var_vlan_id"), vrf: VrfId(fields.get("var_vif_vrf")) });
}

fn kind(number: i64) -> VifKind {
    match number {
        0 => VifKind::Host,
        1 => VifKind::Agent,
        2 => VifKind::Physical,
        3 => VifKind::Virtual,
        4 => VifKind::XenLl,
        5 => VifKind::Gateway,
        6 => VifKind::VirtualVlan,
        7 => VifKind::Stats,
        9 => VifKind::Monitoring,
        other => panic!("no interface type {other}"),
    }
}

fn transport(number: i64) -> Transport {
    match number {
        0 => Transport::Virtual,
        1 => Transport::Ethernet,
        2 => Transport::Pmd,
        3 => Transport::Socket,
        other => panic!("no transport {other}"),
    }
}

fn vlan(fields: Fields<'_>) -> VlanTag {
    let bytes = fields.bytes("vifr_src_mac");
    let macs = bytes.chunks_exact(6).map(|octets| Mac(octets.try_into().expect("six octets")));
    let slots = fields.list("vifr_bridge_idx");
    let station = |(mac, slot): (Mac, &i64)| VlanStation {
        mac,
        bridge_index: u32::try_from(*slot).expect("a slot"),
    };
    VlanTag {
        outer: fields.get("vifr_ovlan_id"),
        inner: fields.get("vifr_vlan_id"),
        stations: macs.zip(&slots).map(station).collect(),
    }
}

fn traffic(fields: Fields<'_>, direction: &str) -> Traffic {
    let counter = |what| fields.unsigned(&format!("vifr_{direction}{what}"));
    Traffic { packets: counter("packets"), bytes: counter("bytes"), errors: counter("errors") }
}

fn layers(fields: Fields<'_>) -> Layers {
    let layer = |name: &str, direction: &str| {
        let counter = |what| fields.unsigned(&format!("vifr_{name}_{direction}{what}"));
        LayerCounters {
            packets: counter("packets"),
            bytes: counter("bytes"),
            errors: counter("errors"),
            no_buffers: counter("nombufs"),
            syscalls: counter("syscalls"),
        }
    };
    Layers {
        rx_device: layer("dev", "i"),
        rx_port: layer("port", "i"),
        rx_queue: layer("queue", "i"),
        rx_queue_errors_to_lcore: fields
            .list("vifr_queue_ierrors_to_lcore")
            .iter()
            .map(|errors| errors.cast_unsigned())
            .collect(),
        tx_queue: layer("queue", "o"),
        tx_port: layer("port", "o"),
        tx_device: layer("dev", "o"),
    }
}

fn strings(fields: Fields<'_>, name: &str) -> Vec<String> {
    let bytes = fields.bytes(name);
    let texts =
        bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
    texts.filter(|text| !text.is_empty()).collect()
}

fn fabric(fields: Fields<'_>) -> Fabric {
    let status = fields.integer("vifr_intf_status");
    let state = |bit: usize| if status >> bit & 1 != 0 { LinkState::Up } else { LinkState::Down };
    let first = |name| strings(fields, name).into_iter().next().unwrap_or_default();
    let members = strings(fields, "vifr_bond_slave_name")
        .into_iter()
        .zip(strings(fields, "vifr_bond_slave_drv_name"));
    Fabric {
        name: first("vifr_fab_name"),
        state: state(0),
        driver: first("vifr_fab_drv_name"),
        members: members
            .enumerate()
            .map(|(number, (name, driver))| BondMember { name, state: state(number + 1), driver })
            .collect(),
        vlan: fields.option("vifr_vlan_tag", NO_VLAN),
        vlan_interface: first("vifr_vlan_name"),
    }
}

fn rule(fields: Fields<'_>, number: usize, word: i64) -> FatFlowRule {
    let [port_low, port_high, protocol, mode, ..] = word.to_le_bytes();
    let aggregate = |end: &str, four: &[u8], six: &[u8]| {
        let at = |what: &str| {
            fields.list(&format!("vifr_fat_flow_{end}_{what}"))[number].cast_unsigned()
        };
        let kind = mode >> 4;
        let prefix = if four.contains(&kind) {
            IpAddr::from(ipv4(at("prefix_l")))
        } else if six.contains(&kind) {
            IpAddr::from(ipv6(at("prefix_h"), at("prefix_l")))
        } else {
            return None;
        };
        let byte = |what| u8::try_from(at(what)).expect("a length");
        Some(Aggregate {
            prefix,
            length: byte("prefix_mask"),
            aggregate_length: byte("aggregate_plen"),
        })
    };
    FatFlowRule {
        protocol,
        port: u16::from_le_bytes([port_low, port_high]),
        ignore: match mode & 0xf {
            1 => Some(FatFlowIgnore::Source),
            2 => Some(FatFlowIgnore::Destination),
            _ => None,
        },
        source: aggregate("src", &[5, 6], &[2, 3]),
        destination: aggregate("dst", &[4, 6], &[1, 3]),
    }
}
