//! The last records, and the rows that queries see: one for each direction of a session.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use api::{FlowEvent, FlowRecord};
use serde_json::{Value, json};
use tables::RuleId;

use crate::config::Config;
use crate::stable;

/// Records that are kept.
const KEPT: usize = 200_000;

/// See the module.
#[derive(Default)]
pub(super) struct Store {
    records: VecDeque<FlowRecord>,
}

/// Columns and what is in them.
pub(super) type Row = BTreeMap<&'static str, Value>;

/// What each row has, beside when and how much.
const FLOW: [&str; 18] = [
    "vrouter",
    "vrouter_ip",
    "sourcevn",
    "sourceip",
    "destvn",
    "destip",
    "protocol",
    "sport",
    "dport",
    "direction_ing",
    "action",
    "nw_ace_uuid",
    "nw_policy_rule",
    "sg_rule_uuid",
    "sg_rule",
    "UuidKey",
    "vmi_uuid",
    "drop_reason",
];

/// What each row of a series has.
pub(super) fn series() -> Vec<&'static str> {
    [&FLOW[..], &["T", "packets", "bytes"]].concat()
}

/// What each row of a session's direction has.
pub(super) fn records() -> Vec<&'static str> {
    [&FLOW[..], &["setup_time", "teardown_time", "agg-packets", "agg-bytes"]].concat()
}

impl Store {
    pub(super) fn add(&mut self, records: Vec<FlowRecord>) {
        self.records.extend(records);
        let over = self.records.len().saturating_sub(KEPT);
        self.records.drain(..over);
    }

    /// What was recorded of each direction between two times (microseconds since 1970).
    pub(super) fn series(&self, config: &Config, between: (u64, u64)) -> Vec<Row> {
        let names = Names::of(config);
        let within = self.within(between);
        within.flat_map(|record| names.rows(record).map(|(row, _)| row)).collect()
    }

    /// The same, added up by session and direction.
    pub(super) fn sessions(&self, config: &Config, between: (u64, u64)) -> Vec<Row> {
        let names = Names::of(config);
        let mut sessions: BTreeMap<(u64, bool), Row> = BTreeMap::new();
        for record in self.within(between) {
            let ended = if record.event == FlowEvent::Deleted { record.end * 1000 } else { 0 };
            for (mut row, is_forward) in names.rows(record) {
                let (packets, bytes) = (take(&mut row, "packets"), take(&mut row, "bytes"));
                row.remove("T");
                row.insert("setup_time", json!(record.start * 1000));
                row.insert("teardown_time", json!(ended));
                let known = sessions.entry((record.session, is_forward)).or_default();
                row.insert("agg-packets", json!(packets + number(known, "agg-packets")));
                row.insert("agg-bytes", json!(bytes + number(known, "agg-bytes")));
                *known = row;
            }
        }
        sessions.into_values().collect()
    }

    pub(super) fn within(&self, (from, to): (u64, u64)) -> impl Iterator<Item = &FlowRecord> {
        let at = |record: &FlowRecord| record.end * 1000;
        self.records.iter().filter(move |record| (from..=to).contains(&at(record)))
    }
}

/// What became of its packets.
pub(super) fn action(record: &FlowRecord) -> &'static str {
    if record.event == FlowEvent::Denied { "deny" } else { "pass" }
}

