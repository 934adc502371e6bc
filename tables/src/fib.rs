//! What packets read: an immutable snapshot of compiled tables. All parts are persistent, so that a clone is a few
//! reference counts and a change touches a few nodes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use wire::{Address, Mac, Prefix};

use crate::array::SparseArray;
use crate::bridge::BridgeTable;
use crate::lpm::{self, Lpm};
use crate::next_hop::{FibNextHop, HopEntry};
use crate::object::flags;
use crate::policy::Classifier;
use crate::stamps::{PolicyStamps, RouteStamps, Stamped};
use crate::{
    BridgeHit, BridgeSlot, ClassId, FatFlowRule, FloatingIp, ForwardingClass, Identity, IdentityId,
    Mirror, MirrorId, NhId, QosMapId, RouteHit, RuleSetId, ServiceAddress, Station, VifFlags,
    VifId, VifKind, VifPolicy, VrfAssign, VrfId,
};

/// Counts publications; later snapshots have larger ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u64);

/// An interface as packets see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FibVif {
    /// Its index.
    pub id: VifId,
    /// What it is.
    pub kind: VifKind,
    /// Where its traffic is routed.
    pub vrf: VrfId,
    /// Where its broadcast is looked up, if elsewhere.
    pub mcast_vrf: Option<VrfId>,
    /// The MAC the vRouter has on it.
    pub mac: Mac,
    /// Its (workload's) IPv4 address, if any.
    pub ip: Option<Ipv4Addr>,
    /// Its (workload's) IPv6 address, if any.
    pub ip6: Option<Ipv6Addr>,
    /// The IPv4 gateway of its workload's network, if known: the source of errors to the workload.
    pub gateway: Option<Ipv4Addr>,
    /// The IPv6 gateway, if known.
    pub gateway6: Option<Ipv6Addr>,
    /// L3 MTU in bytes.
    pub mtu: u16,
    /// Flags in effect.
    pub flags: VifFlags,
    /// The next hop that identifies it in flow keys.
    pub next_hop: Option<NhId>,
    /// What is unusual about it: 0 for a plain interface, so that packets of those are told by one test.
    pub features: VifFeatures,
    /// What the features need; there whenever one is set.
    pub extras: Option<Arc<VifExtras>>,
    /// How its flows are judged and what is translated, if there is anything to say.
    pub flow: Option<Arc<FlowSettings>>,
    /// Since when its id names this interface in this VRF: what is older and waits is another's.
    pub since: Generation,
}

flags!(
/// What is unusual about an interface.
VifFeatures(u32) {
    /// It has sub-interfaces: what it receives may be theirs.
    PARENT = 0x1;
    /// It is a sub-interface: what it sends goes to its parent.
    SUB = 0x2;
    /// The VRF depends on the VLAN.
    SERVICE = 0x4;
    /// What it receives is mirrored.
    MIRROR_RX = 0x8;
    /// What it sends is mirrored.
    MIRROR_TX = 0x10;
    /// Everything is copied to a monitoring interface.
    MONITORED = 0x20;
    /// What it receives is classed.
    QOS = 0x40;
    /// Only copies leave by it, and nothing comes in.
    MONITORING = 0x80;
    /// What it sends gets its MAC as destination; with a loopback address only what is for that.
    READDRESS = 0x100;
    /// The features that matter to what it receives.
    RX = 0x1 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80;
    /// The features that matter to what it sends.
    TX = 0x2 | 0x10 | 0x20 | 0x100;
});

impl VifFeatures {
    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: VifFeatures) -> bool {
        self.0 & other.0 != 0
    }
}

