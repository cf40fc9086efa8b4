//! Quality after the fact through the whole system: known right and wrong labels give exactly their
//! accuracy, and their events open the traces of the predictions.

use anyhow::{Context, Result};
use harness::eventually;
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::{System, start};

const QUALITY: &str = "/v1/models/wine_quality/quality";

/// The predictions of the first wines.
fn predict(system: &System, count: usize) -> Result<Vec<Value>> {
    let ids: Vec<String> = (1..=count).map(|row| format!("wine-{row:04}")).collect();
    let body = json!({"model": "wine_quality", "data_ids": ids});
    let url = format!("{}/v1/predictions", system.urls.gateway);
    let answer = system.post(&url, body.to_string(), &[])?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let predictions = answer.body["predictions"].as_array();
    Ok(predictions.context("predictions")?.clone())
}

fn other(label: &Value) -> &'static str {
    if label == "high" { "low" } else { "high" }
}

fn version(system: &System) -> Result<Value> {
    let answer = system.get(&format!("{}{QUALITY}", system.urls.gateway))?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    Ok(answer.body["variants"][0]["versions"][0].clone())
}

fn events(system: &System) -> Result<Vec<Value>> {
    let url = format!(
        "{}/api/logs?service=gateway&limit=1000",
        system.urls.explorer
    );
    let mut logs = system.get(&url)?.body["logs"].take();
    let logs = logs.as_array_mut().map(std::mem::take).unwrap_or_default();
    let is_event = |log: &Value| log["event_name"] == "gen_ai.evaluation.result";
    Ok(logs.into_iter().filter(is_event).collect())
}

#[test]
fn known_labels_give_exactly_their_accuracy() -> Result<()> {
    let system = System::start()?;
    let predictions = predict(&system, 100)?;
    // Every fourth is said to be wrong.
    let labels: Vec<Value> = predictions
        .iter()
        .enumerate()
        .map(|(at, prediction)| {
            let own = &prediction["label"];
            let label = if at % 4 == 0 {
                json!(other(own))
            } else {
                own.clone()
            };
            json!({"data_id": prediction["data_id"], "label": label})
        })
        .collect();
    let url = format!("{}/v1/feedback", system.urls.gateway);
    let body = json!({"model": "wine_quality", "feedback": labels});
    for result in ["counted", "replaced"] {
        let answer = system.post(&url, body.to_string(), &[])?;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let entries = answer.body["feedback"].as_array().context("entries")?;
        let results = entries
            .iter()
            .filter(|entry| entry["evaluations"][0]["result"] == result);
        assert_eq!(results.count(), 100, "{}", answer.body);
    }

    let version = version(&system)?;
    let window = &version["window"];
    assert_eq!(
        (
            &window["number"],
            &window["rows"],
            &window["correct"],
            &window["accuracy"]
        ),
        (&json!(1), &json!(100), &json!(75), &json!(0.75)),
        "{version}"
    );
    assert_eq!(
        (&version["feedback"], &version["filling"]),
        (&json!(100), &Value::Null)
    );
    let confidences = predictions.iter().map(|one| one["confidence"].as_f64());
    let mean = confidences.map(Option::unwrap_or_default).sum::<f64>() / 100.0;
    let estimated = window["estimated_accuracy"].as_f64().context("a number")?;
    assert!((estimated - mean).abs() < 1e-6, "{estimated} for {mean}");
    let trained = version["validation_accuracy"]
        .as_f64()
        .context("a number")?;
    assert!((0.7..0.9).contains(&trained), "{version}");

    let metric = |name: &'static str| {
        eventually(name, || {
            let metrics = system.metrics()?;
            let points = metrics.get(name).cloned().unwrap_or_default();
            Ok((!points.is_empty()).then_some(points))
        })
    };
    let points = metric("ml.quality.accuracy")?;
    assert_eq!(points.len(), 1, "{points:?}");
    let attributes =
        json!({"model.name": "wine_quality", "ml.model_version": "1", "ml.variant": "primary"});
    assert_eq!(points[0]["attributes"], attributes);
    assert_eq!(points[0]["value"], 0.75, "{points:?}");
    let points = metric("ml.quality.estimated_accuracy")?;
    let value = points[0]["value"].as_f64().context("a number")?;
    assert!((value - mean).abs() < 1e-6, "{points:?}");

    // Each event belongs to the span of its prediction.
    let found = eventually("all events arrive", || {
        let events = events(&system)?;
        Ok((events.len() == 200).then_some(events))
    })?;
    let of_first = &predictions[0]["computed_by"];
    let incorrect = found
        .iter()
        .filter(|event| event["attributes"]["gen_ai.evaluation.score.label"] == "incorrect");
    assert_eq!(incorrect.count(), 50);
    let event = found
        .iter()
        .find(|event| {
            event["trace_id"] == of_first["trace_id"] && event["span_id"] == of_first["span_id"]
        })
        .context("an event of the first prediction")?;
    assert_eq!(event["attributes"]["gen_ai.evaluation.name"], "accuracy");
    let trace = event["trace_id"].as_str().context("an id")?;
    let opened = system.get(&format!("{}/api/traces/{trace}", system.urls.explorer))?;
    assert!(
        opened.body.to_string().contains("predict wine_quality"),
        "{}",
        opened.body
    );
    Ok(())
}

#[test]
fn the_command_sends_the_labels_of_the_held_out_wines() -> Result<()> {
    let system = System::start()?;
    let run = |more: &[&str]| -> Result<String> {
        let args = ["feedback", "--gateway", &system.urls.gateway];
        let mut command = start(&[&args[..], more].concat(), &[])?;
        assert!(command.wait()?.success(), "{}", command.output());
        Ok(command.output())
    };
    let printed = run(&[])?;
    assert!(
        printed.contains("sent the true labels of 319 held-out wines"),
        "{printed}"
    );
    let once = version(&system)?;
    // The training has measured the same wines.
    let accuracy = once["accuracy"].as_f64().context("a number")?;
    let trained = once["validation_accuracy"].as_f64().context("a number")?;
    assert!((accuracy - trained).abs() < 1e-9, "{once}");
    assert_eq!(
        (&once["feedback"], &once["window"]["number"]),
        (&json!(319), &json!(3))
    );
    let printed = run(&["--wrong", "1"])?;
    assert!(
        printed.contains("319 of them replace earlier ones"),
        "{printed}"
    );
    let turned = version(&system)?;
    let accuracy_now = turned["accuracy"].as_f64().context("a number")?;
    assert!((accuracy_now + accuracy - 1.0).abs() < 1e-9, "{turned}");
    assert_eq!(turned["feedback"], 319);
    Ok(())
}
