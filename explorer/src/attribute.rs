//! OTLP attributes as text and as plain JSON.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::{Map, Number, Value};

/// The text of a string attribute.
pub(crate) fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text),
        _ => None,
    }
}

/// Attributes as a JSON object.
pub(crate) fn plain_map(attributes: Vec<KeyValue>) -> Map<String, Value> {
    attributes
        .into_iter()
        .map(|attribute| (attribute.key, plain(attribute.value)))
        .collect()
}

/// One value as JSON: `5`, `true`, `"text"`, `[1, 2]`. Bytes become lower-case hex.
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
        Some(Any::BytesValue(bytes)) => Value::String(hex::encode(bytes)),
    }
}

/// A double as the protobuf JSON mapping writes it: JSON has no NaN and no infinities.
pub(crate) fn double(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::from("NaN"),
        None if number > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}
