//! Values of features, read from JSON and CSV and written as JSON.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use protocol::feast::{self, Cell};
use serde::Deserialize;
use serde_json::Value;

/// Type of a feature, by Feast's names in lower case.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 64-bit float; NaN and the infinities are values.
    Float64,
    /// 32-bit float, kept as the shortest decimal that represents it, so that 0.1 stays 0.1.
    Float32,
    /// 64-bit integer.
    Int64,
    /// 32-bit integer.
    Int32,
    /// Text.
    String,
    /// True or false.
    Bool,
    /// Bytes, base64 in JSON and CSV.
    Bytes,
}

/// A value that is not null.
#[derive(Clone, Debug, PartialEq)]
pub enum FeatureValue {
    /// Of `float64` and `float32`.
    Float(f64),
    /// Of `int64` and `int32`.
    Int(i64),
    /// Of `string`.
    Text(Arc<str>),
    /// Of `bool`.
    Bool(bool),
    /// Of `bytes`.
    Bytes(Arc<[u8]>),
    /// What is stored is not of the dtype. A backend reads it and never writes it.
    Unreadable,
}

/// The value is not of the feature's dtype.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a {}", .0.as_str())]
pub struct WrongType(pub Dtype);

impl Dtype {
    /// The name in the TOML file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Float64 => "float64",
            Self::Float32 => "float32",
            Self::Int64 => "int64",
            Self::Int32 => "int32",
            Self::String => "string",
            Self::Bool => "bool",
            Self::Bytes => "bytes",
        }
    }

    /// Reads a JSON value; `None` is null.
    pub fn from_json(self, value: &Value) -> Result<Option<FeatureValue>, WrongType> {
        if value.is_null() {
            return Ok(None);
        }
        let read = match self {
            Self::Float64 | Self::Float32 => {
                feast::number(value).and_then(|number| self.float(number))
            }
            Self::Int64 | Self::Int32 => value
                .as_i64()
                .or_else(|| whole(value.as_f64()?))
                .and_then(|int| self.int(int)),
            Self::String => value.as_str().map(|text| FeatureValue::Text(text.into())),
            Self::Bool => value.as_bool().map(FeatureValue::Bool),
            Self::Bytes => value.as_str().and_then(bytes),
        };
        read.map(Some).ok_or(WrongType(self))
    }

    /// Reads a field of a CSV file; an empty one is null.
    pub fn from_text(self, text: &str) -> Result<Option<FeatureValue>, WrongType> {
        if text.is_empty() {
            return Ok(None);
        }
        let read = match self {
            Self::Float64 | Self::Float32 => {
                number(text.trim()).and_then(|number| self.float(number))
            }
            Self::Int64 | Self::Int32 => text.trim().parse().ok().and_then(|int| self.int(int)),
            Self::String => Some(FeatureValue::Text(text.into())),
            Self::Bool => match text.trim() {
                "true" | "True" | "1" => Some(FeatureValue::Bool(true)),
                "false" | "False" | "0" => Some(FeatureValue::Bool(false)),
                _ => None,
            },
            Self::Bytes => bytes(text.trim()),
        };
        read.map(Some).ok_or(WrongType(self))
    }

    fn float(self, number: f64) -> Option<FeatureValue> {
        if self == Self::Float64 {
            return Some(FeatureValue::Float(number));
        }
        let narrow = number as f32;
        let overflow = number.is_finite() && !narrow.is_finite();
        // The shortest text of an f32 always parses; JSON shows it as that f64.
        if overflow {
            None
        } else {
            narrow.to_string().parse().ok().map(FeatureValue::Float)
        }
    }

    fn int(self, int: i64) -> Option<FeatureValue> {
        (self == Self::Int64 || i32::try_from(int).is_ok()).then_some(FeatureValue::Int(int))
    }
}

impl FeatureValue {
    /// The value in an answer.
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Self::Float(number) => Cell::Float(*number),
            Self::Int(int) => Cell::Int(*int),
            Self::Text(text) => Cell::Text(Cow::Borrowed(text)),
            Self::Bool(flag) => Cell::Bool(*flag),
            Self::Bytes(bytes) => Cell::Text(Cow::Owned(BASE64.encode(bytes))),
            Self::Unreadable => Cell::Null,
        }
    }
}

/// Pandas turns integers into floats where a column has nulls, so a whole float that f64 holds
/// exactly is an integer.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
}

/// A number of a CSV file: infinite only if the text says so, not because it has too many digits.
fn number(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    let overflow = number.is_infinite() && text.contains(|c: char| c.is_ascii_digit());
    (!overflow).then_some(number)
}

fn bytes(text: &str) -> Option<FeatureValue> {
    BASE64
        .decode(text)
        .ok()
        .map(|bytes| FeatureValue::Bytes(bytes.into()))
}

#[cfg(test)]
mod tests;
