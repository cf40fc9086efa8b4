//! CLIENT spans and the duration metric of storage calls, by the database conventions of
//! OpenTelemetry.

use std::borrow::Cow;
use std::error::Error;
use std::ops::Deref;
use std::panic::Location;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Instant;

use opentelemetry::trace::{SpanKind, TraceContextExt};
use opentelemetry::{Context, KeyValue};
use parking_lot::Mutex;

use crate::attr;
use crate::fixed_map::FixedMap;
use crate::metrics::{BoundHistogram, DB_SECONDS, Histogram, histogram};
use crate::span::{Span, builder, fail};

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    histogram(
        attr::metric::DB_CLIENT_OPERATION_DURATION,
        "s",
        "Duration of database client operations",
        DB_SECONDS,
    )
});
static KNOWN: FixedMap<Operation, KnownOperation> = FixedMap::new();

/// One call of a storage engine. The span's name is `{operation} {collection}`.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    known: Cow<'static, KnownOperation>,
    /// Attributes that the metric has for failed calls alone.
    failure: Mutex<Vec<KeyValue>>,
}

/// An operation that was called before: its attributes, made once and shared, and the metric of its
/// successes.
#[derive(Clone, Debug)]
struct KnownOperation {
    labels: Vec<KeyValue>,
    duration: OnceLock<BoundHistogram<f64>>,
}

/// Starts the span of a storage call below the current span.
pub fn start(operation: Operation) -> DbSpan {
    start_with(operation, Vec::new())
}

/// The same with more attributes on the span, such as `db.operation.batch.size` or
/// `server.address`.
pub fn start_with(operation: Operation, attributes: Vec<KeyValue>) -> DbSpan {
    let name = [operation.operation, " ", &operation.collection].concat();
    let known = KNOWN.get_or_insert_with(&operation, || KnownOperation::of(operation.clone()));
    let known = known.map_or_else(|| Cow::Owned(KnownOperation::of(operation)), Cow::Borrowed);
    let on_span = known.labels.iter().cloned().chain(attributes).collect();
    let span = Span::build(
        builder(name, SpanKind::Client, on_span),
        &Context::current(),
    );
    DbSpan {
        span,
        start: Instant::now(),
        known,
        failure: Mutex::default(),
    }
}

/// The attribute of a call for several items; by the conventions, one is no batch.
pub fn batch_size(items: usize) -> Option<KeyValue> {
    let size = i64::try_from(items).ok().filter(|size| *size > 1)?;
    Some(KeyValue::new(attr::DB_OPERATION_BATCH_SIZE, size))
}

impl DbSpan {
    /// Records a size that is known only after the start of the call, as [`batch_size`] does.
    pub fn set_batch_size(&self, items: usize) {
        if let Some(size) = batch_size(items) {
            self.span.context_ref().span().set_attribute(size);
        }
    }

    /// Records the status code of the engine's answer. The metric has those of 400 and above.
    pub fn answered(&self, status_code: u16) {
        let code = KeyValue::new(attr::DB_RESPONSE_STATUS_CODE, status_code.to_string());
        if status_code >= 400 {
            self.failure.lock().push(code.clone());
        }
        self.span.context_ref().span().set_attribute(code);
    }

    /// Marks the call as failed, on the span and in the metric. `error_type` is the engine's word,
    /// such as `SQLITE_BUSY`.
    #[track_caller]
    pub fn fail(&self, error: &dyn Error, error_type: &'static str) {
        fail(
            self.span.context_ref(),
            error,
            error_type,
            Location::caller(),
        );
        self.failure
            .lock()
            .push(KeyValue::new(attr::ERROR_TYPE, error_type));
    }
}

impl KnownOperation {
    fn of(operation: Operation) -> Self {
        let mut labels = vec![
            KeyValue::new(attr::DB_SYSTEM_NAME, operation.system),
            KeyValue::new(attr::DB_OPERATION_NAME, operation.operation),
            KeyValue::new(attr::DB_COLLECTION_NAME, shared(operation.collection)),
        ];
        labels.extend(
            operation
                .namespace
                .map(|name| KeyValue::new(attr::DB_NAMESPACE, shared(name))),
        );
        Self {
            labels,
            duration: OnceLock::new(),
        }
    }
}

/// A text that the metric and every span of the operation share.
fn shared(text: String) -> Arc<str> {
    text.into()
}

impl Deref for DbSpan {
    type Target = Span;

    fn deref(&self) -> &Span {
        &self.span
    }
}

impl Drop for DbSpan {
    fn drop(&mut self) {
        let failure = self.failure.lock();
        let seconds = self.start.elapsed().as_secs_f64();
        match (&self.known, failure.is_empty()) {
            // Bound at the first success: a bound instrument is exported even if nothing was
            // recorded with it.
            (Cow::Borrowed(KnownOperation { labels, duration }), true) => {
                duration
                    .get_or_init(|| DURATION.bind(labels))
                    .record(seconds);
            }
            (known, _) => DURATION.record(
                seconds,
                &[known.labels.as_slice(), failure.as_slice()].concat(),
            ),
        }
    }
}
