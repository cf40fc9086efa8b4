//! The gateway: it answers predictions from its store, and has a model service compute the ones it does not have.
//!
//! A request goes `predictions` (what is asked) → `choice` (which variant answers) → `read_through` (store, then model) →
//! `flight` (one computation for each key) → `model` (Open Inference Protocol). `store` is the seam to `SQLite` and
//! Elasticsearch, `routes` says which variants a model has, `catalogue` knows their current versions, `statistics` compares
//! them, `passthrough` hands `/v2` on untouched.

mod api;
mod cache;
mod catalogue;
mod choice;
mod config;
mod error;
mod flight;
mod model;
mod models;
mod openapi;
mod passthrough;
mod predictions;
mod read_through;
mod router;
mod routes;
mod search;
mod statistics;
mod store;
mod timing;

#[cfg(test)]
mod tests;

pub use config::{Config, ServiceAddress, StoreAddress};
pub use routes::RoutesError;
pub use store::elasticsearch::{Addresses, ElasticsearchOptions, SetupError};
pub use store::sqlite::OpenError;
pub use store::{
    Key, Lookup, LookupPart, Page, Position, PredictionStore, Search, StoreError, StoredPrediction,
};

use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use runtime::{Health, Shutdown};
use telemetry::client::{ClientError, HttpClient};
use tokio::net::TcpListener;

use crate::catalogue::Catalogue;
use crate::model::ModelClient;
use crate::read_through::{Parts, ReadThrough, Shadows};
use crate::routes::watch::Watcher;
use crate::statistics::Statistics;
use crate::store::elasticsearch::ElasticsearchStore;
use crate::store::sqlite::SqliteStore;
use crate::store::watched::WatchedStore;

/// What is fixed about this part.
pub const PART: runtime::Part = runtime::Part {
    name: "gateway",
    version: env!("CARGO_PKG_VERSION"),
    listen_flag: "--listen",
    traced: true,
};

/// The gateway cannot start, or did not stop in good order.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The prediction store cannot be opened.
    #[error("cannot start with this prediction store; choose another with --prediction-store")]
    Store(#[from] OpenError),
    /// What names the prediction store names none.
    #[error("cannot use this --prediction-store: {reason}")]
    StoreAddress {
        /// What is wrong with it, without the address itself.
        reason: String,
    },
    /// Elasticsearch is not told well.
    #[error("cannot keep predictions in Elasticsearch as told")]
    Elasticsearch(#[from] SetupError),
    /// The routes are not right.
    #[error("cannot start with these routes")]
    Routes(#[from] RoutesError),
    /// Two services of one name.
    #[error(
        "--model-service gives more than one address of `{name}`; each variant needs a name of its own, as in canary=URL"
    )]
    Services {
        /// The name.
        name: String,
    },
    /// No HTTP client.
    #[error("cannot set up the HTTP client")]
    Client(#[from] ClientError),
    /// The drain took too long.
    #[error("the gateway did not stop in good order")]
    Serve(#[from] runtime::ServeError),
}

/// Where the time comes from, so that tests can let it pass.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Runs the gateway as a process and gives its exit code.
pub fn main(config: Config) -> ExitCode {
    let process = config.process.clone();
    runtime::run(&PART, config.listen, &process, |listener, shutdown| {
        run(config, listener, shutdown)
    })
}

/// Answers requests on `listener` until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: Shutdown) -> Result<(), Error> {
    let store = open(&config).await?;
    run_with(config, store, Arc::new(Timestamp::now), listener, shutdown).await
}

/// The same with a store and a clock of the caller's.
pub(crate) async fn run_with(
    config: Config,
    store: Arc<dyn PredictionStore>,
    clock: Clock,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let health = Health::new();
    let routes = Watcher::start(config.routes.clone(), services(&config)?, health.clone()).await?;
    let store = WatchedStore::new(store, config.prediction_store_timeout, &health);
    let client = ModelClient::new(HttpClient::new()?);
    let catalogue = Catalogue::new(
        client.clone(),
        routes.routes(),
        store.clone(),
        health.clone(),
    );
    let parts = Parts {
        catalogue: catalogue.clone(),
        routes: routes.routes(),
        client,
        store,
        statistics: Arc::new(Statistics::new(clock())),
        shadows: Shadows::new(),
    };
    let predictions = ReadThrough::new(parts, clock, config.prediction_ttl);
    let app = router::build(&config, Arc::clone(&predictions), &health);
    // A model service that is there already is known before the first request; one that is not does not hold the start.
    catalogue.refresh().await;
    health.ready(true);
    let end = shutdown.clone();
    let background = async {
        tokio::join!(
            catalogue.keep_fresh(config.model_refresh),
            predictions.keep_tidy(),
            routes.keep_fresh(config.routes_refresh, || catalogue.refresh()),
        );
    };
    tokio::select! {
        served = runtime::serve(listener, app, health, &config.process, shutdown) => served?,
        () = background => end.wait().await,
    }
    Ok(())
}

/// The addresses of the model services, each variant once.
fn services(config: &Config) -> Result<Vec<ServiceAddress>, Error> {
    let services = &config.model_service;
    let twice = services
        .iter()
        .enumerate()
        .find(|(at, one)| services[..*at].iter().any(|other| other.name == one.name));
    match twice {
        Some((_, service)) => Err(Error::Services {
            name: service.name.clone(),
        }),
        None => Ok(services.clone()),
    }
}

async fn open(config: &Config) -> Result<Arc<dyn PredictionStore>, Error> {
    match &config.prediction_store {
        StoreAddress::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path)?)),
        StoreAddress::Wrong(reason) => Err(Error::StoreAddress {
            reason: reason.clone(),
        }),
        StoreAddress::Elasticsearch(nodes) => {
            let timeout = config.prediction_store_timeout;
            let store = ElasticsearchStore::new(nodes.as_ref(), &config.elasticsearch, timeout)?;
            store.prepare().await;
            Ok(Arc::new(store))
        }
    }
}
