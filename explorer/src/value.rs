//! OTLP attribute values as plain JSON and as text.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Number, Value, json};

/// The text of a string attribute.
pub(crate) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Attributes as a JSON object with natural values: 5, true, "text", [1, 2].
pub(crate) fn plain_map(attributes: Vec<KeyValue>) -> Map<String, Value> {
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, plain(attribute.value)))
        .collect()
}

/// One value in natural JSON; bytes become lower-case hex, NaN and infinities their names.
pub(crate) fn plain(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        None | Some(Any::StringValueStrindex(_)) => Value::Null,
        Some(Any::StringValue(text)) => Value::String(text),
        Some(Any::BoolValue(flag)) => Value::Bool(flag),
        Some(Any::IntValue(number)) => Value::from(number),
        Some(Any::DoubleValue(number)) => double(number),
        Some(Any::ArrayValue(array)) => array
            .values
            .into_iter()
            .map(|item| plain(Some(item)))
            .collect(),
        Some(Any::KvlistValue(list)) => Value::Object(plain_map(list.values)),
        Some(Any::BytesValue(bytes)) => Value::String(hex::encode(&bytes)),
    }
}

/// One value in the OTLP/JSON mapping: `{"intValue": "5"}`.
pub(crate) fn otlp(value: AnyValue) -> Value {
    match value.value {
        None | Some(Any::StringValueStrindex(_)) => json!({}),
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(flag)) => json!({ "boolValue": flag }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        Some(Any::DoubleValue(number)) => json!({ "doubleValue": double(number) }),
        Some(Any::ArrayValue(array)) => {
            json!({ "arrayValue": { "values": array.values.into_iter().map(otlp).collect::<Vec<_>>() } })
        }
        Some(Any::KvlistValue(list)) => {
            json!({ "kvlistValue": { "values": otlp_list(list.values) } })
        }
        Some(Any::BytesValue(bytes)) => json!({ "bytesValue": base64(&bytes) }),
    }
}

/// Attributes in the OTLP/JSON mapping: `[{"key": …, "value": {…}}]`.
pub(crate) fn otlp_list(attributes: Vec<KeyValue>) -> Value {
    let pairs = attributes
        .into_iter()
        .map(|attribute| json!({ "key": attribute.key, "value": otlp(attribute.value.unwrap_or_default()) }));
    pairs.collect()
}

/// A double as the protobuf JSON mapping writes it: JSON has no word for NaN and the infinities.
pub(crate) fn double(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::from("NaN"),
        None if number > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

/// Bytes of a hex text of exactly `N` bytes, either case.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? << 4 | digit(1)?) as u8;
    }
    Some(bytes)
}

/// Standard base64 with padding (RFC 4648, section 4), for the rare attribute of bytes.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0, |word, (at, byte)| {
            word | u32::from(*byte) << (16 - 8 * at)
        });
        for at in 0..4 {
            let digit = (word >> (18 - 6 * at)) & 63;
            text.push(if at <= chunk.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests;
