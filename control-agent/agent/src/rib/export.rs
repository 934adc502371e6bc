//! Our own routes, as peers are told them (reference control-plane.md section 7.4).
//!
//! | of | route | label field | encapsulations |
//! |---|---|---|---|
//! | each address of a workload | VPNv4 or VPNv6 host route | the workload's label for packets | MPLS ones of our list |
//! | the same | EVPN IP prefix route (type 5), our router's MAC | the network's VNI | VXLAN, if in our list |
//! | each station of a bridging network | EVPN MAC/IP routes (type 2): the MAC alone, and with each address | its label for frames, or the VNI | those of the network's kind of bridging |
//! | a bridging network with a workload here | EVPN inclusive multicast route (type 3) | the network's flood label, or the VNI | the same |

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use proto::bgp::{
    Announcement, Attributes, Destination, Encapsulation, Family, FloodTunnel, IpPrefix,
    Membership, Origin, Rd, RouteKey,
};
use wire::{Label, Mac, Prefix};

use crate::config::{Bridging, Config, Network, Workload};
use crate::ids::{Ids, IdsError, WorkloadIds};

/// What peers are to be told: label field and attributes of each route.
pub(crate) type Exports = BTreeMap<RouteKey, ([u8; 3], Arc<Attributes>)>;

/// The routes of the workloads that `attached` says are there. One without ids is not told: nothing would take its
/// packets.
pub(crate) fn exports(
    config: &Config,
    ids: &mut Ids,
    router_mac: Mac,
    attached: impl Fn(&Workload) -> bool,
) -> Exports {
    let mut exports = Exports::new();
    for network in &config.networks {
        let of = |workload: &&Workload| workload.network == network.name && attached(workload);
        let members: Vec<&Workload> = config.workloads.iter().filter(of).collect();
        // What has no ids is told nothing of; the wanted model names it.
        let _ = export(config, ids, router_mac, network, &members, &attached, &mut exports);
    }
    exports
}

fn export(
    config: &Config,
    ids: &mut Ids,
    router_mac: Mac,
    network: &Network,
    members: &[&Workload],
    attached: &impl Fn(&Workload) -> bool,
    exports: &mut Exports,
) -> Result<(), IdsError> {
    let rd = Rd::from_address(config.node.router_id, ids.vrf(&network.name)?.0);
    let vpn = attributes_of(config, network, Bridging::Mpls, None);
    let evpn = attributes_of(config, network, Bridging::Vxlan, Some(router_mac));
    let bridged =
        network.bridging.and_then(|kind| Some((kind, attributes_of(config, network, kind, None)?)));
    let vni = Announcement::raw_label_of(Encapsulation::Vxlan, network.vni.get());
    let key = |family, destination| RouteKey { family, rd, tag: 0, destination };
    for workload in members {
        let Ok(WorkloadIds { label, l2_label, .. }) = ids.workload(&network.name, &workload.name)
        else {
            continue;
        };
        let [vpn, evpn] =
            [&vpn, &evpn].map(|it| it.as_ref().map(|it| of_member(config, it, workload)));
        for address in workload.addresses() {
            let (family, prefix) = host_route(address);
            let destination = Destination::Prefix(prefix);
            if let Some(attributes) = &vpn {
                let told = (mpls_label(label), Arc::clone(attributes));
                exports.insert(key(family, destination), told);
            }
            if let Some(attributes) = &evpn {
                exports.insert(key(Family::Evpn, destination), (vni, Arc::clone(attributes)));
            }
        }
        let Some((kind, attributes)) = &bridged else { continue };
        let field = match kind {
            Bridging::Mpls => mpls_label(l2_label),
            Bridging::Vxlan => vni,
        };
        for address in workload.addresses().map(Some).chain([None]) {
            let destination = Destination::Station { mac: workload.mac, address };
            exports.insert(key(Family::Evpn, destination), (field, Arc::clone(attributes)));
        }
    }
    let floating = config.workloads.iter().filter(|workload| attached(workload));
    for workload in floating {
        for floating in workload.floating_ips.iter().filter(|it| it.network == network.name) {
            let WorkloadIds { label, .. } = ids.workload(&workload.network, &workload.name)?;
            let (family, prefix) = host_route(floating.address);
            let destination = Destination::Prefix(prefix);
            if let Some(attributes) = &vpn {
                let told = (mpls_label(label), of_member(config, attributes, workload));
                exports.insert(key(family, destination), told);
            }
            if let Some(attributes) = &evpn {
                let told = (vni, of_member(config, attributes, workload));
                exports.insert(key(Family::Evpn, destination), told);
            }
        }
    }
    if let (Some((kind, attributes)), [_, ..]) = (bridged, members) {
        let raw_label = match kind {
            Bridging::Mpls => mpls_label(ids.flood_label(&network.name)?),
            Bridging::Vxlan => vni,
        };
        let endpoint = config.node.tunnel_endpoint;
        let flood = Some(FloodTunnel { raw_label, endpoint });
        let attributes = Arc::new(Attributes { flood, ..(*attributes).clone() });
        let destination = Destination::Flood { router: endpoint };
        exports.insert(key(Family::Evpn, destination), (raw_label, attributes));
    }
    Ok(())
}

fn host_route(address: IpAddr) -> (Family, IpPrefix) {
    match address {
        IpAddr::V4(address) => (Family::Vpn4, IpPrefix::V4(Prefix::host(address))),
        IpAddr::V6(address) => (Family::Vpn6, IpPrefix::V6(Prefix::host(address))),
    }
}

/// The attributes with the groups of a workload.
fn of_member(
    config: &Config,
    attributes: &Arc<Attributes>,
    workload: &Workload,
) -> Arc<Attributes> {
    if workload.groups.is_empty() {
        return Arc::clone(attributes);
    }
    let mut groups: Vec<u32> =
        workload.groups.iter().filter_map(|name| config.group(name)).map(|it| it.id).collect();
    groups.sort_unstable();
    let membership = Membership { groups, ..attributes.membership.clone() };
    Arc::new(Attributes { membership, ..(**attributes).clone() })
}

/// Stands for an AS that takes four bytes (RFC 6793).
const AS_TRANS: u16 = 23_456;

fn mpls_label(label: Label) -> [u8; 3] {
    Announcement::raw_label_of(Encapsulation::MplsOverUdp, label.get())
}

/// The attributes of a network's routes with the encapsulations of one kind; `None` when our list has none of it.
fn attributes_of(
    config: &Config,
    network: &Network,
    kind: Bridging,
    router_mac: Option<Mac>,
) -> Option<Arc<Attributes>> {
    let mut encapsulations = config.node.encapsulations.clone();
    encapsulations.retain(|encapsulation| Bridging::of(*encapsulation) == kind);
    encapsulations.sort_unstable();
    let attributes = Attributes {
        origin: Origin::Igp,
        as_path: Vec::new(),
        next_hop: config.node.tunnel_endpoint,
        med: None,
        local_preference: Some(100),
        targets: network.export.clone(),
        encapsulation_given: true,
        router_mac,
        mobility: None,
        flood: None,
        membership: Membership {
            as_number: u16::try_from(config.bgp.as_ref()?.as_number).unwrap_or(AS_TRANS),
            network: Some(network.id),
            groups: Vec::new(),
        },
        encapsulations,
    };
    (!attributes.encapsulations.is_empty()).then(|| Arc::new(attributes))
}
