//! The trace of an inference, as the service's own process exports it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::{Behaviour, LOW, feature_store, nobody, train_into};

/// The service as a process that writes its spans to its standard output.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
    address: String,
    _models: TempDir,
}

#[derive(Debug, Default)]
pub(crate) struct Span {
    pub(crate) name: String,
    id: String,
    pub(crate) parent: String,
    pub(crate) trace: String,
    kind: String,
    start: String,
    status: String,
    pub(crate) attributes: HashMap<String, String>,
    pub(crate) events: Vec<String>,
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

impl Process {
    async fn start(feature_store: SocketAddr) -> Self {
        Self::start_with(feature_store, "OTEL_TRACES_EXPORTER").await
    }

    /// `signal` is the variable of the one signal that is written out.
    async fn start_with(feature_store: SocketAddr, signal: &str) -> Self {
        let models = tempfile::tempdir().unwrap();
        train_into(models.path());
        let mut child = Command::new(env!("CARGO_BIN_EXE_model-service"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--exit-with-parent",
                "--allow-faults",
                "--model-repository",
            ])
            .arg(models.path())
            .args(["--feature-store", &format!("http://{feature_store}")])
            .env("OTEL_TRACES_EXPORTER", "none")
            .env("OTEL_METRICS_EXPORTER", "none")
            .env("OTEL_LOGS_EXPORTER", "none")
            .env(signal, "console")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(
                output.read_line(&mut line).await.unwrap() > 0,
                "the service does not start"
            );
            let record: Value = serde_json::from_str(&line).unwrap_or_default();
            if record["event.name"] == "server.listening" {
                break record["url"].as_str().unwrap().replace("http://", "");
            }
        };
        Self {
            child,
            output,
            address,
            _models: models,
        }
    }

    /// Sends one inference within the trace of the test and returns the whole answer.
    async fn infer(&self, headers: &str, body: &Value) -> String {
        let body = body.to_string();
        let request = format!(
            "POST /v2/models/wine_quality/infer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn spans(self) -> Vec<Span> {
        parse(&self.exported().await)
    }

    /// Stops the process by the end of its standard input and reads what it exported.
    async fn exported(mut self) -> String {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_to_string(&mut text).await.unwrap();
        assert!(self.child.wait().await.unwrap().success());
        text
    }
}

/// Reads the console exporter's text: one span begins at each instrumentation scope.
pub(crate) fn parse(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for block in text.split("Instrumentation Scope").skip(1) {
        let mut span = Span::default();
        let mut in_event = false;
        for line in block.lines().skip(2).map(str::trim) {
            in_event |= line.starts_with("Event #");
            if let Some((key, value)) = line
                .strip_prefix("->")
                .and_then(|line| line.split_once(": "))
            {
                if !in_event {
                    span.attributes
                        .insert(key.trim().to_owned(), value.to_owned());
                }
                continue;
            }
            let Some((key, value)) = line.split_once(" : ").or_else(|| line.split_once(": "))
            else {
                continue;
            };
            let value = value.trim().to_owned();
            match key.trim() {
                "Name" if in_event => span.events.push(value),
                "Name" => span.name = value,
                "SpanId" => span.id = value,
                "ParentSpanId" => span.parent = value,
                "TraceId" => span.trace = value,
                "Kind" => span.kind = value,
                "Start time" => span.start = value,
                "Status" => span.status = value,
                _ => {}
            }
        }
        spans.push(span);
    }
    spans
}

/// The spans below `parent` as an indented list, in the order of their beginnings.
pub(crate) fn tree(spans: &[Span], parent: &str, depth: usize) -> String {
    let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent == parent).collect();
    children.sort_by(|a, b| a.start.cmp(&b.start));
    let line = |span: &&Span| {
        format!(
            "{}{} {}\n{}",
            "  ".repeat(depth),
            span.name,
            span.kind,
            tree(spans, &span.id, depth + 1)
        )
    };
    children.iter().map(line).collect()
}

pub(crate) fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans
        .iter()
        .find(|span| span.name == name)
        .unwrap_or_else(|| panic!("no span {name}: {spans:#?}"))
}

