//! Feedback about predictions, and the quality that it adds up to.

use std::sync::atomic::Ordering;

use protocol::oip::ModelTraining;
use serde_json::{Value, json};

use super::fake::{Fake, RUN_ID};
use super::harness::{Gateway, Reply, Setup};

const QUALITY: &str = "/v1/models/wine_quality/quality";

async fn send(gateway: &Gateway, feedback: Value) -> Reply {
    let body = json!({"model": "wine_quality", "feedback": feedback}).to_string();
    gateway.post("/v1/feedback", &[], body).await
}

/// A label for one wine.
fn label(data_id: &str, label: &str) -> Value {
    json!({"data_id": data_id, "label": label})
}

/// A gateway of a service that tells of its training.
async fn trained() -> Gateway {
    let gateway = Gateway::start().await;
    *gateway.fake.shared.training.lock().unwrap() = Some(ModelTraining {
        run_id: RUN_ID.to_owned(),
        classes: vec!["low".to_owned(), "high".to_owned()],
        validation_accuracy: Some(0.78),
        validation_rmse: None,
    });
    let path = "/v2/models/wine_quality/versions/1";
    let metadata = r#"{"name":"wine_quality","training":{"run_id":"4bf92f3577b34da6a3ce929d0e0e4736","validation_accuracy":0.78}}"#;
    gateway.fake.answer_read(path, 200, metadata);
    gateway
}

/// What is known of the only version of the first variant.
async fn version(gateway: &Gateway) -> Value {
    let reply = gateway.get(QUALITY).await;
    assert_eq!(reply.status, 200);
    reply.json()["variants"][0]["versions"][0].clone()
}

#[tokio::test]
async fn labels_give_the_accuracy_beside_its_estimate_and_the_trainings() {
    let gateway = trained().await;
    let before = version(&gateway).await;
    assert_eq!(
        (
            &before["version"],
            &before["validation_accuracy"],
            &before["feedback"]
        ),
        (&json!("1"), &json!(0.78), &json!(0))
    );
    // The service predicts `high` with 0.75.
    gateway.predict(&["1", "2", "3", "4", "5"]).await;
    let truths = json!([label("1", "high"), label("2", "low"), label("3", "high")]);
    let reply = send(&gateway, truths).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let evaluation = |score: f64, label: &str| {
        json!([{"variant": "primary", "model_version": "1", "name": "accuracy",
        "score": score, "label": label, "result": "counted"}])
    };
    let entry = |id: &str, evaluations: Value| json!({"data_id": id, "model": "wine_quality", "evaluations": evaluations});
    assert_eq!(
        reply.json()["feedback"],
        json!([
            entry("1", evaluation(1.0, "correct")),
            entry("2", evaluation(0.0, "incorrect")),
            entry("3", evaluation(1.0, "correct")),
        ])
    );
    let filling = version(&gateway).await;
    assert_eq!(filling["window"], Value::Null);
    assert_eq!(filling["filling"]["rows"], 3);
    // The same again counts once, and a correction replaces.
    let again = send(&gateway, json!([label("2", "low"), label("3", "low")])).await;
    for entry in again.json()["feedback"].as_array().unwrap() {
        assert_eq!(entry["evaluations"][0]["result"], "replaced", "{entry}");
    }
    send(&gateway, json!([label("4", "high")])).await;
    let ended = version(&gateway).await;
    let window = &ended["window"];
    assert_eq!(
        (&window["rows"], &window["correct"], &window["accuracy"]),
        (&json!(4), &json!(2), &json!(0.5)),
        "{ended}"
    );
    assert_eq!(window["estimated_accuracy"], 0.75);
    assert_eq!(window["accuracy_interval95"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&ended["filling"], &ended["run_id"], &ended["feedback"]),
        (&Value::Null, &json!(RUN_ID), &json!(4))
    );
    let variant = gateway.get(QUALITY).await.json()["variants"][0].clone();
    assert_eq!(
        (&variant["predictions"], &variant["estimated_accuracy"]),
        (&json!(5), &json!(0.75))
    );
}

