//! Spans by trace, bounded by bytes and by number of traces; the trace that arrived first is
//! evicted first, unless links point to it.

mod links;
mod order;
mod resource_spans;
mod span;
mod stored_trace;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use parking_lot::Mutex;
use prost::Message;
use serde::Serialize;

use links::LinkIndex;
pub(crate) use links::Referrer;
use order::{Bounds, EvictionOrder};
use span::SpanKey;
pub(crate) use span::{ReceivedSpan, StoredSpan};
pub(crate) use stored_trace::{ListedTrace, TraceOutline};
use stored_trace::{StoredTrace, in_order};

use super::{Counts, Source, SourceSet, SpanId, TraceId};
use crate::place::{self, Place};

/// Spans of one trace. The largest traces of Throughline are training runs, with a few spans an
/// epoch.
const MAX_SPANS_PER_TRACE: usize = 10_000;
/// One trace may take a quarter of the bytes, so that a trace that never ends does not evict all
/// others.
const MAX_SHARE_OF_TRACE: usize = 4;
/// A trace beside its spans: its slots in the map (half full) and in the queue, its first tree
/// node.
const TRACE_OVERHEAD: usize = (size_of::<TraceId>() + size_of::<StoredTrace>()) * 2 + 64;

/// Spans in one page of a trace.
const MAX_PAGE_SPANS: usize = 2_000;
/// Encoded bytes of these spans; as JSON they are about twice as long.
const MAX_PAGE_BYTES: usize = 512 * 1024;

/// A part of a trace.
pub(crate) struct TracePage {
    pub resource_spans: Vec<ResourceSpans>,
    /// The places of the spans of this part that are no children.
    pub tops: Vec<(SpanId, Place)>,
    /// Whether the whole trace is complete.
    pub complete: bool,
    pub offset: usize,
    /// Spans of this part.
    pub spans: usize,
    /// Spans of the trace.
    pub total: usize,
}

/// A span for a reader that looks at every span once.
pub(crate) struct NewSpan {
    pub trace_id: TraceId,
    pub source: Arc<Source>,
    bytes: Arc<[u8]>,
}

/// What a store got after a cursor.
pub(crate) struct Newer<T> {
    pub items: Vec<T>,
    /// The next cursor.
    pub cursor: u64,
    /// What came after the cursor and was evicted before this look.
    pub missed: u64,
}

pub(crate) struct TraceStore {
    traces: Mutex<TraceMap>,
    max_bytes: usize,
    max_traces: usize,
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

#[derive(Default)]
struct TraceMap {
    sources: SourceSet,
    traces: HashMap<TraceId, StoredTrace>,
    order: EvictionOrder,
    links: LinkIndex,
    bytes: usize,
    counts: Counts,
    evicted_traces: u64,
    /// Spans that were stored since the start.
    updates: u64,
}

impl TraceStore {
    pub(crate) fn new(max_bytes: usize, max_traces: usize) -> TraceStore {
        TraceStore {
            traces: Mutex::default(),
            max_bytes,
            max_traces: max_traces.max(1),
        }
    }

    /// Stores spans of one source and returns how many it refused.
    pub(crate) fn insert(&self, source: Source, spans: Vec<ReceivedSpan>) -> usize {
        let mut map = self.traces.lock();
        let source = map.sources.intern(source);
        let mut refused = 0;
        for span in spans {
            map.counts.received += 1;
            if !self.insert_one(&mut map, &source, span) {
                refused += 1;
            }
        }
        map.counts.refused += refused as u64;
        map.sources.release(source);
        self.make_room(&mut map, 0, None);
        refused
    }

    /// Counts spans that were refused before they reached the store.
    pub(crate) fn count_refused(&self, spans: usize) {
        self.traces.lock().counts.refuse(spans);
    }

    /// Returns false for a span that is refused.
    fn insert_one(&self, map: &mut TraceMap, source: &Arc<Source>, span: ReceivedSpan) -> bool {
        let cost = span.cost();
        let trace_id = span.trace_id;
        if let Some(trace) = map.traces.get(&trace_id) {
            if trace.contains(&span) {
                map.counts.duplicates += 1;
                return true;
            }
            if trace.len() >= MAX_SPANS_PER_TRACE
                || trace.bytes + cost > self.max_bytes / MAX_SHARE_OF_TRACE
            {
                return false;
            }
            self.make_room(map, cost, Some(trace_id));
        } else {
            if TRACE_OVERHEAD + cost > self.max_bytes / MAX_SHARE_OF_TRACE {
                return false;
            }
            self.make_room(map, TRACE_OVERHEAD + cost, None);
            while map.traces.len() >= self.max_traces {
                map.evict(None, self.bounds());
            }
            map.order.push(trace_id);
            map.traces.insert(trace_id, StoredTrace::new());
            map.bytes += TRACE_OVERHEAD;
        }
        map.bytes += cost;
        map.counts.held += 1;
        map.updates += 1;
        map.add(trace_id, span, Arc::clone(source));
        true
    }

