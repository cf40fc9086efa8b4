//! Fail-over: the next variant answers for one that fails, if the routes file says so.

use std::time::Duration;

use runtime::ProcessOptions;
use serde_json::{Value, json};

use super::super::fake::Behaviour;
use super::super::harness::{Reply, Setup};
use super::{Options, VariantGateway, ids, refs};

async fn forgiving(setup: Setup) -> VariantGateway {
    let variants = [("primary", "1"), ("canary", "1"), ("third", "1")];
    VariantGateway::start(
        &variants,
        Options {
            fail_over: true,
            setup,
        },
    )
    .await
}

fn refuse(status: u16) -> Behaviour {
    Behaviour::Refuse {
        status,
        body: r#"{"error":"boom"}"#,
        retry_after: None,
    }
}

/// How many predictions each variant answered.
fn counts(reply: &Reply) -> [usize; 3] {
    let variants = reply.each("variant");
    ["primary", "canary", "third"]
        .map(|name| variants.iter().filter(|variant| *variant == name).count())
}

#[tokio::test]
async fn the_ids_of_a_variant_that_is_down_spread_over_the_others() {
    let mut split = forgiving(Setup::default()).await;
    let ids = ids(60);
    let before = split.gateway.predict_with(&refs(&ids), "no-store").await;
    assert!(counts(&before).iter().all(|count| *count > 5));
    split.others[0].stop().await;
    let after = split.gateway.predict(&refs(&ids)).await;
    assert_eq!(
        (after.status.as_u16(), after.cache_status()),
        (200, "throughline; fwd=miss; stored")
    );
    let [primary, canary, third] = counts(&after);
    assert!(
        canary == 0 && primary > counts(&before)[0] && third > counts(&before)[2],
        "{:?}",
        counts(&after)
    );
    for (before, after) in before.each("variant").iter().zip(after.each("variant")) {
        assert!(
            *before == after || before == "canary",
            "only the ids of the failed variant have moved"
        );
    }
    // Again, now from the store.
    let calls = split.gateway.fake.calls().len();
    let again = split.gateway.predict(&refs(&ids)).await;
    assert_eq!(
        (again.each("variant"), again.each("cached")),
        (after.each("variant"), vec![json!(true); 60])
    );
    assert_eq!(split.gateway.fake.calls().len(), calls);
    // When the variant is back, it gets its ids again.
    split.others[0].restart().await;
    let back =
        async || split.gateway.predict(&refs(&ids)).await.each("variant") == before.each("variant");
    split
        .gateway
        .eventually("the variant answers again", back)
        .await;
}

