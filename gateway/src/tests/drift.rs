//! Drift of a model: what each variant's service answers, and services that do not.

use serde_json::json;

use super::fake::Fake;
use super::harness::{Gateway, Setup};

const PATH: &str = "/v2/models/wine_quality/drift";
const DRIFT: &str = "/v1/models/wine_quality/drift";
pub(super) const ANSWER: &str = r#"{"model_name":"wine_quality","window_rows":200,"windows_per_false_alarm":1000,"versions":[
    {"version":"1","run_id":"4bf92f3577b34da6a3ce929d0e0e4736","drift_detected":true,"since":"2026-11-27T19:00:00Z","waiting_rows":7,
     "window":{"number":2,"rows":212,"first_at":"2026-11-27T18:59:00Z","last_at":"2026-11-27T19:00:00Z",
        "trace_ids":["0af7651916cd43dd8448eb211c80319c"],
        "scores":[{"feature":"alcohol","method":"psi","score":1.3,"threshold":0.25,"rows":200,"reference_rows":1279,"bins":10,"drift_detected":true},
            {"feature":"alcohol","method":"js_distance_base2","score":0.4,"threshold":null,"rows":200,"reference_rows":1279,"bins":10,"drift_detected":false}]}},
    {"version":"2","run_id":"4bf92f3577b34da6a3ce929d0e0e4737","drift_detected":false,"since":null,"waiting_rows":0,"window":null}]}"#;

/// A gateway whose `primary` measures drift, if it has an answer, and whose `canary` does not.
async fn gateway(answer: Option<&'static str>) -> (Gateway, Fake) {
    let canary = Fake::predicting("low").await;
    let setup = Setup {
        services: vec![format!("canary=http://{}", canary.address)],
        ..Setup::default()
    };
    canary.answer_read(PATH, 404, r#"{"error":"there is nothing at this path"}"#);
    let gateway = Gateway::with(setup).await;
    if let Some(answer) = answer {
        gateway.fake.answer_read(PATH, 200, answer);
    }
    (gateway, canary)
}

#[tokio::test]
async fn each_variant_answers_for_its_versions_or_is_said_not_to() {
    let (gateway, _canary) = gateway(Some(ANSWER)).await;
    let reply = gateway.get(DRIFT).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    let mut expected: serde_json::Value = serde_json::from_str(ANSWER).unwrap();
    expected.as_object_mut().unwrap().remove("model_name");
    assert_eq!(
        body,
        json!({"model": "wine_quality", "drift_detected": true, "variants": [
            {"name": "primary", "mode": "active", "drift": expected, "error": null},
            {"name": "canary", "mode": "active", "drift": null,
             "error": {"code": "drift_not_measured", "title": "The model service does not measure drift"}}
        ]})
    );
}

#[tokio::test]
async fn a_service_that_is_down_or_answers_nonsense_fails_alone() {
    let (gateway, mut canary) = gateway(Some(r#"{"versions": "many"}"#)).await;
    canary.stop().await;
    let reply = gateway.get(DRIFT).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!(body["drift_detected"], false);
    let codes = ["model_failed", "model_unavailable"];
    for (variant, code) in body["variants"].as_array().unwrap().iter().zip(codes) {
        assert_eq!(variant["error"]["code"], code, "{variant}");
        assert!(variant["drift"].is_null());
    }
}

#[tokio::test]
async fn an_unknown_model_is_404_and_its_name_is_no_path() {
    let (gateway, _canary) = gateway(None).await;
    for url in [
        "/v1/models/nobody/drift",
        "/v1/models/..%2F..%2Fadmin/drift",
        "/v1/models/%2e%2e/drift",
    ] {
        let reply = gateway.get(url).await;
        assert_eq!(reply.status, 404, "{url}");
        assert_eq!(reply.json()["code"], "unknown_model", "{url}");
    }
}

#[tokio::test]
async fn known_models_have_an_answer_while_their_service_is_down() {
    let (mut gateway, _canary) = gateway(None).await;
    gateway.fake.stop().await;
    let reply = gateway.get(DRIFT).await;
    assert_eq!(reply.status, 200);
    let error = &reply.json()["variants"][0]["error"];
    assert_eq!(error["code"], "model_unavailable");
}
