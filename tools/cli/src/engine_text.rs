//! What `vrinfo` and `dpdkinfo` share: text that the dataplane composes (reference cli.md section 15).

use api::Description;
use serde_json::json;

use crate::json;
use crate::tool::{Failure, Session};

/// Passes a text through.
pub(crate) fn show(what: Description, session: &mut Session<'_>) -> Result<(), Failure> {
    let text = session.connect()?.describe(what)?;
    if session.json() {
        return Ok(json::object(session.out(), &json!({ "text": text }))?);
    }
    session.print(&text)
}
