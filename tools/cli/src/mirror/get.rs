//! `mirror --get INDEX`.

use api::Lookup;

use super::render;
use crate::tool::{Failure, Session};

pub(super) fn run(index: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    session.text(render::HEADER)?;
    let rows = session.connect()?.get(Lookup::Mirror(index))?;
    session.show(&rows, render::rows)
}
