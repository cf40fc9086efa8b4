//! `GET /api/logs`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, query};
use crate::error::ApiError;
use crate::store::logs::StoredLog;
use crate::store::{Store, TraceId};
use crate::value::{plain, plain_map, unhex};

#[derive(Debug, Deserialize)]
pub(super) struct LogsQuery {
    trace_id: Option<String>,
    service: Option<String>,
    severity: Option<String>,
    q: Option<String>,
    limit: Option<usize>,
}

/// A query that has been checked; `None` and 0 do not filter.
struct Filter {
    trace_id: Option<TraceId>,
    service: Option<String>,
    severity: i32,
    text: Option<String>,
}

/// Newest first, by arrival.
pub(super) async fn list(
    State(store): State<Arc<Store>>,
    query: Asked<LogsQuery>,
) -> Result<Json<Value>, ApiError> {
    let Query(query) = query?;
    let limit = query::limit(query.limit)?;
    let filter = query.filter()?;
    let held = store.logs.newest_first();
    let candidates = held.iter().filter(|log| filter.admits(log));
    let logs = candidates
        .map(|log| entry(log))
        .filter(|entry| filter.finds(entry));
    Ok(Json(
        json!({ "logs": logs.take(limit).collect::<Vec<_>>() }),
    ))
}

impl LogsQuery {
    fn filter(self) -> Result<Filter, ApiError> {
        let invalid = || ApiError::Invalid("a trace id has 32 hex digits".to_owned());
        Ok(Filter {
            trace_id: self
                .trace_id
                .map(|id| unhex(&id).ok_or_else(invalid))
                .transpose()?,
            service: self.service,
            severity: self
                .severity
                .map_or(Ok(0), |severity| query::severity(&severity))?,
            text: self.q.map(|text| text.to_lowercase()),
        })
    }
}

impl Filter {
    /// What can be told without decoding.
    fn admits(&self, log: &StoredLog) -> bool {
        log.severity >= self.severity
            && self.trace_id.is_none_or(|id| log.trace_id == Some(id))
            && self
                .service
                .as_ref()
                .is_none_or(|service| log.origin.service == *service)
    }

    /// Whether the text stands in the body, the event name or an attribute.
    fn finds(&self, entry: &Value) -> bool {
        let Some(text) = &self.text else { return true };
        ["body", "event_name", "attributes"]
            .into_iter()
            .any(|field| match &entry[field] {
                Value::String(value) => value.to_lowercase().contains(text),
                value => value.to_string().to_lowercase().contains(text),
            })
    }
}

fn entry(log: &StoredLog) -> Value {
    let record: LogRecord = log.record();
    let time = if record.time_unix_nano == 0 {
        record.observed_time_unix_nano
    } else {
        record.time_unix_nano
    };
    json!({
        "time": query::timestamp(time),
        "severity": severity_name(&record),
        "severity_number": record.severity_number,
        "service": log.origin.service,
        "event_name": some(record.event_name),
        "body": plain(record.body),
        "trace_id": some(hex::encode(&record.trace_id)),
        "span_id": some(hex::encode(&record.span_id)),
        "attributes": plain_map(record.attributes),
    })
}

fn severity_name(record: &LogRecord) -> String {
    if !record.severity_text.is_empty() {
        return record.severity_text.clone();
    }
    let names = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let number = usize::try_from(record.severity_number - 1).unwrap_or(usize::MAX);
    names
        .get(number / 4)
        .copied()
        .unwrap_or_default()
        .to_owned()
}

/// Empty texts are fields that were not set.
fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
