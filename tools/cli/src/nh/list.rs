//! `nh --list`.

use api::{Rows, Table};

use super::render::{self, Members};
use crate::tool::{Failure, Session};

pub(super) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    session.dump(&mut client, Table::NextHop, |rows| {
        let Rows::NextHop(rows) = rows else { return String::new() };
        rows.iter().map(|row| render::next_hop(row, Members::First16)).collect()
    })
}
