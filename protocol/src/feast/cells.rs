//! Values and texts as services write and read them, borrowed where that is possible.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// One value of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Cell<'a> {
    /// Null. A list or an object is read as null, too: no service here has a feature of that kind.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number. One that is not finite is a string in JSON, as in protobuf's JSON mapping.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
}

/// A string of a body, borrowed from it unless it has escapes.
#[derive(Clone, Debug, serde::Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// A list whose items are made while it is written.
#[derive(Clone, Debug)]
pub struct List<I>(pub I);

/// The number of a JSON value; "NaN", "Infinity" and "-Infinity" are numbers.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => named(text),
        _ => None,
    }
}

fn named(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

impl Cell<'_> {
    /// The value as a number; "NaN", "Infinity" and "-Infinity" are numbers.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(int) => Some(*int as f64),
            Self::Float(number) => Some(*number),
            Self::Text(text) => named(text),
            Self::Null | Self::Bool(_) => None,
        }
    }

    /// The value as a text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Int(int) => serializer.serialize_i64(*int),
            Self::Float(number) if number.is_finite() => serializer.serialize_f64(*number),
            Self::Float(number) if number.is_nan() => serializer.serialize_str("NaN"),
            Self::Float(number) if *number > 0.0 => serializer.serialize_str("Infinity"),
            Self::Float(_) => serializer.serialize_str("-Infinity"),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Cell<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Cell<'de>, E> {
        Ok(Cell::Bool(flag))
    }

    fn visit_i64<E>(self, int: i64) -> Result<Cell<'de>, E> {
        Ok(Cell::Int(int))
    }

    fn visit_u64<E>(self, int: u64) -> Result<Cell<'de>, E> {
        Ok(i64::try_from(int).map_or(Cell::Float(int as f64), Cell::Int))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Cell<'de>, E> {
        Ok(Cell::Float(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell<'de>, E> {
        Ok(Cell::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cell<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Null)
    }
}

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<I: Iterator<Item: Serialize> + Clone> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}
