//! The model service: an Open Inference Protocol V2 server. It looks features up, computes Candle
//! models on threads of their own, and trains them.

pub mod candle;
mod config;
mod drift;
pub mod embedder;
mod encoding;
mod engine;
mod error;
mod feature_rows;
mod features;
pub mod model;
mod predict;
pub mod repository;
mod router;
mod text;
pub mod threads;
pub mod training;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Health, PartInfo, ServeError, Shutdown};
use telemetry::client::ClientError;
use tokio::net::TcpListener;

pub use config::Config;
use drift::DriftMonitor;
use engine::Engine;
use features::FeatureStore;
use predict::Predictor;
use repository::ModelRepository;

/// What is fixed about this part.
pub const PART: PartInfo = PartInfo {
    name: "model-service",
    version: env!("CARGO_PKG_VERSION"),
    listen_flag: "--listen",
    traced: true,
};

/// Time between two refreshes of the repository; one costs some `readdir` calls.
const REFRESH_EVERY: Duration = Duration::from_secs(2);

/// Why the service did not start or stopped early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the HTTP client for the feature store cannot be built")]
    Client(#[source] ClientError),
    #[error("the threads of the service cannot be started")]
    Threads(#[source] std::io::Error),
    #[error("the model repository cannot be read")]
    Repository(#[source] std::io::Error),
    #[error("serving ended early")]
    Serve(#[source] ServeError),
}

/// Runs the service as a process of its own until a signal stops it.
pub fn main(config: Config) -> ExitCode {
    runtime::run(
        &PART,
        config.listen,
        &config.process.clone(),
        |listener, shutdown| run(config, listener, shutdown),
    )
}

/// Serves on `listener` until `shutdown`, then drains.
pub async fn run(config: Config, listener: TcpListener, shutdown: Shutdown) -> Result<(), Error> {
    let health = Health::new();
    let repository = Arc::new(ModelRepository::new(&config.model_repository));
    let any_ready = router::refresh(&repository, &health)
        .await
        .map_err(Error::Repository)?;
    if !any_ready {
        let path = config.model_repository.display();
        tracing::warn!(name: "model.none", "no model to serve in {path}; waiting for one to appear");
    }
    let engine = Engine::start(config.engine()).map_err(Error::Threads)?;
    let client = config.tls_client.client().map_err(Error::Client)?;
    let features = FeatureStore::new(client, &config.feature_store, config.feature_timeout);
    let drift = Arc::new(DriftMonitor::start(config.drift()).map_err(Error::Threads)?);
    let (variant, capture_text) = (config.variant.clone(), config.capture_text);
    let predictor = Predictor::new(engine, Arc::clone(&drift), variant, capture_text);
    let router = router::build(
        &config,
        Arc::clone(&repository),
        &health,
        features,
        predictor,
        drift,
    );
    let watch = telemetry::task::spawn(watch(repository, health.clone(), shutdown.clone()));
    let served = runtime::serve(listener, router, health, &config.process, shutdown).await;
    watch.abort();
    served.map_err(Error::Serve)
}

/// Loads new versions while the service runs.
async fn watch(repository: Arc<ModelRepository>, health: Health, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(REFRESH_EVERY) => {}
            () = shutdown.wait() => return,
        }
        if let Err(error) = router::refresh(&repository, &health).await {
            // The loaded versions stay in service; the volume may come back.
            tracing::warn!(name: "model.refresh_failed", error = %error, "the model repository cannot be read: {error}");
        }
    }
}

#[cfg(test)]
mod tests;
