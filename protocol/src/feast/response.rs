//! The answer of `/get-online-features`: one column per join key and feature.
//!
//! The form is defined once. The lists in it are type parameters, so that the server writes an
//! answer straight from its rows, and a client reads no more of it than it needs
//! ([`Answer`](super::Answer)).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Body of the answer. `results[i]` belongs to `metadata.feature_names[i]`, in any order.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct OnlineResponse<Columns = Vec<FeatureColumn>, Names = Vec<String>> {
    /// Join keys first, then features.
    pub results: Columns,
    /// Names of the columns.
    pub metadata: ResponseMetadata<Names>,
}

/// Names of the columns and, on request, the views they come from.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ResponseMetadata<Names = Vec<String>> {
    /// One name per column.
    pub feature_names: Names,
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
pub struct FeatureColumn<Values = Vec<Value>, Statuses = Vec<Status>, Times = Vec<String>> {
    /// One value per entity; null where the status is not `PRESENT`.
    pub values: Values,
    /// One status per entity.
    pub statuses: Statuses,
    /// One RFC 3339 time per entity; other servers may omit them.
    #[serde(default)]
    pub event_timestamps: Times,
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

impl<Column, Name: AsRef<str>> OnlineResponse<Vec<Column>, Vec<Name>> {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        let at = self
            .metadata
            .feature_names
            .iter()
            .position(|have| have.as_ref() == name)?;
        self.results.get(at)
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
