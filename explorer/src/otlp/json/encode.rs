//! Writes spans as OTLP/JSON, `{"resourceSpans": […]}`, which any OTLP tool can read.
//!
//! The serde form of `opentelemetry-proto` (0.33.1) writes NaN as `null`
//! (<https://github.com/open-telemetry/opentelemetry-rust/pull/3496>), writes fields that are not set,
//! and writes some 64-bit integers as numbers. This module follows the JSON mapping of protobuf with
//! the deviations of OTLP: ids in hex, enums as integers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::{Map, Value, json};

use crate::attribute::double;

/// The list `resourceSpans` with these spans.
pub(crate) fn encode(spans: Vec<ResourceSpans>) -> Value {
    spans.into_iter().map(resource_spans).collect()
}

fn resource_spans(spans: ResourceSpans) -> Value {
    let mut object = JsonObject::default();
    object.always("resource", resource(spans.resource.unwrap_or_default()));
    let scopes = spans.scope_spans.into_iter().map(scope_spans);
    object.always("scopeSpans", scopes.collect::<Value>());
    object.text("schemaUrl", spans.schema_url);
    object.into()
}

fn resource(resource: Resource) -> Value {
    let mut object = JsonObject::default();
    object.attributes(resource.attributes, resource.dropped_attributes_count);
    object.into()
}

fn scope_spans(spans: ScopeSpans) -> Value {
    let mut object = JsonObject::default();
    object.always("scope", scope(spans.scope.unwrap_or_default()));
    let list: Value = spans.spans.into_iter().map(span).collect();
    object.always("spans", list);
    object.text("schemaUrl", spans.schema_url);
    object.into()
}

fn scope(scope: InstrumentationScope) -> Value {
    let mut object = JsonObject::default();
    object.text("name", scope.name);
    object.text("version", scope.version);
    object.attributes(scope.attributes, scope.dropped_attributes_count);
    object.into()
}

fn span(span: Span) -> Value {
    let mut object = JsonObject::default();
    object.id("traceId", span.trace_id);
    object.id("spanId", span.span_id);
    object.text("traceState", span.trace_state);
    object.text("parentSpanId", hex::encode(span.parent_span_id));
    object.number("flags", span.flags);
    object.always("name", span.name);
    object.always("kind", span.kind);
    object.time("startTimeUnixNano", span.start_time_unix_nano);
    object.time("endTimeUnixNano", span.end_time_unix_nano);
    object.attributes(span.attributes, span.dropped_attributes_count);
    object.list("events", span.events.into_iter().map(event));
    object.number("droppedEventsCount", span.dropped_events_count);
    object.list("links", span.links.into_iter().map(link));
    object.number("droppedLinksCount", span.dropped_links_count);
    object.always("status", status(span.status.unwrap_or_default()));
    object.into()
}

fn event(event: Event) -> Value {
    let mut object = JsonObject::default();
    object.time("timeUnixNano", event.time_unix_nano);
    object.always("name", event.name);
    object.attributes(event.attributes, event.dropped_attributes_count);
    object.into()
}

fn link(link: Link) -> Value {
    let mut object = JsonObject::default();
    object.id("traceId", link.trace_id);
    object.id("spanId", link.span_id);
    object.text("traceState", link.trace_state);
    object.attributes(link.attributes, link.dropped_attributes_count);
    object.number("flags", link.flags);
    object.into()
}

fn status(status: Status) -> Value {
    let mut object = JsonObject::default();
    object.text("message", status.message);
    if status.code != 0 {
        object.always("code", status.code);
    }
    object.into()
}

/// Attributes as `[{"key": …, "value": {…}}]`.
fn key_values(attributes: Vec<KeyValue>) -> Value {
    let mut list = Vec::with_capacity(attributes.len());
    for KeyValue { key, value, .. } in attributes {
        list.push(json!({ "key": key, "value": any_value(value.unwrap_or_default()) }));
    }
    Value::Array(list)
}

/// One value with its type, such as `{"intValue": "5"}`.
fn any_value(value: AnyValue) -> Value {
    match value.value {
        None | Some(Any::StringValueStrindex(_)) => json!({}),
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(flag)) => json!({ "boolValue": flag }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        Some(Any::DoubleValue(number)) => json!({ "doubleValue": double(number) }),
        Some(Any::ArrayValue(array)) => {
            let values: Value = array.values.into_iter().map(any_value).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Some(Any::KvlistValue(list)) => {
            json!({ "kvlistValue": { "values": key_values(list.values) } })
        }
        Some(Any::BytesValue(bytes)) => json!({ "bytesValue": BASE64_STANDARD.encode(bytes) }),
    }
}

/// An object under construction. Fields at their default are left out, as the mapping allows.
#[derive(Default)]
struct JsonObject(Map<String, Value>);

impl JsonObject {
    fn always(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    fn id(&mut self, name: &str, id: Vec<u8>) {
        self.always(name, hex::encode(id));
    }

    fn time(&mut self, name: &str, unix_nanos: u64) {
        self.always(name, unix_nanos.to_string());
    }

    fn text(&mut self, name: &str, text: String) {
        if !text.is_empty() {
            self.always(name, text);
        }
    }

    fn number(&mut self, name: &str, number: u32) {
        if number != 0 {
            self.always(name, number);
        }
    }

    fn list(&mut self, name: &str, items: impl ExactSizeIterator<Item = Value>) {
        if items.len() > 0 {
            self.always(name, items.collect::<Value>());
        }
    }

    fn attributes(&mut self, attributes: Vec<KeyValue>, dropped: u32) {
        if !attributes.is_empty() {
            self.always("attributes", key_values(attributes));
        }
        self.number("droppedAttributesCount", dropped);
    }
}

impl From<JsonObject> for Value {
    fn from(object: JsonObject) -> Value {
        Value::Object(object.0)
    }
}
