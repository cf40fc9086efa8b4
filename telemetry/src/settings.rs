//! The standard `OTEL_*` variables, read once and typed.
//!
//! The Rust SDK reads samplers, batch sizes and much of the metrics and log exporters by itself.
//! Those values are only checked here, since the SDK would warn before there is a log and continue
//! with a default. What it does not honour
//! (<https://github.com/open-telemetry/opentelemetry-rust/issues/3374>) is read here:
//! `OTEL_SDK_DISABLED`, `OTEL_PROPAGATORS`, `OTEL_{TRACES,METRICS,LOGS}_EXPORTER`,
//! `OTEL_LOG_LEVEL`, the limits on attributes, the default histogram, and the certificates of OTLP;
//! and so is all that our own exporter of spans needs.

mod otlp;
mod span_limits;
mod words;

pub use otlp::{Otlp, PerSignal};
pub use span_limits::SpanLimits;

/// Everything that set-up depends on; see [`Settings::from_env`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// `service.name`: `OTEL_SERVICE_NAME`, or that of `OTEL_RESOURCE_ATTRIBUTES`, or the program's
    /// own name.
    pub service_name: String,
    /// `service.version`.
    pub service_version: &'static str,
    /// `OTEL_SDK_DISABLED=true`: no telemetry, but trace context still travels through.
    pub disabled: bool,
    /// Where spans go: `OTEL_TRACES_EXPORTER`.
    pub traces: Exporter,
    /// Where metrics go: `OTEL_METRICS_EXPORTER`.
    pub metrics: Exporter,
    /// Where log records go beside stdout: `OTEL_LOGS_EXPORTER`.
    pub logs: Exporter,
    /// `OTEL_PROPAGATORS`, in order.
    pub propagators: Vec<Propagator>,
    /// `OTEL_LOG_LEVEL`: how much the SDK logs about itself; a level of `tracing`.
    pub sdk_log_level: Option<String>,
    /// `RUST_LOG`, or `info`.
    pub log_filter: String,
    /// How each signal is sent over OTLP.
    pub otlp: PerSignal<Otlp>,
    /// How much one span may hold.
    pub limits: SpanLimits,
    /// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram`.
    pub exponential_histograms: bool,
}

/// One of the exporters that the specification names for `OTEL_*_EXPORTER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    /// OTLP over HTTP to `OTEL_EXPORTER_OTLP_ENDPOINT`.
    Otlp,
    /// Readable text on stdout, for debugging.
    Console,
    /// Nothing is exported.
    None,
}

/// One of the propagators that the specification names for `OTEL_PROPAGATORS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagator {
    /// W3C `traceparent` and `tracestate`.
    TraceContext,
    /// W3C `baggage`.
    Baggage,
}

/// A variable has a value that cannot be followed. Start-up stops: ignoring it would look like lost
/// telemetry.
#[derive(Debug, thiserror::Error)]
#[error("{variable} is `{value}`; it takes {takes}")]
pub struct SettingsError {
    variable: String,
    value: String,
    takes: &'static str,
}

/// Reads one variable; trimmed, and `None` for an empty value, which counts as unset by the
/// specification.
type Get<'a> = dyn Fn(&str) -> Option<String> + 'a;

impl Settings {
    /// Reads the process environment.
    pub fn from_env(
        service_name: &str,
        service_version: &'static str,
    ) -> Result<Self, SettingsError> {
        Self::from_lookup(service_name, service_version, |name| {
            std::env::var(name).ok()
        })
    }

