//! What an object must satisfy: `shape` by itself, `references` together with the model it ends up in.

use std::net::IpAddr;

use wire::{Address, Label, Vni};

use crate::error::ModelError;
use crate::references::{self, MEMBERS, is_ecmp};
use crate::store::Store;
use crate::{
    CompositeKind, Key, NextHop, NextHopKind, NhFamily, NhFlags, NhId, Object, Rewrite, Route,
    TunnelEncap, Vif, VifId, VifKind, VrfId, limits,
};

/// Checks an object alone.
pub(crate) fn shape(object: &Object) -> Result<(), ModelError> {
    let key = object.key();
    match object {
        Object::Vif(vif) => {
            vif_id(key, "id", vif.id)?;
            if (vif.kind, vif.vrf) != (VifKind::Agent, NO_VRF) {
                vrf_id(key, "vrf", vif.vrf)?;
            }
            vif.mcast_vrf.map_or(Ok(()), |vrf| vrf_id(key, "mcast_vrf", vrf))?;
            interface(key, vif)
        }
        Object::Vrf(vrf) => vrf_id(key, "id", vrf.id),
        Object::NextHop(nh) => next_hop(key, nh),
        Object::Inet(route) => vrf_id(key, "vrf", route.vrf),
        Object::Inet6(route) => vrf_id(key, "vrf", route.vrf),
        Object::Bridge(entry) => {
            if entry.mac.is_zero() {
                return Err(ModelError::ZeroMac { object: key, field: "mac" });
            }
            vrf_id(key, "vrf", entry.vrf)
        }
        // Bounded by their types.
        Object::Label(_) | Object::Vni(_) => Ok(()),
        Object::Adjacency(adjacency) => {
            nonzero(key, "destination", adjacency.destination)?;
            if adjacency.neighbor.is_zero() {
                return Err(ModelError::ZeroMac { object: key, field: "neighbor" });
            }
            Ok(())
        }
        Object::Mirror(mirror) => {
            above(key, "id", mirror.id.0.into(), limits::MIRRORS)?;
            above(key, "vlan", mirror.vlan.into(), VLANS)
        }
        Object::QosMap(map) => {
            above(key, "id", map.id.0.into(), limits::QOS_MAPS)?;
            let marks = [("dscp", &map.dscp, 64), ("exp", &map.exp, 8), ("dot1p", &map.dot1p, 8)];
            marks.into_iter().try_for_each(|(field, slots, limit)| {
                slots.keys().try_for_each(|mark| above(key, field, (*mark).into(), limit))
            })
        }
        Object::Class(class) => {
            above(key, "dscp", class.dscp.into(), 64)?;
            above(key, "exp", class.exp.into(), 8)?;
            above(key, "dot1p", class.dot1p.into(), 8)
        }
        Object::VrfAssign(assign) => {
            vif_id(key, "vif", assign.vif)?;
            above(key, "vlan", assign.vlan.into(), limits::ASSIGNED_VLANS)?;
            vrf_id(key, "vrf", assign.vrf)
        }
        Object::VrfTable(table) => vrf_id(key, "vrf", table.vrf),
        Object::RuleSet(set) => {
            above(key, "id", set.id.0, limits::RULE_SETS)?;
            let count = u32::try_from(set.rules.len()).unwrap_or(u32::MAX);
            above(key, "rules", count, limits::RULES + 1)
        }
        Object::Identity(identity) => above(key, "id", identity.id.0, limits::IDENTITIES),
        Object::FlowTimeout(_) => Ok(()),
    }
}

/// The VRF of the agent's interface: its packets name theirs.
const NO_VRF: VrfId = VrfId(u16::MAX);
/// VLAN ids (IEEE 802.1Q).
const VLANS: usize = 4096;
/// Source MACs of a sub-interface (reference dataplane.md section 2.2).
const STATIONS: usize = 4;
/// Bytes of mirror metadata.
const METADATA: usize = 256;
/// Prefixes of a family that fat-flow rules do not touch (section 14.11).
const EXCLUDED: usize = 3;

