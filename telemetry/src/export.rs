//! Processors and exporters that count what came in, what left and what was lost, and give spans their last form.
//!
//! The SDK counts what its queues drop, but not what an export loses, and its shutdown answers `Ok` for a failed last
//! batch. These wrappers count every item, for the metrics and for the last log line of a process: what was offered and
//! never exported is lost, whether a queue was full, an export failed, or the last flush did not end in time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Array, Context, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

use crate::attr;
use crate::metrics::{Counter, counter};

/// What a process has exported and lost so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) spans: Outcome,
    pub(crate) logs: Outcome,
}

/// Items of one signal by outcome.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    offered: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
}

impl Outcome {
    /// What was offered and has not been exported; right once the process has flushed or given up.
    pub(crate) fn lost(&self) -> u64 {
        self.offered
            .load(Ordering::Relaxed)
            .saturating_sub(self.exported.load(Ordering::Relaxed))
    }

    fn offer(&self) {
        self.offered.fetch_add(1, Ordering::Relaxed);
    }

    fn count(
        &self,
        signal: &'static str,
        items: u64,
        result: &OTelSdkResult,
        metric: &Counter<u64>,
    ) {
        match result {
            Ok(()) => {
                self.exported.fetch_add(items, Ordering::Relaxed);
                metric.add(items, &[]);
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(name: "telemetry.export_recovered", signal, lost = self.failed.load(Ordering::Relaxed), "{signal} are exported again");
                }
            }
            Err(error) => {
                self.failed.fetch_add(items, Ordering::Relaxed);
                metric.add(items, &[KeyValue::new(attr::ERROR_TYPE, "export_failed")]);
                // Said once per outage: a dead collector must not fill the log as well.
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(name: "telemetry.export_failed", signal, %error, "{signal} cannot be exported and are lost until the collector answers");
                }
            }
        }
    }
}

static SPANS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::SDK_EXPORTER_SPAN_EXPORTED,
        "{span}",
        "Spans whose export ended; error.type tells the lost ones",
    )
});
static LOGS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::SDK_EXPORTER_LOG_EXPORTED,
        "{log_record}",
        "Log records whose export ended; error.type tells the lost ones",
    )
});

/// A processor that counts what it is given.
#[derive(Debug)]
pub(crate) struct Offered<P> {
    pub(crate) inner: P,
    pub(crate) tally: Arc<Tally>,
}

impl<P: SpanProcessor> SpanProcessor for Offered<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.tally.spans.offer();
        }
        self.inner.on_end(span);
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

impl<P: LogProcessor> LogProcessor for Offered<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.tally.logs.offer();
        self.inner.emit(record, scope);
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

/// An exporter whose outcomes are tallied.
#[derive(Debug)]
pub(crate) struct Counted<E> {
    pub(crate) inner: E,
    pub(crate) tally: Arc<Tally>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let items = batch.len() as u64;
        let result = self.inner.export(batch).await;
        self.tally.spans.count("spans", items, &result, &SPANS);
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

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let items = batch.iter().count() as u64;
        let result = self.inner.export(batch).await;
        self.tally.logs.count("log records", items, &result, &LOGS);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter that gives spans their last form, in its own thread and off the path of requests.
///
/// The SDK appends an attribute that is set twice; the specification wants the later value alone. It also leaves long
/// values alone, whatever `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT` says.
#[derive(Debug)]
pub(crate) struct Finished<E> {
    pub(crate) inner: E,
    /// Characters that a text value may have.
    pub(crate) value_length: Option<usize>,
}

impl<E: SpanExporter> SpanExporter for Finished<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut batch {
            keep_last(&mut span.attributes);
            if let Some(most) = self.value_length {
                span.attributes
                    .iter_mut()
                    .for_each(|attribute| shorten(&mut attribute.value, most));
            }
        }
        self.inner.export(batch).await
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

/// Of equal keys only the last stays. Spans have a dozen attributes, so comparing all pairs beats hashing them.
fn keep_last(attributes: &mut Vec<KeyValue>) {
    let mut index = 0;
    while index < attributes.len() {
        if attributes[index + 1..]
            .iter()
            .any(|later| later.key == attributes[index].key)
        {
            attributes.remove(index);
        } else {
            index += 1;
        }
    }
}

fn shorten(value: &mut Value, most: usize) {
    let cut = |text: &mut StringValue| {
        if let Some((end, _)) = text.as_str().char_indices().nth(most) {
            *text = text.as_str()[..end].to_owned().into();
        }
    };
    match value {
        Value::String(text) => cut(text),
        Value::Array(Array::String(texts)) => texts.iter_mut().for_each(cut),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
