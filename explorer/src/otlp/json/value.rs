//! A JSON document as a tree of values, with normalized fields.

mod normalize;

use std::cell::Cell;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};
use serde_json::Error;

pub(super) use normalize::field_name;
use normalize::normalize;

/// Messages of `opentelemetry-proto` are deserialized from a reference to it.
pub(crate) enum JsonValue {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<JsonValue>),
    Object(Vec<(String, JsonValue)>),
}

impl JsonValue {
    /// Reads one document of at most `max_values` values. An empty object of two bytes becomes a
    /// message of about 250, so that the size of a document alone is no bound on memory.
    fn parse(bytes: &[u8], max_values: usize) -> Result<JsonValue, Error> {
        let left = Cell::new(max_values);
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value = TreeSeed { left: &left }.deserialize(&mut reader)?;
        reader.end()?;
        Ok(value)
    }

    /// Reads one message. The crate's types would also accept a list, as a message in sequence
    /// form.
    pub(super) fn parse_message(bytes: &[u8], max_values: usize) -> Result<JsonValue, Error> {
        match JsonValue::parse(bytes, max_values)? {
            message @ JsonValue::Object(_) => Ok(message),
            _ => Err(Error::custom("a message is not an object")),
        }
    }

    /// The value, or each value of a list, after `change`; objects stay as they are.
    pub(super) fn map_scalars(self, change: fn(JsonValue) -> JsonValue) -> JsonValue {
        match self {
            JsonValue::List(list) => JsonValue::List(
                list.into_iter()
                    .map(|item| item.map_scalars(change))
                    .collect(),
            ),
            JsonValue::Object(_) => self,
            scalar => change(scalar),
        }
    }

    pub(super) fn has(&self, field: &str) -> bool {
        matches!(self, JsonValue::Object(fields) if fields.iter().any(|(key, _)| key == field))
    }

    /// The field of an object, to be changed.
    pub(super) fn field_mut(&mut self, field: &str) -> Option<&mut JsonValue> {
        let JsonValue::Object(fields) = self else {
            return None;
        };
        let found = fields.iter_mut().find(|(key, _)| key == field);
        found.map(|(_, value)| value)
    }

    pub(super) fn map_list(self, change: impl Fn(JsonValue) -> JsonValue) -> JsonValue {
        match self {
            JsonValue::List(list) => JsonValue::List(list.into_iter().map(change).collect()),
            other => other,
        }
    }

    pub(super) fn map_field(self, field: &str, change: fn(JsonValue) -> JsonValue) -> JsonValue {
        let JsonValue::Object(fields) = self else {
            return self;
        };
        let changed = fields.into_iter().map(|(key, value)| {
            let value = if key == field { change(value) } else { value };
            (key, value)
        });
        JsonValue::Object(changed.collect())
    }

    pub(super) fn with_default(mut self, field: &str, default: fn() -> JsonValue) -> JsonValue {
        if !self.has(field)
            && let JsonValue::Object(fields) = &mut self
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
            let key = field_name(key);
            if let Some(value) = normalize(&key, access.next_value_seed(self)?) {
                fields.push((key, value));
            }
        }
        Ok(JsonValue::Object(fields))
    }
}

impl<'de> Deserializer<'de> for &JsonValue {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            JsonValue::Null => visitor.visit_unit(),
            JsonValue::Bool(value) => visitor.visit_bool(*value),
            JsonValue::Int(value) => visitor.visit_i64(*value),
            JsonValue::Uint(value) => visitor.visit_u64(*value),
            JsonValue::Float(value) => visitor.visit_f64(*value),
            JsonValue::Text(value) => visitor.visit_str(value),
            JsonValue::List(list) => visitor.visit_seq(SeqDeserializer::new(list.iter())),
            JsonValue::Object(fields) => {
                let fields = fields.iter().map(|(key, value)| (key.as_str(), value));
                visitor.visit_map(MapDeserializer::new(fields))
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

impl IntoDeserializer<'_, Error> for &JsonValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
