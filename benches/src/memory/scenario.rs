//! What is measured: the tables, the packets, and what must come out.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::PacketBuilder;
use tables::{
    Adjacency, AnyPrefix, BridgeEntry, BridgeFlags, DropReason, LabelEntry, NextHop, NextHopKind,
    NhFamily, NhFlags, NhId, Object, Peer, Ports, Rewrite, Route, RouteFlags, Rule, RuleFamily,
    RuleId, RuleSet, RuleSetId, TunnelEncap, Verdict, Vif, VifFlags, VifId, VifKind, VifPolicy,
    VniEntry, VrfId,
};
use wire::{Label, Mac, Prefix, Vni};

pub(crate) const FABRIC: VifId = VifId(0);
pub(crate) const WORKLOAD: VifId = VifId(3);
const NEIGHBOR: VifId = VifId(4);
const RED: VrfId = VrfId(1);
const FABRIC_VRF: VrfId = VrfId(0);

const UPLINK_MAC: Mac = Mac([2, 0, 0, 0, 0xf0, 1]);
const REMOTE_MAC: Mac = Mac([2, 0, 0, 0, 0xf0, 2]);
const WORKLOAD_MAC: Mac = Mac([2, 0, 0, 0, 0xa1, 3]);
const ROUTER_MAC: Mac = Mac([2, 0, 0, 0, 0xc0, 1]);
const NEAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const VNI: u32 = 5001;

const RECEIVE: NhId = NhId(1);
const L2_RECEIVE: NhId = NhId(2);
const TUNNEL: NhId = NhId(3);
const TO_WORKLOAD: NhId = NhId(4);
const TRANSLATE: NhId = NhId(5);
const TO_NEIGHBOR: NhId = NhId(6);

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Workload to a workload of the same node.
    Forward,
    /// Workload to the fabric.
    Encap(TunnelEncap),
    /// Fabric to a workload.
    Decap(TunnelEncap),
    /// Workload to where no route leads.
    Nowhere,
}

/// One workload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) what: What,
    flows: u32,
    routes: u32,
    pub(crate) policy: Policy,
    rules: u16,
}

/// Whether packets belong to sessions that were judged by [`RULES`] rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// There are no flows.
    None,
    /// The last rule lets them pass.
    Pass,
    /// The last rule denies them.
    Deny,
}

/// Rules of the workload's network, and of a network with very many.
const RULES: u16 = 1000;
const MANY_RULES: u16 = 10_000;
const MILLION: u32 = 1_000_000;

impl Scenario {
    /// Every scenario, in the order of the table.
    pub(crate) fn all() -> Vec<Scenario> {
        let tunnels =
            [TunnelEncap::MplsOverUdp, TunnelEncap::MplsOverGre, TunnelEncap::VxlanL3(ROUTER_MAC)];
        let mut all = Vec::new();
        let mut add = |what, flows, routes| {
            all.push(Scenario { what, flows, routes, policy: Policy::None, rules: 0 });
        };
        for count in [1, 10_000] {
            add(What::Forward, count, count);
        }
        for tunnel in tunnels {
            for count in [1, 10_000] {
                add(What::Encap(tunnel), count, count);
            }
            for flows in [1, 10_000] {
                add(What::Decap(tunnel), flows, 1);
            }
        }
        let udp = TunnelEncap::MplsOverUdp;
        for (what, policy, counts) in [
            (What::Encap(udp), Policy::Pass, &[1, 10_000, MILLION][..]),
            (What::Decap(udp), Policy::Pass, &[1, 10_000, MILLION][..]),
            (What::Encap(udp), Policy::Deny, &[1, 10_000][..]),
            (What::Nowhere, Policy::None, &[1, 10_000][..]),
            (What::Nowhere, Policy::Pass, &[1, 10_000][..]),
        ] {
            let scenario = |count: &u32| Scenario {
                what,
                flows: *count,
                routes: *count,
                policy,
                rules: if policy == Policy::None { 0 } else { RULES },
            };
            all.extend(counts.iter().map(scenario));
        }
        all.push(Scenario { rules: MANY_RULES, ..Scenario::under_policy(10_000) });
        all
    }

    /// Workload to the fabric by MPLSoUDP, so many sessions that policy lets pass, by as many routes.
    pub(crate) fn under_policy(count: u32) -> Scenario {
        let what = What::Encap(TunnelEncap::MplsOverUdp);
        Scenario { what, flows: count, routes: count, policy: Policy::Pass, rules: RULES }
    }

