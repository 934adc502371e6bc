//! `vif --list`.

use api::{Client, ClientError, Core, Rows, Table, VifInfo};

use super::render::{self, ShownLayers, Style};
use crate::tool::{Failure, Session};

pub(super) fn run(core: Option<Core>, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    session.text(&render::header())?;
    let style = Style { layout: session.common.layout, core, layers: ShownLayers::Counting };
    session.dump(&mut client, Table::Vif { core }, |rows| {
        let Rows::Vif(rows) = rows else { return String::new() };
        rows.iter().map(|row| render::vif(row, style, "")).collect()
    })
}

/// The interfaces there are, with the counters of one core or the sum.
pub(crate) fn all(client: &mut Client, core: Option<Core>) -> Result<Vec<VifInfo>, ClientError> {
    let mut all = Vec::new();
    for page in client.pages(Table::Vif { core }) {
        if let Rows::Vif(rows) = page?.rows {
            all.extend(rows);
        }
    }
    Ok(all)
}
