//! `dropstats --log N`: the last dropped packets.

use api::{Core, DropReason, Rows, Table, VrouterValue};

use super::{log_text, pcap};
use crate::tool::{Failure, Session};

/// Whose packets are wanted.
pub(super) struct Wanted {
    /// A core counted from 1; 0 is all.
    pub(super) core: u32,
    /// Only dropped for this.
    pub(super) reason: Option<DropReason>,
}

pub(super) fn run(
    wanted: Wanted,
    file: Option<&str>,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let info = client.vrouter()?;
    let (enabled, support) =
        (info.value(VrouterValue::DropLog), info.value(VrouterValue::DropLogSupport));
    let core = wanted.core.checked_sub(1).map(Core);
    let table = Table::DropLog { core, reason: wanted.reason };
    if let Some(file) = file {
        return pcap::write(&mut client, table, file, session);
    }
    if enabled != 1 {
        return session.text(&log_text::disabled(enabled));
    }
    if support != 1 {
        return session.text(&log_text::unsupported(support));
    }
    if session.json() {
        return session.dump(&mut client, table, |_| String::new());
    }
    let cores = info.value(VrouterValue::DropLogCores);
    let mut begun = false;
    for page in client.pages(table) {
        let Rows::DropLog(rows) = page?.rows else { continue };
        for row in &rows {
            if !begun {
                session.print(&log_text::header(cores, row.core))?;
                begun = true;
            }
            session.print(&log_text::entry(row))?;
        }
    }
    Ok(())
}
