//! The feature store: online features by entity over Feast's HTTP protocol, on `SQLite` or Redis,
//! with a cache in front.
//!
//! A request goes through `router` (layers), `body` (JSON), `plan` (names to rows and columns),
//! `store` (cache, then backend, with its span) and `online` (columns of the answer). Feature views
//! come from one TOML file (`views`), storage engines implement one trait (`backend`).

pub mod backend;
mod body;
mod cache;
mod config;
pub mod delete;
mod error;
mod faults;
mod future;
mod json;
mod limits;
pub mod materialize;
mod metrics;
mod online;
mod outage_log;
mod plan;
mod router;
mod store;
pub mod time;
pub mod value;
pub mod views;
mod write;

pub use config::{Config, StorageOptions};
pub use error::Error;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use runtime::{Health, Shutdown};
use tokio::net::TcpListener;

use backend::sqlite::SqliteBackend;
use backend::{Database, FeatureBackend, RedisBackend};
use cache::RowCache;
use delete::DeleteConfig;
use materialize::MaterializeConfig;
use store::Store;
use time::{Clock, micros};
use views::{LiveViews, Views};

/// The constants of this part of Throughline.
pub const PART: runtime::PartInfo = runtime::PartInfo {
    name: "feature-store",
    version: env!("CARGO_PKG_VERSION"),
    listen_flag: "--listen",
    traced: true,
};

/// Time between two looks into the folder of views; one costs a `readdir` call.
const REFRESH_EVERY: Duration = Duration::from_secs(2);

/// Runs the feature store as this process, from set-up to exit code.
pub fn main(config: Config) -> ExitCode {
    let process = config.process.clone();
    runtime::run(&PART, config.listen, &process, |listener, shutdown| {
        run(config, listener, shutdown)
    })
}

/// Serves on `listener` until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: Shutdown) -> Result<(), Error> {
    run_with_clock(config, Clock::system(), listener, shutdown).await
}

/// The same with the caller's clock, which decides how old rows are.
pub async fn run_with_clock(
    config: Config,
    clock: Clock,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let health = Health::new();
    let (views, backend) = open_live(&config.storage, &health)?;
    let loaded = views.load();
    for view in loaded.all() {
        let (name, features) = (&view.name, view.features.len());
        tracing::info!(name: "feature_store.view", view = %name, features, "feature view {name} has {features} features");
    }
    let probe = Arc::clone(&backend);
    // The start does not wait for a backend that is down: every request tries again, and the outage
    // is logged.
    drop(telemetry::task::spawn(async move { probe.ping().await }));
    let cache = RowCache::new(config.cache_capacity, micros(config.cache_max_age));
    let store = Arc::new(Store::new(
        views,
        backend,
        cache,
        clock,
        config.storage.max_future,
        &health,
    ));
    store.check_tables().await;
    let router = router::router(Arc::clone(&store), &health, &config);
    health.ready(true);
    let watch = telemetry::task::spawn(watch(store, shutdown.clone()));
    let served = runtime::serve(listener, router, health, &config.process, shutdown).await;
    watch.abort();
    Ok(served?)
}

/// Notices views that are declared while the process runs.
async fn watch(store: Arc<Store>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(REFRESH_EVERY) => {}
            () = shutdown.wait() => return,
        }
        store.refresh_views().await;
    }
}

/// Reads the feature views and opens the database for them. The first call connects to a server;
/// `health` shows its outages.
pub fn open(
    options: &StorageOptions,
    health: &Health,
) -> Result<(Arc<Views>, Arc<dyn FeatureBackend>), Error> {
    let (views, backend) = open_live(options, health)?;
    Ok((views.load(), backend))
}

fn open_live(
    options: &StorageOptions,
    health: &Health,
) -> Result<(LiveViews, Arc<dyn FeatureBackend>), Error> {
    let live = LiveViews::open(
        Views::load(options.feature_views.as_deref())?,
        options.view_folder(),
        health,
    );
    let views = live.load();
    let backend: Arc<dyn FeatureBackend> = match &options.database {
        Database::File(path) => Arc::new(SqliteBackend::open(path, &views)?),
        Database::Redis(address) => Arc::new(RedisBackend::new(address, &options.redis, health)?),
        Database::Wrong(reason) => return Err(Error::Database(reason.clone())),
    };
    Ok((live, backend))
}

/// Runs `feature-store materialize`: writes the rows of a file into a view and prints a report.
pub fn materialize_main(config: &MaterializeConfig) -> ExitCode {
    materialize::main(config)
}

/// Runs `feature-store delete`: deletes the rows of entities and prints how many there were.
pub fn delete_main(config: &DeleteConfig) -> ExitCode {
    delete::main(config)
}
