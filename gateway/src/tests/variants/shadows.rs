//! Shadows: called beside, kept and compared, and never in anybody's way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::ProcessOptions;
use serde_json::json;

use super::super::fake::Behaviour;
use super::super::harness::Setup;
use super::{Rule, Split, ids, refs};

async fn shadowed() -> Split {
    Split::start(&[("primary", "1"), ("kserve", "shadow")], Rule::default()).await
}

#[tokio::test]
async fn a_shadow_computes_the_same_and_its_predictions_are_its_own() {
    let split = shadowed().await;
    let reply = split.gateway.predict(&["a", "b", "unknown_entity-1"]).await;
    assert_eq!(reply.each("variant")[..2], ["primary", "primary"]);
    let kept = async || {
        let found = split.gateway.get("/v1/predictions?variant=kserve").await;
        found.each("data_id") == ["a", "b"] && found.each("label") == ["low", "low"]
    };
    split
        .gateway
        .eventually("the predictions of the shadow are kept", kept)
        .await;
    assert_eq!(
        split.others[0].calls()[0].values,
        ["a", "b", "unknown_entity-1"]
    );
    // It never answers: neither by what is stored nor when it is asked for.
    assert_eq!(split.gateway.predict(&["a"]).await.each("label"), ["high"]);
    let reply = split.predict(&["a"], "ml.variant=kserve").await;
    assert_eq!(reply.problem(422), "unknown_variant");
    assert!(
        reply.json()["detail"]
            .as_str()
            .unwrap()
            .contains("it is a shadow")
    );
    assert_eq!(
        split.others[0].calls().len(),
        1,
        "what is stored is not computed beside"
    );
}

#[tokio::test]
async fn a_shadow_that_never_answers_delays_nobody() {
    // So long that no call of the shadow ends by itself in this test: each would hold up its request, if one waited.
    let process = ProcessOptions {
        request_timeout: Duration::from_mins(10),
        ..ProcessOptions::default()
    };
    let rule = Rule {
        setup: Setup {
            process,
            ..Setup::default()
        },
        ..Rule::default()
    };
    let split = Split::start(&[("primary", "1"), ("kserve", "shadow")], rule).await;
    split.others[0].close_gate();
    let ids = ids(100);
    for id in refs(&ids) {
        assert_eq!(
            split.gateway.predict(&[id]).await.cache_status(),
            "throughline; fwd=miss; stored"
        );
    }
    split
        .gateway
        .eventually("as many calls as may be", async || {
            split.others[0].calls().len() == 64
        })
        .await;
    split.others[0].open_gate();
    let answered = async || split.variant("kserve").await["statistics"]["calls"] == 64;
    split
        .gateway
        .eventually("all calls have ended, and no more were made", answered)
        .await;
    split.gateway.predict(&["later"]).await;
    split
        .gateway
        .eventually("there is room again", async || {
            split.others[0].calls().len() == 65
        })
        .await;
}

#[tokio::test]
async fn a_shadow_that_fails_fails_nobody() {
    let mut split = shadowed().await;
    split.others[0].behave(Behaviour::Refuse {
        status: 500,
        body: "boom",
        retry_after: None,
    });
    assert_eq!(
        split.gateway.predict(&["a"]).await.cache_status(),
        "throughline; fwd=miss; stored"
    );
    let failed = async || split.variant("kserve").await["statistics"]["errors"] == 1;
    split
        .gateway
        .eventually("the failure is counted", failed)
        .await;
    split.others[0].stop().await;
    assert_eq!(
        split.gateway.predict(&["b"]).await.cache_status(),
        "throughline; fwd=miss; stored"
    );
    let down =
        async || split.gateway.get("/readyz").await.json()["detail"]["model_service"].is_string();
    split.gateway.eventually("it is told", down).await;
    assert_eq!(split.gateway.predict(&["c"]).await.status, 200);
}

#[tokio::test]
async fn what_must_not_be_stored_is_not_stored_for_a_shadow_either() {
    let split = shadowed().await;
    assert_eq!(
        split
            .gateway
            .predict_with(&["a"], "no-store")
            .await
            .cache_status(),
        "throughline; fwd=miss"
    );
    let called = async || split.variant("kserve").await["statistics"]["calls"] == 1;
    split
        .gateway
        .eventually("the shadow was called", called)
        .await;
    assert_eq!(split.gateway.store.writes.lock().unwrap().len(), 0);
    assert_eq!(
        split.variant("kserve").await["statistics"]["predictions"],
        0
    );
}

#[tokio::test]
async fn requests_that_share_a_computation_share_its_shadow() {
    let split = shadowed().await;
    split.gateway.fake.close_gate();
    let (first, second, ()) = tokio::join!(
        split.gateway.predict(&["a"]),
        async {
            split
                .gateway
                .eventually("the call arrived", async || {
                    split.gateway.fake.calls().len() == 1
                })
                .await;
            split.gateway.predict(&["a"]).await
        },
        async {
            let both = async || split.gateway.store.lookups.lock().unwrap().len() == 2;
            split.gateway.eventually("both have looked", both).await;
            split.gateway.fake.open_gate();
        }
    );
    assert_eq!(
        (first.status, second.status),
        (http::StatusCode::OK, http::StatusCode::OK)
    );
    let called = async || split.variant("kserve").await["statistics"]["calls"] == 1;
    split
        .gateway
        .eventually("the shadow has answered", called)
        .await;
    assert_eq!(split.others[0].calls().len(), 1);
}

#[tokio::test]
async fn a_store_that_refuses_the_shadow_does_not_touch_the_answer() {
    let split = Split::start(
        &[("primary", "1"), ("kserve", "shadow")],
        Rule {
            setup: Setup {
                store_timeout: Duration::from_secs(1),
                ..Setup::default()
            },
            ..Rule::default()
        },
    )
    .await;
    split
        .gateway
        .store
        .writes_fail
        .store(true, Ordering::Relaxed);
    let reply = split.gateway.predict(&["a"]).await;
    assert_eq!(
        reply.cache_status(),
        "throughline; fwd=miss; detail=store-failed"
    );
    assert_eq!(reply.each("cached"), [json!(false)]);
    let both = async || split.gateway.store.writes.lock().unwrap().len() == 2;
    split.gateway.eventually("both have tried", both).await;
}