    /// The prefixes of the routes.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = String> {
        (0..self.routes).map(|number| format!("{}/28", destination(number)))
    }

    /// How many sessions there are to be.
    pub(crate) fn sessions(&self) -> Option<u32> {
        (self.policy != Policy::None).then_some(self.flows)
    }

    /// Whether counting its instructions would take hours.
    pub(crate) fn is_long(&self) -> bool {
        self.flows >= MILLION
    }

    /// Whether it is measured while tables change, too.
    pub(crate) fn is_changed(&self) -> bool {
        self.policy == Policy::Pass
            && self.what != What::Nowhere
            && self.flows == 10_000
            && self.rules == RULES
    }

    /// Whether it is measured while other sessions begin, too.
    pub(crate) fn is_flooded(&self) -> bool {
        self.is_changed() && matches!(self.what, What::Encap(_))
    }

    /// `stage/what/flows/routes/size`.
    pub(crate) fn workload(&self) -> String {
        let what = match self.what {
            What::Forward => "ipv4-forward".to_owned(),
            What::Encap(tunnel) => format!("{}-encap", word(tunnel)),
            What::Decap(tunnel) => format!("{}-decap", word(tunnel)),
            What::Nowhere => "no-route".to_owned(),
        };
        let count = |n: u32| match n {
            MILLION.. => format!("{}M", n / MILLION),
            1000.. => format!("{}k", n / 1000),
            _ => n.to_string(),
        };
        let stage = match self.policy {
            Policy::None => "route",
            Policy::Pass => "flow",
            Policy::Deny => "deny",
        };
        let many = if self.rules == MANY_RULES { "/10k-rules" } else { "" };
        format!("{stage}/{what}/{}/{}/64{many}", count(self.flows), count(self.routes))
    }

    /// Where packets come in and go out.
    pub(crate) fn ports(&self) -> [VifId; 2] {
        match self.what {
            What::Forward => [WORKLOAD, NEIGHBOR],
            What::Encap(_) | What::Nowhere => [WORKLOAD, FABRIC],
            What::Decap(_) => [FABRIC, WORKLOAD],
        }
    }

    /// Everything to program.
    pub(crate) fn objects(&self) -> Vec<Object> {
        let encap = match self.what {
            What::Encap(tunnel) | What::Decap(tunnel) => tunnel,
            What::Forward | What::Nowhere => TunnelEncap::MplsOverUdp,
        };
        let bridge = |mac| {
            let flags = BridgeFlags::default();
            Object::Bridge(BridgeEntry { vrf: RED, mac, next_hop: L2_RECEIVE, label: None, flags })
        };
        let mut objects = vec![
            vif(FABRIC, VifKind::Physical, FABRIC_VRF, UPLINK_MAC),
            self.workload_vif(),
            vif(NEIGHBOR, VifKind::Virtual, RED, Mac::GATEWAY),
            next_hop(RECEIVE, NhFamily::Inet, NextHopKind::Receive(FABRIC)),
            next_hop(L2_RECEIVE, NhFamily::Inet, NextHopKind::L2Receive),
            next_hop(TUNNEL, NhFamily::Inet, tunnel(encap)),
            self.workload_hop(),
            next_hop(TO_NEIGHBOR, NhFamily::Inet, to(NEIGHBOR)),
            next_hop(TRANSLATE, NhFamily::Bridge, NextHopKind::Translate(RED)),
            bridge(Mac::GATEWAY),
            bridge(ROUTER_MAC),
            route(FABRIC_VRF, NEAR, RECEIVE, None),
        ];
        if let Ok(label) = Label::try_from(20) {
            objects.push(Object::Label(LabelEntry { label, next_hop: TO_WORKLOAD }));
        }
        if let Ok(vni) = Vni::try_from(VNI) {
            objects.push(Object::Vni(VniEntry { vni, next_hop: TRANSLATE }));
        }
        let via = if self.what == What::Forward { TO_NEIGHBOR } else { TUNNEL };
        if matches!(self.what, What::Decap(_)) || self.policy != Policy::None {
            objects.push(route(RED, local(), TO_WORKLOAD, None));
        }
        if self.policy != Policy::None {
            objects.push(self.rules());
        }
        let remote = (0..self.routes).map(|n| {
            let label = match self.what {
                What::Forward => None,
                _ if matches!(encap, TunnelEncap::VxlanL3(_)) => Some(VNI),
                _ => Some(100 + n % 100_000),
            };
            route(RED, destination(n), via, label)
        });
        objects.extend(remote);
        objects
    }

    fn workload_vif(&self) -> Object {
        let plain = vif(WORKLOAD, VifKind::Virtual, RED, Mac::GATEWAY);
        match plain {
            Object::Vif(vif) if self.policy != Policy::None => Object::Vif(Vif {
                flags: vif.flags.with(VifFlags::POLICY),
                next_hop: Some(TO_WORKLOAD),
                policy: VifPolicy { network: vec![RuleSetId(1)], ..VifPolicy::default() },
                ..vif
            }),
            plain => plain,
        }
    }

    fn workload_hop(&self) -> Object {
        match next_hop(TO_WORKLOAD, NhFamily::Inet, to(WORKLOAD)) {
            Object::NextHop(hop) if self.policy != Policy::None => {
                Object::NextHop(NextHop { flags: hop.flags.with(NhFlags::POLICY), ..hop })
            }
            plain => plain,
        }
    }

    /// A route beside those of the flows, in their VRF: of 65536, with another label each time they come round.
    pub(crate) fn other_route(n: u32) -> Object {
        let address = Ipv4Addr::from_bits(0x3c00_0000 + n % 65_536 * 8);
        route(RED, address, TUNNEL, Some(100 + n / 65_536 % 1000))
    }

    /// The network's rules, each with another name.
    pub(crate) fn other_rules(&self, turn: u32) -> Object {
        match self.rules() {
            Object::RuleSet(mut set) => {
                let names = set.rules.iter_mut().map(|rule| &mut rule.id.0);
                names.for_each(|id| *id += u128::from(turn) << 32);
                Object::RuleSet(set)
            }
            other => other,
        }
    }

    /// Each for a port of its own, or of very many every other one for an address; the last for all.
    fn rules(&self) -> Object {
        let rule = |number: u16, verdict, ports| Rule {
            id: RuleId(number.into()),
            family: RuleFamily::Any,
            protocol: Some(17),
            source: Peer::Any,
            source_ports: Ports::ANY,
            destination: Peer::Any,
            destination_ports: ports,
            verdict,
            log: false,
            mirror: None,
        };
        let port = |number| Ports { first: 10_000 + number, last: 10_000 + number };
        let one = |number: u16| {
            if self.rules != MANY_RULES || number.is_multiple_of(2) {
                return rule(number, Verdict::Pass, port(number));
            }
            let address = Ipv4Addr::from_bits(0x6440_0000 + u32::from(number));
            let prefix = Prefix::new(address, 32).map(AnyPrefix::V4);
            let destination = prefix.map_or(Peer::Any, |prefix| Peer::Prefixes(vec![prefix]));
            Rule { destination, ..rule(number, Verdict::Deny, Ports::ANY) }
        };
        let mut rules: Vec<Rule> = (1..self.rules).map(one).collect();
        let last = if self.policy == Policy::Deny { Verdict::Deny } else { Verdict::Pass };
        rules.push(rule(self.rules, last, Ports::ANY));
        Object::RuleSet(RuleSet { id: RuleSetId(1), name: "bench".to_owned(), rules })
    }

    /// What the underlay knows.
    pub(crate) fn adjacency() -> Object {
        Object::Adjacency(Adjacency {
            destination: IpAddr::V4(FAR),
            vif: FABRIC,
            source: UPLINK_MAC,
            neighbor: REMOTE_MAC,
        })
    }

    /// The packets of the flows, in a shuffled order; at least one burst of them.
    pub(crate) fn packets(&self) -> Vec<Vec<u8>> {
        let count = self.flows.max(super::site::BURST);
        let mut numbers: Vec<u32> = (0..count).map(|n| n % self.flows).collect();
        shuffle(&mut numbers);
        numbers.into_iter().map(|flow| self.packet(flow)).collect()
    }

    /// A packet of a session beside those of the flows, by the same routes.
    pub(crate) fn another(&self, number: usize) -> Vec<u8> {
        let number = u32::try_from(number).unwrap_or(0);
        // The flows' own packets have 0.
        let port = u16::try_from(1 + number / self.routes).unwrap_or(0);
        inner(WORKLOAD_MAC, Mac::GATEWAY, local(), destination(number % self.routes), port)
    }

    fn packet(&self, flow: u32) -> Vec<u8> {
        match self.what {
            What::Nowhere => {
                inner(WORKLOAD_MAC, Mac::GATEWAY, local(), nowhere(flow % self.routes), 0)
            }
            What::Forward | What::Encap(_) => {
                inner(WORKLOAD_MAC, Mac::GATEWAY, local(), destination(flow % self.routes), 0)
            }
            What::Decap(tunnel) => {
                let port = u16::try_from(flow).unwrap_or(0);
                let source = destination(flow % self.routes);
                let frame = inner(REMOTE_MAC, ROUTER_MAC, source, local(), port);
                outer(tunnel, port, &frame)
            }
        }
    }

    /// Why its packets are dropped, if they are.
    pub(crate) fn dropped(&self) -> Option<DropReason> {
        match (self.policy, self.what) {
            (Policy::Deny, _) => Some(DropReason::FlowActionDrop),
            (_, What::Nowhere) => Some(DropReason::Discard),
            _ => None,
        }
    }

    /// The encapsulation's mark that must stand in what leaves: (offset, bytes). Nothing for plain forwarding.
    pub(crate) fn mark(&self) -> (usize, Vec<u8>) {
        match self.what {
            What::Encap(TunnelEncap::MplsOverUdp) => (36, 6635u16.to_be_bytes().to_vec()),
            What::Encap(TunnelEncap::MplsOverGre) => (34, vec![0, 0, 0x88, 0x47]),
            What::Encap(_) => (42, vec![8, 0, 0, 0, 0, 0x13, 0x89, 0]),
            What::Forward | What::Decap(_) | What::Nowhere => {
                (0, [WORKLOAD_MAC.0, Mac::GATEWAY.0].concat())
            }
        }
    }
}

