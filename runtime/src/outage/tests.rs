//! An outage is reported once when it begins and once when it ends.

use axum::body::{Body, to_bytes};
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::Outage;
use crate::health::Health;

/// The detail of `/readyz`.
async fn detail(health: &Health) -> Value {
    let request = Request::get("/readyz")
        .body(Body::empty())
        .expect("a request");
    let answer = health.routes().oneshot(request).await.expect("infallible");
    let body = to_bytes(answer.into_body(), usize::MAX)
        .await
        .expect("a body");
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    answer["detail"].clone()
}

#[tokio::test]
async fn only_the_first_failure_and_the_first_success_change_the_state() {
    let health = Health::new();
    let outage = Outage::new("store", &health);
    assert!(!outage.end(), "there was no outage");
    assert!(outage.begin(|| "refused".to_owned()));
    assert!(!outage.begin(|| unreachable!("the detail is written once")));
    assert!(outage.is_ongoing());
    assert_eq!(detail(&health).await, json!({"store": "refused"}));

    assert!(outage.end());
    assert!(!outage.end());
    assert!(!outage.is_ongoing());
    assert_eq!(detail(&health).await, json!({}));
    assert!(
        outage.begin(|| "refused again".to_owned()),
        "the next outage"
    );
    assert_eq!(detail(&health).await, json!({"store": "refused again"}));
}

#[tokio::test]
async fn clones_share_one_outage_and_other_keys_do_not() {
    let health = Health::new();
    let (store, model) = (Outage::new("store", &health), Outage::new("model", &health));
    assert!(store.clone().begin(|| "down".to_owned()));
    assert!(store.is_ongoing() && !model.is_ongoing());
    assert!(model.begin(|| "slow".to_owned()));
    assert_eq!(
        detail(&health).await,
        json!({"store": "down", "model": "slow"})
    );
    assert!(store.end());
    assert_eq!(detail(&health).await, json!({"model": "slow"}));
}
