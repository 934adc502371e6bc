//! Verdicts of an agent about flows, as requests have them: looked at field by field, and turned into what sessions obey.

use api::{ApiError, ErrorCode, FlowAction, FlowEnds, FlowVerdict};
use tables::flow::{Action, Decision, FlowAddresses, FlowKey};
use tables::{MirrorId, Model, limits};

/// The last code of reference cli.md section 7.5.
const LAST_REASON: u8 = 0x22;

/// What a verdict says.
///
/// # Errors
/// `Invalid`, naming the field.
pub(crate) fn check(verdict: &FlowVerdict, model: &Model) -> Result<Decision, ApiError> {
    let invalid = |field: &str, what: String| {
        let object = format!("flow {}", verdict.index);
        ApiError::new(ErrorCode::Invalid, object, what).in_field(field)
    };
    for mirror in verdict.mirrors.iter().flatten() {
        check_mirror(verdict.index, Some(MirrorId(*mirror)), model)?;
    }
    let action = match verdict.action {
        FlowAction::Hold => Action::Hold,
        FlowAction::Drop if verdict.drop_reason > LAST_REASON => {
            let what = format!("{} is above {LAST_REASON}", verdict.drop_reason);
            return Err(invalid("drop_reason", what));
        }
        FlowAction::Drop => Action::Drop(verdict.drop_reason),
        FlowAction::Forward | FlowAction::Nat => Action::Forward {
            answers: match &verdict.answers {
                Some(answers) => Some(key(answers).ok_or_else(|| {
                    invalid("answers", "source and destination are of two families".to_owned())
                })?),
                None => None,
            },
            behind: verdict.destination_vrf,
        },
        FlowAction::Unknown => return Err(invalid("action", "is none".to_owned())),
    };
    if let Some(vrf) = verdict.destination_vrf
        && vrf.index() >= limits::VRFS
    {
        let what = format!("{vrf} is above {}", limits::VRFS - 1);
        return Err(invalid("destination_vrf", what));
    }
    let mirrors = verdict.mirrors.map(|mirror| mirror.map(MirrorId));
    Ok(Decision { action, mirrors, ecmp: verdict.ecmp })
}

/// Whether there is such a mirror.
///
/// # Errors
/// `Invalid`.
pub(crate) fn check_mirror(
    index: u32,
    mirror: Option<MirrorId>,
    model: &Model,
) -> Result<(), ApiError> {
    match mirror.filter(|mirror| model.mirror(*mirror).is_none()) {
        Some(mirror) => {
            let what = format!("there is no mirror {mirror}");
            let object = format!("flow {index}");
            Err(ApiError::new(ErrorCode::Invalid, object, what).in_field("mirrors"))
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
