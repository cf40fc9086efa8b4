//! The telemetry of an inference, as the service's own process exports it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use harness::{Answer, Collector, Process, SpanData, Trace, send_async};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Behaviour, HIGH, LOW, feature_store, nobody, train_into};

/// The service as a process that exports to a collector of its own.
struct Exporting {
    url: String,
    process: Process,
    collector: Collector,
    _models: TempDir,
}

/// The trace of the test's requests, and their parent span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

impl Exporting {
    fn start(feature_store: SocketAddr) -> Self {
        Self::start_with(feature_store, &[])
    }

    fn start_with(feature_store: SocketAddr, variables: &[(&str, &str)]) -> Self {
        let models = tempfile::tempdir().unwrap();
        train_into(models.path());
        let collector = Collector::start();
        let feature_store = format!("http://{feature_store}");
        let args = [
            "--listen",
            "127.0.0.1:0",
            "--exit-with-parent",
            "--allow-faults",
            "--model-repository",
            models.path().to_str().unwrap(),
            "--feature-store",
            &feature_store,
        ];
        let endpoint = collector.endpoint();
        let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)], variables].concat();
        let program = env!("CARGO_BIN_EXE_model-service");
        let process = Process::start(program, &args, &variables).unwrap();
        Self {
            url: process.url("server.listening").unwrap(),
            process,
            collector,
            _models: models,
        }
    }

    /// Sends one inference in the trace of the test.
    async fn infer(&self, body: &Value) -> Answer {
        self.infer_with(&[], body).await
    }

    async fn infer_with(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let traceparent = format!("00-{TRACE}-{CALLER}-01");
        let headers = [&[("traceparent", &*traceparent)], headers].concat();
        let url = format!("{}/v2/models/wine_quality/infer", self.url);
        send_async("POST", &url, &headers, body.to_string())
            .await
            .unwrap()
    }

    /// Stops the process and returns the one trace that it exported.
    fn trace(self) -> Trace {
        let traces = self.stop().traces();
        let [trace] = <[Trace; 1]>::try_from(traces).expect("one trace");
        assert_eq!(trace.trace_id, TRACE);
        trace
    }

    /// Stops the process; its collector has everything that it exported.
    fn stop(mut self) -> Collector {
        let exit = self.process.stop().unwrap();
        assert!(exit.success(), "{exit:?}");
        self.collector
    }
}

pub(crate) fn named<'a>(trace: &'a Trace, name: &str) -> &'a SpanData {
    let span = trace.span(name);
    span.unwrap_or_else(|| panic!("no span {name}: {trace:#?}"))
}

pub(crate) fn events(span: &SpanData) -> Vec<&str> {
    span.events
        .iter()
        .map(|event| event.name.as_str())
        .collect()
}

fn one_entity() -> Value {
    json!({"inputs": [{"name": "data_id", "shape": [1], "datatype": "BYTES", "data": ["low"]}]})
}