    /// Evicts until `cost` more bytes fit; `keep` is the trace that the span belongs to.
    fn make_room(&self, map: &mut TraceMap, cost: usize, keep: Option<TraceId>) {
        while map.bytes + map.sources.bytes() + cost > self.max_bytes
            && map.evict(keep, self.bounds())
        {}
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            max_bytes: self.max_bytes,
            max_traces: self.max_traces,
        }
    }

    /// Identifies the state of a trace: another version has other spans.
    pub(crate) fn version(&self, trace_id: TraceId) -> Option<u64> {
        let map = self.traces.lock();
        map.traces.get(&trace_id).map(|trace| trace.version)
    }

    /// The time since a span of the trace arrived.
    pub(crate) fn since_arrival(&self, trace_id: TraceId) -> Option<Duration> {
        let map = self.traces.lock();
        let trace = map.traces.get(&trace_id)?;
        Some(trace.arrived.elapsed())
    }

    /// The spans of a trace by start time, in the groups of OTLP.
    pub(crate) fn get(&self, trace_id: TraceId) -> Option<Vec<ResourceSpans>> {
        let spans = self.snapshot(trace_id)?;
        let mut spans: Vec<_> = spans.iter().map(|(_, span)| span).collect();
        spans.sort_by_key(|span| span.fields.start);
        Some(resource_spans::group(&spans))
    }

    /// A part of a trace, from the span number `offset` in the order of their start.
    pub(crate) fn page(&self, trace_id: TraceId, offset: usize) -> Option<TracePage> {
        let snapshot = self.snapshot(trace_id)?;
        let ordered = in_order(snapshot.iter().map(|(key, span)| (key, span)));
        let complete = place::is_complete(ordered.iter().map(|(_, place, _)| *place));
        let rest = ordered.get(offset..).unwrap_or_default();
        let mut bytes = 0;
        let fits = |(_, _, span): &&(SpanId, Place, &StoredSpan)| {
            let first = bytes == 0;
            bytes += span.bytes.len();
            first || bytes <= MAX_PAGE_BYTES
        };
        let page: Vec<_> = rest.iter().take(MAX_PAGE_SPANS).take_while(fits).collect();
        let spans: Vec<_> = page.iter().map(|(_, _, span)| *span).collect();
        let tops = page.iter().filter(|(_, place, _)| place.is_top());
        Some(TracePage {
            resource_spans: resource_spans::group(&spans),
            tops: tops.map(|(id, place, _)| (*id, *place)).collect(),
            complete,
            offset,
            spans: spans.len(),
            total: ordered.len(),
        })
    }

    /// The spans share their bytes with the store, so that they are decoded outside the lock.
    fn snapshot(&self, trace_id: TraceId) -> Option<Vec<(SpanKey, StoredSpan)>> {
        let map = self.traces.lock();
        map.traces.get(&trace_id).map(StoredTrace::snapshot)
    }

    /// What the store knows of each trace, or of those that have a span of `service`, in no
    /// order.
    pub(crate) fn outlines(&self, service: Option<&str>) -> Vec<TraceOutline> {
        let map = self.traces.lock();
        let traces = map.traces.iter();
        traces
            .filter(|(_, trace)| service.is_none_or(|service| trace.has_service(service)))
            .map(|(id, trace)| trace.outline(*id))
            .collect()
    }

    /// The spans of each of these traces, with their ids, in no order; none for a trace that was
    /// evicted. They share their bytes with the store, so that they are read outside the lock.
    pub(crate) fn spans(
        &self,
        ids: impl Iterator<Item = TraceId>,
    ) -> Vec<Vec<(SpanId, StoredSpan)>> {
        let map = self.traces.lock();
        let spans = |id: TraceId| {
            let snapshot = map.traces.get(&id).map(StoredTrace::snapshot);
            let spans = snapshot.into_iter().flatten();
            spans.map(|((id, _), span)| (id, span)).collect()
        };
        ids.map(spans).collect()
    }