#[tokio::test]
async fn without_fail_over_a_failure_is_answered() {
    let split =
        VariantGateway::start(&[("primary", "1"), ("canary", "1")], Options::default()).await;
    split.canary().behave(refuse(500));
    let reply = split.gateway.predict(&refs(&ids(20))).await;
    let failed: Vec<Value> = reply
        .each("error")
        .into_iter()
        .filter(|error| !error.is_null())
        .collect();
    assert!(
        !failed.is_empty() && failed.iter().all(|error| error["code"] == "model_failed"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn outages_fail_over_and_refusals_do_not() {
    let split = forgiving(Setup::default()).await;
    let forced = |name: &str| format!("ml.variant={name}");
    let (ids, mut others) = (ids(30), vec![&split.others[0], &split.others[1]]);
    others.push(&split.gateway.fake);
    for status in [500, 502, 503, 504] {
        split.others[0].behave(refuse(status));
        let reply = split.gateway.predict_with(&refs(&ids), "no-store").await;
        assert!(
            reply.each("error").iter().all(Value::is_null) && counts(&reply)[1] == 0,
            "{status}"
        );
    }
    split.others[0].behave(Behaviour::Refuse {
        status: 200,
        body: "no JSON",
        retry_after: None,
    });
    assert_eq!(
        counts(&split.gateway.predict_with(&refs(&ids), "no-store").await)[1],
        0
    );
    // Another variant would refuse a faulty request as well, and must not get the load of one that
    // is overloaded.
    for (status, code) in [(400, "model_refused"), (429, "overloaded")] {
        split.others[0].behave(refuse(status));
        let reply = split.gateway.predict_with(&refs(&ids), "no-store").await;
        assert!(
            reply
                .each("error")
                .iter()
                .any(|error| error["code"] == code),
            "{status}"
        );
    }
    // A request that names its variant gets its failure.
    split.others[0].behave(refuse(500));
    assert_eq!(
        split.predict(&["a"], &forced("canary")).await.problem(502),
        "model_failed"
    );
    // An unknown entity is an answer and does not fail over.
    let reply = split.gateway.predict(&["unknown_entity-1"]).await;
    assert!(
        ["unknown_entity", "model_failed"].contains(&reply.problem(reply.status.as_u16()).as_str())
    );
    // When all fail, each was called once.
    let before: Vec<usize> = others.iter().map(|fake| fake.calls().len()).collect();
    for fake in &others {
        fake.behave(refuse(500));
    }
    assert_eq!(
        split.gateway.predict(&["b"]).await.problem(502),
        "model_failed"
    );
    let after: Vec<usize> = others.iter().map(|fake| fake.calls().len()).collect();
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| after - before == 1),
        "{before:?} {after:?}"
    );
}

#[tokio::test]
async fn a_variant_that_hangs_leaves_time_for_the_next() {
    let process = ProcessOptions {
        request_timeout: Duration::from_secs(4),
        ..ProcessOptions::default()
    };
    let split = forgiving(Setup {
        process,
        ..Setup::default()
    })
    .await;
    split.others[0].close_gate();
    let reply = split.gateway.predict(&refs(&ids(30))).await;
    assert!(
        reply.each("error").iter().all(Value::is_null),
        "{:?}",
        reply.each("error")
    );
    assert_eq!(counts(&reply)[1], 0);
    let limit = split.others[0].calls()[0].timeout_micros;
    assert!(
        (1_000_000..2_000_001).contains(&limit),
        "half of the time: {limit}"
    );
}

#[tokio::test]
async fn a_variant_that_was_never_reached_is_skipped() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.toml");
    let routes = |fail_over: bool| {
        format!(
            "[models.wine_quality]\nfail_over = {fail_over}\n[[models.wine_quality.variants]]\nname = \"primary\"\nweight = 1\n\
             [[models.wine_quality.variants]]\nname = \"gone\"\nurl = \"http://{gone}\"\nweight = 1\n"
        )
    };
    std::fs::write(&file, routes(false)).unwrap();
    let gateway = super::Gateway::with(Setup {
        routes: Some(file.clone()),
        ..Setup::default()
    })
    .await;
    let reply = gateway.predict(&refs(&ids(20))).await;
    assert_eq!(reply.status, 200);
    assert!(
        reply
            .each("error")
            .iter()
            .any(|error| error["code"] == "model_unavailable")
    );
    std::fs::write(&file, routes(true)).unwrap();
    let all = async || {
        gateway
            .predict(&refs(&ids(20)))
            .await
            .each("variant")
            .iter()
            .all(|variant| variant == "primary")
    };
    gateway.eventually("primary answers for all ids", all).await;
    let reply = gateway
        .predict_with(&refs(&ids(20)), "only-if-cached")
        .await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; hit")
    );
    let models = gateway.get("/v1/models").await.json();
    assert_eq!(
        models["models"].as_array().unwrap().last().unwrap()["variants"][1]["health"],
        "unavailable"
    );
    assert!(
        gateway.get("/readyz").await.json()["detail"]["model_service"]
            .as_str()
            .unwrap()
            .starts_with("gone is down")
    );
}

#[tokio::test]
async fn while_a_variant_is_not_waited_for_the_next_one_is_asked_at_once() {
    let process = runtime::ProcessOptions {
        request_timeout: std::time::Duration::from_millis(400),
        ..runtime::ProcessOptions::default()
    };
    let options = Options {
        fail_over: true,
        setup: Setup {
            process,
            ..Setup::default()
        },
    };
    let variants = VariantGateway::start(&[("primary", "1000000"), ("canary", "1")], options).await;
    variants.gateway.fake.close_gate();
    for n in 0..5 {
        let reply = variants.predict(&[&format!("miss-{n}")], "").await;
        assert_eq!(reply.each("variant"), ["canary"]);
    }
    let calls = variants.gateway.fake.calls().len();
    let reply = variants.predict(&["at-once"], "").await;
    assert_eq!(reply.each("variant"), ["canary"]);
    assert_eq!(variants.gateway.fake.calls().len(), calls);
}
