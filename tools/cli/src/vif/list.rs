//! `vif --list`.

use api::{Core, Rows, Table};

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
