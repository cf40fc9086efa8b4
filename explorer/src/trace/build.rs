//! From OTLP to the tree. A document may claim anything about parents.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans, status::StatusCode};

use super::{AttributeMap, SpanData, SpanEvent, SpanKind, SpanLink, SpanStatus, Trace, TraceError};
use crate::attribute;
use crate::store::{SpanId, service_name};

pub(super) fn trace(document: Vec<ResourceSpans>) -> Result<Trace, TraceError> {
    let mut trace_id: Option<Vec<u8>> = None;
    let mut spans = Vec::new();
    for resource_spans in document {
        let resource = resource_spans.resource.unwrap_or_default();
        let service = service_name(&resource.attributes);
        let resource = Arc::new(map(resource.attributes));
        let scopes = resource_spans.scope_spans.into_iter();
        for span in scopes.flat_map(|scope| scope.spans) {
            if trace_id.get_or_insert_with(|| span.trace_id.clone()) != &span.trace_id {
                return Err(TraceError::SeveralTraces);
            }
            spans.push(span_data(span, &service, &resource));
        }
    }
    let trace_id = hex::encode(trace_id.ok_or(TraceError::Empty)?);
    // Names and ids break ties, so that the order of the document does not change the tree.
    spans.sort_by(|a, b| (a.start, &a.name, &a.span_id).cmp(&(b.start, &b.name, &b.span_id)));
    Ok(Trace {
        trace_id,
        spans: depth_first(spans),
    })
}

/// Orders spans that are sorted by start time, and sets `depth` and `orphan`. Ids may occur twice
/// here, and parents may form a cycle.
fn depth_first(spans: Vec<SpanData>) -> Vec<SpanData> {
    let parents = parents(&spans);
    let mut children = vec![Vec::new(); spans.len()];
    for (at, parent) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            children[*parent].push(at);
        }
    }
    let mut tops: Vec<usize> = (0..spans.len())
        .filter(|at| parents[*at].is_none())
        .collect();
    tops.sort_by_key(|at| spans[*at].parent.is_some());
    // Every span follows the tops: what they do not reach is a cycle, which the loop below opens
    // at its earliest span.
    let starts = tops.into_iter().chain(0..spans.len());

    let mut unplaced: Vec<Option<SpanData>> = spans.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(unplaced.len());
    for start in starts {
        let mut stack = vec![(start, 0)];
        while let Some((at, depth)) = stack.pop() {
            let Some(mut span) = unplaced[at].take() else {
                continue;
            };
            span.depth = depth;
            span.orphan = depth == 0 && span.parent.is_some();
            ordered.push(span);
            let below = mem::take(&mut children[at]).into_iter().rev();
            stack.extend(below.map(|child| (child, depth + 1)));
        }
    }
    ordered
}

/// For each span the index of its parent, if the parent is another span of the list.
fn parents(spans: &[SpanData]) -> Vec<Option<usize>> {
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (at, span) in spans.iter().enumerate() {
        index.entry(&span.span_id).or_insert(at);
    }
    let mut parents = Vec::with_capacity(spans.len());
    for (at, span) in spans.iter().enumerate() {
        let parent = span.parent.as_deref().and_then(|id| index.get(id).copied());
        parents.push(parent.filter(|parent| *parent != at));
    }
    parents
}

fn span_data(span: otlp::Span, service: &str, resource: &Arc<AttributeMap>) -> SpanData {
    let parent: Option<SpanId> = span.parent_span_id.as_slice().try_into().ok();
    SpanData {
        span_id: hex::encode(&span.span_id),
        parent: parent
            .filter(|id| *id != SpanId::default())
            .map(hex::encode),
        kind: kind(span.kind()),
        status: status(span.status.unwrap_or_default()),
        name: span.name,
        service: service.to_owned(),
        resource: Arc::clone(resource),
        trace_state: span.trace_state,
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: map(span.attributes),
        events: span.events.into_iter().map(event).collect(),
        links: span.links.into_iter().map(link).collect(),
        depth: 0,
        orphan: false,
    }
}

fn event(event: otlp::span::Event) -> SpanEvent {
    SpanEvent {
        name: event.name,
        time: event.time_unix_nano,
        attributes: map(event.attributes),
    }
}

fn link(link: otlp::span::Link) -> SpanLink {
    SpanLink {
        trace_id: hex::encode(&link.trace_id),
        span_id: hex::encode(&link.span_id),
        attributes: map(link.attributes),
    }
}

fn status(status: otlp::Status) -> SpanStatus {
    match status.code() {
        StatusCode::Unset => SpanStatus::Unset,
        StatusCode::Ok => SpanStatus::Ok,
        StatusCode::Error => SpanStatus::Error(status.message),
    }
}

fn kind(kind: otlp::span::SpanKind) -> SpanKind {
    match kind {
        otlp::span::SpanKind::Unspecified => SpanKind::Unspecified,
        otlp::span::SpanKind::Internal => SpanKind::Internal,
        otlp::span::SpanKind::Server => SpanKind::Server,
        otlp::span::SpanKind::Client => SpanKind::Client,
        otlp::span::SpanKind::Producer => SpanKind::Producer,
        otlp::span::SpanKind::Consumer => SpanKind::Consumer,
    }
}

fn map(attributes: Vec<KeyValue>) -> AttributeMap {
    attribute::plain_map(attributes).into_iter().collect()
}
