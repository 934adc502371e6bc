//! Policy: who may speak to whom (reference control-plane.md sections 4.3 and 4.4), and addresses that are translated
//! on the way (sections 4.8, 4.9 and 5.5).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wire::Prefix;

use super::{GroupId, IdentityId, MirrorId, NetworkId, RuleSetId, VrfId};

/// What a verdict is due to: a rule's UUID, or one of the well-known values where no rule is responsible.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct RuleId(pub u128);

impl RuleId {
    /// Policy did not concern itself with it.
    pub const NOT_EVALUATED: RuleId = RuleId(0);
    /// There is no policy that could deny it.
    pub const IMPLICIT_ALLOW: RuleId = RuleId(1);
    /// There is a policy, and no rule of it matches.
    pub const IMPLICIT_DENY: RuleId = RuleId(2);
    /// ICMP or DNS of the gateway's.
    pub const GATEWAY: RuleId = RuleId(3);
    /// A link-local service.
    pub const LINK_LOCAL: RuleId = RuleId(4);
    /// To a group.
    pub const MULTICAST: RuleId = RuleId(5);
    /// No IP.
    pub const NON_IP: RuleId = RuleId(6);
    /// BGP as a service.
    pub const BGP_SERVICE: RuleId = RuleId(7);
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let parts =
            [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default());
        f.write_str(&parts.join("-"))
    }
}

/// Whether something may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// It may.
    Pass,
    /// It may not.
    Deny,
}

/// A prefix of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AnyPrefix {
    /// IPv4.
    V4(Prefix<Ipv4Addr>),
    /// IPv6.
    V6(Prefix<Ipv6Addr>),
}

/// What one end of a flow has to be for a rule to match.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Peer {
    /// Anything.
    Any,
    /// Its address is in one of these; at least one.
    Prefixes(Vec<AnyPrefix>),
    /// The identity of the route to it has this network.
    Network(NetworkId),
    /// The identity of the route to it has this group.
    Group(GroupId),
}

/// Ports, both included; 0 to 65535 is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last: not less than the first.
    pub last: u16,
}

impl Ports {
    /// All.
    pub const ANY: Ports = Ports { first: 0, last: u16::MAX };

    /// Whether a port is one of them.
    pub const fn contain(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// The address family a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RuleFamily {
    /// Both.
    Any,
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}

/// A rule: what it matches, and what follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its identity in verdicts and records.
    pub id: RuleId,
    /// Address family.
    pub family: RuleFamily,
    /// IP protocol; `None` is any.
    pub protocol: Option<u8>,
    /// Where the first packet comes from.
    pub source: Peer,
    /// Its source port; not looked at for ICMP and ICMPv6.
    pub source_ports: Ports,
    /// Where it goes.
    pub destination: Peer,
    /// Its destination port; not looked at for ICMP and ICMPv6.
    pub destination_ports: Ports,
    /// What follows.
    pub verdict: Verdict,
    /// Whether the flow is logged.
    pub log: bool,
    /// Where copies of the flow's packets go, both directions.
    pub mirror: Option<MirrorId>,
}

/// Rules, tried in order: the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSet {
    /// Its index.
    pub id: RuleSetId,
    /// What it is for, as `network-policy red` or `security-group web ingress`; shown, no more.
    pub name: String,
    /// At most [`super::limits::RULES`].
    pub rules: Vec<Rule>,
}

/// What the far end of a route is to policy: routes name it, rules ask for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its index.
    pub id: IdentityId,
    /// The networks it belongs to, ascending.
    pub networks: Vec<NetworkId>,
    /// The security groups it is a member of, ascending.
    pub groups: Vec<GroupId>,
}

/// How the flows of an interface are judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VifPolicy {
    /// The lists of its network, tried in order. None: all passes. Some and no rule matches: denied.
    pub network: Vec<RuleSetId>,
    /// What its groups let in; each is tried, one pass is enough.
    pub ingress: Vec<RuleSetId>,
    /// What its groups let out, likewise.
    pub egress: Vec<RuleSetId>,
    /// Whether it has groups: then what none of their rules lets pass is denied, also where a list is empty.
    pub grouped: bool,
    /// Who judges.
    pub judge: Judge,
    /// At most so many flows of it at a time (both directions of a session are two).
    pub max_flows: Option<u32>,
    /// At most so many new sessions a second, with a burst of as many.
    pub max_new_flows: Option<u32>,
}

/// Who decides about new flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Judge {
    /// The worker that gets the first packet, by the rule sets.
    #[default]
    Dataplane,
    /// The agent: the flow is held, the packet trapped, the verdict waited for (reference dataplane.md section 14).
    Agent,
}

/// A second address of an interface, in another VRF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloatingIp {
    /// The address others see.
    pub address: IpAddr,
    /// The address the workload has.
    pub fixed: IpAddr,
    /// Where the others are.
    pub vrf: VrfId,
    /// Which way sessions may begin.
    pub direction: FloatingDirection,
    /// If any: only these ports are translated.
    pub ports: Vec<PortMapping>,
}

/// Which way sessions over a floating IP may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FloatingDirection {
    /// Either.
    Both,
    /// Towards the workload only.
    Ingress,
    /// From the workload only.
    Egress,
}

/// A port that is translated with its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// TCP, UDP or SCTP.
    pub protocol: u8,
    /// At the floating IP.
    pub floating: u16,
    /// At the workload.
    pub fixed: u16,
}

/// A service that a workload reaches under an address of its own: sessions to it are translated, and policy does not
/// ask about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// Which kind.
    pub kind: ServiceKind,
    /// TCP, UDP or SCTP.
    pub protocol: u8,
    /// The address the workload speaks to.
    pub address: IpAddr,
    /// And the port.
    pub port: u16,
    /// Where the service is.
    pub server: IpAddr,
    /// And its port.
    pub server_port: u16,
    /// Who the server sees.
    pub source: IpAddr,
    /// And from which ports, one of which the dataplane chooses; ports of tunnels are never chosen. One port only: all
    /// sessions have it.
    pub source_ports: Ports,
    /// Where the route to the server is.
    pub vrf: VrfId,
}

/// What a service address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ServiceKind {
    /// A link-local service, as the metadata of a cloud.
    LinkLocal,
    /// BGP as a service: never aged, and with the TTLs of section 4.9.
    Bgp,
}

/// How long flows of a kind may be idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTimeout {
    /// IP protocol.
    pub protocol: u8,
    /// The server's port; 0 is any.
    pub port: u16,
    /// Seconds; 0 is the default of the protocol.
    pub seconds: u32,
}
