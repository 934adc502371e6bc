//! `dropstats --drop-type`, `--min-log` and `--clear-drop-log`: what is logged.

use api::{Request, VrouterValue};

use super::{no_reason, reason};
use crate::tool::{Failure, Session};

/// Stands for all reasons.
const EVERY: &str = "VP_DROP_MAX";

pub(super) fn set_reason(name: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let to = match reason(name) {
        _ if name == EVERY => VrouterValue::EVERY_REASON,
        Some(reason) => reason as u32,
        None => return Err(no_reason()),
    };
    let mut client = session.connect()?;
    let before = client.vrouter()?.value(VrouterValue::DropLogReason);
    if before == to {
        return session.text(&format!("Pkt drop type already set to {name} \n"));
    }
    client.done(&Request::Set { value: VrouterValue::DropLogReason, to })?;
    if session.json() {
        return session.done();
    }
    session.print(&format!("\nDropstats log type set successfully {name}\n\n"))
}

pub(super) fn set_minimum(to: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    let value = VrouterValue::DropLogMinimum;
    session.connect()?.done(&Request::Set { value, to })?;
    session.done()
}

pub(super) fn clear(session: &mut Session<'_>) -> Result<(), Failure> {
    session.connect()?.done(&Request::ClearDropLog)?;
    session.done()
}
