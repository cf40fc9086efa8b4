//! The description agrees with the routes and with the bodies that are answered.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fake::{Behaviour, Fake};
use super::harness::{Gateway, Reply, Setup};
use crate::passthrough::CALLS;

#[tokio::test]
async fn the_description_has_exactly_the_routes() {
    let gateway = Gateway::start().await;
    let document = gateway.get("/openapi.json").await.json();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    let described: BTreeSet<&str> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    // axum does not list the routes of a router, so they are read off its source.
    let v1 = include_str!("../router.rs").split(".route(\"").skip(1);
    let routed: BTreeSet<&str> = v1
        .filter_map(|rest| rest.split('"').next())
        .chain(CALLS.iter().map(|call| call.path))
        .collect();
    assert_eq!(described, routed);
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "delete", "patch"] {
            let url = path
                .replace("{model}", "wine_quality")
                .replace("{model_name}", "echo")
                .replace("{version}", "1")
                .replace("{data_id}", "a");
            let reply = gateway
                .send(gateway.request(&method.to_uppercase(), &url, &[], bytes::Bytes::new()))
                .await;
            assert_eq!(
                reply.status != 405,
                item.get(method).is_some(),
                "{method} {path}: {}",
                reply.status
            );
        }
    }
}

#[tokio::test]
async fn references_resolve() {
    let gateway = Gateway::start().await;
    let document = gateway.get("/openapi.json").await.json();
    let mut open = vec![&document];
    let mut references = 0;
    while let Some(value) = open.pop() {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            references += 1;
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.values()),
            _ => {}
        }
    }
    assert!(references > 20);
}

const PREDICTIONS: &str = "/v1/predictions";
const ONE: &str = "/v1/predictions/{model}/{data_id}";
const DRIFT: &str = "/v1/models/{model}/drift";
const QUALITY: &str = "/v1/models/{model}/quality";
const FEEDBACK: &str = "/v1/feedback";
const MODEL: &str = "/v2/models/{model_name}";

/// Checks that an answer is described and has the described form.
fn check(document: &Value, path: &str, method: &str, reply: &Reply) {
    let status = reply.status.as_str();
    let response = &document["paths"][path][method]["responses"][status];
    assert!(response.is_object(), "{method} {path} has no {status}");
    let content_type = reply.header("content-type");
    let schema = &response["content"][content_type]["schema"];
    assert!(
        schema.is_object(),
        "{method} {path} {status} has no {content_type}: {response}"
    );
    let at = format!("{method} {path} {status}");
    validate(document, schema, &reply.json(), &at);
}

#[tokio::test]
async fn answers_to_predictions_are_as_described() {
    let mut gateway = Gateway::start().await;
    let document = gateway.get("/openapi.json").await.json();
    let check = |reply: &Reply| check(&document, PREDICTIONS, "post", reply);
    check(&gateway.predict(&["a", "unknown_entity-1"]).await);
    check(&gateway.predict(&["unknown_entity-1"]).await);
    check(&gateway.predict(&["missing_features-1"]).await);
    check(&gateway.predict_with(&["zz"], "only-if-cached").await);
    check(&gateway.post(PREDICTIONS, &[], "{").await);
    let encoded = [("content-encoding", "br")];
    check(&gateway.post(PREDICTIONS, &encoded, "x").await);
    check(&gateway.post(PREDICTIONS, &[], vec![b' '; 2 << 20]).await);
    gateway.fake.behave(Behaviour::Refuse {
        status: 500,
        body: "",
        retry_after: None,
    });
    check(&gateway.predict(&["new"]).await);
    gateway.fake.stop().await;
    check(&gateway.predict(&["new"]).await);
}

#[tokio::test]
async fn answers_to_feedback_are_as_described() {
    let setup = Setup {
        quality_window: 1,
        ..Setup::default()
    };
    let gateway = Gateway::with(setup).await;
    let document = gateway.get("/openapi.json").await.json();
    gateway.predict(&["a"]).await;
    let good = json!({"data_id": "a", "label": "high"});
    let score = json!({"data_id": "a", "score": {"name": "helpful", "value": 1}});
    let unknown = json!({"data_id": "b", "label": "high"});
    for items in [vec![&good, &score, &unknown], vec![&unknown], vec![]] {
        let body = json!({"model": "wine_quality", "feedback": items}).to_string();
        let reply = gateway.post(FEEDBACK, &[], body).await;
        check(&document, FEEDBACK, "post", &reply);
    }
    check(
        &document,
        FEEDBACK,
        "post",
        &gateway.post(FEEDBACK, &[], "{").await,
    );
    let quality = gateway.get("/v1/models/wine_quality/quality").await;
    check(&document, QUALITY, "get", &quality);
    assert!(quality.json()["variants"][0]["versions"][0]["window"].is_object());
}

