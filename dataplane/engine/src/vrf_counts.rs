//! What packets of a VRF met, by kind (reference dataplane.md section 21, cli.md section 9).

use tables::{CompositeKind, FibNextHop, NhFamily, TunnelEncap, TunnelHop};

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident;)*) => {
        /// What is counted for each VRF: the VRF a packet is being forwarded in when it gets there.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum VrfCount {
            $($(#[$doc])* $variant,)*
        }

        impl VrfCount {
            /// All of them, in the order of `vrfstats`.
            pub const ALL: &'static [VrfCount] = &[$(VrfCount::$variant,)*];
        }
    };
}

counts! {
    /// Discard next hops.
    Discards;
    /// Resolve next hops.
    Resolves;
    /// Receive next hops, tunnel packets for this node included.
    Receives;
    /// Frames for the router.
    L2Receives;
    /// Lookups in another VRF.
    VrfTranslates;
    /// Frames to unknown stations that were flooded.
    UnknownUnicastFloods;
    /// ECMP groups.
    EcmpComposites;
    /// Tops of broadcast and multicast trees.
    McastComposites;
    /// Fabric lists.
    FabricComposites;
    /// Lists of local ports.
    EncapComposites;
    /// EVPN and ToR lists.
    EvpnComposites;
    /// Plain UDP tunnels.
    UdpTunnels;
    /// MPLS over UDP tunnels.
    UdpMplsTunnels;
    /// MPLS over GRE tunnels.
    GreMplsTunnels;
    /// VXLAN tunnels.
    VxlanTunnels;
    /// Provider backbone tunnels: none here.
    PbbTunnels;
    /// Tunnels with a transport label.
    MplsOverMplsTunnels;
    /// Frames to an interface.
    L2Encaps;
    /// Packets to an interface.
    Encaps;
    /// Segments joined into trains.
    Gros;
    /// Diagnostic packets.
    Diags;
    /// Questions of workloads answered with an interface's MAC.
    ArpVirtualProxys;
    /// Questions of workloads answered with a stitched MAC.
    ArpVirtualStitchs;
    /// Questions of workloads that were flooded.
    ArpVirtualFloods;
    /// Questions from the fabric answered with a stitched MAC.
    ArpPhysicalStitchs;
    /// Questions from ToR switches answered.
    ArpTorProxys;
    /// Questions from the fabric that were flooded.
    ArpPhysicalFloods;
}

impl VrfCount {
    /// How many there are.
    pub const COUNT: usize = VrfCount::ALL.len();

    /// What a next hop counts as; nothing for one that cannot be used.
    pub(crate) fn of(hop: &FibNextHop) -> Option<VrfCount> {
        Some(match hop {
            FibNextHop::Invalid => return None,
            FibNextHop::Discard => VrfCount::Discards,
            FibNextHop::Resolve => VrfCount::Resolves,
            FibNextHop::Receive { .. } => VrfCount::Receives,
            FibNextHop::L2Receive => VrfCount::L2Receives,
            FibNextHop::Translate { .. } => VrfCount::VrfTranslates,
            FibNextHop::Encap { family: NhFamily::Bridge, .. } => VrfCount::L2Encaps,
            FibNextHop::Encap { .. } | FibNextHop::EncapGroup { .. } | FibNextHop::Agent => {
                VrfCount::Encaps
            }
            FibNextHop::Ecmp(_) => VrfCount::EcmpComposites,
            FibNextHop::Flood(group) => VrfCount::of_list(group.kind),
            FibNextHop::UdpTunnel(_) => VrfCount::UdpTunnels,
            FibNextHop::Tunnel(hop) => VrfCount::of_tunnel(hop),
            FibNextHop::SpecialTunnel(tunnel) if tunnel.transport.is_some() => {
                VrfCount::MplsOverMplsTunnels
            }
            FibNextHop::SpecialTunnel(tunnel) => {
                VrfCount::of_tunnel(tunnel.uplinks.iter().flatten().next()?)
            }
        })
    }

    /// What a list of members counts as.
    pub(crate) fn of_list(kind: CompositeKind) -> VrfCount {
        match kind {
            CompositeKind::Ecmp(_) => VrfCount::EcmpComposites,
            CompositeKind::Multicast => VrfCount::McastComposites,
            CompositeKind::Fabric => VrfCount::FabricComposites,
            CompositeKind::Encap => VrfCount::EncapComposites,
            CompositeKind::Evpn | CompositeKind::Tor => VrfCount::EvpnComposites,
        }
    }

    fn of_tunnel(hop: &TunnelHop) -> VrfCount {
        match hop.encap {
            TunnelEncap::MplsOverGre => VrfCount::GreMplsTunnels,
            TunnelEncap::MplsOverUdp => VrfCount::UdpMplsTunnels,
            TunnelEncap::Vxlan | TunnelEncap::VxlanL3(_) => VrfCount::VxlanTunnels,
            TunnelEncap::Udp { .. } => VrfCount::UdpTunnels,
            TunnelEncap::MplsOverMplsOverGre(_) | TunnelEncap::MplsOverMplsOverUdp(_) => {
                VrfCount::MplsOverMplsTunnels
            }
        }
    }
}

/// What packets of a VRF met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VrfStatistics(pub [u64; VrfCount::COUNT]);

impl VrfStatistics {
    /// Nothing.
    pub const ZERO: VrfStatistics = VrfStatistics([0; VrfCount::COUNT]);

    /// How many of a kind.
    pub fn get(&self, count: VrfCount) -> u64 {
        self.0.get(count as usize).copied().unwrap_or(0)
    }
}
