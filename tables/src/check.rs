//! What an object must satisfy: `shape` by itself, `references` together with the model it ends up in.

use std::net::IpAddr;

use wire::{Address, Label, Vni};

use crate::error::ModelError;
use crate::references::{self, MEMBERS, is_ecmp};
use crate::store::Store;
use crate::{
    Key, NextHop, NextHopKind, NhFamily, NhId, Object, Rewrite, Route, TunnelEncap, VifId, VrfId,
    limits,
};

/// Checks an object alone.
pub(crate) fn shape(object: &Object) -> Result<(), ModelError> {
    let key = object.key();
    match object {
        Object::Vif(vif) => {
            vif_id(key, "id", vif.id)?;
            vrf_id(key, "vrf", vif.vrf)?;
            vif.mcast_vrf.map_or(Ok(()), |vrf| vrf_id(key, "mcast_vrf", vrf))
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
    }
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
        NextHopKind::Composite { kind, members } => {
            if is_ecmp(kind) && members.len() > limits::ECMP_MEMBERS {
                return Err(ModelError::TooManyMembers { object: key, count: members.len() });
            }
            let own = members.iter().position(|slot| slot.is_some_and(|m| m.next_hop == nh.id));
            own.map_or(Ok(()), |position| Err(ModelError::OwnMember { object: key, position }))?;
            let mut labels = members.iter().flatten().filter_map(|member| member.label);
            labels.try_for_each(|label| above(key, "members.label", label, Vni::MAX as usize + 1))
        }
        _ => Ok(()),
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
    match rewrite {
        Rewrite::Given(_, bytes) if bytes.len() != 14 => {
            Err(ModelError::RewriteLength { object: key, length: bytes.len() })
        }
        _ => Ok(()),
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
        Object::NextHop(NextHop { kind: NextHopKind::Composite { members, .. }, .. }) => {
            members.iter().flatten().try_for_each(|member| {
                label_width(store, object.key(), "members.label", member.next_hop, member.label)
            })
        }
        _ => Ok(()),
    }
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
        Some(NextHopKind::Tunnel { encap, .. }) => {
            matches!(encap, TunnelEncap::Vxlan | TunnelEncap::VxlanL3(_))
        }
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
