//! Reads OTLP/JSON into the messages of `opentelemetry-proto`.
//!
//! The serde form of that crate (0.33.1) refuses documents that the mapping allows: `null` for a field
//! that is not set (<https://github.com/open-telemetry/opentelemetry-rust/issues/3677>), doubles as
//! strings such as `"NaN"` or `"1.5"` (<https://github.com/open-telemetry/opentelemetry-rust/pull/3496>),
//! 32-bit integers as strings, an empty `arrayValue` or `kvlistValue`, an attribute without a key.
//!
//! So a document is read into a tree first, and each field is normalized by its name. A name is never
//! ambiguous, since OTLP/JSON has attribute names as values and not as object keys.

use std::cell::Cell;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::Error;

/// Values in one document. An empty object of two bytes becomes a message of about 250, so that the
/// size of the body alone is no bound on memory.
const MAX_VALUES: usize = 262_144;

const DOUBLES: [&str; 7] = [
    "doubleValue",
    "asDouble",
    "sum",
    "min",
    "max",
    "explicitBounds",
    "zeroThreshold",
];
const INTEGERS: [&str; 10] = [
    "droppedAttributesCount",
    "droppedEventsCount",
    "droppedLinksCount",
    "flags",
    "kind",
    "code",
    "severityNumber",
    "aggregationTemporality",
    "scale",
    "offset",
];

/// Reads a document into one of the `Export…ServiceRequest` messages.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let left = Cell::new(MAX_VALUES);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let tree = TreeSeed { left: &left }.deserialize(&mut reader)?;
    reader.end()?;
    // The crate's types would also accept a list, as a message in sequence form.
    if !matches!(tree, JsonValue::Object(_)) {
        return Err(Error::custom("the document is not an object"));
    }
    T::deserialize(tree)
}

enum JsonValue {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<JsonValue>),
    Object(Vec<(String, JsonValue)>),
}

/// The value of `field` in the form that the crate's types accept; `None` when it is not set.
fn normalize(field: &str, value: JsonValue) -> Option<JsonValue> {
    let value = match value {
        JsonValue::Null => return None,
        value if DOUBLES.contains(&field) => value.map_text(to_double),
        value if INTEGERS.contains(&field) => value.map_text(to_integer),
        value => value,
    };
    Some(match field {
        "arrayValue" => value.with_default("values", || JsonValue::List(Vec::new())),
        "kvlistValue" => value
            .with_default("values", || JsonValue::List(Vec::new()))
            .map_field("values", keyed),
        "attributes" | "filteredAttributes" | "metadata" => keyed(value),
        "entityRefs" => value.map_list(|entity| {
            ["schemaUrl", "type"]
                .into_iter()
                .fold(entity, |entity, key| {
                    entity.with_default(key, || JsonValue::Text(String::new()))
                })
                .with_default("idKeys", || JsonValue::List(Vec::new()))
                .with_default("descriptionKeys", || JsonValue::List(Vec::new()))
        }),
        _ => value,
    })
}

/// Gives every attribute a key.
fn keyed(list: JsonValue) -> JsonValue {
    list.map_list(|pair| pair.with_default("key", || JsonValue::Text(String::new())))
}

fn to_double(text: String) -> JsonValue {
    match text.as_str() {
        "NaN" => JsonValue::Float(f64::NAN),
        "Infinity" => JsonValue::Float(f64::INFINITY),
        "-Infinity" => JsonValue::Float(f64::NEG_INFINITY),
        number => match number.parse::<f64>() {
            Ok(number) if number.is_finite() => JsonValue::Float(number),
            _ => JsonValue::Text(text),
        },
    }
}

fn to_integer(text: String) -> JsonValue {
    text.parse().map_or(JsonValue::Text(text), JsonValue::Int)
}

impl JsonValue {
    fn map_text(self, change: fn(String) -> JsonValue) -> JsonValue {
        match self {
            JsonValue::Text(text) => change(text),
            JsonValue::List(list) => {
                JsonValue::List(list.into_iter().map(|item| item.map_text(change)).collect())
            }
            other => other,
        }
    }

    fn map_list(self, change: impl Fn(JsonValue) -> JsonValue) -> JsonValue {
        match self {
            JsonValue::List(list) => JsonValue::List(list.into_iter().map(change).collect()),
            other => other,
        }
    }

    fn map_field(self, field: &str, change: fn(JsonValue) -> JsonValue) -> JsonValue {
        let JsonValue::Object(fields) = self else {
            return self;
        };
        let changed = fields.into_iter().map(|(key, value)| {
            let value = if key == field { change(value) } else { value };
            (key, value)
        });
        JsonValue::Object(changed.collect())
    }

    fn with_default(mut self, field: &str, default: impl Fn() -> JsonValue) -> JsonValue {
        if let JsonValue::Object(fields) = &mut self
            && !fields.iter().any(|(key, _)| key == field)
        {
            fields.push((field.to_owned(), default()));
        }
        self
    }
}

/// Reads one value with everything below it, and counts the values.
#[derive(Clone, Copy)]
struct TreeSeed<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for TreeSeed<'_> {
    type Value = JsonValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonValue, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| D::Error::custom("too many values in one document"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TreeSeed<'_> {
    type Value = JsonValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<JsonValue, E> {
        Ok(JsonValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<JsonValue, E> {
        Ok(JsonValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<JsonValue, E> {
        Ok(JsonValue::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<JsonValue, E> {
        Ok(JsonValue::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<JsonValue, E> {
        Ok(JsonValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<JsonValue, E> {
        Ok(JsonValue::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<JsonValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            list.push(item);
        }
        Ok(JsonValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<JsonValue, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            if let Some(value) = normalize(&key, access.next_value_seed(self)?) {
                fields.push((key, value));
            }
        }
        Ok(JsonValue::Object(fields))
    }
}

impl<'de> Deserializer<'de> for JsonValue {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            JsonValue::Null => visitor.visit_unit(),
            JsonValue::Bool(value) => visitor.visit_bool(value),
            JsonValue::Int(value) => visitor.visit_i64(value),
            JsonValue::Uint(value) => visitor.visit_u64(value),
            JsonValue::Float(value) => visitor.visit_f64(value),
            JsonValue::Text(value) => visitor.visit_string(value),
            JsonValue::List(list) => visitor.visit_seq(SeqDeserializer::new(list.into_iter())),
            JsonValue::Object(fields) => {
                visitor.visit_map(MapDeserializer::new(fields.into_iter()))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            JsonValue::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for JsonValue {
    type Deserializer = JsonValue;

    fn into_deserializer(self) -> JsonValue {
        self
    }
}

#[cfg(test)]
mod tests;