#[tokio::test]
async fn what_is_true_of_an_entity_judges_every_variant() {
    let canary = Fake::predicting("low").await;
    let setup = Setup {
        services: vec![format!("canary=http://{}", canary.address)],
        ..Setup::default()
    };
    let gateway = Gateway::with(setup).await;
    for variant in ["ml.variant=primary", "ml.variant=canary"] {
        let path = "/v1/predictions/wine_quality/1";
        gateway.get_with(path, &[("baggage", variant)]).await;
    }
    let reply = send(&gateway, json!([label("1", "low")])).await;
    let judged: Vec<_> = reply.json()["feedback"][0]["evaluations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|evaluation| (evaluation["variant"].clone(), evaluation["score"].clone()))
        .collect();
    assert_eq!(
        judged,
        [
            (json!("primary"), json!(0.0)),
            (json!("canary"), json!(1.0))
        ]
    );
    let only = json!([{"data_id": "1", "label": "low", "variant": "canary"}]);
    let reply = send(&gateway, only).await;
    let evaluations = &reply.json()["feedback"][0]["evaluations"];
    assert_eq!(evaluations.as_array().unwrap().len(), 1);
    assert_eq!(evaluations[0]["result"], "replaced");
    let quality = gateway.get(QUALITY).await.json();
    for (variant, accuracy) in quality["variants"]
        .as_array()
        .unwrap()
        .iter()
        .zip([0.0, 1.0])
    {
        assert_eq!(variant["versions"][0]["accuracy"], accuracy, "{quality}");
    }
}

#[tokio::test]
async fn one_bad_item_fails_alone_and_nothing_of_it_counts() {
    let gateway = trained().await;
    gateway.predict(&["1", "2"]).await;
    gateway
        .eventually("the classes are known", async || {
            let reply = send(&gateway, json!([label("2", "medium")])).await;
            reply.status == 422
        })
        .await;
    let items = json!([
        label("1", "high"),
        label("nobody", "high"),
        label("1", "medium"),
        {"data_id": "1", "value": 3.5},
        {"data_id": "1", "score": {"name": "llm_ground_truth_score", "value": 0.9}},
    ]);
    let reply = send(&gateway, items).await;
    assert_eq!(reply.status, 200);
    let codes: Vec<_> = reply.json()["feedback"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["error"]["code"].clone())
        .collect();
    let expected = [
        Value::Null,
        json!("prediction_not_stored"),
        json!("unknown_label"),
        json!("wrong_truth"),
        Value::Null,
    ];
    assert_eq!(codes, expected);
    let version = version(&gateway).await;
    assert_eq!(
        version["scores"],
        json!({"llm_ground_truth_score": {"count": 1, "mean": 0.9}})
    );
    let none = send(
        &gateway,
        json!([label("nobody", "high"), label("1", "medium")]),
    )
    .await;
    assert_eq!(none.problem(422), "none_succeeded");
    assert_eq!(none.json()["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_not_feedback_is_refused_with_the_reason() {
    let gateway = Gateway::start().await;
    let long = "x".repeat(257);
    for (item, reason) in [
        (json!({"label": "high"}), "must have data_id or trace_id"),
        (
            json!({"data_id": "1"}),
            "exactly one of label, value and score",
        ),
        (
            json!({"data_id": "1", "label": "high", "value": 1.0}),
            "exactly one",
        ),
        (
            json!({"data_id": "", "label": "high"}),
            "data_id must have 1 to 256 bytes",
        ),
        (
            json!({"data_id": "1", "label": long}),
            "label must have 1 to 256 bytes",
        ),
        (
            json!({"data_id": "1", "label": "a\nb"}),
            "no control characters",
        ),
        (json!({"trace_id": "12", "label": "high"}), "32 hex digits"),
        (
            json!({"data_id": "1", "label": "high", "variant": "../x"}),
            "not the name of a variant",
        ),
        (
            json!({"data_id": "1", "label": "high", "model_version": ""}),
            "not a version",
        ),
        (
            json!({"data_id": "1", "score": {"name": "a b", "value": 1}}),
            "score.name must have",
        ),
        (json!({"data_id": "1", "value": 1e200}), "at most 1e30"),
        (
            json!({"data_id": "1", "score": {"name": "a", "value": -1e31}}),
            "at most 1e30",
        ),
        (
            json!({"data_id": "1", "label": "high", "explanation": "text"}),
            "unknown field",
        ),
    ] {
        let reply = send(&gateway, json!([item])).await;
        assert_eq!(reply.problem(422), "invalid_request", "{item}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(reason), "{detail}");
    }
    assert_eq!(
        send(&gateway, json!([])).await.problem(422),
        "invalid_request"
    );
    let many = vec![label("1", "high"); 1_001];
    assert_eq!(
        send(&gateway, json!(many)).await.problem(422),
        "invalid_request"
    );
    for (body, status) in [
        ("{", 400),
        ("[]", 422),
        (
            r#"{"model":"nobody","feedback":[{"data_id":"1","label":"x"}]}"#,
            404,
        ),
    ] {
        assert_eq!(
            gateway.post("/v1/feedback", &[], body).await.status,
            status,
            "{body}"
        );
    }
    let too_large = r#"{"model":"wine_quality","feedback":[{"data_id":"1","value":1e999}]}"#;
    assert_eq!(
        gateway.post("/v1/feedback", &[], too_large).await.status,
        400
    );
    assert_eq!(
        gateway.get("/v1/models/nobody/quality").await.problem(404),
        "unknown_model"
    );
}

#[tokio::test]
async fn nothing_is_accepted_while_the_store_is_down() {
    let gateway = Gateway::start().await;
    gateway.predict(&["1"]).await;
    gateway.store.reads_fail.store(true, Ordering::Relaxed);
    let reply = send(&gateway, json!([label("1", "high")])).await;
    assert_eq!(reply.problem(503), "store_unavailable");
    gateway.store.reads_fail.store(false, Ordering::Relaxed);
    assert_eq!(version(&gateway).await["feedback"], 0);
    assert_eq!(
        send(&gateway, json!([label("1", "high")])).await.status,
        200
    );
}
