//! From the original's messages to what the daemon answers with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::{
    BridgeFlags, BridgeInfo, DropReason, DropStats, ErrorCode, LabelInfo, Mac, NhId, RouteFlags,
    RouteInfo, Rows, Stitched, VniInfo,
};
use serde_json::Value;

use crate::fake::Content;
use crate::{flow, leaves, next_hop, vif, whole};

/// A message's fields; those left out are 0.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a Value);

impl<'a> Fields<'a> {
    pub(crate) fn has(self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    pub(crate) fn integer(self, name: &str) -> i64 {
        self.0.get(name).map_or(0, |value| {
            value.as_i64().unwrap_or_else(|| value.as_u64().expect("an integer").cast_signed())
        })
    }

    pub(crate) fn unsigned(self, name: &str) -> u64 {
        self.integer(name).cast_unsigned()
    }

    /// A number that must fit.
    pub(crate) fn get<N: TryFrom<i64>>(self, name: &str) -> N {
        let value = self.integer(name);
        N::try_from(value).unwrap_or_else(|_| panic!("{name} = {value} does not fit"))
    }

    /// A number where -1 (or `none`) says that there is none.
    pub(crate) fn option<N: TryFrom<i64>>(self, name: &str, none: i64) -> Option<N> {
        let value = self.integer(name);
        (value >= 0 && value != none).then(|| self.get(name))
    }

    pub(crate) fn text(self, name: &str) -> &'a str {
        self.0.get(name).map_or("", |value| value.as_str().expect("a string"))
    }

    pub(crate) fn list(self, name: &str) -> Vec<i64> {
        let values = self.0.get(name).map_or(&[][..], |value| value.as_array().expect("a list"));
        let number = |value: &Value| value.as_i64().or(value.as_u64().map(u64::cast_signed));
        values.iter().map(|value| number(value).expect("an integer")).collect()
    }

    /// Bytes, which the original counts from -128.
    pub(crate) fn bytes(self, name: &str) -> Vec<u8> {
        self.list(name).iter().map(|value| value.to_le_bytes()[0]).collect()
    }

    pub(crate) fn mac(self, name: &str) -> Option<Mac> {
        <[u8; 6]>::try_from(self.bytes(name)).ok().map(Mac)
    }
}

/// An IPv4 address as a number that holds it in network order.
pub(crate) fn ipv4(number: u64) -> Ipv4Addr {
    let [a, b, c, d, ..] = number.to_le_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// An IPv6 address as two such numbers.
pub(crate) fn ipv6(upper: u64, lower: u64) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets[..8].copy_from_slice(&upper.to_le_bytes());
    octets[8..].copy_from_slice(&lower.to_le_bytes());
    Ipv6Addr::from(octets)
}

/// What a daemon must have to answer a golden file's requests.
pub(crate) fn content(golden: &Value) -> Content {
    let mut content = Content { page: 2, ..Content::default() };
    let (mut vifs, mut next_hops, mut routes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut stations, mut labels, mut vnis) = (Vec::new(), Vec::new(), Vec::new());
    let (mut mirrors, mut classes, mut maps) = (Vec::new(), Vec::new(), Vec::new());
    let (mut vrfs, mut statistics, mut logged) = (Vec::new(), Vec::new(), Vec::new());
    for (name, fields) in responses(golden) {
        match name {
            "vr_response" if fields.integer("resp_code") < 0 => {
                content.missing = Some(refusal(fields.integer("resp_code")));
            }
            "vr_interface_req" => vifs.push(vif::row(fields)),
            "vr_vrf_assign_req" => vif::assign(vifs.last_mut().expect("a vif before"), fields),
            "vr_nexthop_req" => next_hops.push(next_hop::row(fields)),
            "vr_route_req" if fields.integer("rtr_family") == 7 => stations.push(station(fields)),
            "vr_route_req" => routes.push(route(fields)),
            "vr_mpls_req" => labels.push(LabelInfo {
                label: fields.get("mr_label"),
                next_hop: NhId(fields.get("mr_nhid")),
            }),
            "vr_vxlan_req" => vnis.push(VniInfo {
                vni: fields.get("vxlanr_vnid"),
                next_hop: NhId(fields.get("vxlanr_nhid")),
            }),
            "vr_drop_stats_req" => content.drops = drops(fields),
            "vr_mirror_req" => mirrors.push(whole::mirror(fields)),
            "vr_fc_map_req" => classes.push(whole::class(fields)),
            "vr_qos_map_req" => maps.push(whole::map(fields)),
            "vr_vrf_req" => vrfs.push(whole::vrf(fields)),
            "vr_vrf_stats_req" => statistics.push(whole::statistics(fields)),
            "vr_mem_stats_req" => content.memory = whole::memory(fields),
            "vrouter_ops" => content.vrouter = whole::vrouter(fields),
            "vr_flow_table_data" => content.flow_table = flow::table(fields, golden),
            "vr_info_req" => content.text = whole::text(fields),
            "vr_pkt_drop_log_req" => {
                content.vrouter = whole::log_facts(fields);
                logged.extend(whole::log(fields));
            }
            _ => {}
        }
    }
    if let (Some(installed), None) = (golden["installed"].as_array(), golden.get("exchange")) {
        routes = leaves::dump(installed);
    }
    if golden["command"].as_str().is_some_and(|command| command.starts_with("rt --dump")) {
        stations = slots(golden, 2);
    }
    content.rows = vec![
        Rows::Vif(vifs),
        Rows::NextHop(next_hops),
        Rows::Route(routes),
        Rows::Bridge(stations),
        Rows::Label(labels),
        Rows::Vni(vnis),
        Rows::Mirror(mirrors),
        Rows::ForwardingClass(classes),
        Rows::QosMap(maps),
        Rows::Vrf(vrfs),
        Rows::VrfStats(statistics),
        Rows::DropLog(logged),
        Rows::Flow(flow::rows(golden)),
    ];
    content
}

