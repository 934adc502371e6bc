//! Flows and their table.

use std::net::{IpAddr, Ipv4Addr};

use api::{FlowAction, FlowInfo, FlowTableInfo, NhId, RuleId, VrfId};
use serde_json::Value;

use crate::messages::Fields;

pub(crate) fn table(fields: Fields<'_>, golden: &Value) -> FlowTableInfo {
    let entries = &golden["flow_table"]["entries"];
    FlowTableInfo {
        entries: u32::try_from(entries.as_u64().unwrap_or(0)).expect("few"),
        used: fields.unsigned("ftable_used_entries"),
        created: fields.unsigned("ftable_created"),
        added: fields.unsigned("ftable_added"),
        deleted: fields.unsigned("ftable_deleted"),
        changed: fields.unsigned("ftable_changed"),
        processed: fields.unsigned("ftable_processed"),
        overflow: fields.unsigned("ftable_oflow_entries"),
        created_by_core: fields
            .list("ftable_hold_stat")
            .into_iter()
            .map(i64::cast_unsigned)
            .collect(),
        held_overflow: fields.unsigned("ftable_hold_oflows"),
        held: fields.unsigned("ftable_hold_entries"),
        ..FlowTableInfo::default()
    }
}

pub(crate) fn rows(golden: &Value) -> Vec<FlowInfo> {
    let flows = golden["flow_table"]["flows"].as_array().map_or(&[][..], Vec::as_slice);
    let fields: Vec<Fields<'_>> = flows.iter().map(Fields).collect();
    let mut rows: Vec<FlowInfo> = fields.iter().map(|flow| row(*flow, &fields)).collect();
    rows.sort_by_key(|row| row.index);
    rows
}

fn row(flow: Fields<'_>, all: &[Fields<'_>]) -> FlowInfo {
    let address = |name| {
        let text = flow.text(name);
        text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    };
    let or_none = |name: &str| flow.has(name).then(|| flow.integer(name)).filter(|it| *it >= 0);
    let vrf = VrfId(flow.get("vrf"));
    let destination_vrf = flow.has("dvrf").then(|| VrfId(flow.get("dvrf")));
    let flags: u16 = flow.get("flags");
    FlowInfo {
        index: flow.get("index"),
        active: !flow.has("oflow_only"),
        reverse: or_none("rflow").map(|index| u32::try_from(index).expect("an index")),
        generation: flow.get("gen"),
        source: address("src"),
        destination: address("dst"),
        source_port: flow.get("sport"),
        destination_port: flow.get("dport"),
        protocol: flow.get("proto"),
        vrf,
        destination_vrf: destination_vrf.filter(|_| flags & FlowInfo::VRF_TRANSLATE != 0),
        key_next_hop: NhId(flow.get("key_nh")),
        source_next_hop: NhId(flow.get("src_nh")),
        action: match flow.integer("action") {
            0 => FlowAction::Drop,
            1 => FlowAction::Hold,
            2 => FlowAction::Forward,
            3 => FlowAction::Nat,
            _ => FlowAction::Unknown,
        },
        flags,
        flags1: flow.get("flags1"),
        drop_reason: flow.get("drop_reason"),
        tcp_flags: flow.get("tcp"),
        ecmp: or_none("ecmp").map(|position| u8::try_from(position).expect("a byte")),
        underlay_ecmp: or_none("underlay_ecmp").map(|it| u8::try_from(it).expect("a byte")),
        qos_map: or_none("qos").map(|map| u16::try_from(map).expect("a map")),
        packets: flow.unsigned("packets"),
        bytes: flow.unsigned("bytes"),
        mirrors: ["mirror", "sec_mirror"]
            .map(|name| or_none(name).filter(|it| *it < 255))
            .map(|it| it.map(|it| u8::try_from(it).expect("a mirror"))),
        udp_source_port: flow.get("udp_sport"),
        ttl: flow.get("ttl"),
        source_info: flow.text("src_info").parse().unwrap_or(Ipv4Addr::UNSPECIFIED),
        overflow: chain(flow, all),
        network_rule: RuleId(0),
        group_rule: RuleId(0),
        age: 0,
        idle: 0,
        owner: None,
    }
}

/// The entries that hang off a place.
fn chain(flow: Fields<'_>, all: &[Fields<'_>]) -> Vec<u32> {
    let mut chain = Vec::new();
    let mut at = flow;
    while at.has("next") {
        let next: u32 = at.get("next");
        chain.push(next);
        match all.iter().find(|flow| flow.get::<u32>("index") == next) {
            Some(found) => at = *found,
            None => break,
        }
    }
    chain
}