fn interface(key: Key, vif: &Vif) -> Result<(), ModelError> {
    let rule = |holds, field, rule| {
        if holds { Ok(()) } else { Err(ModelError::Rule { object: key, field, rule }) }
    };
    let count =
        |field, length, limit| above(key, field, u32::try_from(length).unwrap_or(u32::MAX), limit);
    if vif.kind == VifKind::Physical {
        above(key, "id", vif.id.0.into(), limits::UPLINKS)?;
    }
    rule(
        vif.sub.is_some() == (vif.kind == VifKind::VirtualVlan),
        "sub",
        "must be given for a VLAN sub-interface and for nothing else",
    )?;
    rule(
        vif.monitors.is_some() == (vif.kind == VifKind::Monitoring),
        "monitors",
        "must be given for a monitoring interface and for nothing else",
    )?;
    rule(vif.monitors != Some(vif.id), "monitors", "must be another interface")?;
    if let Some(sub) = &vif.sub {
        rule(sub.parent != vif.id, "sub.parent", "must be another interface")?;
        above(key, "sub.rx_vlan", sub.rx_vlan.into(), VLANS)?;
        above(key, "sub.tx_vlan", sub.tx_vlan.into(), VLANS)?;
        count("sub.stations", sub.stations.len(), STATIONS + 1)?;
        if sub.stations.iter().any(|mac| mac.is_zero()) {
            return Err(ModelError::ZeroMac { object: key, field: "sub.stations" });
        }
    }
    vif.mirror.map_or(Ok(()), |id| above(key, "mirror", id.0.into(), limits::MIRRORS))?;
    vif.qos_map.map_or(Ok(()), |id| above(key, "qos_map", id.0.into(), limits::QOS_MAPS))?;
    count("xconnect", vif.xconnect.len(), limits::UPLINKS + 1)?;
    count("ingress_metadata", vif.ingress_metadata.len(), METADATA)?;
    count("egress_metadata", vif.egress_metadata.len(), METADATA)?;
    count("fat_flow_exclude", vif.fat_flow_exclude.len(), EXCLUDED + 1)?;
    count("fat_flow_exclude6", vif.fat_flow_exclude6.len(), EXCLUDED + 1)?;
    above(key, "isid", vif.isid, 1 << 24)
}

fn next_hop(key: Key, nh: &NextHop) -> Result<(), ModelError> {
    above(key, "id", nh.id.0, limits::NEXT_HOPS)?;
    nh.vrf.map_or(Ok(()), |vrf| vrf_id(key, "vrf", vrf))?;
    match &nh.kind {
        NextHopKind::Translate(vrf) => vrf_id(key, "kind.vrf", *vrf),
        NextHopKind::Encap { rewrite, .. } => match rewrite.len() {
            14 => Ok(()),
            0 if nh.family == NhFamily::Bridge => Ok(()),
            length => Err(ModelError::RewriteLength { object: key, length }),
        },
        NextHopKind::Tunnel { source, destination, encap, rewrite } => {
            tunnel(key, *source, *destination, *encap, rewrite)
        }
        NextHopKind::Pbb { mac, direct } => {
            if mac.is_zero() {
                return Err(ModelError::ZeroMac { object: key, field: "mac" });
            }
            let own = direct.next_hop == nh.id;
            own.then_some(0)
                .map_or(Ok(()), |position| Err(ModelError::OwnMember { object: key, position }))
        }
        NextHopKind::Composite { kind, members } => {
            if is_ecmp(kind) && members.len() > limits::ECMP_MEMBERS {
                return Err(ModelError::TooManyMembers { object: key, count: members.len() });
            }
            let own = members.iter().position(|slot| slot.is_some_and(|m| m.next_hop == nh.id));
            own.map_or(Ok(()), |position| Err(ModelError::OwnMember { object: key, position }))?;
            let mut labels = members.iter().flatten().filter_map(|member| member.label);
            labels.try_for_each(|label| above(key, "members.label", label, Vni::MAX as usize + 1))
        }
        NextHopKind::Dead
        | NextHopKind::Receive(_)
        | NextHopKind::Resolve
        | NextHopKind::Discard
        | NextHopKind::L2Receive => Ok(()),
    }
}

