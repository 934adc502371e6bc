//! A query as OpenContrail's users write it, over rows (reference control-plane.md section 4.10).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::store::Row;
use super::{endpoint, store};

/// The body of a query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) table: String,
    #[serde(default = "ten_minutes_ago")]
    start_time: Value,
    #[serde(default = "now")]
    end_time: Value,
    select_fields: Vec<String>,
    /// Some of these lists, all of a list.
    #[serde(default, rename = "where")]
    wanted: Option<Vec<Vec<Term>>>,
    /// All of these.
    #[serde(default)]
    filter: Option<Vec<Term>>,
    /// 1 ascending, 2 descending.
    #[serde(default)]
    sort: Option<u8>,
    #[serde(default)]
    sort_fields: Option<Vec<String>>,
    #[serde(default)]
    limit: Option<usize>,
    /// 1: from workloads of this node, 0: others.
    #[serde(default)]
    dir: Option<u8>,
    /// Of the session tables: `client` or `server`.
    #[serde(default)]
    session_type: Option<String>,
}

fn ten_minutes_ago() -> Value {
    json!("now-10m")
}

fn now() -> Value {
    json!("now")
}

/// A condition on a column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Term {
    name: String,
    value: Value,
    op: u8,
    #[serde(default)]
    value2: Option<Value>,
}

/// What is wrong with a query: the field and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) String);

/// A table that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// Sessions, added up.
    Records,
    /// What was recorded, in time.
    Series,
    /// Sessions as their local ends see them, added up.
    Ends,
    /// The same, in time.
    EndSeries,
}

impl Table {
    pub(super) const NAMES: [(&str, Table); 4] = [
        ("FlowRecordTable", Table::Records),
        ("FlowSeriesTable", Table::Series),
        ("SessionRecordTable", Table::Ends),
        ("SessionSeriesTable", Table::EndSeries),
    ];

