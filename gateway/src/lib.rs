//! The gateway: it answers predictions from its store, and calls a model service for the others.
//!
//! A request goes `predictions` (the handler) → `predict` (choose, look up, compute, retry,
//! answer). On its way it uses `choice` (which variant answers), `store` (predictions in `SQLite`
//! or Elasticsearch), `single_flight` (one call for each key) and `dispatch` (how calls go out)
//! over `model_client` (Open Inference Protocol). `passthrough` forwards `/v2`, also by `dispatch`.
//! `traffic` has the split of each model, `discovery` the current versions, `statistics` the
//! comparison.

mod answered;
mod api;
mod background;
mod cache;
mod choice;
mod config;
mod discovery;
mod dispatch;
mod drift;
mod error;
mod feedback;
mod freshness;
pub mod keys;
mod model_client;
mod models;
mod names;
mod openapi;
mod parse;
mod passthrough;
mod predict;
mod predictions;
mod quality;
mod router;
mod search;
mod single_flight;
mod statistics;
mod store;
mod timing;
mod traffic;

#[cfg(test)]
mod tests;

pub use config::{Config, ServiceAddress, StoreAddress};
pub use store::elasticsearch::{Addresses, ElasticsearchOptions, SetupError};
pub use store::sqlite::OpenError;
pub use store::{
    Key, Lookup, LookupPart, Page, Position, PredictionStore, Search, StoreError, StoredPrediction,
    Written,
};
pub use traffic::RoutesError;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runtime::{Health, Shutdown};
use telemetry::client::ClientError;
use tokio::net::TcpListener;

use crate::answered::AnsweredTraces;
use crate::discovery::Discovery;
use crate::dispatch::{Breakers, Dispatcher};
use crate::drift::DriftReader;
use crate::feedback::{Feedback, Finder};
use crate::freshness::Lifetime;
use crate::keys::{KeyWatcher, KeysError, Unprotected};
use crate::model_client::ModelClient;
use crate::models::{Listing, Models};
use crate::passthrough::Passthrough;
use crate::predict::{Compute, LookUp, Predictor, Worker};
use crate::quality::{Quality, QualityReader};
use crate::router::Handlers;
use crate::search::Searcher;
use crate::single_flight::SingleFlight;
use crate::statistics::Statistics;
use crate::store::elasticsearch::ElasticsearchStore;
use crate::store::sqlite::SqliteStore;
use crate::store::watched::WatchedStore;
use crate::traffic::watch::{SharedTraffic, Watcher};

