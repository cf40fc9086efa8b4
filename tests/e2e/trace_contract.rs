//! The trace is the product: the exact tree of each kind of request, over three processes.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use harness::{SpanData, Trace, eventually};
use http::StatusCode;
use serde_json::json;

use crate::system::{JsonAnswer, System};

/// DESIGN.md section 4, as the README shows it.
pub(crate) const MISS: &str = "\
POST /v1/predictions SERVER gateway
  SELECT predictions CLIENT gateway
  POST CLIENT gateway
    POST /v2/models/{model_name}/infer SERVER model-service
      POST CLIENT model-service
        POST /get-online-features SERVER feature-store
          SELECT wine_features CLIENT feature-store
      predict wine_quality INTERNAL model-service
        preprocess_input INTERNAL model-service
        model_inference INTERNAL model-service
          layer linear_1 INTERNAL model-service
          layer linear_2 INTERNAL model-service
          layer linear_3 INTERNAL model-service
        postprocess_output INTERNAL model-service
  INSERT predictions CLIENT gateway
";

pub(crate) const HIT: &str = "\
POST /v1/predictions SERVER gateway
  SELECT predictions CLIENT gateway
";

fn span<'a>(trace: &'a Trace, name: &str) -> Result<&'a SpanData> {
    trace.span(name).with_context(|| format!("no span {name}"))
}

fn links(span: &SpanData) -> BTreeSet<(String, String)> {
    span.links
        .iter()
        .map(|link| (link.trace_id.clone(), link.span_id.clone()))
        .collect()
}

fn trace(system: &System, answer: &JsonAnswer, outline: &str) -> Result<Trace> {
    system.trace_with_outline(&answer.trace_id(), outline)
}

