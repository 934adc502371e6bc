//! Networks and workloads.

/// A tunnel, by the word the agent's configuration uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encapsulation {
    /// MPLS over UDP (RFC 7510).
    MplsOverUdp,
    /// MPLS over GRE (RFC 4023).
    MplsOverGre,
    /// VXLAN (RFC 7348).
    Vxlan,
}

impl Encapsulation {
    /// All of them.
    pub const ALL: [Encapsulation; 3] =
        [Encapsulation::MplsOverUdp, Encapsulation::MplsOverGre, Encapsulation::Vxlan];

    /// The word in the agent's configuration.
    pub fn word(self) -> &'static str {
        match self {
            Encapsulation::MplsOverUdp => "mplsoudp",
            Encapsulation::MplsOverGre => "mplsogre",
            Encapsulation::Vxlan => "vxlan",
        }
    }

    /// The word `nh` prints among a tunnel's flags.
    pub fn flag(self) -> &'static str {
        match self {
            Encapsulation::MplsOverUdp => "MPLSoUDP",
            Encapsulation::MplsOverGre => "MPLSoGRE",
            Encapsulation::Vxlan => "Vxlan",
        }
    }
}

/// A virtual network.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its subnet, as `10.1.1.0/24`.
    pub subnet: String,
    /// The gateway address in it.
    pub gateway: String,
    /// Its IPv6 subnet and the gateway address in it, if it has one.
    pub inet6: Option<(String, String)>,
    /// Its VXLAN network identifier.
    pub vni: String,
    /// Its route target, imported and exported.
    pub route_target: String,
    /// The policies attached to it.
    pub policies: Vec<String>,
}

/// A workload: a network namespace with an interface in a network.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// The network's name.
    pub network: String,
    /// Its address.
    pub address: String,
    /// Its IPv6 address, if it has one.
    pub address6: Option<String>,
    /// What its interface is.
    pub port: PortKind,
    /// Further lines of its part of the agent's configuration.
    pub extra: String,
}

/// What a workload's interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// One end of a pair.
    Veth,
    /// A TAP of `vrouterd`'s.
    Tap,
}

impl PortKind {
    /// The word in the agent's configuration.
    pub fn word(self) -> &'static str {
        match self {
            PortKind::Veth => "veth",
            PortKind::Tap => "tap",
        }
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
}
