//! `flow -l`, `flow --match` and `flow --get`.

use api::{FlowInfo, Lookup, Rows, Table};

use super::matching::Wanted;
use super::{detail, render};
use crate::json;
use crate::tool::{Failure, Session};

pub(super) fn run(
    session: &mut Session<'_>,
    evicted: bool,
    wanted: Option<Wanted>,
) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let table = client.flow_table()?;
    session.text(&render::header(&table))?;
    if let Some(wanted) = &wanted {
        session.text(&wanted.banner())?;
    }
    session.text(render::COLUMNS)?;
    let is_shown = |flow: &FlowInfo| {
        let listed = evicted || flow.flags & FlowInfo::EVICTED == 0;
        listed && wanted.as_ref().is_none_or(|wanted| wanted.is(flow))
    };
    let mut list = json::List::begin();
    for page in client.pages(Table::Flow) {
        let Rows::Flow(rows) = page?.rows else { continue };
        for flow in rows.iter().filter(|flow| is_shown(flow)) {
            if session.json() {
                list.row(session.out(), flow)?;
            } else {
                session.print(&render::record(flow))?;
            }
        }
    }
    if session.json() {
        list.end(session.out())?;
    }
    Ok(())
}

/// One flow; `with_rules`: and what decided about it.
pub(super) fn get(session: &mut Session<'_>, index: u32, with_rules: bool) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let table = client.flow_table()?;
    if index >= table.entries {
        let most = table.entries.saturating_sub(1);
        let line = format!("Flow index {index} is greater than available indices ({most})");
        return Err(Failure::Ended(line, 255));
    }
    let found = client.get(Lookup::Flow(index));
    let rows = match found {
        Ok(rows) => rows,
        Err(api::ClientError::Refused(refusal)) if refusal.code == api::ErrorCode::NotFound => {
            return session.print(&format!("Flow index {index} is not active\n"));
        }
        Err(other) => return Err(other.into()),
    };
    let Rows::Flow(flows) = &rows else { return Ok(()) };
    let Some(flow) = flows.first() else { return Ok(()) };
    if session.json() {
        return session.show(&rows, |_| String::new());
    }
    if flow.flags & FlowInfo::EVICTED != 0 {
        let line = format!("Flow at index {index} is EVICTED. Use --show-evicted\n");
        return session.print(&line);
    }
    session.print(&detail::text(&mut client, flow)?)?;
    if with_rules { session.print(&detail::rules(flow)) } else { Ok(()) }
}
