//! Predictions for entities: known ones, unknown ones, and a feature store that fails.

use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};

use crate::infer::output;
use crate::server::{Behaviour, HIGH, LOW, feature_store, nobody, start};

fn ask(ids: &[&str]) -> Value {
    json!({"inputs": [{"name": "data_id", "shape": [ids.len()], "datatype": "BYTES", "data": ids}]})
}

#[tokio::test]
async fn entities_get_the_predictions_of_their_features() {
    let service = start(feature_store(Behaviour::Answers).await).await;
    let response = service.infer(&ask(&["low", "high", "low"])).await;
    assert_eq!(response.status, StatusCode::OK);
    let timing = response.headers["server-timing"].to_str().unwrap();
    let names: Vec<&str> = timing
        .split(", ")
        .map(|part| part.split(';').next().unwrap())
        .collect();
    assert_eq!(names, ["features", "queue", "compute"]);
    let by_id = response.json();
    let input =
        json!({"name": "features", "shape": [3, 11], "datatype": "FP32", "data": [LOW, HIGH, LOW]});
    let by_features = service.infer(&json!({"inputs": [input]})).await.json();
    assert_eq!(by_id["outputs"], by_features["outputs"]);
}

#[tokio::test]
async fn rows_fail_one_by_one() {
    let service = start(feature_store(Behaviour::Answers).await).await;
    let response = service
        .infer(&ask(&["low", "unknown", "old", "null", "high"]))
        .await;
    assert_eq!(response.status, StatusCode::OK);
    let answer = response.json();
    let codes = json!([
        "",
        "unknown_entity",
        "outside_max_age",
        "missing_features",
        ""
    ]);
    assert_eq!(output(&answer, "error")["data"], codes);
    assert_eq!(
        output(&answer, "label")["data"],
        json!(["low", "", "", "", "high"])
    );
    let confidence = output(&answer, "confidence")["data"].as_array().unwrap();
    assert_eq!(confidence[1..4], [json!(0.0), json!(0.0), json!(0.0)]);
    assert!(confidence[0].as_f64().unwrap() > 0.5);
    assert_eq!(output(&answer, "probabilities")["shape"], json!([5, 2]));
}

#[tokio::test]
async fn a_request_of_unknown_entities_is_404() {
    let service = start(feature_store(Behaviour::Answers).await).await;
    let response = service.infer(&ask(&["unknown", "strange"])).await;
    assert_eq!(response.status, StatusCode::NOT_FOUND);
    assert_eq!(response.json()["code"], "unknown_entity");
}

#[tokio::test]
async fn a_request_whose_rows_all_fail_otherwise_reports_each() {
    let service = start(feature_store(Behaviour::Answers).await).await;
    let response = service.infer(&ask(&["old", "unknown"])).await;
    assert_eq!(response.status, StatusCode::OK);
    let answer = response.json();
    assert_eq!(
        output(&answer, "error")["data"],
        json!(["outside_max_age", "unknown_entity"])
    );
    assert!(answer["parameters"].get("traceparent").is_none());
}

#[tokio::test]
async fn a_broken_feature_store_is_503() {
    for behaviour in [Behaviour::Fails, Behaviour::Babbles] {
        let service = start(feature_store(behaviour).await).await;
        let response = service.infer(&ask(&["low"])).await;
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers["retry-after"], "1");
        assert_eq!(response.json()["code"], "feature_store_unavailable");
    }
    let service = start(nobody()).await;
    assert_eq!(
        service.infer(&ask(&["low"])).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_slow_feature_store_cannot_hold_a_request_beyond_its_deadline() {
    let service = start(feature_store(Behaviour::Hangs).await).await;
    let mut body = ask(&["low"]);
    body["parameters"] = json!({"timeout": 100_000});
    let begin = Instant::now();
    let response = service.infer(&body).await;
    assert_eq!(response.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.json()["code"], "deadline_passed");
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "the feature store's own timeout was waited for"
    );
}

#[tokio::test]
async fn ids_that_are_not_text_are_400() {
    let service = start(feature_store(Behaviour::Answers).await).await;
    let head = json!({"inputs": [{"name": "data_id", "shape": [1], "datatype": "BYTES",
        "parameters": {"binary_data_size": 6}}]});
    let mut body = head.to_string().into_bytes();
    let length = body.len();
    body.extend(b"\x02\0\0\0\xff\xfe");
    let request = http::Request::post("/v2/models/wine_quality/infer")
        .header("inference-header-content-length", length);
    let response = service.send(request, body.into()).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
}
