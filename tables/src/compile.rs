//! From `Model` to `Fib`: the only file that knows both. Each changed key is compiled from the model as it is now, so
//! changes can be coalesced and their order does not matter.

use std::net::Ipv4Addr;
use std::sync::Arc;

use wire::{
    Address, Ethernet, Gre, Ipv4, Ipv6, Mpls, Prefix, Udp, Vni, Vxlan, ethertype, port, protocol,
};

use crate::fib::{
    Endpoints, Family, Fib, FibVif, FlowSettings, QosTable, SubEntry, VifExtras, VifFeatures,
    VrfSettings,
};
use crate::lpm::{Leaf, lengths_beside};
use crate::model::{Changes, Model};
use crate::next_hop::{
    Crypt, EcmpGroup, FibNextHop, FloodGroup, HopEntry, LabelOf, OuterHeader, SpecialTunnel,
    TunnelForm, TunnelHop, UdpTunnel,
};
use crate::policy::Classifier;
use crate::{
    Adjacency, BridgeEntry, BridgeFlags, BridgeHit, ClassId, CompositeKind, Generation, Key,
    Member, NextHop, NextHopKind, NhFamily, NhFlags, QosMap, Rewrite, Route, RouteHit, Station,
    TunnelEncap, Uplink, Vif, VifFlags, VifId, VifKind, VifPolicy, Vrf, VrfId, Writer,
};

/// Of outer headers (reference dataplane.md section 8.3).
const TTL: u8 = 64;

impl Writer {
    /// Compiles what `changes` touched and publishes the result. `changes` may be several transactions' together;
    /// the caller publishes at most once a millisecond.
    pub fn publish(&mut self, model: &Model, changes: &Changes) -> Generation {
        for key in changes.keys() {
            compile(&mut self.next, model, key);
        }
        self.publish_next()
    }
}

fn compile(fib: &mut Fib, model: &Model, key: &Key) {
    match *key {
        Key::Vif(id) => {
            let next = Generation(fib.generation.0 + 1);
            let compiled = model.vif(id).map(|it| vif(model, it, since(fib.vif(id), it, next)));
            fib.policy_stamps.touch(id.index(), stamp(fib));
            let features = compiled.as_ref().map_or(VifFeatures::default(), |it| it.features);
            fib.vifs.set(id.index(), compiled);
            note_indirect(fib, id, features.intersects(VifFeatures::TX));
            // Before and after: what it was is what the snapshot says.
            if fib.agent == Some(id) || is_agent(model, id) {
                fib.agent = model.vifs(..).find(|vif| vif.kind == VifKind::Agent).map(|vif| vif.id);
            }
        }
        Key::Vrf(id) => {
            let settings = |vrf: &Vrf| VrfSettings { rpf: vrf.rpf, max_flows: vrf.max_flows };
            fib.vrf_settings.set(id.index(), model.vrf(id).map(settings));
            touch_all(fib, id);
        }
        Key::NextHop(id) => {
            fib.next_hops.set(id.index(), model.next_hop(id).map(|nh| next_hop(model, nh)))
        }
        Key::Inet(vrf, prefix) => {
            route(fib, model, vrf, &prefix, |prefix| model.inet_route(vrf, prefix))
        }
        Key::Inet6(vrf, prefix) => {
            route(fib, model, vrf, &prefix, |prefix| model.inet6_route(vrf, prefix))
        }
        Key::Bridge(vrf, mac) => {
            let station = Station { vrf, mac };
            match model.bridge_entry(vrf, mac).and_then(|entry| bridge(model, entry)) {
                Some(hit) => fib.bridge.put(station, hit),
                None => fib.bridge.delete(station),
            }
        }
        Key::Label(label) => {
            fib.labels.set(label.get() as usize, model.label(label).map(|entry| entry.next_hop));
        }
        Key::Vni(vni) => {
            fib.vnis.set(vni.get() as usize, model.vni(vni).map(|entry| entry.next_hop))
        }
        // The model names the tunnels to this destination, or the interface, beside it.
        Key::Adjacency(_) | Key::VrfAssign(..) => {}
        Key::Mirror(id) => fib.mirrors.set(id.index(), model.mirror(id).copied()),
        Key::QosMap(id) => {
            fib.qos_maps.set(id.index(), model.qos_map(id).map(|map| Arc::new(qos_table(map))))
        }
        Key::Class(id) => fib.classes.set(id.index(), model.class(id).copied()),
        // Shown only.
        Key::VrfTable(_) => {}
        // The model names the interfaces judged by it beside it.
        Key::RuleSet(id) => {
            let compiled = model.rule_set(id).map(|set| Arc::new(Classifier::new(set)));
            fib.rule_sets.set(id.index(), compiled);
        }
        Key::Identity(id) => {
            fib.identities.set(id.index(), model.identity(id).map(|it| Arc::new(it.clone())));
            fib.policy_stamps.all = stamp(fib);
        }
        Key::FlowTimeout(protocol, port) => {
            let timeouts = Arc::make_mut(&mut fib.timeouts);
            match model.flow_timeout(protocol, port) {
                Some(timeout) => timeouts.insert((protocol, port), timeout.seconds),
                None => timeouts.remove(&(protocol, port)),
            };
        }
    }
}

