//! `flow -f`, `-d`, `-i`, `-e` and `-F`.

use std::time::Instant;

use api::{FlowChange, Request};

use crate::tool::{Failure, Session};

pub(super) fn run(
    session: &mut Session<'_>,
    index: u32,
    change: FlowChange,
    mirror: Option<u32>,
) -> Result<(), Failure> {
    let mirror = match mirror {
        // Tables have no such mirror.
        Some(index) => Some(u8::try_from(index).map_err(|_| Failure::Usage)?),
        None => None,
    };
    session.connect()?.done(&Request::SetFlow { index, change, mirror })?;
    session.done()
}

pub(super) fn flush(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let start = Instant::now();
    session.text("Scanning flow table\n")?;
    let found = client.flow_table()?.used;
    let scanned = start.elapsed().as_millis();
    session.text(&format!("Found {found} entries in {scanned} msec\n"))?;
    session.text(&format!("Deleting {found} entries in flow-table\n"))?;
    let start = Instant::now();
    let before = client.flush_flows()?.used;
    let took = start.elapsed().as_millis();
    session.text(&format!("Deleted {before} entries in {took} msec\n"))?;
    session.done()
}
