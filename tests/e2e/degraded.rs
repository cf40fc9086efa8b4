//! Parts that fail, on purpose or for real: what still answers, and what the trace shows.

use anyhow::{Context, Result};
use harness::{SpanStatus, Trace, eventually};
use http::StatusCode;
use serde_json::json;

use crate::system::{JsonAnswer, System};

/// The trace of an answer once its root span is there with an error or without.
fn failed(system: &System, answer: &JsonAnswer, service: &str) -> Result<Trace> {
    let trace_id = answer.trace_id();
    eventually("the failed span arrives", || {
        let trace = system.trace(&trace_id)?;
        Ok(trace.filter(|trace| {
            // A span of a later hop counts as a root while its parent is still on the way.
            let mut spans = trace.spans.iter();
            let root = spans.any(|span| span.service == "gateway" && span.parent.is_none());
            root && trace.spans.iter().any(|span| {
                span.service == service && matches!(span.status, SpanStatus::Error { .. })
            })
        }))
    })
}

#[test]
fn a_failing_feature_store_is_on_every_hop_and_stored_answers_stay() -> Result<()> {
    let system = System::start()?;
    system.predict(&["wine-0001"])?;
    let broken = [("baggage", "fault=feature-store:error")];
    let answer = system.predict_with(&["wine-0002"], &broken)?;
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        answer.body
    );
    assert!(
        !answer.header("retry-after").is_empty(),
        "503 says when to come again"
    );
    let trace = failed(&system, &answer, "feature-store")?;
    let span = trace
        .span("POST /get-online-features")
        .context("the feature store's span")?;
    assert_eq!(span.text("error.type").as_deref(), Some("fault_injected"));
    let logs = system.logs(&trace.trace_id, 1)?;
    assert!(
        logs.iter()
            .any(|log| log["attributes"]["exception.stacktrace"].is_string()),
        "{logs:?}"
    );

    let mixed = system.predict_with(&["wine-0001", "wine-0002"], &broken)?;
    assert_eq!(
        mixed.status,
        StatusCode::OK,
        "what is stored still answers: {}",
        mixed.body
    );
    assert_eq!(mixed.prediction(0)["cached"], json!(true));
    assert!(mixed.prediction(1)["error"]["code"].is_string());
    Ok(())
}

#[test]
fn a_dead_feature_store_is_503_and_recovery_needs_no_restart() -> Result<()> {
    let mut system = System::start()?;
    system
        .feature_store
        .take()
        .context("the feature store runs")?
        .kill()?;
    let answer = system.predict(&["wine-0010"])?;
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        answer.body
    );
    failed(&system, &answer, "model-service")?;

    let address = system
        .urls
        .feature_store
        .trim_start_matches("http://")
        .to_owned();
    let again = crate::system::feature_store_at(&address, &system.data, &[])?;
    again.url("server.listening")?;
    system.feature_store = Some(again);
    assert_eq!(system.predict(&["wine-0010"])?.status, StatusCode::OK);
    Ok(())
}

#[test]
fn a_dead_model_service_leaves_the_stored_predictions() -> Result<()> {
    let mut system = System::start()?;
    system.predict(&["wine-0011"])?;
    system
        .model_service
        .take()
        .context("the model service runs")?
        .kill()?;
    let stored = system.predict(&["wine-0011"])?;
    assert_eq!(
        (stored.status, &stored.prediction(0)["cached"]),
        (StatusCode::OK, &json!(true))
    );
    let absent = system.predict(&["wine-0012"])?;
    assert_eq!(
        absent.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{}",
        absent.body
    );
    assert!(!absent.header("retry-after").is_empty());
    let expected = "\
POST /v1/predictions SERVER gateway
  SELECT predictions CLIENT gateway
  POST CLIENT gateway
";
    let trace = system.trace_with_outline(&absent.trace_id(), expected)?;
    assert_eq!(
        trace
            .span("POST")
            .context("the call")?
            .text("error.type")
            .as_deref(),
        Some("connect_error")
    );
    Ok(())
}

#[test]
fn a_stopped_explorer_changes_no_answer() -> Result<()> {
    let mut system = System::start()?;
    let before = system.predict(&["wine-0013"])?;
    system
        .explorer
        .take()
        .context("the explorer runs")?
        .kill()?;
    for wine in ["wine-0013", "wine-0014", "wine-0015"] {
        let answer = system.predict(&[wine])?;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    assert_eq!(
        system.predict(&["wine-0013"])?.prediction(0)["label"],
        before.prediction(0)["label"]
    );
    Ok(())
}

#[test]
fn dropped_connections_and_delays_are_seen_where_they_happen() -> Result<()> {
    let system = System::start()?;
    let dropped =
        system.predict_with(&["wine-0016"], &[("baggage", "fault=model-service:drop")])?;
    assert_eq!(dropped.status, StatusCode::BAD_GATEWAY, "{}", dropped.body);
    let trace = failed(&system, &dropped, "model-service")?;
    assert_eq!(
        trace
            .span("POST")
            .context("the call")?
            .text("error.type")
            .as_deref(),
        Some("transport_error")
    );

    let slow = system.predict_with(
        &["wine-0017"],
        &[("baggage", "fault=feature-store:latency:150")],
    )?;
    let trace = system.trace_with_outline(&slow.trace_id(), crate::trace_contract::MISS)?;
    let duration = |name: &str| {
        trace
            .span(name)
            .map(harness::SpanData::duration)
            .context("the span is in the outline")
    };
    assert!(duration("POST /get-online-features")? >= 150_000_000);
    assert!(
        duration("predict wine_quality")? < 150_000_000,
        "the model is not to blame"
    );
    Ok(())
}

#[test]
fn a_stop_under_load_answers_every_accepted_request() -> Result<()> {
    const REQUESTS: usize = 20;
    let mut system = System::start()?;
    let answers = std::thread::scope(|scope| -> Result<Vec<JsonAnswer>> {
        let slow = [("baggage", "fault=model-service:latency:1500")];
        let asks: Vec<_> = (600..600 + REQUESTS)
            .map(|wine| {
                scope.spawn({
                    let system = &system;
                    move || system.predict_with(&[&format!("wine-{wine:04}")], &slow)
                })
            })
            .collect();
        eventually("all requests are in flight", || {
            let series = system
                .metrics()?
                .remove("http.server.active_requests")
                .unwrap_or_default();
            let gateway = series.iter().filter(|point| point["service"] == "gateway");
            let active: f64 = gateway.filter_map(|point| point["value"].as_f64()).sum();
            Ok((active >= REQUESTS as f64).then_some(()))
        })?;
        system.gateway.signal("INT")?;
        asks.into_iter()
            .map(|ask| ask.join().expect("no request panics"))
            .collect()
    })?;
    for answer in answers {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    assert!(
        system.gateway.wait()?.success(),
        "{}",
        system.gateway.output()
    );
    Ok(())
}
