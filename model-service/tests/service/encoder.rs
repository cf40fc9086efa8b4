//! The encoder with the weights of all-MiniLM-L6-v2: its vectors, and a classifier on it.

use std::path::PathBuf;

use harness::BertFolder;
use model_service::embedder::Embedder;
use model_service::repository::{AddOptions, add};
use model_service::training::{TrainError, TrainOptions, train};
use serde_json::{Value, json};

use crate::server::{nobody, start_with};
use crate::texts::{GOOD, REVIEWS, body, infer, output, trace_with};
use crate::trace::named;

/// Made by `tests/minilm/make.py`.
const VECTORS: &str = include_str!("../minilm/vectors.json");

fn encoder() -> PathBuf {
    std::env::var_os("THROUGHLINE_TEST_ENCODER")
        .expect("THROUGHLINE_TEST_ENCODER names the folder of an encoder")
        .into()
}

#[tokio::test]
#[ignore = "needs weights: set THROUGHLINE_TEST_ENCODER, as .ci/components/with does"]
async fn vectors_are_those_of_another_implementation() {
    let embedder = Embedder::of_folder(&encoder()).unwrap();
    let known: Value = serde_json::from_str(VECTORS).unwrap();
    let known = known["texts"].as_array().unwrap();
    let texts: Vec<&str> = known
        .iter()
        .map(|text| text["text"].as_str().unwrap())
        .collect();
    let tokens = embedder.tokens(&texts).unwrap();
    let ids: Vec<Value> = tokens.texts().map(|ids| json!(ids)).collect();
    let known_ids: Vec<Value> = known.iter().map(|text| text["ids"].clone()).collect();
    assert_eq!(ids, known_ids);
    let vectors = embedder.embed(&tokens).unwrap();
    for (text, vector) in known.iter().zip(vectors.chunks_exact(embedder.width())) {
        for (ours, theirs) in vector.iter().zip(text["vector"].as_array().unwrap()) {
            let theirs = theirs.as_f64().unwrap();
            let difference = (f64::from(*ours) - theirs).abs();
            assert!(difference < 1e-5, "{ours} {theirs} of {}", text["text"]);
        }
    }
    is_served(&texts, known).await;
    // Tokens on the right of a long text are cut off.
    let long = embedder.tokens(&["good ".repeat(1_000)]).unwrap();
    let (ids, end) = (long.texts().next().unwrap(), 102);
    assert_eq!((ids.len(), ids.last()), (256, Some(&end)));
}

/// The same vectors from a service that the folder was added to.
async fn is_served(texts: &[&str], known: &[Value]) {
    let service = start_with(nobody(), |models| {
        let options = AddOptions {
            folder: encoder(),
            name: Some("text_sentiment".to_owned()),
            model_repository: models.to_path_buf(),
        };
        add(&options).unwrap();
    })
    .await;
    let answer = infer(&service, &body(&json!(texts))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let outputs = &answer.json()["outputs"];
    assert_eq!(outputs[0]["name"], "embedding");
    assert_eq!(outputs[0]["shape"], json!([texts.len(), 384]));
    let values = outputs[0]["data"].as_array().unwrap();
    for (text, vector) in known.iter().zip(values.chunks_exact(384)) {
        for (ours, theirs) in vector.iter().zip(text["vector"].as_array().unwrap()) {
            let difference = (ours.as_f64().unwrap() - theirs.as_f64().unwrap()).abs();
            assert!(difference < 1e-5, "{ours} {theirs} of {}", text["text"]);
        }
    }
}

#[tokio::test]
#[ignore = "needs weights: set THROUGHLINE_TEST_ENCODER, as .ci/components/with does"]
async fn a_layer_on_the_encoder_is_trained_and_served() {
    // Enough reviews to tell good from bad, and few enough for a build without optimisation.
    let data = tempfile::tempdir().unwrap();
    let reviews = std::fs::read_to_string(REVIEWS).unwrap();
    let few: Vec<&str> = reviews.lines().take(500).collect();
    let file = data.path().join("few.csv");
    std::fs::write(&file, few.join("\n")).unwrap();
    let service = start_with(nobody(), |models| {
        let options = TrainOptions::of_texts(&file, models).with_encoder(encoder());
        let report = train(&options).unwrap();
        let metrics = &report.manifest.metrics;
        assert!(
            metrics.validation_accuracy > metrics.majority_baseline,
            "{metrics:?}"
        );
    })
    .await;
    let texts = json!([GOOD, "", "The zoom is terrible, I am disappointed."]);
    let answer = infer(&service, &body(&texts)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        output(&answer, "label"),
        json!(["positive", "", "negative"])
    );
    assert_eq!(output(&answer, "error"), json!(["", "empty_text", ""]));

    let (trace, _) = trace_with(&service.models, &[], &json!([GOOD])).await;
    let layers = (1..=6).map(|number| format!("encoder_{number}"));
    let first = ["embeddings".to_owned()];
    let last = ["pooling", "linear_1"].map(str::to_owned);
    let layers = first.into_iter().chain(layers).chain(last);
    let layers: Vec<String> = layers
        .map(|layer| format!("      layer {layer} INTERNAL\n"))
        .collect();
    let layers = layers.concat();
    let expected = format!(
        "\
POST /v2/models/{{model_name}}/infer SERVER
  predict text_sentiment INTERNAL
    preprocess_input INTERNAL
    model_inference INTERNAL
{layers}    postprocess_output INTERNAL
"
    );
    assert_eq!(harness::tree(&trace), expected);
    let preprocess = named(&trace, "preprocess_input");
    assert_eq!(preprocess.text("ml.input.tokens").as_deref(), Some("10"));
}

/// Each fault of a folder is tested in `added.rs`; a training reads the same way.
#[test]
fn a_training_refuses_a_folder_that_holds_no_encoder_and_writes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let (from, models) = (place.path().join("from"), place.path().join("models"));
    let refused = |word: &str| {
        let options = TrainOptions::of_texts(REVIEWS, &models).with_encoder(&from);
        let error = train(&options).unwrap_err();
        let TrainError::Encoder(reason) = &error else {
            panic!("{error}");
        };
        let reason = telemetry::chain(reason);
        assert!(reason.contains(word), "{reason}");
    };
    refused("cannot read");
    let mut folder = BertFolder::sentence_encoder();
    folder.config["vocab_size"] = json!(3);
    folder.write(&from).unwrap();
    refused("they are of different models");
    folder.config["vocab_size"] = json!(13);
    folder.write(&from).unwrap();
    refused("embeddings.word_embeddings.weight has the shape");
    assert!(!models.exists());
}
