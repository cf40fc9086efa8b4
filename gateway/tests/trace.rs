//! The gateway's own part of the trace, as the real process exports it: names, kinds, parents, links and attributes.

#![expect(clippy::unwrap_used, reason = "a test may panic, and its helpers are tests, too")]

#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
#[path = "../src/tests/fake.rs"]
mod fake;

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

use fake::{Fake, SPAN_ID, TRACE_ID};

/// What a collector got, as OTLP/JSON.
type Received = Arc<Mutex<Vec<Value>>>;

struct Process {
    child: Child,
    url: String,
    log: std::thread::JoinHandle<String>,
    spans: Received,
    _folder: tempfile::TempDir,
}

/// A span as the tests look at it.
#[derive(Clone, Debug)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    error: bool,
    attributes: BTreeMap<String, Value>,
    links: Vec<(String, String)>,
}

async fn collector() -> (String, Received) {
    let received = Received::default();
    let spans = Arc::clone(&received);
    let traces = post(async move |body: Bytes| spans.lock().unwrap().push(serde_json::from_slice(&body).unwrap()));
    let router = Router::new().route("/v1/traces", traces).fallback(async || "{}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    telemetry::task::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, received)
}

impl Process {
    async fn start(fake: &Fake) -> Self {
        let (collector, spans) = collector().await;
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["--listen", "127.0.0.1:0", "--exit-with-parent", "--model-refresh", "50ms", "--allow-faults"])
            .args(["--model-service", &format!("http://{}", fake.address)])
            .args(["--prediction-store", folder.path().join("p.db").to_str().unwrap()])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
            .env("OTEL_METRICS_EXPORTER", "none")
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
        let log = std::thread::spawn(move || lines.fold(log, |log, line| log + "\n" + &line.unwrap()));
        Self { child, url, log, spans, _folder: folder }
    }

    /// Sends one request and gives status, body and the trace of the answer.
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> (u16, Value, String) {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let trace =
            response.headers().get("traceresponse").map_or("", |value| &value.to_str().unwrap()[3..35]).to_owned();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null), trace)
    }

    async fn predict(&self, ids: &[&str]) -> (u16, Value, String) {
        self.send("POST", "/v1/predictions", &[], json!({"model": "wine_quality", "data_ids": ids}).to_string()).await
    }

    /// Stops it as its parent's end would, and gives what it exported and logged.
    async fn stop(mut self) -> (Vec<Span>, String) {
        drop(self.child.stdin.take());
        let end = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
            assert!(Instant::now() < end, "the gateway does not stop");
        };
        let log = self.log.join().unwrap();
        assert!(status.success(), "{status}: {log}");
        let spans = self.spans.lock().unwrap().iter().flat_map(read_spans).collect();
        (spans, log)
    }
}

fn read_spans(export: &Value) -> Vec<Span> {
    let scopes = export["resourceSpans"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|resource| resource["scopeSpans"].as_array().unwrap());
    scopes.flat_map(|scope| scope["spans"].as_array().unwrap()).map(read_span).collect()
}

fn read_span(span: &Value) -> Span {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let attribute =
        |pair: &Value| (text(&pair["key"]), pair["value"].as_object().unwrap().values().next().unwrap().clone());
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Span {
        trace: text(&span["traceId"]),
        id: text(&span["spanId"]),
        parent: text(&span["parentSpanId"]),
        name: text(&span["name"]),
        kind: span["kind"].as_u64().unwrap(),
        error: span["status"]["code"] == 2,
        attributes: list(&span["attributes"]).iter().map(attribute).collect(),
        links: list(&span["links"]).iter().map(|link| (text(&link["traceId"]), text(&link["spanId"]))).collect(),
    }
}

/// The tree of one trace, one line for each span, siblings in the order of their start.
fn tree(spans: &[Span], trace: &str) -> String {
    fn write(spans: &[Span], trace: &str, parent: &str, depth: usize, text: &mut String) {
        for span in spans.iter().filter(|span| span.trace == trace && span.parent == parent) {
            let kind = ["?", "INTERNAL", "SERVER", "CLIENT"][usize::try_from(span.kind).unwrap()];
            let error = if span.error { " ERROR" } else { "" };
            writeln!(text, "{}{} {kind}{error}", "  ".repeat(depth), span.name).unwrap();
            write(spans, trace, &span.id, depth + 1, text);
        }
    }
    let mut text = String::new();
    write(spans, trace, "", 0, &mut text);
    assert_eq!(text.lines().count(), spans.iter().filter(|span| span.trace == trace).count(), "an orphan in {text}");
    text
}

