//! The bodies of `GET /v1/models/{model}/quality`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::VariantMode;

/// Answer to `GET /v1/models/{model}/quality`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QualityResponse {
    #[schema(example = "wine_quality")]
    pub(crate) model: String,
    /// Pieces of feedback that end a window.
    pub(crate) window_rows: u64,
    pub(crate) variants: Vec<VariantQuality>,
}

/// The quality of one variant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VariantQuality {
    #[schema(example = "primary")]
    pub(crate) name: String,
    pub(crate) mode: VariantMode,
    /// Different ids, of the last 10,000 of the model, that this variant has predicted.
    pub(crate) predictions: u64,
    /// Their mean confidence: the estimate of the accuracy that needs no true label. Null when
    /// there are none.
    pub(crate) estimated_accuracy: Option<f64>,
    /// The current version, and those with feedback.
    pub(crate) versions: Vec<VersionQuality>,
}

/// The quality of one version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionQuality {
    #[schema(example = "1")]
    pub(crate) version: String,
    /// The training run; null when neither a prediction nor the model service names it.
    pub(crate) run_id: Option<String>,
    /// Share of the held-out rows that its training classified correctly; null when the model
    /// service does not tell.
    pub(crate) validation_accuracy: Option<f64>,
    /// The same of a regression: the root of its mean squared error.
    pub(crate) validation_rmse: Option<f64>,
    /// Predictions with a true label or number, since the start of this gateway.
    pub(crate) feedback: u64,
    /// Share of them that were right; null without true labels.
    pub(crate) accuracy: Option<f64>,
    /// Mean distance from the true number; null without true numbers.
    pub(crate) mean_absolute_error: Option<f64>,
    /// The last window that ended; null before the first.
    pub(crate) window: Option<QualityWindow>,
    /// The window that fills; null while it is empty.
    pub(crate) filling: Option<QualityWindow>,
    /// Mean of the scores by name, of up to 16 names.
    pub(crate) scores: BTreeMap<String, ScoreMean>,
}

/// A window of predictions with feedback.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QualityWindow {
    /// Number since the start of this gateway, from 1.
    pub(crate) number: u64,
    pub(crate) rows: u64,
    /// Predictions that are the true label; null for numbers.
    pub(crate) correct: Option<u64>,
    pub(crate) accuracy: Option<f64>,
    /// The true accuracy is between these two with 95 % confidence (Wilson's score interval).
    pub(crate) accuracy_interval95: Option<[f64; 2]>,
    /// Mean confidence of the same predictions.
    pub(crate) estimated_accuracy: Option<f64>,
    pub(crate) mean_absolute_error: Option<f64>,
    #[schema(format = DateTime)]
    pub(crate) first_at: String,
    #[schema(format = DateTime)]
    pub(crate) last_at: String,
}

/// The scores of one name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScoreMean {
    pub(crate) count: u64,
    pub(crate) mean: f64,
}

impl VersionQuality {
    pub(crate) fn without_feedback(version: String) -> Self {
        Self {
            version,
            run_id: None,
            validation_accuracy: None,
            validation_rmse: None,
            feedback: 0,
            accuracy: None,
            mean_absolute_error: None,
            window: None,
            filling: None,
            scores: BTreeMap::new(),
        }
    }
}
