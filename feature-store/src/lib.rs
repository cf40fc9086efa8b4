//! The feature store: online features by entity over Feast's HTTP protocol, on `SQLite`, with a cache in front.
//!
//! A request goes through `router` (bodies, limits), `plan` (names to rows and columns), `store` (cache, then engine, with its
//! span) and `online` (columns of the answer). Feature views come from one TOML file (`views`), engines stand behind one trait
//! (`backend`).

pub mod backend;
mod cache;
mod config;
mod error;
pub mod load;
mod metrics;
mod online;
mod plan;
mod router;
mod store;
pub mod time;
pub mod value;
pub mod views;
mod write;

pub use config::{Config, StorageOptions};
pub use error::Error;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use serving::{Health, Shutdown};
use tokio::net::TcpListener;

use backend::FeatureBackend;
use backend::sqlite::SqliteBackend;
use cache::RowCache;
use load::{LoadConfig, LoadReport};
use store::Store;
use time::{Clock, micros};
use views::Views;

/// What is fixed about this part of Throughline.
pub const PART: serving::Part =
    serving::Part { name: "feature-store", version: env!("CARGO_PKG_VERSION"), listen_flag: "--listen", traced: true };

/// Runs the feature store as this process, from set-up to exit code.
pub fn main(config: Config) -> ExitCode {
    let process = config.process.clone();
    serving::run(&PART, config.listen, &process, |listener, shutdown| run(config, listener, shutdown))
}

/// Serves on `listener` until `shutdown`.
pub async fn run(config: Config, listener: TcpListener, shutdown: Shutdown) -> Result<(), Error> {
    run_with_clock(config, Clock::system(), listener, shutdown).await
}

/// The same with a clock of the caller's, which decides how old rows are.
pub async fn run_with_clock(
    config: Config,
    clock: Clock,
    listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let (views, backend) = open(&config.storage)?;
    for view in views.all() {
        let (name, features) = (&view.name, view.features.len());
        tracing::info!(name: "feature_store.view", view = %name, features, "feature view {name} has {features} features");
    }
    let cache = RowCache::new(config.cache_capacity, micros(config.cache_max_age));
    let store = Arc::new(Store::new(views, backend, cache, clock));
    let health = Health::new();
    let router = router::router(store, &health, &config);
    health.ready(true);
    Ok(serving::serve(listener, router, health, &config.process, shutdown).await?)
}

/// Reads the feature views and opens the database for them.
pub fn open(options: &StorageOptions) -> Result<(Views, Arc<dyn FeatureBackend>), Error> {
    let views = Views::load(options.feature_views.as_deref())?;
    let backend = SqliteBackend::open(&options.database, &views)?;
    Ok((views, Arc::new(backend)))
}

/// Runs `feature-store load`: loads one file, says what became of its rows, and fails if one was refused.
pub fn load_main(config: &LoadConfig) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let loaded = runtime.map_err(Error::Runtime).and_then(|runtime| runtime.block_on(load::load_file(config)));
    // Nobody is left to tell when standard output or error is closed.
    match loaded {
        Ok(report) => {
            let _ = std::io::stdout().write_all(describe(config, &report).as_bytes());
            if report.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "feature-store load: {}", serving::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn describe(config: &LoadConfig, report: &LoadReport) -> String {
    let file = config.file.display();
    let mut text = format!(
        "{}: {} rows written, {} older than what is stored, {} refused\n",
        config.view, report.rows.written, report.rows.outdated, report.refused
    );
    let refusals = report.refusals.iter().map(|refused| format!("{file}:{}: {}\n", refused.line, refused.reason));
    text.extend(refusals);
    text
}
