//! `GET /v1/models`: which models there are, how each is served, and whether it can answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use crate::api::{ModelEntry, ModelsResponse, Problem, VariantEntry, VariantHealth};
use crate::catalogue::Known;
use crate::error::ApiError;
use crate::model::ModelError;
use crate::predictions::json;
use crate::read_through::ReadThrough;
use crate::routes::Variant;

/// An answer of this age is shown again, so that a page that asks often costs the model service little.
const SHOWN_AGAIN: Duration = Duration::from_secs(1);

/// The models
///
/// Asked of the model service, at most once a second. While it is down, the models that were known before are listed as
/// `unavailable`.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "models",
    responses(
        (status = 200, description = "The models", body = ModelsResponse),
        (status = 405, description = "The path does not take this method", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests in flight; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The model service was never reached; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(State(predictions): State<Arc<ReadThrough>>) -> Result<Response, ApiError> {
    let known = predictions.catalogue().all(SHOWN_AGAIN).await;
    if known.is_empty() && predictions.catalogue().is_down() {
        return Err(ApiError::Model(Arc::new(ModelError::Down)));
    }
    let models = known.iter().map(|(name, known)| entry(name, known, predictions.routes().variants(name)));
    Ok(json(&ModelsResponse { models: models.collect() }))
}

fn entry(name: &str, known: &Known, variants: &[Variant]) -> ModelEntry {
    let variant = |variant: &Variant| VariantEntry {
        name: variant.name.clone(),
        weight: variant.weight,
        version: known.version.clone(),
        versions: known.versions.clone(),
        health: if known.ready { VariantHealth::Ready } else { VariantHealth::Unavailable },
    };
    let inputs = [("data_ids", known.takes_data_ids), ("texts", known.takes_texts)];
    ModelEntry {
        name: name.to_owned(),
        inputs: inputs.into_iter().filter_map(|(input, taken)| taken.then_some(input)).collect(),
        variants: variants.iter().map(variant).collect(),
    }
}
