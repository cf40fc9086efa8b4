//! Drift through the whole system: a load like the training stays silent, and a drifted one raises
//! an alarm whose traces open.

use anyhow::{Context, Result};
use harness::eventually;
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::{PythonSystem, System, start};

/// Sends 600 wines, three windows, with more options.
pub(crate) fn load(system: &System, options: &[&str]) -> Result<()> {
    let urls = &system.urls;
    let args = ["load", "--gateway", &urls.gateway, "--rate", "150"];
    // A machine that is slower than the rate gets the requests later, and none of them is too many.
    let more = [
        "--duration",
        "4s",
        "--max-in-flight",
        "16",
        "--timeout",
        "90s",
    ];
    let more = [&more[..], &["--feature-store", &urls.feature_store]].concat();
    let mut load = start(&[&args[..], &more[..], options].concat(), &[])?;
    assert!(load.wait()?.success(), "{}", load.output());
    Ok(())
}

/// The drift of the only version, as soon as a window after the `earlier` one has ended.
fn version(system: &System, earlier: u64) -> Result<Value> {
    let url = format!("{}/v1/models/wine_quality/drift", system.urls.gateway);
    eventually("a window ends", || {
        let answer = system.get(&url)?;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let version = answer.body["variants"][0]["drift"]["versions"][0].clone();
        let number = version["window"]["number"].as_u64();
        Ok((number > Some(earlier)).then_some(version))
    })
}

fn alarms(system: &System) -> Result<Vec<Value>> {
    let url = format!("{}/api/logs?severity=WARN&limit=1000", system.urls.explorer);
    let mut logs = system.get(&url)?.body["logs"].take();
    let logs = logs.as_array_mut().map(std::mem::take).unwrap_or_default();
    let alarms = logs
        .into_iter()
        .filter(|log| log["event_name"] == "ml.drift_detected");
    Ok(alarms.collect())
}

fn drifted(version: &Value) -> Vec<String> {
    let scores = version["window"]["scores"].as_array().into_iter().flatten();
    let drifted = scores.filter(|score| score["drift_detected"] == true);
    let name = |score: &Value, key: &str| score[key].as_str().unwrap_or_default().to_owned();
    drifted
        .map(|score| format!("{} {}", name(score, "feature"), name(score, "method")))
        .collect()
}

#[test]
fn a_load_like_the_training_is_silent_and_a_drifted_one_is_detected() -> Result<()> {
    let system = System::start()?;
    load(&system, &["--mix", "write"])?;
    load(&system, &["--mix", "hit=2,miss=7,batch=1"])?;
    let version_before = version(&system, 4)?;
    assert_eq!(version_before["drift_detected"], false, "{version_before}");
    assert_eq!(version_before["since"], Value::Null);
    assert_eq!(alarms(&system)?, Vec::<Value>::new());

    load(&system, &["--drift", "alcohol+1.5", "--missing", "0.1"])?;
    let found = eventually("the alarm arrives", || Ok(alarms(&system)?.pop()))?;
    let attributes = &found["attributes"];
    assert_eq!(attributes["ml.drift_detected"], true, "{found}");
    assert_eq!(attributes["ml.variant"], "primary");
    let features = attributes["ml.drift.features"].as_str().context("a list")?;
    assert!(features.split(',').any(|name| name == "alcohol"), "{found}");
    let earlier = version_before["window"]["number"]
        .as_u64()
        .unwrap_or_default();
    let version = version(&system, earlier + 1)?;
    assert_eq!(version["drift_detected"], true, "{version}");
    let drifted = drifted(&version);
    for expected in ["alcohol psi", "alcohol ks_d", "sulphates missing_share"] {
        assert!(drifted.iter().any(|name| name == expected), "{drifted:?}");
    }

    // The example traces are those of requests with the shift.
    let traces = attributes["ml.drift.trace_ids"].as_str().context("ids")?;
    let traces: Vec<&str> = traces.split(',').collect();
    assert_eq!(traces.len(), 5, "{found}");
    for trace in traces {
        let url = format!("{}/api/traces/{trace}", system.urls.explorer);
        let opened = system.get(&url)?;
        assert_eq!(opened.status, StatusCode::OK, "{trace}");
        assert!(
            opened.body.to_string().contains("predict wine_quality"),
            "{trace}"
        );
    }
    // From then on, the predictions say so themselves.
    let newest = format!(
        "{}/api/traces?service=model-service&limit=20",
        system.urls.explorer
    );
    eventually("a prediction is marked", || {
        for trace in system.get(&newest)?.body["traces"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let id = trace["trace_id"].as_str().context("an id")?;
            let trace = system.get(&format!("{}/api/traces/{id}", system.urls.explorer))?;
            if trace.body.to_string().contains("ml.drift_detected") {
                return Ok(Some(()));
            }
        }
        Ok(None)
    })?;
    let metrics = system.metrics()?;
    let points = metrics.get("ml.drift.score").context("a metric")?;
    let of_alcohol = points.iter().filter(|point| {
        let attributes = &point["attributes"];
        attributes["ml.feature.name"] == "alcohol" && attributes["ml.drift.method"] == "psi"
    });
    assert_eq!(of_alcohol.count(), 1);
    Ok(())
}

#[test]
fn a_worker_that_does_not_measure_drift_is_named() -> Result<()> {
    let system = PythonSystem::shared();
    let url = format!("{}/v1/models/wine_quality/drift", system.urls.gateway);
    let answer = system.get(&url)?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let variants = answer.body["variants"].as_array().context("variants")?;
    let canary = variants.iter().find(|variant| variant["name"] == "canary");
    let canary = canary.context("a canary")?;
    assert_eq!(canary["error"]["code"], "drift_not_measured", "{canary}");
    let unknown = format!("{}/v1/models/nobody/drift", system.urls.gateway);
    let answer = system.get(&unknown)?;
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (StatusCode::NOT_FOUND, &json!("unknown_model"))
    );
    Ok(())
}
