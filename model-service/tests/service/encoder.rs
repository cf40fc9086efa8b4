//! The encoder with the weights of all-MiniLM-L6-v2: its vectors, and a classifier on it.

use std::path::PathBuf;

use model_service::embedder::{Embedder, EncoderFiles};
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

#[test]
#[ignore = "needs weights: set THROUGHLINE_TEST_ENCODER, as .ci/components/with does"]
fn vectors_are_those_of_another_implementation() {
    let embedder = Embedder::new(&EncoderFiles::read(&encoder()).unwrap()).unwrap();
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
    // Tokens on the right of a long text are cut off.
    let long = embedder.tokens(&["good ".repeat(1_000)]).unwrap();
    let (ids, end) = (long.texts().next().unwrap(), 102);
    assert_eq!((ids.len(), ids.last()), (256, Some(&end)));
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
    let layers = layers.map(|layer| format!("      layer {layer} INTERNAL\n"));
    let layers = layers.collect::<Vec<_>>().concat();
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

#[test]
fn a_folder_that_holds_no_encoder_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    let refuse = |word: &str| {
        let options = TrainOptions::of_texts(REVIEWS, &models).with_encoder(folder.path());
        let error = train(&options).unwrap_err();
        let TrainError::Encoder(reason) = &error else {
            panic!("{error}");
        };
        let reason = telemetry::chain(reason);
        assert!(reason.contains(word), "{reason}");
    };
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    refuse("config.json");
    write("config.json", "");
    refuse("config.json is not");
    let mut config = json!({
        "model_type": "t5", "vocab_size": 3, "hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 8, "hidden_act": "gelu",
        "max_position_embeddings": 8, "type_vocab_size": 1, "layer_norm_eps": 1e-12,
    });
    write("config.json", &config.to_string());
    refuse("tokenizer.json");
    write("tokenizer.json", "{}");
    refuse("model.safetensors");
    write("model.safetensors", "");
    refuse("tokenizer");
    let tokenizer = |words: usize| {
        let words = (0..words).map(|word| (format!("w{word}"), json!(word)));
        let words: serde_json::Map<String, Value> = words.collect();
        json!({"version": "1.0", "added_tokens": [], "model": {
            "type": "WordLevel", "vocab": words, "unk_token": "w0",
        }})
    };
    write("tokenizer.json", &tokenizer(4).to_string());
    refuse("4 tokens");
    write("tokenizer.json", &tokenizer(3).to_string());
    refuse("model_type");
    config["model_type"] = json!("bert");
    write("config.json", &config.to_string());
    refuse("weights");
    write(
        "1_Pooling/config.json",
        r#"{"pooling_mode_mean_tokens": false}"#,
    );
    refuse("pooling");
    assert!(!models.exists());
}
