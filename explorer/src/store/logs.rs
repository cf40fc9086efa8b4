//! Log records, bounded by bytes. The oldest is evicted first, but equal events make room among
//! themselves: a service that logs one error per request does not evict everything else.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use opentelemetry_proto::tonic::logs::v1::LogRecord;
use parking_lot::Mutex;
use prost::{DecodeError, Message};

use super::traces::Newer;
use super::{Counts, Source, SourceSet, TraceId, id};

/// A record beside its bytes: the record itself, its slots in the tree and in its group's queue (up
/// to half of them free), two allocations.
const OVERHEAD: usize = size_of::<StoredLog>() + 5 * size_of::<usize>() + 48;
/// A group beside its records: its slots in the map and in the set, its queue.
const GROUP_OVERHEAD: usize = 2 * (size_of::<GroupId>() + size_of::<Group>()) + 96;
/// A group of equal events above this part of the bytes makes room for others.
const FAIR_SHARE: usize = 16;

/// An encoded record with the fields that filters need.
pub(crate) struct ReceivedLog {
    trace_id: Option<TraceId>,
    severity: i32,
    event_name: String,
    bytes: Box<[u8]>,
}

/// A hash of service, event name and severity. Two groups with one hash share their fate.
type GroupId = u64;

/// A stored record.
pub(crate) struct StoredLog {
    pub source: Arc<Source>,
    pub trace_id: Option<TraceId>,
    /// `SeverityNumber`: 1 to 24, 0 when it is not set.
    pub severity: i32,
    group: GroupId,
    bytes: Box<[u8]>,
}

pub(crate) struct LogStore {
    logs: Mutex<Records>,
    max_bytes: usize,
}

#[derive(Default)]
struct Records {
    sources: SourceSet,
    /// By number, in the order of their arrival.
    by_number: BTreeMap<u64, Arc<StoredLog>>,
    arrived: u64,
    groups: HashMap<GroupId, Group>,
    /// The groups by their bytes.
    sizes: BTreeSet<(usize, GroupId)>,
    bytes: usize,
    counts: Counts,
}

/// Equal events.
#[derive(Default)]
struct Group {
    /// Numbers of its records, the oldest first.
    numbers: VecDeque<u64>,
    bytes: usize,
}

impl ReceivedLog {
    pub(crate) fn decode(bytes: &[u8]) -> Result<ReceivedLog, DecodeError> {
        let record = LogRecord::decode(bytes)?;
        Ok(ReceivedLog {
            trace_id: id(&record.trace_id),
            severity: record.severity_number,
            event_name: record.event_name,
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
                group: group_of(&source, &record),
                bytes: record.bytes,
            };
            logs.counts.received += 1;
            if log.cost() > self.max_bytes / 4 {
                refused += 1;
                continue;
            }
            logs.make_room(self.max_bytes, log.cost() + GROUP_OVERHEAD);
            logs.push(log);
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
        let logs = self.logs.lock();
        logs.by_number.values().rev().cloned().collect()
    }

    /// The records that arrived after the one with the number `cursor`, in that order.
    pub(crate) fn newer_than(&self, cursor: u64) -> Newer<Arc<StoredLog>> {
        let logs = self.logs.lock();
        let newer = logs.by_number.range(cursor + 1..);
        let items: Vec<_> = newer.map(|(_, log)| Arc::clone(log)).collect();
        Newer {
            missed: (logs.arrived - cursor).saturating_sub(items.len() as u64),
            cursor: logs.arrived,
            items,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let logs = self.logs.lock();
        Counts {
            held: logs.by_number.len() as u64,
            bytes: (logs.bytes + logs.sources.bytes()) as u64,
            max_bytes: self.max_bytes as u64,
            ..logs.counts
        }
    }
}

impl Records {
    fn push(&mut self, log: StoredLog) {
        let (group, cost) = (log.group, log.cost());
        self.arrived += 1;
        let number = self.arrived;
        self.by_number.insert(number, Arc::new(log));
        self.bytes += cost;
        if !self.groups.contains_key(&group) {
            self.bytes += GROUP_OVERHEAD;
        }
        self.change(group, |group| {
            group.numbers.push_back(number);
            group.bytes += cost;
        });
    }

    /// Evicts until `cost` more bytes fit.
    fn make_room(&mut self, max_bytes: usize, cost: usize) {
        while self.bytes + self.sources.bytes() + cost > max_bytes {
            let Some(number) = self.next_to_evict(max_bytes) else {
                return;
            };
            self.evict(number);
        }
    }

    /// The oldest record of the largest group, if that has more than its share; else the oldest of
    /// all.
    fn next_to_evict(&self, max_bytes: usize) -> Option<u64> {
        let (bytes, group) = self.sizes.last()?;
        if *bytes > max_bytes / FAIR_SHARE {
            self.groups.get(group)?.numbers.front().copied()
        } else {
            self.by_number.keys().next().copied()
        }
    }

    fn evict(&mut self, number: u64) {
        let Some(log) = self.by_number.remove(&number) else {
            return;
        };
        let cost = log.cost();
        self.bytes -= cost;
        self.counts.evicted += 1;
        // The oldest of all is also the oldest of its group.
        self.change(log.group, |group| {
            group.numbers.pop_front();
            group.bytes -= cost;
        });
        let source = Arc::clone(&log.source);
        drop(log);
        self.sources.release(source);
    }

    /// Changes a group and keeps the order of the groups by size. An empty group goes.
    fn change(&mut self, id: GroupId, change: impl FnOnce(&mut Group)) {
        let group = self.groups.entry(id).or_default();
        self.sizes.remove(&(group.bytes, id));
        change(group);
        if group.numbers.is_empty() {
            self.groups.remove(&id);
            self.bytes -= GROUP_OVERHEAD;
        } else {
            self.sizes.insert((group.bytes, id));
        }
    }
}

fn group_of(source: &Source, record: &ReceivedLog) -> GroupId {
    let mut hasher = DefaultHasher::new();
    (&source.service, &record.event_name, record.severity).hash(&mut hasher);
    hasher.finish()
}
