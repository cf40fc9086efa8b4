//! Spans by trace, bounded by bytes and by number of traces; the trace that was seen first goes first.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use prost::{DecodeError, Message};
use serde::Serialize;

use super::{Counts, Interner, Origin, SpanId, TraceId, lock};
use crate::value;

/// Spans of one trace. The largest honest traces here are training runs, with a few spans an epoch.
const MAX_SPANS_PER_TRACE: usize = 10_000;
/// One trace may take this part of the bytes, so that a trace that never ends does not push out all others.
const TRACE_SHARE: usize = 4;
/// Different models remembered for the `model` filter of one trace.
const MAX_MODELS: usize = 16;
/// A span beside its bytes: key and value in a tree that is two thirds full, the allocation and its counts.
const SPAN_OVERHEAD: usize = (size_of::<SpanKey>() + size_of::<StoredSpan>()) * 3 / 2 + 32;
/// A trace beside its spans: its slots in the map (half full) and in the queue, its first tree node.
const TRACE_OVERHEAD: usize = (size_of::<TraceId>() + size_of::<Entry>()) * 2 + 64;

/// The id and a hash of the content: an exporter's retry has both in common, two different spans that claim one id do
/// not, and both are kept so that the mistake can be seen.
type SpanKey = (SpanId, u64);

/// A span as it came, with the fields that the store itself needs.
pub(crate) struct SpanRecord {
    trace_id: TraceId,
    key: SpanKey,
    span: StoredSpanFields,
    model: Option<String>,
    bytes: Arc<[u8]>,
}

#[derive(Clone, Copy)]
struct StoredSpanFields {
    parent: Option<SpanId>,
    start: u64,
    end: u64,
    error: bool,
}

struct StoredSpan {
    fields: StoredSpanFields,
    origin: Arc<Origin>,
    bytes: Arc<[u8]>,
}

/// A span taken out for a reader: shared bytes, nothing copied.
pub(crate) struct SpanBytes {
    pub origin: Arc<Origin>,
    pub bytes: Arc<[u8]>,
    start: u64,
}

/// Which traces to list; `None` does not filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub service: Option<String>,
    pub model: Option<String>,
    pub min_duration_ns: u64,
    pub errors: Option<bool>,
    pub limit: usize,
}

/// One trace in a list. Times are nanoseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub trace_id: TraceId,
    /// The first root, or the first orphan of a trace without one.
    pub root: Option<(Arc<Origin>, Arc<[u8]>)>,
    pub start: u64,
    pub end: u64,
    pub spans: usize,
    pub services: BTreeMap<String, usize>,
    pub models: Vec<String>,
    pub errors: usize,
    /// One root and no orphan.
    pub complete: bool,
}

/// [`Counts`] of spans, with the same for whole traces.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct TraceCounts {
    #[serde(flatten)]
    pub counts: Counts,
    pub held_traces: u64,
    pub evicted_traces: u64,
    pub max_traces: u64,
}

pub(crate) struct TraceStore {
    inner: Mutex<Inner>,
    max_bytes: usize,
    max_traces: usize,
}

#[derive(Default)]
struct Inner {
    origins: Interner,
    traces: HashMap<TraceId, Entry>,
    /// By first sight; the front goes next.
    order: VecDeque<TraceId>,
    bytes: usize,
    counts: Counts,
    evicted_traces: u64,
}

struct Entry {
    spans: BTreeMap<SpanKey, StoredSpan>,
    bytes: usize,
    start: u64,
    end: u64,
    errors: usize,
    models: Vec<String>,
}

impl SpanRecord {
    /// `Ok(None)` for a span that breaks the protocol: ids of another length than 16 and 8 bytes, or all zero.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<SpanRecord>, DecodeError> {
        let span = Span::decode(bytes)?;
        let (Some(trace_id), Some(span_id)) = (id(&span.trace_id), id(&span.span_id)) else {
            return Ok(None);
        };
        let parent = id(&span.parent_span_id);
        if parent.is_none() && !matches!(span.parent_span_id.len(), 0 | 8) {
            return Ok(None);
        }
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let fields = StoredSpanFields {
            parent,
            start: span.start_time_unix_nano,
            end: span.end_time_unix_nano.max(span.start_time_unix_nano),
            error: span
                .status
                .is_some_and(|status| status.code() == StatusCode::Error),
        };
        Ok(Some(SpanRecord {
            trace_id,
            key: (span_id, hasher.finish()),
            span: fields,
            model: value::text(&span.attributes, "ml.model_name").map(str::to_owned),
            bytes: bytes.into(),
        }))
    }

    fn cost(&self) -> usize {
        SPAN_OVERHEAD + self.bytes.len() + self.model.as_ref().map_or(0, String::len)
    }
}