/// The number of the publication to come, as stamps have it.
#[expect(clippy::cast_possible_truncation, reason = "stamps wrap")]
fn stamp(fib: &Fib) -> u32 {
    fib.generation.0 as u32 + 1
}

/// Whatever was looked up in a VRF is to be looked at again.
fn touch_all(fib: &mut Fib, vrf: VrfId) {
    let now = stamp(fib);
    if let Ok(all) = Prefix::new(Ipv4Addr::UNSPECIFIED, 0) {
        fib.touch_routes(vrf, &all, now);
    }
}

/// Since when an interface is what it is: `next`, unless it was the same before.
fn since(before: Option<&FibVif>, now: &Vif, next: Generation) -> Generation {
    let same = |before: &&FibVif| {
        (before.kind, before.vrf, before.mac, before.ip) == (now.kind, now.vrf, now.mac, now.ip)
    };
    before.filter(same).map_or(next, |before| before.since)
}

fn vif(model: &Model, vif: &Vif, since: Generation) -> FibVif {
    let flags = model.vif_flags(vif);
    let (features, extras) = features(model, vif, flags);
    FibVif {
        id: vif.id,
        kind: vif.kind,
        vrf: vif.vrf,
        mcast_vrf: vif.mcast_vrf,
        mac: vif.mac,
        ip: vif.ip,
        ip6: vif.ip6,
        gateway: vif.gateway,
        gateway6: vif.gateway6,
        mtu: vif.mtu,
        flags,
        next_hop: vif.next_hop,
        features,
        extras: (features != VifFeatures::default()).then(|| Arc::new(extras)),
        flow: flow_settings(vif).map(Arc::new),
        since,
    }
}

fn flow_settings(vif: &Vif) -> Option<FlowSettings> {
    let settings = FlowSettings {
        policy: vif.policy.clone(),
        floating_ips: vif.floating_ips.as_slice().into(),
        services: vif.services.as_slice().into(),
        fat_flows: vif.fat_flow_rules.as_slice().into(),
        fat_flow_exclude: vif.fat_flow_exclude.as_slice().into(),
        fat_flow_exclude6: vif.fat_flow_exclude6.as_slice().into(),
    };
    let plain = settings.policy == VifPolicy::default()
        && settings.floating_ips.is_empty()
        && settings.services.is_empty()
        && settings.fat_flows.is_empty();
    (!plain).then_some(settings)
}

/// What is unusual about an interface. A mirror flag without a mirror, as everything else that is only half given,
/// is nothing.
fn features(model: &Model, vif: &Vif, flags: VifFlags) -> (VifFeatures, VifExtras) {
    let mut subs: Vec<SubEntry> = model.subs(vif.id).flat_map(sub_entries).collect();
    subs.sort_by_key(|entry| (entry.vlan, entry.station.is_none(), entry.station, entry.vif));
    let extras = VifExtras {
        subs: subs.into(),
        parent: vif.sub.as_ref().map(|sub| (sub.parent, sub.tx_vlan)),
        vlans: model.assignments(vif.id).copied().collect(),
        mirror: vif.mirror,
        ingress_metadata: vif.ingress_metadata.as_slice().into(),
        egress_metadata: vif.egress_metadata.as_slice().into(),
        monitor: model.monitor_of(vif.id),
        qos_map: vif.qos_map,
        loopback: vif.loopback,
    };
    let mirrored = |flag| vif.mirror.is_some() && flags.contains(flag);
    let set = [
        (!extras.subs.is_empty(), VifFeatures::PARENT),
        (vif.sub.is_some(), VifFeatures::SUB),
        (flags.contains(VifFlags::SERVICE), VifFeatures::SERVICE),
        (mirrored(VifFlags::MIRROR_RX), VifFeatures::MIRROR_RX),
        (mirrored(VifFlags::MIRROR_TX), VifFeatures::MIRROR_TX),
        (extras.monitor.is_some(), VifFeatures::MONITORED),
        (vif.qos_map.is_some(), VifFeatures::QOS),
        (vif.kind == VifKind::Monitoring, VifFeatures::MONITORING),
        (vif.kind == VifKind::XenLl || vif.loopback.is_some(), VifFeatures::READDRESS),
    ];
    let set = set.into_iter().filter_map(|(is, feature)| is.then_some(feature));
    (set.fold(VifFeatures::default(), VifFeatures::with), extras)
}

