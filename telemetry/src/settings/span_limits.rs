//! The limits of a span that the SDK does not read from the environment.

use super::{Get, SettingsError, number};

/// Limits of one span; `None` leaves the SDK's own (128 attributes, values of any length).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanLimits {
    /// Attributes of one span: `OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT`, or `OTEL_ATTRIBUTE_COUNT_LIMIT`.
    pub span_attributes: Option<u32>,
    /// Attributes of one event: `OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT`.
    pub event_attributes: Option<u32>,
    /// Attributes of one link: `OTEL_LINK_ATTRIBUTE_COUNT_LIMIT`.
    pub link_attributes: Option<u32>,
    /// Characters of a text value on a span: `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`, or
    /// `OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT`.
    pub value_length: Option<usize>,
}

pub(super) fn read(get: &Get<'_>) -> Result<SpanLimits, SettingsError> {
    let general = number("OTEL_ATTRIBUTE_COUNT_LIMIT", get)?;
    Ok(SpanLimits {
        span_attributes: number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", get)?.or(general),
        event_attributes: number("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", get)?.or(general),
        link_attributes: number("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", get)?.or(general),
        value_length: number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", get)?
            .or(number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", get)?),
    })
}