fn tunnel(
    key: Key,
    source: IpAddr,
    destination: IpAddr,
    encap: TunnelEncap,
    rewrite: &Rewrite,
) -> Result<(), ModelError> {
    nonzero(key, "source", source)?;
    nonzero(key, "destination", destination)?;
    if source.is_ipv4() != destination.is_ipv4() {
        return Err(ModelError::MixedFamilies { object: key });
    }
    if let TunnelEncap::VxlanL3(mac) = encap
        && mac.is_zero()
    {
        return Err(ModelError::ZeroMac { object: key, field: "encap.mac" });
    }
    outer_ethernet(key, rewrite)
}

fn outer_ethernet(key: Key, rewrite: &Rewrite) -> Result<(), ModelError> {
    let complete = |bytes: &[u8]| match bytes.len() {
        14 => Ok(()),
        length => Err(ModelError::RewriteLength { object: key, length }),
    };
    match rewrite {
        Rewrite::Underlay => Ok(()),
        Rewrite::Given(_, bytes) => complete(bytes),
        Rewrite::Uplinks(uplinks) => {
            let rule = "must be one to three, not all of them empty";
            if uplinks.len() > limits::UPLINKS || uplinks.iter().all(Option::is_none) {
                return Err(ModelError::Rule { object: key, field: "rewrite", rule });
            }
            uplinks.iter().flatten().try_for_each(|uplink| complete(&uplink.rewrite))
        }
        Rewrite::Encrypted(_, plain) => match **plain {
            Rewrite::Encrypted(..) => {
                let rule = "must be encrypted once only";
                Err(ModelError::Rule { object: key, field: "rewrite", rule })
            }
            _ => outer_ethernet(key, plain),
        },
    }
}

/// Checks what an object refers to, at the end of its transaction.
pub(crate) fn references(store: &Store, object: &Object) -> Result<(), ModelError> {
    let mut result = Ok(());
    references::each(object, |field, missing| {
        if field != MEMBERS && result.is_ok() && !store.contains(&missing) {
            result = Err(ModelError::Missing { object: object.key(), field, missing });
        }
    });
    result?;
    match object {
        Object::Inet(route) => route_label(store, object.key(), route),
        Object::Inet6(route) => route_label(store, object.key(), route),
        Object::Bridge(entry) => {
            label_width(store, object.key(), "label", entry.next_hop, entry.label.map(u32::from))
        }
        Object::NextHop(NextHop { kind: NextHopKind::Composite { kind, members }, .. }) => {
            let filled = members.iter().enumerate().filter_map(|(at, slot)| Some((at, (*slot)?)));
            filled.into_iter().try_for_each(|(position, member)| {
                let (object, next_hop) = (object.key(), member.next_hop);
                if let Some(rule) = broken_member_rule(store, kind, next_hop) {
                    let member = Key::NextHop(next_hop);
                    return Err(ModelError::MemberKind { object, position, member, rule });
                }
                label_width(store, object, "members.label", next_hop, member.label)
            })
        }
        Object::Vif(Vif { sub: Some(sub), .. }) => {
            let parent = store.vifs.get(&sub.parent).map(|entry| entry.value.kind);
            match parent {
                Some(VifKind::Virtual | VifKind::Physical) | None => Ok(()),
                Some(_) => Err(ModelError::Rule {
                    object: object.key(),
                    field: "sub.parent",
                    rule: "must be a virtual or physical interface",
                }),
            }
        }
        Object::Vif(Vif { monitors: Some(monitored), .. }) => {
            match store.vifs.get(monitored).map(|entry| entry.value.kind) {
                Some(VifKind::Monitoring) => Err(ModelError::Rule {
                    object: object.key(),
                    field: "monitors",
                    rule: "must be no monitoring interface",
                }),
                Some(_) | None => Ok(()),
            }
        }
        Object::Vif(_)
        | Object::RuleSet(_)
        | Object::Identity(_)
        | Object::FlowTimeout(_)
        | Object::Vrf(_)
        | Object::NextHop(_)
        | Object::Label(_)
        | Object::Vni(_)
        | Object::Adjacency(_)
        | Object::Mirror(_)
        | Object::QosMap(_)
        | Object::Class(_)
        | Object::VrfAssign(_)
        | Object::VrfTable(_) => Ok(()),
    }
}