    /// Which family of tables it is of.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Table::Records | Table::Series => "FLOW",
            Table::Ends | Table::EndSeries => "SESSION",
        }
    }

    /// Whether a column can be added up.
    fn counts(self, column: &str) -> bool {
        match self {
            Table::Records => matches!(column, "agg-packets" | "agg-bytes"),
            Table::Series => matches!(column, "packets" | "bytes"),
            Table::Ends | Table::EndSeries => endpoint::is_count(column),
        }
    }

    pub(super) fn columns(self) -> Vec<&'static str> {
        match self {
            Table::Records => store::records(),
            Table::Series => store::series(),
            Table::Ends => endpoint::records(),
            Table::EndSeries => endpoint::series(),
        }
    }
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Selected {
    Plain(&'static str),
    /// Seconds of a step in time, and what it is called.
    Step(u64, String),
    Sum(&'static str, String),
    Count(String),
}

impl Query {
    pub(super) fn table(&self) -> Result<Table, Wrong> {
        let found = Table::NAMES.iter().find(|(name, _)| *name == self.table);
        let names = Table::NAMES.map(|(name, _)| name).join(", ");
        let wrong = || Wrong(format!("table: \"{}\" is none of {names}", self.table));
        found.map(|(_, table)| *table).ok_or_else(wrong)
    }

    /// Microseconds since 1970 that it begins and ends with.
    pub(super) fn between(&self, now: u64) -> Result<(u64, u64), Wrong> {
        Ok((time("start_time", &self.start_time, now)?, time("end_time", &self.end_time, now)?))
    }

    /// The answer over a table's rows.
    pub(super) fn answer(&self, table: Table, rows: Vec<Row>) -> Result<Vec<Value>, Wrong> {
        let selected = self.selected(table)?;
        let lists = self.wanted.iter().flatten().map(|list| conditions(list, table));
        let wanted: Vec<Vec<Condition<'_>>> = lists.collect::<Result<_, _>>()?;
        let filter = conditions(self.filter.as_deref().unwrap_or_default(), table)?;
        let side = self.side(table)?;
        let fits = |row: &Row| {
            let all = |list: &[Condition<'_>]| list.iter().all(|condition| condition.fits(row));
            side.as_ref().is_none_or(|(column, value)| row.get(column) == Some(value))
                && (wanted.is_empty() || wanted.iter().any(|list| all(list)))
                && all(&filter)
        };
        let rows = rows.into_iter().filter(fits);
        let mut answer = grouped(&selected, rows);
        self.order(&mut answer, &selected)?;
        answer.truncate(self.limit.unwrap_or(usize::MAX));
        Ok(answer.into_iter().map(Value::Object).collect())
    }

    /// Which rows of a session are meant, if not all: the column that tells, and what is in it.
    fn side(&self, table: Table) -> Result<Option<(&'static str, Value)>, Wrong> {
        match (table.kind(), self.dir, self.session_type.as_deref()) {
            (_, None, None) => Ok(None),
            ("FLOW", Some(dir), None) => Ok(Some(("direction_ing", json!(dir)))),
            ("FLOW", _, Some(_)) => {
                Err(Wrong("session_type: is for the session tables; here it is dir".to_owned()))
            }
            (_, Some(_), _) => {
                Err(Wrong("dir: is for the flow tables; here it is session_type".to_owned()))
            }
            (_, None, Some(side @ ("client" | "server"))) => {
                Ok(Some(("session_type", json!(side))))
            }
            (_, None, Some(other)) => {
                Err(Wrong(format!("session_type: \"{other}\" is neither client nor server")))
            }
        }
    }

    fn selected(&self, table: Table) -> Result<Vec<Selected>, Wrong> {
        if self.select_fields.is_empty() {
            return Err(Wrong("select_fields: names no field".to_owned()));
        }
        self.select_fields.iter().map(|field| select(table, field)).collect()
    }

    fn order(&self, answer: &mut [Map<String, Value>], of: &[Selected]) -> Result<(), Wrong> {
        let fields: Vec<&str> = self.sort_fields.iter().flatten().map(String::as_str).collect();
        for field in &fields {
            if !of.iter().any(|selected| selected.name() == *field) {
                return Err(Wrong(format!("sort_fields: \"{field}\" is not selected")));
            }
        }
        let descending = match self.sort {
            None | Some(1) => false,
            Some(2) => true,
            Some(other) => return Err(Wrong(format!("sort: {other} is neither 1 nor 2"))),
        };
        answer.sort_by(|a, b| {
            let by_field = |field: &&str| compare(a.get(*field), b.get(*field));
            let order = fields.iter().map(by_field).find(|order| order.is_ne());
            let order = order.unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        });
        Ok(())
    }
}

impl Selected {
    fn name(&self) -> &str {
        match self {
            Selected::Plain(name) => name,
            Selected::Step(_, name) | Selected::Sum(_, name) | Selected::Count(name) => name,
        }
    }
}

fn select(table: Table, field: &str) -> Result<Selected, Wrong> {
    let column = |name: &str| table.columns().into_iter().find(|column| *column == name);
    let none = || Wrong(format!("select_fields: \"{field}\" is no column of this table"));
    let lower = field.to_ascii_lowercase();
    if let Some(inner) = lower.strip_prefix("sum(").and_then(|rest| rest.strip_suffix(')')) {
        let name = column(inner).filter(|name| table.counts(name)).ok_or_else(none)?;
        return Ok(Selected::Sum(name, field.to_owned()));
    }
    let count = if table.kind() == "FLOW" { "flow_count" } else { "sample_count" };
    if field == count {
        return Ok(Selected::Count(field.to_owned()));
    }
    if let Some(seconds) = field.strip_prefix("T=") {
        let seconds: u64 = seconds.parse().ok().filter(|it| *it > 0).ok_or_else(none)?;
        column("T").ok_or_else(none)?;
        return Ok(Selected::Step(seconds, field.to_owned()));
    }
    column(field).map(Selected::Plain).ok_or_else(none)
}

/// Rows with the selected columns; if some are sums, one for each combination of the others.
fn grouped(of: &[Selected], rows: impl Iterator<Item = Row>) -> Vec<Map<String, Value>> {
    let sums = of.iter().any(|it| matches!(it, Selected::Sum(..) | Selected::Count(_)));
    let mut answer: Vec<Map<String, Value>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        let mut plain = Map::new();
        for selected in of {
            match selected {
                Selected::Plain(name) => {
                    plain.insert((*name).to_owned(), row.get(name).cloned().unwrap_or_default());
                }
                Selected::Step(seconds, name) => {
                    let step = seconds.saturating_mul(1_000_000).max(1);
                    let at = row.get("T").and_then(Value::as_u64).unwrap_or(0);
                    plain.insert(name.clone(), json!(at / step * step));
                }
                Selected::Sum(..) | Selected::Count(_) => {}
            }
        }
        let key = if sums { Value::Object(plain.clone()).to_string() } else { String::new() };
        let next = answer.len();
        let at = if sums { *places.entry(key).or_insert(next) } else { next };
        if at == next {
            answer.push(plain);
        }
        let Some(group) = answer.get_mut(at) else { continue };
        for selected in of {
            let (name, more) = match selected {
                Selected::Sum(column, name) => {
                    (name, row.get(column).and_then(Value::as_u64).unwrap_or(0))
                }
                Selected::Count(name) => (name, 1),
                Selected::Plain(_) | Selected::Step(..) => continue,
            };
            let before = group.get(name).and_then(Value::as_u64).unwrap_or(0);
            group.insert(name.clone(), json!(before + more));
        }
    }
    answer
}

const EQUAL: u8 = 1;
const NOT_EQUAL: u8 = 2;
const IN_RANGE: u8 = 3;
const AT_MOST: u8 = 5;
const AT_LEAST: u8 = 6;
const PREFIX: u8 = 7;
const EXPRESSION: u8 = 8;

/// A term that is in order.
struct Condition<'q> {
    term: &'q Term,
    /// Of [`EXPRESSION`].
    expression: Option<Regex>,
}

fn conditions(terms: &[Term], table: Table) -> Result<Vec<Condition<'_>>, Wrong> {
    terms.iter().map(|term| term.check(table)).collect()
}

