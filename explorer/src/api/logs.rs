//! `GET /api/logs`.

use std::sync::Arc;

use axum::extract::{Query, State};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::answer::{self, Encoded};
use super::query::{self, QueryResult};
use crate::attribute::{plain, plain_map};
use crate::error::ReadError;
use crate::store::logs::StoredLog;
use crate::store::{LogStore, TelemetryStore, TraceId};

/// One log record; an entry of `GET /api/logs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// RFC 3339: when it happened, or when it was observed.
    pub time: Option<String>,
    /// The severity's text, or the name of its number.
    pub severity: String,
    /// 1 to 24, 0 when it is not set (OpenTelemetry logs data model).
    pub severity_number: i32,
    /// `service.name` of the resource.
    pub service: String,
    pub event_name: Option<String>,
    pub body: Value,
    pub trace_id: Option<String>,
    pub span_id: Option<String>,
    pub attributes: Map<String, Value>,
    /// Attributes of the resource; set by [`Reader`](crate::Reader), not part of the answer over
    /// HTTP.
    #[serde(skip)]
    pub resource: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct LogsQuery {
    pub trace_id: Option<String>,
    pub service: Option<String>,
    pub severity: Option<String>,
    pub q: Option<String>,
    pub limit: Option<usize>,
}

/// A checked query; `None` and 0 do not filter.
struct LogFilter {
    trace_id: Option<TraceId>,
    service: Option<String>,
    severity: i32,
    text: Option<String>,
}

/// Newest first, by arrival.
pub(super) async fn list(
    State(store): State<Arc<TelemetryStore>>,
    query: QueryResult<LogsQuery>,
) -> Result<Encoded, ReadError> {
    let Query(query) = query?;
    answer::build(move || {
        let found = find(&store.logs, query)?;
        answer::list("logs", found)
    })
    .await
}

/// What the query finds, newest first by arrival, at most its limit.
pub(crate) fn find(
    logs: &LogStore,
    query: LogsQuery,
) -> Result<impl Iterator<Item = LogEntry>, ReadError> {
    let limit = query::limit(query.limit)?;
    let filter = query.filter()?;
    let stored = logs.newest_first().into_iter();
    let found = stored.filter_map(move |log| {
        let entry = filter.admits(&log).then(|| LogEntry::from(&*log))?;
        filter.finds(&entry).then_some(entry)
    });
    Ok(found.take(limit))
}

impl LogsQuery {
    /// A form sends its empty fields, too; they do not filter.
    pub(crate) fn without_empty(self) -> LogsQuery {
        let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        LogsQuery {
            trace_id: filled(self.trace_id),
            service: filled(self.service),
            severity: filled(self.severity),
            q: filled(self.q),
            limit: self.limit,
        }
    }

    fn filter(self) -> Result<LogFilter, ReadError> {
        Ok(LogFilter {
            trace_id: self.trace_id.as_deref().map(query::trace_id).transpose()?,
            service: self.service,
            severity: self
                .severity
                .map_or(Ok(0), |severity| query::severity(&severity))?,
            text: self.q.map(|text| text.to_lowercase()),
        })
    }
}

impl LogFilter {
    /// The filters that need no decoding.
    fn admits(&self, log: &StoredLog) -> bool {
        log.severity >= self.severity
            && self.trace_id.is_none_or(|id| log.trace_id == Some(id))
            && self
                .service
                .as_ref()
                .is_none_or(|service| log.source.service == *service)
    }

    /// Whether the text is in the body, the event name or an attribute.
    fn finds(&self, entry: &LogEntry) -> bool {
        let Some(text) = &self.text else { return true };
        let body = match &entry.body {
            Value::String(body) => body.clone(),
            body => body.to_string(),
        };
        // Serialized, so that names and nested values are searched too.
        let attributes = json!(entry.attributes).to_string();
        [
            &body,
            entry.event_name.as_deref().unwrap_or_default(),
            &attributes,
        ]
        .into_iter()
        .any(|field| field.to_lowercase().contains(text))
    }
}

impl From<&StoredLog> for LogEntry {
    fn from(log: &StoredLog) -> LogEntry {
        let record = log.record();
        let time = if record.time_unix_nano == 0 {
            record.observed_time_unix_nano
        } else {
            record.time_unix_nano
        };
        LogEntry {
            time: query::timestamp(time),
            severity: severity(&record),
            severity_number: record.severity_number,
            service: log.source.service.clone(),
            event_name: non_empty(record.event_name),
            body: plain(record.body),
            trace_id: non_empty(hex::encode(record.trace_id)),
            span_id: non_empty(hex::encode(record.span_id)),
            attributes: plain_map(record.attributes),
            resource: Map::new(),
        }
    }
}

impl LogEntry {
    /// The entry with the attributes of its resource.
    pub(crate) fn with_resource(log: &StoredLog) -> LogEntry {
        LogEntry {
            resource: plain_map(log.source.resource().attributes),
            ..LogEntry::from(log)
        }
    }
}

fn severity(record: &LogRecord) -> String {
    if !record.severity_text.is_empty() {
        return record.severity_text.clone();
    }
    let names = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    let number = usize::try_from(record.severity_number.saturating_sub(1)).unwrap_or(usize::MAX);
    let name = names.get(number / 4).copied().unwrap_or_default();
    name.to_owned()
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
