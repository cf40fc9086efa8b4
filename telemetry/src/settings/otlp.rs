//! Where and how each signal is sent over OTLP.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

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

/// The sending of one signal. A variable of the signal (`OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`) wins
/// over the general one (`OTEL_EXPORTER_OTLP_TIMEOUT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` as it is, or `OTEL_EXPORTER_OTLP_ENDPOINT` with the
    /// path of the signal.
    pub endpoint: Uri,
    /// `OTEL_EXPORTER_OTLP_HEADERS`, for spans; the SDK's exporters read it for the other signals.
    pub headers: HeaderMap,
    /// `http/json` instead of `http/protobuf`: `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub json: bool,
    /// `OTEL_EXPORTER_OTLP_COMPRESSION=gzip`, for spans; the SDK's exporters read it for the other
    /// signals.
    pub gzip: bool,
    /// For one batch: `OTEL_EXPORTER_OTLP_TIMEOUT`, and no longer than the signal's export timeout
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
    let variable = |suffix: &str| {
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_{suffix}");
        if get(&own).is_some() {
            own
        } else {
            format!("OTEL_EXPORTER_OTLP_{suffix}")
        }
    };
    let file = |suffix: &str| get(&variable(suffix)).map(PathBuf::from);
    let request = number(&variable("TIMEOUT"), get)?.unwrap_or(10_000);
    let export = number(export_timeout, get)?.unwrap_or(30_000);
    Ok(Otlp {
        endpoint: endpoint(signal, get)?,
        headers: headers(&get(&variable("HEADERS")).unwrap_or_default()),
        json: is_json(&variable("PROTOCOL"), get)?,
        gzip: get(&variable("COMPRESSION")).as_deref() == Some("gzip"),
        timeout: Duration::from_millis(u64::min(request, export)),
        certificate: file("CERTIFICATE"),
        client: file("CLIENT_CERTIFICATE").zip(file("CLIENT_KEY")),
    })
}

/// The address of one signal. The general variable is a base address, to which the path of the
/// signal is appended.
fn endpoint(signal: &str, get: &Get<'_>) -> Result<Uri, SettingsError> {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
    if let Some(address) = get(&own) {
        return parse_endpoint(&address).ok_or_else(|| refuse(&own, &address, ENDPOINT));
    }
    let general = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let base = get(general).unwrap_or_else(|| "http://localhost:4318".to_owned());
    let path = signal.to_lowercase();
    let address = format!("{}/v1/{path}", base.strip_suffix('/').unwrap_or(&base));
    parse_endpoint(&address).ok_or_else(|| refuse(general, &base, ENDPOINT))
}

const ENDPOINT: &str = "an http or https address such as http://localhost:4318";

fn parse_endpoint(address: &str) -> Option<Uri> {
    let address: Uri = address.parse().ok()?;
    let is_http = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&address.scheme());
    is_http.then_some(address)
}

/// Reads `name=value,name=value`, the values percent-encoded. A pair that is no header is skipped,
/// as the SDK's exporters do: start-up cannot show it, since it may hold a key.
fn headers(list: &str) -> HeaderMap {
    list.split(',').filter_map(header).collect()
}

fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let value = value.trim();
    let decoded = percent_decode_str(value).decode_utf8();
    let mut value = HeaderValue::from_str(decoded.as_deref().unwrap_or(value)).ok()?;
    if value.is_empty() {
        return None;
    }
    // Debug output shows it as "Sensitive".
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

fn is_json(variable: &str, get: &Get<'_>) -> Result<bool, SettingsError> {
    match get(variable).as_deref() {
        None | Some("http/protobuf") => Ok(false),
        Some("http/json") => Ok(true),
        Some(value) => Err(refuse(
            variable,
            value,
            "http/protobuf or http/json (gRPC is not built in)",
        )),
    }
}
