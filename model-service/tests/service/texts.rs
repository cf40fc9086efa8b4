//! Predictions of texts: answers, row errors, and what the telemetry does and does not hold.

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use harness::{Answer, Collector, Process, Trace};
use http::Request;
use model_service::training::{TrainOptions, train};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::server::{Service, nobody, start_with};
use crate::trace::named;

pub(crate) const REVIEWS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../data/product_reviews/reviews.csv"
);
pub(crate) const PATH: &str = "/v2/models/text_sentiment/infer";
pub(crate) const GOOD: &str = "I love this camera, the pictures are excellent.";
const BAD: &str = "It stopped working after a week and support was terrible.";

/// One trained version for all tests.
fn trained() -> &'static Path {
    static MODELS: OnceLock<TempDir> = OnceLock::new();
    let folder = MODELS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut options = TrainOptions::of_texts(REVIEWS, folder.path());
        options.hyperparameters.epochs = 4;
        train(&options).unwrap();
        folder
    });
    folder.path()
}

/// Puts the version into `models`, but for the files that are left out.
fn fill(models: &Path, without: &[&str]) {
    let version = models.join("text_sentiment/1");
    std::fs::create_dir_all(&version).unwrap();
    for file in ["manifest.json", "model.safetensors", "tokenizer.json"] {
        if !without.contains(&file) {
            let from = trained().join("text_sentiment/1").join(file);
            std::fs::copy(from, version.join(file)).unwrap();
        }
    }
}

pub(crate) async fn service() -> Service {
    start_with(nobody(), |models| fill(models, &[])).await
}

pub(crate) fn body(texts: &Value) -> Value {
    let rows = texts.as_array().map_or(0, Vec::len);
    json!({"inputs": [{"name": "text", "shape": [rows], "datatype": "BYTES", "data": texts}]})
}

pub(crate) async fn infer(service: &Service, body: &Value) -> Answer {
    service
        .send(Request::post(PATH), body.to_string().into())
        .await
}

pub(crate) fn output(answer: &Answer, name: &str) -> Value {
    let answer: Value = serde_json::from_str(&answer.text()).unwrap();
    let outputs = answer["outputs"].as_array().unwrap();
    let output = outputs.iter().find(|output| output["name"] == name);
    output.map_or(Value::Null, |output| output["data"].clone())
}

