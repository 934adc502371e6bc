//! `nh --get ID`: the next hop, then its members depth first (reference cli.md section 3.4).

use api::{Client, ClientError, Lookup, NextHopDetail, NextHopInfo, NhId, Rows};

use super::render::{self, Members};
use crate::json;
use crate::tool::{Failure, Session, refused};

/// A composite that contains itself would never end; no real one is this deep.
const DEEPEST: usize = 16;

pub(super) fn run(id: NhId, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let first = fetch(&mut client, id)?;
    if !session.json() {
        return text(&mut client, &first, session, 0);
    }
    let mut list = json::List::begin();
    rows(&mut client, &first, session, &mut list, 0)?;
    Ok(list.end(session.out())?)
}

fn text(
    client: &mut Client,
    row: &NextHopInfo,
    session: &mut Session<'_>,
    depth: usize,
) -> Result<(), Failure> {
    session.print(&render::next_hop(row, Members::All))?;
    for child in children(row, depth) {
        match fetch(client, child) {
            Ok(row) => text(client, &row, session, depth + 1)?,
            Err(ClientError::Refused(refusal)) => {
                let line = refused(&refusal, session.common.format);
                session.print(&line)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn rows(
    client: &mut Client,
    row: &NextHopInfo,
    session: &mut Session<'_>,
    list: &mut json::List,
    depth: usize,
) -> Result<(), Failure> {
    list.row(session.out(), row)?;
    for child in children(row, depth) {
        match fetch(client, child) {
            Ok(row) => rows(client, &row, session, list, depth + 1)?,
            // The parent names it; that it has no row says that it is missing.
            Err(ClientError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn fetch(client: &mut Client, id: NhId) -> Result<NextHopInfo, ClientError> {
    match client.get(Lookup::NextHop(id))? {
        Rows::NextHop(rows) => rows.into_iter().next(),
        _ => None,
    }
    .ok_or(ClientError::Unexpected { got: "other rows", wanted: "a next hop" })
}

fn children(row: &NextHopInfo, depth: usize) -> Vec<NhId> {
    if depth >= DEEPEST {
        return Vec::new();
    }
    let members = match &row.detail {
        NextHopDetail::Composite { members, .. } => members.as_slice(),
        _ => std::slice::from_ref(&row.direct),
    };
    members.iter().flatten().map(|member| member.next_hop).collect()
}
