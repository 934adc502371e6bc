//! Objects as rows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{
    BridgeInfo, Core, ForwardingClassInfo, MirrorInfo, NextHopDetail, NextHopInfo, Pbb, QosMapInfo,
    RouteInfo, Stitched, UnderlayHop, VifInfo, VlanStation, VlanTag, VlanVrf, VrfStats,
};
use engine::VrfCount;
use tables::{
    BridgeSlot, ClassId, ForwardingClass, Mirror, NextHop, NextHopKind, QosMap, Rewrite, RouteHit,
    SubInterface, TunnelEncap, Uplink, Vif, VifId, VrfId, limits,
};
use wire::{Mac, Prefix, Vni};

use super::dump::{View, VifFacts};

/// Shown as the family of every encap next hop, as the original's agent sends it (ARP).
const SHOWN_ETHER_TYPE: u16 = 0x0806;

impl<F: VifFacts> View<'_, F> {
    /// VRFs from an index on whose packets met something; those that do not exist are the last.
    pub(super) fn vrf_stats(&self, from: u32) -> impl Iterator<Item = VrfStats> + '_ {
        let last = u16::try_from(limits::VRFS).unwrap_or(u16::MAX);
        let from = u16::try_from(from).unwrap_or(u16::MAX);
        let all = (from..=last).map(move |id| (id < last).then_some(VrfId(id)));
        all.map(|vrf| self.stats_of(vrf)).filter(|row| !row.is_zero())
    }

    /// What packets of a VRF met.
    pub(super) fn stats_of(&self, vrf: Option<VrfId>) -> VrfStats {
        let Some(counters) = self.facts.counters() else {
            return VrfStats { vrf, ..VrfStats::default() };
        };
        let stats = counters.vrf(vrf);
        let of = |count| stats.get(count);
        VrfStats {
            vrf,
            discards: of(VrfCount::Discards),
            resolves: of(VrfCount::Resolves),
            receives: of(VrfCount::Receives),
            l2_receives: of(VrfCount::L2Receives),
            vrf_translates: of(VrfCount::VrfTranslates),
            unknown_unicast_floods: of(VrfCount::UnknownUnicastFloods),
            ecmp_composites: of(VrfCount::EcmpComposites),
            l2_mcast_composites: of(VrfCount::McastComposites),
            fabric_composites: of(VrfCount::FabricComposites),
            encap_composites: of(VrfCount::EncapComposites),
            evpn_composites: of(VrfCount::EvpnComposites),
            udp_tunnels: of(VrfCount::UdpTunnels),
            udp_mpls_tunnels: of(VrfCount::UdpMplsTunnels),
            gre_mpls_tunnels: of(VrfCount::GreMplsTunnels),
            vxlan_tunnels: of(VrfCount::VxlanTunnels),
            pbb_tunnels: of(VrfCount::PbbTunnels),
            mpls_over_mpls_tunnels: of(VrfCount::MplsOverMplsTunnels),
            l2_encaps: of(VrfCount::L2Encaps),
            encaps: of(VrfCount::Encaps),
            gros: of(VrfCount::Gros),
            diags: of(VrfCount::Diags),
            arp_virtual_proxys: of(VrfCount::ArpVirtualProxys),
            arp_virtual_stitchs: of(VrfCount::ArpVirtualStitchs),
            arp_virtual_floods: of(VrfCount::ArpVirtualFloods),
            arp_physical_stitchs: of(VrfCount::ArpPhysicalStitchs),
            arp_tor_proxys: of(VrfCount::ArpTorProxys),
            arp_physical_floods: of(VrfCount::ArpPhysicalFloods),
        }
    }

    pub(super) fn vif(&self, vif: &Vif, core: Option<Core>) -> VifInfo {
        let mut row = VifInfo {
            transport: vif.transport,
            next_hop: vif.next_hop,
            mac: vif.mac,
            ip: vif.ip,
            ip6: vif.ip6,
            vrf: Some(vif.vrf),
            mcast_vrf: vif.mcast_vrf,
            mtu: vif.mtu,
            flags: self.model.vif_flags(vif),
            references: self.model.vif_references(vif.id),
            vlan: vif.sub.as_ref().map(|sub| self.tag(vif.vrf, sub)),
            monitors: vif.monitors,
            parent: vif.sub.as_ref().map(|sub| sub.parent),
            qos_map: vif.qos_map.map(|map| map.0),
            mirror: vif.mirror.map(|mirror| mirror.0.into()),
            isid: vif.isid,
            bmac: vif.bmac,
            ingress_mirror_metadata: vif.ingress_metadata.clone(),
            egress_mirror_metadata: vif.egress_metadata.clone(),
            fat_flow_rules: vif.fat_flow_rules.clone(),
            fat_flow_exclude: vif.fat_flow_exclude.iter().map(Prefix::address).collect(),
            fat_flow_exclude6: vif.fat_flow_exclude6.iter().map(Prefix::address).collect(),
            vlan_vrfs: self
                .model
                .assignments(vif.id)
                .map(|assign| VlanVrf { vlan: assign.vlan, vrf: assign.vrf })
                .collect(),
            ..VifInfo::new(vif.id, vif.name.clone(), vif.kind)
        };
        self.facts.complete(&mut row, core);
        row
    }

    pub(super) fn next_hop(&self, hop: &NextHop) -> NextHopInfo {
        NextHopInfo {
            id: hop.id,
            family: Some(hop.family),
            vrf: hop.vrf,
            references: self.model.next_hop_references(hop.id),
            flags: hop.wire_flags(),
            direct: match &hop.kind {
                NextHopKind::Pbb { direct, .. } => Some(*direct),
                _ => None,
            },
            detail: self.detail(&hop.kind),
        }
    }

    fn detail(&self, kind: &NextHopKind) -> NextHopDetail {
        match kind {
            NextHopKind::Dead => NextHopDetail::Dead,
            NextHopKind::Receive(vif) => NextHopDetail::Receive { vif: Some(*vif) },
            NextHopKind::Encap { vif, rewrite } => NextHopDetail::Encap {
                ether_type: SHOWN_ETHER_TYPE,
                vif: Some(*vif),
                rewrite: rewrite.clone(),
            },
            NextHopKind::Tunnel { source, destination, encap, rewrite } => {
                let (crypt_vif, plain) = match rewrite {
                    Rewrite::Encrypted(vif, plain) => (*vif, &**plain),
                    plain => (None, plain),
                };
                NextHopDetail::Tunnel {
                    source: *source,
                    destination: *destination,
                    underlay: self.underlay(*destination, plain),
                    ports: match encap {
                        TunnelEncap::Udp { source, destination } => Some((*source, *destination)),
                        _ => None,
                    },
                    l3_vxlan_mac: match encap {
                        TunnelEncap::VxlanL3(mac) => Some(*mac),
                        _ => None,
                    },
                    pbb: None,
                    transport_label: match encap {
                        TunnelEncap::MplsOverMplsOverGre(label)
                        | TunnelEncap::MplsOverMplsOverUdp(label) => Some(label.get()),
                        _ => None,
                    },
                    crypt_vif,
                }
            }
            NextHopKind::Pbb { mac, direct } => {
                let mut detail = NextHopDetail::no_tunnel();
                if let NextHopDetail::Tunnel { pbb, .. } = &mut detail {
                    *pbb = Some(Pbb { mac: *mac, label: direct.label });
                }
                detail
            }
            NextHopKind::Resolve => NextHopDetail::Resolve,
            NextHopKind::Discard => NextHopDetail::Discard,
            NextHopKind::Composite { kind, members } => NextHopDetail::Composite {
                hash: match kind {
                    tables::CompositeKind::Ecmp(fields) => *fields,
                    _ => 0,
                },
                members: members.clone(),
            },
            NextHopKind::Translate(vrf) => NextHopDetail::Translate { vrf: *vrf },
            NextHopKind::L2Receive => NextHopDetail::L2Receive,
        }
    }

    fn tag(&self, vrf: VrfId, sub: &SubInterface) -> VlanTag {
        let station = |mac: &Mac| {
            let slot = self.model.bridge_slot(vrf, *mac);
            VlanStation { mac: *mac, bridge_index: slot.map_or(0, BridgeSlot::index) }
        };
        let stations = sub.stations.iter().map(station).collect();
        VlanTag { outer: sub.tx_vlan, inner: sub.rx_vlan, stations }
    }

    /// The ways out: one, or as many as there are places for uplinks when there are several.
    fn underlay(&self, destination: IpAddr, rewrite: &Rewrite) -> Vec<UnderlayHop> {
        let given = |vif: VifId, bytes: &[u8]| UnderlayHop {
            vif: Some(vif),
            valid: true,
            rewrite: bytes.to_vec(),
        };
        let one = match rewrite {
            Rewrite::Given(vif, bytes) => given(*vif, bytes),
            Rewrite::Uplinks(uplinks) => {
                let places = (0..limits::UPLINKS).map(|place| uplinks.get(place)?.as_ref());
                let hop = |uplink: &Uplink| given(uplink.vif, &uplink.rewrite);
                return places.map(|uplink| uplink.map(hop).unwrap_or_default()).collect();
            }
            Rewrite::Encrypted(_, plain) => return self.underlay(destination, plain),
            Rewrite::Underlay => match self.model.adjacency(destination) {
                Some(adjacency) => {
                    let ether_type: [u8; 2] =
                        if destination.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
                    let (to, from) = (&adjacency.neighbor.0[..], &adjacency.source.0[..]);
                    let rewrite = [to, from, &ether_type].concat();
                    UnderlayHop { vif: Some(adjacency.vif), valid: true, rewrite }
                }
                None => UnderlayHop::default(),
            },
        };
        vec![one]
    }

    pub(super) fn leaf(&self, address: IpAddr, length: u8, hit: &RouteHit) -> RouteInfo {
        let stitched = hit.bridge.and_then(|slot| {
            let mac = self.fib.station(slot)?.mac;
            Some(Stitched { mac, index: slot.index() })
        });
        RouteInfo {
            address,
            length,
            parent_length: hit.prefix_len,
            flags: hit.flags,
            label: hit.label,
            next_hop: hit.nh,
            stitched,
        }
    }
}

