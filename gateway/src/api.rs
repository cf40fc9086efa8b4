//! The bodies of `/v1`, as they are written and as `openapi.json` describes them.

mod drift;
mod feedback;
mod quality;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use jiff::Timestamp;
use protocol::ErrorCode;
use serde::{Deserialize, Serialize, Serializer};
use telemetry::{SpanId, TraceId};
use utoipa::{IntoParams, IntoResponses, ToSchema};

pub(crate) use drift::{DriftError, DriftResponse, ServiceDrift, VariantDrift};
pub(crate) use feedback::{
    Evaluation, FeedbackEntry, FeedbackItem, FeedbackRequest, FeedbackResponse, JudgedEntry,
};
pub(crate) use quality::{
    QualityResponse, QualityWindow, ScoreMean, VariantQuality, VersionQuality,
};

use crate::store::StoredPrediction;

/// Body of `POST /v1/predictions`: a model, and either entities or texts.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictionRequest {
    /// Name of the model.
    #[schema(example = "wine_quality", max_length = 128)]
    pub(crate) model: String,
    /// The entities, for a model that takes `data_id`: 1 to 1,000 ids of 1 to 256 bytes without
    /// control characters.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 1000, example = json!(["wine-0001"]))]
    pub(crate) data_ids: Option<Vec<String>>,
    /// The texts, for a model that takes `text`: 1 to 1,000. They are never stored; the id of a
    /// text is made from its hash.
    #[serde(default)]
    #[schema(min_items = 1, max_items = 1000)]
    pub(crate) texts: Option<Vec<String>>,
}

/// What both ways to ask for predictions read of a request's headers.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(
    dead_code,
    reason = "only described; `cache` and `choice` read the headers"
)]
pub(crate) struct PredictionHeaders {
    /// `no-cache`, `no-store`, `max-age=N`, `only-if-cached`
    #[param(rename = "Cache-Control")]
    cache_control: Option<String>,
    /// `ml.variant=NAME` asks for one variant, `user.id=ID` for one variant for everything that
    /// this user asks (W3C Baggage)
    baggage: Option<String>,
}

/// Answer to `POST /v1/predictions`: one entry for each thing asked, in the order asked.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PredictionResponse {
    pub(crate) predictions: Vec<Entry>,
}

/// A prediction, or why there is none.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Entry {
    Prediction(Prediction),
    Failed(FailedEntry),
}

/// One prediction.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Prediction {
    /// The entity, or `text-` and 16 hex digits for a text.
    #[schema(value_type = String, example = "wine-0001")]
    pub(crate) data_id: Arc<str>,
    #[schema(value_type = String, example = "wine_quality")]
    pub(crate) model: Arc<str>,
    /// Version of the model that computed it.
    #[schema(value_type = String, example = "1")]
    pub(crate) model_version: Arc<str>,
    /// Variant of the model that computed it.
    #[schema(value_type = String, example = "primary")]
    pub(crate) variant: Arc<str>,
    /// The predicted class; left out for a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "high", nullable = false)]
    pub(crate) label: Option<String>,
    /// Probability of the predicted class; left out for a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1, nullable = false)]
    pub(crate) confidence: Option<f32>,
    /// Probability of each class, in the model's order of classes; left out for a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) probabilities: Option<Vec<f32>>,
    /// The predicted number; only of a regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) value: Option<f32>,
    /// True when it came from the prediction store.
    pub(crate) cached: bool,
    /// When it was computed (RFC 3339).
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, format = DateTime)]
    pub(crate) computed_at: Timestamp,
    /// The span that computed it; if the model service does not name it, that of the request that
    /// had it computed; null when nothing was traced.
    pub(crate) computed_by: Option<ComputedBy>,
    /// The training run of the model; null when the model service does not name it.
    pub(crate) run_id: Option<String>,
}

/// The span of a computation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ComputedBy {
    /// 32 hex digits.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, example = "0af7651916cd43dd8448eb211c80319c")]
    pub(crate) trace_id: TraceId,
    /// 16 hex digits.
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String, example = "b7ad6b7169203331")]
    pub(crate) span_id: SpanId,
}

/// Something that was asked for and has no prediction, while others may have one.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FailedEntry {
    pub(crate) data_id: String,
    pub(crate) model: String,
    pub(crate) error: EntryError,
}

/// Why one entry has no prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct EntryError {
    /// The status that a request for this one alone would have.
    #[schema(example = 404)]
    pub(crate) status: u16,
    /// A stable word for programs.
    #[schema(value_type = String, example = "unknown_entity")]
    pub(crate) code: ErrorCode,
    /// A sentence for people.
    pub(crate) title: &'static str,
}

/// Answer to a search: newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchResponse {
    pub(crate) predictions: Vec<Prediction>,
    /// Pass it as `cursor` for the next page; null on the last one.
    pub(crate) next_cursor: Option<String>,
}

/// What to search for. A parameter that is missing, or empty as a form sends it, does not narrow
/// the search.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchParameters {
    /// Only of this model.
    pub(crate) model: Option<String>,
    /// Only with this label.
    pub(crate) label: Option<String>,
    /// Only by this variant.
    pub(crate) variant: Option<String>,
    /// Only with at least this confidence, 0 to 1.
    #[param(value_type = Option<f32>, minimum = 0, maximum = 1)]
    pub(crate) min_confidence: Option<String>,
    /// Only computed at this time or later (RFC 3339).
    #[param(format = DateTime)]
    pub(crate) since: Option<String>,
    /// Predictions on one page; 100 by default.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<String>,
    /// `next_cursor` of the page before.
    #[param(pattern = "^([0-9a-f]{2})*$")]
    pub(crate) cursor: Option<String>,
}

