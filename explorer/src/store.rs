//! Telemetry in memory: three stores, one per signal, each with its own lock and its own share of
//! the bytes.
//!
//! Separate shares keep one signal from starving the others: a flood of log records evicts log
//! records only. The bytes are an estimate on the high side: the size of an entry plus a constant
//! for the structures around it.

pub(crate) mod logs;
pub(crate) mod metrics;
mod source;
pub(crate) mod traces;

use parking_lot::Mutex;
use serde::Serialize;

pub(crate) use logs::LogStore;
pub(crate) use metrics::MetricStore;
pub(crate) use source::{Source, SourceSet, service_name};
pub(crate) use traces::TraceStore;

/// Identifies a trace: 16 bytes, not all zero.
pub(crate) type TraceId = [u8; 16];
/// Identifies a span within its trace: 8 bytes, not all zero.
pub(crate) type SpanId = [u8; 8];

/// How much may be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryLimits {
    /// Bytes of all signals together.
    pub max_bytes: usize,
    /// Traces, however small.
    pub max_traces: usize,
}

/// The stores of the three signals.
pub(crate) struct TelemetryStore {
    pub traces: TraceStore,
    pub logs: LogStore,
    pub metrics: MetricStore,
    requests: Mutex<RefusedRequests>,
    max_bytes: usize,
}

/// Export requests of which nothing was stored; the number of their items is not known.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct RefusedRequests {
    /// With a body above the limits, which was answered with 413.
    pub too_large: u64,
    /// That were not OTLP.
    pub malformed: u64,
}

/// What one signal received and stores. `received` counts items: spans, log records, data points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Items that arrived, stored or not.
    pub received: u64,
    /// Items that arrived again, as after a retry of the exporter, and are stored once.
    pub duplicates: u64,
    /// Items that are invalid or above a limit; the exporter gets their number as
    /// `partial_success`.
    pub refused: u64,
    /// Items that were stored and made room for newer ones.
    pub evicted: u64,
    /// What is stored now: spans, log records, series.
    pub held: u64,
    /// Estimated bytes of what is stored.
    pub bytes: u64,
    /// This signal's share of the bytes.
    pub max_bytes: u64,
}

/// The answer of `GET /api/stats`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct StoreStats {
    pub traces: traces::TraceCounts,
    pub logs: Counts,
    pub metrics: Counts,
    pub refused_requests: RefusedRequests,
    pub bytes: u64,
    pub max_bytes: u64,
}

impl TelemetryStore {
    /// Traces get five eighths of the bytes, logs two and metrics one.
    pub(crate) fn new(limits: MemoryLimits) -> TelemetryStore {
        let eighth = limits.max_bytes / 8;
        TelemetryStore {
            traces: TraceStore::new(eighth * 5, limits.max_traces),
            logs: LogStore::new(eighth * 2),
            metrics: MetricStore::new(eighth),
            requests: Mutex::default(),
            max_bytes: limits.max_bytes,
        }
    }

    /// Counts a request that was refused as a whole.
    pub(crate) fn count_refused_request(&self, too_large: bool) {
        let mut requests = self.requests.lock();
        if too_large {
            requests.too_large += 1;
        } else {
            requests.malformed += 1;
        }
    }

    pub(crate) fn stats(&self) -> StoreStats {
        let traces = self.traces.counts();
        let logs = self.logs.counts();
        let metrics = self.metrics.counts();
        StoreStats {
            traces,
            logs,
            metrics,
            refused_requests: *self.requests.lock(),
            bytes: traces.counts.bytes + logs.bytes + metrics.bytes,
            max_bytes: self.max_bytes as u64,
        }
    }
}

impl Counts {
    /// Counts items that were refused before they reached the store.
    fn refuse(&mut self, items: usize) {
        self.received += items as u64;
        self.refused += items as u64;
    }
}

/// An id of exactly `N` bytes that is not all zero.
fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok().filter(|id| *id != [0; N])
}

#[cfg(test)]
pub(crate) mod tests;