/// An id of exactly `N` bytes that is not all zero.
pub(crate) fn id<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok().filter(|id| *id != [0; N])
}

impl TraceStore {
    pub(crate) fn new(max_bytes: usize, max_traces: usize) -> TraceStore {
        TraceStore {
            inner: Mutex::default(),
            max_bytes,
            max_traces: max_traces.max(1),
        }
    }

    /// Stores spans of one origin and says how many it refused.
    pub(crate) fn insert(&self, origin: Origin, spans: Vec<SpanRecord>) -> usize {
        let mut inner = lock(&self.inner);
        let origin = inner.origins.intern(origin);
        let mut refused = 0;
        for span in spans {
            inner.counts.received += 1;
            if !self.insert_one(&mut inner, &origin, span) {
                refused += 1;
            }
        }
        inner.counts.refused += refused as u64;
        inner.origins.release(origin);
        self.make_room(&mut inner, 0, None);
        refused
    }

    /// Counts spans that were refused before they came here.
    pub(crate) fn count_refused(&self, spans: usize) {
        let mut inner = lock(&self.inner);
        inner.counts.received += spans as u64;
        inner.counts.refused += spans as u64;
    }

    fn insert_one(&self, inner: &mut Inner, origin: &Arc<Origin>, span: SpanRecord) -> bool {
        let cost = span.cost();
        if let Some(entry) = inner.traces.get(&span.trace_id) {
            if entry.spans.contains_key(&span.key) {
                inner.counts.duplicates += 1;
                return true;
            }
            if entry.spans.len() >= MAX_SPANS_PER_TRACE
                || entry.bytes + cost > self.max_bytes / TRACE_SHARE
            {
                return false;
            }
            self.make_room(inner, cost, Some(span.trace_id));
        } else {
            if TRACE_OVERHEAD + cost > self.max_bytes / TRACE_SHARE {
                return false;
            }
            self.make_room(inner, TRACE_OVERHEAD + cost, None);
            while inner.traces.len() >= self.max_traces {
                inner.evict(None);
            }
            inner.order.push_back(span.trace_id);
            inner.traces.insert(span.trace_id, Entry::new());
            inner.bytes += TRACE_OVERHEAD;
        }
        inner.bytes += cost;
        inner.counts.held += 1;
        if let Some(entry) = inner.traces.get_mut(&span.trace_id) {
            entry.add(span, cost, Arc::clone(origin));
        }
        true
    }

    /// Evicts until `cost` more bytes fit; `keep` is the trace being written to.
    fn make_room(&self, inner: &mut Inner, cost: usize, keep: Option<TraceId>) {
        while inner.bytes + inner.origins.bytes() + cost > self.max_bytes && inner.evict(keep) {}
    }

    /// The spans of a trace by start time.
    pub(crate) fn get(&self, trace_id: TraceId) -> Option<Vec<SpanBytes>> {
        let inner = lock(&self.inner);
        let entry = inner.traces.get(&trace_id)?;
        let mut spans: Vec<_> = entry.spans.values().map(StoredSpan::share).collect();
        drop(inner);
        spans.sort_by_key(|span| span.start);
        Some(spans)
    }

    /// Newest first.
    pub(crate) fn list(&self, filter: &Filter) -> Vec<Listed> {
        let inner = lock(&self.inner);
        let newest = inner.order.iter().rev();
        let entries = newest.filter_map(|id| Some((*id, inner.traces.get(id)?)));
        let chosen = entries
            .filter(|(_, entry)| entry.matches(filter))
            .take(filter.limit);
        let mut listed: Vec<_> = chosen.map(|(id, entry)| entry.listed(id)).collect();
        drop(inner);
        // By arrival so far; spans of two processes arrive in any order.
        listed.sort_by_key(|trace| std::cmp::Reverse(trace.start));
        listed
    }

