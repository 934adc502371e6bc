//! The requests there are: tables, their columns, queries.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::Analytics;
use super::query::{Query, Table, Wrong};

pub(super) fn routes(analytics: Arc<Analytics>) -> axum::Router {
    axum::Router::new()
        .route("/analytics/tables", get(tables))
        .route("/analytics/table/{name}/schema", get(schema))
        .route("/analytics/query", post(query))
        .with_state(analytics)
}

async fn tables() -> Response {
    let names = Table::NAMES.map(|(name, table)| json!({ "name": name, "type": table.kind() }));
    answer(StatusCode::OK, &json!(names))
}

async fn schema(Path(name): Path<String>) -> Response {
    match Table::NAMES.iter().find(|(known, _)| *known == name) {
        Some((_, table)) => {
            let columns: Vec<Value> =
                table.columns().iter().map(|name| json!({ "name": name })).collect();
            answer(StatusCode::OK, &json!({ "type": table.kind(), "columns": columns }))
        }
        None => refuse(StatusCode::NOT_FOUND, &format!("table: there is no \"{name}\"")),
    }
}

async fn query(State(analytics): State<Arc<Analytics>>, body: Bytes) -> Response {
    let query: Query = match serde_json::from_slice(&body) {
        Ok(query) => query,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match run(&analytics, &query) {
        Ok(rows) => answer(StatusCode::OK, &json!({ "value": rows })),
        Err(Wrong(words)) => refuse(StatusCode::BAD_REQUEST, &words),
    }
}

fn run(analytics: &Analytics, query: &Query) -> Result<Vec<Value>, Wrong> {
    let table = query.table()?;
    let between = query.between(microseconds())?;
    let config = analytics.configs.borrow().clone();
    let rows = match table {
        Table::Records => analytics.store().sessions(&config, between),
        Table::Series => analytics.store().series(&config, between),
        Table::Ends => analytics.store().ends(&config, between),
        Table::EndSeries => analytics.store().end_series(&config, between),
    };
    query.answer(table, rows)
}

fn microseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn refuse(status: StatusCode, words: &str) -> Response {
    answer(status, &json!({ "error": words }))
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
