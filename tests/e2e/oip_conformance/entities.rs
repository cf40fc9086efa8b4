//! Data ids that cannot be predicted, and a feature store that does not answer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::Case;
use super::data::{HOLE, STALE, data_ids};
use super::json::numbers;
use super::target::{Target, output, output_names, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("rows fail one by one", partial_failures),
    (
        "failed rows add the error output even if it was not requested",
        failures_beside_chosen_outputs,
    ),
    ("no row can be predicted", no_good_row),
    ("no entity is known", all_unknown),
    ("a failing feature store", failing_feature_store),
    (
        "a slow feature store and a short timeout",
        slow_feature_store,
    ),
    ("an injected fault in the service", fault),
];

fn partial_failures(target: &Target<'_>) -> Result<()> {
    let ids = ["wine-0001", "no-such-wine", HOLE, STALE, "wine-0002", ""];
    let answer = target.infer_json(&json!({"id": "p", "inputs": [data_ids(&ids)]}))?;
    same(
        "outputs",
        &output_names(&answer),
        &vec!["label", "confidence", "probabilities", "error"],
    )?;
    let error = output(&answer, "error")?;
    same(
        "error",
        &json!([error["datatype"], error["shape"]]),
        &json!(["BYTES", [6]]),
    )?;
    let expected = json!([
        "",
        "unknown_entity",
        "missing_features",
        "outside_max_age",
        "",
        "unknown_entity"
    ]);
    same("error", &error["data"], &expected)?;
    let good = target.infer_json(&json!({"inputs": [data_ids(&["wine-0001", "wine-0002"])]}))?;
    ensure!(
        output(&good, "error").is_err(),
        "an error output without errors"
    );
    let labels = &output(&good, "label")?["data"];
    same(
        "label",
        &output(&answer, "label")?["data"],
        &json!([labels[0], "", "", "", labels[1], ""]),
    )?;
    let (found, alone) = (
        numbers(output(&answer, "probabilities")?)?,
        numbers(output(&good, "probabilities")?)?,
    );
    let expected = [&alone[..2], &[0.0; 6], &alone[2..], &[0.0; 2]].concat();
    same("probabilities", &found, &expected)?;
    let (found, alone) = (
        numbers(output(&answer, "confidence")?)?,
        numbers(output(&good, "confidence")?)?,
    );
    same(
        "confidence",
        &found,
        &vec![alone[0], 0.0, 0.0, 0.0, alone[1], 0.0],
    )
}

fn failures_beside_chosen_outputs(target: &Target<'_>) -> Result<()> {
    let body =
        json!({"inputs": [data_ids(&["wine-0001", HOLE])], "outputs": [{"name": "confidence"}]});
    same(
        "outputs",
        &output_names(&target.infer_json(&body)?),
        &vec!["confidence", "error"],
    )
}

fn no_good_row(target: &Target<'_>) -> Result<()> {
    let answer =
        target.infer_json(&json!({"inputs": [data_ids(&[STALE, "no-such-wine", HOLE])]}))?;
    let expected = json!(["outside_max_age", "unknown_entity", "missing_features"]);
    same("error", &output(&answer, "error")?["data"], &expected)?;
    same(
        "label",
        &output(&answer, "label")?["data"],
        &json!(["", "", ""]),
    )?;
    // Nothing was computed, so there is no span to point at.
    ensure!(
        answer["parameters"].get("traceparent").is_none(),
        "{}",
        answer["parameters"]
    );
    same(
        "probabilities",
        &numbers(output(&answer, "probabilities")?)?,
        &vec![0.0; 6],
    )
}

fn all_unknown(target: &Target<'_>) -> Result<()> {
    for ids in [&["no-such-wine"][..], &["no-such-wine", "", "neither"]] {
        let reply = target
            .infer(json!({"inputs": [data_ids(ids)]}).to_string())
            .send()?;
        reply.refused(404, "unknown_entity")?;
    }
    Ok(())
}

fn failing_feature_store(target: &Target<'_>) -> Result<()> {
    let body = json!({"inputs": [data_ids(&["wine-0001"])]}).to_string();
    for fault in ["error", "drop"] {
        let call = target
            .infer(body.clone())
            .baggage(format!("fault=feature-store:{fault}"));
        call.send()?.refused(503, "feature_store_unavailable")?;
    }
    target.infer(body).send()?.json_ok()?;
    Ok(())
}

fn slow_feature_store(target: &Target<'_>) -> Result<()> {
    let body = json!({"inputs": [data_ids(&["wine-0001"])], "parameters": {"timeout": 50_000}})
        .to_string();
    let begun = Instant::now();
    let reply = target
        .infer(body)
        .baggage("fault=feature-store:latency:5000")
        .send()?;
    reply.refused(504, "deadline_passed")?;
    // The store would have taken five seconds.
    ensure!(
        begun.elapsed() < Duration::from_secs(4),
        "the answer took {:?}",
        begun.elapsed()
    );
    Ok(())
}

fn fault(target: &Target<'_>) -> Result<()> {
    let body = json!({"inputs": [data_ids(&["wine-0001"])]}).to_string();
    let call = target
        .infer(body.clone())
        .baggage(format!("fault={}:error", target.expected.service));
    call.send()?.refused(500, "fault_injected")?;
    target
        .infer(body)
        .baggage("fault=somebody-else:error")
        .send()?
        .json_ok()?;
    Ok(())
}
