//! `vrmemstats`.

use super::render;
use crate::json;
use crate::tool::{Failure, Session};

pub(super) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let stats = session.connect()?.memory()?;
    if session.json() {
        return Ok(json::object(session.out(), &stats)?);
    }
    session.print(&render::memory(&stats))
}
