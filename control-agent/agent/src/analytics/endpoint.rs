//! Sessions as their local ends see them: a row for each workload of this node at an end (reference control-plane.md
//! section 4.10, the session tables). Nothing is sampled: what is counted is all there was.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{FlowEvent, FlowRecord};
use serde_json::json;

use super::store::{Names, Row, Store, action, number};
use crate::config::Config;

/// What each row has, beside when and how much.
const SESSION: [&str; 16] = [
    "vrouter",
    "vrouter_ip",
    "vmi",
    "vn",
    "remote_vn",
    "local_ip",
    "remote_ip",
    "client_port",
    "server_port",
    "protocol",
    "session_type",
    "forward_action",
    "reverse_action",
    "nw_ace_uuid",
    "nw_policy_rule",
    "sg_rule_uuid",
];

/// What each row of a series has.
pub(super) fn series() -> Vec<&'static str> {
    [&SESSION[..], &["T"], &COUNTS].concat()
}

/// What each row of a session has.
pub(super) fn records() -> Vec<&'static str> {
    [&SESSION[..], &["setup_time", "teardown_time"], &COUNTS].concat()
}

/// The columns that count.
const COUNTS: [&str; 8] = [
    "forward_sampled_bytes",
    "forward_sampled_pkts",
    "reverse_sampled_bytes",
    "reverse_sampled_pkts",
    "forward_logged_bytes",
    "forward_logged_pkts",
    "reverse_logged_bytes",
    "reverse_logged_pkts",
];

/// Whether a column counts, and can be added up.
pub(super) fn is_count(column: &str) -> bool {
    COUNTS.contains(&column)
}

impl Store {
    /// What was recorded of each end between two times (microseconds since 1970).
    pub(super) fn end_series(&self, config: &Config, between: (u64, u64)) -> Vec<Row> {
        let names = Names::of(config);
        self.within(between).flat_map(|record| rows(&names, record).map(|(row, _)| row)).collect()
    }

    /// The same, added up by session and end.
    pub(super) fn ends(&self, config: &Config, between: (u64, u64)) -> Vec<Row> {
        let names = Names::of(config);
        let mut sessions: BTreeMap<(u64, bool), Row> = BTreeMap::new();
        for record in self.within(between) {
            let ended = if record.event == FlowEvent::Deleted { record.end * 1000 } else { 0 };
            for (mut row, is_client) in rows(&names, record) {
                row.remove("T");
                row.insert("setup_time", json!(record.start * 1000));
                row.insert("teardown_time", json!(ended));
                let known = sessions.entry((record.session, is_client)).or_default();
                for column in COUNTS {
                    let sum = number(&row, column) + number(known, column);
                    row.insert(column, json!(sum));
                }
                *known = row;
            }
        }
        sessions.into_values().collect()
    }
}

/// A row for the client if it is a workload of this node, and one for the server.
fn rows<'r>(names: &'r Names, record: &'r FlowRecord) -> impl Iterator<Item = (Row, bool)> + 'r {
    let client = record.vifs.0.is_some().then(|| (row(names, record, true), true));
    let server = record.vifs.1.is_some().then(|| (row(names, record, false), false));
    client.into_iter().chain(server)
}