/// The fixed properties of this service.
pub const PART: runtime::PartInfo = runtime::PartInfo {
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
    /// `--prediction-store` does not name a store.
    #[error("cannot use this --prediction-store: {reason}")]
    StoreAddress {
        /// What is wrong with it, without the address itself.
        reason: String,
    },
    /// The options of Elasticsearch do not fit together.
    #[error("cannot keep predictions in Elasticsearch with these options")]
    Elasticsearch(#[from] SetupError),
    /// The routes file is not valid.
    #[error("cannot start with these routes")]
    Traffic(#[from] RoutesError),
    /// Two services have one name.
    #[error(
        "--model-service gives more than one address of `{name}`; each variant needs a name of its own, as in canary=URL"
    )]
    Services {
        /// The name.
        name: String,
    },
    /// Requests that wait for a model would leave no room for what is stored.
    #[error(
        "--max-waiting ({waiting}) must be less than --max-in-flight ({in_flight}), so that requests that wait for a model leave room for stored predictions; lower the one or raise the other"
    )]
    Waiting {
        /// `--max-waiting`.
        waiting: u32,
        /// `--max-in-flight`.
        in_flight: usize,
    },
    /// The file of the API keys is not valid.
    #[error("cannot start with these API keys; see --api-keys")]
    Keys(#[from] KeysError),
    /// The address is open to everybody.
    #[error(transparent)]
    Unprotected(#[from] Unprotected),
    /// The listener has no address.
    #[error("the listener has no address")]
    Address(#[source] std::io::Error),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[from] ClientError),
    /// The drain took too long.
    #[error("the gateway did not stop in good order")]
    Serve(#[from] runtime::ServeError),
}

/// The clock; tests have one of their own.
pub(crate) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Runs the gateway as a process and returns its exit code.
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

/// The same with a given store and clock.
pub(crate) async fn run_with(
    config: Config,
    store: Arc<dyn PredictionStore>,
    clock: Clock,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let max_waiting = config.waiting_limit()?;
    let address = listener.local_addr().map_err(Error::Address)?;
    config.keys.check(address, &config.process.tls)?;
    let health = Health::new();
    if config.allow_faults {
        // The explorer's page offers faults where they do something.
        let detail = "requests may ask for faults in their baggage (--allow-faults)";
        health.detail("faults", Some(detail.to_owned()));
    }
    let key_watcher = KeyWatcher::start(&config.keys, health.clone()).await?;
    let watcher = Watcher::start(config.routes.clone(), services(&config)?, health.clone()).await?;
    let client = ModelClient::new(config.tls_client.client()?);
    let traffic = watcher.traffic();
    let store = WatchedStore::new(store, config.prediction_store_timeout, &health);
    let discovery = Discovery::new(
        client.clone(),
        traffic.clone(),
        store.clone(),
        health.clone(),
    );
    let statistics = Arc::new(Statistics::new(clock()));
    let lifetime = Lifetime::new(clock, config.prediction_ttl);
    let shared = Shared {
        client,
        traffic,
        store: store.clone(),
        discovery: discovery.clone(),
        statistics,
        lifetime: lifetime.clone(),
        breakers: Breakers::new(health.clone()),
    };
    let handlers = shared.handlers(&config, max_waiting);
    let app = router::build(&config, handlers, &health, key_watcher.keys());
    // Models are known before the first request. A service that does not answer delays the start by
    // the time limit of one read at most.
    discovery.refresh().await;
    health.ready(true);
    let end = shutdown.clone();
    let background = async {
        tokio::join!(
            discovery.keep_fresh(config.model_refresh),
            lifetime.keep_tidy(store),
            key_watcher.keep_fresh(),
            watcher.keep_fresh(config.routes_refresh, || discovery.refresh()),
        );
    };
    tokio::select! {
        served = runtime::serve(listener, app, health, &config.process, shutdown) => served?,
        () = background => end.wait().await,
    }
    Ok(())
}

/// What the handlers share.
struct Shared {
    client: ModelClient,
    traffic: SharedTraffic,
    store: WatchedStore,
    discovery: Discovery,
    statistics: Arc<Statistics>,
    lifetime: Lifetime,
    breakers: Breakers,
}

impl Shared {
    /// Gives each handler what it uses.
    fn handlers(self, config: &Config, max_waiting: usize) -> Handlers {
        let Self {
            client,
            traffic,
            store,
            discovery,
            statistics,
            lifetime,
            breakers,
        } = self;
        let dispatcher = Dispatcher::new(
            client.clone(),
            discovery.clone(),
            Arc::clone(&statistics),
            max_waiting,
            breakers.clone(),
        );
        let answered = Arc::new(AnsweredTraces::default());
        let quality = Arc::new(Quality::new(u64::from(config.quality_window)));
        let listing = Listing {
            discovery: discovery.clone(),
            traffic: traffic.clone(),
        };
        let predictor = Predictor {
            answered: Arc::clone(&answered),
            traffic: traffic.clone(),
            breakers: breakers.clone(),
            look_up: LookUp {
                dispatcher: dispatcher.clone(),
                discovery: discovery.clone(),
                store: store.clone(),
                statistics: Arc::clone(&statistics),
                lifetime: lifetime.clone(),
            },
            compute: Compute {
                discovery: discovery.clone(),
                dispatcher: dispatcher.clone(),
                worker: Worker {
                    dispatcher: dispatcher.clone(),
                    discovery: discovery.clone(),
                    statistics: Arc::clone(&statistics),
                    store: store.clone(),
                    lifetime: lifetime.clone(),
                },
                // A request that is still looking up must find the call that ended meanwhile.
                calls: SingleFlight::new(config.prediction_store_timeout + Duration::from_secs(1)),
            },
        };
        Handlers {
            predictor: Arc::new(predictor),
            feedback: Arc::new(Feedback {
                finder: Finder {
                    listing: listing.clone(),
                    store: store.clone(),
                    answered,
                },
                quality: Arc::clone(&quality),
                lifetime: lifetime.clone(),
            }),
            searcher: Searcher { store, lifetime },
            quality: QualityReader {
                listing: listing.clone(),
                client: client.clone(),
                quality,
                statistics: Arc::clone(&statistics),
            },
            models: Models {
                discovery: discovery.clone(),
                traffic: traffic.clone(),
                statistics,
                breakers: breakers.clone(),
            },
            drift: DriftReader {
                listing,
                client: client.clone(),
            },
            passthrough: Passthrough {
                traffic,
                discovery,
                dispatcher,
                client,
                breakers,
            },
        }
    }
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
