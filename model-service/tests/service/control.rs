//! Loading and unloading models while the service runs.

use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use bytes::Bytes;
use harness::{Answer, send_async};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::server::{Behaviour, LOW, Service, feature_store, nobody, start, train_into};

async fn control(service: &Service, model: &str, call: &str, body: &str) -> Answer {
    let path = format!("/v2/repository/models/{model}/{call}");
    let body = Bytes::copy_from_slice(body.as_bytes());
    service.send(Request::post(path), body).await
}

fn one_row() -> Value {
    let input = json!({"name": "features", "shape": [1, 11], "datatype": "FP32", "data": LOW});
    json!({"inputs": [input]})
}

async fn answering(service: &Service) -> Value {
    service.infer(&one_row()).await.json()["model_version"].clone()
}

#[tokio::test]
async fn a_version_is_loaded_and_the_newest_again() {
    let service = start(nobody()).await;
    train_into(&service.models);
    for body in ["", "{}", r#"{"parameters":null}"#, r#"{"parameters":{}}"#] {
        let loaded = control(&service, "wine_quality", "load", body).await;
        assert_eq!(loaded.status, StatusCode::OK, "{loaded:?}");
        assert_eq!(answering(&service).await, "2");
    }
    for body in [
        r#"{"parameters":{"version":"1"}}"#,
        r#"{"parameters":{"version":1}}"#,
    ] {
        let loaded = control(&service, "wine_quality", "load", body).await;
        assert_eq!(loaded.status, StatusCode::OK, "{loaded:?}");
        assert_eq!(answering(&service).await, "1");
    }
    let metadata = service.get("/v2/models/wine_quality").await.json();
    assert_eq!(metadata["versions"], json!(["1", "2"]));
    assert_eq!(metadata["current_version"], "1");
    control(&service, "wine_quality", "load", "").await;
    let metadata = service.get("/v2/models/wine_quality").await.json();
    assert_eq!(metadata["current_version"], Value::Null, "the highest");
    assert_eq!(answering(&service).await, "2");
}

#[tokio::test]
async fn a_model_is_unloaded_and_loaded() {
    let service = start(nobody()).await;
    let unloaded = control(
        &service,
        "wine_quality",
        "unload",
        r#"{"parameters":{"unload_dependents":false}}"#,
    )
    .await;
    assert_eq!(unloaded.status, StatusCode::OK, "{unloaded:?}");
    for path in ["", "/ready", "/config", "/versions/1", "/versions/1/ready"] {
        let path = format!("/v2/models/wine_quality{path}");
        let answer = service.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.json()["code"], "unknown_model");
    }
    let refused = service.infer(&one_row()).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
    assert!(refused.text().contains("is unloaded"), "{refused:?}");
    assert_eq!(
        service.get("/v2/models").await.json(),
        json!({"models": []})
    );
    let index = service
        .send(Request::post("/v2/repository/index"), Bytes::new())
        .await;
    assert_eq!(
        index.json(),
        json!([{"name": "wine_quality", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}])
    );
    let readyz = service.get("/readyz").await;
    assert_eq!(readyz.status, StatusCode::OK, "the service itself is well");
    assert_eq!(
        readyz.json()["detail"]["models"],
        "wine_quality is unloaded"
    );
    let loaded = control(&service, "wine_quality", "load", "").await;
    assert_eq!(loaded.status, StatusCode::OK);
    assert_eq!(answering(&service).await, "1");
    assert_eq!(
        service.get("/readyz").await.json()["detail"]["models"],
        Value::Null
    );
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_and_nothing_changes() {
    let service = start(nobody()).await;
    let half = service.models.join("wine_quality/2");
    std::fs::create_dir(&half).unwrap();
    std::fs::write(half.join("manifest.json"), "{}").unwrap();
    let version = |version: Value| json!({"parameters": {"version": version}}).to_string();
    for (model, call, body, status, code) in [
        (
            "wine_quality",
            "load",
            String::new(),
            503,
            "model_not_ready",
        ),
        (
            "wine_quality",
            "load",
            version(json!("2")),
            503,
            "model_not_ready",
        ),
        (
            "wine_quality",
            "load",
            version(json!("3")),
            404,
            "unknown_version",
        ),
        (
            "wine_quality",
            "load",
            version(json!("../1")),
            404,
            "unknown_version",
        ),
        (
            "wine_quality",
            "load",
            version(json!(true)),
            400,
            "bad_request",
        ),
        (
            "wine_quality",
            "load",
            version(json!(-1)),
            400,
            "bad_request",
        ),
        ("wine_quality", "load", "[]".to_owned(), 400, "bad_request"),
        ("wine_quality", "load", "{".to_owned(), 400, "bad_request"),
        (
            "wine_quality",
            "load",
            r#"{"parameters":{"config":"{}"}}"#.to_owned(),
            400,
            "bad_request",
        ),
        (
            "wine_quality",
            "unload",
            version(json!("1")),
            400,
            "bad_request",
        ),
        ("none", "load", String::new(), 404, "unknown_model"),
        ("none", "unload", String::new(), 404, "unknown_model"),
        ("..%2Fmodels", "load", String::new(), 404, "unknown_model"),
    ] {
        let refused = control(&service, model, call, &body).await;
        assert_eq!(refused.status, status, "{model} {call} {body}: {refused:?}");
        assert_eq!(refused.json()["code"], code, "{model} {call} {body}");
    }
    assert_eq!(answering(&service).await, "1");
    assert!(!service.models.join("wine_quality/current.candle").exists());
}

#[tokio::test]
async fn a_request_in_flight_is_answered_by_the_version_that_it_began_with() {
    let known = feature_store(Behaviour::Answers).await;
    let (asked, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let slow = {
        let (asked, go_on) = (Arc::clone(&asked), Arc::clone(&go_on));
        let handler = move |body: Bytes| async move {
            asked.add_permits(1);
            go_on.acquire().await.unwrap().forget();
            let url = format!("http://{known}/get-online-features");
            let answer = send_async("POST", &url, &[], body).await.unwrap();
            answer.text()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/get-online-features", post(handler));
        telemetry::task::spawn(async move { axum::serve(listener, router).await });
        address
    };
    let service = Arc::new(start(slow).await);
    let in_flight = {
        let service = Arc::clone(&service);
        let ids = json!({"name": "data_id", "shape": [1], "datatype": "BYTES", "data": ["low"]});
        telemetry::task::spawn(async move { service.infer(&json!({"inputs": [ids]})).await })
    };
    asked.acquire().await.unwrap().forget();
    train_into(&service.models);
    control(&service, "wine_quality", "load", "").await;
    assert_eq!(answering(&service).await, "2");
    control(&service, "wine_quality", "unload", "").await;
    go_on.add_permits(1);
    let answer = in_flight.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json()["model_version"], "1");
}