fn note_indirect(fib: &mut Fib, id: VifId, is: bool) {
    let (keep, was): (Vec<VifId>, _) = match fib.indirect.binary_search(&id) {
        Ok(_) => (fib.indirect.iter().copied().filter(|other| *other != id).collect(), true),
        Err(_) if !is => return,
        Err(_) => (fib.indirect.to_vec(), false),
    };
    if is != was {
        let mut now = keep;
        now.extend(is.then_some(id));
        now.sort_unstable();
        fib.indirect = now.into();
    }
}

fn sub_entries(sub_interface: &Vif) -> Vec<SubEntry> {
    let Some(sub) = &sub_interface.sub else { return Vec::new() };
    let entry = |station| SubEntry { vlan: sub.rx_vlan, station, vif: sub_interface.id };
    if sub.stations.is_empty() {
        vec![entry(None)]
    } else {
        sub.stations.iter().map(|mac| entry(Some(*mac))).collect()
    }
}

fn qos_table(map: &QosMap) -> QosTable {
    let mut slots = [ClassId(0); QosTable::SLOTS];
    let marks = [(0, &map.dscp), (QosTable::EXP, &map.exp), (QosTable::DOT1P, &map.dot1p)];
    for (first, classes) in marks {
        for (mark, class) in classes {
            if let Some(slot) = slots.get_mut(first + usize::from(*mark)) {
                *slot = *class;
            }
        }
    }
    QosTable(slots)
}

fn bridge(model: &Model, entry: &BridgeEntry) -> Option<BridgeHit> {
    let mut flags = entry.flags.with(BridgeFlags::VALID).without(BridgeFlags::LABEL_VALID);
    if entry.label.is_some() {
        flags = flags.with(BridgeFlags::LABEL_VALID);
    }
    let slot = model.bridge_slot(entry.vrf, entry.mac)?;
    Some(BridgeHit { nh: entry.next_hop, label: entry.label.map(u32::from), flags, slot })
}

/// Sets or clears one route. `find` is the model's exact match in the same table.
fn route<'m, A: Family>(
    fib: &mut Fib,
    model: &Model,
    vrf: VrfId,
    prefix: &Prefix<A>,
    find: impl Fn(&Prefix<A>) -> Option<&'m Route<A>>,
) {
    let now = stamp(fib);
    fib.touch_routes(vrf, prefix, now);
    if let Some(route) = find(prefix) {
        fib.table_mut::<A>(vrf).put(prefix, leaf(model, route));
    } else if fib.has_table::<A>(vrf) {
        // Only covers in the same node matter: shorter ones lie above it and are seen on the way down.
        let covers = lengths_beside(prefix.length()).rev();
        let cover =
            covers.filter_map(|length| find(&Prefix::new(prefix.address(), length).ok()?)).next();
        fib.table_mut::<A>(vrf).delete(prefix, cover.map(|route| leaf(model, route)));
    }
}

fn leaf<A: Address>(model: &Model, route: &Route<A>) -> Leaf {
    let hit = RouteHit {
        nh: route.next_hop,
        label: route.label.map(u32::from),
        bridge: route.mac.and_then(|mac| model.bridge_slot(route.vrf, mac)),
        flags: route.flags,
        prefix_len: route.prefix.length(),
    };
    Leaf::new(&hit, route.identity)
}