    /// Calls `visit` with the service and the error flag of every span held.
    pub(crate) fn each_span(&self, mut visit: impl FnMut(&str, bool)) {
        let inner = lock(&self.inner);
        for span in inner.traces.values().flat_map(|entry| entry.spans.values()) {
            visit(&span.origin.service, span.fields.error);
        }
    }

    pub(crate) fn counts(&self) -> TraceCounts {
        let inner = lock(&self.inner);
        TraceCounts {
            counts: Counts {
                bytes: (inner.bytes + inner.origins.bytes()) as u64,
                max_bytes: self.max_bytes as u64,
                ..inner.counts
            },
            held_traces: inner.traces.len() as u64,
            evicted_traces: inner.evicted_traces,
            max_traces: self.max_traces as u64,
        }
    }
}

impl Inner {
    /// Gives up the oldest trace but `keep`; false if there is none.
    fn evict(&mut self, keep: Option<TraceId>) -> bool {
        let Some(at) = self.order.iter().take(2).position(|id| Some(*id) != keep) else {
            return false;
        };
        let Some(entry) = self.order.remove(at).and_then(|id| self.traces.remove(&id)) else {
            return false;
        };
        self.bytes -= TRACE_OVERHEAD + entry.bytes;
        self.counts.held -= entry.spans.len() as u64;
        self.counts.evicted += entry.spans.len() as u64;
        self.evicted_traces += 1;
        for span in entry.spans.into_values() {
            self.origins.release(span.origin);
        }
        true
    }
}

impl Entry {
    fn new() -> Entry {
        Entry {
            spans: BTreeMap::new(),
            bytes: 0,
            start: u64::MAX,
            end: 0,
            errors: 0,
            models: Vec::new(),
        }
    }

    fn add(&mut self, mut record: SpanRecord, cost: usize, origin: Arc<Origin>) {
        self.bytes += cost;
        self.start = self.start.min(record.span.start);
        self.end = self.end.max(record.span.end);
        self.errors += usize::from(record.span.error);
        if let Some(model) = mem::take(&mut record.model)
            && self.models.len() < MAX_MODELS
            && !self.models.contains(&model)
        {
            self.models.push(model);
        }
        self.spans.insert(
            record.key,
            StoredSpan {
                fields: record.span,
                origin,
                bytes: record.bytes,
            },
        );
    }

    fn matches(&self, filter: &Filter) -> bool {
        filter
            .errors
            .is_none_or(|errors| errors == (self.errors > 0))
            && self.end - self.start >= filter.min_duration_ns
            && filter
                .model
                .as_ref()
                .is_none_or(|model| self.models.contains(model))
            && filter
                .service
                .as_ref()
                .is_none_or(|service| self.has_service(service))
    }

    fn has_service(&self, service: &str) -> bool {
        self.spans
            .values()
            .any(|span| span.origin.service == service)
    }

    fn listed(&self, trace_id: TraceId) -> Listed {
        let ids: HashSet<SpanId> = self.spans.keys().map(|(id, _)| *id).collect();
        let missing = |parent: &SpanId| !ids.contains(parent);
        let top = self
            .spans
            .values()
            .filter(|span| span.fields.parent.as_ref().is_none_or(missing));
        // Roots before orphans, then by time.
        let top: Vec<_> = {
            let mut top: Vec<_> = top.collect();
            top.sort_by_key(|span| (span.fields.parent.is_some(), span.fields.start));
            top
        };
        let mut services = BTreeMap::new();
        for span in self.spans.values() {
            *services.entry(span.origin.service.clone()).or_default() += 1;
        }
        Listed {
            trace_id,
            root: top
                .first()
                .map(|span| (Arc::clone(&span.origin), Arc::clone(&span.bytes))),
            start: self.start,
            end: self.end,
            spans: self.spans.len(),
            services,
            models: self.models.clone(),
            errors: self.errors,
            complete: top.len() == 1 && top[0].fields.parent.is_none(),
        }
    }
}

impl StoredSpan {
    fn share(&self) -> SpanBytes {
        SpanBytes {
            origin: Arc::clone(&self.origin),
            bytes: Arc::clone(&self.bytes),
            start: self.fields.start,
        }
    }
}
