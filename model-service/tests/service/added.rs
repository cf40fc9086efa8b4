//! Models that were trained elsewhere: added from a folder, served, and refused when they do not fit.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use harness::{Answer, BertFolder};
use http::Request;
use model_service::embedder::Embedder;
use model_service::repository::{AddOptions, Manifest, add};
use serde_json::{Value, json};

use crate::server::{Service, nobody, start_with};
use crate::texts::{body, output, trace_with};

const GOOD: &str = "The pictures are excellent.";
const BAD: &str = "The camera is terrible.";

fn add_as(name: &str, folder: &Path, models: &Path) -> Result<Manifest, String> {
    let options = AddOptions {
        folder: folder.to_path_buf(),
        name: Some(name.to_owned()),
        model_repository: models.to_path_buf(),
    };
    add(&options).map_err(|error| telemetry::chain(&error))
}

/// A service with a model from a folder.
async fn serving(folder: &BertFolder) -> Service {
    start_with(nobody(), |models| {
        let place = models.with_file_name("added");
        folder.write(&place).unwrap();
        add_as("added", &place, models).unwrap();
    })
    .await
}

async fn ask(service: &Service, body: &Value) -> Answer {
    let request = Request::post("/v2/models/added/infer");
    service.send(request, Bytes::from(body.to_string())).await
}