fn one_entity() -> Value {
    json!({"inputs": [{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": ["low"]}]})
}

#[tokio::test]
async fn an_inference_has_exactly_the_spans_of_the_design() {
    let process = Process::start(feature_store(Behaviour::Answers).await).await;
    let answer = process.infer("", &one_entity()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let spans = process.spans().await;
    let expected = "\
POST /v2/models/{model_name}/infer Server
  POST Client
  predict wine_quality Internal
    preprocess_input Internal
    model_inference Internal
      layer linear_1 Internal
      layer linear_2 Internal
      layer linear_3 Internal
    postprocess_output Internal
";
    assert_eq!(tree(&spans, "b7ad6b7169203331", 0), expected);
    assert!(spans.iter().all(|span| span.trace == TRACE));
    let predict = named(&spans, "predict wine_quality");
    assert!(
        answer.contains(&format!("00-{TRACE}-{}-01", predict.id)),
        "the answer tells who computed it"
    );
    let mut keys: Vec<&str> = predict.attributes.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "ml.batch_size",
            "ml.data_id",
            "ml.device",
            "ml.framework",
            "ml.model_name",
            "ml.model_version",
            "ml.output.confidence",
            "ml.output.label",
            "ml.run_id",
            "ml.variant",
        ]
    );
    assert!(predict.attributes["ml.data_id"].contains("\"low\""));
    assert_eq!(
        named(&spans, "model_inference").events,
        ["inference_completed"]
    );
}

#[tokio::test]
async fn batches_show_no_single_entity() {
    let process = Process::start(nobody()).await;
    let input =
        json!({"name": "features", "shape": [2, 11], "datatype": "FP32", "data": [LOW, LOW]});
    assert!(
        process
            .infer("", &json!({"inputs": [input]}))
            .await
            .starts_with("HTTP/1.1 200")
    );
    let spans = process.spans().await;
    assert_eq!(spans.len(), 8, "no lookup, so no CLIENT span");
    let predict = named(&spans, "predict wine_quality");
    assert_eq!(predict.attributes["ml.batch_size"], "I64(2)");
    for key in ["ml.data_id", "ml.output.label", "ml.output.confidence"] {
        assert!(!predict.attributes.contains_key(key));
    }
}

#[tokio::test]
async fn a_failing_feature_store_marks_the_spans_that_failed() {
    let process = Process::start(feature_store(Behaviour::Fails).await).await;
    assert!(
        process
            .infer("", &one_entity())
            .await
            .starts_with("HTTP/1.1 503")
    );
    let spans = process.spans().await;
    assert_eq!(
        tree(&spans, "b7ad6b7169203331", 0),
        "POST /v2/models/{model_name}/infer Server\n  POST Client\n"
    );
    let server = named(&spans, "POST /v2/models/{model_name}/infer");
    assert!(server.status.starts_with("Error"), "{}", server.status);
    assert!(server.attributes["error.type"].contains("feature_store_unavailable"));
    assert!(named(&spans, "POST").status.starts_with("Error"));
}

#[tokio::test]
async fn faults_on_purpose_answer_in_the_protocols_form() {
    let process = Process::start(nobody()).await;
    let answer = process
        .infer("baggage: fault=model-service:error\r\n", &one_entity())
        .await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(answer.contains("{\"error\":\""), "{answer}");
    let spans = process.spans().await;
    assert_eq!(spans.len(), 1);
    assert!(spans[0].status.starts_with("Error"));
}

#[tokio::test]
async fn predictions_are_counted_with_bounded_attributes() {
    let process = Process::start_with(
        feature_store(Behaviour::Answers).await,
        "OTEL_METRICS_EXPORTER",
    )
    .await;
    let mut far = LOW;
    far[0] = 1e6;
    let input = json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": far});
    process.infer("", &json!({"inputs": [input]})).await;
    let ids =
        json!({"name": "data_id", "shape": [2], "datatype": "BYTES", "data": ["low", "null"]});
    process.infer("", &json!({"inputs": [ids]})).await;
    let text = process.exported().await;
    let expected = [
        (
            "ai.inference.calls",
            &["ml.model_version", "ml.variant", "model.name", "success"][..],
        ),
        (
            "ai.inference.latency",
            &["ml.model_version", "ml.variant", "model.name", "success"],
        ),
        (
            "ml.prediction.confidence",
            &["ml.model_version", "ml.output.label", "model.name"],
        ),
        (
            "ml.prediction.labels",
            &["ml.model_version", "ml.output.label", "model.name"],
        ),
        ("ml.input.missing", &["ml.feature.name", "model.name"]),
        ("ml.input.out_of_range", &["ml.feature.name", "model.name"]),
    ];
    for (name, keys) in expected {
        assert_eq!(metric_keys(&text, name), keys, "{name}");
    }
}

/// The attribute keys of a metric in the console exporter's text, sorted and each once.
fn metric_keys(text: &str, name: &str) -> Vec<String> {
    let (_, rest) = text
        .split_once(&format!(": {name}\n"))
        .unwrap_or_else(|| panic!("no metric {name}"));
    let metric = rest.split("Metric #").next().unwrap();
    let keys = metric
        .lines()
        .filter_map(|line| line.trim().strip_prefix("->"));
    let mut keys: Vec<String> = keys
        .map(|line| line.split(": ").next().unwrap().trim().to_owned())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
