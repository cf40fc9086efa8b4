//! A viewer of telemetry for one machine: an OTLP/HTTP receiver with bounded memory, a read API, a
//! web page, and the waterfall of a trace for the terminal.
//!
//! It is not a telemetry store: what does not fit is evicted, oldest first, and counted. It emits
//! no traces of its own, because it would receive them again.
//!
//! The path of a span: `receiver` (HTTP) → `otlp` (wire format) → `store` (encoded bytes) → `api` →
//! [`Trace::from_otlp`] → [`waterfall`], [`tree`]. Tests run an [`Explorer`] in their own process
//! and use its [`Reader`] instead of the API.

mod api;
mod attribute;
mod blocking;
mod clock;
pub mod comparison;
mod config;
pub mod critical_path;
pub mod diagram;
mod difference;
mod error;
pub mod export;
mod facts;
mod filter;
#[doc(hidden)]
pub mod fuzzing;
mod gateway;
mod links;
mod measure;
pub mod metric_points;
pub mod models;
mod otlp;
mod pages;
mod place;
mod reader;
mod receiver;
pub mod remarks;
mod routes;
pub mod rules;
pub mod self_time;
pub mod service_map;
mod span_view;
mod state;
mod store;
mod token;
pub mod trace;
pub mod tree;
pub mod waterfall;

use std::process::ExitCode;
use std::sync::Arc;

use runtime::{App, Health, PartInfo, Shutdown};
use tokio::net::TcpListener;

pub use api::{LogEntry, MetricSeries, ServiceSummary, TraceSummary};
pub use config::Config;
pub use error::{Error, Unprotected};
pub use gateway::GatewayAddress;
pub use measure::Numbers;
pub use place::Place;
pub use reader::Reader;
pub use token::TokenOptions;
pub use trace::{SpanData, Trace};

use facts::SpanFacts;
use gateway::Gateway;
use rules::{RuleSet, Rules};
use state::{ApiState, Outside};
use store::TelemetryStore;

/// The explorer as a part of the system.
pub const PART: PartInfo = PartInfo {
    name: "explorer",
    version: env!("CARGO_PKG_VERSION"),
    listen_flag: "--listen",
    traced: false,
};

/// Runs the process and returns its exit code.
pub fn main(config: Config) -> ExitCode {
    let process = config.process.clone();
    runtime::run(
        &PART,
        config.listen,
        &process,
        |page_listener, shutdown| async move {
            let otlp_listener = runtime::bind(config.otlp_listen, "--otlp-listen")?;
            Explorer::new(config)
                .serve(page_listener, otlp_listener, shutdown)
                .await
        },
    )
}

/// An explorer with its store.
pub struct Explorer {
    config: Config,
    store: Arc<TelemetryStore>,
}

impl Explorer {
    /// An explorer with an empty store.
    pub fn new(config: Config) -> Explorer {
        let store = Arc::new(TelemetryStore::new(config.limits()));
        Explorer { config, store }
    }

    /// Reads the store from within this process, before, while and after it is served.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.store))
    }

    /// Serves the page and the read API on one listener and receives OTLP on the other, until
    /// `shutdown`.
    pub async fn serve(
        self,
        page_listener: TcpListener,
        otlp_listener: TcpListener,
        shutdown: Shutdown,
    ) -> Result<(), Error> {
        let config = &self.config;
        let otlp_address = otlp_listener.local_addr().map_err(Error::Address)?;
        let url = format!("{}://{otlp_address}", config.process.tls.scheme());
        tracing::info!(name: "explorer.otlp_listening", url, "explorer receives OTLP/HTTP on {url}");

        let Explorer { config, store } = self;
        let options = &config.process;
        let page_address = page_listener.local_addr().map_err(Error::Address)?;
        let base = format!("{}://{page_address}", options.tls.scheme());
        config.token.check(page_address, &options.tls)?;
        let outside = Outside {
            gateway: Gateway::new(&config)?,
            token: config.token.read(&options.tls)?,
        };
        let asks_for_token = outside.token.is_some();
        let set = config
            .rules
            .as_deref()
            .map_or_else(|| Ok(RuleSet::none()), RuleSet::read)?;
        let (rules, delivery) = Rules::new(set, &base, Arc::clone(&store))?;
        let health = Health::new();
        let facts = SpanFacts::new(Arc::clone(&store));
        let state = ApiState {
            store: Arc::clone(&store),
            rules: Arc::clone(&rules),
            facts: Arc::clone(&facts),
            pages: Arc::default(),
            outside,
        };
        let page = routes::router(state, options);
        let page = page.merge(health.routes());
        let page = App::new(page, error::refuse_read, None).asking_for_keys(asks_for_token);
        let otlp = receiver::router(store, options);
        let otlp = App::new(otlp, receiver::refuse_export, None);
        health.ready(true);
        tokio::try_join!(
            runtime::serve(
                page_listener,
                page,
                health.clone(),
                options,
                shutdown.clone()
            ),
            runtime::serve(otlp_listener, otlp, health, options, shutdown.clone()),
            async {
                tokio::join!(
                    rules.run(shutdown.clone()),
                    facts.run(shutdown.clone()),
                    rules::deliver(delivery, shutdown.clone())
                );
                Ok(())
            },
        )?;
        Ok(())
    }
}