/// What few interfaces have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VifExtras {
    /// Sub-interfaces, ascending by VLAN and station; of a VLAN the one without station is last.
    pub subs: Box<[SubEntry]>,
    /// Whose sub-interface it is, and the VLAN it sends with (0: tags stay as they are).
    pub parent: Option<(VifId, u16)>,
    /// VRFs by VLAN, ascending.
    pub vlans: Box<[VrfAssign]>,
    /// Where mirrored packets go.
    pub mirror: Option<MirrorId>,
    /// Metadata of what it received, for dynamic mirrors.
    pub ingress_metadata: Box<[u8]>,
    /// Metadata of what it sent, for dynamic mirrors.
    pub egress_metadata: Box<[u8]>,
    /// Where copies of everything go.
    pub monitor: Option<VifId>,
    /// How what it receives is classed.
    pub qos_map: Option<QosMapId>,
    /// The address whose packets keep the interface's MAC as destination.
    pub loopback: Option<Ipv4Addr>,
}

/// What an interface says about its flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSettings {
    /// Lists and limits.
    pub policy: VifPolicy,
    /// Second addresses.
    pub floating_ips: Box<[FloatingIp]>,
    /// Services under addresses of their own.
    pub services: Box<[ServiceAddress]>,
    /// Flows that are made coarser.
    pub fat_flows: Box<[FatFlowRule]>,
    /// IPv4 addresses that those rules do not touch.
    pub fat_flow_exclude: Box<[Prefix<Ipv4Addr>]>,
    /// IPv6 addresses that those rules do not touch.
    pub fat_flow_exclude6: Box<[Prefix<Ipv6Addr>]>,
}

impl FlowSettings {
    /// Whether what its workload sends may be translated.
    pub fn translates(&self) -> bool {
        !self.floating_ips.is_empty() || !self.services.is_empty()
    }
}

/// What a VRF says about its flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VrfSettings {
    /// Whether packets must come from where the route to their source leads.
    pub rpf: bool,
    /// At most so many flows.
    pub max_flows: Option<u32>,
}

impl VrfSettings {
    /// Of a VRF that nobody named.
    pub const DEFAULT: VrfSettings = VrfSettings { rpf: true, max_flows: None };
}

/// A sub-interface as its parent finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubEntry {
    /// VLAN id of the outer tag.
    pub vlan: u16,
    /// If any: only what this station sends.
    pub station: Option<Mac>,
    /// Whose it is.
    pub vif: VifId,
}

impl VifExtras {
    /// The sub-interface that a frame of this VLAN from this station is for: one of the station's before one of the
    /// VLAN's.
    pub fn sub(&self, vlan: u16, station: Mac) -> Option<VifId> {
        let first = self.subs.partition_point(|entry| entry.vlan < vlan);
        let of_vlan = self.subs.get(first..)?.iter().take_while(|entry| entry.vlan == vlan);
        let mut of_vlan = of_vlan.filter(|entry| entry.station.is_none_or(|mac| mac == station));
        of_vlan.next().map(|entry| entry.vif)
    }

    /// What a VLAN of a service interface is assigned to.
    pub fn assignment(&self, vlan: u16) -> Option<&VrfAssign> {
        let at = self.vlans.binary_search_by_key(&vlan, |assign| assign.vlan).ok()?;
        self.vlans.get(at)
    }
}

/// A QoS map as packets read it: classes by DSCP (0 to 63), MPLS traffic class (64 to 71) and 802.1p (72 to 79).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QosTable(pub(crate) [ClassId; QosTable::SLOTS]);

impl QosTable {
    pub(crate) const SLOTS: usize = 80;
    pub(crate) const EXP: usize = 64;
    pub(crate) const DOT1P: usize = 72;
}

/// The tables of one VRF. A table exists from its first route on, and then stays.
#[derive(Clone, Debug, Default)]
pub struct VrfTables {
    pub(crate) inet: Option<Lpm<Ipv4Addr>>,
    pub(crate) inet6: Option<Lpm<Ipv6Addr>>,
    pub(crate) stamps: RouteStamps,
}

