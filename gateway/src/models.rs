//! `GET /v1/models`: the models, how each is served, whether it can answer, and how its variants
//! compare.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use crate::api::{
    Agreement, LatencySeconds, ModelEntry, ModelsResponse, Problem, Refused, VariantEntry,
    VariantHealth, VariantMode, VariantStatistics,
};
use crate::discovery::{Discovery, KnownVariant, Takes};
use crate::dispatch::{BreakerState, Breakers};
use crate::error::ApiError;
use crate::model_client::CallError;
use crate::names::is_model_name;
use crate::predictions::json;
use crate::statistics::{Statistics, VariantSummary, wilson95};
use crate::traffic::watch::SharedTraffic;
use crate::traffic::{Mode, Split, Variant};

/// Answers of this age are used again, so that a page that polls costs the model services little.
pub(crate) const SHOWN_AGAIN: Duration = Duration::from_secs(1);

/// The models
///
/// The model services are asked at most once a second. While one is down, its models are listed as
/// `unavailable`. The statistics count since the start of this gateway; they compare the variants
/// by the predictions of the last 10,000 ids.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "models",
    responses(
        (status = 200, description = "The models", body = ModelsResponse),
        Refused,
        (status = 503, description = "No model service was ever reached; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(State(models): State<Models>) -> Result<Response, ApiError> {
    let known = models.discovery.all(SHOWN_AGAIN).await;
    if known.is_empty() && models.discovery.is_down() {
        return Err(CallError::Down.into());
    }
    let traffic = models.traffic.load();
    let names: BTreeSet<&String> = known.keys().chain(traffic.models().keys()).collect();
    let entries = names.into_iter().map(|name| {
        let known = known.get(name).map(Vec::as_slice).unwrap_or_default();
        entry(name, known, traffic.of(name), &models)
    });
    Ok(json(&ModelsResponse {
        models: entries.collect(),
        since: models.statistics.since().to_string(),
    }))
}

/// Which variants a model has, for reads about one model.
#[derive(Clone)]
pub(crate) struct Listing {
    pub(crate) discovery: Discovery,
    pub(crate) traffic: SharedTraffic,
}

impl Listing {
    /// The variants of a model as they are listed. The name is checked, since it becomes part of a
    /// path at the model service.
    pub(crate) async fn variants_of(&self, model: &str) -> Result<Vec<Variant>, ApiError> {
        let unknown = || ApiError::UnknownModel {
            model: model.to_owned(),
        };
        if !is_model_name(model) {
            return Err(unknown());
        }
        let known = self.discovery.all(SHOWN_AGAIN).await;
        let traffic = self.traffic.load();
        if !known.contains_key(model) && !traffic.models().contains_key(model) {
            if known.is_empty() && self.discovery.is_down() {
                return Err(CallError::Down.into());
            }
            return Err(unknown());
        }
        let split = traffic.of(model);
        let has = |variant: &Variant| self.discovery.get(model, variant).is_some();
        let variants = split.variants.iter();
        let listed = variants.filter(|variant| variant.answers() || !split.implied || has(variant));
        Ok(listed.cloned().collect())
    }

    /// The current version of a variant, if it is known and has one.
    pub(crate) fn version_of(&self, model: &str, variant: &Variant) -> Option<String> {
        let known = self.discovery.get(model, variant)?;
        Some(known.version.to_string()).filter(|version| !version.is_empty())
    }
}

/// What is listed.
#[derive(Clone)]
pub(crate) struct Models {
    pub(crate) discovery: Discovery,
    pub(crate) traffic: SharedTraffic,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) breakers: Breakers,
}

fn entry(name: &str, known: &[Arc<KnownVariant>], split: &Split, models: &Models) -> ModelEntry {
    let reference = &split[split.first()];
    let variants = split.variants.iter().filter_map(|variant| {
        let known = known.iter().find(|known| known.variant.is_at(variant));
        // A service that gets no traffic of this model is listed only if it has the model.
        let listed = variant.answers() || !split.implied || known.is_some();
        let summary = || {
            models
                .statistics
                .summary(name, &variant.name, &reference.name)
        };
        let waited_for = models.breakers.state(variant) == BreakerState::Closed;
        let ready = waited_for && known.is_some_and(|known| known.ready);
        listed.then(|| variant_entry(variant, known, ready, summary(), &reference.name))
    });
    let takes = Takes::any(known.iter());
    let inputs = [("data_ids", takes.data_ids), ("texts", takes.texts)];
    ModelEntry {
        name: name.to_owned(),
        inputs: inputs
            .into_iter()
            .filter_map(|(input, taken)| taken.then_some(input))
            .collect(),
        fail_over: split.fail_over,
        variants: variants.collect(),
    }
}

fn variant_entry(
    variant: &Variant,
    known: Option<&Arc<KnownVariant>>,
    ready: bool,
    summary: VariantSummary,
    reference: &str,
) -> VariantEntry {
    VariantEntry {
        name: (*variant.name).to_owned(),
        mode: mode_of(variant),
        weight: (variant.mode == Mode::Active).then_some(variant.weight),
        version: known
            .map(|known| known.version.to_string())
            .unwrap_or_default(),
        versions: known
            .map(|known| known.versions.clone())
            .unwrap_or_default(),
        health: if ready {
            VariantHealth::Ready
        } else {
            VariantHealth::Unavailable
        },
        statistics: variant_statistics(summary, reference),
    }
}

pub(crate) fn mode_of(variant: &Variant) -> VariantMode {
    match variant.mode {
        Mode::Active => VariantMode::Active,
        Mode::Shadow => VariantMode::Shadow,
    }
}

fn variant_statistics(summary: VariantSummary, reference: &str) -> VariantStatistics {
    let agreement = wilson95(summary.agreed, summary.pairs).map(|interval95| Agreement {
        with: reference.to_owned(),
        pairs: summary.pairs,
        agreed: summary.agreed,
        share: summary.agreed as f64 / summary.pairs as f64,
        interval95,
    });
    VariantStatistics {
        calls: summary.calls,
        errors: summary.errors,
        latency_seconds: LatencySeconds {
            p50: summary.p50,
            p95: summary.p95,
        },
        predictions: summary.predictions,
        confidence_mean: summary.confidence_mean,
        label_shares: summary.label_shares,
        agreement,
    }
}
