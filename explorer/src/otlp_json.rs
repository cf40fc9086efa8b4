//! OTLP/JSON out: stored spans as `{"resourceSpans": […]}` that any OTLP tool can read.
//!
//! Written by hand rather than through the serde form of `opentelemetry-proto`, which turns NaN into `null`, empty fields
//! into noise and small integers of 64 bits into whatever fits: mapping of the protobuf JSON specification with the
//! deviations of OTLP (hex ids, enums as integers).

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use serde_json::{Map, Value, json};

use crate::store::Origin;
use crate::store::traces::SpanBytes;
use crate::value::otlp_list;

/// A document with the spans, grouped by resource and scope in the order of their first span.
pub(crate) fn document(spans: &[SpanBytes]) -> Value {
    let mut origins: Vec<(&Arc<Origin>, Vec<Value>)> = Vec::new();
    for stored in spans {
        let span = span(Span::decode(&stored.bytes[..]).unwrap_or_default());
        match origins
            .iter_mut()
            .find(|(origin, _)| Arc::ptr_eq(origin, &stored.origin))
        {
            Some((_, list)) => list.push(span),
            None => origins.push((&stored.origin, vec![span])),
        }
    }
    let mut resources: Vec<(&Arc<Origin>, Vec<Value>)> = Vec::new();
    for (origin, spans) in origins {
        let scope_spans = scope_spans(origin, spans);
        match resources
            .iter_mut()
            .find(|(first, _)| same_resource(first, origin))
        {
            Some((_, list)) => list.push(scope_spans),
            None => resources.push((origin, vec![scope_spans])),
        }
    }
    let resource_spans = resources
        .into_iter()
        .map(|(origin, scope_spans)| resource_spans(origin, scope_spans));
    json!({ "resourceSpans": resource_spans.collect::<Vec<_>>() })
}

fn same_resource(a: &Origin, b: &Origin) -> bool {
    a.resource == b.resource && a.resource_schema_url == b.resource_schema_url
}

fn resource_spans(origin: &Origin, scope_spans: Vec<Value>) -> Value {
    let resource = origin.resource();
    let mut out = Fields::default();
    let mut fields = Fields::default();
    fields.attributes(resource.attributes, resource.dropped_attributes_count);
    out.always("resource", fields.into());
    out.always("scopeSpans", Value::Array(scope_spans));
    out.text("schemaUrl", &origin.resource_schema_url);
    out.into()
}

fn scope_spans(origin: &Origin, spans: Vec<Value>) -> Value {
    let scope = origin.scope();
    let mut fields = Fields::default();
    fields.text("name", &scope.name);
    fields.text("version", &scope.version);
    fields.attributes(scope.attributes, scope.dropped_attributes_count);
    let mut out = Fields::default();
    out.always("scope", fields.into());
    out.always("spans", Value::Array(spans));
    out.text("schemaUrl", &origin.scope_schema_url);
    out.into()
}

fn span(span: Span) -> Value {
    let mut out = Fields::default();
    out.always("traceId", hex::encode(&span.trace_id).into());
    out.always("spanId", hex::encode(&span.span_id).into());
    out.text("traceState", &span.trace_state);
    out.text("parentSpanId", &hex::encode(&span.parent_span_id));
    out.number("flags", span.flags);
    out.always("name", span.name.into());
    out.always("kind", span.kind.into());
    out.always(
        "startTimeUnixNano",
        span.start_time_unix_nano.to_string().into(),
    );
    out.always(
        "endTimeUnixNano",
        span.end_time_unix_nano.to_string().into(),
    );
    out.attributes(span.attributes, span.dropped_attributes_count);
    out.list("events", span.events.into_iter().map(event));
    out.number("droppedEventsCount", span.dropped_events_count);
    out.list("links", span.links.into_iter().map(link));
    out.number("droppedLinksCount", span.dropped_links_count);
    out.always("status", status(&span.status.unwrap_or_default()));
    out.into()
}

fn event(event: Event) -> Value {
    let mut out = Fields::default();
    out.always("timeUnixNano", event.time_unix_nano.to_string().into());
    out.always("name", event.name.into());
    out.attributes(event.attributes, event.dropped_attributes_count);
    out.into()
}

fn link(link: Link) -> Value {
    let mut out = Fields::default();
    out.always("traceId", hex::encode(&link.trace_id).into());
    out.always("spanId", hex::encode(&link.span_id).into());
    out.text("traceState", &link.trace_state);
    out.attributes(link.attributes, link.dropped_attributes_count);
    out.number("flags", link.flags);
    out.into()
}

fn status(status: &Status) -> Value {
    let mut out = Fields::default();
    out.text("message", &status.message);
    if status.code != 0 {
        out.always("code", status.code.into());
    }
    out.into()
}

/// An object under construction: fields at their default are left out, as the mapping allows.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn always(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.always(name, text.into());
        }
    }

    fn number(&mut self, name: &str, number: u32) {
        if number != 0 {
            self.always(name, number.into());
        }
    }

    fn list(&mut self, name: &str, items: impl ExactSizeIterator<Item = Value>) {
        if items.len() > 0 {
            self.always(name, items.collect());
        }
    }

    fn attributes(&mut self, attributes: Vec<KeyValue>, dropped: u32) {
        if !attributes.is_empty() {
            self.always("attributes", otlp_list(attributes));
        }
        self.number("droppedAttributesCount", dropped);
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Value {
        Value::Object(fields.0)
    }
}
