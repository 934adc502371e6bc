//! `mirror --delete INDEX`.

use api::{ApiError, ClientError, ErrorCode, Key, MirrorId, Op};

use crate::tool::{Failure, Session};

pub(super) fn run(index: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    session.operate(vec![Op::Delete(Key::Mirror(id(index)?))])
}

/// An index of the table; others are refused as the dataplane would.
pub(super) fn id(index: u32) -> Result<MirrorId, Failure> {
    let beyond =
        || ApiError::new(ErrorCode::NoDevice, format!("mirror {index}"), "is beyond the table");
    let id = u8::try_from(index).ok().filter(|index| *index < u8::MAX);
    id.map(MirrorId).ok_or_else(|| Failure::Client(ClientError::Refused(beyond())))
}
