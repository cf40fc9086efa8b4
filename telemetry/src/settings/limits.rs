//! How much one span or log record may hold.

use super::Reader;

/// Characters of a text value without a variable. The specification has no limit by default, but
/// then one client with long headers can fill the queue and the batches of everybody.
const VALUE_LENGTH: usize = 4096;
const ATTRIBUTES: u32 = 128;

/// Limits of one span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanLimits {
    /// Attributes of one span: `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, or `OTEL_ATTRIBUTE_COUNT_LIMIT`.
    pub span_attributes: u32,
    /// Attributes of one event: `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`.
    pub event_attributes: u32,
    /// Attributes of one link: `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`.
    pub link_attributes: u32,
    /// Events of one span: `OTEL_SPAN_EVENT_COUNT_LIMIT`.
    pub events: u32,
    /// Links of one span: `OTEL_SPAN_LINK_COUNT_LIMIT`.
    pub links: u32,
    /// Characters of a text value: `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, or
    /// `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`.
    pub value_length: usize,
}

/// Limits of one log record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// Attributes: `OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT`, or `OTEL_ATTRIBUTE_COUNT_LIMIT`.
    pub attributes: usize,
    /// Characters of a text value:
    /// `OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT`, or `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`.
    pub value_length: usize,
}

pub(super) fn of_spans(from: &Reader<'_>) -> SpanLimits {
    let count = |variable| from.number(variable, 0, u32::MAX);
    let attributes = |variable| count(variable).unwrap_or_else(|| general_count(from));
    SpanLimits {
        span_attributes: attributes("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        event_attributes: attributes("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
        link_attributes: attributes("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"),
        events: count("OTEL_SPAN_EVENT_COUNT_LIMIT").unwrap_or(ATTRIBUTES),
        links: count("OTEL_SPAN_LINK_COUNT_LIMIT").unwrap_or(ATTRIBUTES),
        value_length: value_length("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", from),
    }
}

pub(super) fn of_log_records(from: &Reader<'_>) -> LogLimits {
    let attributes = from
        .number("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", 0, u32::MAX)
        .unwrap_or_else(|| general_count(from));
    LogLimits {
        attributes: attributes as usize,
        value_length: value_length("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", from),
    }
}

fn general_count(from: &Reader<'_>) -> u32 {
    from.number("OTEL_ATTRIBUTE_COUNT_LIMIT", 0, u32::MAX)
        .unwrap_or(ATTRIBUTES)
}

fn value_length(variable: &str, from: &Reader<'_>) -> usize {
    let own = from.number(variable, 0, u32::MAX as usize);
    own.or_else(|| from.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 0, u32::MAX as usize))
        .unwrap_or(VALUE_LENGTH)
}
