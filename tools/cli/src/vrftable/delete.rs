//! `vrftable --delete VRF`.

use api::{ApiError, ClientError, ErrorCode, Key, Op, VrfId};

use crate::tool::{Failure, Session};

pub(super) fn run(vrf: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    session.operate(vec![Op::Delete(Key::VrfTable(id(vrf)?))])
}

/// A number that fits an index; others are refused as the dataplane would.
pub(super) fn id(vrf: u32) -> Result<VrfId, Failure> {
    let beyond = || ApiError::new(ErrorCode::NoDevice, format!("vrf {vrf}"), "is beyond the table");
    let id = u16::try_from(vrf).map(VrfId);
    id.map_err(|_| Failure::Client(ClientError::Refused(beyond())))
}
