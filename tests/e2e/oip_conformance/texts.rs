//! Texts: a service with a model for them predicts row by row, another one does not know the model.

use anyhow::Result;
use serde_json::{Value, json};

use super::Case;
use super::target::{Reply, Target, output, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("texts are predicted, and a bad one fails alone", rows),
    ("what is no text is refused", refusals),
];

const MODEL: &str = "text_sentiment";

fn infer(target: &Target<'_>, inputs: &Value) -> Result<Reply> {
    let path = format!("/v2/models/{MODEL}/infer");
    target
        .call(http::Method::POST, &path)
        .body(json!({ "inputs": inputs }).to_string())
        .send()
}

fn input(datatype: &str, data: &Value) -> Value {
    let rows = data.as_array().map_or(0, Vec::len);
    json!([{"name": "text", "datatype": datatype, "shape": [rows], "data": data}])
}

fn rows(target: &Target<'_>) -> Result<()> {
    let texts = json!([
        "The pictures are excellent.",
        "",
        "a".repeat(10_001),
        "qwghlm",
        "Terrible support."
    ]);
    let reply = infer(target, &input("BYTES", &texts))?;
    if !target.expected.models.contains(&MODEL) {
        return reply.refused(404, "unknown_model");
    }
    let answer = reply.json_ok()?;
    let expected = json!(["", "empty_text", "text_too_long", "unknown_words", ""]);
    same("error", &output(&answer, "error")?["data"], &expected)?;
    let labels = json!(["positive", "", "", "", "negative"]);
    same("label", &output(&answer, "label")?["data"], &labels)
}

fn refusals(target: &Target<'_>) -> Result<()> {
    if !target.expected.models.contains(&MODEL) {
        return Ok(());
    }
    for inputs in [
        input("BYTES", &json!([1])),
        input("FP32", &json!([1.0])),
        input("BYTES", &json!([])),
        json!([]),
    ] {
        infer(target, &inputs)?.refused(400, "bad_request")?;
    }
    Ok(())
}