fn next_hop(model: &Model, nh: &NextHop) -> HopEntry {
    let flags = nh.wire_flags();
    let hop =
        if flags.contains(NhFlags::VALID) { hop(model, nh, flags) } else { FibNextHop::Invalid };
    HopEntry { hop, family: nh.family, vrf: nh.vrf, flags }
}

fn hop(model: &Model, nh: &NextHop, flags: NhFlags) -> FibNextHop {
    match &nh.kind {
        NextHopKind::Dead | NextHopKind::Pbb { .. } => FibNextHop::Invalid,
        NextHopKind::Discard => FibNextHop::Discard,
        NextHopKind::Resolve => FibNextHop::Resolve,
        NextHopKind::L2Receive => FibNextHop::L2Receive,
        NextHopKind::Receive(vif) => FibNextHop::Receive { vif: *vif },
        NextHopKind::Translate(vrf) => FibNextHop::Translate { vrf: *vrf, family: nh.family },
        NextHopKind::Encap { vif, .. } if is_agent(model, *vif) => FibNextHop::Agent,
        NextHopKind::Encap { vif, .. }
            if nh.family != NhFamily::Bridge && flags.contains(NhFlags::MULTICAST) =>
        {
            FibNextHop::EncapGroup { vif: *vif }
        }
        NextHopKind::Encap { vif, rewrite } => FibNextHop::Encap {
            vif: *vif,
            rewrite: rewrite.as_slice().try_into().unwrap_or_default(),
            family: nh.family,
            leaf: model.vif(*vif).is_some_and(|vif| vif.flags.is_leaf()),
        },
        NextHopKind::Tunnel { source, destination, encap, rewrite } => {
            match Endpoints::new(*source, *destination) {
                Some(endpoints) => tunnel(model, endpoints, *encap, rewrite, flags),
                None => FibNextHop::Invalid,
            }
        }
        NextHopKind::Composite { kind: CompositeKind::Ecmp(fields), members } => {
            FibNextHop::Ecmp(Arc::new(ecmp(model, *fields, members, nh.flags)))
        }
        NextHopKind::Composite { kind, members } => {
            let members = members.iter().flatten().filter(|m| exists(model, m)).copied().collect();
            FibNextHop::Flood(Arc::new(FloodGroup { kind: *kind, members }))
        }
    }
}

fn is_agent(model: &Model, vif: VifId) -> bool {
    model.vif(vif).is_some_and(|vif| vif.kind == VifKind::Agent)
}

fn exists(model: &Model, member: &Member) -> bool {
    model.next_hop(member.next_hop).is_some()
}

fn ecmp(model: &Model, fields: u8, members: &[Option<Member>], flags: NhFlags) -> EcmpGroup {
    let slots: Vec<_> =
        members.iter().map(|slot| slot.filter(|member| exists(model, member))).collect();
    let filled = slots.iter().enumerate().filter(|(_, slot)| slot.is_some());
    let active = filled.filter_map(|(position, _)| u8::try_from(position).ok()).collect();
    let by_route = flags.contains(NhFlags::COMPOSITE_LU_ECMP);
    EcmpGroup {
        slots,
        active,
        fields,
        label: if by_route { LabelOf::Route } else { LabelOf::Member },
    }
}

fn tunnel(
    model: &Model,
    endpoints: Endpoints,
    encap: TunnelEncap,
    rewrite: &Rewrite,
    flags: NhFlags,
) -> FibNextHop {
    let (crypt, plain) = match rewrite {
        Rewrite::Encrypted(vif, plain) => (Some(vif.map_or(Crypt::Missing, Crypt::Vif)), &**plain),
        plain => (None, plain),
    };
    let (encap, transport) = match encap {
        TunnelEncap::Udp { source, destination } => {
            let way = way(model, &endpoints, plain);
            return FibNextHop::UdpTunnel(Arc::new(UdpTunnel {
                endpoints,
                ports: (source, destination),
                copy_source: flags.contains(NhFlags::TUNNEL_SIP_COPY),
                underlay: way.filter(|(_, ethernet)| ethernet.first_chunk() != Some(&[0; 6])),
            }));
        }
        TunnelEncap::MplsOverMplsOverGre(label) => (TunnelEncap::MplsOverGre, Some(label)),
        TunnelEncap::MplsOverMplsOverUdp(label) => (TunnelEncap::MplsOverUdp, Some(label)),
        plain => (plain, None),
    };
    let uplinks = match plain {
        Rewrite::Uplinks(uplinks) => {
            let ways = uplinks.iter().map(|uplink| {
                let Uplink { vif, rewrite } = uplink.as_ref()?;
                Some((*vif, rewrite.as_slice().try_into().ok()?))
            });
            ways.map(|way| way.map(|way| tunnel_hop(endpoints, encap, Some(way)))).collect()
        }
        plain => {
            let hop = tunnel_hop(endpoints, encap, way(model, &endpoints, plain));
            if transport.is_none() && crypt.is_none() {
                return FibNextHop::Tunnel(hop);
            }
            vec![Some(hop)]
        }
    };
    FibNextHop::SpecialTunnel(Arc::new(SpecialTunnel { uplinks, transport, crypt }))
}