fn word(tunnel: TunnelEncap) -> &'static str {
    match tunnel {
        TunnelEncap::MplsOverUdp => "mplsoudp",
        TunnelEncap::MplsOverGre => "mplsogre",
        _ => "vxlan",
    }
}

fn local() -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 1, 3)
}

fn destination(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x1400_0000 + n * 16)
}

/// Addresses between those that [`destination`] gives routes to.
fn nowhere(n: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(destination(n).to_bits() + 8)
}

fn vif(id: VifId, kind: VifKind, vrf: VrfId, mac: Mac) -> Object {
    Object::Vif(Vif { vrf, mac, ..Vif::new(id, format!("bench{id}"), kind) })
}

fn next_hop(id: NhId, family: NhFamily, kind: NextHopKind) -> Object {
    let vrf = match kind {
        NextHopKind::Encap { .. } | NextHopKind::Translate(_) => RED,
        _ => FABRIC_VRF,
    };
    Object::NextHop(NextHop { id, family, vrf: Some(vrf), flags: NhFlags::VALID, kind })
}

fn to(vif: VifId) -> NextHopKind {
    NextHopKind::Encap { vif, rewrite: [&WORKLOAD_MAC.0[..], &Mac::GATEWAY.0, &[8, 0]].concat() }
}

fn tunnel(encap: TunnelEncap) -> NextHopKind {
    let (source, destination) = (IpAddr::V4(NEAR), IpAddr::V4(FAR));
    NextHopKind::Tunnel { source, destination, encap, rewrite: Rewrite::Underlay }
}

