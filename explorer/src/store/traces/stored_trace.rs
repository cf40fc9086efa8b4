//! One stored trace: its spans, and what a list shows of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::links::{MAX_LINKS_OF_TRACE, OwnLink};
use super::span::{ReceivedSpan, SpanKey, StoredSpan};
use crate::place::{self, Ancestry, Place};
use crate::store::{Source, SpanId, TraceId};

/// Models that a list shows of one trace.
const MAX_MODELS: usize = 16;

/// What is known of a trace without reading its spans. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceOutline {
    pub id: TraceId,
    pub start: u64,
    pub end: u64,
    /// Whether a span has status ERROR.
    pub failed: bool,
}

/// One trace in a list. Times are nanoseconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct ListedTrace {
    pub trace_id: TraceId,
    /// The first root with its source; without a root the first orphan, or the earliest span of a
    /// cycle.
    pub root: Option<(Arc<Source>, Arc<[u8]>)>,
    pub start: u64,
    pub end: u64,
    pub spans: usize,
    pub services: BTreeMap<String, usize>,
    pub models: Vec<String>,
    pub errors: usize,
    /// See [`place::is_complete`].
    pub complete: bool,
}

impl TraceOutline {
    /// Nanoseconds from the first start to the last end.
    pub(crate) fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

pub(super) struct StoredTrace {
    spans: BTreeMap<SpanKey, StoredSpan>,
    pub bytes: usize,
    /// Changes with every span, and is never that of another trace.
    pub version: u64,
    /// When a span was added last.
    pub arrived: Instant,
    start: u64,
    end: u64,
    errors: usize,
    models: Vec<String>,
    /// Links of its spans, as many as are indexed.
    pub links: Vec<OwnLink>,
    /// Whether it outstayed its turn because something links to it.
    pub is_kept: bool,
}

impl StoredTrace {
    pub(super) fn new() -> StoredTrace {
        StoredTrace {
            spans: BTreeMap::new(),
            bytes: 0,
            version: 0,
            arrived: Instant::now(),
            start: u64::MAX,
            end: 0,
            errors: 0,
            models: Vec::new(),
            links: Vec::new(),
            is_kept: false,
        }
    }

    pub(super) fn contains(&self, span: &ReceivedSpan) -> bool {
        self.spans.contains_key(&span.key)
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn spans(&self) -> impl Iterator<Item = &StoredSpan> {
        self.spans.values()
    }

    /// The spans with that id.
    pub(super) fn with_id(&self, span_id: SpanId) -> impl Iterator<Item = &StoredSpan> {
        let keys = (span_id, 0)..=(span_id, u64::MAX);
        self.spans.range(keys).map(|(_, span)| span)
    }

    pub(super) fn into_spans(self) -> impl Iterator<Item = StoredSpan> {
        self.spans.into_values()
    }

    /// Stores a span and returns those of its links that are to be indexed.
    pub(super) fn add(&mut self, span: ReceivedSpan, source: Arc<Source>) -> Vec<OwnLink> {
        self.bytes += span.cost();
        self.arrived = Instant::now();
        self.start = self.start.min(span.fields.start);
        self.end = self.end.max(span.fields.end);
        self.errors += usize::from(span.fields.error);
        if let Some(model) = span.model
            && self.models.len() < MAX_MODELS
            && !self.models.contains(&model)
        {
            self.models.push(model);
        }
        let stored = StoredSpan {
            fields: span.fields,
            source,
            bytes: span.bytes,
            number: self.version,
        };
        self.spans.insert(span.key, stored);
        let mut links = span.links;
        links.truncate(MAX_LINKS_OF_TRACE.saturating_sub(self.links.len()));
        self.links.extend(&links);
        links
    }

    pub(super) fn outline(&self, id: TraceId) -> TraceOutline {
        TraceOutline {
            id,
            start: self.start,
            end: self.end,
            failed: self.errors > 0,
        }
    }

    pub(super) fn has_service(&self, service: &str) -> bool {
        self.spans().any(|span| span.source.service == service)
    }

    pub(super) fn listed(&self, trace_id: TraceId) -> ListedTrace {
        let tops = self.tops();
        let mut services = BTreeMap::new();
        for span in self.spans() {
            *services.entry(span.source.service.clone()).or_default() += 1;
        }
        ListedTrace {
            trace_id,
            root: tops
                .first()
                .map(|(_, span)| (Arc::clone(&span.source), Arc::clone(&span.bytes))),
            start: self.start,
            end: self.end,
            spans: self.len(),
            services,
            models: self.models.clone(),
            errors: self.errors,
            complete: place::is_complete(tops.iter().map(|(place, _)| *place)),
        }
    }

    /// The spans that are no children, in the order of their places, then by start time.
    fn tops(&self) -> Vec<(Place, &StoredSpan)> {
        let mut tops: Vec<_> = in_order(self.spans.iter())
            .into_iter()
            .map(|(_, place, span)| (place, span))
            .filter(|(place, _)| place.is_top())
            .collect();
        tops.sort_by_key(|(place, _)| *place);
        tops
    }

    /// A copy that shares the encoded spans.
    pub(super) fn snapshot(&self) -> Vec<(SpanKey, StoredSpan)> {
        let spans = self.spans.iter();
        spans.map(|(key, span)| (*key, span.clone())).collect()
    }
}

/// The spans by start time, each with its id and its place.
pub(super) fn in_order<'a>(
    spans: impl Iterator<Item = (&'a SpanKey, &'a StoredSpan)>,
) -> Vec<(SpanId, Place, &'a StoredSpan)> {
    let mut spans: Vec<_> = spans.map(|((id, _), span)| (*id, span)).collect();
    spans.sort_by_key(|(_, span)| span.fields.start);
    let ancestries: Vec<_> = spans
        .iter()
        .map(|(id, span)| Ancestry {
            id: *id,
            parent: span.fields.parent,
            remote_parent: span.fields.remote_parent,
        })
        .collect();
    let places = place::places(&ancestries, &place::parents(&ancestries));
    let spans = spans.into_iter().zip(places);
    spans.map(|((id, span), place)| (id, place, span)).collect()
}