pub(super) fn bridge_row(mac: Mac, hit: tables::BridgeHit, packets: u64) -> BridgeInfo {
    BridgeInfo {
        index: hit.slot.index(),
        mac,
        flags: hit.flags,
        label: hit.label,
        next_hop: hit.nh,
        packets,
    }
}

pub(super) fn mirror_row(mirror: &Mirror) -> MirrorInfo {
    MirrorInfo {
        index: mirror.id.0.into(),
        next_hop: mirror.next_hop,
        flags: mirror.flags.0,
        vni: mirror.vni.map(Vni::get),
        vlan: mirror.vlan,
    }
}

pub(super) fn class_row(class: &ForwardingClass) -> ForwardingClassInfo {
    let ForwardingClass { id, dscp, exp, dot1p, queue } = *class;
    ForwardingClassInfo { id: id.0, dscp, mpls_qos: exp, dotonep: dot1p, queue }
}

pub(super) fn map_row(map: &QosMap) -> QosMapInfo {
    let entries = |entries: &BTreeMap<u8, ClassId>| {
        entries
            .iter()
            .map(|(mark, class)| (*mark, class.0))
            .filter(|(_, class)| *class != 0)
            .collect()
    };
    QosMapInfo {
        index: map.id.0,
        dscp: entries(&map.dscp),
        mpls_qos: entries(&map.exp),
        dotonep: entries(&map.dot1p),
    }
}
