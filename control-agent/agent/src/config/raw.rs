//! The file as TOML has it. The reference of all keys is in `control-agent/README.md`.

use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Source};

pub(super) fn parse(source: &Source<'_>) -> Result<File, ConfigError> {
    toml::from_str(source.text).map_err(|error| source.toml(&error))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) node: Node,
    pub(super) bgp: Option<Bgp>,
    pub(super) analytics: Option<Analytics>,
    #[serde(default)]
    pub(super) network: Vec<Network>,
    #[serde(default)]
    pub(super) workload: Vec<Workload>,
    #[serde(default)]
    pub(super) policy: Vec<Policy>,
    #[serde(default)]
    pub(super) security_group: Vec<SecurityGroup>,
    #[serde(default)]
    pub(super) flow_timeout: Vec<FlowTimeout>,
    #[serde(default)]
    pub(super) mirror: Vec<Mirror>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Analytics {
    pub(super) listen: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) name: Spanned<String>,
    pub(super) rules: Vec<PolicyRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyRule {
    pub(super) action: Spanned<String>,
    pub(super) protocol: Option<Spanned<String>>,
    pub(super) source: Option<Spanned<String>>,
    pub(super) destination: Option<Spanned<String>>,
    pub(super) ports: Option<Spanned<String>>,
    pub(super) direction: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) log: bool,
    pub(super) mirror: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mirror {
    pub(super) name: Spanned<String>,
    pub(super) address: Spanned<String>,
    pub(super) vni: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FatFlow {
    pub(super) protocol: Spanned<String>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) ignore: Option<Spanned<String>>,
    pub(super) source: Option<Aggregate>,
    pub(super) destination: Option<Aggregate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Aggregate {
    pub(super) prefix: Spanned<String>,
    pub(super) length: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecurityGroup {
    pub(super) name: Spanned<String>,
    pub(super) id: Spanned<i64>,
    #[serde(default)]
    pub(super) ingress: Vec<GroupRule>,
    pub(super) egress: Option<Vec<GroupRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupRule {
    pub(super) ethertype: Option<Spanned<String>>,
    pub(super) protocol: Option<Spanned<String>>,
    pub(super) ports: Option<Spanned<String>>,
    pub(super) remote: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FlowTimeout {
    pub(super) protocol: Spanned<String>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) seconds: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FloatingIp {
    pub(super) network: Spanned<String>,
    pub(super) address: Spanned<String>,
    pub(super) direction: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) ports: Vec<PortMapping>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PortMapping {
    pub(super) protocol: Spanned<String>,
    pub(super) floating: Spanned<i64>,
    pub(super) fixed: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: Spanned<String>,
    pub(super) router_id: Spanned<String>,
    pub(super) tunnel_endpoint: Option<Spanned<String>>,
    pub(super) uplink: Spanned<String>,
    pub(super) router_mac: Option<Spanned<String>>,
    pub(super) encapsulations: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) sock_dir: Option<Spanned<String>>,
    pub(super) state_dir: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bgp {
    #[serde(rename = "as")]
    pub(super) as_number: Spanned<i64>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) hold_time: Option<Spanned<i64>>,
    pub(super) restart_time: Option<Spanned<i64>>,
    pub(super) convergence_time: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) neighbor: Vec<Neighbor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Neighbor {
    pub(super) address: Spanned<String>,
    #[serde(rename = "as")]
    pub(super) as_number: Option<Spanned<i64>>,
    pub(super) port: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) passive: bool,
    pub(super) hold_time: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Network {
    pub(super) name: Spanned<String>,
    pub(super) vni: Spanned<i64>,
    pub(super) subnets: Spanned<Vec<Subnet>>,
    pub(super) bridging: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) flood_unknown_unicast: bool,
    #[serde(default)]
    pub(super) route_targets: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) import_targets: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) export_targets: Vec<Spanned<String>>,
    pub(super) id: Option<Spanned<i64>>,
    #[serde(default)]
    pub(super) policies: Vec<Spanned<String>>,
    pub(super) rpf: Option<bool>,
    pub(super) max_flows: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Subnet {
    pub(super) prefix: Spanned<String>,
    pub(super) gateway: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Workload {
    pub(super) name: Spanned<String>,
    pub(super) network: Spanned<String>,
    pub(super) namespace: Option<Spanned<String>>,
    pub(super) interface: Option<Spanned<String>>,
    pub(super) address: Option<Spanned<String>>,
    pub(super) address6: Option<Spanned<String>>,
    pub(super) mac: Option<Spanned<String>>,
    pub(super) mtu: Option<Spanned<i64>>,
    pub(super) port: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) security_groups: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) floating_ips: Vec<FloatingIp>,
    #[serde(default)]
    pub(super) fat_flows: Vec<FatFlow>,
    #[serde(default)]
    pub(super) fat_flow_exclude: Vec<Spanned<String>>,
    pub(super) max_flows: Option<Spanned<i64>>,
    pub(super) max_new_flows: Option<Spanned<i64>>,
}
