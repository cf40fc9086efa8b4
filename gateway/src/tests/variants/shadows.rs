//! Shadows: called beside the variant that answers, stored, compared, and without effect on
//! answers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::ProcessOptions;
use serde_json::json;

use super::super::fake::Behaviour;
use super::super::harness::Setup;
use super::{Options, VariantGateway, ids, refs};

async fn shadowed() -> VariantGateway {
    VariantGateway::start(
        &[("primary", "1"), ("kserve", "shadow")],
        Options::default(),
    )
    .await
}

#[tokio::test]
async fn a_shadow_computes_the_same_ids_and_its_predictions_never_answer() {
    let split = shadowed().await;
    let reply = split.gateway.predict(&["a", "b", "unknown_entity-1"]).await;
    assert_eq!(reply.each("variant")[..2], ["primary", "primary"]);
    let stored = async || {
        let found = split.gateway.get("/v1/predictions?variant=kserve").await;
        found.each("data_id") == ["a", "b"] && found.each("label") == ["low", "low"]
    };
    split
        .gateway
        .eventually("the predictions of the shadow are stored", stored)
        .await;
    assert_eq!(
        split.others[0].calls()[0].values,
        ["a", "b", "unknown_entity-1"]
    );
    // Neither its stored predictions nor the shadow itself answer a request.
    assert_eq!(split.gateway.predict(&["a"]).await.each("label"), ["high"]);
    let reply = split.predict(&["a"], "ml.variant=kserve").await;
    assert_eq!(reply.problem(422), "unknown_variant");
    assert!(
        reply.json()["detail"]
            .as_str()
            .unwrap()
            .contains("it is a shadow")
    );
    assert_eq!(split.others[0].calls().len(), 1, "a hit calls no shadow");
}

#[tokio::test]
async fn a_shadow_that_hangs_delays_no_answer() {
    // No call of the shadow times out in this test, so a request that waited for one would hang.
    let process = ProcessOptions {
        request_timeout: Duration::from_mins(10),
        ..ProcessOptions::default()
    };
    let options = Options {
        setup: Setup {
            process,
            ..Setup::default()
        },
        ..Options::default()
    };
    let split = VariantGateway::start(&[("primary", "1"), ("kserve", "shadow")], options).await;
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
        .eventually("the limit of shadow calls is reached", async || {
            split.others[0].calls().len() == 64
        })
        .await;
    split.others[0].open_gate();
    let answered = async || split.variant("kserve").await["statistics"]["calls"] == 64;
    split
        .gateway
        .eventually(
            "all calls have ended, and the others were dropped",
            answered,
        )
        .await;
    split.gateway.predict(&["later"]).await;
    split
        .gateway
        .eventually("a shadow is called again", async || {
            split.others[0].calls().len() == 65
        })
        .await;
}

#[tokio::test]
async fn a_shadow_that_fails_does_not_affect_answers() {
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
    split.gateway.eventually("readyz shows it", down).await;
    assert_eq!(split.gateway.predict(&["c"]).await.status, 200);
}

#[tokio::test]
async fn no_store_holds_for_shadows_as_well() {
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
async fn requests_that_share_a_call_share_its_shadow_call() {
    let split = shadowed().await;
    split.gateway.fake.close_gate();
    let (first, second, ()) = tokio::join!(
        split.gateway.predict(&["a"]),
        async {
            split.gateway.until_called(1).await;
            split.gateway.predict(&["a"]).await
        },
        async {
            let both = async || split.gateway.store.lookups.lock().unwrap().len() == 2;
            split
                .gateway
                .eventually("both lookups were made", both)
                .await;
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
async fn a_store_that_refuses_writes_does_not_affect_the_answer_beside_a_shadow() {
    let split = VariantGateway::start(
        &[("primary", "1"), ("kserve", "shadow")],
        Options {
            setup: Setup {
                store_timeout: Duration::from_secs(1),
                ..Setup::default()
            },
            ..Options::default()
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
    split
        .gateway
        .eventually("both writes were tried", both)
        .await;
}