/// A snapshot of everything packets read.
#[derive(Clone, Debug, Default)]
pub struct Fib {
    pub(crate) generation: Generation,
    pub(crate) vifs: SparseArray<FibVif>,
    pub(crate) next_hops: SparseArray<HopEntry>,
    pub(crate) labels: SparseArray<NhId>,
    pub(crate) vnis: SparseArray<NhId>,
    pub(crate) vrfs: SparseArray<VrfTables>,
    pub(crate) bridge: BridgeTable,
    pub(crate) mirrors: SparseArray<Mirror>,
    pub(crate) qos_maps: SparseArray<Arc<QosTable>>,
    pub(crate) classes: SparseArray<ForwardingClass>,
    pub(crate) agent: Option<VifId>,
    pub(crate) indirect: Arc<[VifId]>,
    pub(crate) rule_sets: SparseArray<Arc<Classifier>>,
    pub(crate) identities: SparseArray<Arc<Identity>>,
    pub(crate) vrf_settings: SparseArray<VrfSettings>,
    pub(crate) timeouts: Arc<BTreeMap<(u8, u16), u32>>,
    pub(crate) policy_stamps: PolicyStamps,
}

/// An address family that a VRF has a table for. Implemented by `Ipv4Addr` and `Ipv6Addr` only.
pub trait Family: tables::Table + Stamped {}

impl Family for Ipv4Addr {}
impl Family for Ipv6Addr {}

mod tables {
    use super::{Address, Ipv4Addr, Ipv6Addr, Lpm, VrfTables};

    /// Which of a VRF's tables is the family's.
    pub trait Table: Address {
        /// To read.
        fn table(tables: &VrfTables) -> &Option<Lpm<Self>>;
        /// To change.
        fn table_mut(tables: &mut VrfTables) -> &mut Option<Lpm<Self>>;
    }

    impl Table for Ipv4Addr {
        #[inline]
        fn table(tables: &VrfTables) -> &Option<Lpm<Self>> {
            &tables.inet
        }

        fn table_mut(tables: &mut VrfTables) -> &mut Option<Lpm<Self>> {
            &mut tables.inet
        }
    }

    impl Table for Ipv6Addr {
        #[inline]
        fn table(tables: &VrfTables) -> &Option<Lpm<Self>> {
            &tables.inet6
        }

        fn table_mut(tables: &mut VrfTables) -> &mut Option<Lpm<Self>> {
            &mut tables.inet6
        }
    }
}

impl Fib {
    /// Which publication this is.
    #[inline]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// An interface.
    #[inline]
    pub fn vif(&self, id: VifId) -> Option<&FibVif> {
        self.vifs.get(id.index())
    }

    /// The interface to the agent, if there is one.
    #[inline]
    pub fn agent(&self) -> Option<VifId> {
        self.agent
    }

    /// What a next hop does; [`FibNextHop::Invalid`] when there is none with this id.
    #[inline]
    pub fn next_hop(&self, id: NhId) -> &FibNextHop {
        &self.next_hop_entry(id).hop
    }

    /// A next hop with what lies around it: family, VRF and flags. [`HopEntry::INVALID`] when there is none.
    #[inline]
    pub fn next_hop_entry(&self, id: NhId) -> &HopEntry {
        match self.next_hops.get(id.index()) {
            Some(entry) => entry,
            None => no_next_hop(id),
        }
    }

    /// What an incoming MPLS label means.
    #[inline]
    pub fn label(&self, label: u32) -> Option<NhId> {
        self.labels.get(label as usize).copied()
    }

    /// What an incoming VXLAN network identifier means.
    #[inline]
    pub fn vni(&self, vni: u32) -> Option<NhId> {
        self.vnis.get(vni as usize).copied()
    }

    /// Interfaces that have one of [`VifFeatures::TX`], ascending. The same `Arc` as long as they are the same.
    #[inline]
    pub fn indirect(&self) -> &Arc<[VifId]> {
        &self.indirect
    }

    /// A mirror.
    pub fn mirror(&self, id: MirrorId) -> Option<&Mirror> {
        self.mirrors.get(id.index())
    }

    /// A forwarding class.
    #[inline]
    pub fn class(&self, id: ClassId) -> Option<&ForwardingClass> {
        self.classes.get(id.index())
    }

