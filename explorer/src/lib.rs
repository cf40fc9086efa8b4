//! The embedded place for telemetry: an OTLP/HTTP receiver with bounded memory, reads over HTTP, a page for people, and
//! the waterfall of a trace for the terminal.
//!
//! It is a viewer for one machine, not a telemetry store: what does not fit goes, oldest first, and is counted. It emits
//! no traces of its own, since an observer that told of itself would observe itself.
//!
//! The way of a span: [`Config`] → `otlp` (HTTP, encodings) → `otlp::wire` (slices of the body) → `store` (bytes as they
//! came) → `api` → `otlp_json` (out again) → [`Trace::from_otlp`] → [`waterfall`], [`tree`].

mod api;
mod config;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
pub mod model;
mod otlp;
mod otlp_json;
mod page;
mod store;
pub mod tree;
mod value;
pub mod waterfall;

use std::process::ExitCode;
use std::sync::Arc;

use runtime::{Health, Part, Shutdown};
use tokio::net::TcpListener;

pub use api::{ServiceSummary, TraceSummary};
pub use config::Config;
pub use error::Error;
pub use model::{Span, Trace};

use guard::Guard;
use store::Store;

/// The explorer as a part of the system.
pub const PART: Part = Part {
    name: "explorer",
    version: env!("CARGO_PKG_VERSION"),
    listen_flag: "--listen",
    traced: false,
};

/// Runs the process; its exit code is the answer.
pub fn main(config: Config) -> ExitCode {
    let process = config.process.clone();
    runtime::run(
        &PART,
        config.listen,
        &process,
        |page_listener, shutdown| async move {
            let otlp_listener = runtime::bind(config.otlp_listen, "--otlp-listen").await?;
            run(config, page_listener, otlp_listener, shutdown).await
        },
    )
}

/// Serves reads and the page on one listener and takes OTLP on the other, until `shutdown`.
pub async fn run(
    config: Config,
    page_listener: TcpListener,
    otlp_listener: TcpListener,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let page_address = page_listener.local_addr().map_err(Error::Address)?;
    let otlp_address = otlp_listener.local_addr().map_err(Error::Address)?;
    let url = format!("http://{otlp_address}");
    tracing::info!(name: "explorer.otlp_listening", url, "explorer takes OTLP/HTTP on {url}");

    let store = Arc::new(Store::new(config.limits()));
    let health = Health::new();
    let page = api::router(Arc::clone(&store), Guard::of(page_address), &config.process)
        .merge(health.routes());
    let otlp = otlp::router(store, Guard::of(otlp_address), &config.process);
    health.ready(true);
    tokio::try_join!(
        runtime::serve(
            page_listener,
            page,
            health.clone(),
            &config.process,
            shutdown.clone()
        ),
        runtime::serve(otlp_listener, otlp, health, &config.process, shutdown),
    )?;
    Ok(())
}
