//! Errors of the model as refusals of the control socket.

use api::{ApiError, ErrorCode};
use tables::{ErrorCode as ModelCode, Key, Model, ModelError, Op};

/// The refusal that says what the model found wrong.
pub(crate) fn refusal(error: &ModelError) -> ApiError {
    let code = match error.code() {
        ModelCode::NotFound => ErrorCode::NotFound,
        ModelCode::Invalid => ErrorCode::Invalid,
        ModelCode::NotPermitted => ErrorCode::NotPermitted,
        ModelCode::Full => ErrorCode::NoMemory,
    };
    let text = error.to_string();
    let (object, field) = (error.object().to_string(), error.field());
    // The model's text starts with object and field; the answer carries them beside it.
    let message = text.strip_prefix(&object).and_then(|rest| rest.strip_prefix(": "));
    let message = message.unwrap_or(&text);
    let rest = message.strip_prefix(field).and_then(|rest| rest.strip_prefix(": "));
    ApiError::new(code, object, rest.unwrap_or(message)).in_field(field)
}

/// The same for what was asked by hand, with the numbers of the original (reference cli.md section 1.3).
pub(crate) fn refusal_by_hand(error: &ModelError) -> ApiError {
    let mut refusal = refusal(error);
    let kind = error.object();
    refusal.code = match (error, kind) {
        (ModelError::Missing { missing: Key::Vif(_), .. }, _) => ErrorCode::NoDevice,
        (ModelError::Missing { .. }, Key::Inet(..) | Key::Inet6(..) | Key::Bridge(..)) => {
            ErrorCode::NotFound
        }
        (ModelError::Missing { .. }, _) => ErrorCode::Invalid,
        (ModelError::AboveLimit { field: "id" | "index", .. }, _) => ErrorCode::NoDevice,
        (ModelError::Implicit { .. }, _) => ErrorCode::Invalid,
        _ => refusal.code,
    };
    refusal
}

/// Refuses to delete what is not there, where the original does: interfaces and next hops. Routes, labels and VNIs may
/// be missing.
///
/// # Errors
/// [`ErrorCode::NoDevice`] for an interface, [`ErrorCode::Invalid`] for anything else.
pub(crate) fn refuse_absent(model: &Model, ops: &[Op]) -> Result<(), ApiError> {
    let deleted = ops.iter().filter_map(|op| match op {
        Op::Delete(key) => Some(key),
        Op::Put(_) => None,
    });
    for key in deleted {
        let code = match key {
            Key::Vif(_) => ErrorCode::NoDevice,
            Key::Inet(..) | Key::Inet6(..) | Key::Bridge(..) | Key::Label(_) | Key::Vni(_) => {
                continue;
            }
            _ => ErrorCode::Invalid,
        };
        if model.get(key).is_none() {
            return Err(ApiError::new(code, key.to_string(), "does not exist"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tables::{LabelEntry, NhId, Object, Owner, VifId};
    use wire::Label;

    #[test]
    fn what_cannot_be_missing_is_refused_with_the_originals_numbers() {
        let model = Model::new();
        let code = |key| refuse_absent(&model, &[Op::Delete(key)]).map_err(|error| error.code);
        assert_eq!(code(Key::Vif(VifId(99))), Err(ErrorCode::NoDevice));
        assert_eq!(code(Key::NextHop(NhId(99))), Err(ErrorCode::Invalid));
        assert_eq!(code(Key::Label(Label::try_from(99).unwrap())), Ok(()));
        assert_eq!(code(Key::NextHop(NhId(0))), Ok(()), "it is there; the model refuses it");
    }

    #[test]
    fn a_label_for_a_missing_next_hop_is_an_invalid_argument() {
        let label = LabelEntry { label: Label::try_from(50).unwrap(), next_hop: NhId(31) };
        let put = [Op::Put(Object::Label(label))];
        let error = Model::new().apply(&put, Owner::Operator).unwrap_err();
        let refusal = refusal_by_hand(&error);
        assert_eq!(refusal.code, ErrorCode::Invalid);
        assert_eq!(refusal.to_string(), "label 50: next_hop: there is no next hop 31");
        assert_eq!(super::refusal(&error).code, ErrorCode::NotFound, "an agent may try again");
    }
}
