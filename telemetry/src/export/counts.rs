//! Counts of what was offered for export, what the collector took, and what was lost.
//!
//! The SDK counts what its queues drop, but not what an export loses (`opentelemetry_sdk` 0.33.1;
//! no issue was found upstream). Every item is counted here, for the metrics and for the last log
//! line of a process: what was offered and never exported is lost, whether a queue was full, an
//! export failed, or the last flush did not end in time.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::attr;
use crate::metrics::{Counter, counter};

/// What this process has offered, exported and lost so far.
#[derive(Debug)]
pub(crate) struct ExportCounts {
    pub(crate) spans: SignalCounts,
    pub(crate) logs: SignalCounts,
}

impl Default for ExportCounts {
    fn default() -> Self {
        Self {
            spans: SignalCounts::new("spans", &SPANS),
            logs: SignalCounts::new("log records", &LOGS),
        }
    }
}

/// The counts of one signal.
#[derive(Debug)]
pub(crate) struct SignalCounts {
    signal: &'static str,
    metric: &'static LazyLock<Counter<u64>>,
    offered: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
}

impl SignalCounts {
    pub(super) fn new(signal: &'static str, metric: &'static LazyLock<Counter<u64>>) -> Self {
        Self {
            signal,
            metric,
            offered: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    /// What was offered and has not been exported; final once the process has flushed or given up.
    pub(crate) fn lost(&self) -> u64 {
        self.offered
            .load(Ordering::Relaxed)
            .saturating_sub(self.exported.load(Ordering::Relaxed))
    }

    /// Counts one item that ended and should be exported.
    pub(super) fn offer(&self) {
        self.offered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts items that the collector took.
    pub(super) fn exported(&self, items: u64) {
        self.exported.fetch_add(items, Ordering::Relaxed);
        self.metric.add(items, &[]);
    }

    /// Counts items that the collector did not take. The first loss of an outage is logged: a dead
    /// collector must not fill the log as well.
    pub(super) fn failed(&self, items: u64, error_type: &'static str, error: &dyn Display) {
        self.failed.fetch_add(items, Ordering::Relaxed);
        self.metric
            .add(items, &[KeyValue::new(attr::ERROR_TYPE, error_type)]);
        let signal = self.signal;
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name: "telemetry.export_failed",
                signal,
                %error,
                "{signal} are lost until the collector takes them: {error}"
            );
        }
    }

    /// Records that an export lost nothing, which ends an outage.
    pub(super) fn succeeded(&self) {
        let signal = self.signal;
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(
                name: "telemetry.export_recovered",
                signal,
                lost = self.failed.load(Ordering::Relaxed),
                "{signal} are exported again"
            );
        }
    }
}

static SPANS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::SDK_EXPORTER_SPAN_EXPORTED,
        "{span}",
        "Spans whose export ended; those with error.type were lost",
    )
});
static LOGS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    counter(
        attr::metric::SDK_EXPORTER_LOG_EXPORTED,
        "{log_record}",
        "Log records whose export ended; those with error.type were lost",
    )
});

/// A processor that counts the items that it is offered.
#[derive(Debug)]
pub(crate) struct CountingProcessor<P> {
    pub(crate) inner: P,
    pub(crate) counts: Arc<ExportCounts>,
}

impl<P: SpanProcessor> SpanProcessor for CountingProcessor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.counts.spans.offer();
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

impl<P: LogProcessor> LogProcessor for CountingProcessor<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.counts.logs.offer();
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

/// An exporter of log records whose outcomes are counted. Spans are counted by their own exporter.
#[derive(Debug)]
pub(crate) struct CountingLogExporter<E> {
    pub(crate) inner: E,
    pub(crate) counts: Arc<ExportCounts>,
}

impl<E: LogExporter> LogExporter for CountingLogExporter<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records = batch.iter().count() as u64;
        let result = self.inner.export(batch).await;
        match &result {
            Ok(()) => {
                self.counts.logs.exported(records);
                self.counts.logs.succeeded();
            }
            Err(error) => self.counts.logs.failed(records, "export_failed", error),
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests;
