//! `dropstats --clear`.

use api::Request;

use crate::tool::{Failure, Session};

pub(super) fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    session.connect()?.done(&Request::ClearDrops)?;
    if session.json() {
        return session.print("{}\n");
    }
    session.print("\nDropstats counters cleared successfully on all cores \n\n")
}