    /// The class a map gives to a DSCP (6 bits).
    pub fn class_of_dscp(&self, map: QosMapId, dscp: u8) -> Option<&ForwardingClass> {
        self.class_of(map, usize::from(dscp & 0x3f))
    }

    /// The class a map gives to an 802.1p priority (3 bits).
    pub fn class_of_dot1p(&self, map: QosMapId, priority: u8) -> Option<&ForwardingClass> {
        self.class_of(map, QosTable::DOT1P + usize::from(priority & 7))
    }

    fn class_of(&self, map: QosMapId, slot: usize) -> Option<&ForwardingClass> {
        self.class(*self.qos_maps.get(map.index())?.0.get(slot)?)
    }

    /// Longest match of either family; [`RouteHit::MISS`] without a table or a match.
    #[inline]
    pub fn route<A: Family>(&self, vrf: VrfId, address: A) -> RouteHit {
        self.table(vrf).map_or(RouteHit::MISS, |table| table.lookup(address))
    }

    /// What whoever has an address is to policy, by the longest match.
    pub fn identity<A: Family>(&self, vrf: VrfId, address: A) -> Option<IdentityId> {
        self.table(vrf)?.identity(address)
    }

    /// An identity.
    pub fn identity_of(&self, id: IdentityId) -> Option<&Identity> {
        self.identities.get(id.index()).map(|identity| &**identity)
    }

    pub(crate) fn rule_set(&self, id: RuleSetId) -> Option<&Classifier> {
        self.rule_sets.get(id.index()).map(|set| &**set)
    }

    /// Bytes that a compiled rule set holds beside its rules.
    pub fn rule_set_bytes(&self, id: RuleSetId) -> usize {
        self.rule_set(id).map_or(0, Classifier::bytes)
    }

    /// What a VRF says about its flows.
    pub fn vrf_settings(&self, vrf: VrfId) -> VrfSettings {
        self.vrf_settings.get(vrf.index()).copied().unwrap_or(VrfSettings::DEFAULT)
    }

    /// Seconds that flows of a protocol and server's port may be idle, if somebody said so: of this port, else of all.
    pub fn flow_timeout(&self, protocol: u8, port: u16) -> Option<u32> {
        let of = |port| self.timeouts.get(&(protocol, port)).copied();
        of(port).or_else(|| of(0))
    }

    /// A number that is another after each publication in which the route to an address or its identity may have become
    /// another. It only grows, but for wrapping.
    #[inline]
    pub fn route_stamp<A: Family>(&self, vrf: VrfId, address: A) -> u32 {
        self.vrfs.get(vrf.index()).map_or(0, |tables| tables.stamps.of(address))
    }

    /// The same for what [`Fib::judge`] says of sessions of an interface, routes apart.
    #[inline]
    pub fn policy_stamp(&self, vif: VifId) -> u32 {
        self.policy_stamps.of(vif.index())
    }

    /// Longest match of an IPv4 address in host order.
    #[inline]
    pub fn route4(&self, vrf: VrfId, address: u32) -> RouteHit {
        self.route(vrf, Ipv4Addr::from_bits(address))
    }

    /// Longest match of an IPv6 address in host order.
    #[inline]
    pub fn route6(&self, vrf: VrfId, address: u128) -> RouteHit {
        self.route(vrf, Ipv6Addr::from_bits(address))
    }

    /// Longest matches of addresses, [`Fib::BURST`] together: their loads overlap. `each` is called with the answers in
    /// the order of the keys.
    #[inline]
    pub fn route_burst<A: Family>(&self, keys: &[(VrfId, A)], mut each: impl FnMut(RouteHit)) {
        for keys in keys.chunks(Self::BURST) {
            let mut last: Option<(VrfId, Option<&Lpm<A>>)> = None;
            let keys = keys.iter().map(|(vrf, address)| match last {
                Some((last, table)) if last == *vrf => (table, *address),
                _ => {
                    let table = self.table(*vrf);
                    last = Some((*vrf, table));
                    (table, *address)
                }
            });
            lpm::burst(keys, &mut each);
        }
    }

