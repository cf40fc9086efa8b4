//! The only crate that knows the OpenTelemetry SDK: set-up, and the few doors through which telemetry is made.
//!
//! A process calls [`init`] once, before its Tokio runtime, and [`Guard::shutdown`] on every way out. In between, the
//! services use [`server`] for SERVER spans, [`client`] for HTTP calls, [`db`] for storage calls, [`Span`] for the work
//! inside, [`metrics`] for instruments, and `tracing` macros for log records.

pub mod attr;
mod bound;
pub mod client;
pub mod db;
mod export;
pub mod fault;
mod hex;
mod logs;
pub mod metrics;
mod otlp;
mod process;
mod propagation;
mod providers;
pub mod server;
pub mod settings;
pub mod span;
pub mod task;
mod transport;

pub use opentelemetry::{Context, KeyValue, Value};
pub use settings::Settings;
pub use span::{Span, SpanRef, WithSpan, current};

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use opentelemetry::global;
use opentelemetry::trace::TracerProvider;

/// The instrumentation scope of everything that Throughline emits.
pub(crate) const SCOPE: &str = "throughline";

static STARTED: AtomicBool = AtomicBool::new(false);
static TRACER: OnceLock<Tracer> = OnceLock::new();
static REVISION: OnceLock<&'static str> = OnceLock::new();

/// Telemetry could not be set up. The process must say so and stop rather than run blind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The transport of OTLP.
    #[error("cannot set up the OTLP transport")]
    Transport(#[from] transport::TransportError),
    /// An exporter refuses its settings.
    #[error("cannot set up the OTLP exporter")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// Telemetry was set up twice in one process.
    #[error("telemetry is already set up in this process")]
    Twice,
    /// `RUST_LOG` or `OTEL_LOG_LEVEL` cannot be read.
    #[error("RUST_LOG or OTEL_LOG_LEVEL holds no log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
}

/// Sets up logs, traces, metrics and propagation for this process. Call it outside the Tokio runtime.
pub fn init(settings: &Settings) -> Result<Guard, Error> {
    if STARTED.swap(true, Ordering::AcqRel) {
        return Err(Error::Twice);
    }
    global::set_text_map_propagator(providers::propagator(settings));
    let providers = if settings.disabled {
        None
    } else {
        Some(providers::build(settings)?)
    };
    logs::init(settings, providers.as_ref().map(|all| &all.logger))?;
    if let Some(all) = &providers {
        global::set_tracer_provider(all.tracer.clone());
        TRACER
            .set(Tracer::Sdk(all.tracer.tracer(SCOPE)))
            .map_err(|_| Error::Twice)?;
        process::observe();
    }
    Ok(Guard { providers })
}

/// Says which commit the program was built from, for `vcs.ref.head.revision`; call it before [`init`].
pub fn set_revision(revision: &'static str) {
    // Said once per process; a second call would repeat the same build's revision.
    let _ = REVISION.set(revision);
}

/// The commit that [`set_revision`] told of.
pub fn revision() -> Option<&'static str> {
    REVISION.get().copied()
}

/// Telemetry of a running process; what is still queued leaves at [`Guard::shutdown`].
#[must_use = "telemetry that is not shut down loses its last seconds"]
#[derive(Debug)]
pub struct Guard {
    providers: Option<providers::Providers>,
}

/// Items that never reached the collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Spans that ended and were not exported.
    pub spans: u64,
    /// Log records that were not exported.
    pub logs: u64,
    /// True when the last flush did not end within its deadline.
    pub unfinished: bool,
}

/// How long a guard that is dropped, after a panic for example, waits for the last telemetry.
const DROP_DEADLINE: Duration = Duration::from_secs(2);

impl Guard {
    /// Flushes all three signals at the same time and gives up after `deadline`; a dead collector delays the exit by no more.
    pub fn shutdown(mut self, deadline: Duration) -> Lost {
        self.providers
            .take()
            .map(|providers| flush(&providers, deadline))
            .unwrap_or_default()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(providers) = self.providers.take() {
            flush(&providers, DROP_DEADLINE);
        }
    }
}

fn flush(all: &providers::Providers, deadline: Duration) -> Lost {
    let end = Instant::now() + deadline;
    let (tracer, logger, meter) = (all.tracer.clone(), all.logger.clone(), all.meter.clone());
    let first = in_threads(vec![
        Box::new(move || drop(tracer.shutdown_with_timeout(deadline))),
        Box::new(move || drop(logger.shutdown_with_timeout(deadline))),
    ]);
    // Metrics leave last, since they count what has become of spans and log records; half of the time is theirs.
    let early = first.ended_by(Instant::now() + deadline / 2);
    let second = in_threads(vec![Box::new(move || {
        drop(meter.shutdown_with_timeout(deadline))
    })]);
    let in_time = second.ended_by(end) && (early || first.ended_by(end));
    let lost = Lost {
        spans: all.tally.spans.lost(),
        logs: all.tally.logs.lost(),
        unfinished: !in_time,
    };
    if lost != Lost::default() {
        tracing::warn!(
            name: "telemetry.lost",
            spans = lost.spans,
            logs = lost.logs,
            unfinished = lost.unfinished,
            "telemetry was lost: {} spans, {} log records{}",
            lost.spans,
            lost.logs,
            if lost.unfinished { ", and the last flush did not end in time" } else { "" }
        );
    }
    lost
}

/// Work in threads of its own. They are plain threads: they may outlive the deadline, and then die with the process.
fn in_threads(works: Vec<Box<dyn FnOnce() + Send>>) -> Threads {
    let (alive, gone) = mpsc::channel();
    for work in works {
        let alive = alive.clone();
        std::thread::spawn(move || {
            work();
            drop(alive);
        });
    }
    Threads { gone }
}

/// Threads that hold the other end of a channel until they end.
struct Threads {
    gone: mpsc::Receiver<std::convert::Infallible>,
}

impl Threads {
    fn ended_by(&self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        self.gone.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Disconnected)
    }
}

/// The process's tracer: the SDK's own type where it is set up, so that no span pays for a boxed one.
pub(crate) enum Tracer {
    Sdk(opentelemetry_sdk::trace::SdkTracer),
    Noop,
}

pub(crate) fn tracer() -> &'static Tracer {
    TRACER.get().unwrap_or(&Tracer::Noop)
}

impl Tracer {
    /// Puts a new span below `parent`; without the SDK the parent's ids travel on unchanged, as the API specifies.
    pub(crate) fn start(
        &self,
        builder: opentelemetry::trace::SpanBuilder,
        parent: &Context,
    ) -> Context {
        use opentelemetry::trace::{TraceContextExt, Tracer as _};
        match self {
            Self::Sdk(tracer) => parent.with_span(tracer.build_with_context(builder, parent)),
            Self::Noop => parent.clone(),
        }
    }
}
