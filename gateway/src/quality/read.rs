//! `GET /v1/models/{model}/quality`: the windows of feedback of each version, beside what their
//! confidence and their training promised.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::future::join_all;
use protocol::oip::ModelTraining;
use runtime::Deadline;

use super::{Quality, Sums, VersionSummary, Window};
use crate::api::{
    Problem, QualityResponse, QualityWindow, Refused, ScoreMean, VariantQuality, VersionQuality,
};
use crate::dispatch::budget;
use crate::error::ApiError;
use crate::model_client::ModelClient;
use crate::models::{Listing, mode_of};
use crate::names::is_model_name;
use crate::predictions::json;
use crate::statistics::{Statistics, wilson95};
use crate::traffic::Variant;

/// Quality of a model
///
/// Feedback of `POST /v1/feedback` in tumbling windows by variant and version, since the start of
/// this gateway, beside the accuracy that the confidence of the same predictions promised and that
/// of the training.
#[utoipa::path(
    get,
    path = "/v1/models/{model}/quality",
    tag = "models",
    params(("model" = String, Path, description = "Name of the model")),
    responses(
        (status = 200, description = "What is known of each variant's versions", body = QualityResponse),
        (status = 404, description = "Unknown model", body = Problem, content_type = "application/problem+json"),
        Refused,
        (status = 503, description = "No model service was ever reached; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn read(
    State(reader): State<QualityReader>,
    Extension(deadline): Extension<Deadline>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(model) = path.map_err(|_| ApiError::UnknownPath)?;
    let listed = reader.listing.variants_of(&model).await?;
    let time = budget(deadline.remaining());
    let summaries = reader.quality.of_model(&model);
    let reading = listed
        .iter()
        .map(|variant| reader.of_variant(&model, variant, &summaries, time));
    let variants = join_all(reading).await;
    Ok(json(&QualityResponse {
        model,
        window_rows: reader.quality.window_rows(),
        variants,
    }))
}

/// What the handler uses.
#[derive(Clone)]
pub(crate) struct QualityReader {
    pub(crate) listing: Listing,
    pub(crate) client: ModelClient,
    pub(crate) quality: Arc<Quality>,
    pub(crate) statistics: Arc<Statistics>,
}

impl QualityReader {
    async fn of_variant(
        &self,
        model: &str,
        variant: &Variant,
        summaries: &[VersionSummary],
        time: Duration,
    ) -> VariantQuality {
        let current = self.listing.version_of(model, variant);
        let mut versions: Vec<VersionQuality> = summaries
            .iter()
            .filter(|summary| summary.variant == *variant.name)
            .map(version)
            .collect();
        // The current version is listed before its first feedback, for the figures of its training.
        if let Some(current) = current
            && !versions.iter().any(|version| version.version == current)
        {
            versions.push(VersionQuality::without_feedback(current));
        }
        let trainings = versions
            .iter()
            .map(|version| self.training(model, variant, &version.version, time));
        let trainings = join_all(trainings).await;
        for (version, training) in versions.iter_mut().zip(trainings) {
            if let Some(training) = training {
                version.run_id.get_or_insert(training.run_id);
                version.validation_accuracy = training.validation_accuracy;
                version.validation_rmse = training.validation_rmse;
            }
        }
        let all = self.statistics.summary(model, &variant.name, &variant.name);
        VariantQuality {
            name: (*variant.name).to_owned(),
            mode: mode_of(variant),
            predictions: all.predictions,
            estimated_accuracy: all.confidence_mean,
            versions,
        }
    }

    /// What the model service tells of the training of a version; not every service does.
    async fn training(
        &self,
        model: &str,
        variant: &Variant,
        version: &str,
        time: Duration,
    ) -> Option<ModelTraining> {
        if !is_model_name(version) {
            return None;
        }
        let training = self.client.training(variant, model, version, time).await;
        training.ok().flatten()
    }
}

fn version(summary: &VersionSummary) -> VersionQuality {
    let scores: BTreeMap<String, ScoreMean> = summary
        .scores
        .iter()
        .map(|(name, sums)| {
            let mean = sums.sum / sums.count.max(1) as f64;
            let count = sums.count;
            (name.clone(), ScoreMean { count, mean })
        })
        .collect();
    VersionQuality {
        version: summary.version.clone(),
        run_id: summary.run_id.clone(),
        validation_accuracy: None,
        validation_rmse: None,
        feedback: summary.all.rows,
        accuracy: summary.all.accuracy(),
        mean_absolute_error: summary.all.mean_absolute_error(),
        window: summary.last.as_ref().map(window),
        filling: summary.filling.as_ref().map(window),
        scores,
    }
}

fn window(window: &Window) -> QualityWindow {
    let sums: &Sums = &window.sums;
    let accuracy = sums.accuracy();
    QualityWindow {
        number: window.number,
        rows: sums.rows,
        correct: accuracy.map(|_| sums.correct),
        accuracy,
        accuracy_interval95: accuracy.and_then(|_| wilson95(sums.correct, sums.rows)),
        estimated_accuracy: sums.estimated_accuracy(),
        mean_absolute_error: sums.mean_absolute_error(),
        first_at: window.first_at.to_string(),
        last_at: window.last_at.to_string(),
    }
}
