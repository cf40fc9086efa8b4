//! From OTLP to the tree. A document may claim anything about parents.

use std::mem;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans, status::StatusCode};

use super::{AttributeMap, SpanData, SpanEvent, SpanKind, SpanLink, SpanStatus, Trace, TraceError};
use crate::attribute;
use crate::place::{self, Ancestry, Place};
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
            let remote_parent = place::has_remote_parent(span.flags, span.kind());
            spans.push((span_data(span, &service, &resource), remote_parent));
        }
    }
    let trace_id = hex::encode(trace_id.ok_or(TraceError::Empty)?);
    // Names and ids break ties, so that the order of the document does not change the tree.
    spans.sort_by(|(a, _), (b, _)| {
        (a.start, &a.name, &a.span_id).cmp(&(b.start, &b.name, &b.span_id))
    });
    Ok(Trace {
        trace_id,
        spans: depth_first(spans),
    })
}

/// Orders spans that are sorted by start time, and sets `depth` and `place`.
fn depth_first(spans: Vec<(SpanData, bool)>) -> Vec<SpanData> {
    let ancestries: Vec<_> = spans
        .iter()
        .map(|(span, remote_parent)| Ancestry {
            id: span.span_id.as_str(),
            parent: span.parent.as_deref(),
            remote_parent: *remote_parent,
        })
        .collect();
    let parents = place::parents(&ancestries);
    let places = place::places(&ancestries, &parents);
    let mut children = vec![Vec::new(); spans.len()];
    for (at, parent) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            children[*parent].push(at);
        }
    }
    let mut tops: Vec<usize> = (0..spans.len()).filter(|at| places[*at].is_top()).collect();
    tops.sort_by_key(|at| places[*at]);

    let mut unplaced: Vec<Option<SpanData>> =
        spans.into_iter().map(|(span, _)| Some(span)).collect();
    let mut ordered = Vec::with_capacity(unplaced.len());
    let mut stack: Vec<(usize, usize)> = tops.into_iter().rev().map(|top| (top, 0)).collect();
    while let Some((at, depth)) = stack.pop() {
        let Some(mut span) = unplaced[at].take() else {
            continue;
        };
        span.depth = depth;
        span.place = places[at];
        ordered.push(span);
        let below = mem::take(&mut children[at]).into_iter().rev();
        stack.extend(below.map(|child| (child, depth + 1)));
    }
    ordered
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
        place: Place::Child,
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