fn row(names: &Names, record: &FlowRecord, is_client: bool) -> Row {
    let networks = (names.network(&record.networks.0), names.network(&record.networks.1));
    let addresses = (record.source, record.destination);
    let turned =
        |(own, other): (String, String)| if is_client { (own, other) } else { (other, own) };
    let (vn, remote_vn) = turned(networks);
    let (local, remote): (IpAddr, IpAddr) = match is_client {
        true => addresses,
        false => (addresses.1, addresses.0),
    };
    let vmi = names.workload(&vn, local).unwrap_or_default();
    let logged = |count: u64| if names.is_logged(record) { count } else { 0 };
    let (packets, bytes) = (record.packets, record.bytes);
    Row::from([
        ("vrouter", json!(names.node)),
        ("vrouter_ip", json!(names.endpoint)),
        ("vmi", json!(vmi)),
        ("vn", json!(vn)),
        ("remote_vn", json!(remote_vn)),
        ("local_ip", json!(local)),
        ("remote_ip", json!(remote)),
        ("client_port", json!(record.ports.0)),
        ("server_port", json!(record.ports.1)),
        ("protocol", json!(record.protocol)),
        ("session_type", json!(if is_client { "client" } else { "server" })),
        ("forward_action", json!(action(record))),
        ("reverse_action", json!(action(record))),
        ("nw_ace_uuid", json!(record.rules.0.to_string())),
        ("nw_policy_rule", json!(names.rule(record.rules.0))),
        ("sg_rule_uuid", json!(record.rules.1.to_string())),
        ("T", json!(record.end * 1000)),
        ("forward_sampled_bytes", json!(bytes.0)),
        ("forward_sampled_pkts", json!(packets.0)),
        ("reverse_sampled_bytes", json!(bytes.1)),
        ("reverse_sampled_pkts", json!(packets.1)),
        ("forward_logged_bytes", json!(logged(bytes.0))),
        ("forward_logged_pkts", json!(logged(packets.0))),
        ("reverse_logged_bytes", json!(logged(bytes.1))),
        ("reverse_logged_pkts", json!(logged(packets.1))),
    ])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tables::{RuleId, VifId, VrfId};

    use super::*;
    use crate::stable;

    const FILE: &str = r#"
[node]
name = "n"
router_id = "192.0.2.1"
uplink = "eth1"
[[network]]
name = "red"
vni = 5001
policies = ["web"]
subnets = [{ prefix = "10.1.1.0/24", gateway = "10.1.1.1" }]
[[network]]
name = "blue"
vni = 5003
policies = ["web"]
subnets = [{ prefix = "10.1.3.0/24", gateway = "10.1.3.1" }]
[[policy]]
name = "web"
rules = [{ action = "pass", protocol = "tcp", source = "red", destination = "blue", ports = "80", log = true }]
[[workload]]
name = "red-a"
network = "red"
address = "10.1.1.11"
floating_ips = [{ network = "blue", address = "10.1.3.100" }]
"#;

    fn record(session: u64, end: u64, event: FlowEvent) -> FlowRecord {
        FlowRecord {
            session,
            source: "10.1.1.11".parse().unwrap(),
            destination: "10.1.3.12".parse().unwrap(),
            ports: (40_000, 80),
            protocol: 6,
            packets: (2, 1),
            bytes: (200, 100),
            start: 1000,
            end,
            event,
            vrfs: (VrfId(1), VrfId(2)),
            vifs: (Some(VifId(4)), None),
            networks: (vec![5001], vec![5003]),
            rules: (stable::uuid(&["policy", "web", "0"]), RuleId::IMPLICIT_ALLOW),
            drop_reason: 0,
        }
    }

    #[test]
    fn a_local_end_sees_a_session_as_its_own_and_is_named() {
        let config = Config::parse(Path::new("agent.toml"), FILE).unwrap();
        let mut store = Store::default();
        let server = FlowRecord {
            source: "10.1.3.12".parse().unwrap(),
            destination: "10.1.3.100".parse().unwrap(),
            vifs: (None, Some(VifId(4))),
            networks: (vec![5003], vec![5003]),
            rules: (RuleId::IMPLICIT_DENY, RuleId::NOT_EVALUATED),
            event: FlowEvent::Denied,
            ..record(2, 2500, FlowEvent::Denied)
        };
        store.add(vec![
            record(1, 2000, FlowEvent::Created),
            server,
            record(1, 3000, FlowEvent::Deleted),
        ]);
        let all = (0, u64::MAX);
        let series = store.end_series(&config, all);
        assert_eq!(series.len(), 3);
        assert!(series.iter().all(|row| row.keys().all(|column| super::series().contains(column))));
        let ends = store.ends(&config, all);
        assert!(ends.iter().all(|row| row.keys().all(|column| records().contains(column))));
        let [client, server] = &ends[..] else { panic!("{ends:?}") };
        let is = |row: &Row, column: &str| row[column].clone();
        for (column, value) in [
            ("vmi", json!("red-a")),
            ("vn", json!("red")),
            ("remote_vn", json!("blue")),
            ("local_ip", json!("10.1.1.11")),
            ("client_port", json!(40_000)),
            ("session_type", json!("client")),
            ("forward_action", json!("pass")),
            ("forward_sampled_bytes", json!(400)),
            ("reverse_sampled_pkts", json!(2)),
            ("forward_logged_bytes", json!(400)),
            ("setup_time", json!(1_000_000)),
            ("teardown_time", json!(3_000_000)),
        ] {
            assert_eq!(is(client, column), value, "{column}");
        }
        for (column, value) in [
            ("vmi", json!("red-a")),
            ("vn", json!("blue")),
            ("local_ip", json!("10.1.3.100")),
            ("remote_ip", json!("10.1.3.12")),
            ("session_type", json!("server")),
            ("forward_action", json!("deny")),
            ("forward_logged_bytes", json!(0)),
            ("teardown_time", json!(0)),
        ] {
            assert_eq!(is(server, column), value, "{column}");
        }
    }
}