fn responses(golden: &Value) -> Vec<(&str, Fields<'_>)> {
    let exchange = golden["exchange"].as_array().map_or(&[][..], Vec::as_slice);
    let answers = exchange.iter().filter(|part| part["dir"] == "response");
    let messages = answers.flat_map(|part| part["messages"].as_array().expect("messages"));
    messages.map(|it| (it["message"].as_str().expect("a name"), Fields(&it["fields"]))).collect()
}

fn refusal(code: i64) -> ErrorCode {
    match code {
        -2 => ErrorCode::NotFound,
        -12 => ErrorCode::NoMemory,
        -19 => ErrorCode::NoDevice,
        -22 => ErrorCode::Invalid,
        other => panic!("no name for {other}"),
    }
}

fn route(fields: Fields<'_>) -> RouteInfo {
    let prefix = fields.bytes("rtr_prefix");
    let address = match <[u8; 4]>::try_from(prefix.as_slice()) {
        Ok(octets) => IpAddr::from(octets),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(prefix).expect("an address")),
    };
    let flags: u8 = fields.get("rtr_label_flags");
    let stitched = fields.mac("rtr_mac").filter(|_| fields.integer("rtr_index") != -1);
    RouteInfo {
        address,
        length: fields.get("rtr_prefix_len"),
        parent_length: fields.get("rtr_replace_plen"),
        flags: RouteFlags(flags),
        label: (flags & 1 != 0).then(|| fields.get("rtr_label")),
        next_hop: NhId(fields.get("rtr_nh_id")),
        stitched: stitched.map(|mac| Stitched { mac, index: fields.get("rtr_index") }),
    }
}

fn station(fields: Fields<'_>) -> BridgeInfo {
    let flags: u8 = fields.get("rtr_label_flags");
    BridgeInfo {
        index: fields.get("rtr_index"),
        mac: fields.mac("rtr_mac").expect("a bridge entry has a MAC"),
        flags: BridgeFlags(flags),
        label: (flags & 2 != 0).then(|| fields.get("rtr_label")),
        next_hop: NhId(fields.get("rtr_nh_id")),
        packets: 0,
    }
}

/// The slots of the shared bridge table that are in use.
fn slots(golden: &Value, vrf: i64) -> Vec<BridgeInfo> {
    let slots = golden["bridge_table"]["routes"].as_array().map_or(&[][..], Vec::as_slice);
    let used = slots
        .iter()
        .map(Fields)
        .filter(|slot| slot.integer("vrf") == vrf && slot.integer("flags") & 1 != 0);
    used.map(|slot| {
        let flags: u8 = slot.get("flags");
        BridgeInfo {
            index: slot.get("index"),
            mac: slot.text("mac").parse().expect("a MAC"),
            flags: BridgeFlags(flags),
            label: (flags & 2 != 0).then(|| slot.get("label")),
            next_hop: NhId(slot.get("nh")),
            packets: slot.unsigned("packets"),
        }
    })
    .collect()
}

fn drops(fields: Fields<'_>) -> DropStats {
    let mut stats = DropStats::default();
    for reason in DropReason::ALL {
        let field = match reason {
            DropReason::Fragments => "vds_frag_err".to_owned(),
            DropReason::NewFlows => "vds_drop_new_flow".to_owned(),
            other => other.name().to_lowercase().replace("vp_drop_", "vds_"),
        };
        stats.set(*reason, fields.unsigned(&field));
    }
    stats.per_core_missing = fields.integer("vds_pcpu_stats_failure_status") != 0;
    stats
}
