//! Rules on spans and on log records.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::{Bench, State, attribute, failed, number, text, took};
use crate::rules::report::Measured;

const ERRORS: &str = r#"
    [[rules]]
    name = "errors"
    summary = "requests fail"
    kind = "error_rate"
    service = "gateway"
    span_kind = "server"
    above = 0.1
    more_than = 2
    window = "60s"
"#;

fn measured(value: f64, limit: f64, unit: &str, items: u64, bad: u64) -> Measured {
    Measured {
        value: Some(value),
        limit,
        unit: unit.to_owned(),
        items,
        bad,
    }
}

#[test]
fn an_error_rate_is_a_share_of_the_spans_it_names() {
    let mut bench = Bench::new(ERRORS);
    // Others fail: another service, another kind of span.
    for _ in 0..5 {
        bench.span("model-service", failed);
        bench.span("gateway", |span| {
            failed(span);
            span.kind = SpanKind::Client.into();
        });
    }
    for _ in 0..17 {
        bench.span("gateway", |_| {});
    }
    let first = bench.span("gateway", failed);
    bench.span("gateway", failed);
    assert_eq!(bench.at(0), []);
    assert_eq!(
        bench.rule().groups[0].measured,
        measured(2.0 / 19.0, 0.1, "share", 19, 2)
    );
    // More than two, and more than a tenth.
    let last = bench.span("gateway", failed);
    assert_eq!(bench.at(1), [State::Firing]);
    let rule = bench.rule();
    assert_eq!(
        rule.groups[0].measured,
        measured(3.0 / 20.0, 0.1, "share", 20, 3)
    );
    let traces: Vec<_> = rule.groups[0]
        .traces
        .iter()
        .map(|trace| &trace.trace_id)
        .collect();
    assert_eq!((traces[0], traces[2], traces.len()), (&last, &first, 3));
    // 3 of 31 is below a tenth, but not by the hysteresis: it stays. 3 of 34 is.
    for _ in 0..11 {
        bench.span("gateway", |_| {});
    }
    assert_eq!(bench.at(2), []);
    for _ in 0..3 {
        bench.span("gateway", |_| {});
    }
    assert_eq!(bench.at(3), [State::Resolved]);
}

#[test]
fn a_span_leaves_with_its_window() {
    let mut bench = Bench::new(ERRORS);
    for _ in 0..3 {
        bench.span("gateway", failed);
    }
    assert_eq!(bench.at(0), [State::Firing]);
    assert_eq!(bench.at(60), []);
    // A slot of two seconds later at most.
    assert_eq!(bench.at(62), [State::Resolved]);
    assert_eq!(bench.rule().groups[0].measured.value, None);
}

#[test]
fn a_retry_of_the_exporter_is_counted_once() {
    let mut bench = Bench::new(ERRORS);
    for _ in 0..10 {
        bench.span("gateway", failed);
        bench.spans -= 1;
    }
    assert_eq!(bench.at(0), []);
    assert_eq!(bench.rule().groups[0].measured.items, 1);
}

