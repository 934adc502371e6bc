//! `mpls --get LABEL`.

use api::Lookup;

use super::render;
use crate::tool::{Failure, Session};

pub(super) fn run(label: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    session.text(render::HEADER)?;
    let rows = session.connect()?.get(Lookup::Label(label))?;
    session.show(&rows, render::rows)
}
