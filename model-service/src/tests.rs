//! The router in process, with models that the tests control.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use runtime::{Health, ProcessOptions};
use serde_json::{Value, json};
use telemetry::client::HttpClient;
use tower::ServiceExt;

use crate::candle::{Fit, FitOptions};
use crate::drift::DriftMonitor;
use crate::engine::Engine;
use crate::engine::tests::{Faulty, Gate};
use crate::features::FeatureStore;
use crate::model::Model;
use crate::predict::Predictor;
use crate::repository::{
    Dataset, FeatureProfile, Hyperparameters, Loaded, Lookup, Manifest, Metrics, ModelRepository,
    Normalisation, ReferenceProfile,
};
use crate::training::FEATURES;
use crate::{Config, router};

/// A manifest as a training writes it, with a normalisation that changes nothing.
pub(crate) fn manifest() -> Manifest {
    let profile = |name: &str| FeatureProfile {
        name: name.to_owned(),
        decile_edges: vec![0.0; 9],
        decile_shares: vec![0.1; 10],
        min: -10.0,
        max: 10.0,
        mean: 0.0,
        std: 1.0,
        missing: 0,
    };
    Manifest {
        name: "wine_quality".to_owned(),
        version: "3".to_owned(),
        run_id: "0123456789abcdef0123456789abcdef".to_owned(),
        framework: "candle".to_owned(),
        created_at: "2026-11-21T00:00:00Z".to_owned(),
        source_commit: None,
        dataset: Dataset {
            name: "test".to_owned(),
            sha256: String::new(),
            rows: 0,
        },
        weights_sha256: String::new(),
        features: FEATURES.map(str::to_owned).to_vec(),
        lookup: Some(Lookup {
            feature_view: "wine_features".to_owned(),
            join_key: "wine_id".to_owned(),
        }),
        normalisation: Some(Normalisation {
            mean: vec![0.0; 11],
            std: vec![1.0; 11],
        }),
        categories: std::collections::BTreeMap::new(),
        text: None,
        regression: None,
        classes: vec!["low".to_owned(), "high".to_owned()],
        hyperparameters: Hyperparameters::default(),
        seed: 0,
        metrics: Metrics {
            ..Metrics::default()
        },
        reference: ReferenceProfile {
            features: FEATURES.map(profile).to_vec(),
            class_shares: vec![0.5, 0.5],
            confidence_deciles: vec![0.5; 9],
            values: None,
        },
        calibration: None,
        training: None,
        added: None,
    }
}

fn mlp() -> Arc<dyn Model> {
    let fit = Fit::new(&FitOptions {
        widths: vec![11, 4, 2],
        learning_rate: 0.1,
        weight_decay: 0.0,
        seed: 1,
    });
    Arc::new(fit.unwrap().model().unwrap())
}

fn router_of(model: Arc<dyn Model>) -> Router {
    let config = Config {
        tls_client: runtime::TlsClientOptions::default(),
        listen: "127.0.0.1:0".parse().unwrap(),
        model_repository: "/nonexistent".into(),
        // Nothing listens on port 1, so lookups fail at once.
        feature_store: "http://127.0.0.1:1".parse().unwrap(),
        feature_timeout: Duration::from_secs(5),
        queue_capacity: 1,
        compute_threads: 1,
        batch_rows: 256,
        batch_tokens: 16_384,
        batch_wait: Duration::ZERO,
        allow_model_control: false,
        variant: "primary".to_owned(),
        capture_text: false,
        drift_window: 200,
        drift_windows_per_false_alarm: 1000,
        allow_faults: false,
        process: ProcessOptions::default(),
    };
    let loaded = Loaded::new(manifest(), model, None);
    let repository = Arc::new(ModelRepository::of(loaded));
    let engine = Engine::start(config.engine()).unwrap();
    let client = HttpClient::new().unwrap();
    let features = FeatureStore::new(client, &config.feature_store, config.feature_timeout);
    let drift = Arc::new(DriftMonitor::start(config.drift()).unwrap());
    let predictor = Predictor::new(engine, Arc::clone(&drift), config.variant.clone(), false);
    let health = Health::new();
    router::build(&config, repository, &health, features, predictor, drift).into_router()
}

