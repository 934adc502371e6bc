//! Broadcast trees and labels for frames.
//!
//! ```text
//! ff:ff:ff:ff:ff:ff ──▶ Multicast ─┬─▶ Evpn:  a tunnel and label (or VNI) for each router that told a flood route
//!                                  └─▶ Encap: the L2 Encap of each workload here
//! flood label, VNI  ──▶ Translate ──▶ the network's bridge table
//! ```
//!
//! The flood label leads to the bridge table, as a VNI does, and not to the tree itself: there a frame of a router that
//! floods finds the tree by its broadcast address, and one for a single station its owner. The number is free besides: a
//! label of 1024 and more that points at a tree would mean another format (reference dataplane.md section 7.7).

use std::net::{IpAddr, Ipv4Addr};

use tables::{CompositeKind, Member, NextHopKind, NhFamily, NhFlags, NhId, VrfId};
use wire::Mac;

use super::Build;
use crate::config::Network;
use crate::ids::IdsError;
use crate::rib::import::{Beyond, Hop};

impl Build<'_> {
    /// The routers that take copies of what is flooded in a network.
    pub(super) fn flood_list(&self, network: &str) -> impl Iterator<Item = Hop> {
        // The last kind of a network's, and of it every address.
        let first = (network.to_owned(), Beyond::Flood(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let rest = self.inputs.remote.range(first..);
        let of = rest.take_while(move |((name, _), _)| name == network);
        of.flat_map(|(_, slots)| slots.iter().flatten()).copied()
    }

    pub(super) fn broadcast(&mut self, network: &Network) -> Result<(), IdsError> {
        if network.bridging.is_none() {
            return Ok(());
        }
        let vrf = self.ids.vrf(&network.name)?;
        let hops: Vec<Hop> = self.flood_list(&network.name).collect();
        let mut far = Vec::with_capacity(hops.len());
        for hop in hops {
            far.push(Member { next_hop: self.tunnel(&hop)?, label: Some(hop.label) });
        }
        let mut here = Vec::new();
        for workload in &self.inputs.config.workloads {
            let name = &workload.name;
            if workload.network != network.name || !self.inputs.attached.contains_key(name) {
                continue;
            }
            // One without ids is named where it is left out.
            if let Ok(ids) = self.ids.workload(&network.name, name) {
                here.push(Member { next_hop: ids.l2, label: None });
            }
        }
        let name = &network.name;
        let none = NhFlags::default();
        let far = self.tree(format!("flood-evpn:{name}"), vrf, none, CompositeKind::Evpn, far)?;
        let here =
            self.tree(format!("flood-here:{name}"), vrf, none, CompositeKind::Encap, here)?;
        let parts = [far, here].map(|next_hop| Member { next_hop, label: None });
        let kind = CompositeKind::Multicast;
        // A copy is taken only from routers that are in the tree themselves.
        let flags = NhFlags::VALIDATE_MCAST_SOURCE;
        let top = self.tree(format!("flood:{name}"), vrf, flags, kind, parts.to_vec())?;
        self.bridge(vrf, Mac::BROADCAST, top, None);
        let label = self.ids.flood_label(name)?;
        let translate = self.translate(network, vrf)?;
        self.label(label, translate);
        Ok(())
    }

    fn tree(
        &mut self,
        name: String,
        vrf: VrfId,
        flags: NhFlags,
        kind: CompositeKind,
        members: Vec<Member>,
    ) -> Result<NhId, IdsError> {
        let members = members.into_iter().map(Some).collect();
        self.next_hop(name, NhFamily::Bridge, vrf, flags, || NextHopKind::Composite {
            kind,
            members,
        })
    }
}
