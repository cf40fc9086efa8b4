//! From OTLP to the tree, whatever the document claims about parents.

use std::collections::HashMap;
use std::mem;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, span::SpanKind, status::StatusCode};
use serde_json::Value;

use super::{Event, Kind, Link, ModelError, Span, Status, Trace};
use crate::store::{SpanId, service_name};
use crate::value::plain_map;

pub(super) fn trace(document: ExportTraceServiceRequest) -> Result<Trace, ModelError> {
    let mut trace_id: Option<Vec<u8>> = None;
    let mut spans = Vec::new();
    for resource_spans in document.resource_spans {
        let resource = resource_spans.resource.unwrap_or_default();
        let service = service_name(&resource.attributes);
        for span in resource_spans
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans)
        {
            if trace_id.get_or_insert_with(|| span.trace_id.clone()) != &span.trace_id {
                return Err(ModelError::SeveralTraces);
            }
            spans.push(convert(span, &service));
        }
    }
    let trace_id = hex::encode(&trace_id.ok_or(ModelError::Empty)?);
    Ok(Trace {
        trace_id,
        spans: depth_first(spans),
    })
}

/// Orders the spans and sets `depth` and `orphan`. Ids that occur twice and parents that go in circles are possible here.
fn depth_first(mut spans: Vec<Span>) -> Vec<Span> {
    // Names and ids break ties, so that equal documents in another order give equal trees.
    spans.sort_by(|a, b| (a.start, &a.name, &a.span_id).cmp(&(b.start, &b.name, &b.span_id)));
    let mut index: HashMap<&str, usize> = HashMap::new();
    for (at, span) in spans.iter().enumerate() {
        index.entry(&span.span_id).or_insert(at);
    }
    let parent_of = |(at, span): (usize, &Span)| {
        span.parent
            .as_deref()
            .and_then(|id| index.get(id).copied())
            .filter(|parent| *parent != at)
    };
    let parents: Vec<Option<usize>> = spans.iter().enumerate().map(parent_of).collect();
    let mut children = vec![Vec::new(); spans.len()];
    for (at, parent) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            children[*parent].push(at);
        }
    }
    let mut top: Vec<usize> = (0..spans.len())
        .filter(|at| parents[*at].is_none())
        .collect();
    top.sort_by_key(|at| spans[*at].parent.is_some());
    // After the real tops, every span again: what has not been reached by then goes in circles, and its earliest span
    // has to stand for a parent that nobody has.
    let starts = top.into_iter().chain(0..spans.len());

    let mut slots: Vec<Option<Span>> = spans.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(slots.len());
    for start in starts {
        let mut stack = vec![(start, 0)];
        while let Some((at, depth)) = stack.pop() {
            let Some(span) = slots[at].take() else {
                continue;
            };
            let orphan = depth == 0 && span.parent.is_some();
            ordered.push(Span {
                depth,
                orphan,
                ..span
            });
            stack.extend(
                mem::take(&mut children[at])
                    .into_iter()
                    .rev()
                    .map(|child| (child, depth + 1)),
            );
        }
    }
    ordered
}

fn convert(span: otlp::Span, service: &str) -> Span {
    let parent: Option<SpanId> = span.parent_span_id.as_slice().try_into().ok();
    Span {
        span_id: hex::encode(&span.span_id),
        parent: parent
            .filter(|id| *id != SpanId::default())
            .map(hex::encode),
        kind: kind(span.kind()),
        status: status(span.status.unwrap_or_default()),
        name: span.name,
        service: service.to_owned(),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        attributes: map(span.attributes),
        events: span.events.into_iter().map(event).collect(),
        links: span.links.into_iter().map(link).collect(),
        depth: 0,
        orphan: false,
    }
}

fn event(event: otlp::span::Event) -> Event {
    Event {
        name: event.name,
        time: event.time_unix_nano,
        attributes: map(event.attributes),
    }
}

fn link(link: otlp::span::Link) -> Link {
    Link {
        trace_id: hex::encode(&link.trace_id),
        span_id: hex::encode(&link.span_id),
        attributes: map(link.attributes),
    }
}

fn status(status: otlp::Status) -> Status {
    match status.code() {
        StatusCode::Unset => Status::Unset,
        StatusCode::Ok => Status::Ok,
        StatusCode::Error => Status::Error(status.message),
    }
}

fn kind(kind: SpanKind) -> Kind {
    match kind {
        SpanKind::Unspecified => Kind::Unspecified,
        SpanKind::Internal => Kind::Internal,
        SpanKind::Server => Kind::Server,
        SpanKind::Client => Kind::Client,
        SpanKind::Producer => Kind::Producer,
        SpanKind::Consumer => Kind::Consumer,
    }
}

fn map(attributes: Vec<KeyValue>) -> std::collections::BTreeMap<String, Value> {
    plain_map(attributes).into_iter().collect()
}
