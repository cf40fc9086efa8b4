//! `Cache-Control` in, `Cache-Status` and `Server-Timing` out, versions and time to live.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::harness::{Gateway, Setup};
use super::stores::Troubled;

#[tokio::test]
async fn a_miss_then_a_hit_then_a_partial_hit() {
    let gateway = Gateway::start().await;
    assert_eq!(
        gateway.predict(&["a", "b"]).await.cache_status(),
        "throughline; fwd=miss; stored"
    );
    assert_eq!(
        gateway.predict(&["a", "b"]).await.cache_status(),
        "throughline; hit"
    );
    assert_eq!(
        gateway.predict(&["a", "c"]).await.cache_status(),
        "throughline; fwd=partial; stored"
    );
    assert_eq!(
        gateway
            .get("/v1/predictions/wine_quality/c")
            .await
            .cache_status(),
        "throughline; hit"
    );
}

#[tokio::test]
async fn no_cache_computes_again_and_stores() {
    let gateway = Gateway::start().await;
    gateway.predict(&["a"]).await;
    gateway.pass(5);
    let reply = gateway.predict_with(&["a"], "no-cache").await;
    assert_eq!(
        (reply.cache_status(), reply.each("cached")),
        ("throughline; fwd=request; stored", vec![json!(false)])
    );
    assert_eq!(reply.each("computed_at"), ["2026-01-31T12:00:05Z"]);
    let reply = gateway.predict(&["a"]).await;
    assert_eq!(
        (reply.cache_status(), reply.each("computed_at")),
        ("throughline; hit", vec![json!("2026-01-31T12:00:05Z")])
    );
    assert_eq!(gateway.fake.calls().len(), 2);
}