#[tokio::test]
async fn texts_are_positive_or_negative() {
    let service = service().await;
    let answer = infer(&service, &body(&json!([GOOD, BAD]))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(output(&answer, "label"), json!(["positive", "negative"]));
    let alone = infer(&service, &body(&json!([BAD]))).await;
    let probabilities = output(&answer, "probabilities");
    assert_eq!(
        output(&alone, "probabilities"),
        json!([probabilities[2], probabilities[3]]),
        "a text is not changed by its neighbours"
    );
    let metadata = service.get("/v2/models/text_sentiment").await;
    let metadata: Value = serde_json::from_str(&metadata.text()).unwrap();
    let input = json!([{"name": "text", "datatype": "BYTES", "shape": [-1]}]);
    assert_eq!(metadata["inputs"], input);
}

#[tokio::test]
async fn a_bad_text_fails_alone() {
    let service = service().await;
    let long = "good ".repeat(2_001);
    let texts = json!([GOOD, "", " \u{0}\n", long, "xyzzy qwghlm", "go\u{0}od", BAD]);
    let answer = infer(&service, &body(&texts)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let errors = json!([
        "",
        "empty_text",
        "empty_text",
        "text_too_long",
        "unknown_words",
        "",
        ""
    ]);
    assert_eq!(output(&answer, "error"), errors);
    assert_eq!(output(&answer, "label")[0], "positive");
    assert_eq!(output(&answer, "label")[1], "");
    assert_eq!(output(&answer, "label")[6], "negative");
    let none = infer(&service, &body(&json!([""]))).await;
    assert_eq!(none.status, 200, "{none:?}");
    assert_eq!(output(&none, "error"), json!(["empty_text"]));
}

/// In binary, where a text is a length and bytes.
#[tokio::test]
async fn a_text_that_is_not_utf_8_fails_alone() {
    let service = service().await;
    let mut raw = Vec::new();
    for text in [GOOD.as_bytes(), b"\xff\xfe", BAD.as_bytes()] {
        raw.extend((text.len() as u32).to_le_bytes());
        raw.extend(text);
    }
    let header = json!({"inputs": [{"name": "text", "shape": [3], "datatype": "BYTES",
        "parameters": {"binary_data_size": raw.len()}}]});
    let header = header.to_string();
    let request =
        Request::post(PATH).header("inference-header-content-length", header.len().to_string());
    let body = [header.as_bytes(), &raw].concat();
    let answer = service.send(request, Bytes::from(body)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(output(&answer, "error"), json!(["", "invalid_text", ""]));
    assert_eq!(
        output(&answer, "label"),
        json!(["positive", "", "negative"])
    );
}

#[tokio::test]
async fn inputs_that_are_no_texts_are_400_with_a_reason() {
    let service = service().await;
    let input = |name: &str, datatype: &str, shape: Value, data: Value| json!({"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]});
    let cases = [
        (body(&json!([1])), "not a BYTES"),
        (body(&json!([{"text": "good"}])), "not a BYTES"),
        (input("text", "FP32", json!([1]), json!([1.0])), "BYTES"),
        (
            input("text", "BYTES", json!([1, 2]), json!(["a", "b"])),
            "shape",
        ),
        (
            input("data_id", "BYTES", json!([1]), json!(["low"])),
            "the only input is text",
        ),
        (body(&json!([])), "no rows"),
        (json!({"inputs": []}), "exactly one input is needed: text"),
    ];
    for (body, expected) in cases {
        let answer = infer(&service, &body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(
            answer.text().contains(expected),
            "{body}: {}",
            answer.text()
        );
    }
    let too_many = vec![GOOD; 1_001];
    let answer = infer(&service, &body(&json!(too_many))).await;
    assert_eq!(answer.status, 422, "{answer:?}");
}

#[tokio::test]
async fn a_version_without_its_tokenizer_is_not_served() {
    for damage in ["missing", "empty", "another"] {
        let service = start_with(nobody(), |models| {
            fill(models, &["tokenizer.json"]);
            let path = models.join("text_sentiment/1/tokenizer.json");
            match damage {
                "empty" => std::fs::write(path, "").unwrap(),
                "another" => std::fs::write(path, "{}").unwrap(),
                _ => {}
            }
        })
        .await;
        let answer = infer(&service, &body(&json!([GOOD]))).await;
        assert_eq!(answer.status, 503, "{damage}: {answer:?}");
        assert!(answer.text().contains("tokenizer.json"), "{damage}");
    }
}

/// The trace of one inference by a process with these options, and everything that it exported.
async fn trace_of(options: &[&str], texts: &Value) -> (Trace, String) {
    let models = tempfile::tempdir().unwrap();
    fill(models.path(), &[]);
    trace_with(models.path(), options, texts).await
}

/// The same with these models.
pub(crate) async fn trace_with(models: &Path, options: &[&str], texts: &Value) -> (Trace, String) {
    let collector = Collector::start();
    let models = models.to_str().unwrap();
    let args = [
        &[
            "--listen",
            "127.0.0.1:0",
            "--exit-with-parent",
            "--model-repository",
            models,
        ],
        options,
    ]
    .concat();
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint())];
    let mut process =
        Process::start(env!("CARGO_BIN_EXE_model-service"), &args, &variables).unwrap();
    let url = format!("{}{PATH}", process.url("server.listening").unwrap());
    let answer = harness::send_async("POST", &url, &[], body(texts).to_string())
        .await
        .unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(process.stop().unwrap().success());
    let said = format!("{}{}", collector.everything(), process.output());
    let [trace] = <[Trace; 1]>::try_from(collector.traces()).expect("one trace");
    (trace, said)
}

#[tokio::test]
async fn a_text_is_a_tree_of_its_own_and_is_nowhere_in_the_telemetry() {
    let (trace, said) = trace_of(&[], &json!(["Excellent zoom, xyzzy"])).await;
    let expected = "\
POST /v2/models/{model_name}/infer SERVER
  predict text_sentiment INTERNAL
    preprocess_input INTERNAL
    model_inference INTERNAL
      layer embedding_bag INTERNAL
      layer linear_1 INTERNAL
    postprocess_output INTERNAL
";
    assert_eq!(harness::tree(&trace), expected);
    let preprocess = named(&trace, "preprocess_input");
    for (attribute, value) in [
        ("ml.input.length", "21"),
        ("ml.input.tokens", "4"),
        ("ml.input.unknown_share", "0.25"),
    ] {
        let found = preprocess.text(attribute);
        assert_eq!(found.as_deref(), Some(value), "{attribute}");
    }
    let predict = named(&trace, "predict text_sentiment");
    assert_eq!(predict.text("ml.output.label").as_deref(), Some("positive"));
    assert!(predict.text("ml.output.confidence").is_some());
    assert!(!said.contains("xyzzy") && !said.contains("ml.input.text"));
}

#[tokio::test]
async fn a_service_that_captures_texts_has_them_on_the_span() {
    let text = "Excellent zoom. ".repeat(100);
    let (trace, _) = trace_of(&["--capture-text"], &json!([text])).await;
    let captured = named(&trace, "preprocess_input").text("ml.input.text");
    assert_eq!(captured.as_deref(), Some(&text[..1_000]));
    let (batch, said) = trace_of(&["--capture-text"], &json!(["good xyzzy", "bad"])).await;
    assert_eq!(
        named(&batch, "preprocess_input").text("ml.input.text"),
        None
    );
    assert!(!said.contains("xyzzy"));
}
