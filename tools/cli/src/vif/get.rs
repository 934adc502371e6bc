//! `vif --get INDEX`.

use api::{Client, ClientError, Core, DropScope, DropStats, Lookup, Rows, VifInfo};

use serde::Serialize;

use super::port;
use super::render::{self, ShownLayers, Style};
use crate::dropstats::render as drops;
use crate::json;
use crate::tool::{Failure, Session};

/// What is shown beside the interface itself.
#[derive(Clone, Copy)]
pub(super) struct Extra {
    /// Its drop counters.
    pub(super) drops: bool,
    /// Its port.
    pub(super) port: bool,
}

pub(super) fn run(
    lookup: Lookup,
    core: Option<Core>,
    extra: Extra,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let mut client = session.connect()?;
    session.text(&render::header())?;
    let row = fetch(&mut client, lookup)?;
    let stats = extra.drops.then(|| client.drops(DropScope::Vif(row.id), core)).transpose()?;
    if session.json() {
        return print_json(&row, stats.as_ref(), session);
    }
    let style = Style { layout: session.common.layout, core, layers: ShownLayers::Counting };
    let lines = if extra.port { port::lines(row.port.as_ref()) } else { String::new() };
    session.print(&render::vif(&row, style, &lines))?;
    session.print(&render::vlan_table(&row))?;
    let Some(stats) = stats else { return Ok(()) };
    if stats.per_core_missing {
        session.print("Failed to maintain PerCPU stats for this interface\n\n")?;
    }
    if let Some(core) = core {
        session.print(&drops::core_title(core))?;
    }
    session.print(&drops::counters(&stats, session.common.layout))
}

/// One interface.
pub(crate) fn fetch(client: &mut Client, lookup: Lookup) -> Result<VifInfo, ClientError> {
    match client.get(lookup)? {
        Rows::Vif(rows) => rows.into_iter().next(),
        _ => None,
    }
    .ok_or(ClientError::Unexpected { got: "other rows", wanted: "an interface" })
}

/// A row with its drop counters beside the other members.
#[derive(Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    vif: &'a VifInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop_stats: Option<serde_json::Value>,
}

fn print_json(
    vif: &VifInfo,
    stats: Option<&DropStats>,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let mut list = json::List::begin();
    list.row(session.out(), &Row { vif, drop_stats: stats.map(json::counters) })?;
    Ok(list.end(session.out())?)
}
