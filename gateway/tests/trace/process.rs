//! The real gateway process, a collector that keeps what it exports, and spans as the tests look at them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fake::Fake;

/// What a collector got, as OTLP/JSON.
pub(crate) type Received = Arc<Mutex<Vec<Value>>>;

pub(crate) struct Process {
    child: Child,
    url: String,
    pub(crate) log: Arc<Mutex<String>>,
    reader: std::thread::JoinHandle<()>,
    spans: Received,
    /// What was counted; complete when the process has stopped.
    pub(crate) metrics: Received,
    _folder: tempfile::TempDir,
}

/// A span as the tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) error: bool,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) links: Vec<(String, String)>,
}

/// The address of a collector, the spans that it gets, and the metrics.
pub(crate) async fn collector() -> (String, Received, Received) {
    let (spans, metrics) = (Received::default(), Received::default());
    let keep = |received: &Received| {
        let received = Arc::clone(received);
        post(async move |body: Bytes| {
            received
                .lock()
                .unwrap()
                .push(serde_json::from_slice(&body).unwrap())
        })
    };
    let (traces, counts) = (keep(&spans), keep(&metrics));
    let router = Router::new()
        .route("/v1/traces", traces)
        .route("/v1/metrics", counts)
        .fallback(async || "{}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    telemetry::task::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, spans, metrics)
}

impl Process {
    pub(crate) async fn start(fake: &Fake) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("p.db").to_str().unwrap().to_owned();
        Self::with(fake, folder, &["--prediction-store", &store]).await
    }

    pub(crate) async fn with(fake: &Fake, folder: tempfile::TempDir, store: &[&str]) -> Self {
        let (collector, spans, metrics) = collector().await;
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--exit-with-parent",
                "--model-refresh",
                "50ms",
                "--allow-faults",
            ])
            .args(["--model-service", &format!("http://{}", fake.address)])
            .args(store)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
            .env("RUST_LOG", "debug")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut log = String::new();
        let url = loop {
            let line = lines.next().expect("the gateway logs its address").unwrap();
            log.push_str(&line);
            if line.contains("listens on ") {
                let start = line.find("http://127.0.0.1").unwrap();
                break line[start..].split(['"', ' ']).next().unwrap().to_owned();
            }
        };
        // Read on, or else the pipe fills and the gateway waits for its reader.
        let log = Arc::new(Mutex::new(log));
        let to = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines {
                let mut log = to.lock().unwrap();
                log.push('\n');
                log.push_str(&line.unwrap());
            }
        });
        Self {
            child,
            url,
            log,
            reader,
            spans,
            metrics,
            _folder: folder,
        }
    }

    /// Sends one request and gives status, body and the trace of the answer.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> (u16, Value, String) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client
            .request(request.body(Full::new(body.into())).unwrap())
            .await
            .unwrap();
        let trace = response
            .headers()
            .get("traceresponse")
            .map_or("", |value| &value.to_str().unwrap()[3..35])
            .to_owned();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            serde_json::from_slice(&body).unwrap_or(Value::Null),
            trace,
        )
    }

    pub(crate) async fn predict(&self, ids: &[&str]) -> (u16, Value, String) {
        self.send(
            "POST",
            "/v1/predictions",
            &[],
            json!({"model": "wine_quality", "data_ids": ids}).to_string(),
        )
        .await
    }

    /// Stops it as its parent's end would, and gives what it exported and logged.
    pub(crate) async fn stop(mut self) -> (Vec<Span>, String) {
        drop(self.child.stdin.take());
        let end = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            assert!(Instant::now() < end, "the gateway does not stop");
        };
        self.reader.join().unwrap();
        let log = std::mem::take(&mut *self.log.lock().unwrap());
        assert!(status.success(), "{status}: {log}");
        let spans = self
            .spans
            .lock()
            .unwrap()
            .iter()
            .flat_map(read_spans)
            .collect();
        (spans, log)
    }
}

fn read_spans(export: &Value) -> Vec<Span> {
    let scopes = export["resourceSpans"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|resource| resource["scopeSpans"].as_array().unwrap());
    scopes
        .flat_map(|scope| scope["spans"].as_array().unwrap())
        .map(read_span)
        .collect()
}

fn read_span(span: &Value) -> Span {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attribute = |pair: &Value| {
        (
            text(&pair["key"]),
            pair["value"]
                .as_object()
                .unwrap()
                .values()
                .next()
                .unwrap()
                .clone(),
        )
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Span {
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        name: text(&span["name"]),
        kind: span["kind"].as_u64().unwrap(),
        error: span["status"]["code"] == 2,
        attributes: list(&span["attributes"]).iter().map(attribute).collect(),
        links: list(&span["links"])
            .iter()
            .map(|link| (text(&link["traceId"]), text(&link["spanId"])))
            .collect(),
    }
}

/// The sum of a counter by its attributes, each set as `key=value` pairs in order.
pub(crate) fn counts(metrics: &Received, name: &str) -> BTreeMap<String, u64> {
    let metrics = metrics.lock().unwrap();
    let last = metrics.last().expect("metrics leave at the end");
    let points = |export: &Value| -> Vec<Value> {
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let scopes = items(&export["resourceMetrics"])
            .into_iter()
            .flat_map(|resource| items(&resource["scopeMetrics"]));
        let metrics = scopes
            .flat_map(|scope| items(&scope["metrics"]))
            .filter(|metric| metric["name"] == name);
        metrics
            .flat_map(|metric| items(&metric["sum"]["dataPoints"]))
            .collect()
    };
    let read = |point: Value| {
        let text = |value: &Value| {
            value
                .as_object()
                .unwrap()
                .values()
                .next()
                .unwrap()
                .as_str()
                .unwrap()
                .to_owned()
        };
        let pair =
            |pair: &Value| format!("{}={}", pair["key"].as_str().unwrap(), text(&pair["value"]));
        let mut pairs: Vec<String> = point["attributes"]
            .as_array()
            .unwrap()
            .iter()
            .map(pair)
            .collect();
        pairs.sort();
        (
            pairs.join(" "),
            point["asInt"].as_str().unwrap().parse().unwrap(),
        )
    };
    points(last).into_iter().map(read).collect()
}

/// The tree of one trace, one line for each span, siblings in the order of their start.
pub(crate) fn tree(spans: &[Span], trace: &str) -> String {
    fn write(spans: &[Span], trace: &str, parent: &str, depth: usize, text: &mut String) {
        for span in spans
            .iter()
            .filter(|span| span.trace == trace && span.parent == parent)
        {
            let kind = ["?", "INTERNAL", "SERVER", "CLIENT"][usize::try_from(span.kind).unwrap()];
            let error = if span.error { " ERROR" } else { "" };
            writeln!(text, "{}{} {kind}{error}", "  ".repeat(depth), span.name).unwrap();
            write(spans, trace, &span.id, depth + 1, text);
        }
    }
    let mut text = String::new();
    write(spans, trace, "", 0, &mut text);
    assert_eq!(
        text.lines().count(),
        spans.iter().filter(|span| span.trace == trace).count(),
        "an orphan in {text}"
    );
    text
}

pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn server<'a>(spans: &'a [Span], trace: &str) -> &'a Span {
    spans
        .iter()
        .find(|span| span.trace == trace && span.kind == 2)
        .unwrap()
}
