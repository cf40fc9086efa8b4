//! `GET /v1/models/{model}/drift`: how far what each variant is asked is from its training, as its
//! model service has it.

use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::future::join_all;
use protocol::ErrorCode;
use runtime::Deadline;

use crate::api::{DriftError, DriftResponse, Problem, Refused, VariantDrift};
use crate::dispatch::budget;
use crate::error::{ApiError, title};
use crate::model_client::{CallError, ModelClient};
use crate::models::{Listing, mode_of};
use crate::predictions::json;
use crate::traffic::Variant;

/// Drift of a model
///
/// Each variant's model service compares windows of what its versions are asked and answer with
/// the reference of their training. Predictions that come from the store are not computed, and so
/// are in no window. A service that cannot tell is an `error` of its variant.
#[utoipa::path(
    get,
    path = "/v1/models/{model}/drift",
    tag = "models",
    params(("model" = String, Path, description = "Name of the model")),
    responses(
        (status = 200, description = "What each variant's service knows", body = DriftResponse),
        (status = 404, description = "Unknown model", body = Problem, content_type = "application/problem+json"),
        Refused,
        (status = 503, description = "No model service was ever reached; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(reader): State<DriftReader>,
    Extension(deadline): Extension<Deadline>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(model) = path.map_err(|_| ApiError::UnknownPath)?;
    let asked = reader.listing.variants_of(&model).await?;
    let time = budget(deadline.remaining());
    let asking = asked
        .iter()
        .map(|variant| reader.ask(&model, variant, time));
    let variants = join_all(asking).await;
    let services = variants.iter().filter_map(|variant| variant.drift.as_ref());
    let mut versions = services.flat_map(|service| &service.versions);
    Ok(json(&DriftResponse {
        drift_detected: versions.any(|version| version.drift_detected),
        model,
        variants,
    }))
}

/// What the handler uses.
#[derive(Clone)]
pub(crate) struct DriftReader {
    pub(crate) listing: Listing,
    pub(crate) client: ModelClient,
}

impl DriftReader {
    async fn ask(&self, model: &str, variant: &Variant, time: Duration) -> VariantDrift {
        let (drift, error) = match self.client.drift(variant, model, time).await {
            Ok(drift) => (Some(drift), None),
            Err(error) => (None, Some(self.error(model, variant, &error))),
        };
        VariantDrift {
            name: (*variant.name).to_owned(),
            mode: mode_of(variant),
            drift,
            error,
        }
    }

    /// A service that has the model and not this path, which is no part of the protocol, does not
    /// measure drift.
    fn error(&self, model: &str, variant: &Variant, error: &CallError) -> DriftError {
        let has_model = self.listing.discovery.get(model, variant).is_some();
        let code = match error {
            CallError::Answered { status, .. }
                if has_model && matches!(status.as_u16(), 404 | 405 | 501) =>
            {
                ErrorCode::DriftNotMeasured
            }
            error => error.code(),
        };
        DriftError {
            code,
            title: title(code),
        }
    }
}
