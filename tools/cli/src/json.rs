//! Rows as JSON: an array with one row a line, so that a million of them can be streamed and searched.

use std::io::{self, Write};

use api::{ApiError, ClientError, DropReason, DropStats, Rows, VrouterInfo};
use serde::Serialize;
use serde_json::{Value, json};

/// An array that is written while its rows arrive.
pub(crate) struct List {
    rows: usize,
}

impl List {
    /// An empty one.
    pub(crate) fn begin() -> List {
        List { rows: 0 }
    }

    /// Writes one row.
    pub(crate) fn row(&mut self, out: &mut dyn Write, row: &impl Serialize) -> io::Result<()> {
        out.write_all(if self.rows == 0 { b"[\n" } else { b",\n" })?;
        self.rows += 1;
        serde_json::to_writer(out, row).map_err(io::Error::from)
    }

    /// Writes rows of any kind.
    pub(crate) fn rows(&mut self, out: &mut dyn Write, rows: &Rows) -> io::Result<()> {
        match rows {
            Rows::Vif(rows) => self.all(out, rows),
            Rows::NextHop(rows) => self.all(out, rows),
            Rows::Route(rows) => self.all(out, rows),
            Rows::Bridge(rows) => self.all(out, rows),
            Rows::Label(rows) => self.all(out, rows),
            Rows::Vni(rows) => self.all(out, rows),
            Rows::Mirror(rows) => self.all(out, rows),
            Rows::ForwardingClass(rows) => self.all(out, rows),
            Rows::QosMap(rows) => self.all(out, rows),
            Rows::Vrf(rows) => self.all(out, rows),
            Rows::VrfStats(rows) => self.all(out, rows),
            Rows::DropLog(rows) => self.all(out, rows),
            Rows::Flow(rows) => self.all(out, rows),
        }
    }

    fn all(&mut self, out: &mut dyn Write, rows: &[impl Serialize]) -> io::Result<()> {
        rows.iter().try_for_each(|row| self.row(out, row))
    }

    /// Ends the array.
    pub(crate) fn end(self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(if self.rows == 0 { b"[]\n" } else { b"\n]\n" })
    }
}

/// A refusal, with the names the text of the original has no room for.
pub(crate) fn refused(refusal: &ApiError) -> String {
    let error = json!({
        "errno": refusal.code.errno(),
        "text": refusal.code.text(),
        "object": refusal.object,
        "field": refusal.field,
        "message": refusal.message,
    });
    format!("{}\n", json!({ "error": error }))
}

/// A connection that failed.
pub(crate) fn lost(error: &ClientError) -> String {
    let error = json!({ "errno": error.errno(), "message": error.to_string() });
    format!("{}\n", json!({ "error": error }))
}

/// Drop counters by the names that `--show` takes, zeros too.
pub(crate) fn drops(out: &mut dyn Write, stats: &DropStats) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &counters(stats))?;
    out.write_all(b"\n")
}

/// Drop counters as an object.
pub(crate) fn counters(stats: &DropStats) -> Value {
    let named = DropReason::ALL
        .iter()
        .map(|reason| (reason.name().to_owned(), stats.count(*reason).into()));
    Value::Object(named.collect())
}

/// A reply that is no table.
pub(crate) fn object(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Limits and settings: build facts, and each number by its name.
pub(crate) fn vrouter(out: &mut dyn Write, info: &VrouterInfo) -> io::Result<()> {
    let values = info.values.iter().map(|(name, value)| (format!("{name:?}"), (*value).into()));
    let values: serde_json::Map<String, Value> = values.collect();
    object(out, &json!({ "build": info.build, "values": values }))
}
