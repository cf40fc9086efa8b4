//! The answer of `/get-online-features`: one column per join key and feature.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// Body of the answer. `results[i]` belongs to `metadata.feature_names[i]`, in any order.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct OnlineResponse {
    /// Join keys first, then features.
    pub results: Vec<FeatureColumn>,
    /// Names of the columns.
    pub metadata: ResponseMetadata,
}

/// Names of the columns and, on request, the views they come from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ResponseMetadata {
    /// One name per column.
    pub feature_names: Vec<String>,
    /// The views, when the request has `include_feature_view_version_metadata`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feature_view_metadata: Vec<ViewMetadata>,
}

/// A view that an answer has features of.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ViewMetadata {
    /// Its name.
    pub name: String,
}

/// One join key or feature of all entities of the request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct FeatureColumn {
    /// One value per entity; null where the status is not `PRESENT`.
    pub values: Vec<Value>,
    /// One status per entity.
    pub statuses: Vec<Status>,
    /// One RFC 3339 time per entity; other servers may omit them.
    #[serde(default)]
    pub event_timestamps: Vec<Cow<'static, str>>,
}

/// The status of one value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// No status; clients map unknown statuses to it.
    Invalid,
    /// The value is valid.
    Present,
    /// The entity is known, and the value is null.
    NullValue,
    /// The entity is unknown.
    NotFound,
    /// The entity is known, and its value is older than the view allows.
    OutsideMaxAge,
}

impl OnlineResponse {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&FeatureColumn> {
        let at = self
            .metadata
            .feature_names
            .iter()
            .position(|have| have == name)?;
        self.results.get(at)
    }
}

impl FeatureColumn {
    /// The value of a row as a number, if its status is `PRESENT`; "NaN", "Infinity" and
    /// "-Infinity" are numbers.
    pub fn number(&self, row: usize) -> Option<f64> {
        match self.statuses.get(row)? {
            Status::Present => number(self.values.get(row)?),
            _ => None,
        }
    }

    /// The value of a row as a text, if its status is `PRESENT`.
    pub fn text(&self, row: usize) -> Option<&str> {
        match self.statuses.get(row)? {
            Status::Present => self.values.get(row)?.as_str(),
            _ => None,
        }
    }
}

impl Status {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Present => "PRESENT",
            Self::NullValue => "NULL_VALUE",
            Self::NotFound => "NOT_FOUND",
            Self::OutsideMaxAge => "OUTSIDE_MAX_AGE",
        }
    }
}

/// A number as JSON; one that is not finite becomes a string, as in protobuf's JSON mapping.
pub fn value_of(number: f64) -> Value {
    match Number::from_f64(number) {
        Some(number) => Value::Number(number),
        None if number.is_nan() => Value::from("NaN"),
        None if number > 0.0 => Value::from("Infinity"),
        None => Value::from("-Infinity"),
    }
}

/// The reverse of [`value_of`].
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}