#[test]
fn a_miss_is_one_tree_over_three_processes() -> Result<()> {
    let system = System::start()?;
    let answer = system.predict(&["wine-0001"])?;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let prediction = answer.prediction(0);
    assert_eq!(
        (&prediction["cached"], &prediction["model_version"]),
        (&json!(false), &json!("1")),
        "{prediction}"
    );
    let trace = trace(&system, &answer, MISS)?;

    let root = span(&trace, "POST /v1/predictions")?;
    assert_eq!(
        root.span_id,
        answer.span().span_id.to_string(),
        "traceresponse names the SERVER span"
    );
    for (attribute, value) in [
        ("http.route", "/v1/predictions"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("ml.model_name", "wine_quality"),
    ] {
        assert_eq!(
            root.text(attribute).as_deref(),
            Some(value),
            "{attribute} of the root"
        );
    }
    let predict = span(&trace, "predict wine_quality")?;
    assert_eq!(predict.text("ml.model_version").as_deref(), Some("1"));
    assert_eq!(
        predict.text("ml.run_id").as_deref(),
        prediction["run_id"].as_str()
    );
    assert_eq!(
        predict.span_id, prediction["computed_by"]["span_id"],
        "computed_by names the predict span"
    );
    assert_eq!(trace.trace_id, prediction["computed_by"]["trace_id"]);
    assert_eq!(
        span(&trace, "model_inference")?.events[0].name,
        "inference_completed"
    );
    for name in [
        "SELECT predictions",
        "INSERT predictions",
        "SELECT wine_features",
    ] {
        assert_eq!(
            span(&trace, name)?.text("db.system.name").as_deref(),
            Some("sqlite"),
            "{name}"
        );
    }
    assert!(
        trace.spans.iter().all(|span| !span.is_error()),
        "a good request has no failed span"
    );
    Ok(())
}

#[test]
fn a_hit_links_to_the_span_that_computed_the_answer() -> Result<()> {
    let system = System::start()?;
    let first = system.predict(&["wine-0002"])?;
    let computed = trace(&system, &first, MISS)?;
    let second = system.predict(&["wine-0002"])?;
    assert_eq!(second.prediction(0)["cached"], json!(true));
    assert_eq!(
        second.prediction(0)["probabilities"],
        first.prediction(0)["probabilities"]
    );
    assert_eq!(
        second.prediction(0)["computed_by"],
        first.prediction(0)["computed_by"]
    );
    let hit = trace(&system, &second, HIT)?;
    let predict = span(&computed, "predict wine_quality")?;
    let expected = BTreeSet::from([(computed.trace_id.clone(), predict.span_id.clone())]);
    assert_eq!(links(span(&hit, "POST /v1/predictions")?), expected);
    Ok(())
}

#[test]
fn a_partly_stored_batch_computes_the_rest_in_one_call() -> Result<()> {
    let system = System::start()?;
    system.predict(&["wine-0003"])?;
    let answer = system.predict(&["wine-0004", "wine-0003", "wine-0005"])?;
    let cached: Vec<_> = (0..3)
        .map(|index| answer.prediction(index)["cached"].as_bool())
        .collect();
    assert_eq!(cached, [Some(false), Some(true), Some(false)]);
    let ids: Vec<_> = (0..3)
        .map(|index| answer.prediction(index)["data_id"].as_str())
        .collect();
    assert_eq!(
        ids,
        [Some("wine-0004"), Some("wine-0003"), Some("wine-0005")],
        "the order is the order asked"
    );
    let trace = trace(&system, &answer, MISS)?;
    assert_eq!(
        span(&trace, "predict wine_quality")?
            .text("ml.batch_size")
            .as_deref(),
        Some("2")
    );
    assert_eq!(
        links(span(&trace, "POST /v1/predictions")?).len(),
        1,
        "one answer came from an earlier trace"
    );
    Ok(())
}

#[test]
fn an_unknown_id_is_an_error_entry_and_404_if_it_is_the_only_one() -> Result<()> {
    let system = System::start()?;
    let mixed = system.predict(&["wine-0006", "no-such-wine"])?;
    assert_eq!(mixed.status, StatusCode::OK);
    assert!(mixed.prediction(0)["label"].is_string() && mixed.prediction(0).get("error").is_none());
    assert_eq!(
        mixed.prediction(1)["error"]["code"],
        json!("unknown_entity"),
        "{}",
        mixed.body
    );

    let alone = system.predict(&["no-such-wine"])?;
    assert_eq!(alone.status, StatusCode::NOT_FOUND);
    assert_eq!(alone.header("content-type"), "application/problem+json");
    assert_eq!(alone.body["trace_id"], json!(alone.trace_id()));
    let expected = "\
POST /v1/predictions SERVER gateway
  SELECT predictions CLIENT gateway
  POST CLIENT gateway
    POST /v2/models/{model_name}/infer SERVER model-service
      POST CLIENT model-service
        POST /get-online-features SERVER feature-store
          SELECT wine_features CLIENT feature-store
";
    let trace = trace(&system, &alone, expected)?;
    assert!(
        !span(&trace, "POST /v1/predictions")?.is_error(),
        "a 404 is the client's error, not the server's"
    );
    Ok(())
}

#[test]
fn concurrent_misses_of_one_id_compute_once_and_link() -> Result<()> {
    let system = System::start()?;
    let held = [("baggage", "fault=model-service:latency:400")];
    let answers: Vec<JsonAnswer> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| system.predict_with(&["wine-0007"], &held)))
            .collect();
        asks.into_iter()
            .map(|ask| ask.join().expect("no request panics"))
            .collect::<Result<_>>()
    })?;
    let computed: BTreeSet<_> = answers
        .iter()
        .map(|answer| answer.prediction(0)["computed_by"]["span_id"].to_string())
        .collect();
    assert_eq!(
        computed.len(),
        1,
        "one computation answers all: {computed:?}"
    );

    let mut leaders = 0;
    let mut worker = None;
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK);
        let trace_id = answer.trace_id();
        if answer.prediction(0)["computed_by"]["trace_id"] == json!(trace_id) {
            leaders += 1;
            worker = Some(system.trace_with_outline(&trace_id, MISS)?);
        }
    }
    assert_eq!(leaders, 1);
    let worker = worker.context("one request did the work")?;
    let own: BTreeSet<_> = worker
        .spans
        .iter()
        .map(|span| span.span_id.clone())
        .collect();
    for answer in answers
        .iter()
        .filter(|answer| answer.trace_id() != worker.trace_id)
    {
        let waited = trace(&system, answer, HIT)?;
        let linked = links(span(&waited, "POST /v1/predictions")?);
        assert!(
            !linked.is_empty(),
            "a waiter links to the work that it waited for"
        );
        assert!(
            linked
                .iter()
                .all(|(trace_id, span_id)| *trace_id == worker.trace_id && own.contains(span_id)),
            "{linked:?}"
        );
    }
    Ok(())
}

#[test]
fn log_lines_of_a_request_carry_its_ids() -> Result<()> {
    let system = System::start()?;
    let answer =
        system.predict_with(&["wine-0008"], &[("baggage", "fault=feature-store:error")])?;
    let trace_id = answer.trace_id();
    let logs = system.logs(&trace_id, 1)?;
    for log in &logs {
        assert_eq!(log["trace_id"], json!(trace_id));
        let span_id = log["span_id"]
            .as_str()
            .context("a log line of a request has a span")?;
        // Every process exports on its own schedule, so that a line may arrive before its span.
        eventually("the span of every log line is in the trace", || {
            let trace = system.trace(&trace_id)?;
            Ok(trace.filter(|trace| trace.spans.iter().any(|span| span.span_id == span_id)))
        })?;
    }
    // The same line is on stdout, for a system without a collector.
    let process = system
        .feature_store
        .as_ref()
        .context("the feature store runs")?;
    process.wait_line("the trace id of the fault", |line| {
        line.contains(&trace_id).then_some(())
    })?;
    Ok(())
}
