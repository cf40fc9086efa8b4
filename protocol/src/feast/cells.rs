//! An answer read cell by cell: what cannot be read is a value without a status, so that one cell
//! takes no other entities with it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{FeatureColumn, OnlineResponse, ResponseMetadata, Status};

#[derive(Deserialize)]
struct RawResponse<'a> {
    #[serde(borrow)]
    results: Vec<RawColumn<'a>>,
    metadata: ResponseMetadata,
}

#[derive(Deserialize)]
struct RawColumn<'a> {
    #[serde(borrow)]
    values: Vec<&'a RawValue>,
    #[serde(borrow)]
    statuses: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    event_timestamps: Vec<&'a RawValue>,
}

impl OnlineResponse {
    /// Reads an answer. A value that cannot be read, such as a number beyond FP64, is null; an
    /// unknown status is [`Status::Invalid`].
    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        // The usual answer has no such cell and is read once.
        let Ok(answer) = serde_json::from_slice(body) else {
            let RawResponse { results, metadata } = serde_json::from_slice(body)?;
            let results = results.into_iter().map(FeatureColumn::from).collect();
            return Ok(Self { results, metadata });
        };
        Ok(answer)
    }
}

impl From<RawColumn<'_>> for FeatureColumn {
    fn from(raw: RawColumn<'_>) -> Self {
        Self {
            values: raw
                .values
                .into_iter()
                .map(|cell| read(cell).unwrap_or(Value::Null))
                .collect(),
            statuses: raw
                .statuses
                .into_iter()
                .map(|cell| read(cell).unwrap_or(Status::Invalid))
                .collect(),
            event_timestamps: raw
                .event_timestamps
                .into_iter()
                .map(|cell| Cow::Owned(read(cell).unwrap_or_default()))
                .collect(),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(cell: &RawValue) -> Option<T> {
    serde_json::from_str(cell.get()).ok()
}