    /// These traces for a list, in the same order, without those that were evicted.
    pub(crate) fn listed(&self, ids: impl Iterator<Item = TraceId>) -> Vec<ListedTrace> {
        let map = self.traces.lock();
        ids.filter_map(|id| Some(map.traces.get(&id)?.listed(id)))
            .collect()
    }

    /// The spans that were stored after the update `cursor`, in the order of their arrival. They
    /// share their bytes with the store, so that they are decoded outside the lock.
    pub(crate) fn newer_than(&self, cursor: u64) -> Newer<NewSpan> {
        let map = self.traces.lock();
        let grown = map
            .traces
            .iter()
            .filter(|(_, trace)| trace.version > cursor);
        let mut found: Vec<_> = grown
            .flat_map(|(id, trace)| trace.spans().map(move |span| (*id, span)))
            .filter(|(_, span)| span.number > cursor)
            .map(|(id, span)| (id, span.clone()))
            .collect();
        let newest = map.updates;
        drop(map);
        found.sort_unstable_by_key(|(_, span)| span.number);
        Newer {
            missed: (newest - cursor).saturating_sub(found.len() as u64),
            cursor: newest,
            items: found.into_iter().map(NewSpan::from).collect(),
        }
    }

    /// Spans of other traces that link to this one, the newest first. The trace may be gone.
    pub(crate) fn referrers(&self, trace_id: TraceId) -> Vec<Referrer> {
        self.traces.lock().links.referrers(trace_id).collect()
    }

    /// The spans with that id; several if an id occurs twice.
    pub(crate) fn spans_with_id(&self, trace_id: TraceId, span_id: SpanId) -> Vec<NewSpan> {
        let map = self.traces.lock();
        let trace = map.traces.get(&trace_id);
        let spans = trace.into_iter().flat_map(|trace| trace.with_id(span_id));
        spans
            .map(|span| NewSpan::from((trace_id, span.clone())))
            .collect()
    }

    /// Calls `visit` with the service and the error flag of every stored span.
    pub(crate) fn each_span(&self, mut visit: impl FnMut(&str, bool)) {
        let map = self.traces.lock();
        for span in map.traces.values().flat_map(StoredTrace::spans) {
            visit(&span.source.service, span.fields.error);
        }
    }

    pub(crate) fn counts(&self) -> TraceCounts {
        let map = self.traces.lock();
        TraceCounts {
            counts: Counts {
                bytes: (map.bytes + map.sources.bytes()) as u64,
                max_bytes: self.max_bytes as u64,
                ..map.counts
            },
            held_traces: map.traces.len() as u64,
            evicted_traces: map.evicted_traces,
            max_traces: self.max_traces as u64,
        }
    }
}

impl NewSpan {
    /// The decoded span. The bytes are valid: they were decoded once before they were stored.
    pub(crate) fn span(&self) -> Span {
        Span::decode(&self.bytes[..]).unwrap_or_default()
    }
}

impl From<(TraceId, StoredSpan)> for NewSpan {
    fn from((trace_id, span): (TraceId, StoredSpan)) -> NewSpan {
        NewSpan {
            trace_id,
            source: span.source,
            bytes: span.bytes,
        }
    }
}

impl TraceMap {
    fn add(&mut self, trace_id: TraceId, span: ReceivedSpan, source: Arc<Source>) {
        let Some(trace) = self.traces.get_mut(&trace_id) else {
            return;
        };
        trace.version = self.updates;
        self.order.grew(trace, span.cost());
        for link in trace.add(span, source) {
            if link.target != trace_id {
                self.links.add(trace_id, link);
            }
        }
    }

    /// Evicts the oldest trace other than `keep`; false if there is none.
    fn evict(&mut self, keep: Option<TraceId>, bounds: Bounds) -> bool {
        let Some((id, trace)) = self
            .order
            .next(keep, &mut self.traces, &self.links, bounds)
            .and_then(|id| Some((id, self.traces.remove(&id)?)))
        else {
            return false;
        };
        for target in self.links.remove(id, &trace.links) {
            if let Some(target_trace) = self.traces.get_mut(&target) {
                self.order.unlinked(target, target_trace);
            }
        }
        self.bytes -= TRACE_OVERHEAD + trace.bytes;
        self.counts.held -= trace.len() as u64;
        self.counts.evicted += trace.len() as u64;
        self.evicted_traces += 1;
        for span in trace.into_spans() {
            self.sources.release(span.source);
        }
        true
    }
}
