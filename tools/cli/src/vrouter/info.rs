//! `vrouter --info`.

use super::render;
use crate::json;
use crate::tool::{Failure, Session};

pub(super) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let info = session.connect()?.vrouter()?;
    if session.json() {
        return Ok(json::vrouter(session.out(), &info)?);
    }
    let layout = session.common.layout;
    session.print(&render::info(&info, layout))
}