#[test]
fn latency_is_a_quantile_by_the_name_of_the_span() {
    let mut bench = Bench::new(
        r#"
        [[rules]]
        name = "stages"
        summary = "a stage is slow"
        kind = "latency"
        by = ["span.name"]
        quantile = 0.95
        longer_than = "100ms"
        window = "60s"
        "#,
    );
    let stage = |bench: &mut Bench, name: &'static str, milliseconds| {
        bench.span("model-service", |span| {
            took(milliseconds)(span);
            name.clone_into(&mut span.name);
        })
    };
    for _ in 0..95 {
        stage(&mut bench, "model_inference", 40);
        stage(&mut bench, "preprocess_input", 40);
    }
    for _ in 0..5 {
        stage(&mut bench, "model_inference", 400);
        stage(&mut bench, "preprocess_input", 100);
    }
    // Five of a hundred may be slower than the 95th percentile.
    assert_eq!(bench.at(0), []);
    let slow = stage(&mut bench, "model_inference", 400);
    assert_eq!(bench.at(1), [State::Firing]);
    let rule = bench.rule();
    let [inference, preprocessing] = &rule.groups[..] else {
        panic!("{rule:?}");
    };
    assert_eq!(inference.labels["span.name"], "model_inference");
    assert_eq!(
        (inference.state, preprocessing.state),
        (State::Firing, State::Inactive)
    );
    assert_eq!(inference.traces[0].trace_id, slow);
    assert_eq!((inference.measured.items, inference.measured.bad), (101, 6));
    // By the upper end of a bucket of 9 %.
    let value = inference.measured.value.unwrap();
    assert!((0.400..0.437).contains(&value), "{value}");
    let value = preprocessing.measured.value.unwrap();
    assert!((0.040..0.044).contains(&value), "{value}");
    assert_eq!(inference.measured.limit.to_string(), "0.1");
}

#[test]
fn an_attribute_of_spans_is_bad_by_share() {
    let mut bench = Bench::new(
        r#"
        [[rules]]
        name = "confidence"
        summary = "predictions are unsure"
        kind = "attribute"
        span = "predict *"
        attribute = "ml.output.confidence"
        below = 0.6
        share = 0.5
        more_than = 1
        by = ["ml.model_name"]
        window = "60s"
        "#,
    );
    let predict = |bench: &mut Bench, confidence| {
        bench.span("model-service", |span| {
            "predict wine_quality".clone_into(&mut span.name);
            span.attributes = vec![text("ml.model_name", "wine_quality"), confidence];
        })
    };
    let confidence = |value| number("ml.output.confidence", value);
    predict(&mut bench, confidence(0.6));
    predict(&mut bench, confidence(0.599));
    // No number, or no confidence, is no observation.
    predict(&mut bench, confidence(f64::NAN));
    predict(&mut bench, text("ml.output.confidence", "0.1"));
    predict(&mut bench, number("other", 0.1));
    bench.span("model-service", |span| {
        span.attributes = vec![confidence(0.1)];
    });
    assert_eq!(bench.at(0), []);
    assert_eq!(
        bench.rule().groups[0].measured,
        measured(0.5, 0.5, "share", 2, 1)
    );
    let trace = predict(&mut bench, confidence(0.2));
    assert_eq!(bench.at(1), [State::Firing]);
    let group = bench.rule().groups.remove(0);
    assert_eq!(group.labels["ml.model_name"], "wine_quality");
    assert_eq!(group.measured, measured(2.0 / 3.0, 0.5, "share", 3, 2));
    assert_eq!(group.traces[0].trace_id, trace);
}

const DRIFT: &str = r#"
    [[rules]]
    name = "drift"
    summary = "the input has drifted"
    kind = "event"
    event = "ml.drift_detected"
    attributes = { "ml.drift_detected" = true }
    by = ["ml.model_name"]
    trace_ids = "ml.drift.trace_ids"
    resolved_by = "ml.drift_ended"
    window = "15m"
"#;

