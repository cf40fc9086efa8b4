//! The bodies of `GET /v1/models/{model}/drift`. What a model service answers is read and written
//! with the same types.

use protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::VariantMode;

/// Answer to `GET /v1/models/{model}/drift`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DriftResponse {
    #[schema(example = "wine_quality")]
    pub(crate) model: String,
    /// Whether any version of any variant drifts.
    pub(crate) drift_detected: bool,
    pub(crate) variants: Vec<VariantDrift>,
}

/// The drift of one variant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VariantDrift {
    #[schema(example = "primary")]
    pub(crate) name: String,
    pub(crate) mode: VariantMode,
    /// What its model service knows; null when it does not tell.
    pub(crate) drift: Option<ServiceDrift>,
    /// Why it does not tell; null when it does.
    pub(crate) error: Option<DriftError>,
}

/// What a model service knows of the drift of a model.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct ServiceDrift {
    /// Rows that end a window.
    pub(crate) window_rows: u64,
    /// One alarm in so many windows without drift is by chance.
    pub(crate) windows_per_false_alarm: u64,
    /// Those that can answer.
    pub(crate) versions: Vec<VersionDrift>,
}

/// The drift of one version.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct VersionDrift {
    #[schema(example = "1")]
    pub(crate) version: String,
    /// The training run whose data it is compared with.
    pub(crate) run_id: String,
    pub(crate) drift_detected: bool,
    /// Since when it drifts (RFC 3339); null while it does not.
    pub(crate) since: Option<String>,
    /// The last window that ended; null before the first.
    pub(crate) window: Option<DriftWindow>,
    /// Rows of the window that fills.
    pub(crate) waiting_rows: u64,
}

/// A window of rows that a version was asked.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct DriftWindow {
    /// Number since the start of the model service, from 1.
    pub(crate) number: u64,
    /// All rows of its requests, also those with missing values.
    pub(crate) rows: u64,
    #[schema(format = DateTime)]
    pub(crate) first_at: String,
    #[schema(format = DateTime)]
    pub(crate) last_at: String,
    pub(crate) scores: Vec<DriftScore>,
    /// Up to five traces of requests that show the largest drift.
    pub(crate) trace_ids: Vec<String>,
}

/// How far one feature is from the training, by one method.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct DriftScore {
    /// Name of the feature; `ml.output.confidence` and `ml.output.label` for the predictions.
    #[schema(example = "alcohol")]
    pub(crate) feature: String,
    /// `psi` (natural logarithms), `ks_d`, `js_distance_base2`, `out_of_range_share` or
    /// `missing_share`.
    #[schema(example = "psi")]
    pub(crate) method: String,
    pub(crate) score: f64,
    /// A larger score is drift; null where the score only informs.
    pub(crate) threshold: Option<f64>,
    /// Values in the window.
    pub(crate) rows: u64,
    /// Values in the reference.
    pub(crate) reference_rows: u64,
    /// Bins of the comparison: the deciles of the reference, the small ones joined, or the classes.
    /// Null where there are none.
    pub(crate) bins: Option<u64>,
    pub(crate) drift_detected: bool,
}

/// Why the drift of a variant is not known.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct DriftError {
    /// A stable word for programs.
    #[schema(value_type = String, example = "drift_not_measured")]
    pub(crate) code: ErrorCode,
    /// A sentence for people.
    pub(crate) title: &'static str,
}