/// Answer to `GET /v1/models`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelsResponse {
    pub(crate) models: Vec<ModelEntry>,
    /// Since when the statistics count: the start of this gateway (RFC 3339).
    #[schema(format = DateTime)]
    pub(crate) since: String,
}

/// One model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelEntry {
    #[schema(example = "wine_quality")]
    pub(crate) name: String,
    /// What a prediction can be asked by: `data_ids`, `texts`, or both; nothing for a model that gives
    /// vectors, which is asked at `/v2/models/{model_name}/infer`.
    pub(crate) inputs: Vec<&'static str>,
    /// Whether another variant answers for one that fails.
    pub(crate) fail_over: bool,
    pub(crate) variants: Vec<VariantEntry>,
}

/// One way to serve a model.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VariantEntry {
    #[schema(example = "primary")]
    pub(crate) name: String,
    pub(crate) mode: VariantMode,
    /// Share of the traffic, relative to the other variants; null for a shadow.
    pub(crate) weight: Option<u32>,
    /// The version that answers; empty when the service has no versions or was never reached.
    #[schema(example = "1")]
    pub(crate) version: String,
    /// All versions that can answer.
    pub(crate) versions: Vec<String>,
    pub(crate) health: VariantHealth,
    pub(crate) statistics: VariantStatistics,
}

/// What a variant is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VariantMode {
    /// It answers.
    Active,
    /// It gets copies of the calls to be compared, and never answers.
    Shadow,
}

/// The statistics of a variant since the start of this gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VariantStatistics {
    /// Inference calls.
    pub(crate) calls: u64,
    /// Those of them that failed as a whole.
    pub(crate) errors: u64,
    pub(crate) latency_seconds: LatencySeconds,
    /// Different ids, of the last 10,000 of the model, that this variant has predicted; the figures
    /// below are about them.
    pub(crate) predictions: u64,
    /// Mean probability of the predicted class; null when there are no predictions.
    pub(crate) confidence_mean: Option<f64>,
    /// Share of each predicted class.
    pub(crate) label_shares: BTreeMap<String, f64>,
    /// Null for the first variant itself, and while there is nothing to compare.
    pub(crate) agreement: Option<Agreement>,
}

/// Time of the inference calls that were answered, to within 5 %; null when there were none.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatencySeconds {
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
}

/// How often two variants predict the same class for the same id.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Agreement {
    /// The variant that it is compared with: the first one that gets traffic.
    #[schema(example = "primary")]
    pub(crate) with: String,
    /// Ids that both have predicted.
    pub(crate) pairs: u64,
    /// Those of them that got the same class.
    pub(crate) agreed: u64,
    /// `agreed` of `pairs`.
    #[schema(minimum = 0, maximum = 1)]
    pub(crate) share: f64,
    /// The true share is between these two with 95 % confidence (Wilson's score interval).
    pub(crate) interval95: [f64; 2],
}

/// Whether a variant can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VariantHealth {
    /// It can compute predictions.
    Ready,
    /// Only stored predictions are answered.
    Unavailable,
}

/// An error of `/v1` (RFC 9457, `application/problem+json`).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Names the kind of problem: `urn:throughline:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:throughline:problem:unknown_entity")]
    pub(crate) kind: String,
    /// The kind of problem in words.
    pub(crate) title: &'static str,
    /// The HTTP status.
    pub(crate) status: u16,
    /// This problem in words.
    pub(crate) detail: String,
    /// A stable word for programs.
    #[schema(value_type = String, example = "unknown_entity")]
    pub(crate) code: ErrorCode,
    /// The trace of the request, 32 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    /// The error of each thing that was asked for, when none has a prediction.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<FailedEntry>,
}

/// An error of `/v2`, as clients of the Open Inference Protocol read it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OipError {
    /// A sentence for people.
    pub(crate) error: String,
    /// A stable word for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// The trace of the request, 32 hex digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
}

/// The refusals that every path has.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described; `error` writes the answers")]
pub(crate) enum Refused {
    /// The gateway asks for API keys, and the request has none that it knows
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// The path does not take this method
    #[response(status = 405, content_type = "application/problem+json")]
    Method(Problem),
    /// Too many requests in flight, or more than the API key allows; see Retry-After
    #[response(status = 429, content_type = "application/problem+json")]
    Overloaded(Problem),
}

/// Why predictions cannot be computed.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "only described; `error` writes the answers")]
pub(crate) enum ComputeFailed {
    /// A fault of the gateway
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// The model service failed
    #[response(status = 502, content_type = "application/problem+json")]
    Model(Problem),
    /// Model service or feature store unavailable; see Retry-After
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// Too slow, or not stored and only-if-cached
    #[response(status = 504, content_type = "application/problem+json")]
    TooSlow(Problem),
}

impl Prediction {
    pub(crate) fn new(stored: StoredPrediction, cached: bool) -> Self {
        let value = stored.number();
        let is_class = value.is_none();
        Self {
            data_id: stored.key.data_id,
            model: stored.key.model,
            model_version: stored.key.version,
            variant: stored.key.variant,
            label: is_class.then_some(stored.label),
            confidence: is_class.then_some(stored.confidence),
            probabilities: is_class.then_some(stored.probabilities),
            value,
            cached,
            computed_at: stored.computed_at,
            computed_by: stored.computed_by.map(|span| ComputedBy {
                trace_id: span.trace_id,
                span_id: span.span_id,
            }),
            run_id: stored.run_id,
        }
    }
}

/// Writes a value as its text, without a string of its own.
fn as_text<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
