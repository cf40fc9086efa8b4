//! OTLP/JSON in: the serde form of `opentelemetry-proto` with its gaps closed on the way.
//!
//! What the crate does not take by itself, and the OTLP/JSON mapping allows: `null` for a field that is not set, doubles
//! as strings (`"NaN"`, `"Infinity"`, `"1.5"`), 32-bit integers as strings, an empty `arrayValue` or `kvlistValue`, an
//! attribute without key. The document is read into a small tree, put right by field name (attribute names are values in
//! OTLP/JSON, never object keys, so a field name is never ambiguous), and handed to the crate's types.

use std::cell::Cell;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::Error;

/// Values in one document. A tree node costs up to 60 bytes and an empty object can become 250 of a typed message, so the
/// number is bounded; 4 MiB of ordinary OTLP/JSON hold about 160,000.
const MAX_NODES: usize = 262_144;

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

/// Reads an OTLP/JSON document into one of the crate's messages.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let left = Cell::new(MAX_NODES);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let tree = Tree { left: &left }.deserialize(&mut reader)?;
    reader.end()?;
    // Anything but an object would be read as a message in sequence form, which is not OTLP/JSON.
    if !matches!(tree, Json::Object(_)) {
        return Err(Error::custom("the document is not an object"));
    }
    T::deserialize(tree)
}

enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// The value of `field` as the crate's types expect it; `None` when it is not set.
fn put_right(field: &str, value: Json) -> Option<Json> {
    let value = match value {
        Json::Null => return None,
        value if DOUBLES.contains(&field) => value.map_text(to_double),
        value if INTEGERS.contains(&field) => value.map_text(to_integer),
        value => value,
    };
    Some(match field {
        "arrayValue" => value.with_default("values", || Json::List(Vec::new())),
        "kvlistValue" => value
            .with_default("values", || Json::List(Vec::new()))
            .map_field("values", keyed),
        "attributes" | "filteredAttributes" | "metadata" => keyed(value),
        "entityRefs" => value.map_list(|entity| {
            ["schemaUrl", "type"]
                .into_iter()
                .fold(entity, |entity, key| {
                    entity.with_default(key, || Json::Text(String::new()))
                })
                .with_default("idKeys", || Json::List(Vec::new()))
                .with_default("descriptionKeys", || Json::List(Vec::new()))
        }),
        _ => value,
    })
}

fn keyed(list: Json) -> Json {
    list.map_list(|pair| pair.with_default("key", || Json::Text(String::new())))
}

fn to_double(text: String) -> Json {
    match text.as_str() {
        "NaN" => Json::Float(f64::NAN),
        "Infinity" => Json::Float(f64::INFINITY),
        "-Infinity" => Json::Float(f64::NEG_INFINITY),
        number => match number.parse::<f64>() {
            Ok(number) if number.is_finite() => Json::Float(number),
            _ => Json::Text(text),
        },
    }
}

fn to_integer(text: String) -> Json {
    text.parse().map_or(Json::Text(text), Json::Int)
}

impl Json {
    fn map_text(self, change: fn(String) -> Json) -> Json {
        match self {
            Json::Text(text) => change(text),
            Json::List(list) => {
                Json::List(list.into_iter().map(|item| item.map_text(change)).collect())
            }
            other => other,
        }
    }

    fn map_list(self, change: impl Fn(Json) -> Json) -> Json {
        match self {
            Json::List(list) => Json::List(list.into_iter().map(change).collect()),
            other => other,
        }
    }

    fn map_field(self, field: &str, change: fn(Json) -> Json) -> Json {
        let Json::Object(fields) = self else {
            return self;
        };
        let changed = fields.into_iter().map(|(key, value)| {
            let value = if key == field { change(value) } else { value };
            (key, value)
        });
        Json::Object(changed.collect())
    }

    fn with_default(mut self, field: &str, default: impl Fn() -> Json) -> Json {
        if let Json::Object(fields) = &mut self
            && !fields.iter().any(|(key, _)| key == field)
        {
            fields.push((field.to_owned(), default()));
        }
        self
    }
}

/// Reads one value and everything below it, counting.
#[derive(Clone, Copy)]
struct Tree<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| D::Error::custom("too many values in one document"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key::<String>()? {
            if let Some(value) = put_right(&key, access.next_value_seed(self)?) {
                fields.push((key, value));
            }
        }
        Ok(Json::Object(fields))
    }
}

impl<'de> Deserializer<'de> for Json {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(value),
            Json::Int(value) => visitor.visit_i64(value),
            Json::Uint(value) => visitor.visit_u64(value),
            Json::Float(value) => visitor.visit_f64(value),
            Json::Text(value) => visitor.visit_string(value),
            Json::List(list) => visitor.visit_seq(SeqDeserializer::new(list.into_iter())),
            Json::Object(fields) => visitor.visit_map(MapDeserializer::new(fields.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Json {
    type Deserializer = Json;

    fn into_deserializer(self) -> Json {
        self
    }
}

#[cfg(test)]
mod tests;
