//! The bodies of `POST /v1/feedback`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::FailedEntry;

/// Body of `POST /v1/feedback`: a model, and what turned out to be true of its predictions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedbackRequest {
    /// Name of the model.
    #[schema(example = "wine_quality", max_length = 128)]
    pub(crate) model: String,
    #[schema(min_items = 1, max_items = 1000)]
    pub(crate) feedback: Vec<FeedbackItem>,
}

/// Feedback about a prediction, which `data_id` or `trace_id` finds, with exactly one of `label`,
/// `value` and `score`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FeedbackItem {
    /// The entity or text, as the prediction names it. What is true of it is true for every
    /// variant, so the stored prediction of each variant's current version is judged.
    #[serde(default)]
    #[schema(example = "wine-0001", nullable = false)]
    pub(crate) data_id: Option<String>,
    /// The trace of the request that was answered with the prediction, 32 hex digits. The gateway
    /// remembers the traces of its last 10,000 predictions; older ones need the `data_id`.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) trace_id: Option<String>,
    /// Only the prediction of this variant.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) variant: Option<String>,
    /// Only the prediction of this version, also of one that is not the current one.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) model_version: Option<String>,
    /// The true class.
    #[serde(default)]
    #[schema(example = "high", nullable = false)]
    pub(crate) label: Option<String>,
    /// The true number, for a regression.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) value: Option<f64>,
    /// A score that somebody or something gave to the prediction.
    #[serde(default)]
    #[schema(nullable = false)]
    pub(crate) score: Option<Score>,
}

/// A score with its name.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Score {
    /// 1 to 64 letters, digits, `_`, `-` and `.`.
    #[schema(example = "llm_ground_truth_score", max_length = 64)]
    pub(crate) name: String,
    pub(crate) value: f64,
}

/// Answer to `POST /v1/feedback`: one entry for each item, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FeedbackResponse {
    pub(crate) feedback: Vec<FeedbackEntry>,
}

/// What was judged, or why nothing was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum FeedbackEntry {
    Judged(JudgedEntry),
    /// Without a `data_id`, its `data_id` is the `trace_id`.
    Failed(FailedEntry),
}

/// The predictions that one item of the feedback is about.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JudgedEntry {
    pub(crate) data_id: String,
    pub(crate) model: String,
    pub(crate) evaluations: Vec<Evaluation>,
}

/// One prediction, judged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Evaluation {
    #[schema(example = "primary")]
    pub(crate) variant: String,
    #[schema(example = "1")]
    pub(crate) model_version: String,
    /// `accuracy`, `absolute_error`, or the name of the score.
    #[schema(example = "accuracy")]
    pub(crate) name: String,
    /// Of `accuracy` 1 or 0.
    pub(crate) score: f64,
    /// `correct` or `incorrect`; only of `accuracy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub(crate) label: Option<&'static str>,
    /// `counted`, or `replaced` when it replaces earlier feedback about the same prediction.
    #[schema(value_type = String, example = "counted")]
    pub(crate) result: &'static str,
}