    /// Reads variables through `lookup`.
    pub fn from_lookup(
        service_name: &str,
        service_version: &'static str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let given = |name: &str| {
            lookup(name)
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
        };
        // Only the word "true" disables; the specification wants every other value read as false.
        let disabled =
            given("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        // With the SDK off nothing is exported, so an exporter setting that cannot be followed must
        // not stop the start.
        let get = |name: &str| given(name).filter(|_| !disabled || ALWAYS_READ.contains(&name));
        words::check(&get)?;
        Ok(Self {
            service_name: get("OTEL_SERVICE_NAME")
                .or_else(|| named_resource(&get))
                .unwrap_or_else(|| service_name.to_owned()),
            service_version,
            disabled,
            traces: exporter("OTEL_TRACES_EXPORTER", &get)?,
            metrics: exporter("OTEL_METRICS_EXPORTER", &get)?,
            logs: exporter("OTEL_LOGS_EXPORTER", &get)?,
            propagators: propagators(get("OTEL_PROPAGATORS"))?,
            sdk_log_level: sdk_log_level(get("OTEL_LOG_LEVEL"))?,
            log_filter: get("RUST_LOG").unwrap_or_else(|| "info".to_owned()),
            otlp: otlp::read(&get)?,
            limits: span_limits::read(&get)?,
            exponential_histograms: get(words::HISTOGRAM).as_deref() == Some(words::EXPONENTIAL),
        })
    }

    /// The same settings without any exporter, for a process that must not emit telemetry.
    #[must_use]
    pub fn without_exporters(self) -> Self {
        Self {
            traces: Exporter::None,
            metrics: Exporter::None,
            logs: Exporter::None,
            ..self
        }
    }
}

const ALWAYS_READ: [&str; 5] = [
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_PROPAGATORS",
    "OTEL_LOG_LEVEL",
    "RUST_LOG",
];

fn exporter(variable: &str, get: &Get<'_>) -> Result<Exporter, SettingsError> {
    match get(variable).as_deref() {
        None | Some("otlp") => Ok(Exporter::Otlp),
        Some("console") => Ok(Exporter::Console),
        Some("none") => Ok(Exporter::None),
        Some(value) => Err(refuse(variable, value, "otlp, console or none")),
    }
}

fn propagators(value: Option<String>) -> Result<Vec<Propagator>, SettingsError> {
    let Some(value) = value else {
        return Ok(vec![Propagator::TraceContext, Propagator::Baggage]);
    };
    let mut found = Vec::new();
    for word in value.split(',').map(str::trim) {
        let propagator = match word {
            "tracecontext" => Propagator::TraceContext,
            "baggage" => Propagator::Baggage,
            "none" => continue,
            _ => {
                return Err(refuse(
                    "OTEL_PROPAGATORS",
                    &value,
                    "a list of tracecontext and baggage, or none",
                ));
            }
        };
        if !found.contains(&propagator) {
            found.push(propagator);
        }
    }
    Ok(found)
}

/// The words of the specification, and those of other SDKs, as levels of `tracing`.
fn sdk_log_level(value: Option<String>) -> Result<Option<String>, SettingsError> {
    let Some(value) = value else { return Ok(None) };
    let level = match value.to_ascii_lowercase().as_str() {
        "none" | "off" => "off",
        "fatal" | "error" => "error",
        "warn" | "warning" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" | "verbose" | "all" => "trace",
        _ => {
            return Err(refuse(
                "OTEL_LOG_LEVEL",
                &value,
                "none, error, warn, info, debug or trace",
            ));
        }
    };
    Ok(Some(level.to_owned()))
}

fn named_resource(get: &Get<'_>) -> Option<String> {
    let attributes = get("OTEL_RESOURCE_ATTRIBUTES")?;
    let named = attributes
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| key.trim() == "service.name");
    named
        .map(|(_, value)| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

fn number<T: std::str::FromStr>(variable: &str, get: &Get<'_>) -> Result<Option<T>, SettingsError> {
    let Some(value) = get(variable) else {
        return Ok(None);
    };
    value
        .parse()
        .map(Some)
        .map_err(|_| refuse(variable, &value, "a whole number"))
}

fn refuse(variable: &str, value: &str, takes: &'static str) -> SettingsError {
    SettingsError {
        variable: variable.to_owned(),
        value: value.to_owned(),
        takes,
    }
}

#[cfg(test)]
mod tests;
