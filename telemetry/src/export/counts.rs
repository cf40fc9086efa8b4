//! Counts of what was offered for export, what the collector took, and what was lost.
//!
//! The SDK counts what its queues drop, but not what an export loses (`opentelemetry_sdk` 0.33.1;
//! no issue was found upstream). Every item is counted here, for the metrics and for the last log
//! line of a process: what was offered and never exported is lost, whether a queue was full, an
//! export failed, or the last flush did not end in time.

use std::fmt::Display;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use opentelemetry::KeyValue;

use crate::attr;
use crate::metrics::{Counter, counter};

/// What this process has offered, exported and lost so far.
#[derive(Debug)]
pub(crate) struct ExportCounts {
    pub(crate) spans: SignalCounts,
    pub(crate) logs: SignalCounts,
    /// Metrics have no count of their own, but an outage is logged as for the others.
    pub(crate) metrics: SignalCounts,
}

impl Default for ExportCounts {
    fn default() -> Self {
        Self {
            spans: SignalCounts::new("spans", Some(&SPANS)),
            logs: SignalCounts::new("log records", Some(&LOGS)),
            metrics: SignalCounts::new("metrics", None),
        }
    }
}

/// The counts of one signal.
#[derive(Debug)]
pub(crate) struct SignalCounts {
    signal: &'static str,
    metric: Option<&'static LazyLock<Counter<u64>>>,
    offered: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    failing: AtomicBool,
    is_full: AtomicBool,
}

impl SignalCounts {
    fn new(signal: &'static str, metric: Option<&'static LazyLock<Counter<u64>>>) -> Self {
        Self {
            signal,
            metric,
            offered: AtomicU64::new(0),
            exported: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
        }
    }

    pub(super) fn signal(&self) -> &'static str {
        self.signal
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
        if let Some(metric) = self.metric {
            metric.add(items, &[]);
        }
    }

    /// Counts items that the collector did not take. The first loss of an outage is logged: a dead
    /// collector must not fill the log as well.
    pub(super) fn failed(&self, items: u64, error_type: &'static str, error: &dyn Display) {
        self.failed.fetch_add(items, Ordering::Relaxed);
        if let Some(metric) = self.metric {
            metric.add(items, &[KeyValue::new(attr::ERROR_TYPE, error_type)]);
        }
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

    /// Logs that a queue is full, once until an export succeeds.
    pub(super) fn queue_full(&self) {
        let signal = self.signal;
        if !self.is_full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                name: "telemetry.queue_full",
                signal,
                "{signal} are lost: the queue for their export is full"
            );
        }
    }

    /// Records that an export lost nothing, which ends an outage.
    pub(super) fn succeeded(&self) {
        let signal = self.signal;
        self.is_full.store(false, Ordering::Relaxed);
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

#[cfg(test)]
mod tests;
