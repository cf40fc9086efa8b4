//! The paths of the Open Inference Protocol, and the layers around them.

mod body;
mod control;
mod drift;
mod infer;
mod reads;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use runtime::{App, Health};
use telemetry::server;
use tower::util::MapResponseLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use crate::drift::DriftMonitor;
use crate::error::{RequestError, injected, refuse};
use crate::features::FeatureStore;
use crate::predict::Predictor;
use crate::repository::ModelRepository;
use crate::{Config, PART};
use infer::InferState;

/// Smaller answers fit into one packet anyway, and compressing them would cost more than a small
/// model's inference.
const COMPRESS_FROM: u64 = 1024;

/// The router of the service. The health routes are outside of tracing and limits, because probes
/// are frequent and need answers under load, too.
pub(crate) fn build(
    config: &Config,
    repository: Arc<ModelRepository>,
    health: &Health,
    features: FeatureStore,
    predictor: Predictor,
    drift: Arc<DriftMonitor>,
) -> App {
    let infer_state = InferState {
        repository: Arc::clone(&repository),
        features,
        predictor,
    };
    let telemetry = server::Options {
        service: PART.name,
        allow_faults: config.allow_faults,
        fault_response: injected,
    };
    let limits = runtime::limit_layer(&config.process, body::RULES, refuse);
    let compression = (
        MapResponseLayer::new(IntoResponse::into_response),
        CompressionLayer::new().compress_when(SizeAbove::new(COMPRESS_FROM)),
    );
    let router = model_reads()
        .with_state(repository.clone())
        .merge(drift_reads().with_state((Arc::clone(&repository), drift)))
        .merge(repository_reads().with_state((repository.clone(), health.clone())))
        .merge(repository_control().with_state(control::Control {
            repository,
            health: health.clone(),
            allowed: config.allow_model_control,
        }))
        .merge(inference_routes().with_state(Arc::new(infer_state)))
        .fallback(|| async { RequestError::UnknownPath })
        .method_not_allowed_fallback(|| async { RequestError::Method })
        .layer((server::layer(telemetry), limits, compression))
        .merge(reads::health_routes(health.clone()))
        .merge(health.routes());
    App::new(router, refuse, Some(telemetry))
}

/// Refreshes the repository and the readiness. Returns whether any version is ready.
pub(crate) async fn refresh(
    repository: &Arc<ModelRepository>,
    health: &Health,
) -> io::Result<bool> {
    let reader = Arc::clone(repository);
    let task = telemetry::task::spawn_blocking(move || reader.refresh());
    let any_ready = task.await.map_err(io::Error::other)??;
    report(repository, health);
    Ok(any_ready)
}

/// Takes the state of the models into the readiness. It latches: a version that was removed by
/// mistake belongs in the log and the detail, and is no reason for a restart.
fn report(repository: &ModelRepository, health: &Health) {
    let models = repository.models();
    if models.values().any(|versions| versions.current().is_some()) {
        health.ready(true);
    }
    health.detail("models", reads::unavailable(&models));
}

fn model_reads() -> Router<Arc<ModelRepository>> {
    Router::new()
        .route("/v2", get(reads::server))
        .route("/v2/", get(reads::server))
        .route("/v2/models", get(reads::list))
        .route("/v2/models/{model_name}", get(reads::metadata))
        .route("/v2/models/{model_name}/ready", get(reads::ready))
        .route("/v2/models/{model_name}/config", get(reads::config))
        .route(
            "/v2/models/{model_name}/versions/{model_version}",
            get(reads::metadata),
        )
        .route(
            "/v2/models/{model_name}/versions/{model_version}/ready",
            get(reads::ready),
        )
        .route(
            "/v2/models/{model_name}/versions/{model_version}/config",
            get(reads::config),
        )
}

fn repository_reads() -> Router<(Arc<ModelRepository>, Health)> {
    Router::new().route("/v2/repository/index", post(reads::index))
}

fn drift_reads() -> Router<drift::DriftState> {
    Router::new().route("/v2/models/{model_name}/drift", get(drift::read))
}

fn repository_control() -> Router<control::Control> {
    Router::new()
        .route(
            "/v2/repository/models/{model_name}/load",
            post(control::load),
        )
        .route(
            "/v2/repository/models/{model_name}/unload",
            post(control::unload),
        )
}

fn inference_routes() -> Router<Arc<InferState>> {
    Router::new()
        .route("/v2/models/{model_name}/infer", post(infer::infer))
        .route(
            "/v2/models/{model_name}/versions/{model_version}/infer",
            post(infer::infer),
        )
}
