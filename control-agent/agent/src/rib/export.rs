//! Our own routes, as peers are told them (reference control-plane.md section 7.4).
//!
//! Each workload is announced as a VPNv4 /32 with its label, with an encapsulation community for each MPLS
//! encapsulation of our list, and, when VXLAN is in the list, as an EVPN type 5 /32 with the network's VNI and our
//! router's MAC.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use proto::bgp::{Announcement, Attributes, Encapsulation, Family, IpPrefix, Origin, Rd, RouteKey};
use wire::{Label, Mac, Prefix};

use crate::config::{Config, Network, Workload};
use crate::ids::{Ids, WorkloadIds};

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
        let Ok(vrf) = ids.vrf(&network.name) else { continue };
        let rd = Rd::from_address(config.node.router_id, vrf.0);
        let vpn = vpn_attributes(config, network).map(Arc::new);
        let evpn = evpn_attributes(config, network, router_mac).map(Arc::new);
        let members = config.workloads.iter().filter(|w| w.network == network.name);
        for workload in members.filter(|workload| attached(workload)) {
            let Ok(WorkloadIds { label, .. }) = ids.workload(&network.name, &workload.name) else {
                continue;
            };
            let key = |family| RouteKey {
                family,
                rd,
                tag: 0,
                prefix: IpPrefix::V4(Prefix::host(workload.address)),
            };
            if let Some(attributes) = &vpn {
                let told = (mpls_label(label), Arc::clone(attributes));
                exports.insert(key(Family::Vpn4), told);
            }
            if let Some(attributes) = &evpn {
                let vni = Announcement::raw_label_of(Encapsulation::Vxlan, network.vni.get());
                exports.insert(key(Family::Evpn), (vni, Arc::clone(attributes)));
            }
        }
    }
    exports
}

fn mpls_label(label: Label) -> [u8; 3] {
    Announcement::raw_label_of(Encapsulation::MplsOverUdp, label.get())
}

fn vpn_attributes(config: &Config, network: &Network) -> Option<Attributes> {
    let mut encapsulations = config.node.encapsulations.clone();
    encapsulations.retain(|encapsulation| *encapsulation != Encapsulation::Vxlan);
    encapsulations.sort_unstable();
    (!encapsulations.is_empty()).then(|| common(config, network, encapsulations, None))
}

fn evpn_attributes(config: &Config, network: &Network, router_mac: Mac) -> Option<Attributes> {
    let offered = config.node.encapsulations.contains(&Encapsulation::Vxlan);
    offered.then(|| common(config, network, vec![Encapsulation::Vxlan], Some(router_mac)))
}

fn common(
    config: &Config,
    network: &Network,
    encapsulations: Vec<Encapsulation>,
    router_mac: Option<Mac>,
) -> Attributes {
    Attributes {
        origin: Origin::Igp,
        as_path: Vec::new(),
        next_hop: IpAddr::V4(config.node.tunnel_endpoint),
        med: None,
        local_preference: Some(100),
        targets: network.export.clone(),
        encapsulations,
        encapsulation_given: true,
        router_mac,
    }
}