fn route(vrf: VrfId, address: Ipv4Addr, next_hop: NhId, label: Option<u32>) -> Object {
    let (prefix, flags) = (Prefix::host(address), RouteFlags::default());
    let label = label.and_then(|label| Vni::try_from(label).ok());
    Object::Inet(Route { vrf, prefix, next_hop, label, flags, mac: None, identity: None })
}

/// A 64-byte frame with a UDP packet.
fn inner(from: Mac, to: Mac, source: Ipv4Addr, destination: Ipv4Addr, port: u16) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(from.0, to.0)
        .ipv4(source.octets(), destination.octets(), 64)
        .udp(10_000 + port, 4000);
    write(builder, &[0x5a; 22])
}

/// A frame from the fabric around it: the packet for MPLS, the frame for VXLAN.
fn outer(tunnel: TunnelEncap, flow: u16, frame: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(REMOTE_MAC.0, UPLINK_MAC.0);
    let label = [0, 1, 0x41, 64];
    let packet = frame.get(14..).unwrap_or_default();
    let port = 49_152 + flow;
    match tunnel {
        TunnelEncap::MplsOverUdp => {
            let builder = ethernet.ipv4(FAR.octets(), NEAR.octets(), 64).udp(port, 6635);
            write(builder, &[&label, packet].concat())
        }
        TunnelEncap::MplsOverGre => {
            let payload = [&[0, 0, 0x88, 0x47], &label[..], packet].concat();
            let mut bytes = Vec::new();
            let builder = ethernet.ipv4(FAR.octets(), NEAR.octets(), 64);
            let written = builder.write(&mut bytes, etherparse::ip_number::GRE, &payload);
            debug_assert!(written.is_ok());
            bytes
        }
        _ => {
            let builder = ethernet.ipv4(FAR.octets(), NEAR.octets(), 64).udp(port, 4789);
            write(builder, &[&[8, 0, 0, 0, 0, 0x13, 0x89, 0], frame].concat())
        }
    }
}

fn write(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to a vector fails only for a payload above 64 KiB.
    let written = builder.write(&mut bytes, payload);
    debug_assert!(written.is_ok());
    bytes
}

/// Fisher and Yates, with a fixed sequence: the same order in every run.
fn shuffle(numbers: &mut [u32]) {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for end in (1..numbers.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = usize::try_from(state % (end as u64 + 1)).unwrap_or(0);
        numbers.swap(end, other);
    }
}
