//! `vrfstats --get VRF`.

use api::Lookup;

use super::render;
use crate::tool::{Failure, Session};

pub(super) fn run(vrf: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    let rows = session.connect()?.get(Lookup::VrfStats(vrf))?;
    session.show(&rows, render::rows)
}
