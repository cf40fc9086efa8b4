//! A span read where it lies, without decoding it: filters look at every span of the store, and a
//! decoded span has thirty allocations.
//!
//! Field numbers: opentelemetry-proto 1.x, trace.proto (`Span`) and common.proto (`KeyValue`,
//! `AnyValue`). The bytes are valid, because the store has decoded them once.

use std::borrow::Cow;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use serde_json::Value;

use crate::attribute;

/// An encoded span.
#[derive(Clone, Copy)]
pub(crate) struct SpanView<'a>(pub &'a [u8]);

/// The value of an attribute, or of a part of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ValueView<'a> {
    Text(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    /// Everything that is rare: lists, maps, bytes, no value.
    Other(Value),
}

/// What the fields beside the attributes say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outline<'a> {
    pub name: &'a str,
    /// `Span.SpanKind`; 2 is SERVER.
    pub kind: u64,
    pub links: usize,
    pub status_message: &'a str,
}

impl<'a> SpanView<'a> {
    pub(crate) fn outline(self) -> Outline<'a> {
        let mut outline = Outline::default();
        for (tag, field) in fields(self.0) {
            match (tag, field) {
                (5, Field::Bytes(name)) => outline.name = text(name),
                (6, Field::Varint(kind)) => outline.kind = kind,
                (13, Field::Bytes(_)) => outline.links += 1,
                (15, Field::Bytes(status)) => {
                    let message = fields(status).filter_map(|(tag, field)| match field {
                        Field::Bytes(message) if tag == 2 => Some(text(message)),
                        _ => None,
                    });
                    outline.status_message = message.last().unwrap_or(outline.status_message);
                }
                _ => {}
            }
        }
        outline
    }

    /// Key and value of each attribute.
    pub(crate) fn attributes(self) -> impl Iterator<Item = (Cow<'a, str>, ValueView<'a>)> {
        messages(self.0, 9).map(key_value)
    }

    /// Name and encoded event.
    pub(crate) fn events(self) -> impl Iterator<Item = EventView<'a>> {
        messages(self.0, 11).map(EventView)
    }
}

/// An encoded event of a span.
#[derive(Clone, Copy)]
pub(crate) struct EventView<'a>(&'a [u8]);

impl<'a> EventView<'a> {
    pub(crate) fn name(self) -> &'a str {
        messages(self.0, 2).last().map(text).unwrap_or_default()
    }

    pub(crate) fn attributes(self) -> impl Iterator<Item = (Cow<'a, str>, ValueView<'a>)> {
        messages(self.0, 3).map(key_value)
    }
}

impl ValueView<'_> {
    /// Strings as they are, everything else as JSON, as in
    /// [`SpanData::text`](crate::SpanData::text).
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            ValueView::Text(text) => Cow::Borrowed(text),
            ValueView::Bool(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
            ValueView::Int(number) => Cow::Owned(number.to_string()),
            ValueView::Double(number) => match attribute::double(*number) {
                Value::String(name) => Cow::Owned(name),
                number => Cow::Owned(number.to_string()),
            },
            ValueView::Other(Value::String(text)) => Cow::Borrowed(text),
            ValueView::Other(value) => Cow::Owned(value.to_string()),
        }
    }

    /// The value of a finite number.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            ValueView::Int(number) => Some(*number as f64),
            ValueView::Double(number) => Some(*number).filter(|number| number.is_finite()),
            _ => None,
        }
    }
}

/// A decoded attribute as a view.
pub(crate) fn of_attribute(attribute: &KeyValue) -> (&str, ValueView<'_>) {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    let value = attribute.value.as_ref();
    let value = match value.and_then(|value| value.value.as_ref()) {
        Some(Any::StringValue(text)) => ValueView::Text(text),
        Some(Any::BoolValue(flag)) => ValueView::Bool(*flag),
        Some(Any::IntValue(number)) => ValueView::Int(*number),
        Some(Any::DoubleValue(number)) => ValueView::Double(*number),
        _ => ValueView::Other(attribute::plain(value.cloned())),
    };
    (&attribute.key, value)
}

/// The common shape of an attribute, `{ key, value { one field } }`, is read in place. Protobuf
/// merges a field that comes twice, which is left to the decoder.
fn key_value(bytes: &[u8]) -> (Cow<'_, str>, ValueView<'_>) {
    let mut parts = fields(bytes);
    if let (Some((1, Field::Bytes(key))), Some((2, Field::Bytes(value))), None) =
        (parts.next(), parts.next(), parts.next())
        && let Some(value) = simple(value)
    {
        return (Cow::Borrowed(text(key)), value);
    }
    let attribute = KeyValue::decode(bytes).unwrap_or_default();
    let value = ValueView::Other(Value::Null);
    let value = attribute.value.map_or(value, decoded);
    (Cow::Owned(attribute.key), value)
}

fn simple(value: &[u8]) -> Option<ValueView<'_>> {
    let mut parts = fields(value);
    let (Some(part), None) = (parts.next(), parts.next()) else {
        return None;
    };
    match part {
        (1, Field::Bytes(bytes)) => Some(ValueView::Text(text(bytes))),
        (2, Field::Varint(flag)) => Some(ValueView::Bool(flag != 0)),
        (3, Field::Varint(number)) => Some(ValueView::Int(number.cast_signed())),
        (4, Field::Fixed64(bits)) => Some(ValueView::Double(f64::from_bits(bits))),
        _ => None,
    }
}

fn decoded(value: AnyValue) -> ValueView<'static> {
    match attribute::plain(Some(value)) {
        Value::Bool(flag) => ValueView::Bool(flag),
        Value::Number(number) => match number.as_i64() {
            Some(number) => ValueView::Int(number),
            None => ValueView::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        value => ValueView::Other(value),
    }
}

enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Other,
}

fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u32, Field<'_>)> {
    std::iter::from_fn(move || next_field(&mut bytes))
}

fn next_field<'a>(bytes: &mut &'a [u8]) -> Option<(u32, Field<'a>)> {
    if bytes.is_empty() {
        return None;
    }
    let (tag, wire_type) = decode_key(bytes).ok()?;
    let field = match wire_type {
        WireType::Varint => Field::Varint(decode_varint(bytes).ok()?),
        WireType::SixtyFourBit => {
            let (number, rest) = bytes.split_first_chunk::<8>()?;
            *bytes = rest;
            Field::Fixed64(u64::from_le_bytes(*number))
        }
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
            let (field, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            Field::Bytes(field)
        }
        _ => {
            skip_field(wire_type, tag, bytes, DecodeContext::default()).ok()?;
            Field::Other
        }
    };
    Some((tag, field))
}

fn messages(bytes: &[u8], wanted: u32) -> impl Iterator<Item = &[u8]> {
    fields(bytes).filter_map(move |(tag, field)| match field {
        Field::Bytes(message) if tag == wanted => Some(message),
        _ => None,
    })
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests;
