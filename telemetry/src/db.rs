//! CLIENT spans and the duration metric of storage calls, by the database conventions of OpenTelemetry.

use std::error::Error;
use std::ops::Deref;
use std::panic::Location;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Instant;

use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};

use crate::attr;
use crate::metrics::{DB_SECONDS, Histogram, histogram};
use crate::span::{Span, builder, fail};

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    histogram(attr::metric::DB_CLIENT_OPERATION_DURATION, "s", "Duration of database client operations", DB_SECONDS)
});

/// One call of a storage engine. The span's name is `{operation} {collection}`.
#[derive(Clone, Debug)]
pub struct Operation {
    /// `db.system.name`: `sqlite`, `elasticsearch`, `redis`.
    pub system: &'static str,
    /// `db.operation.name`: `SELECT`, `mget`, `HMGET`; low cardinality.
    pub operation: &'static str,
    /// `db.collection.name`: the table, index or view.
    pub collection: String,
    /// `db.namespace`: the database, where the system has one and it is known.
    pub namespace: Option<String>,
}

/// A storage call under way; it ends, and its duration is recorded, on drop.
#[must_use = "the call ends when this is dropped"]
#[derive(Debug)]
pub struct DbSpan {
    span: Span,
    start: Instant,
    labels: Mutex<Vec<KeyValue>>,
}

/// Starts the span of a storage call below the current span.
pub fn start(operation: Operation) -> DbSpan {
    start_with(operation, Vec::new())
}

/// The same with more attributes on the span, such as `db.operation.batch.size` or `server.address`.
pub fn start_with(operation: Operation, attributes: Vec<KeyValue>) -> DbSpan {
    let name = format!("{} {}", operation.operation, operation.collection);
    let mut labels = vec![
        KeyValue::new(attr::DB_SYSTEM_NAME, operation.system),
        KeyValue::new(attr::DB_OPERATION_NAME, operation.operation),
        KeyValue::new(attr::DB_COLLECTION_NAME, operation.collection),
    ];
    if let Some(namespace) = operation.namespace {
        labels.push(KeyValue::new(attr::DB_NAMESPACE, namespace));
    }
    let on_span = labels.iter().cloned().chain(attributes).collect();
    let span = Span::build(builder(name, SpanKind::Client, on_span), &Context::current());
    DbSpan { span, start: Instant::now(), labels: Mutex::new(labels) }
}

impl DbSpan {
    /// The status code of the engine's answer, for engines that have one; the metric shows only those of 400 and above.
    pub fn answered(&self, status_code: u16) {
        let code = KeyValue::new(attr::DB_RESPONSE_STATUS_CODE, status_code.to_string());
        if status_code >= 400 {
            self.labels.lock().unwrap_or_else(PoisonError::into_inner).push(code.clone());
        }
        self.span.context_ref().span().set_attribute(code);
    }

    /// Marks the call as failed, on the span and in the metric. `error_type` is the engine's own word, such as `SQLITE_BUSY`.
    #[track_caller]
    pub fn fail(&self, error: &dyn Error, error_type: &'static str) {
        fail(self.span.context_ref(), error, error_type, Location::caller());
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).push(KeyValue::new(attr::ERROR_TYPE, error_type));
    }
}

impl Deref for DbSpan {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.span
    }
}

impl Drop for DbSpan {
    fn drop(&mut self) {
        let labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        DURATION.record(self.start.elapsed().as_secs_f64(), &labels);
    }
}
