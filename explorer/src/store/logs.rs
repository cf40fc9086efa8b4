//! Log records in a ring, bounded by bytes; the oldest is evicted first.

use std::collections::VecDeque;
use std::sync::Arc;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use parking_lot::Mutex;
use prost::{DecodeError, Message};

use super::{Counts, Source, SourceSet, TraceId, id};

/// A record beside its bytes: the record itself, the ring's slot (up to half of them free), two
/// allocations.
const OVERHEAD: usize = size_of::<StoredLog>() + 2 * size_of::<usize>() + 48;

/// An encoded record with the fields that filters need.
pub(crate) struct ReceivedLog {
    trace_id: Option<TraceId>,
    severity: i32,
    bytes: Box<[u8]>,
}

/// A stored record.
pub(crate) struct StoredLog {
    pub source: Arc<Source>,
    pub trace_id: Option<TraceId>,
    /// `SeverityNumber`: 1 to 24, 0 when it is not set.
    pub severity: i32,
    bytes: Box<[u8]>,
}

pub(crate) struct LogStore {
    logs: Mutex<LogRing>,
    max_bytes: usize,
}

#[derive(Default)]
struct LogRing {
    sources: SourceSet,
    ring: VecDeque<Arc<StoredLog>>,
    bytes: usize,
    counts: Counts,
}

impl ReceivedLog {
    pub(crate) fn decode(bytes: &[u8]) -> Result<ReceivedLog, DecodeError> {
        let record = LogRecord::decode(bytes)?;
        Ok(ReceivedLog {
            trace_id: id(&record.trace_id),
            severity: record.severity_number,
            bytes: bytes.into(),
        })
    }
}

impl StoredLog {
    /// The decoded record. The bytes are valid, since [`ReceivedLog::decode`] has decoded them
    /// once.
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
            logs: Mutex::default(),
            max_bytes,
        }
    }

    /// Stores records of one source and returns how many it refused.
    pub(crate) fn insert(&self, source: Source, received: Vec<ReceivedLog>) -> usize {
        let mut logs = self.logs.lock();
        let source = logs.sources.intern(source);
        let mut refused = 0;
        for record in received {
            let log = StoredLog {
                source: Arc::clone(&source),
                trace_id: record.trace_id,
                severity: record.severity,
                bytes: record.bytes,
            };
            logs.counts.received += 1;
            if log.cost() > self.max_bytes / 4 {
                refused += 1;
                continue;
            }
            logs.make_room(self.max_bytes, log.cost());
            logs.bytes += log.cost();
            logs.ring.push_back(Arc::new(log));
        }
        logs.counts.refused += refused as u64;
        logs.sources.release(source);
        logs.make_room(self.max_bytes, 0);
        refused
    }

    /// Counts records that were refused before they reached the store.
    pub(crate) fn count_refused(&self, records: usize) {
        self.logs.lock().counts.refuse(records);
    }

    /// All records, newest first: a copy of pointers, so that filters decode outside the lock.
    pub(crate) fn newest_first(&self) -> Vec<Arc<StoredLog>> {
        self.logs.lock().ring.iter().rev().cloned().collect()
    }

    pub(crate) fn counts(&self) -> Counts {
        let logs = self.logs.lock();
        Counts {
            held: logs.ring.len() as u64,
            bytes: (logs.bytes + logs.sources.bytes()) as u64,
            max_bytes: self.max_bytes as u64,
            ..logs.counts
        }
    }
}

impl LogRing {
    /// Evicts until `cost` more bytes fit.
    fn make_room(&mut self, max_bytes: usize, cost: usize) {
        while self.bytes + self.sources.bytes() + cost > max_bytes {
            let Some(oldest) = self.ring.pop_front() else {
                return;
            };
            self.bytes -= oldest.cost();
            self.counts.evicted += 1;
            let source = Arc::clone(&oldest.source);
            drop(oldest);
            self.sources.release(source);
        }
    }
}
