//! `vrouter --get-log-level` and `vrouter --get-enabled-log-types`.

use super::render;
use crate::json;
use crate::tool::{Failure, Session};

pub(super) fn level(session: &mut Session<'_>) -> Result<(), Failure> {
    show(session, render::level)
}

pub(super) fn types(session: &mut Session<'_>) -> Result<(), Failure> {
    show(session, render::types)
}

fn show(
    session: &mut Session<'_>,
    render: impl Fn(&api::VrouterInfo) -> String,
) -> Result<(), Failure> {
    let info = session.connect()?.vrouter()?;
    if session.json() {
        return Ok(json::vrouter(session.out(), &info)?);
    }
    session.print(&render(&info))
}
