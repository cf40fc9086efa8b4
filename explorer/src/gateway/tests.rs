//! Requests are read off forms and traces, and a trace is whole when what is known to come is there.

use std::time::{Duration, Instant};

use axum::http::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use telemetry::SpanRef;

use super::*;
use crate::trace::Trace;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00f067aa0ba902b7";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

fn form(text: &str) -> Form {
    Form::parse(text.as_bytes())
}

/// A span of `service` with string attributes.
fn span(service: &str, id: &str, parent: &str, kind: i32, attributes: &[(&str, Value)]) -> Value {
    let value = |value: &Value| match value {
        Value::Number(number) => json!({"intValue": number.to_string()}),
        text => json!({"stringValue": text}),
    };
    let attributes = attributes.iter();
    let attributes: Vec<Value> = attributes
        .map(|(key, of)| json!({"key": key, "value": value(of)}))
        .collect();
    json!({
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
        "scopeSpans": [{"spans": [{
            "traceId": TRACE, "spanId": id, "parentSpanId": parent, "name": "POST", "kind": kind,
            "startTimeUnixNano": "1000", "endTimeUnixNano": "2000", "attributes": attributes,
        }]}],
    })
}

fn trace(spans: &[Value]) -> Trace {
    Trace::from_otlp(json!({"resourceSpans": spans}).to_string().as_bytes()).unwrap()
}

fn root(attributes: &[(&str, Value)]) -> Value {
    let route = ("http.route", json!("/v1/predictions"));
    let attributes = [&[route], attributes].concat();
    span("gateway", "1111111111111111", CALLER, SERVER, &attributes)
}

fn call(id: &str, parent: &str) -> Value {
    let method = ("http.request.method", json!("POST"));
    span("gateway", id, parent, CLIENT, &[method])
}

#[test]
fn a_form_becomes_a_request() {
    let ask = form("model=wine_quality&entity=+wine-0001+&variant=canary&cache=no-cache&fault=latency&fault_service=feature-store&fault_ms=250").ask().unwrap();
    let ids = SpanRef::parse(TRACE, CALLER).unwrap();
    let request = ask.request("http://gateway:8080", &ids).unwrap();
    assert_eq!(request.uri(), "http://gateway:8080/v1/predictions");
    let header = |name: &str| request.headers()[name].to_str().unwrap();
    assert_eq!(
        header("baggage"),
        "ml.variant=canary,fault=feature-store:latency:250"
    );
    assert_eq!(header("cache-control"), "no-cache");
    assert_eq!(header("traceparent"), format!("00-{TRACE}-{CALLER}-01"));
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(
        body,
        json!({"model": "wine_quality", "data_ids": ["wine-0001"]})
    );

    let plain = form("model=text_sentiment&text=Great%2C+%3Cb%3E")
        .ask()
        .unwrap();
    let request = plain.request("http://gateway:8080", &ids).unwrap();
    assert!(!request.headers().contains_key("baggage"));
    assert!(!request.headers().contains_key("cache-control"));
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(
        body,
        json!({"model": "text_sentiment", "texts": ["Great, <b>"]})
    );
}

#[test]
fn a_wrong_field_is_named_and_nothing_gets_into_the_baggage() {
    for (fields, words) in [
        ("entity=wine-0001", "choose a model"),
        ("model=m", "give an id"),
        ("model=m&entity=a&text=b", "not both"),
        ("model=m&entity=a&variant=x,fault%3Dgateway:drop", "letters"),
        ("model=m&entity=a&variant=%0d%0aevil:1", "letters"),
        ("model=m&entity=a&cache=forever", "no-cache"),
        (
            "model=m&entity=a&fault=explode&fault_service=gateway",
            "latency",
        ),
        (
            "model=m&entity=a&fault=error&fault_service=else",
            "gateway, model-service",
        ),
        (
            "model=m&entity=a&fault=latency&fault_service=gateway&fault_ms=5001",
            "at most 5000",
        ),
    ] {
        let error = form(fields).ask().unwrap_err();
        assert!(error.contains(words), "{fields}: {error}");
    }
    let long = format!("model=m&text={}", "x".repeat(4_001));
    assert!(form(&long).ask().unwrap_err().contains("longer"));
}

