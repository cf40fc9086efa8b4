//! The client of the feature store, by Feast's online protocol.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use protocol::RowErrorCode;
use protocol::feast::{Answer, AnswerColumn, Columns, List, OnlineRequest, Reference, Status};
use runtime::Deadline;
use telemetry::client::{ClientError, HttpClient};

use crate::encoding;
use crate::feature_rows::FeatureRows;
use crate::repository::{Lookup, Manifest};

/// A client of the feature store.
#[derive(Clone, Debug)]
pub(crate) struct FeatureStore {
    client: HttpClient,
    address: Uri,
    timeout: Duration,
}

/// Why there are no features for any entity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeatureError {
    #[error("the feature store cannot be reached")]
    Client(#[source] ClientError),
    #[error("the deadline of the request passed during the feature lookup")]
    DeadlinePassed,
    #[error("the feature store answered {0}")]
    Status(u16),
    #[error("the feature store's answer cannot be read")]
    Answer(#[source] serde_json::Error),
    #[error("the model has no features to look up")]
    NoLookup,
    #[error("the feature store's answer lacks feature {0}")]
    Column(String),
}

impl FeatureStore {
    /// `timeout` limits one lookup, in addition to the request's own deadline.
    pub(crate) fn new(client: HttpClient, base: &Uri, timeout: Duration) -> Self {
        let base = base.to_string();
        let address = format!("{}/get-online-features", base.trim_end_matches('/'));
        Self {
            client,
            // Cannot fail: the base is a URI, and the path adds only valid characters.
            address: Uri::try_from(address).unwrap_or_default(),
            timeout,
        }
    }

    /// The features of `ids` in the order of the model. An entity without all of them is a row with
    /// an error.
    pub(crate) async fn lookup(
        &self,
        manifest: &Manifest,
        ids: &[&str],
        deadline: Deadline,
    ) -> Result<FeatureRows, FeatureError> {
        let lookup = manifest.lookup.as_ref().ok_or(FeatureError::NoLookup)?;
        let request = self.request(manifest, lookup, ids);
        let timeout = self.timeout.min(deadline.remaining());
        let answer = match self.client.send(request, timeout).await {
            Ok(answer) => answer,
            Err(ClientError::Timeout { .. }) if deadline.remaining().is_zero() => {
                return Err(FeatureError::DeadlinePassed);
            }
            Err(error) => return Err(FeatureError::Client(error)),
        };
        if !answer.status().is_success() {
            return Err(FeatureError::Status(answer.status().as_u16()));
        }
        let answer = Answer::decode(answer.body()).map_err(FeatureError::Answer)?;
        rows(manifest, ids.len(), &answer)
    }

    fn request(&self, manifest: &Manifest, lookup: &Lookup, ids: &[&str]) -> Request<Bytes> {
        let view = lookup.feature_view.as_str();
        let features = manifest
            .features
            .iter()
            .map(|feature| Reference { view, feature });
        let entities = Columns(vec![(&lookup.join_key, ids)]);
        let request = OnlineRequest::for_features(List(features), entities);
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.clone();
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        request
    }
}

/// Turns the columns of the answer, which come in any order, into rows in the order of the model.
fn rows(
    manifest: &Manifest,
    count: usize,
    answer: &Answer<'_>,
) -> Result<FeatureRows, FeatureError> {
    let mut features = Vec::with_capacity(manifest.features.len());
    for feature in &manifest.features {
        let column = answer.column(feature);
        let complete =
            column.filter(|column| column.values.len() == count && column.statuses.len() == count);
        features.push(Feature {
            column: complete.ok_or_else(|| FeatureError::Column(feature.clone()))?,
            categories: manifest.categories.get(feature).map(Vec::as_slice),
        });
    }
    let mut rows = FeatureRows::with_capacity(features.len(), count);
    for row in 0..count {
        match row_error(&features, row) {
            Some(error) => rows.push_error(error),
            None => rows.push(features.iter().map(|feature| feature.value(row))),
        }
    }
    Ok(rows)
}

/// The error of a row as a whole. Single missing values become NaN, which [`FeatureRows::push`]
/// checks.
fn row_error(features: &[Feature<'_>], row: usize) -> Option<RowErrorCode> {
    let mut statuses = features.iter().map(|feature| feature.column.statuses[row]);
    if statuses.clone().all(|status| status == Status::NotFound) {
        Some(RowErrorCode::UnknownEntity)
    } else if statuses.any(|status| status == Status::OutsideMaxAge) {
        Some(RowErrorCode::OutsideMaxAge)
    } else {
        None
    }
}

/// A feature of the model with its column of the answer.
struct Feature<'a> {
    column: &'a AnswerColumn<'a>,
    /// The texts of a feature that is one.
    categories: Option<&'a [String]>,
}

impl Feature<'_> {
    /// The value of a row, or the position of its category; NaN for a missing one.
    fn value(&self, row: usize) -> f32 {
        let value = match self.categories {
            Some(texts) => self.column.text(row).map(|text| position(texts, text)),
            None => self.column.number(row).map(|number| number as f32),
        };
        value.unwrap_or(f32::NAN)
    }
}

fn position(texts: &[String], text: &str) -> f32 {
    let position = texts.iter().position(|known| known == text);
    position.map_or(encoding::UNKNOWN, |position| position as f32)
}

#[cfg(test)]
mod tests;