/// Why they are dropped, in the words of reference control-plane.md section 4.5; nothing if they are not.
fn drop_reason(record: &FlowRecord) -> String {
    match record.drop_reason {
        _ if record.event != FlowEvent::Denied => String::new(),
        21 => "policy".to_owned(),
        22 => "out policy".to_owned(),
        23 => "SG".to_owned(),
        24 => "out SG".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn number(row: &Row, column: &str) -> u64 {
    row.get(column).and_then(Value::as_u64).unwrap_or(0)
}

fn take(row: &mut Row, column: &str) -> u64 {
    row.remove(column).and_then(|value| value.as_u64()).unwrap_or(0)
}

/// What numbers are called.
pub(super) struct Names {
    pub(super) node: String,
    pub(super) endpoint: IpAddr,
    networks: BTreeMap<u32, String>,
    rules: BTreeMap<RuleId, String>,
    /// Of policies that are to be logged.
    logged: BTreeSet<RuleId>,
    /// By network and address, floating IPs included.
    workloads: BTreeMap<(String, IpAddr), String>,
}

impl Names {
    pub(super) fn of(config: &Config) -> Names {
        let networks = config.networks.iter().map(|it| (it.id, it.name.clone())).collect();
        let mut rules = BTreeMap::new();
        let mut logged = BTreeSet::new();
        for policy in &config.policies {
            for (at, rule) in policy.rules.iter().enumerate() {
                let id = stable::uuid(&["policy", &policy.name, &at.to_string()]);
                rules.insert(id, format!("{} rule {}", policy.name, at + 1));
                if rule.log {
                    logged.insert(id);
                }
            }
        }
        for group in &config.groups {
            for (way, count) in [("ingress", group.ingress.len()), ("egress", group.egress.len())] {
                for at in 0..count {
                    let id = stable::uuid(&["group", &format!("{}/{way}/{at}", group.name)]);
                    rules.insert(id, format!("{} {way} rule {}", group.name, at + 1));
                }
            }
        }
        let (node, endpoint) = (config.node.name.clone(), config.node.tunnel_endpoint);
        let mut workloads = BTreeMap::new();
        for workload in &config.workloads {
            let own = workload.addresses().map(|address| (workload.network.clone(), address));
            let floating = workload.floating_ips.iter().map(|it| (it.network.clone(), it.address));
            workloads.extend(own.chain(floating).map(|key| (key, workload.name.clone())));
        }
        Names { node, endpoint, networks, rules, logged, workloads }
    }

    /// Whether the policy's rule that decided is to be logged.
    pub(super) fn is_logged(&self, record: &FlowRecord) -> bool {
        self.logged.contains(&record.rules.0)
    }

    /// The workload of this node that has an address in a network.
    pub(super) fn workload(&self, network: &str, address: IpAddr) -> Option<&str> {
        self.workloads.get(&(network.to_owned(), address)).map(String::as_str)
    }

    pub(super) fn rule(&self, id: RuleId) -> String {
        match id {
            RuleId::NOT_EVALUATED => "not asked".to_owned(),
            RuleId::IMPLICIT_ALLOW => "nothing forbids it".to_owned(),
            RuleId::IMPLICIT_DENY => "no rule allows it".to_owned(),
            RuleId::GATEWAY => "the gateway".to_owned(),
            RuleId::LINK_LOCAL => "a link-local service".to_owned(),
            RuleId::BGP_SERVICE => "BGP as a service".to_owned(),
            id => self.rules.get(&id).cloned().unwrap_or_default(),
        }
    }

    pub(super) fn network(&self, ids: &[u32]) -> String {
        let name = |id: &u32| self.networks.get(id).cloned().unwrap_or_else(|| id.to_string());
        ids.iter().map(name).collect::<Vec<_>>().join(",")
    }

    /// A row for the first packet's direction, and one for the other if it carried anything.
    fn rows(&self, record: &FlowRecord) -> impl Iterator<Item = (Row, bool)> {
        let forward = self.row(record, true);
        let reverse = (record.packets.1 != 0).then(|| (self.row(record, false), false));
        std::iter::once((forward, true)).chain(reverse)
    }

    fn row(&self, record: &FlowRecord, is_forward: bool) -> Row {
        let turn = |pair: (String, String)| match is_forward {
            true => pair,
            false => (pair.1, pair.0),
        };
        let (source, destination) =
            turn((record.source.to_string(), record.destination.to_string()));
        let address = if is_forward { record.source } else { record.destination };
        let (from, to) = turn((self.network(&record.networks.0), self.network(&record.networks.1)));
        let (sport, dport) = match is_forward {
            true => record.ports,
            false => (record.ports.1, record.ports.0),
        };
        let local = if is_forward { record.vifs.0 } else { record.vifs.1 };
        let vmi = local.and_then(|_| self.workload(&from, address));
        let vmi = vmi.map(|name| stable::uuid(&["workload", &from, name]).to_string());
        let (packets, bytes) = match is_forward {
            true => (record.packets.0, record.bytes.0),
            false => (record.packets.1, record.bytes.1),
        };
        let action = action(record);
        Row::from([
            ("vrouter", json!(self.node)),
            ("vrouter_ip", json!(self.endpoint)),
            ("sourcevn", json!(from)),
            ("sourceip", json!(source)),
            ("destvn", json!(to)),
            ("destip", json!(destination)),
            ("protocol", json!(record.protocol)),
            ("sport", json!(sport)),
            ("dport", json!(dport)),
            ("direction_ing", json!(u8::from(local.is_some()))),
            ("action", json!(action)),
            ("nw_ace_uuid", json!(record.rules.0.to_string())),
            ("nw_policy_rule", json!(self.rule(record.rules.0))),
            ("sg_rule_uuid", json!(record.rules.1.to_string())),
            ("sg_rule", json!(self.rule(record.rules.1))),
            ("UuidKey", json!(format!("{:016x}-{}", record.session, u8::from(is_forward)))),
            ("vmi_uuid", json!(vmi.unwrap_or_default())),
            ("drop_reason", json!(drop_reason(record))),
            ("T", json!(record.end * 1000)),
            ("packets", json!(packets)),
            ("bytes", json!(bytes)),
        ])
    }
}
