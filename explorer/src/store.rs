//! Everything held in memory: three stores, one per signal, each with its own lock and its own share of the bytes.
//!
//! Separate shares keep one signal from starving the others: a flood of log records evicts log records only. Bytes are
//! accounted, not measured: what an entry holds plus a constant for the structures around it, on the generous side.

pub(crate) mod logs;
pub(crate) mod metrics;
mod origin;
pub(crate) mod traces;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

pub(crate) use logs::LogStore;
pub(crate) use metrics::MetricStore;
pub(crate) use origin::{Interner, Origin, service_name};
pub(crate) use traces::TraceStore;

/// Identifies a trace: 16 bytes, not all zero.
pub(crate) type TraceId = [u8; 16];
/// Identifies a span within its trace: 8 bytes, not all zero.
pub(crate) type SpanId = [u8; 8];

/// How much may be held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of all signals together.
    pub max_bytes: usize,
    /// Traces, however small.
    pub max_traces: usize,
}

/// The three stores.
pub(crate) struct Store {
    pub traces: TraceStore,
    pub logs: LogStore,
    pub metrics: MetricStore,
    max_bytes: usize,
}

/// What one signal received and holds. `received` counts items: spans, log records, metric points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Items that came in, whatever became of them.
    pub received: u64,
    /// Received again in the same form, as after a retry of the exporter, and not stored twice.
    pub duplicates: u64,
    /// Not stored: invalid, or above a limit. Told to the exporter as `partial_success`.
    pub refused: u64,
    /// Stored, and given up later for newer ones.
    pub evicted: u64,
    /// Held now: spans, log records, series.
    pub held: u64,
    /// Accounted bytes of what is held.
    pub bytes: u64,
    /// This signal's share.
    pub max_bytes: u64,
}

/// The answer of `GET /api/stats`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Stats {
    pub traces: traces::TraceCounts,
    pub logs: Counts,
    pub metrics: Counts,
    pub bytes: u64,
    pub max_bytes: u64,
}

impl Store {
    /// Traces get five eighths of the bytes, logs a quarter, metrics an eighth: about what they take of the same load.
    pub(crate) fn new(limits: Limits) -> Store {
        let eighth = limits.max_bytes / 8;
        Store {
            traces: TraceStore::new(eighth * 5, limits.max_traces),
            logs: LogStore::new(eighth * 2),
            metrics: MetricStore::new(eighth),
            max_bytes: limits.max_bytes,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let (traces, logs, metrics) = (
            self.traces.counts(),
            self.logs.counts(),
            self.metrics.counts(),
        );
        let bytes = traces.counts.bytes + logs.bytes + metrics.bytes;
        Stats {
            traces,
            logs,
            metrics,
            bytes,
            max_bytes: self.max_bytes as u64,
        }
    }
}

/// Locks, also after a panic elsewhere: every change of a store leaves it whole, so the data is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
