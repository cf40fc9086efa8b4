//! Texts through the whole system: the tree of a miss, the hit, row errors, and what is never stored
//! or exported.

use anyhow::{Result, ensure};
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::{JsonAnswer, System, path, start};

const MISS: &str = "\
POST /v1/predictions SERVER gateway
  SELECT predictions CLIENT gateway
  POST CLIENT gateway
    POST /v2/models/{model_name}/infer SERVER model-service
      predict text_sentiment INTERNAL model-service
        preprocess_input INTERNAL model-service
        model_inference INTERNAL model-service
          layer embedding_bag INTERNAL model-service
          layer linear_1 INTERNAL model-service
        postprocess_output INTERNAL model-service
  INSERT predictions CLIENT gateway
";

const POSITIVE: &str = "I love this camera, the xyzzy pictures are excellent.";
const NEGATIVE: &str = "It stopped working after a week and support was terrible.";

fn ask(system: &System, texts: &Value) -> Result<JsonAnswer> {
    let body = json!({"model": "text_sentiment", "texts": texts}).to_string();
    let url = format!("{}/v1/predictions", system.urls.gateway);
    system.post(&url, body, &[])
}

#[test]
fn a_text_is_one_tree_and_its_words_are_nowhere_else() -> Result<()> {
    let system = System::start_with_texts()?;
    let miss = ask(&system, &json!([POSITIVE]))?;
    assert_eq!(miss.status, StatusCode::OK, "{}", miss.body);
    let prediction = miss.prediction(0);
    assert_eq!(
        (&prediction["label"], &prediction["cached"]),
        (&json!("positive"), &json!(false)),
        "{prediction}"
    );
    let trace = system.trace_with_outline(&miss.trace_id(), MISS)?;
    let hit = ask(&system, &json!([POSITIVE]))?;
    assert_eq!(hit.prediction(0)["cached"], json!(true), "{}", hit.body);
    let said = format!("{trace:?}{:?}", system.logs(&trace.trace_id, 0)?);
    assert!(!said.contains("xyzzy"), "{said}");
    let word = b"xyzzy";
    for file in ["predictions.db", "predictions.db-wal"] {
        let store = std::fs::read(system.data.path().join(file))?;
        let stored = store.windows(word.len()).any(|window| window == word);
        assert!(!stored, "the text is stored in {file}");
    }

    // Bad texts fail alone; a request of nothing else is an error that says why.
    let long = "good ".repeat(2_001);
    let mixed = ask(
        &system,
        &json!([NEGATIVE, " \n", long, "qwghlm", "go\u{0}od"]),
    )?;
    assert_eq!(mixed.status, StatusCode::OK, "{}", mixed.body);
    let codes = (0..5).map(|entry| mixed.prediction(entry)["error"]["code"].clone());
    let codes: Vec<Value> = codes.collect();
    let expected = [
        Value::Null,
        json!("empty_text"),
        json!("text_too_long"),
        json!("unknown_words"),
        Value::Null,
    ];
    assert_eq!(codes, expected, "{}", mixed.body);
    assert_eq!(mixed.prediction(0)["label"], json!("negative"));
    let alone = ask(&system, &json!(["qwghlm"]))?;
    assert_eq!(
        (alone.status, &alone.body["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("unknown_words")),
        "{}",
        alone.body
    );
    for texts in [json!([1]), json!("good"), json!([])] {
        let refused = ask(&system, &texts)?;
        assert!(
            refused.status.is_client_error(),
            "{texts}: {}",
            refused.body
        );
    }
    load_sends_texts(&system)
}

fn load_sends_texts(system: &System) -> Result<()> {
    let file = system.data.path().join("load.json");
    let args = [
        "load",
        "--gateway",
        &system.urls.gateway,
        "--mix",
        "text=1",
        "--rate",
        "20",
        "--duration",
        "1s",
        "--output",
        path(&file),
    ];
    let exit = start(&args, &[])?.wait()?;
    ensure!(exit.success(), "{}", exit.output());
    let result: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    assert_eq!(result["outcomes"], json!({"200": 20}), "{result}");
    Ok(())
}
