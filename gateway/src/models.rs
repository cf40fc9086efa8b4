//! `GET /v1/models`: which models there are, how each is served, whether it can answer, and how its variants compare.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;

use crate::api::{
    Agreement, LatencySeconds, ModelEntry, ModelsResponse, Problem, VariantEntry, VariantHealth,
    VariantMode, VariantStatistics,
};
use crate::catalogue::{Known, Takes};
use crate::error::ApiError;
use crate::model::ModelError;
use crate::predictions::json;
use crate::read_through::ReadThrough;
use crate::routes::{Mode, Route, Variant};
use crate::statistics::{Statistics, wilson95};

/// An answer of this age is shown again, so that a page that asks often costs the model services little.
const SHOWN_AGAIN: Duration = Duration::from_secs(1);

/// The models
///
/// Asked of the model services, at most once a second. While one is down, the models that it is to serve are listed as
/// `unavailable`. The statistics are those of this gateway since it was started; they compare the variants by the
/// predictions of the last 10,000 ids.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "models",
    responses(
        (status = 200, description = "The models", body = ModelsResponse),
        (status = 405, description = "The path does not take this method", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests in flight; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "No model service was ever reached; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn list(
    State(predictions): State<Arc<ReadThrough>>,
) -> Result<Response, ApiError> {
    let parts = predictions.parts();
    let known = parts.catalogue.all(SHOWN_AGAIN).await;
    if known.is_empty() && parts.catalogue.is_down() {
        return Err(ApiError::Model(Arc::new(ModelError::Down)));
    }
    let routes = parts.routes.load();
    let names: BTreeSet<&String> = known.keys().chain(routes.models().keys()).collect();
    let models = names.into_iter().map(|name| {
        let known = known.get(name).map(Vec::as_slice).unwrap_or_default();
        entry(name, known, routes.of(name), &parts.statistics)
    });
    Ok(json(&ModelsResponse {
        models: models.collect(),
        since: parts.statistics.since().to_string(),
    }))
}

fn entry(name: &str, known: &[Arc<Known>], route: &Route, statistics: &Statistics) -> ModelEntry {
    let reference = &route.variants[route.first()];
    let found = |variant: &Variant| known.iter().find(|known| known.variant.is_at(variant));
    let shown =
        |variant: &&Variant| variant.answers() || !route.implied || found(variant).is_some();
    let variants = route.variants.iter().filter(shown).map(|variant| {
        let known = found(variant);
        VariantEntry {
            name: (*variant.name).to_owned(),
            mode: match variant.mode {
                Mode::Active => VariantMode::Active,
                Mode::Shadow => VariantMode::Shadow,
            },
            weight: (variant.mode == Mode::Active).then_some(variant.weight),
            version: known.map(|known| known.version.clone()).unwrap_or_default(),
            versions: known
                .map(|known| known.versions.clone())
                .unwrap_or_default(),
            health: match known {
                Some(known) if known.ready => VariantHealth::Ready,
                _ => VariantHealth::Unavailable,
            },
            statistics: statistics_of(name, variant, reference, statistics),
        }
    });
    let takes = Takes::any(known.iter());
    let inputs = [("data_ids", takes.data_ids), ("texts", takes.texts)];
    ModelEntry {
        name: name.to_owned(),
        inputs: inputs
            .into_iter()
            .filter_map(|(input, taken)| taken.then_some(input))
            .collect(),
        fail_over: route.fail_over,
        variants: variants.collect(),
    }
}

fn statistics_of(
    model: &str,
    variant: &Variant,
    reference: &Variant,
    statistics: &Statistics,
) -> VariantStatistics {
    let told = statistics.tell(model, &variant.name, &reference.name);
    let agreement = wilson95(told.agreed, told.pairs).map(|interval95| Agreement {
        with: (*reference.name).to_owned(),
        pairs: told.pairs,
        agreed: told.agreed,
        share: told.agreed as f64 / told.pairs as f64,
        interval95,
    });
    VariantStatistics {
        calls: told.calls,
        errors: told.errors,
        latency_seconds: LatencySeconds {
            p50: told.p50,
            p95: told.p95,
        },
        predictions: told.predictions,
        confidence_mean: told.confidence_mean,
        label_shares: told.label_shares,
        agreement,
    }
}