#[tokio::test]
async fn no_store_stores_nothing_and_reads_stored_predictions() {
    let gateway = Gateway::start().await;
    for _ in 0..2 {
        assert_eq!(
            gateway
                .predict_with(&["a"], "no-store")
                .await
                .cache_status(),
            "throughline; fwd=miss"
        );
    }
    assert_eq!(gateway.store.writes.lock().unwrap().len(), 0);
    gateway.predict(&["a"]).await;
    assert_eq!(
        gateway
            .predict_with(&["a"], "no-store")
            .await
            .cache_status(),
        "throughline; hit"
    );
    assert_eq!(
        gateway
            .predict_with(&["a"], "no-store, no-cache")
            .await
            .cache_status(),
        "throughline; fwd=request"
    );
    assert_eq!(gateway.store.writes.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn max_age_accepts_only_younger_predictions() {
    let gateway = Gateway::start().await;
    gateway.predict(&["a"]).await;
    gateway.pass(10);
    assert_eq!(
        gateway
            .predict_with(&["a"], "max-age=10")
            .await
            .cache_status(),
        "throughline; hit"
    );
    assert_eq!(
        gateway
            .predict_with(&["a"], "Max-Age=\"60\"")
            .await
            .cache_status(),
        "throughline; hit"
    );
    let huge = gateway
        .predict_with(&["a"], "max-age=99999999999999999999999")
        .await;
    assert_eq!(huge.cache_status(), "throughline; hit");
    assert_eq!(
        gateway
            .predict_with(&["a"], "max-age=9")
            .await
            .cache_status(),
        "throughline; fwd=stale; stored"
    );
    assert_eq!(
        gateway
            .predict_with(&["a"], "max-age=9")
            .await
            .cache_status(),
        "throughline; hit"
    );
    gateway.pass(1);
    assert_eq!(
        gateway
            .predict_with(&["a"], "max-age=soon")
            .await
            .cache_status(),
        "throughline; fwd=stale; stored"
    );
    gateway.pass(1);
    assert_eq!(
        gateway
            .predict_with(&["a", "b"], "max-age=0")
            .await
            .cache_status(),
        "throughline; fwd=miss; stored"
    );
}

#[tokio::test]
async fn only_if_cached_never_calls_the_model() {
    let gateway = Gateway::start().await;
    let reply = gateway.predict_with(&["a"], "only-if-cached").await;
    assert_eq!(reply.problem(504), "not_cached");
    assert_eq!(reply.cache_status(), "throughline; detail=only-if-cached");
    assert_eq!(gateway.fake.calls().len(), 0);
    gateway.predict(&["a"]).await;
    assert_eq!(
        gateway
            .predict_with(&["a"], "only-if-cached")
            .await
            .cache_status(),
        "throughline; hit"
    );
    let reply = gateway.predict_with(&["a", "b"], "only-if-cached").await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; hit; detail=only-if-cached")
    );
    assert_eq!(reply.each("error")[1]["code"], "not_cached");
    gateway.pass(10);
    assert_eq!(
        gateway
            .predict_with(&["a"], "only-if-cached, max-age=5")
            .await
            .problem(504),
        "not_cached"
    );
    assert_eq!(gateway.fake.calls().len(), 1);
}

#[tokio::test]
async fn predictions_expire_after_their_time_to_live() {
    let gateway = Gateway::with(Setup {
        ttl: Some(Duration::from_mins(1)),
        ..Setup::default()
    })
    .await;
    gateway.predict(&["a"]).await;
    assert_eq!(
        gateway.predict(&["a"]).await.cache_status(),
        "throughline; hit; ttl=60"
    );
    gateway.pass(59);
    gateway.predict(&["b"]).await;
    assert_eq!(
        gateway.predict(&["b", "a"]).await.cache_status(),
        "throughline; hit; ttl=1"
    );
    gateway.pass(1);
    let found = gateway.get("/v1/predictions").await;
    assert_eq!(
        found.each("data_id"),
        ["b", "a"],
        "a search finds a prediction of exactly the time to live"
    );
    assert_eq!(
        gateway.predict(&["a"]).await.cache_status(),
        "throughline; fwd=stale; stored"
    );
    assert_eq!(
        gateway.predict(&["a"]).await.cache_status(),
        "throughline; hit; ttl=60"
    );
    gateway.pass(60);
    assert_eq!(gateway.get("/v1/predictions").await.each("data_id"), ["a"]);
}

#[tokio::test]
async fn a_new_version_never_answers_with_an_old_prediction() {
    let gateway = Gateway::start().await;
    gateway.predict(&["a"]).await;
    gateway.fake.set_version("2");
    gateway
        .eventually("the gateway knows version 2", async || {
            let models = gateway.get("/v1/models").await.json();
            models["models"]
                .as_array()
                .unwrap()
                .iter()
                .all(|model| model["variants"][0]["version"] == "2")
        })
        .await;
    let reply = gateway.predict(&["a"]).await;
    assert_eq!(
        (reply.cache_status(), reply.each("model_version")),
        ("throughline; fwd=miss; stored", vec![json!("2")])
    );
    // Back to version 1: its predictions are still there.
    gateway.fake.set_version("1");
    gateway
        .eventually("version 1 answers again", async || {
            let reply = gateway.predict(&["a"]).await;
            reply.each("model_version") == ["1"] && reply.cache_status() == "throughline; hit"
        })
        .await;
    assert_eq!(gateway.fake.calls().len(), 2);
}

#[tokio::test]
async fn the_version_of_an_inference_answer_counts_at_once() {
    let gateway = Gateway::start().await;
    gateway.predict(&["a"]).await;
    gateway.fake.close_gate();
    let (reply, ()) = tokio::join!(gateway.predict(&["b"]), async {
        gateway.until_called(2).await;
        gateway.fake.set_version("2");
        gateway.fake.open_gate();
    });
    assert_eq!(reply.each("model_version"), ["2"]);
    assert_eq!(gateway.predict(&["a"]).await.each("model_version"), ["2"]);
    assert_eq!(
        gateway.predict(&["b"]).await.cache_status(),
        "throughline; hit"
    );
}

#[tokio::test]
async fn server_timing_has_the_time_of_each_part() {
    let gateway = Gateway::start().await;
    let timing = gateway
        .predict(&["a"])
        .await
        .header("server-timing")
        .to_owned();
    let parts: Vec<(&str, f64)> = timing
        .split(", ")
        .map(|part| part.split_once(";dur=").unwrap())
        .map(|(n, d)| (n, d.parse().unwrap()))
        .collect();
    assert_eq!(
        parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["store", "model", "features", "queue", "compute"]
    );
    assert!(parts[0].1 > 0.0 && parts[1].1 > 0.0, "{timing}");
    assert!(
        timing.ends_with(", features;dur=1.500, queue;dur=0.250, compute;dur=0.125"),
        "{timing}"
    );
    let timing = gateway
        .predict(&["a"])
        .await
        .header("server-timing")
        .to_owned();
    assert!(
        timing.starts_with("store;dur=") && !timing.contains(','),
        "{timing}"
    );
}

#[tokio::test]
async fn what_was_computed_in_the_future_is_stale_and_replaced() {
    let gateway = Gateway::start().await;
    gateway.pass(86_400);
    gateway.predict(&["a"]).await;
    gateway.pass(-86_400);
    // The clock is right again: another prediction takes the place of the one from the future.
    *gateway.fake.shared.label.lock().unwrap() = "low";
    let reply = gateway.predict(&["a"]).await;
    assert_eq!(
        (reply.cache_status(), reply.each("label")),
        ("throughline; fwd=stale; stored", vec![json!("low")])
    );
    let reply = gateway.predict(&["a"]).await;
    assert_eq!(
        (reply.cache_status(), reply.each("label")),
        ("throughline; hit", vec![json!("low")])
    );
    // A small difference between two clocks is none.
    gateway.pass(-30);
    assert_eq!(
        gateway.predict(&["a"]).await.cache_status(),
        "throughline; hit"
    );
}

#[tokio::test]
async fn a_refused_write_is_never_called_stored() {
    let store = Troubled::new();
    let on_store = || Setup {
        store: Arc::clone(&store),
        ..Setup::default()
    };
    let ahead = Gateway::with(on_store()).await;
    let behind = Gateway::with(on_store()).await;
    *behind.fake.shared.label.lock().unwrap() = "low";

    // Clocks that differ a little: what the faster one stored is newer, and stays.
    ahead.pass(30);
    let reply = ahead.predict(&["a"]).await;
    assert_eq!(reply.cache_status(), "throughline; fwd=miss; stored");
    let reply = behind.predict_with(&["a"], "no-cache").await;
    assert_eq!(reply.each("label"), ["low"]);
    assert_eq!(
        reply.cache_status(),
        "throughline; fwd=request; detail=superseded"
    );
    let reply = behind.predict(&["a"]).await;
    assert_eq!(reply.each("label"), ["high"]);
    assert_eq!(reply.cache_status(), "throughline; hit");
    let reply = behind.predict_with(&["a", "b"], "no-cache").await;
    assert_eq!(
        reply.cache_status(),
        "throughline; fwd=request; detail=superseded"
    );

    // A clock that is a day ahead: the other gateway computes anew, and that is really stored.
    ahead.pass(86_400);
    ahead.predict(&["c"]).await;
    let reply = behind.predict(&["c"]).await;
    assert_eq!(reply.each("label"), ["low"]);
    assert_eq!(reply.cache_status(), "throughline; fwd=stale; stored");
    for gateway in [&behind, &ahead] {
        let reply = gateway.predict(&["c"]).await;
        assert_eq!(reply.each("label"), ["low"]);
        assert_eq!(reply.cache_status(), "throughline; hit");
    }
    assert_eq!(behind.get("/readyz").await.json()["detail"], json!({}));
}
