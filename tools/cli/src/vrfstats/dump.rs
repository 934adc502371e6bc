//! `vrfstats --dump`.

use api::Table;

use super::render;
use crate::tool::{Failure, Session};

pub(super) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    session.dump(&mut client, Table::VrfStats, render::rows)
}