    /// How many lookups of [`Fib::route_burst`] are in flight together.
    pub const BURST: usize = lpm::BURST;

    /// A station's bridge entry.
    #[inline]
    pub fn bridge(&self, vrf: VrfId, mac: Mac) -> Option<BridgeHit> {
        self.bridge.get(vrf, mac)
    }

    /// The station in a slot, while the bridge table has it.
    #[inline]
    pub fn station(&self, slot: BridgeSlot) -> Option<&Station> {
        self.bridge.station(slot)
    }

    /// The MAC stitched to a route: what ARP for the address is answered with.
    #[inline]
    pub fn stitched_mac(&self, hit: &RouteHit) -> Option<Mac> {
        Some(self.station(hit.bridge?)?.mac)
    }

    /// Whether the VRF ever had a route of this family.
    pub fn has_table<A: Family>(&self, vrf: VrfId) -> bool {
        self.table::<A>(vrf).is_some()
    }

    /// The rows `rt --dump` prints (reference cli.md section 4.4), ascending, lazily; nothing for a VRF that never had
    /// a route. `after` is the last row already seen: a cursor that survives changes in between.
    pub fn leaves<A: Family>(
        &self,
        vrf: VrfId,
        after: Option<Prefix<A>>,
    ) -> impl Iterator<Item = (Prefix<A>, RouteHit)> + '_ {
        self.table(vrf).map(|table| table.leaves(after)).into_iter().flatten()
    }

    /// Bytes the prefix tables of a VRF hold.
    pub fn table_bytes(&self, vrf: VrfId) -> usize {
        let inet = self.table::<Ipv4Addr>(vrf).map_or(0, Lpm::bytes);
        inet + self.table::<Ipv6Addr>(vrf).map_or(0, Lpm::bytes)
    }

    #[inline]
    fn table<A: Family>(&self, vrf: VrfId) -> Option<&Lpm<A>> {
        A::table(self.vrfs.get(vrf.index())?).as_ref()
    }

    /// A route of this prefix has changed by publication `now`.
    pub(crate) fn touch_routes<A: Family>(&mut self, vrf: VrfId, prefix: &Prefix<A>, now: u32) {
        let tables = self.vrfs.get_or_insert_with(vrf.index(), VrfTables::default);
        tables.stamps.touch(prefix, now);
    }

    pub(crate) fn table_mut<A: Family>(&mut self, vrf: VrfId) -> &mut Lpm<A> {
        A::table_mut(self.vrfs.get_or_insert_with(vrf.index(), VrfTables::default))
            .get_or_insert_default()
    }
}

#[cold]
fn no_next_hop(id: NhId) -> &'static HopEntry {
    if id.0 == 0 { &HopEntry::DISCARD } else { &HopEntry::INVALID }
}

/// The outer source and destination of a tunnel, of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoints {
    /// IPv4 underlay.
    V4 {
        /// Outer source.
        source: Ipv4Addr,
        /// Outer destination.
        destination: Ipv4Addr,
    },
    /// IPv6 underlay.
    V6 {
        /// Outer source.
        source: Ipv6Addr,
        /// Outer destination.
        destination: Ipv6Addr,
    },
}

impl Endpoints {
    /// Both ends, if they are of one family.
    pub fn new(source: IpAddr, destination: IpAddr) -> Option<Endpoints> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Some(Endpoints::V4 { source, destination })
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Some(Endpoints::V6 { source, destination })
            }
            _ => None,
        }
    }

    /// The far end.
    pub fn destination(&self) -> IpAddr {
        match *self {
            Endpoints::V4 { destination, .. } => IpAddr::V4(destination),
            Endpoints::V6 { destination, .. } => IpAddr::V6(destination),
        }
    }

    /// The near end.
    pub fn source(&self) -> IpAddr {
        match *self {
            Endpoints::V4 { source, .. } => IpAddr::V4(source),
            Endpoints::V6 { source, .. } => IpAddr::V6(source),
        }
    }
}
