//! Transport of OTLP: what the SDK leaves to the HTTP client, for each signal.

use std::path::PathBuf;
use std::time::Duration;

use super::{Get, SettingsError, number, refuse};

/// The same setting for each of the three signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerSignal<T> {
    /// For spans.
    pub traces: T,
    /// For metrics.
    pub metrics: T,
    /// For log records.
    pub logs: T,
}

/// Transport of one signal. A variable of the signal (`OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`) wins over the general one
/// (`OTEL_EXPORTER_OTLP_TIMEOUT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// `http/json` instead of `http/protobuf`: `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub json: bool,
    /// `OTEL_EXPORTER_OTLP_COMPRESSION=gzip`. The SDK reads it, too, and does the work.
    pub gzip: bool,
    /// For one request: `OTEL_EXPORTER_OTLP_TIMEOUT`, and no longer than the signal's export timeout
    /// (`OTEL_BSP_EXPORT_TIMEOUT`, `OTEL_METRIC_EXPORT_TIMEOUT`, `OTEL_BLRP_EXPORT_TIMEOUT`).
    pub timeout: Duration,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`: PEM file with the trusted certificate authority.
    pub certificate: Option<PathBuf>,
    /// `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `OTEL_EXPORTER_OTLP_CLIENT_KEY`: PEM files.
    pub client: Option<(PathBuf, PathBuf)>,
}

pub(super) fn read(get: &Get<'_>) -> Result<PerSignal<Otlp>, SettingsError> {
    Ok(PerSignal {
        traces: signal("TRACES", "OTEL_BSP_EXPORT_TIMEOUT", get)?,
        metrics: signal("METRICS", "OTEL_METRIC_EXPORT_TIMEOUT", get)?,
        logs: signal("LOGS", "OTEL_BLRP_EXPORT_TIMEOUT", get)?,
    })
}

fn signal(signal: &str, export_timeout: &str, get: &Get<'_>) -> Result<Otlp, SettingsError> {
    let set = |suffix: &str| {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_{suffix}");
        if get(&own).is_some() {
            own
        } else {
            format!("OTEL_EXPORTER_OTLP_{suffix}")
        }
    };
    let protocol = set("PROTOCOL");
    let json = match get(&protocol).as_deref() {
        None | Some("http/protobuf") => false,
        Some("http/json") => true,
        Some(value) => {
            return Err(refuse(
                &protocol,
                value,
                "http/protobuf or http/json (gRPC is not built in)",
            ));
        }
    };
    let request = number(&set("TIMEOUT"), get)?.unwrap_or(10_000);
    let export = number(export_timeout, get)?.unwrap_or(30_000);
    let file = |suffix: &str| get(&set(suffix)).map(PathBuf::from);
    Ok(Otlp {
        json,
        gzip: get(&set("COMPRESSION")).as_deref() == Some("gzip"),
        timeout: Duration::from_millis(u64::min(request, export)),
        certificate: file("CERTIFICATE"),
        client: file("CLIENT_CERTIFICATE").zip(file("CLIENT_KEY")),
    })
}
