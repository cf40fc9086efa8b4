//! Log records as a ring, bounded by bytes; the oldest goes first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::{DecodeError, Message};

use super::traces::id;
use super::{Counts, Interner, Origin, TraceId, lock};

/// A record beside its bytes: the record itself, the ring's slot (up to half of them free), two allocations.
const OVERHEAD: usize = size_of::<StoredLog>() + 2 * size_of::<usize>() + 48;

/// A record as it came, with the fields that filters need.
pub(crate) struct LogEntry {
    trace_id: Option<TraceId>,
    severity: i32,
    bytes: Box<[u8]>,
}

/// A held record.
pub(crate) struct StoredLog {
    pub origin: Arc<Origin>,
    pub trace_id: Option<TraceId>,
    /// `SeverityNumber`: 1 to 24, 0 when not given.
    pub severity: i32,
    bytes: Box<[u8]>,
}

pub(crate) struct LogStore {
    inner: Mutex<Inner>,
    max_bytes: usize,
}

#[derive(Default)]
struct Inner {
    origins: Interner,
    ring: VecDeque<Arc<StoredLog>>,
    bytes: usize,
    counts: Counts,
}

impl LogEntry {
    pub(crate) fn decode(bytes: &[u8]) -> Result<LogEntry, DecodeError> {
        let record = LogRecord::decode(bytes)?;
        Ok(LogEntry {
            trace_id: id(&record.trace_id),
            severity: record.severity_number,
            bytes: bytes.into(),
        })
    }
}

impl StoredLog {
    /// The decoded record. Empty only if it was, since [`LogEntry::decode`] decoded it once.
    pub(crate) fn record(&self) -> LogRecord {
        LogRecord::decode(&self.bytes[..]).unwrap_or_default()
    }

    fn cost(&self) -> usize {
        OVERHEAD + self.bytes.len()
    }
}

impl LogStore {
    pub(crate) fn new(max_bytes: usize) -> LogStore {
        LogStore {
            inner: Mutex::default(),
            max_bytes,
        }
    }

    /// Stores records of one origin and says how many it refused.
    pub(crate) fn insert(&self, origin: Origin, entries: Vec<LogEntry>) -> usize {
        let mut inner = lock(&self.inner);
        let origin = inner.origins.intern(origin);
        let mut refused = 0;
        for LogEntry {
            trace_id,
            severity,
            bytes,
        } in entries
        {
            let log = StoredLog {
                origin: Arc::clone(&origin),
                trace_id,
                severity,
                bytes,
            };
            inner.counts.received += 1;
            if log.cost() > self.max_bytes / 4 {
                refused += 1;
                continue;
            }
            inner.make_room(self.max_bytes, log.cost());
            inner.bytes += log.cost();
            inner.ring.push_back(Arc::new(log));
        }
        inner.counts.refused += refused as u64;
        inner.origins.release(origin);
        inner.make_room(self.max_bytes, 0);
        refused
    }

    /// Counts records that were refused before they came here.
    pub(crate) fn count_refused(&self, records: usize) {
        let mut inner = lock(&self.inner);
        inner.counts.received += records as u64;
        inner.counts.refused += records as u64;
    }

    /// Everything held, newest first: a copy of pointers, so that filters decode outside the lock.
    pub(crate) fn newest_first(&self) -> Vec<Arc<StoredLog>> {
        lock(&self.inner).ring.iter().rev().cloned().collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        let inner = lock(&self.inner);
        Counts {
            held: inner.ring.len() as u64,
            bytes: (inner.bytes + inner.origins.bytes()) as u64,
            max_bytes: self.max_bytes as u64,
            ..inner.counts
        }
    }
}

impl Inner {
    fn make_room(&mut self, max_bytes: usize, cost: usize) {
        while self.bytes + self.origins.bytes() + cost > max_bytes {
            let Some(oldest) = self.ring.pop_front() else {
                return;
            };
            self.bytes -= oldest.cost();
            self.counts.evicted += 1;
            let origin = Arc::clone(&oldest.origin);
            drop(oldest);
            self.origins.release(origin);
        }
    }
}
