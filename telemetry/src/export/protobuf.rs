//! A batch of spans as OTLP protobuf, written straight from the SDK's own form.
//!
//! Messages: opentelemetry-proto 1.x, `trace.proto`, `common.proto` and `resource.proto`.
//! `export/tests.rs` compares the bytes with those of the `opentelemetry-proto` crate.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;

use super::wire::ProtobufWriter;

/// A guess at the bytes of a request's span, so that the buffer rarely has to grow.
const SPAN_BYTES: usize = 512;

/// Writes an `ExportTraceServiceRequest`.
pub(crate) fn encode(resource: &Resource, batch: &[SpanData]) -> Vec<u8> {
    let mut request = ProtobufWriter::with_capacity(batch.len() * SPAN_BYTES);
    request.message(1, |resource_spans| {
        resource_spans.message(1, |message| {
            for (key, value) in resource {
                write_attribute(message, 1, key, value);
            }
        });
        for (scope, spans) in by_scope(batch) {
            resource_spans.message(2, |scope_spans| {
                scope_spans.message(1, |message| write_scope(message, scope));
                for span in spans {
                    scope_spans.message(2, |message| write_span(message, span));
                }
                scope_spans.bytes(3, scope.schema_url().unwrap_or_default());
            });
        }
        resource_spans.bytes(3, resource.schema_url().unwrap_or_default());
    });
    request.into_bytes()
}

/// The spans of each scope; a process has one scope or a few.
fn by_scope(batch: &[SpanData]) -> Vec<(&InstrumentationScope, Vec<&SpanData>)> {
    let mut scopes: Vec<(&InstrumentationScope, Vec<&SpanData>)> = Vec::new();
    for span in batch {
        match scopes
            .iter_mut()
            .find(|(scope, _)| **scope == span.instrumentation_scope)
        {
            Some((_, spans)) => spans.push(span),
            None => scopes.push((&span.instrumentation_scope, vec![span])),
        }
    }
    scopes
}

fn write_scope(message: &mut ProtobufWriter, scope: &InstrumentationScope) {
    message.bytes(1, scope.name());
    message.bytes(2, scope.version().unwrap_or_default());
    for attribute in scope.attributes() {
        write_attribute(message, 3, &attribute.key, &attribute.value);
    }
}

fn write_span(message: &mut ProtobufWriter, span: &SpanData) {
    write_ids(message, &span.span_context);
    if span.parent_span_id != SpanId::INVALID {
        message.bytes(4, span.parent_span_id.to_bytes());
    }
    message.bytes(5, span.name.as_ref());
    message.number(6, kind(&span.span_kind));
    message.fixed64(7, nanoseconds(span.start_time));
    message.fixed64(8, nanoseconds(span.end_time));
    write_attributes(message, 9, &span.attributes);
    message.number(10, span.dropped_attributes_count);
    for event in span.events.iter() {
        message.message(11, |inner| write_event(inner, event));
    }
    message.number(12, span.events.dropped_count);
    for link in span.links.iter() {
        message.message(13, |inner| write_link(inner, link));
    }
    message.number(14, span.links.dropped_count);
    message.message(15, |inner| write_status(inner, &span.status));
    message.fixed32(16, flags(&span.span_context, span.parent_span_is_remote));
}

fn write_event(message: &mut ProtobufWriter, event: &Event) {
    message.fixed64(1, nanoseconds(event.timestamp));
    message.bytes(2, event.name.as_ref());
    write_attributes(message, 3, &event.attributes);
    message.number(4, event.dropped_attributes_count);
}

fn write_link(message: &mut ProtobufWriter, link: &Link) {
    write_ids(message, &link.span_context);
    write_attributes(message, 4, &link.attributes);
    message.number(5, link.dropped_attributes_count);
    message.fixed32(6, flags(&link.span_context, link.span_context.is_remote()));
}

/// Trace id, span id and trace state have the same numbers in spans and in links.
fn write_ids(message: &mut ProtobufWriter, ids: &SpanContext) {
    message.present_bytes(1, ids.trace_id().to_bytes());
    message.present_bytes(2, ids.span_id().to_bytes());
    message.bytes(3, ids.trace_state().header());
}

fn write_status(message: &mut ProtobufWriter, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => message.number(3, 1_u8),
        Status::Error { description } => {
            message.bytes(2, description.as_ref());
            message.number(3, 2_u8);
        }
    }
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

/// The W3C flags; bit 8 is set when bit 9 says whether the parent, or the target of a link, is
/// remote.
fn flags(ids: &SpanContext, remote: bool) -> u32 {
    u32::from(ids.trace_flags().to_u8()) | 0x100 | if remote { 0x200 } else { 0 }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos() as u64
}

fn write_attributes(message: &mut ProtobufWriter, field: u8, attributes: &[KeyValue]) {
    for attribute in attributes {
        write_attribute(message, field, &attribute.key, &attribute.value);
    }
}

fn write_attribute(message: &mut ProtobufWriter, field: u8, key: &Key, value: &Value) {
    message.message(field, |pair| {
        pair.bytes(1, key.as_str());
        pair.message(2, |any| write_value(any, value));
    });
}

/// Writes an `AnyValue`. Its field is the type, so it is written whatever the value.
fn write_value(any: &mut ProtobufWriter, value: &Value) {
    match value {
        Value::String(text) => any.present_bytes(1, text.as_str()),
        Value::Bool(value) => any.present_number(2, u64::from(*value)),
        Value::I64(value) => any.present_number(3, value.cast_unsigned()),
        Value::F64(value) => any.present_fixed64(4, value.to_bits()),
        Value::Array(array) => any.message(5, |list| write_array(list, array)),
        // `Value` is non-exhaustive; there is no other type in opentelemetry 0.33.
        _ => {}
    }
}

fn write_array(list: &mut ProtobufWriter, array: &Array) {
    match array {
        Array::String(texts) => {
            write_each(list, texts, |any, text| any.present_bytes(1, text.as_str()));
        }
        Array::Bool(values) => write_each(list, values, |any, value| {
            any.present_number(2, u64::from(*value));
        }),
        Array::I64(values) => write_each(list, values, |any, value| {
            any.present_number(3, value.cast_unsigned());
        }),
        Array::F64(values) => write_each(list, values, |any, value| {
            any.present_fixed64(4, value.to_bits());
        }),
        _ => {}
    }
}

fn write_each<T>(list: &mut ProtobufWriter, values: &[T], write: impl Fn(&mut ProtobufWriter, &T)) {
    for value in values {
        list.message(1, |any| write(any, value));
    }
}
