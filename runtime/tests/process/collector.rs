//! A real OTLP/HTTP receiver on port 0 that keeps what arrives, flattened for assertions.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, Uri};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message;
use serde::de::DeserializeOwned;

pub(crate) type Attributes = BTreeMap<String, String>;

/// The receiver; it lives as long as the test.
pub(crate) struct Collector {
    address: SocketAddr,
    exports: Exports,
    _runtime: tokio::runtime::Runtime,
}

type Exports = Arc<Mutex<Vec<Export>>>;

/// One request of an exporter, its body unpacked.
#[derive(Clone)]
pub(crate) struct Export {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) resource: Attributes,
    pub(crate) name: String,
    pub(crate) kind: i32,
    pub(crate) trace_id: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) trace_state: String,
    pub(crate) attributes: Attributes,
    /// Every key as it was sent, duplicates too.
    pub(crate) keys: Vec<String>,
    pub(crate) status: i32,
    pub(crate) message: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Log {
    pub(crate) resource: Attributes,
    pub(crate) event: String,
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    pub(crate) severity: String,
    pub(crate) attributes: Attributes,
}

/// One point of a metric: the count of a histogram, or the value.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) resource: Attributes,
    pub(crate) unit: String,
    pub(crate) attributes: Attributes,
    pub(crate) value: f64,
    pub(crate) exponential: bool,
}

pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;
pub(crate) const ERROR: i32 = 2;
pub(crate) const UNSET: i32 = 0;

impl Collector {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let exports = Exports::default();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new()
            .fallback(receive)
            .with_state(Arc::clone(&exports));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            exports,
            _runtime: runtime,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn exports(&self) -> Vec<Export> {
        self.exports.lock().expect("no panic").clone()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests: Vec<ExportTraceServiceRequest> = self.decode("traces");
        let groups = requests
            .into_iter()
            .flat_map(|request| request.resource_spans);
        groups
            .flat_map(|group| {
                let resource = attributes(group.resource.unwrap_or_default().attributes);
                let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
                spans.map(move |span| Span {
                    resource: resource.clone(),
                    name: span.name,
                    kind: span.kind,
                    trace_id: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    trace_state: span.trace_state,
                    keys: span
                        .attributes
                        .iter()
                        .map(|attribute| attribute.key.clone())
                        .collect(),
                    attributes: attributes(span.attributes),
                    status: span.status.as_ref().map_or(0, |status| status.code),
                    message: span.status.map(|status| status.message).unwrap_or_default(),
                })
            })
            .collect()
    }

    /// The one span with this name.
    pub(crate) fn span(&self, name: &str) -> Span {
        let spans = self.spans();
        let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "spans named `{name}` in {spans:#?}");
        found[0].clone()
    }

    /// The one SERVER span with this path.
    pub(crate) fn served(&self, path: &str) -> Span {
        let spans = self.spans();
        let found: Vec<_> = spans
            .iter()
            .filter(|span| span.kind == SERVER && span.attributes["url.path"] == path)
            .collect();
        assert_eq!(found.len(), 1, "SERVER spans of `{path}` in {spans:#?}");
        found[0].clone()
    }

    pub(crate) fn logs(&self) -> Vec<Log> {
        let requests: Vec<ExportLogsServiceRequest> = self.decode("logs");
        let groups = requests
            .into_iter()
            .flat_map(|request| request.resource_logs);
        groups
            .flat_map(|group| {
                let resource = attributes(group.resource.unwrap_or_default().attributes);
                let records = group
                    .scope_logs
                    .into_iter()
                    .flat_map(|scope| scope.log_records);
                records.map(move |record| Log {
                    resource: resource.clone(),
                    event: record.event_name,
                    trace_id: hex(&record.trace_id),
                    span_id: hex(&record.span_id),
                    severity: record.severity_text,
                    attributes: attributes(record.attributes),
                })
            })
            .collect()
    }

    pub(crate) fn points(&self, name: &str) -> Vec<Point> {
        let requests: Vec<ExportMetricsServiceRequest> = self.decode("metrics");
        let mut points = Vec::new();
        for group in requests
            .into_iter()
            .flat_map(|request| request.resource_metrics)
        {
            let resource = attributes(group.resource.unwrap_or_default().attributes);
            for metric in group
                .scope_metrics
                .into_iter()
                .flat_map(|scope| scope.metrics)
                .filter(|metric| metric.name == name)
            {
                for (labels, value, exponential) in values(metric.data) {
                    let (resource, unit) = (resource.clone(), metric.unit.clone());
                    points.push(Point {
                        resource,
                        unit,
                        attributes: labels,
                        value,
                        exponential,
                    });
                }
            }
        }
        points
    }

    fn decode<T: Message + Default + DeserializeOwned>(&self, signal: &str) -> Vec<T> {
        let of_signal = |export: &Export| export.path.ends_with(signal);
        let decode = |export: Export| match export.headers["content-type"].to_str() {
            Ok("application/json") => serde_json::from_slice(&export.body).expect("OTLP/JSON"),
            _ => T::decode(export.body).expect("OTLP protobuf"),
        };
        self.exports()
            .into_iter()
            .filter(of_signal)
            .map(decode)
            .collect()
    }
}

async fn receive(State(exports): State<Exports>, uri: Uri, headers: HeaderMap, body: Bytes) {
    let packed = headers
        .get("content-encoding")
        .is_some_and(|encoding| encoding == "gzip");
    let body = if packed {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(body.as_ref())
            .read_to_end(&mut unpacked)
            .expect("gzip");
        unpacked.into()
    } else {
        body
    };
    exports.lock().expect("no panic").push(Export {
        path: uri.path().to_owned(),
        headers,
        body,
    });
}

fn values(data: Option<metric::Data>) -> Vec<(Attributes, f64, bool)> {
    let numbers = |points: Vec<opentelemetry_proto::tonic::metrics::v1::NumberDataPoint>| {
        let value = |value| match value {
            Some(number_data_point::Value::AsDouble(value)) => value,
            Some(number_data_point::Value::AsInt(value)) => value as f64,
            None => f64::NAN,
        };
        points
            .into_iter()
            .map(|point| (attributes(point.attributes), value(point.value), false))
            .collect()
    };
    match data {
        Some(metric::Data::Gauge(gauge)) => numbers(gauge.data_points),
        Some(metric::Data::Sum(sum)) => numbers(sum.data_points),
        Some(metric::Data::Histogram(histogram)) => histogram
            .data_points
            .into_iter()
            .map(|point| (attributes(point.attributes), point.count as f64, false))
            .collect(),
        Some(metric::Data::ExponentialHistogram(histogram)) => histogram
            .data_points
            .into_iter()
            .map(|point| (attributes(point.attributes), point.count as f64, true))
            .collect(),
        _ => Vec::new(),
    }
}

fn attributes(pairs: Vec<KeyValue>) -> Attributes {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::DoubleValue(number) => number.to_string(),
        any_value::Value::BoolValue(truth) => truth.to_string(),
        other => format!("{other:?}"),
    };
    pairs
        .into_iter()
        .map(|pair| {
            (
                pair.key,
                pair.value
                    .and_then(|value| value.value)
                    .map(text)
                    .unwrap_or_default(),
            )
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}
