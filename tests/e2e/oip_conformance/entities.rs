//! Data ids that cannot be predicted, and a feature store that does not answer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::Case;
use super::data::{HOLE, HUGE, STALE, changed, data_ids, features, wines};
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
    ("one row overflows", overflows),
    ("one of a thousand rows overflows", one_of_a_thousand),
    ("no row can be computed", only_overflows),
    ("an entity whose features overflow", overflowing_entity),
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

/// The largest finite FP32.
const LARGEST: f64 = f32::MAX as f64;

fn overflows(target: &Target<'_>) -> Result<()> {
    let good = &wines()[..1];
    let alone = target.infer_json(&json!({"inputs": [features(good)]}))?;
    let label = output(&alone, "label")?["data"][0].clone();
    let bad = [
        vec![(1, LARGEST), (7, LARGEST)],
        vec![(1, -LARGEST)],
        vec![(7, 3.4e38)],
        // Too far away, though they can be normalised.
        vec![(3, LARGEST)],
        vec![(6, LARGEST)],
        vec![(5, -1e33)],
        vec![(4, LARGEST), (1, -LARGEST)],
    ];
    for values in bad {
        let (plain, bad) = (changed(&good[0], &[]), changed(&good[0], &values));
        for (rows, error) in [
            ([&plain, &bad, &plain], json!(["", "out_of_range", ""])),
            (
                [&bad, &plain, &bad],
                json!(["out_of_range", "", "out_of_range"]),
            ),
        ] {
            for datatype in ["FP32", "FP64"] {
                let input = json!({"name": "features", "shape": [3, 11], "datatype": datatype, "data": rows});
                let answer = target.infer_json(&json!({"inputs": [input]}))?;
                same("error", &output(&answer, "error")?["data"], &error)?;
                let expected: Vec<_> = (0..3)
                    .map(|at| {
                        if error[at] == "" {
                            label.clone()
                        } else {
                            json!("")
                        }
                    })
                    .collect();
                same(
                    "label",
                    &output(&answer, "label")?["data"],
                    &json!(expected),
                )?;
            }
        }
    }
    // A subnormal number is a number like any other, and so is a large one.
    for value in [(2, 1e-45), (6, 1e30), (3, 1e20)] {
        let input = json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": changed(&good[0], &[value])});
        let answer = target.infer_json(&json!({"inputs": [input]}))?;
        ensure!(output(&answer, "error").is_err(), "{value:?}: {answer}");
    }
    Ok(())
}

fn one_of_a_thousand(target: &Target<'_>) -> Result<()> {
    let mut rows: Vec<_> = wines()[..1000]
        .iter()
        .map(|wine| changed(wine, &[]))
        .collect();
    rows[500] = changed(&wines()[500], &[(1, LARGEST)]);
    let input = json!({"name": "features", "shape": [1000, 11], "datatype": "FP32", "data": rows});
    let answer = target.infer_json(&json!({"inputs": [input]}))?;
    let all = target.infer_json(&json!({"inputs": [features(&wines()[..1000])]}))?;
    let mut labels = output(&all, "label")?["data"].clone();
    labels[500] = json!("");
    same("label", &output(&answer, "label")?["data"], &labels)?;
    let errors = output(&answer, "error")?["data"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let failed: Vec<_> = errors
        .iter()
        .enumerate()
        .filter(|(_, error)| **error != "")
        .collect();
    same("errors", &failed, &vec![(500, &json!("out_of_range"))])
}

fn only_overflows(target: &Target<'_>) -> Result<()> {
    let row = changed(&wines()[0], &[(7, LARGEST)]);
    let input = json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": row});
    let answer = target.infer_json(&json!({"inputs": [input]}))?;
    same(
        "error",
        &output(&answer, "error")?["data"],
        &json!(["out_of_range"]),
    )?;
    same("label", &output(&answer, "label")?["data"], &json!([""]))
}

fn overflowing_entity(target: &Target<'_>) -> Result<()> {
    let answer = target
        .infer_json(&json!({"inputs": [data_ids(&["wine-0001", HUGE, HOLE, "wine-0002"])]}))?;
    let expected = json!(["", "out_of_range", "missing_features", ""]);
    same("error", &output(&answer, "error")?["data"], &expected)?;
    let good = target.infer_json(&json!({"inputs": [data_ids(&["wine-0001", "wine-0002"])]}))?;
    let labels = &output(&good, "label")?["data"];
    let expected = json!([labels[0], "", "", labels[1]]);
    same("label", &output(&answer, "label")?["data"], &expected)
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