impl Term {
    fn check(&self, table: Table) -> Result<Condition<'_>, Wrong> {
        if !table.columns().contains(&self.name.as_str()) {
            return Err(Wrong(format!("where: \"{}\" is no column of this table", self.name)));
        }
        match self.op {
            EQUAL | NOT_EQUAL | AT_MOST | AT_LEAST | PREFIX => {
                Ok(Condition { term: self, expression: None })
            }
            IN_RANGE if self.value2.is_some() => Ok(Condition { term: self, expression: None }),
            IN_RANGE => Err(Wrong(format!("where: {}: op 3 needs value2", self.name))),
            EXPRESSION => match Regex::new(&text(&self.value)) {
                Ok(expression) => Ok(Condition { term: self, expression: Some(expression) }),
                Err(error) => Err(Wrong(format!("where: {}: op 8: {error}", self.name))),
            },
            other => Err(Wrong(format!(
                "where: {}: op {other} is none of 1 (equal), 2 (not equal), 3 (in range), 5 (at most), 6 (at least), \
                 7 (prefix), 8 (regular expression)",
                self.name
            ))),
        }
    }

    fn fits(&self, row: &Row, expression: Option<&Regex>) -> bool {
        let Some(found) = row.get(self.name.as_str()) else { return false };
        let to = |wanted: &Value| compare(Some(found), Some(&like(found, wanted)));
        match self.op {
            EXPRESSION => expression.is_some_and(|expression| expression.is_match(&text(found))),
            EQUAL => to(&self.value).is_eq(),
            NOT_EQUAL => to(&self.value).is_ne(),
            IN_RANGE => {
                let upper = self.value2.as_ref().is_some_and(|upper| to(upper).is_le());
                to(&self.value).is_ge() && upper
            }
            AT_MOST => to(&self.value).is_le(),
            AT_LEAST => to(&self.value).is_ge(),
            PREFIX => text(found).starts_with(&text(&self.value)),
            _ => false,
        }
    }
}

impl Condition<'_> {
    fn fits(&self, row: &Row) -> bool {
        self.term.fits(row, self.expression.as_ref())
    }
}

