//! `vxlan --get VNID`.

use api::Lookup;

use super::render;
use crate::tool::{Failure, Session};

pub(super) fn run(vni: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    session.text(render::HEADER)?;
    let rows = session.connect()?.get(Lookup::Vni(vni))?;
    session.show(&rows, render::rows)
}
