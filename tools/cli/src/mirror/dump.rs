//! `mirror --dump`.

use api::Table;

use super::render;
use crate::tool::{Failure, Session};

pub(super) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    session.text(render::HEADER)?;
    let mut client = session.connect()?;
    session.dump(&mut client, Table::Mirror, render::rows)
}
