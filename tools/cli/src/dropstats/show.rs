//! `dropstats`, `dropstats --core N` and `dropstats --debug`.

use api::{Core, DropReason, DropScope};

use super::render;
use crate::json;
use crate::tool::{Failure, Session};

pub(super) fn run(core: Option<Core>, session: &mut Session<'_>) -> Result<(), Failure> {
    let stats = session.connect()?.drops(DropScope::System, core)?;
    if session.json() {
        return Ok(json::drops(session.out(), &stats)?);
    }
    if let Some(core) = core {
        // Twice, as the original does.
        session.print(&render::core_title(core).repeat(2))?;
    }
    session.print(&render::counters(&stats, session.common.layout))
}

pub(super) fn debug(session: &mut Session<'_>) -> Result<(), Failure> {
    let stats = session.connect()?.drops(DropScope::System, None)?;
    if session.json() {
        return Ok(json::drops(session.out(), &stats)?);
    }
    session.print(&render::counter(DropReason::ClonedOriginal, &stats))
}
