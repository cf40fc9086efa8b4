//! Limits of attributes, and the memory that queued telemetry takes.
//!
//! The SDK ignores `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT` and its relatives
//! (<https://github.com/open-telemetry/opentelemetry-rust/issues/3374>).

use std::time::Duration;

use opentelemetry::logs::AnyValue;
use opentelemetry::trace::{Status, TraceState};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::common::v1 as proto;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLogRecord;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use crate::settings::LogLimits;

/// Characters of texts that are no attributes, for which no variable exists.
const TEXT_LENGTH: usize = 4096;

/// A processor that shortens long texts before a span is queued, so that the queue stays small.
#[derive(Debug)]
pub(crate) struct Shortening<P> {
    pub(crate) inner: P,
    /// Characters that a text value may have.
    pub(crate) value_length: usize,
}

impl<P: SpanProcessor> SpanProcessor for Shortening<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, mut span: SpanData) {
        shorten_span(&mut span, self.value_length);
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Shortens the attributes of the span, its events and its links, and what else can come from
/// outside, its name and the description of its status.
fn shorten_span(span: &mut SpanData, length: usize) {
    shorten_all(&mut span.attributes, length);
    for event in &mut span.events.events {
        shorten_all(&mut event.attributes, length);
    }
    for link in &mut span.links.links {
        shorten_all(&mut link.attributes, length);
    }
    if let Some(end) = end_of(&span.name, TEXT_LENGTH) {
        span.name = span.name[..end].to_owned().into();
    }
    if let Status::Error { description } = &mut span.status
        && let Some(end) = end_of(description, TEXT_LENGTH)
    {
        *description = description[..end].to_owned().into();
    }
}

fn shorten_all(attributes: &mut [KeyValue], length: usize) {
    for attribute in attributes {
        shorten(&mut attribute.value, length);
    }
}

pub(super) fn shorten(value: &mut Value, length: usize) {
    match value {
        Value::String(text) => shorten_text(text, length),
        Value::Array(Array::String(texts)) => {
            for text in texts {
                shorten_text(text, length);
            }
        }
        _ => {}
    }
}

fn shorten_text(text: &mut StringValue, length: usize) {
    if let Some(end) = end_of(text.as_str(), length) {
        *text = text.as_str()[..end].to_owned().into();
    }
}

/// Where a text has to end; `None` when it is no longer than `length` characters.
fn end_of(text: &str, length: usize) -> Option<usize> {
    if text.len() <= length {
        return None;
    }
    text.char_indices().nth(length).map(|(end, _)| end)
}

/// Applies the limits to log records that are about to be written. They cannot be changed earlier:
/// the SDK's own record has no way to change an attribute.
pub(super) fn limit_logs(logs: &mut [ResourceLogs], limits: LogLimits) {
    let records = logs
        .iter_mut()
        .flat_map(|logs| &mut logs.scope_logs)
        .flat_map(|logs| &mut logs.log_records);
    for record in records {
        limit_log(record, limits);
    }
}

fn limit_log(record: &mut LogRecord, limits: LogLimits) {
    let more = record.attributes.len().saturating_sub(limits.attributes);
    record.attributes.truncate(limits.attributes);
    record.dropped_attributes_count += more as u32;
    let attributes = record.attributes.iter_mut();
    for value in attributes.filter_map(|attribute| attribute.value.as_mut()) {
        shorten_any(value, limits.value_length);
    }
    if let Some(message) = &mut record.body {
        shorten_any(message, TEXT_LENGTH);
    }
}

fn shorten_any(value: &mut proto::AnyValue, length: usize) {
    use proto::any_value::Value;
    match &mut value.value {
        Some(Value::StringValue(text)) => {
            if let Some(end) = end_of(text, length) {
                text.truncate(end);
            }
        }
        Some(Value::BytesValue(bytes)) => bytes.truncate(length),
        Some(Value::ArrayValue(array)) => {
            for value in &mut array.values {
                shorten_any(value, length);
            }
        }
        Some(Value::KvlistValue(list)) => {
            for value in list
                .values
                .iter_mut()
                .filter_map(|pair| pair.value.as_mut())
            {
                shorten_any(value, length);
            }
        }
        _ => {}
    }
}

/// About the memory of a queued span.
pub(super) fn span_bytes(span: &SpanData) -> usize {
    let events = span
        .events
        .iter()
        .map(|event| size_of_val(event) + event.name.len() + attributes_bytes(&event.attributes));
    let links = span
        .links
        .iter()
        .map(|link| size_of_val(link) + attributes_bytes(&link.attributes));
    let state = span.span_context.trace_state();
    let state = if *state == TraceState::NONE {
        0
    } else {
        state.header().len()
    };
    size_of::<SpanData>()
        + span.name.len()
        + attributes_bytes(&span.attributes)
        + events.sum::<usize>()
        + links.sum::<usize>()
        + state
}

fn attributes_bytes(attributes: &[KeyValue]) -> usize {
    let value_bytes = |value: &Value| match value {
        Value::String(text) => text.as_str().len(),
        Value::Array(Array::String(texts)) => texts.iter().map(|text| text.as_str().len()).sum(),
        _ => 0,
    };
    let bytes = |attribute: &KeyValue| size_of::<KeyValue>() + value_bytes(&attribute.value);
    attributes.iter().map(bytes).sum()
}

/// About the memory of a queued log record.
pub(super) fn log_bytes(record: &SdkLogRecord) -> usize {
    let attributes = record
        .attributes_iter()
        .map(|attribute| size_of_val(attribute) + any_bytes(&attribute.1));
    size_of::<SdkLogRecord>() + record.body().map_or(0, any_bytes) + attributes.sum::<usize>()
}

fn any_bytes(value: &AnyValue) -> usize {
    match value {
        AnyValue::String(text) => text.as_str().len(),
        AnyValue::Bytes(bytes) => bytes.len(),
        AnyValue::ListAny(values) => values
            .iter()
            .map(|value| size_of_val(value) + any_bytes(value))
            .sum(),
        AnyValue::Map(map) => map
            .iter()
            .map(|(key, value)| key.as_str().len() + size_of_val(value) + any_bytes(value))
            .sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
