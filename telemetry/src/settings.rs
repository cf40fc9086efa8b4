//! The standard `OTEL_*` variables, read once and typed.
//!
//! The SDK is given every value explicitly: it does not honour all variables
//! (<https://github.com/open-telemetry/opentelemetry-rust/issues/3374>), and it reports a wrong one
//! before there is a log. A wrong value never stops a process: by the specification
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>) it is
//! reported and ignored. `docs/telemetry-variables.md` lists what becomes of each variable.

mod batch;
mod limits;
mod otlp;
mod reader;
mod resource;
mod sampling;

use std::time::Duration;

use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::trace::Sampler;

pub use batch::Batch;
pub use limits::{LogLimits, SpanLimits};
pub use otlp::{Otlp, PerSignal};
pub use reader::Ignored;

use reader::Reader;

/// Everything that set-up depends on; see [`Settings::from_env`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// `service.name`: `OTEL_SERVICE_NAME`, or that of `OTEL_RESOURCE_ATTRIBUTES`, or the program's
    /// own name.
    pub service_name: String,
    /// `service.version`.
    pub service_version: &'static str,
    /// `OTEL_RESOURCE_ATTRIBUTES`, decoded.
    pub resource_attributes: Vec<(String, String)>,
    /// `OTEL_SDK_DISABLED=true`: no telemetry, but trace context still travels through.
    pub disabled: bool,
    /// Where spans go: `OTEL_TRACES_EXPORTER`.
    pub traces: Vec<Exporter>,
    /// Where metrics go: `OTEL_METRICS_EXPORTER`.
    pub metrics: Vec<Exporter>,
    /// Where log records go beside stdout: `OTEL_LOGS_EXPORTER`.
    pub logs: Vec<Exporter>,
    /// `OTEL_PROPAGATORS`, in order.
    pub propagators: Vec<Propagator>,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: Sampler,
    /// `OTEL_LOG_LEVEL`: how much the SDK logs about itself; a level of `tracing`.
    pub sdk_log_level: Option<String>,
    /// `RUST_LOG`, or `info`.
    pub log_filter: String,
    /// How each signal is sent over OTLP.
    pub otlp: PerSignal<Otlp>,
    /// How much one span may hold.
    pub limits: SpanLimits,
    /// How much one log record may hold.
    pub log_limits: LogLimits,
    /// How spans are gathered: `OTEL_BSP_*`.
    pub span_batch: Batch,
    /// How log records are gathered: `OTEL_BLRP_*`.
    pub log_batch: Batch,
    /// `OTEL_METRIC_EXPORT_INTERVAL`.
    pub metric_interval: Duration,
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
    pub temporality: Temporality,
    /// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram`.
    pub exponential_histograms: bool,
    /// Variables whose value cannot be followed. [`crate::init`] logs them.
    pub ignored: Vec<Ignored>,
}

/// One of the exporters that the specification names for `OTEL_*_EXPORTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// OTLP over HTTP to `OTEL_EXPORTER_OTLP_ENDPOINT`.
    Otlp,
    /// Readable text on stdout, for debugging.
    Console,
}

/// One of the propagators that the specification names for `OTEL_PROPAGATORS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagator {
    /// W3C `traceparent` and `tracestate`.
    TraceContext,
    /// W3C `baggage`.
    Baggage,
}

impl Settings {
    /// Reads the process environment. A value that is not Unicode is wrong, and not unset.
    pub fn from_env(service_name: &str, service_version: &'static str) -> Self {
        Self::from_lookup(service_name, service_version, |name| {
            std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
        })
    }

    /// Whether every trace that begins here is exported over OTLP.
    pub fn exports_every_trace(&self) -> bool {
        !self.disabled
            && self.traces.contains(&Exporter::Otlp)
            && sampling::samples_every_root(&self.sampler)
    }

    /// Reads variables through `lookup`.
    pub fn from_lookup(
        service_name: &str,
        service_version: &'static str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let from = Reader::new(&lookup);
        let resource_attributes = resource::read(&from);
        let named = resource_attributes
            .iter()
            .rfind(|(key, value)| key == "service.name" && !value.is_empty())
            .map(|(_, value)| value.clone());
        let settings = Self {
            service_name: from
                .get("OTEL_SERVICE_NAME")
                .or(named)
                .unwrap_or_else(|| service_name.to_owned()),
            service_version,
            resource_attributes,
            disabled: from.is_disabled(),
            traces: exporters("OTEL_TRACES_EXPORTER", &from),
            metrics: exporters("OTEL_METRICS_EXPORTER", &from),
            logs: exporters("OTEL_LOGS_EXPORTER", &from),
            propagators: propagators(&from),
            sampler: sampling::read(&from),
            sdk_log_level: from.word("OTEL_LOG_LEVEL", &LOG_LEVELS).map(str::to_owned),
            log_filter: from.get("RUST_LOG").unwrap_or_else(|| "info".to_owned()),
            otlp: otlp::read(&from),
            limits: limits::of_spans(&from),
            log_limits: limits::of_log_records(&from),
            span_batch: batch::of_spans(&from),
            log_batch: batch::of_log_records(&from),
            metric_interval: from
                .milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 1)
                .unwrap_or(Duration::from_mins(1)),
            temporality: from
                .word(
                    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
                    &TEMPORALITIES,
                )
                .unwrap_or(Temporality::Cumulative),
            exponential_histograms: from
                .word(
                    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
                    &HISTOGRAMS,
                )
                .unwrap_or(false),
            ignored: Vec::new(),
        };
        from.ignore_the_rest();
        let ignored = from.into_ignored();
        Self {
            ignored,
            ..settings
        }
    }

    /// The same settings without any exporter, for a process that must not emit telemetry.
    #[must_use]
    pub fn without_exporters(self) -> Self {
        Self {
            traces: Vec::new(),
            metrics: Vec::new(),
            logs: Vec::new(),
            ..self
        }
    }
}

/// Without `logging`, the deprecated word for `console`, which new implementations should not take.
const EXPORTERS: [(&str, Exporter); 2] = [("otlp", Exporter::Otlp), ("console", Exporter::Console)];
const PROPAGATORS: [(&str, Propagator); 2] = [
    ("tracecontext", Propagator::TraceContext),
    ("baggage", Propagator::Baggage),
];
/// The words of the specification, and those of other SDKs, as levels of `tracing`.
const LOG_LEVELS: [(&str, &str); 11] = [
    ("none", "off"),
    ("off", "off"),
    ("fatal", "error"),
    ("error", "error"),
    ("warn", "warn"),
    ("warning", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
    ("verbose", "trace"),
    ("all", "trace"),
];
const TEMPORALITIES: [(&str, Temporality); 3] = [
    ("cumulative", Temporality::Cumulative),
    ("delta", Temporality::Delta),
    ("lowmemory", Temporality::LowMemory),
];
const HISTOGRAMS: [(&str, bool); 2] = [
    ("explicit_bucket_histogram", false),
    ("base2_exponential_bucket_histogram", true),
];

fn exporters(variable: &str, from: &Reader<'_>) -> Vec<Exporter> {
    from.list(variable, &EXPORTERS)
        .unwrap_or_else(|| vec![Exporter::Otlp])
}

fn propagators(from: &Reader<'_>) -> Vec<Propagator> {
    from.list("OTEL_PROPAGATORS", &PROPAGATORS)
        .unwrap_or_else(|| vec![Propagator::TraceContext, Propagator::Baggage])
}

#[cfg(test)]
mod tests;