#[test]
fn a_request_is_rebuilt_from_its_spans() {
    let model = ("ml.model_name", json!("wine_quality"));
    let one = ("ml.batch_size", json!(1));
    let wine = trace(&[root(&[
        model.clone(),
        one.clone(),
        ("ml.data_id", json!("wine-0077")),
    ])]);
    let ask = rebuild(&wine).unwrap();
    assert_eq!(ask.model, "wine_quality");
    assert_eq!(ask.subject, Subject::Entity("wine-0077".to_owned()));

    let text = ("ml.data_id", json!("text-7bfaf76face7b6eb"));
    let root = root(&[model, one, text]);
    let why = rebuild(&trace(std::slice::from_ref(&root))).unwrap_err();
    assert!(why.contains("texts are not captured"), "{why}");
    let stage = [("ml.input.text", json!("It broke."))];
    let stage = span(
        "model-service",
        "2222222222222222",
        "1111111111111111",
        1,
        &stage,
    );
    let ask = rebuild(&trace(&[root, stage])).unwrap();
    assert_eq!(ask.subject, Subject::Text("It broke.".to_owned()));
}

#[test]
fn what_cannot_be_rebuilt_is_said() {
    let model = ("ml.model_name", json!("wine_quality"));
    let several = root(&[model.clone(), ("ml.batch_size", json!(2))]);
    let other = span("client", "1111111111111111", "", SERVER, &[]);
    for (spans, words) in [
        (several, "several predictions"),
        (other, "no request for predictions"),
        (root(&[]), "names no model"),
        (root(&[model]), "names no id"),
    ] {
        let why = rebuild(&trace(&[spans])).unwrap_err();
        assert!(why.contains(words), "{why}");
    }
}

fn sent(outcome: Option<Outcome>) -> Sent {
    Sent {
        trace_id: TRACE.to_owned(),
        caller: CALLER.to_owned(),
        ask: form("model=m&entity=a").ask().unwrap(),
        replay_of: None,
        outcome,
        since: Instant::now(),
    }
}

fn answered(body: &Value) -> Outcome {
    let answer = Response::builder()
        .header("traceresponse", "00")
        .body(Bytes::from(body.to_string()))
        .unwrap();
    Outcome::of(Ok(answer), Duration::from_millis(5), "http://gateway")
}

#[test]
fn a_trace_is_whole_when_every_side_of_every_call_is_there() {
    let computed = json!({"predictions": [{
        "label": "low", "cached": false,
        "computed_by": {"trace_id": TRACE, "span_id": "4444444444444444"},
    }]});
    let sent = sent(Some(answered(&computed)));
    let worker = |id: &str, parent: &str, kind| span("model-service", id, parent, kind, &[]);
    // The model service's span arrived first: a tree with one root, and not whole.
    let model = worker("3333333333333333", "2222222222222222", SERVER);
    let gateway = [root(&[]), call("2222222222222222", "1111111111111111")];
    let predict = worker("4444444444444444", "3333333333333333", 1);
    let arriving = |spans: &[Value]| match arrival(Some(&trace(spans)), &sent) {
        Arrival::Arriving(missing) => missing,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        arriving(std::slice::from_ref(&model)),
        [
            "the gateway's span, the root",
            "the span that computed the prediction"
        ]
    );
    let missing = arriving(&gateway);
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(
        missing[1].starts_with("the other side of POST"),
        "{missing:?}"
    );
    let whole = [&gateway[..], &[model, predict]].concat();
    assert_eq!(arrival(Some(&trace(&whole)), &sent), Arrival::Whole);
}

#[test]
fn a_late_or_absent_trace_is_not_called_whole() {
    let hit = json!({"predictions": [{"label": "low", "cached": true}]});
    assert_eq!(arrival(None, &sent(None)), Arrival::Running);
    let mut late = sent(Some(answered(&hit)));
    assert!(matches!(arrival(None, &late), Arrival::Arriving(_)));
    late.since = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
    assert!(matches!(arrival(None, &late), Arrival::Late(_)));
    assert_eq!(arrival(Some(&trace(&[root(&[])])), &late), Arrival::Whole);
    let none = sent(Some(Outcome::NoAnswer("nobody listens".to_owned())));
    assert_eq!(arrival(None, &none), Arrival::NoTrace);
}

#[test]
fn the_words_of_a_refusal_are_those_of_the_gateway() {
    let body = json!({
        "title": "No entity has this data_id", "detail": "nothing has a prediction",
        "errors": [{"error": {"title": "No entity has this data_id"}}],
    });
    let answer = Response::builder()
        .status(404)
        .body(Bytes::from(body.to_string()));
    let outcome = Outcome::of(Ok(answer.unwrap()), Duration::ZERO, "http://gateway");
    let Outcome::Refused(refused) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(refused.status, 404);
    assert_eq!(
        refused.words,
        "No entity has this data_id: nothing has a prediction"
    );
}