#[test]
fn an_event_fires_with_the_traces_that_it_lists_until_the_event_that_ends_it() {
    let bench = Bench::new(DRIFT);
    let drifts = |flag| attribute("ml.drift_detected", Any::BoolValue(flag));
    let ids = ["aa".repeat(16), "bb".repeat(16)].join(",");
    let listed = text(
        "ml.drift.trace_ids",
        &format!("{ids}, no-id,{}", "0".repeat(32)),
    );
    bench.log("ml.drift_detected", vec![drifts(false)]);
    bench.log("ml.drift_ended", vec![]);
    bench.log("other", vec![drifts(true)]);
    assert_eq!(bench.at(0), []);
    assert!(bench.rule().groups.is_empty());

    let wine = || text("ml.model_name", "wine_quality");
    bench.log("ml.drift_detected", vec![wine(), drifts(true), listed]);
    assert_eq!(bench.at(1), [State::Firing]);
    let group = bench.rule().groups.remove(0);
    assert_eq!(group.measured, measured(1.0, 0.0, "items", 1, 1));
    let traces: Vec<_> = group
        .traces
        .iter()
        .map(|trace| trace.trace_id.as_str())
        .collect();
    // The record's own trace, and what is an id.
    assert_eq!(traces, ["09".repeat(16), "bb".repeat(16), "aa".repeat(16)]);

    // The end of another model's drift changes nothing.
    bench.log(
        "ml.drift_ended",
        vec![text("ml.model_name", "text_sentiment")],
    );
    assert_eq!(bench.at(2), []);
    bench.log("ml.drift_ended", vec![wine()]);
    assert_eq!(bench.at(3), [State::Resolved]);
}

#[test]
fn the_value_of_an_event_decides_by_share() {
    // Accuracy from feedback: a score of 0 is a wrong prediction.
    let bench = Bench::new(
        r#"
        [[rules]]
        name = "quality"
        summary = "predictions turn out wrong"
        kind = "event"
        event = "gen_ai.evaluation.result"
        attribute = "gen_ai.evaluation.score.value"
        below = 0.5
        share = 0.4
        more_than = 2
        window = "60s"
        "#,
    );
    let scored = |value| {
        let score = attribute("gen_ai.evaluation.score.value", value);
        bench.log("gen_ai.evaluation.result", vec![score]);
    };
    for _ in 0..3 {
        scored(Any::IntValue(1));
        scored(Any::DoubleValue(0.0));
    }
    scored(Any::DoubleValue(0.5));
    scored(Any::DoubleValue(0.9));
    bench.log("gen_ai.evaluation.result", vec![]);
    assert_eq!(bench.at(0), []);
    assert_eq!(
        bench.rule().groups[0].measured,
        measured(3.0 / 8.0, 0.4, "share", 8, 3)
    );
    scored(Any::BoolValue(false));
    assert_eq!(bench.at(1), [State::Firing]);
}

#[test]
fn groups_traces_and_texts_are_bounded() {
    let bench = Bench::new(DRIFT);
    let drifts = || attribute("ml.drift_detected", Any::BoolValue(true));
    for model in 0..40 {
        let name = format!("{model:02}\u{1b}[31m\n{}", "x".repeat(500));
        let ids: Vec<_> = (1..=20).map(|id| format!("{id:032x}")).collect();
        let listed = text("ml.drift.trace_ids", &ids.join(","));
        let attributes = vec![text("ml.model_name", &name), drifts(), listed];
        bench.log("ml.drift_detected", attributes);
    }
    assert_eq!(bench.at(0).len(), 32);
    let rule = bench.rule();
    assert_eq!((rule.groups.len(), rule.groups_refused), (32, 8));
    for group in &rule.groups {
        let name = &group.labels["ml.model_name"];
        assert_eq!(name.chars().count(), 120);
        assert!(!name.contains(char::is_control), "{name:?}");
        assert_eq!(group.traces.len(), 5);
    }
    // 50 changes are remembered; each round adds 64.
    for round in 1..3 {
        for model in 0..32 {
            let name = text("ml.model_name", &rule.groups[model].labels["ml.model_name"]);
            bench.log("ml.drift_ended", vec![name.clone()]);
        }
        bench.at(round);
    }
    assert_eq!(bench.rule().history.len(), 50);
}

#[test]
fn what_was_evicted_before_it_was_seen_is_counted() {
    let mut bench = Bench::new(ERRORS);
    for _ in 0..1_010 {
        bench.span("gateway", |_| {});
    }
    bench.at(0);
    assert_eq!(bench.engine.report().missed, 10);
    assert_eq!(bench.rule().groups[0].measured.items, 1_000);
    bench.at(1);
    assert_eq!(bench.engine.report().missed, 10);
}