fn numbers(values: &Value) -> Vec<f64> {
    let values = values.as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

#[tokio::test]
async fn a_sentence_encoder_answers_with_vectors() {
    let folder = BertFolder::sentence_encoder();
    let service = serving(&folder).await;
    let texts = [GOOD, "", BAD, "xyzzy"];
    let answer = ask(&service, &body(&json!(texts))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let outputs = &answer.json()["outputs"];
    assert_eq!(outputs[0]["name"], "embedding");
    assert_eq!(outputs[0]["datatype"], "FP32");
    assert_eq!(outputs[0]["shape"], json!([4, BertFolder::WIDTH]));
    assert_eq!(
        output(&answer, "error"),
        json!(["", "empty_text", "", "unknown_words"])
    );
    let embedder = Embedder::of_folder(&service.models.with_file_name("added")).unwrap();
    let vectors = embedder
        .embed(&embedder.tokens(&[GOOD, BAD]).unwrap())
        .unwrap();
    let (first, last) = vectors.split_at(BertFolder::WIDTH);
    let zeros = [0.0; BertFolder::WIDTH];
    let expected = [first, &zeros, last, &zeros].concat();
    for (served, expected) in numbers(&outputs[0]["data"]).iter().zip(expected) {
        assert!(
            (served - f64::from(expected)).abs() < 1e-5,
            "{served} {expected}"
        );
    }
    assert_ne!(first, last);
}

#[tokio::test]
async fn a_sentence_encoder_is_described_and_its_binary_output_is_the_same() {
    let service = serving(&BertFolder::sentence_encoder()).await;
    let width = BertFolder::WIDTH;
    let metadata = service.get("/v2/models/added").await.json();
    assert_eq!(metadata["versions"], json!(["1"]));
    let text = json!([{"name": "text", "datatype": "BYTES", "shape": [-1]}]);
    assert_eq!(metadata["inputs"], text);
    let embedding = json!([{"name": "embedding", "datatype": "FP32", "shape": [-1, width]}]);
    assert_eq!(metadata["outputs"], embedding);
    let config = service.get("/v2/models/added/config").await.json();
    let embedding = json!([{"name": "embedding", "data_type": "TYPE_FP32", "dims": [-1, width]}]);
    assert_eq!(config["output"], embedding);

    let mut request = body(&json!([GOOD]));
    let plain = ask(&service, &request).await;
    request["outputs"] = json!([{"name": "embedding", "parameters": {"binary_data": true}}]);
    let binary = ask(&service, &request).await;
    assert_eq!(binary.status, 200, "{binary:?}");
    let values = binary.body[binary.body.len() - 4 * width..].chunks_exact(4);
    let values: Vec<f32> = values
        .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
        .collect();
    let plain = numbers(&output(&plain, "embedding"));
    let plain: Vec<f32> = plain.into_iter().map(|value| value as f32).collect();
    assert_eq!(values, plain);

    request["outputs"] = json!([{"name": "label"}]);
    let refused = ask(&service, &request).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    // Nothing is known of its data, so nothing is compared with them.
    let drift = service.get("/v2/models/added/drift").await.json();
    assert_eq!(drift["versions"][0]["waiting_rows"], 0, "{drift}");
    assert_eq!(drift["versions"][0]["drift_detected"], false);
}

#[tokio::test]
async fn a_sequence_classifier_answers_with_its_labels() {
    let folder = BertFolder::classifier(&["sad", "happy", "neither"]);
    let service = serving(&folder).await;
    let answer = ask(&service, &body(&json!([GOOD, "", BAD]))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (labels, confidences) = (output(&answer, "label"), output(&answer, "confidence"));
    let rows = numbers(&output(&answer, "probabilities"));
    for (at, row) in rows.chunks_exact(3).enumerate().filter(|(at, _)| *at != 1) {
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{row:?}");
        let best = row.iter().copied().fold(0.0, f64::max);
        let class = row.iter().position(|value| *value >= best).unwrap();
        assert_eq!(labels[at], ["sad", "happy", "neither"][class]);
        assert!((confidences[at].as_f64().unwrap() - best).abs() < 1e-6);
    }
    assert_eq!(
        (&labels[1], &output(&answer, "error")[1]),
        (&json!(""), &json!("empty_text"))
    );
}

/// The layers of a trace, in their order.
fn layers(tree: &str) -> Vec<String> {
    let lines = tree
        .lines()
        .filter_map(|line| line.trim().strip_prefix("layer "));
    let lines = lines.map(|line| line.trim_end_matches(" INTERNAL").to_owned());
    lines.collect()
}

#[tokio::test]
async fn a_trace_has_a_span_for_each_layer() {
    let encoder = ["embeddings", "encoder_1", "encoder_2"];
    for (folder, after) in [
        (BertFolder::sentence_encoder(), &["pooling"][..]),
        (
            BertFolder::classifier(&["no", "yes"]),
            &["pooler", "classifier"],
        ),
    ] {
        let place = tempfile::tempdir().unwrap();
        let models = place.path().join("models");
        folder.write(place.path()).unwrap();
        add_as("text_sentiment", place.path(), &models).unwrap();
        let (trace, _) = trace_with(&models, &[], &json!([GOOD])).await;
        let tree = harness::tree(&trace);
        assert_eq!(layers(&tree), [&encoder[..], after].concat(), "{tree}");
        for stage in [
            "predict text_sentiment",
            "preprocess_input",
            "postprocess_output",
        ] {
            assert!(tree.contains(stage), "{tree}");
        }
    }
}

#[tokio::test]
async fn a_new_version_answers_without_a_restart_and_can_be_taken_back() {
    let folder = BertFolder::sentence_encoder();
    let service = serving(&folder).await;
    let before = output(&ask(&service, &body(&json!([GOOD]))).await, "embedding");
    let mut other = folder.clone();
    let words = other.tensors.get_mut("embeddings.word_embeddings.weight");
    words.unwrap().1.reverse();
    let place = service.models.with_file_name("added");
    other.write(&place).unwrap();
    let manifest = add_as("added", &place, &service.models).unwrap();
    assert_eq!(manifest.version, "2");
    let post = |path: &str| Request::post(format!("/v2/repository/{path}"));
    let index = service.send(post("index"), Bytes::new()).await.json();
    let versions = index.as_array().unwrap().iter();
    let versions: Vec<_> = versions
        .map(|entry| (&entry["version"], &entry["state"]))
        .collect();
    assert_eq!(
        versions,
        [
            (&json!("1"), &json!("READY")),
            (&json!("2"), &json!("READY"))
        ]
    );
    let after = ask(&service, &body(&json!([GOOD]))).await;
    assert_eq!(after.json()["model_version"], "2");
    assert_ne!(output(&after, "embedding"), before);
    let load = Bytes::from_static(br#"{"parameters":{"version":"1"}}"#);
    let loaded = service.send(post("models/added/load"), load).await;
    assert_eq!(loaded.status, 200, "{loaded:?}");
    let again = ask(&service, &body(&json!([GOOD]))).await;
    assert_eq!(output(&again, "embedding"), before);
}

/// Texts are cut off on the right.
#[tokio::test]
async fn a_long_text_is_cut_off() {
    let service = serving(&BertFolder::sentence_encoder()).await;
    let long = "camera ".repeat(500);
    let cut = "camera ".repeat(BertFolder::MAX_TOKENS - 2);
    let answer = ask(&service, &body(&json!([long, cut]))).await;
    let values = numbers(&output(&answer, "embedding"));
    let (long, cut) = values.split_at(BertFolder::WIDTH);
    assert_eq!(long, cut);
}

type Damage = fn(&mut BertFolder, &Path);

fn remove(file: &'static str) -> impl Fn(&Path) {
    move |folder| fs::remove_file(folder.join(file)).unwrap()
}

/// Each damage, the file that the message names, and a word of what it says.
fn refused(folder: &BertFolder, file: &str, word: &str, damage: impl Fn(&Path)) {
    let place = tempfile::tempdir().unwrap();
    let (from, models) = (place.path().join("from"), place.path().join("models"));
    folder.write(&from).unwrap();
    damage(&from);
    let said = add_as("added", &from, &models).unwrap_err();
    assert!(
        said.contains(file) && said.contains(word),
        "{file}, {word}: {said}"
    );
    assert!(!models.exists(), "{word}: something was written");
}

#[test]
fn files_that_are_missing_or_damaged_are_named() {
    let folder = BertFolder::sentence_encoder();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        refused(&folder, file, "the folder of an encoder has", remove(file));
        let write = |content: &'static [u8]| {
            move |folder: &Path| fs::write(folder.join(file), content).unwrap()
        };
        refused(&folder, file, "is empty; download it again", write(b""));
        refused(
            &folder,
            file,
            "git lfs pull",
            write(b"version https://git-lfs.github.com/spec/v1\n"),
        );
        let replaced = |folder: &Path| {
            remove(file)(folder);
            fs::create_dir(folder.join(file)).unwrap();
        };
        refused(&folder, file, "it is no file", replaced);
        let word = if file == "config.json" {
            "is not what Hugging Face writes"
        } else {
            "does not fit"
        };
        refused(&folder, file, word, write(b"<html>Not found</html>"));
        let huge = |folder: &Path| {
            // A file with a hole: it takes no place on the disk.
            let file = fs::File::options()
                .write(true)
                .open(folder.join(file))
                .unwrap();
            file.set_len(5 << 30).unwrap();
        };
        refused(&folder, file, "MB allowed", huge);
    }
    let cut = |folder: &Path| {
        let path = folder.join("model.safetensors");
        let content = fs::read(&path).unwrap();
        fs::write(path, &content[..content.len() / 2]).unwrap();
    };
    refused(&folder, "model.safetensors", "weights", cut);
    let place = tempfile::tempdir().unwrap();
    let said = add_as("added", &place.path().join("nowhere"), place.path()).unwrap_err();
    assert!(said.contains("nowhere/config.json"), "{said}");
}

#[test]
fn configurations_that_do_not_fit_are_explained() {
    let cases: [(&str, Value, &str); 15] = [
        (
            "model_type",
            json!("distilbert"),
            "model_type is \"distilbert\"",
        ),
        ("model_type", Value::Null, "config.json"),
        ("hidden_act", json!("relu"), "hidden_act is \"relu\""),
        (
            "position_embedding_type",
            json!("relative_key"),
            "position_embedding_type",
        ),
        ("hidden_size", json!(18), "[2, 18] is needed"),
        ("hidden_size", json!(u64::MAX), "hidden_size"),
        ("hidden_size", json!(-1), "-1"),
        ("num_hidden_layers", json!(3), "encoder.layer.2"),
        ("num_hidden_layers", json!(u64::MAX), "encoder.layer.2"),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        (
            "vocab_size",
            json!(11),
            "it gives 12 tokens, and vocab_size of config.json is 11",
        ),
        (
            "vocab_size",
            json!(1_u64 << 40),
            "embeddings.word_embeddings.weight has the shape",
        ),
        (
            "max_position_embeddings",
            json!(2),
            "a text has 2 tokens at most",
        ),
        (
            "architectures",
            json!(["BertForTokenClassification"]),
            "a sentence encoder (BertModel)",
        ),
        (
            "architectures",
            json!(["BertForSequenceClassification"]),
            "pooler.dense.weight is missing",
        ),
    ];
    for (field, value, word) in cases {
        let mut folder = BertFolder::sentence_encoder();
        folder.config[field] = value;
        refused(&folder, "config.json", word, |_| {});
    }
    let mut folder = BertFolder::sentence_encoder();
    folder
        .config
        .as_object_mut()
        .unwrap()
        .remove("intermediate_size");
    refused(
        &folder,
        "config.json",
        "missing field `intermediate_size`",
        |_| {},
    );
}

#[test]
fn labels_that_cannot_be_used_are_explained() {
    let cases: [(&str, Value, &str); 7] = [
        ("id2label", json!({"0": "only"}), "at least two"),
        (
            "id2label",
            json!({"0": "no", "2": "yes"}),
            "none of them for 1",
        ),
        ("id2label", json!({"0": "no", "1": " "}), "has no name"),
        ("id2label", json!({"0": "no", "1": "no"}), "twice"),
        (
            "id2label",
            json!({"0": "a", "1": "b", "2": "c"}),
            "classifier.weight has the shape",
        ),
        ("id2label", json!(["no", "yes"]), "config.json"),
        (
            "problem_type",
            json!("multi_label_classification"),
            "single_label_classification",
        ),
    ];
    for (field, value, word) in cases {
        let mut folder = BertFolder::classifier(&["no", "yes"]);
        folder.config[field] = value;
        refused(&folder, "config.json", word, |_| {});
    }
    let mut folder = BertFolder::classifier(&["no", "yes"]);
    folder.config["id2label"] = Value::Null;
    folder.config["num_labels"] = json!(1_000_000);
    refused(&folder, "config.json", "more than the 1000 allowed", |_| {});
}

#[test]
fn tensors_and_tokenizers_that_do_not_fit_are_named() {
    let cases: [(&str, &str, Damage); 6] = [
        (
            "model.safetensors",
            "tensor encoder.layer.1.output.dense.bias is missing",
            |folder, _| {
                folder.tensors.remove("encoder.layer.1.output.dense.bias");
            },
        ),
        (
            "model.safetensors",
            "has the shape [24, 16], and [16, 24] is needed",
            |folder, _| {
                let tensor = folder
                    .tensors
                    .get_mut("encoder.layer.0.output.dense.weight");
                tensor.unwrap().0.reverse();
            },
        ),
        (
            "model.safetensors",
            "embeddings.LayerNorm.weight has a value that is no finite",
            |folder, _| {
                let tensor = folder.tensors.get_mut("embeddings.LayerNorm.weight");
                tensor.unwrap().1[3] = f32::NAN;
            },
        ),
        ("model.safetensors", "not a number", |folder, _| {
            let tensor = folder
                .tensors
                .get_mut("encoder.layer.0.intermediate.dense.weight");
            tensor.unwrap().1.fill(f32::MAX);
        }),
        (
            "tokenizer.json",
            "it cannot encode every text",
            |folder, _| {
                folder.tokenizer["model"]["vocab"]
                    .as_object_mut()
                    .unwrap()
                    .remove("[UNK]");
            },
        ),
        ("tokenizer.json", "does not fit", |folder, _| {
            folder.tokenizer["model"]["type"] = json!("Novel");
        }),
    ];
    for (file, word, damage) in cases {
        let mut folder = BertFolder::sentence_encoder();
        damage(&mut folder, Path::new(""));
        refused(&folder, file, word, |_| {});
    }
    let mut folder = BertFolder::classifier(&["no", "yes"]);
    folder.tokenizer["post_processor"] = Value::Null;
    refused(&folder, "tokenizer.json", "[CLS]", |_| {});
}

#[test]
fn what_sentence_transformers_adds_must_be_supported() {
    let folder = BertFolder::sentence_encoder();
    for (file, content, word) in [
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode_cls_token":true}"#,
            "pooling_mode_cls_token",
        ),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode_mean_tokens":true,"pooling_mode_max_tokens":true}"#,
            "only [\"pooling_mode_mean_tokens\"] is supported",
        ),
        (
            "modules.json",
            r#"[{"type":"sentence_transformers.models.Dense"}]"#,
            "models.Dense",
        ),
        ("modules.json", "", "is empty"),
        (
            "sentence_bert_config.json",
            r#"{"max_seq_length":1}"#,
            "a text has 1 tokens at most",
        ),
        (
            "sentence_bert_config.json",
            "[]",
            "is not what Hugging Face writes there",
        ),
    ] {
        let named = if word.contains("at most") {
            "tokenizer.json"
        } else {
            file
        };
        refused(&folder, named, word, |folder| {
            fs::create_dir_all(folder.join("1_Pooling")).unwrap();
            fs::write(folder.join(file), content).unwrap();
        });
    }
}

#[test]
fn a_name_must_fit_and_a_model_keeps_its_kind() {
    let place = tempfile::tempdir().unwrap();
    let (from, models) = (place.path().join("from"), place.path().join("models"));
    BertFolder::sentence_encoder().write(&from).unwrap();
    for name in ["", ".hidden", "a/b", "../up", "ä", &"a".repeat(129)] {
        let said = add_as(name, &from, &models).unwrap_err();
        assert!(said.contains("--name"), "{said}");
    }
    let options = AddOptions {
        folder: from.join("../from/"),
        name: None,
        model_repository: models.clone(),
    };
    assert_eq!(add(&options).unwrap().name, "from");
    BertFolder::classifier(&["no", "yes"]).write(&from).unwrap();
    let said = add_as("from", &from, &models).unwrap_err();
    assert!(
        said.contains("texts to vectors") && said.contains("texts to classes"),
        "{said}"
    );
    let left: Vec<_> = fs::read_dir(models.join("from")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}