#[tokio::test]
async fn answers_to_reads_are_as_described() {
    let mut gateway = Gateway::start().await;
    let document = gateway.get("/openapi.json").await.json();
    let check = |path, reply: &Reply| check(&document, path, "get", reply);
    gateway.predict(&["a", "b"]).await;
    let path = "/v2/models/wine_quality/drift";
    gateway.fake.answer_read(path, 200, super::drift::ANSWER);
    let forced = [("baggage", "ml.variant=nobody")];
    for (path, url) in [
        (PREDICTIONS, "/v1/predictions"),
        (PREDICTIONS, "/v1/predictions?limit=1"),
        (PREDICTIONS, "/v1/predictions?limit=0"),
        (ONE, "/v1/predictions/wine_quality/a"),
        (ONE, "/v1/predictions/nobody/a"),
        ("/v1/models", "/v1/models"),
        (DRIFT, "/v1/models/wine_quality/drift"),
        (DRIFT, "/v1/models/nobody/drift"),
        (QUALITY, "/v1/models/wine_quality/quality"),
        (QUALITY, "/v1/models/nobody/quality"),
        ("/openapi.json", "/openapi.json"),
        ("/v2", "/v2"),
        (MODEL, "/v2/models/wine_quality"),
        (MODEL, "/v2/models/..%2Fx"),
    ] {
        check(path, &gateway.get(url).await);
    }
    for (path, url) in [
        (ONE, "/v1/predictions/wine_quality/a"),
        (MODEL, "/v2/models/wine_quality"),
    ] {
        check(path, &gateway.get_with(url, &forced).await);
    }
    gateway.fake.stop().await;
    check(MODEL, &gateway.get("/v2/models/wine_quality").await);
}

#[tokio::test]
async fn the_comparison_of_variants_is_as_described() {
    let canary = Fake::predicting("low").await;
    let services = vec![format!("canary=http://{}", canary.address)];
    let gateway = Gateway::with(Setup {
        services,
        ..Setup::default()
    })
    .await;
    for baggage in ["ml.variant=primary", "ml.variant=canary"] {
        gateway
            .get_with("/v1/predictions/wine_quality/a", &[("baggage", baggage)])
            .await;
    }
    let (document, models) = (
        gateway.get("/openapi.json").await.json(),
        gateway.get("/v1/models").await.json(),
    );
    assert_eq!(
        models["models"][2]["variants"][1]["statistics"]["agreement"]["pairs"],
        1
    );
    let schema = &document["paths"]["/v1/models"]["get"]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    validate(&document, schema, &models, "/v1/models");
}

/// Checks a value against as much of JSON Schema as the document uses. An object may have only
/// fields that are described.
fn validate(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return validate(
            document,
            document.pointer(&reference[1..]).unwrap(),
            value,
            at,
        );
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = choices.iter().filter(|choice| {
            let (document, choice, value) = (document.clone(), (*choice).clone(), value.clone());
            std::panic::catch_unwind(move || validate(&document, &choice, &value, "a choice"))
                .is_ok()
        });
        assert_eq!(
            fits.count(),
            1,
            "{at}: {value} must fit exactly one of {schema}"
        );
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => panic!("{at}: no type in {schema}"),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(
        types.contains(&kind) || (kind == "integer" && types.contains(&"number")),
        "{at}: {value} is no {types:?}"
    );
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(
            allowed.contains(value),
            "{at}: {value} is none of {allowed:?}"
        );
    }
    if let Value::Array(items) = value {
        for (index, item) in items.iter().enumerate() {
            validate(document, &schema["items"], item, &format!("{at}[{index}]"));
        }
    }
    if let (Value::Object(fields), Some(properties)) = (value, schema["properties"].as_object()) {
        for name in schema["required"].as_array().unwrap_or(&Vec::new()) {
            assert!(
                fields.contains_key(name.as_str().unwrap()),
                "{at} lacks {name}"
            );
        }
        for (name, field) in fields {
            let property = properties
                .get(name)
                .unwrap_or_else(|| panic!("{at}: {name} is not described"));
            validate(document, property, field, &format!("{at}.{name}"));
        }
    }
}

#[test]
#[should_panic(expected = "is not described")]
fn the_check_itself_can_fail() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    validate(&json!({}), &schema, &json!({"b": 1}), "a test");
}