async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn server<'a>(spans: &'a [Span], trace: &str) -> &'a Span {
    spans.iter().find(|span| span.trace == trace && span.kind == 2).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_tells_what_it_did() {
    let mut fake = Fake::start().await;
    let gateway = Process::start(&fake).await;

    let (_, _, miss) = gateway.predict(&["a"]).await;
    let sent = fake.calls()[0].headers["traceparent"].to_str().unwrap().to_owned();
    let (_, _, hit) = gateway.predict(&["a"]).await;
    let (_, _, part) = gateway.predict(&["b", "c", "a"]).await;
    let (status, _, single) = gateway.send("GET", "/v1/predictions/wine_quality/a", &[], String::new()).await;
    assert_eq!(status, 200);
    let parent = [("traceparent", "00-11112222333344445555666677778888-1234567890abcdef-01")];
    gateway.send("GET", "/v1/models", &parent, String::new()).await;
    let texts = json!({"model": "text_sentiment", "texts": ["a secret text"]}).to_string();
    gateway.send("POST", "/v1/predictions", &[], texts).await;

    fake.close_gate();
    let ((_, _, first), (_, _, second), ()) = tokio::join!(gateway.predict(&["d"]), gateway.predict(&["d"]), async {
        eventually("a call arrives", async || fake.calls().len() == 4).await;
        fake.open_gate();
    });
    assert_eq!(fake.calls().len(), 4);

    fake.stop().await;
    let (status, body, down) = gateway.predict(&["e"]).await;
    assert_eq!((status, body["trace_id"].as_str().unwrap()), (503, &down[..]));
    let told =
        async || !gateway.send("GET", "/readyz", &[], String::new()).await.1["detail"]["model_service"].is_null();
    eventually("/readyz tells that the model service is down", told).await;
    let fault = [("baggage", "fault=gateway:error")];
    let (status, body, broken) = gateway.send("GET", "/v1/predictions", &fault, String::new()).await;
    assert_eq!(
        (status, body["code"].as_str().unwrap(), body["trace_id"].as_str().unwrap()),
        (500, "fault_injected", &broken[..])
    );

    let (spans, log) = gateway.stop().await;
    let of_a_miss =
        "POST /v1/predictions SERVER\n  SELECT predictions CLIENT\n  POST CLIENT\n  INSERT predictions CLIENT\n";
    let of_a_hit = "POST /v1/predictions SERVER\n  SELECT predictions CLIENT\n";
    assert_eq!(tree(&spans, &miss), of_a_miss);
    assert_eq!(tree(&spans, &hit), of_a_hit);
    assert_eq!(tree(&spans, &part), of_a_miss);
    assert_eq!(tree(&spans, &single), "GET /v1/predictions/{model}/{data_id} SERVER\n  SELECT predictions CLIENT\n");
    assert_eq!(
        tree(&spans, &down),
        "POST /v1/predictions SERVER ERROR\n  SELECT predictions CLIENT\n  POST CLIENT ERROR\n"
    );
    assert_eq!(tree(&spans, &broken), "GET /v1/predictions SERVER ERROR\n");

    // The model service got the context of the CLIENT span.
    let client = spans.iter().find(|span| span.trace == miss && span.name == "POST").unwrap();
    assert_eq!(sent, format!("00-{miss}-{}-01", client.id));
    // Links: a hit to the span that computed it, a waiter to the one that was at it, a leader to nothing.
    let computed = vec![(TRACE_ID.to_owned(), SPAN_ID.to_owned())];
    assert_eq!(server(&spans, &miss).links, []);
    for trace in [&hit, &part, &single] {
        assert_eq!(server(&spans, trace).links, computed);
    }
    let mut pair = [tree(&spans, &first), tree(&spans, &second)];
    pair.sort();
    assert_eq!(pair, [of_a_hit, of_a_miss], "one of the two computed");
    let waiter = if tree(&spans, &first) == of_a_hit { &first } else { &second };
    assert_eq!(server(&spans, waiter).links, computed);

    let attributes = &server(&spans, &single).attributes;
    assert_eq!(attributes["ml.model_name"], "wine_quality");
    assert_eq!(attributes["ml.model_version"], "1");
    assert_eq!(attributes["ml.data_id"], "a");
    assert_eq!(attributes["ml.batch_size"], "1");
    assert!(!server(&spans, &part).attributes.contains_key("ml.data_id"));
    assert_eq!(server(&spans, &down).attributes["error.type"], "model_unavailable");
    let insert = spans.iter().find(|span| span.trace == part && span.name == "INSERT predictions").unwrap();
    assert_eq!(
        (&insert.attributes["db.operation.batch.size"], &insert.attributes["db.system.name"]),
        (&json!("2"), &json!("sqlite"))
    );

    // No root but SERVER spans: looking after the models is no trace of its own. And what was written stays unsaid.
    let continued = spans.iter().find(|span| span.trace == "11112222333344445555666677778888").unwrap();
    assert_eq!(continued.parent, "1234567890abcdef");
    assert!(spans.iter().all(|span| span.kind == 2 || !span.parent.is_empty()), "{spans:?}");
    assert!(!log.contains("a secret text") && !format!("{spans:?}").contains("a secret text"));
    assert_eq!(log.matches("the model service is down").count(), 1, "{log}");
}