/// The uplink and the outer Ethernet header, once both are known.
fn way(model: &Model, endpoints: &Endpoints, rewrite: &Rewrite) -> Option<(VifId, [u8; 14])> {
    match rewrite {
        Rewrite::Given(vif, bytes) => Some((*vif, bytes.as_slice().try_into().ok()?)),
        Rewrite::Underlay => {
            let adjacency = model.adjacency(endpoints.destination())?;
            Some((adjacency.vif, ethernet(adjacency, endpoints)))
        }
        Rewrite::Uplinks(_) | Rewrite::Encrypted(..) => None,
    }
}

fn tunnel_hop(
    endpoints: Endpoints,
    encap: TunnelEncap,
    way: Option<(VifId, [u8; 14])>,
) -> TunnelHop {
    let (vif, ethernet) = way.unwrap_or_default();
    let header = outer_header(&ethernet, &endpoints, encap);
    // Plain UDP is not compiled to one.
    let form = TunnelForm::new(&endpoints, encap);
    let ready = way.is_some() && form.is_some();
    let form = form.unwrap_or(TunnelForm::MplsOverUdpV4);
    TunnelHop { vif, encap, form, endpoints, ready, header }
}

fn ethernet(adjacency: &Adjacency, endpoints: &Endpoints) -> [u8; 14] {
    let ethertype = match endpoints {
        Endpoints::V4 { .. } => ethertype::IPV4,
        Endpoints::V6 { .. } => ethertype::IPV6,
    };
    let mut bytes = [0; 14];
    let header = Ethernet::new(adjacency.neighbor, adjacency.source, ethertype);
    header.emit(&mut bytes).map_or([0; 14], |()| bytes)
}

/// What every packet of the tunnel has in front, with lengths, ids, ports of origin and labels zero.
fn outer_header(ethernet: &[u8; 14], endpoints: &Endpoints, encap: TunnelEncap) -> OuterHeader {
    let udp = |port| Udp::new(0, port, 0, 0);
    let (gre, mpls) = (Gre::new(ethertype::MPLS), udp(port::MPLS_OVER_UDP));
    let (vxlan, no_vni) = (udp(port::VXLAN), Vxlan::new(Vni::default()));
    let plain;
    let (protocol, transport, shim): (u8, &[u8], &[u8]) = match encap {
        TunnelEncap::MplsOverGre | TunnelEncap::MplsOverMplsOverGre(_) => {
            (protocol::GRE, gre.bytes(), &[0; Mpls::LEN])
        }
        TunnelEncap::MplsOverUdp | TunnelEncap::MplsOverMplsOverUdp(_) => {
            (protocol::UDP, mpls.bytes(), &[0; Mpls::LEN])
        }
        TunnelEncap::Udp { destination, .. } => {
            plain = udp(destination);
            (protocol::UDP, plain.bytes(), &[])
        }
        TunnelEncap::Vxlan | TunnelEncap::VxlanL3(_) => {
            (protocol::UDP, vxlan.bytes(), no_vni.bytes())
        }
    };
    match *endpoints {
        Endpoints::V4 { source, destination } => {
            let ip = Ipv4::new(source, destination, protocol, TTL, 0);
            // The checksum is the sum's complement, and is written anew for each packet.
            OuterHeader::new([ethernet, ip.bytes(), transport, shim], !ip.checksum())
        }
        Endpoints::V6 { source, destination } => {
            let ip = Ipv6::new(source, destination, protocol, TTL, 0);
            OuterHeader::new([ethernet, ip.bytes(), transport, shim], 0)
        }
    }
}
