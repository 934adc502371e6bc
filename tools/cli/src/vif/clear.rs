//! `vif --clear`.

use api::{Core, Lookup, Request, VifId};

use super::get::fetch;
use crate::tool::{Failure, Session};

pub(super) fn run(
    vif: Option<VifId>,
    core: Option<Core>,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let name = vif.map(|id| fetch(&mut client, Lookup::Vif { id, core: None })).transpose()?;
    client.done(&Request::ClearVifStats { vif, core })?;
    if session.json() {
        return session.print("{}\n");
    }
    let name = name.map(|row| row.name);
    session.print(&format!("\n{} \n\n", sentence(name.as_deref(), core)))
}

/// The original's words, its slip in the plural included.
fn sentence(name: Option<&str>, core: Option<Core>) -> String {
    match (name, core) {
        (None, None) => "Vif stats cleared successfully on all cores for all interfaces".to_owned(),
        (Some(name), None) => format!("Vif stats cleared successfully for {name} on all cores"),
        (None, Some(core)) => {
            format!("Vif stats cleared successfully on core {} for all interfacess", core.0)
        }
        (Some(name), Some(core)) => {
            format!("Vif stats cleared successfully for {name} on core {}", core.0)
        }
    }
}