/// What a member of this kind of composite has to be, if it is not (reference dataplane.md section 6.4). Members that do
/// not exist are empty positions.
fn broken_member_rule(store: &Store, kind: &CompositeKind, member: NhId) -> Option<&'static str> {
    let hop = &store.next_hops.get(&member)?.value;
    let (holds, rule) = match (kind, &hop.kind) {
        (CompositeKind::Ecmp(_), _) => (true, ""),
        (CompositeKind::Fabric | CompositeKind::Evpn, NextHopKind::Tunnel { encap, .. }) => {
            (!matches!(encap, TunnelEncap::Udp { .. }), "no plain UDP tunnel")
        }
        (CompositeKind::Fabric | CompositeKind::Evpn, _) => (false, "a tunnel"),
        (CompositeKind::Tor, NextHopKind::Tunnel { encap, .. }) => {
            (encap.is_vxlan(), "a VXLAN tunnel")
        }
        (CompositeKind::Tor, _) => (false, "a VXLAN tunnel"),
        (CompositeKind::Encap, NextHopKind::Encap { .. }) => {
            let multicast = hop.flags.contains(NhFlags::MULTICAST);
            match hop.family {
                NhFamily::Bridge => {
                    (!multicast, "without the multicast flag, being of family bridge")
                }
                _ => (multicast, "with the multicast flag, being of family inet"),
            }
        }
        (CompositeKind::Encap, _) => (false, "an encap next hop"),
        (CompositeKind::Multicast, NextHopKind::Composite { kind, .. }) => {
            let leaf = !matches!(kind, CompositeKind::Ecmp(_) | CompositeKind::Multicast);
            (leaf, "a fabric, EVPN, encap or ToR composite")
        }
        (CompositeKind::Multicast, _) => (false, "a fabric, EVPN, encap or ToR composite"),
    };
    (!holds).then_some(rule)
}

fn route_label<A: Address>(store: &Store, key: Key, route: &Route<A>) -> Result<(), ModelError> {
    let next_hop = route.next_hop;
    if route.label.is_none() && matches!(kind(store, next_hop), Some(NextHopKind::Tunnel { .. })) {
        return Err(ModelError::LabelNeeded { object: key, next_hop });
    }
    label_width(store, key, "label", next_hop, route.label.map(u32::from))
}

/// Only VXLAN carries 24 bits. A composite's route label is checked with the members it may be used for.
fn label_width(
    store: &Store,
    object: Key,
    field: &'static str,
    next_hop: NhId,
    label: Option<u32>,
) -> Result<(), ModelError> {
    let wide = match kind(store, next_hop) {
        Some(NextHopKind::Tunnel { encap, .. }) => encap.is_vxlan(),
        Some(NextHopKind::Composite { .. }) | None => true,
        Some(_) => false,
    };
    match label {
        Some(value) if !wide && value > Label::MAX => {
            Err(ModelError::AboveLimit { object, field, value, max: Label::MAX })
        }
        _ => Ok(()),
    }
}

fn kind(store: &Store, id: NhId) -> Option<&NextHopKind> {
    store.next_hops.get(&id).map(|entry| &entry.value.kind)
}

fn vif_id(object: Key, field: &'static str, id: VifId) -> Result<(), ModelError> {
    above(object, field, u32::from(id.0), limits::VIFS)
}

fn vrf_id(object: Key, field: &'static str, id: VrfId) -> Result<(), ModelError> {
    above(object, field, u32::from(id.0), limits::VRFS)
}

/// Refuses `value` unless it is below `limit`.
fn above(object: Key, field: &'static str, value: u32, limit: usize) -> Result<(), ModelError> {
    let max = u32::try_from(limit - 1).unwrap_or(u32::MAX);
    if value > max { Err(ModelError::AboveLimit { object, field, value, max }) } else { Ok(()) }
}

fn nonzero(object: Key, field: &'static str, address: IpAddr) -> Result<(), ModelError> {
    if address.is_unspecified() { Err(ModelError::ZeroAddress { object, field }) } else { Ok(()) }
}
