//! An entity whose features no model can compute: it fails alone, in both languages, and is no
//! failure of the variant.

use anyhow::{Context, Result};
use harness::eventually;
use http::StatusCode;
use serde_json::{Value, json};

use crate::system::{PythonSystem, Site, System, model};

/// The largest finite FP32 in two features, a common sentinel for a missing value.
const HUGE: &str = "wine-of-the-largest-numbers";

#[test]
fn an_entity_that_overflows_in_rust_fails_alone() -> Result<()> {
    let system = System::start()?;
    fails_alone(&system, "primary", "model-service")
}

#[test]
fn an_entity_that_overflows_in_python_fails_alone() -> Result<()> {
    let (system, _data) = PythonSystem::alone()?;
    fails_alone(&system, "canary", "model-service-python")
}

fn fails_alone(site: &Site, variant: &str, service: &str) -> Result<()> {
    write_huge(site)?;
    let slow = format!("ml.variant={variant},fault={service}:latency:3000");
    let forced = format!("ml.variant={variant}");
    let (both, good) = std::thread::scope(|scope| -> Result<_> {
        let both = scope
            .spawn(|| site.predict_with(&["wine-0701", HUGE, "wine-0702"], &[("baggage", &slow)]));
        eventually("the model service has the call", || {
            let series = site.metrics()?.remove("http.server.active_requests");
            let active: f64 = series
                .unwrap_or_default()
                .iter()
                .filter(|point| point["service"] == service)
                .filter_map(|point| point["value"].as_f64())
                .sum();
            Ok((active >= 1.0).then_some(()))
        })?;
        // A second client asks only for a good one, which the first call computes.
        let good = site.predict_with(&["wine-0702"], &[("baggage", &forced)])?;
        Ok((both.join().expect("no request panics")?, good))
    })?;

    assert_eq!(both.status, StatusCode::OK, "{}", both.body);
    assert_eq!(
        both.prediction(1)["error"]["code"],
        "out_of_range",
        "{}",
        both.body
    );
    for at in [0, 2] {
        assert!(both.prediction(at)["label"].is_string(), "{}", both.body);
        assert_eq!(both.prediction(at)["variant"], variant);
    }
    assert_eq!(good.status, StatusCode::OK, "{}", good.body);
    assert_eq!(
        good.header("cache-status"),
        "throughline; fwd=miss; collapsed; stored"
    );
    assert_eq!(good.prediction(0)["label"], both.prediction(2)["label"]);

    let alone = site.predict_with(&[HUGE], &[("baggage", &forced)])?;
    assert_eq!(
        alone.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{}",
        alone.body
    );
    assert_eq!(alone.body["code"], "out_of_range");
    let good = site.predict_with(&["wine-0701", "wine-0702"], &[("baggage", &forced)])?;
    assert_eq!(good.header("cache-status"), "throughline; hit");
    variant_is_not_charged(site, variant)
}

/// Writes the entity [`HUGE`] into the feature store.
fn write_huge(site: &Site) -> Result<()> {
    let header = include_str!("../../data/wine_quality/winequality-red.csv");
    let names = header.lines().next().unwrap_or_default().split(',');
    let mut row = json!({"wine_id": [HUGE], "event_timestamp": ["2026-01-01T00:00:00"]});
    for name in names.skip(1).take(11) {
        let huge = matches!(name, "volatile_acidity" | "density");
        row[name] = json!([if huge { f32::MAX } else { 1.0 }]);
    }
    let body = json!({"feature_view_name": "wine_features", "df": row}).to_string();
    let url = format!("{}/write-to-online-store", site.urls.feature_store);
    let written = site.post(&url, body, &[])?;
    assert_eq!(written.status, StatusCode::OK, "{}", written.body);
    Ok(())
}

/// Neither the gateway nor the service itself counts an error, and calls are let through.
fn variant_is_not_charged(site: &Site, variant: &str) -> Result<()> {
    let models = site.get(&format!("{}/v1/models", site.urls.gateway))?.body;
    let variants = model(&models, "wine_quality")["variants"].as_array();
    let found = variants
        .into_iter()
        .flatten()
        .find(|one| one["name"] == variant);
    let found = found.with_context(|| models.to_string())?;
    assert!(found["statistics"]["calls"].as_u64() >= Some(2), "{found}");
    assert_eq!(found["statistics"]["errors"], 0, "{found}");
    assert_eq!(found["health"], "ready", "{found}");
    let ready = site.get(&format!("{}/readyz", site.urls.gateway))?.body;
    assert_eq!(ready["detail"]["variant_breakers"], Value::Null, "{ready}");
    let calls = eventually("the calls of the variant are counted", || {
        let series = site
            .metrics()?
            .remove("ai.inference.calls")
            .unwrap_or_default();
        let own: Vec<Value> = series
            .into_iter()
            .filter(|point| point["attributes"]["ml.variant"] == variant)
            .collect();
        Ok((!own.is_empty()).then_some(own))
    })?;
    let failed: Vec<_> = calls
        .iter()
        .filter(|point| point["attributes"]["success"] == json!(false))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    Ok(())
}
