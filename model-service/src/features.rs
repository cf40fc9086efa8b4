//! Features of entities, asked of the feature store by Feast's online protocol.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use protocol::feast::{FeatureColumn, OnlineRequest, OnlineResponse, Status};
use runtime::Deadline;
use serde_json::Value;
use telemetry::client::{ClientError, HttpClient};

use crate::input::{Input, RowError};
use crate::repository::Manifest;

/// The feature store as seen from here.
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
    #[error("the feature store's answer lacks feature {0}")]
    Column(String),
}

impl FeatureStore {
    /// `timeout` is the most that one lookup may take, whatever the request's own deadline.
    pub(crate) fn new(client: HttpClient, base: &Uri, timeout: Duration) -> Self {
        let base = base.to_string();
        let address = format!("{}/get-online-features", base.trim_end_matches('/'));
        Self {
            client,
            // The base was parsed, and the path adds nothing that an address may not hold.
            address: Uri::try_from(address).unwrap_or_default(),
            timeout,
        }
    }

    /// The features of `ids` in the order of the model; an entity without all of them is a failed row.
    pub(crate) async fn lookup(
        &self,
        manifest: &Manifest,
        ids: &[&str],
        deadline: Deadline,
    ) -> Result<Input, FeatureError> {
        let request = self.request(manifest, ids);
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
        let answer = serde_json::from_slice(answer.body()).map_err(FeatureError::Answer)?;
        input(manifest, ids.len(), &answer)
    }

    fn request(&self, manifest: &Manifest, ids: &[&str]) -> Request<Bytes> {
        let view = &manifest.lookup.feature_view;
        let features = manifest
            .features
            .iter()
            .map(|feature| format!("{view}:{feature}"));
        let ids = ids.iter().copied().map(Value::from).collect();
        let entities = [(manifest.lookup.join_key.clone(), ids)]
            .into_iter()
            .collect();
        let body = OnlineRequest::for_features(features, entities);
        let mut request = Request::new(Bytes::from(serde_json::to_vec(&body).unwrap_or_default()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.clone();
        let json = header::HeaderValue::from_static("application/json");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        request
    }
}

/// Turns the columns of the answer, which come in any order, into rows in the order of the model.
fn input(
    manifest: &Manifest,
    count: usize,
    answer: &OnlineResponse,
) -> Result<Input, FeatureError> {
    let mut columns = Vec::with_capacity(manifest.features.len());
    for feature in &manifest.features {
        let column = answer.column(feature);
        let whole =
            column.filter(|column| column.values.len() == count && column.statuses.len() == count);
        columns.push(whole.ok_or_else(|| FeatureError::Column(feature.clone()))?);
    }
    let mut input = Input::with_capacity(columns.len(), count);
    for row in 0..count {
        match failure(&columns, row) {
            Some(failed) => input.push_failed(failed),
            None => input.push(columns.iter().map(|column| number(column, row))),
        }
    }
    Ok(input)
}

/// What the statuses say against a whole row; single missing values show later, as values that are not numbers.
fn failure(columns: &[&FeatureColumn], row: usize) -> Option<RowError> {
    let mut statuses = columns.iter().map(|column| column.statuses[row]);
    if statuses.clone().all(|status| status == Status::NotFound) {
        Some(RowError::NotFound)
    } else if statuses.any(|status| status == Status::OutsideMaxAge) {
        Some(RowError::OutsideMaxAge)
    } else {
        None
    }
}

fn number(column: &FeatureColumn, row: usize) -> f32 {
    column.number(row).map_or(f32::NAN, |number| number as f32)
}

#[cfg(test)]
mod tests;