#[tokio::test]
async fn an_inference_has_exactly_the_spans_of_the_design() {
    let process = Exporting::start(feature_store(Behaviour::Answers).await);
    let answer = process.infer(&one_entity()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let trace = process.trace();
    let expected = "\
POST /v2/models/{model_name}/infer SERVER
  POST CLIENT
  predict wine_quality INTERNAL
    preprocess_input INTERNAL
    model_inference INTERNAL
      layer linear_1 INTERNAL
      layer linear_2 INTERNAL
      layer linear_3 INTERNAL
    postprocess_output INTERNAL
";
    assert_eq!(harness::tree(&trace), expected);
    assert_eq!(trace.spans[0].parent.as_deref(), Some(CALLER));
    let predict = named(&trace, "predict wine_quality");
    assert!(
        answer
            .text()
            .contains(&format!("00-{TRACE}-{}-01", predict.span_id)),
        "the answer names the span that computed it"
    );
    let keys: Vec<&str> = predict.attributes.keys().map(String::as_str).collect();
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
    assert_eq!(predict.attributes["ml.data_id"], "low");
    assert_eq!(
        events(named(&trace, "model_inference")),
        ["inference_completed"]
    );
}

/// Sends one row in a trace of its own.
async fn infer_in_trace(url: String, trace: u128, row: [f32; 11]) -> Answer {
    infer_flagged(url, trace, "01", row).await
}

async fn infer_flagged(url: String, trace: u128, flags: &str, row: [f32; 11]) -> Answer {
    let traceparent = format!("00-{trace:032x}-{CALLER}-{flags}");
    let input = json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": row});
    let body = json!({"inputs": [input]}).to_string();
    send_async("POST", &url, &[("traceparent", &*traceparent)], body)
        .await
        .unwrap()
}

#[tokio::test]
async fn requests_that_are_computed_together_link_to_their_batch_and_it_to_them() {
    // The batch begins as soon as it is full, long before the wait is over.
    let together = [
        ("MODEL_SERVICE_BATCH_ROWS", "3"),
        ("MODEL_SERVICE_BATCH_WAIT", "10s"),
    ];
    let process = Exporting::start_with(nobody(), &together);
    let url = format!("{}/v2/models/wine_quality/infer", process.url);
    let (low, high) = (LOW, HIGH);
    let answers = tokio::join!(
        infer_in_trace(url.clone(), 1, low),
        infer_in_trace(url.clone(), 2, high),
        infer_in_trace(url.clone(), 3, low),
    );
    let (first, second, third) = answers;
    for answer in [&first, &second, &third] {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let probabilities = |answer: &Answer| {
        let answer: Value = serde_json::from_str(&answer.text()).unwrap();
        answer["outputs"][2]["data"].clone()
    };
    assert_eq!(probabilities(&first), probabilities(&third));
    assert_ne!(probabilities(&first), probabilities(&second));

    let traces = process.stop().traces();
    assert_eq!(traces.len(), 3);
    let is_leader = |trace: &&Trace| trace.span("batch").is_some();
    let leader = traces
        .iter()
        .find(is_leader)
        .expect("a trace with the batch");
    assert_eq!(harness::tree(leader), LEADER);
    for member in traces.iter().filter(|trace| !is_leader(trace)) {
        assert_eq!(harness::tree(member), MEMBER);
    }
    let batch = named(leader, "batch");
    assert_eq!(batch.attributes["ml.batch_size"], 3);
    assert_eq!(batch.attributes["ml.batch.requests"], 3);
    let predicts: BTreeSet<_> = traces
        .iter()
        .map(|trace| {
            (
                trace.trace_id.clone(),
                named(trace, "predict wine_quality").span_id.clone(),
            )
        })
        .collect();
    assert_eq!(
        links(batch),
        predicts,
        "the batch links to all of its requests"
    );
    let computation = named(leader, "model_inference");
    for trace in &traces {
        let inference = named(trace, "model_inference");
        let to_batch = BTreeSet::from([(leader.trace_id.clone(), batch.span_id.clone())]);
        assert_eq!(
            links(inference),
            to_batch,
            "each request links to the batch"
        );
        assert_eq!(inference.events[0].attributes["ml.batch_size"], 3);
        // The time in the queue ends where the run begins, in every trace.
        let queue = named(trace, "queue");
        assert!(queue.start >= named(trace, "preprocess_input").end);
        assert!(queue.start < queue.end && queue.end <= computation.start);
        assert!(inference.start >= queue.end && inference.end >= computation.end);
    }
}

#[tokio::test]
async fn a_batch_is_in_a_trace_that_is_sampled() {
    let together = [
        ("MODEL_SERVICE_BATCH_ROWS", "3"),
        ("MODEL_SERVICE_BATCH_WAIT", "10s"),
    ];
    let process = Exporting::start_with(nobody(), &together);
    let url = format!("{}/v2/models/wine_quality/infer", process.url);
    let answers = tokio::join!(
        infer_flagged(url.clone(), 1, "00", LOW),
        infer_flagged(url.clone(), 2, "00", LOW),
        infer_flagged(url.clone(), 3, "01", LOW),
    );
    for answer in [answers.0, answers.1, answers.2] {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let traces = process.stop().traces();
    let [trace] = &traces[..] else {
        panic!("one trace is sampled: {traces:?}");
    };
    assert_eq!(harness::tree(trace), LEADER);
    let batch = named(trace, "batch");
    assert_eq!(batch.attributes["ml.batch.requests"], 3);
    assert_eq!(batch.links.len(), 1, "no link leads to nothing");
}

/// The trace of the first of several requests that are computed together.
const LEADER: &str = "\
POST /v2/models/{model_name}/infer SERVER
  predict wine_quality INTERNAL
    preprocess_input INTERNAL
    queue INTERNAL
    batch INTERNAL
      model_inference INTERNAL
        layer linear_1 INTERNAL
        layer linear_2 INTERNAL
        layer linear_3 INTERNAL
    postprocess_output INTERNAL
";

/// The trace of each of the others.
const MEMBER: &str = "\
POST /v2/models/{model_name}/infer SERVER
  predict wine_quality INTERNAL
    preprocess_input INTERNAL
    queue INTERNAL
    model_inference INTERNAL
    postprocess_output INTERNAL
";

fn links(span: &SpanData) -> BTreeSet<(String, String)> {
    span.links
        .iter()
        .map(|link| (link.trace_id.clone(), link.span_id.clone()))
        .collect()
}

#[tokio::test]
async fn batches_show_no_single_entity() {
    let process = Exporting::start(nobody());
    let input =
        json!({"name": "features", "shape": [2, 11], "datatype": "FP32", "data": [LOW, LOW]});
    let answer = process.infer(&json!({"inputs": [input]})).await;
    assert_eq!(answer.status, 200);
    let trace = process.trace();
    assert_eq!(trace.spans.len(), 8, "no lookup, so no CLIENT span");
    let predict = named(&trace, "predict wine_quality");
    assert_eq!(predict.attributes["ml.batch_size"], 2);
    for key in ["ml.data_id", "ml.output.label", "ml.output.confidence"] {
        assert!(!predict.attributes.contains_key(key));
    }
}

#[tokio::test]
async fn a_failing_feature_store_marks_the_spans_that_failed() {
    let process = Exporting::start(feature_store(Behaviour::Fails).await);
    assert_eq!(process.infer(&one_entity()).await.status, 503);
    let trace = process.trace();
    assert_eq!(
        harness::tree(&trace),
        "POST /v2/models/{model_name}/infer SERVER ERROR\n  POST CLIENT ERROR\n"
    );
    assert_eq!(
        trace.spans[0].attributes["error.type"],
        "feature_store_unavailable"
    );
}

#[tokio::test]
async fn faults_on_purpose_answer_in_the_protocols_form() {
    let process = Exporting::start(nobody());
    let fault = [("baggage", "fault=model-service:error")];
    let answer = process.infer_with(&fault, &one_entity()).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("{\"error\":\""), "{answer:?}");
    let trace = process.trace();
    assert_eq!(trace.spans.len(), 1);
    assert!(trace.spans[0].is_error());
}

#[tokio::test]
async fn predictions_are_counted_with_bounded_attributes() {
    let process = Exporting::start(feature_store(Behaviour::Answers).await);
    let mut far = LOW;
    far[0] = 1e6;
    let input = json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": far});
    process.infer(&json!({"inputs": [input]})).await;
    let ids =
        json!({"name": "data_id", "shape": [2], "datatype": "BYTES", "data": ["low", "null"]});
    process.infer(&json!({"inputs": [ids]})).await;
    let collector = process.stop();
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
        assert_eq!(metric_keys(&collector, name), keys, "{name}");
    }
}

/// The attribute keys of a metric, sorted and each once.
fn metric_keys(collector: &Collector, name: &str) -> Vec<String> {
    let series = collector.metric(name);
    assert!(!series.is_empty(), "no metric {name}");
    let keys: BTreeSet<String> = series
        .into_iter()
        .flat_map(|series| series.attributes.into_iter().map(|(key, _)| key))
        .collect();
    keys.into_iter().collect()
}