fn infer(body: impl Into<Body>) -> Request<Body> {
    Request::post("/v2/models/wine_quality/infer")
        .body(body.into())
        .unwrap()
}

fn one_row() -> Value {
    let data: Vec<f32> = vec![0.5; 11];
    json!({"inputs": [{"name": "features", "shape": [1, 11], "datatype": "FP32", "data": data}]})
}

async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

async fn json_of(response: Response<Body>) -> Value {
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_answers_429_with_retry_after() {
    let (gate, begins, open) = Gate::new();
    let router = router_of(gate);
    let start = |router: &Router| {
        let router = router.clone();
        telemetry::task::spawn(async move { send(&router, infer(one_row().to_string())).await })
    };
    let running = start(&router);
    begins.recv_timeout(Duration::from_mins(1)).unwrap();
    let mut others = vec![start(&router), start(&router)];
    let refused = loop {
        if let Some(at) = others.iter().position(tokio::task::JoinHandle::is_finished) {
            break others.remove(at).await.unwrap();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(json_of(refused).await["code"], "overloaded");
    open.send(()).unwrap();
    open.send(()).unwrap();
    assert_eq!(running.await.unwrap().status(), StatusCode::OK);
    assert_eq!(others.remove(0).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timeout_parameter_is_a_deadline_in_microseconds() {
    // The gate stays closed because the test holds its other ends.
    let (gate, _begins, _open) = Gate::new();
    let router = router_of(gate);
    let mut body = one_row();
    body["parameters"] = json!({"timeout": 20_000});
    let late = send(&router, infer(body.to_string())).await;
    assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(json_of(late).await["code"], "deadline_passed");
}

#[tokio::test]
async fn a_failed_computation_is_500_and_does_not_stop_the_service() {
    for faulty in [Faulty::Panics, Faulty::Fails] {
        let router = router_of(Arc::new(faulty));
        for _ in 0..2 {
            let failed = send(&router, infer(one_row().to_string())).await;
            assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(json_of(failed).await["code"], "compute_error");
        }
    }
}

#[tokio::test]
async fn wrong_inputs_are_400_with_a_reason() {
    let router = router_of(mlp());
    let tensor = |name: &str, shape: Value, datatype: &str, data: Value| json!({"name": name, "shape": shape, "datatype": datatype, "data": data});
    let row = json!(vec![0.5; 11]);
    let good = tensor("features", json!([1, 11]), "FP32", row.clone());
    let ids = tensor("data_id", json!([1]), "BYTES", json!(["wine-0001"]));
    let cases = [
        (json!({"inputs": []}), "exactly one input"),
        (json!({"inputs": [good, ids]}), "exactly one input"),
        (
            json!({"inputs": [tensor("x", json!([1, 11]), "FP32", row.clone())]}),
            "only inputs",
        ),
        (
            json!({"inputs": [tensor("features", json!([11]), "FP32", row.clone())]}),
            "shape",
        ),
        (
            json!({"inputs": [tensor("features", json!([1, 10]), "FP32", json!(vec![0.5; 10]))]}),
            "shape",
        ),
        (
            json!({"inputs": [tensor("features", json!([0, 11]), "FP32", json!([]))]}),
            "no rows",
        ),
        (
            json!({"inputs": [tensor("features", json!([1, 11]), "BYTES", json!(vec!["a"; 11]))]}),
            "FP32",
        ),
        (
            json!({"inputs": [tensor("data_id", json!([1]), "INT32", json!([1]))]}),
            "BYTES",
        ),
        (
            json!({"inputs": [tensor("features", json!([1, 11]), "FP32", json!([1]))]}),
            "malformed",
        ),
        (
            json!({"inputs": [good], "outputs": [{"name": "score"}]}),
            "no output `score`",
        ),
        (
            json!({"inputs": [good], "parameters": {"timeout": -1}}),
            "timeout",
        ),
        (json!([1]), "malformed"),
    ];
    for (body, expected) in cases {
        let response = send(&router, infer(body.to_string())).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        let answer = json_of(response).await;
        let text = answer["error"].as_str().unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn batches_are_limited_to_a_thousand_rows() {
    let router = router_of(mlp());
    for (rows, expected) in [
        (1000, StatusCode::OK),
        (1001, StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let data = vec![0; rows * 11];
        let input =
            json!({"name": "features", "shape": [rows, 11], "datatype": "FP32", "data": data});
        let response = send(&router, infer(json!({"inputs": [input]}).to_string())).await;
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test]
async fn an_unreachable_feature_store_is_503() {
    let router = router_of(mlp());
    let input =
        json!({"name": "data_id", "shape": [1], "datatype": "BYTES", "data": ["wine-0001"]});
    let response = send(&router, infer(json!({"inputs": [input]}).to_string())).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(json_of(response).await["code"], "feature_store_unavailable");
}

/// Valid bodies with bytes changed, cut, doubled and inserted: each is answered with success or a
/// client error.
#[tokio::test]
async fn no_malformed_request_is_a_server_error() {
    let router = router_of(mlp());
    let head = json!({"inputs": [{"name": "features", "shape": [1, 11], "datatype": "FP32",
        "parameters": {"binary_data_size": 44}}], "parameters": {"binary_data_output": true}});
    let head = head.to_string();
    let binary: Vec<u8> = head.bytes().chain([0; 44]).collect();
    let plain = one_row().to_string().into_bytes();
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut refused = 0;
    for round in 0..3000 {
        let is_binary = round % 2 == 0;
        let mut body = if is_binary {
            binary.clone()
        } else {
            plain.clone()
        };
        for _ in 0..random.random_range(1..4) {
            mutate(&mut body, &mut random);
        }
        let mut request = infer(body);
        if is_binary {
            let lengths = [
                head.len().to_string(),
                random.random::<u64>().to_string(),
                "x".to_owned(),
            ];
            let length = &lengths[[0, 0, 0, 1, 2][random.random_range(0..5)]];
            request
                .headers_mut()
                .insert("inference-header-content-length", length.parse().unwrap());
        }
        if random.random_ratio(1, 10) {
            let encoding = ["gzip", "deflate", "br"][random.random_range(0..3)];
            request
                .headers_mut()
                .insert("content-encoding", encoding.parse().unwrap());
        }
        let status = send(&router, request).await.status();
        assert!(status.is_success() || status.is_client_error(), "{status}");
        refused += u32::from(status.is_client_error());
    }
    assert!(refused > 1000, "too few requests were malformed: {refused}");
}

fn mutate(body: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    if body.is_empty() {
        return;
    }
    let at = random.random_range(0..body.len());
    match random.random_range(0..5) {
        0 => body[at] = random.random(),
        1 => body.truncate(at),
        2 => body.insert(at, b"0123456789-{}[]\",:e."[random.random_range(0..20)]),
        3 => {
            let tail = body[at..].to_vec();
            body.extend(tail);
        }
        _ => body.extend_from_within(..at),
    }
}

#[tokio::test]
async fn models_are_loaded_and_unloaded_only_if_that_is_allowed() {
    let router = router_of(mlp());
    for call in ["load", "unload"] {
        let path = format!("/v2/repository/models/wine_quality/{call}");
        let request = Request::post(path).body(Body::empty()).unwrap();
        let refused = send(&router, request).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        let body = json_of(refused).await;
        assert_eq!(body["code"], "model_control_off");
        let text = body["error"].as_str().unwrap();
        assert!(text.contains("--allow-model-control"), "{text}");
    }
    let answer = send(&router, infer(one_row().to_string())).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_in_the_protocols_form() {
    let router = router_of(mlp());
    let cases = [
        (Request::get("/v2/nowhere"), StatusCode::NOT_FOUND),
        (
            Request::get("/v2/models/wine_quality/infer"),
            StatusCode::METHOD_NOT_ALLOWED,
        ),
        (Request::get("/v2/models/%ff/ready"), StatusCode::NOT_FOUND),
        (Request::get("/v2/models/none"), StatusCode::NOT_FOUND),
        (
            Request::get("/v2/models/wine_quality/versions/4/ready"),
            StatusCode::NOT_FOUND,
        ),
        (
            Request::post("/v2/models/none/infer"),
            StatusCode::NOT_FOUND,
        ),
    ];
    for (request, expected) in cases {
        let response = send(&router, request.body(Body::from(Bytes::new())).unwrap()).await;
        assert_eq!(response.status(), expected);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert!(json_of(response).await["error"].is_string());
    }
}
