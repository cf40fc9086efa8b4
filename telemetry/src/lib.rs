//! The only crate that knows the OpenTelemetry SDK: set-up, and the few interfaces through which
//! telemetry is made.
//!
//! A process calls [`init`] once, before its Tokio runtime, and [`Guard::shutdown`] on every way
//! out. In between, the services use [`server`] for SERVER spans, [`client`] for HTTP calls, [`db`]
//! for storage calls, [`Span`] for the work inside, [`metrics`] for instruments, and `tracing`
//! macros for log records.

pub mod settings;

pub mod carrier;
pub mod client;
pub mod db;
pub mod server;
pub mod span;
mod span_ref;
pub mod task;
mod tracer;

pub mod attr;
pub mod fault;
mod fixed_map;
pub mod metrics;
mod process_metrics;
mod propagation;

mod credentials;
mod error;
mod error_chain;
mod export;
mod guard;
mod logs;
mod providers;
mod resource;
mod tls;

pub use error::Error;
pub use error_chain::chain;
pub use guard::{Guard, Lost};
pub use opentelemetry::trace::{SpanId, TraceId};
pub use opentelemetry::{Context, KeyValue, Value};
pub use resource::{revision, set_revision};
pub use settings::Settings;
pub use span::{Span, WithSpan, current};
pub use span_ref::SpanRef;

use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::global;

static STARTED: AtomicBool = AtomicBool::new(false);

/// Sets up logs, traces, metrics and propagation for this process. Call it outside the Tokio
/// runtime.
pub fn init(settings: &Settings) -> Result<Guard, Error> {
    if STARTED.swap(true, Ordering::AcqRel) {
        return Err(Error::Twice);
    }
    global::set_text_map_propagator(providers::propagator(settings));
    if settings.disabled {
        logs::init(settings, None)?;
        log_ignored(settings);
        return Ok(Guard::new(None));
    }
    let providers = providers::build(settings);
    logs::init(settings, Some(&providers.logger))?;
    global::set_tracer_provider(providers.tracer.clone());
    if !tracer::install(&providers.tracer) {
        return Err(Error::Twice);
    }
    log_ignored(settings);
    process_metrics::observe();
    Ok(Guard::new(Some(providers)))
}

/// Logs the variables that are not followed, which could not be done while they were read.
fn log_ignored(settings: &Settings) {
    for ignored in &settings.ignored {
        tracing::warn!(
            name: "telemetry.setting_ignored",
            { variable = ignored.variable },
            "{ignored}"
        );
    }
}
