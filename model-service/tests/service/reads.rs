//! Health, metadata, the repository, and how the service behaves while models come and go.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::server::{LOW, Service, nobody, start, start_with, train_into};

async fn assert_read(service: &Service, path: &str, expected: &Value) {
    let response = service.get(path).await;
    assert_eq!(response.status, StatusCode::OK, "{path}");
    assert_eq!(
        response.headers["content-type"], "application/json",
        "{path}"
    );
    assert_eq!(&response.json(), expected, "{path}");
}

#[tokio::test]
async fn every_read_has_the_body_that_clients_need() {
    let service = start(nobody()).await;
    let server = json!({
        "name": "model-service",
        "version": env!("CARGO_PKG_VERSION"),
        "extensions": ["binary_tensor_data", "parameters", "model_repository"],
    });
    let described = service.get("/v2/models/wine_quality").await.json();
    let training = described["training"].clone();
    assert_eq!(training["classes"], json!(["low", "high"]));
    assert_eq!(training["run_id"].as_str().map(str::len), Some(32));
    assert!(training["validation_accuracy"].is_number(), "{training}");
    let model = json!({
        "training": training,
        "name": "wine_quality",
        "versions": ["1"],
        "platform": "candle_safetensors",
        "inputs": [
            {"name": "data_id", "datatype": "BYTES", "shape": [-1]},
            {"name": "features", "datatype": "FP32", "shape": [-1, 11]},
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "confidence", "datatype": "FP32", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        ],
    });
    let ready = json!({"name": "wine_quality", "ready": true});
    assert_read(&service, "/v2", &server).await;
    assert_read(&service, "/v2/", &server).await;
    assert_read(&service, "/v2/health/live", &json!({"live": true})).await;
    assert_read(
        &service,
        "/v2/health/ready",
        &json!({"ready": true, "live": true}),
    )
    .await;
    assert_read(&service, "/v2/models", &json!({"models": ["wine_quality"]})).await;
    assert_read(&service, "/v2/models/wine_quality", &model).await;
    assert_read(&service, "/v2/models/wine_quality/versions/1", &model).await;
    assert_read(&service, "/v2/models/wine_quality/ready", &ready).await;
    assert_read(&service, "/v2/models/wine_quality/versions/1/ready", &ready).await;
    let config = service.get("/v2/models/wine_quality/config").await.json();
    assert_eq!(
        config["input"][1],
        json!({"name": "features", "data_type": "TYPE_FP32", "dims": [-1, 11]})
    );
    assert_eq!(config["output"][0]["data_type"], "TYPE_STRING");
    assert_eq!(service.get("/readyz").await.status, StatusCode::OK);
}

async fn index(service: &Service, body: &'static str) -> Value {
    let response = service
        .send(Request::post("/v2/repository/index"), Bytes::from(body))
        .await;
    assert_eq!(response.status, StatusCode::OK);
    response.json()
}

#[tokio::test]
async fn new_versions_are_served_and_old_ones_stay() {
    let service = start(nobody()).await;
    let report = train_into(&service.models);
    assert_eq!(report.manifest.version, "2");
    let entry = |version: &str| json!({"name": "wine_quality", "version": version, "state": "READY", "reason": ""});
    assert_eq!(index(&service, "").await, json!([entry("1"), entry("2")]));
    let input = json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": LOW});
    let body = json!({"inputs": [input]});
    assert_eq!(service.infer(&body).await.json()["model_version"], "2");
    for version in ["1", "2"] {
        let path = format!("/v2/models/wine_quality/versions/{version}/infer");
        let response = service
            .send(Request::post(path), body.to_string().into())
            .await;
        assert_eq!(response.json()["model_version"], version);
    }
}

#[tokio::test]
async fn new_versions_are_noticed_without_a_request() {
    let service = start(nobody()).await;
    train_into(&service.models);
    let deadline = Instant::now() + Duration::from_mins(2);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while service.get("/v2/models/wine_quality").await.json()["versions"] != json!(["1", "2"]) {
        assert!(Instant::now() < deadline, "the new version was not noticed");
        tick.tick().await;
    }
}

#[tokio::test]
async fn a_broken_model_is_503_with_the_reason() {
    let service = start_with(nobody(), |models| {
        let version = models.join("wine_quality/1");
        std::fs::create_dir_all(&version).unwrap();
        std::fs::write(version.join("manifest.json"), "{}").unwrap();
    })
    .await;
    let paths = [
        "/v2/models/wine_quality/ready",
        "/v2/models/wine_quality/versions/1/ready",
        "/v2/health/ready",
    ];
    for path in paths {
        let response = service.get(path).await;
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(response.headers["retry-after"], "1");
    }
    let response = service.infer(&json!({"inputs": []})).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    let body = response.json();
    assert_eq!(body["code"], "model_not_ready");
    assert!(
        body["error"]
            .as_str()
            .unwrap()
            .contains("manifest.json is not a manifest")
    );
    let readyz = service.get("/readyz").await;
    assert_eq!(readyz.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        readyz.json()["detail"]["models"]
            .as_str()
            .unwrap()
            .contains("wine_quality version 1")
    );
    assert_eq!(index(&service, r#"{"ready": true}"#).await, json!([]));
    let listed = index(&service, "{}").await;
    assert_eq!(
        (&listed[0]["state"], &listed[0]["version"]),
        (&json!("UNAVAILABLE"), &json!("1"))
    );
}

#[tokio::test]
async fn an_empty_repository_waits_for_its_first_model() {
    let service = start_with(nobody(), |_| {}).await;
    assert_eq!(
        service.get("/v2/health/ready").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        service.get("/v2/models/wine_quality").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        service.get("/v2/models").await.json(),
        json!({"models": []})
    );
    train_into(&service.models);
    index(&service, "").await;
    assert_eq!(service.get("/v2/health/ready").await.status, StatusCode::OK);
    assert_eq!(
        service.get("/v2/models/wine_quality/ready").await.status,
        StatusCode::OK
    );
}
