//! The addresses of the Open Inference Protocol, and the layers around them.

mod body;
mod infer;
mod reads;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use runtime::Health;
use telemetry::server;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

use crate::error::{RequestError, injected, refuse};
use crate::features::FeatureStore;
use crate::predict::Predictor;
use crate::repository::Catalog;
use crate::{Config, PART};
use infer::Inference;

/// Answers below this many bytes fit into one packet and gain nothing from gzip, which costs more than a small model.
const COMPRESS_FROM: u64 = 1024;

/// The whole service. Health is outside of tracing and limits: probes are many, and must be answered under load.
pub(crate) fn build(
    config: &Config,
    catalog: Arc<Catalog>,
    health: &Health,
    features: FeatureStore,
    predictor: Predictor,
) -> Router {
    let inference = Inference {
        catalog: Arc::clone(&catalog),
        features,
        predictor,
    };
    let telemetry = server::Options {
        service: PART.name,
        allow_faults: config.allow_faults,
        fault_response: injected,
    };
    model_reads()
        .with_state(catalog.clone())
        .merge(repository_reads().with_state((catalog, health.clone())))
        .merge(inference_routes().with_state(Arc::new(inference)))
        .fallback(|| async { RequestError::NoRoute })
        .method_not_allowed_fallback(|| async { RequestError::Method })
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESS_FROM)))
        .layer(runtime::limit_layer(&config.process, refuse))
        .layer(server::layer(telemetry))
        .merge(reads::health_routes(health.clone()))
        .merge(health.routes())
}

/// Looks at the repository's folder again; returns whether there is anything to serve.
pub(crate) async fn refresh(catalog: &Arc<Catalog>, health: &Health) -> io::Result<bool> {
    let reader = Arc::clone(catalog);
    let task = telemetry::task::spawn_blocking(move || reader.refresh());
    let serving = task.await.map_err(io::Error::other)??;
    // Readiness latches: a version that was taken away by mistake is for the log and the detail, not for a restart.
    if serving {
        health.ready(true);
    }
    let broken = reads::broken(&catalog.models());
    health.detail("models", broken);
    Ok(serving)
}

fn model_reads() -> Router<Arc<Catalog>> {
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

fn repository_reads() -> Router<(Arc<Catalog>, Health)> {
    Router::new().route("/v2/repository/index", post(reads::index))
}

fn inference_routes() -> Router<Arc<Inference>> {
    Router::new()
        .route("/v2/models/{model_name}/infer", post(infer::infer))
        .route(
            "/v2/models/{model_name}/versions/{model_version}/infer",
            post(infer::infer),
        )
        .layer(DefaultBodyLimit::max(body::MAX_BYTES))
}