/// A value as it is written in text where the column's is text, and as a number where that is one.
fn like(column: &Value, wanted: &Value) -> Value {
    match (column, wanted) {
        (Value::Number(_), Value::String(text)) => {
            text.parse::<u64>().map_or_else(|_| wanted.clone(), |number| json!(number))
        }
        (Value::String(_), Value::Number(number)) => json!(number.to_string()),
        _ => wanted.clone(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            a.total_cmp(&b)
        }
        (Some(a), Some(b)) => text(a).cmp(&text(b)),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// Microseconds since 1970, or `now`, `now-10m` with s, m, h, d.
fn time(field: &str, value: &Value, now: u64) -> Result<u64, Wrong> {
    let wrong = || {
        let allowed = "microseconds since 1970, now, or as now-10m (s, m, h, d)";
        Wrong(format!("{field}: {value} is no time; allowed are {allowed}"))
    };
    if let Some(number) = value.as_u64() {
        return Ok(number);
    }
    let text = value.as_str().ok_or_else(wrong)?.trim();
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    if text == "now" {
        return Ok(now);
    }
    let ago = text.strip_prefix("now").map(str::trim).and_then(|rest| rest.strip_prefix('-'));
    let ago = ago.ok_or_else(wrong)?.trim();
    let unit = match ago.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let digits = ago.get(..ago.len() - 1).unwrap_or_default();
    let count: u64 = digits.trim().parse().map_err(|_| wrong())?;
    Ok(now.saturating_sub(count.saturating_mul(unit).saturating_mul(1_000_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000_000;

    fn row(from: &'static str, port: u16, bytes: u64, action: &'static str) -> Row {
        Row::from([
            ("sourcevn", json!(from)),
            ("dport", json!(port)),
            ("bytes", json!(bytes)),
            ("action", json!(action)),
            ("direction_ing", json!(1)),
            ("T", json!(NOW - bytes)),
        ])
    }

    fn ask(query: Value) -> Result<Vec<Value>, Wrong> {
        let query: Query = serde_json::from_value(query).map_err(|it| Wrong(it.to_string()))?;
        let rows = vec![
            row("red", 80, 100, "pass"),
            row("red", 443, 50, "pass"),
            row("red", 80, 7, "pass"),
            row("blue", 80, 9, "deny"),
        ];
        query.between(NOW)?;
        query.answer(query.table()?, rows)
    }

    fn series(select: &[&str], more: Value) -> Value {
        let mut query = json!({ "table": "FlowSeriesTable", "select_fields": select });
        let more = more.as_object().cloned().unwrap_or_default();
        query.as_object_mut().unwrap().extend(more);
        query
    }

    fn session(more: Value) -> Value {
        let mut query = json!({ "table": "SessionSeriesTable", "select_fields": ["vn"] });
        query.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        query
    }

    #[test]
    fn session_tables_have_their_own_columns_and_sums() {
        let fields = ["vn", "SUM(forward_sampled_bytes)", "sample_count"];
        let query = session(json!({"select_fields": fields, "session_type": "client"}));
        let query: Query = serde_json::from_value(query).unwrap();
        let row = |vn: &str, side: &str, bytes: u64| {
            Row::from([
                ("vn", json!(vn)),
                ("session_type", json!(side)),
                ("forward_sampled_bytes", json!(bytes)),
            ])
        };
        let rows = vec![row("red", "client", 5), row("red", "server", 9), row("red", "client", 7)];
        let answer = query.answer(query.table().unwrap(), rows).unwrap();
        let sums = json!({"vn": "red", "SUM(forward_sampled_bytes)": 12, "sample_count": 2});
        assert_eq!(answer, [sums]);
    }

    #[test]
    fn sums_are_by_what_else_is_selected() {
        let all = series(&["sourcevn", "action", "sum(bytes)", "flow_count"], json!({}));
        assert_eq!(
            ask(all).unwrap(),
            [
                json!({"sourcevn": "red", "action": "pass", "sum(bytes)": 157, "flow_count": 3}),
                json!({"sourcevn": "blue", "action": "deny", "sum(bytes)": 9, "flow_count": 1}),
            ]
        );
        let steps = ask(series(&["T=60", "SUM(bytes)"], json!({}))).unwrap();
        assert_eq!(steps, [json!({"T=60": NOW - 60_000_000, "SUM(bytes)": 166})]);
    }

    #[test]
    fn where_is_some_of_all_of_and_values_may_be_text_or_numbers() {
        let term =
            |name: &str, op: u8, value: Value| json!({"name": name, "op": op, "value": value});
        for (wanted, bytes) in [
            (json!([[term("dport", 1, json!("443"))]]), vec![50]),
            (json!([[term("dport", 2, json!(443))]]), vec![100, 7, 9]),
            (
                json!([[term("sourcevn", 7, json!("bl"))], [term("bytes", 6, json!(100))]]),
                vec![100, 9],
            ),
            (
                json!([[term("sourcevn", 1, json!("red")), term("bytes", 5, json!("50"))]]),
                vec![50, 7],
            ),
            (json!([[{"name": "dport", "op": 3, "value": 81, "value2": 500}]]), vec![50]),
            (json!([[term("sourcevn", 8, json!("^r.d$"))]]), vec![100, 50, 7]),
            (json!([[term("dport", 8, json!("^4"))]]), vec![50]),
            (json!([]), vec![100, 50, 7, 9]),
        ] {
            let answer = ask(series(&["bytes"], json!({ "where": wanted }))).unwrap();
            let found: Vec<u64> = answer.iter().filter_map(|row| row["bytes"].as_u64()).collect();
            assert_eq!(found, bytes, "{wanted}");
        }
        assert_eq!(ask(series(&["bytes"], json!({"dir": 0}))).unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn answers_are_sorted_and_cut() {
        let more = json!({"sort": 2, "sort_fields": ["bytes"], "limit": 2});
        let answer = ask(series(&["bytes"], more)).unwrap();
        assert_eq!(answer, [json!({"bytes": 100}), json!({"bytes": 50})]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (query, words) in [
            (json!({"table": "X", "select_fields": ["T"]}), "table: \"X\" is none of"),
            (series(&["colour"], json!({})), "select_fields: \"colour\" is no column"),
            (series(&[], json!({})), "select_fields: names no field"),
            (series(&["sum(dport)"], json!({})), "select_fields: \"sum(dport)\""),
            (series(&["T=0"], json!({})), "select_fields: \"T=0\""),
            (
                series(&["T"], json!({"start_time": "yesterday"})),
                "start_time: \"yesterday\" is no time",
            ),
            (series(&["T"], json!({"sort": 3})), "sort: 3 is neither"),
            (
                series(&["T"], json!({"sort_fields": ["bytes"]})),
                "sort_fields: \"bytes\" is not selected",
            ),
            (
                series(&["T"], json!({"where": [[{"name": "x", "op": 1, "value": 1}]]})),
                "where: \"x\" is no column",
            ),
            (
                series(&["T"], json!({"where": [[{"name": "T", "op": 9, "value": 1}]]})),
                "where: T: op 9 is none of",
            ),
            (
                series(&["T"], json!({"where": [[{"name": "T", "op": 8, "value": "("}]]})),
                "where: T: op 8: regex parse error",
            ),
            (series(&["T"], json!({"session_type": "client"})), "session_type: is for the session"),
            (session(json!({"dir": 1})), "dir: is for the flow tables"),
            (session(json!({"session_type": "both"})), "session_type: \"both\" is neither"),
            (session(json!({"select_fields": ["flow_count"]})), "\"flow_count\" is no column"),
            (session(json!({"select_fields": ["sum(vn)"]})), "\"sum(vn)\" is no column"),
            (
                series(&["T"], json!({"where": [[{"name": "T", "op": 3, "value": 1}]]})),
                "where: T: op 3 needs value2",
            ),
            (series(&["T"], json!({"colour": 1})), "unknown field `colour`"),
        ] {
            let Wrong(told) = ask(query).unwrap_err();
            assert!(told.contains(words), "{told}");
        }
        let minute = 60_000_000;
        for (text, wanted) in [
            ("now", NOW),
            ("now-10m", NOW - 10 * minute),
            ("now - 2h", NOW - 120 * minute),
            ("77", 77),
        ] {
            assert_eq!(time("end_time", &json!(text), NOW), Ok(wanted), "{text}");
        }
        for text in ["now-", "now-5", "now-5y", "now-xm", "-5m", ""] {
            assert!(time("end_time", &json!(text), NOW).is_err(), "{text}");
        }
    }
}
