//! `POST /v1/feedback`: what turned out to be true of predictions. Each becomes an event with the
//! trace of its prediction, and counts in the windows of [`crate::quality`].
//!
//! An answer of 2xx says that what it lists is in the windows of this gateway and that its event has
//! been handed to the exporter. Both are lost with the process, as all statistics are; what is to
//! last is the event at the telemetry's destination.

mod find;
mod judge;

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use bytes::Bytes;
use protocol::ErrorCode;
use telemetry::{SpanRef, attr};

pub(crate) use find::Finder;
use find::Found;
use judge::{Judgement, Truth};

use crate::api::{
    Evaluation, FailedEntry, FeedbackEntry, FeedbackItem, FeedbackRequest, FeedbackResponse,
    JudgedEntry, Problem, Refused,
};
use crate::error::ApiError;
use crate::freshness::Lifetime;
use crate::names::{is_model_name, is_variant_name};
use crate::predict::{check_count, is_data_id};
use crate::predictions::json;
use crate::quality::Quality;
use crate::store::StoredPrediction;

/// Links of one SERVER span, as for predictions.
const MAX_LINKS: usize = 32;

/// Feedback about predictions
///
/// The true labels or numbers of entities, or scores of predictions. Each is compared with the
/// stored predictions that it is about, is logged as the event `gen_ai.evaluation.result` in the
/// trace of the prediction, and counts in `GET /v1/models/{model}/quality`. Feedback about a
/// prediction that had some already replaces it. The status is 200 as long as anything was judged.
#[utoipa::path(
    post,
    path = "/v1/feedback",
    tag = "predictions",
    request_body(content = FeedbackRequest, description = "JSON, also compressed (`Content-Encoding: gzip` or `deflate`)"),
    responses(
        (status = 200, description = "At least one prediction was judged", body = FeedbackResponse),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown model, or nothing is stored of any of the entities", body = Problem, content_type = "application/problem+json"),
        Refused,
        (status = 413, description = "The body is larger than 1 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Unknown content encoding", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not feedback that fits the predictions of this model", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The prediction store is unavailable; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(feedback): State<Arc<Feedback>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let request: FeedbackRequest = protocol::object(&body?)?;
    let truths = check(&request)?;
    let span = telemetry::current();
    span.set(attr::ML_MODEL_NAME, request.model.clone());
    span.set(
        attr::ML_BATCH_SIZE,
        i64::try_from(truths.len()).unwrap_or(i64::MAX),
    );
    let entries = feedback.take(&request, truths).await?;
    if !entries
        .iter()
        .any(|entry| matches!(entry, FeedbackEntry::Judged(_)))
    {
        let failed = entries.into_iter().filter_map(|entry| match entry {
            FeedbackEntry::Failed(failed) => Some(failed),
            FeedbackEntry::Judged(_) => None,
        });
        let entries = failed.collect();
        return Err(ApiError::NoneCounted { entries });
    }
    Ok(json(&FeedbackResponse { feedback: entries }))
}

/// Takes feedback.
pub(crate) struct Feedback {
    pub(crate) finder: Finder,
    pub(crate) quality: Arc<Quality>,
    pub(crate) lifetime: Lifetime,
}

impl Feedback {
    async fn take(
        &self,
        request: &FeedbackRequest,
        truths: Vec<Truth>,
    ) -> Result<Vec<FeedbackEntry>, ApiError> {
        let found = self.finder.find(&request.model, &request.feedback).await?;
        let mut links = Vec::new();
        let items = request.feedback.iter().zip(truths).zip(found);
        let entries = items.map(|((item, truth), found)| {
            let judged =
                found.and_then(|found| self.judge(&request.model, &truth, found, &mut links));
            match judged {
                Ok(entry) => FeedbackEntry::Judged(entry),
                Err(code) => FeedbackEntry::Failed(FailedEntry {
                    data_id: named(item),
                    model: request.model.clone(),
                    error: code.into(),
                }),
            }
        });
        let entries = entries.collect();
        for link in &links {
            telemetry::current().add_link(link);
        }
        Ok(entries)
    }

    /// Judges the predictions that one item is about, and records what fits the truth.
    fn judge(
        &self,
        model: &str,
        truth: &Truth,
        found: Vec<Found>,
        links: &mut Vec<SpanRef>,
    ) -> Result<JudgedEntry, ErrorCode> {
        let mut entry = JudgedEntry {
            data_id: String::new(),
            model: model.to_owned(),
            evaluations: Vec::new(),
        };
        let mut refused = ErrorCode::PredictionNotStored;
        for Found {
            prediction,
            classes,
        } in found
        {
            match truth.judge(&prediction, &classes) {
                Ok(judgement) => {
                    entry.evaluations.push(self.record(&prediction, judgement));
                    prediction
                        .key
                        .data_id
                        .as_ref()
                        .clone_into(&mut entry.data_id);
                    let span = prediction.computed_by;
                    links.extend(
                        span.filter(|span| links.len() < MAX_LINKS && !links.contains(span)),
                    );
                }
                Err(code) => refused = code,
            }
        }
        if entry.evaluations.is_empty() {
            return Err(refused);
        }
        Ok(entry)
    }

    fn record(&self, prediction: &StoredPrediction, judgement: Judgement) -> Evaluation {
        let now = self.lifetime.now();
        let recorded = if let Some(outcome) = judgement.outcome {
            self.quality.record_outcome(prediction, outcome, now)
        } else {
            let (name, score) = (&judgement.name, judgement.score);
            self.quality.record_score(prediction, name, score, now)
        };
        let log = || judgement.log(prediction, recorded);
        match &prediction.computed_by {
            Some(span) => span.in_scope(log),
            None => log(),
        }
        Evaluation {
            variant: prediction.key.variant.to_string(),
            model_version: prediction.key.version.to_string(),
            score: judgement.score,
            label: judgement.label,
            result: recorded.as_str(),
            name: judgement.name,
        }
    }
}

/// What an item names its prediction by.
fn named(item: &FeedbackItem) -> String {
    let id = item.data_id.as_ref().or(item.trace_id.as_ref());
    id.cloned().unwrap_or_default()
}

/// The truth of each item, in their order.
fn check(request: &FeedbackRequest) -> Result<Vec<Truth>, ApiError> {
    if !is_model_name(&request.model) {
        let model = request.model.clone();
        return Err(ApiError::UnknownModel { model });
    }
    check_count("feedback", request.feedback.len())?;
    let items = request.feedback.iter().enumerate();
    let truths = items.map(|(at, item)| {
        check_item(item).map_err(|what| ApiError::Invalid(format!("feedback[{at}]{what}")))
    });
    truths.collect()
}

fn check_item(item: &FeedbackItem) -> Result<Truth, &'static str> {
    if item.data_id.is_none() && item.trace_id.is_none() {
        return Err(" must have data_id or trace_id");
    }
    if item.data_id.as_deref().is_some_and(|id| !is_data_id(id)) {
        return Err(".data_id must have 1 to 256 bytes and no control characters");
    }
    let is_trace = |id: &str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if item.trace_id.as_deref().is_some_and(|id| !is_trace(id)) {
        return Err(".trace_id must be 32 hex digits");
    }
    if item
        .variant
        .as_deref()
        .is_some_and(|name| !is_variant_name(name))
    {
        return Err(".variant is not the name of a variant");
    }
    if item
        .model_version
        .as_deref()
        .is_some_and(|name| !is_model_name(name))
    {
        return Err(".model_version is not a version");
    }
    Truth::of(item)
}
