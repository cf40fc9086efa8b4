//! Where and how each signal is sent over OTLP.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::Reader;
use super::resource::decode;

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
    /// path of the signal. `None` when the value is no `http` or `https` address: then nothing is
    /// exported, since a default could be somebody else's collector.
    pub endpoint: Option<Uri>,
    /// `OTEL_EXPORTER_OTLP_HEADERS`.
    pub headers: HeaderMap,
    /// `http/json` instead of `http/protobuf`: `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub json: bool,
    /// `OTEL_EXPORTER_OTLP_COMPRESSION=gzip`.
    pub gzip: bool,
    /// For one batch: `OTEL_EXPORTER_OTLP_TIMEOUT`, and no longer than the signal's export timeout
    /// (`OTEL_BSP_EXPORT_TIMEOUT`, `OTEL_METRIC_EXPORT_TIMEOUT`, `OTEL_BLRP_EXPORT_TIMEOUT`).
    /// `None` has no limit, which is what zero stands for.
    pub timeout: Option<Duration>,
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`: PEM file with the trusted certificate authority.
    pub certificate: Option<PathBuf>,
    /// `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `OTEL_EXPORTER_OTLP_CLIENT_KEY`: PEM files.
    pub client: Option<(PathBuf, PathBuf)>,
}

const PROTOCOLS: [(&str, bool); 2] = [("http/protobuf", false), ("http/json", true)];
const COMPRESSIONS: [(&str, bool); 2] = [("gzip", true), ("none", false)];

pub(super) fn read(from: &Reader<'_>) -> PerSignal<Otlp> {
    PerSignal {
        traces: signal("TRACES", "OTEL_BSP_EXPORT_TIMEOUT", from),
        metrics: signal("METRICS", "OTEL_METRIC_EXPORT_TIMEOUT", from),
        logs: signal("LOGS", "OTEL_BLRP_EXPORT_TIMEOUT", from),
    }
}

fn signal(signal: &str, export_timeout: &str, from: &Reader<'_>) -> Otlp {
    let variable = |suffix: &str| {
        let [own, general] = variables(signal, suffix);
        if from.get(&own).is_some() {
            own
        } else {
            general
        }
    };
    let file = |suffix: &str| from.get(&variable(suffix)).map(PathBuf::from);
    // A value that cannot be followed counts as unset, so the general one holds.
    let flag = |suffix: &str, words: &[(&str, bool)]| {
        let mut variables = variables(signal, suffix).into_iter();
        variables.find_map(|variable| from.word(&variable, words))
    };
    let own_or_general = variables(signal, "TIMEOUT")
        .into_iter()
        .find_map(|variable| from.milliseconds(&variable, 0));
    let limits = [
        own_or_general.unwrap_or(Duration::from_secs(10)),
        from.milliseconds(export_timeout, 0)
            .unwrap_or(Duration::from_secs(30)),
    ];
    let timeout = limits.into_iter().filter(|limit| !limit.is_zero()).min();
    Otlp {
        endpoint: endpoint(signal, from),
        headers: headers(&variable("HEADERS"), from),
        json: flag("PROTOCOL", &PROTOCOLS).unwrap_or(false),
        gzip: flag("COMPRESSION", &COMPRESSIONS).unwrap_or(false),
        timeout,
        certificate: file("CERTIFICATE"),
        client: client(
            &variable("CLIENT_CERTIFICATE"),
            &variable("CLIENT_KEY"),
            from,
        ),
    }
}

/// The variable of the signal, which wins, and the general one.
fn variables(signal: &str, suffix: &str) -> [String; 2] {
    [
        format!("OTEL_EXPORTER_OTLP_{signal}_{suffix}"),
        format!("OTEL_EXPORTER_OTLP_{suffix}"),
    ]
}

/// The address of one signal. The general variable is a base address, to which the path of the
/// signal is appended.
fn endpoint(signal: &str, from: &Reader<'_>) -> Option<Uri> {
    let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
    if let Some(address) = from.get(&own) {
        return http_address(&own, &address, from);
    }
    let general = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let base = from
        .get(general)
        .unwrap_or_else(|| "http://localhost:4318".to_owned());
    let path = signal.to_lowercase();
    let address = format!("{}/v1/{path}", base.strip_suffix('/').unwrap_or(&base));
    http_address(general, &address, from)
}

/// The address, which is not shown when it is wrong: it can hold credentials.
fn http_address(variable: &str, address: &str, from: &Reader<'_>) -> Option<Uri> {
    let uri = address.parse::<Uri>().ok();
    let uri = uri.filter(|uri| {
        [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&uri.scheme())
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if uri.is_none() {
        from.ignore(
            variable,
            "is no address like http://collector:4318, so nothing is exported there",
        );
    }
    uri
}

/// Reads `name=value,name=value`, the values percent-encoded. A pair that is no header is skipped
/// and not shown, since it can hold a key.
fn headers(variable: &str, from: &Reader<'_>) -> HeaderMap {
    let list = from.get(variable).unwrap_or_default();
    let pairs = list.split(',').filter(|pair| !pair.trim().is_empty());
    let read = |pair| {
        let header = header(pair);
        if header.is_none() {
            from.ignore(
                variable,
                "has a pair that is no header; it takes name=value pairs between commas",
            );
        }
        header
    };
    pairs.filter_map(read).collect()
}

fn header(pair: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = pair.split_once('=')?;
    let value = value.trim();
    let decoded = decode(value);
    let mut value = HeaderValue::from_str(decoded.as_deref().unwrap_or(value)).ok()?;
    if value.is_empty() {
        return None;
    }
    // Debug output shows it as "Sensitive".
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

/// The two files of a client certificate; one without the other is of no use.
fn client(certificate: &str, key: &str, from: &Reader<'_>) -> Option<(PathBuf, PathBuf)> {
    match (from.get(certificate), from.get(key)) {
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (Some(_), None) => {
            from.ignore(certificate, format!("is ignored without {key}"));
            None
        }
        (None, Some(_)) => {
            from.ignore(key, format!("is ignored without {certificate}"));
            None
        }
        (None, None) => None,
    }
}
