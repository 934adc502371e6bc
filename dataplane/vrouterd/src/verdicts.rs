//! Verdicts of an agent about flows, and flows that it makes, as requests have them: looked at field by field, and turned into what sessions obey.

use std::net::{IpAddr, SocketAddr};

use api::{ApiError, ErrorCode, FlowAction, FlowDecision, FlowEnds, FlowVerdict, NewFlow};
use tables::flow::{Action, Decision, FlowAddresses, FlowKey, Made};
use tables::{MirrorId, Model, NextHopKind, VifId, limits};

/// The last code of reference cli.md section 7.5.
const LAST_REASON: u8 = 0x22;

/// What a verdict says.
///
/// # Errors
/// `Invalid`, naming the field.
pub(crate) fn check(verdict: &FlowVerdict, model: &Model) -> Result<Decision, ApiError> {
    check_as(&format!("flow {}", verdict.index), &verdict.decision, model)
}

/// The session that an agent wants made, and what it decides about it.
///
/// # Errors
/// `Invalid`, naming the field.
pub(crate) fn check_new(
    flow: &NewFlow,
    model: &Model,
    now: u32,
) -> Result<(Made, Decision), ApiError> {
    let object = named(&flow.key);
    let invalid = |field: &str, what: &str| {
        ApiError::new(ErrorCode::Invalid, object.clone(), what).in_field(field)
    };
    let decision = check_as(&object, &flow.decision, model)?;
    let families = "source and destination are of two families";
    let key = key(&flow.key).ok_or_else(|| invalid("key", families))?;
    let answers = match &flow.decision.answers {
        Some(answers) => self::key(answers).ok_or_else(|| invalid("answers", families))?,
        None => key.reversed(key.scope),
    };
    if answers.protocol != key.protocol || answers.addresses.is_ipv6() != key.addresses.is_ipv6() {
        return Err(invalid("answers", "are of another protocol or family than the flow"));
    }
    if answers == key {
        return Err(invalid("answers", "are the flow itself"));
    }
    if flow.vrf.index() >= limits::VRFS {
        return Err(invalid("vrf", &format!("{} is above {}", flow.vrf, limits::VRFS - 1)));
    }
    let vrfs = (flow.vrf, flow.decision.destination_vrf.unwrap_or(flow.vrf));
    Ok((Made { key, answers, ends: ends(&flow.key, model), vrfs, now }, decision))
}

/// The local ends of a flow: whose key's next hop is an interface's comes from there, or goes there if its destination is
/// the interface's address.
fn ends(key: &FlowEnds, model: &Model) -> (Option<VifId>, Option<VifId>) {
    let vif = model.next_hop(key.key_next_hop).and_then(|hop| match hop.kind {
        NextHopKind::Encap { vif, .. } => model.vif(vif),
        _ => None,
    });
    let Some(vif) = vif.filter(|vif| vif.next_hop == Some(key.key_next_hop)) else {
        return (None, None);
    };
    let is_destination = match key.destination {
        IpAddr::V4(address) => vif.ip == Some(address),
        IpAddr::V6(address) => vif.ip6 == Some(address),
    };
    if is_destination { (None, Some(vif.id)) } else { (Some(vif.id), None) }
}

/// How messages name a flow that has no index.
pub(crate) fn named(key: &FlowEnds) -> String {
    let FlowEnds { source, source_port, destination, destination_port, protocol, .. } = key;
    let (source, destination) =
        (SocketAddr::new(*source, *source_port), SocketAddr::new(*destination, *destination_port));
    format!("flow {source} to {destination}, protocol {protocol}")
}

fn check_as(object: &str, asked: &FlowDecision, model: &Model) -> Result<Decision, ApiError> {
    let invalid = |field: &str, what: String| {
        ApiError::new(ErrorCode::Invalid, object.to_owned(), what).in_field(field)
    };
    for mirror in asked.mirrors.iter().flatten() {
        check_mirror(object, Some(MirrorId(*mirror)), model)?;
    }
    let action = match asked.action {
        FlowAction::Hold => Action::Hold,
        FlowAction::Drop if asked.drop_reason > LAST_REASON => {
            let what = format!("{} is above {LAST_REASON}", asked.drop_reason);
            return Err(invalid("drop_reason", what));
        }
        FlowAction::Drop => Action::Drop(asked.drop_reason),
        FlowAction::Forward | FlowAction::Nat => Action::Forward {
            answers: match &asked.answers {
                Some(answers) => Some(key(answers).ok_or_else(|| {
                    invalid("answers", "source and destination are of two families".to_owned())
                })?),
                None => None,
            },
            behind: asked.destination_vrf,
        },
        FlowAction::Unknown => return Err(invalid("action", "is none".to_owned())),
    };
    if let Some(vrf) = asked.destination_vrf
        && vrf.index() >= limits::VRFS
    {
        let what = format!("{vrf} is above {}", limits::VRFS - 1);
        return Err(invalid("destination_vrf", what));
    }
    let mirrors = asked.mirrors.map(|mirror| mirror.map(MirrorId));
    Ok(Decision { action, mirrors, ecmp: asked.ecmp })
}

/// Whether there is such a mirror.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check_mirror(
    object: &str,
    mirror: Option<MirrorId>,
    model: &Model,
) -> Result<(), ApiError> {
    match mirror.filter(|mirror| model.mirror(*mirror).is_none()) {
        Some(mirror) => {
            let what = format!("there is no mirror {mirror}");
            Err(ApiError::new(ErrorCode::Invalid, object.to_owned(), what).in_field("mirrors"))
        }
        None => Ok(()),
    }
}

/// The key of a flow; `None` when its ends are of two families.
pub(crate) fn key(ends: &FlowEnds) -> Option<FlowKey> {
    Some(FlowKey {
        scope: ends.key_next_hop,
        protocol: ends.protocol,
        ports: u32::from(ends.source_port) << 16 | u32::from(ends.destination_port),
        addresses: FlowAddresses::new(ends.source, ends.destination)?,
    })
}
