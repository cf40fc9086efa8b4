//! The bounds of the queues before the exporters, in items and in bytes.
//!
//! The batch processors of the SDK bound the number of their items alone
//! (`opentelemetry_sdk` 0.33.1), so a few thousand large spans behind a silent collector would fill
//! the memory. What finds no place is dropped and counted here; their own queues never fill up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::metrics::BoundCounter;
use opentelemetry::{Context, InstrumentationScope, KeyValue, global};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use opentelemetry_semantic_conventions::metric as semconv;

use super::counts::{ExportCounts, SignalCounts};
use super::limits::{log_bytes, span_bytes};
use crate::attr;

/// Memory of the queue of one signal.
const MAX_BYTES: usize = 32 << 20;

/// What waits for the export of one signal, the batch that is being exported included.
#[derive(Debug)]
pub(crate) struct QueueLimit {
    max_items: usize,
    items: AtomicUsize,
    bytes: AtomicUsize,
    /// The SDK's metric, as a component of its own beside the SDK's processor.
    dropped: BoundCounter<u64>,
}

impl QueueLimit {
    /// The limit for spans.
    pub(crate) fn of_spans(max_items: usize) -> Arc<Self> {
        Self::new(
            max_items,
            semconv::OTEL_SDK_PROCESSOR_SPAN_PROCESSED,
            "{span}",
            "bounded_span_queue",
        )
    }

    /// The limit for log records.
    pub(crate) fn of_log_records(max_items: usize) -> Arc<Self> {
        Self::new(
            max_items,
            semconv::OTEL_SDK_PROCESSOR_LOG_PROCESSED,
            "{log_record}",
            "bounded_log_queue",
        )
    }

    fn new(
        max_items: usize,
        metric: &'static str,
        unit: &'static str,
        component: &'static str,
    ) -> Arc<Self> {
        let dropped = global::meter("otel.sdk")
            .u64_counter(metric)
            .with_unit(unit)
            .build()
            .bind(&[
                KeyValue::new(attr::ERROR_TYPE, "queue_full"),
                KeyValue::new("otel.component.type", component),
                KeyValue::new("otel.component.name", format!("{component}/0")),
            ]);
        Arc::new(Self {
            max_items,
            items: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped,
        })
    }

    /// Takes a place for an item; false, and counted, when there is none.
    fn enter(&self, bytes: usize, counts: &SignalCounts) -> bool {
        let has_place = self.items.fetch_add(1, Ordering::Relaxed) < self.max_items;
        let has_room = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= MAX_BYTES;
        if has_place && has_room {
            return true;
        }
        self.leave(1, bytes);
        self.dropped.add(1);
        counts.queue_full();
        false
    }

    fn leave(&self, items: usize, bytes: usize) {
        self.items.fetch_sub(items, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A processor, or the exporter behind it, whose queue has a [`QueueLimit`]. The processor takes
/// the places, and the exporter gives them back.
#[derive(Debug)]
pub(crate) struct Queued<T> {
    pub(crate) inner: T,
    pub(crate) limit: Arc<QueueLimit>,
    pub(crate) counts: Arc<ExportCounts>,
}

impl<P: SpanProcessor> SpanProcessor for Queued<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        self.counts.spans.offer();
        if self.limit.enter(span_bytes(&span), &self.counts.spans) {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Queued<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let (items, bytes) = (batch.len(), batch.iter().map(span_bytes).sum());
        let result = self.inner.export(batch).await;
        self.limit.leave(items, bytes);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Queued<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.counts.logs.offer();
        if self.limit.enter(log_bytes(record), &self.counts.logs) {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Queued<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let (items, bytes) = batch.iter().fold((0, 0), |(items, bytes), (record, _)| {
            (items + 1, bytes + log_bytes(record))
        });
        let result = self.inner.export(batch).await;
        self.limit.leave(items, bytes);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
