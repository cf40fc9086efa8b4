//! Fail-over: off, a failure is a failure; on, the next variant answers, and it is told.

use std::time::Duration;

use runtime::ProcessOptions;
use serde_json::{Value, json};

use super::super::fake::Behaviour;
use super::super::harness::{Reply, Setup};
use super::{Rule, Split, ids, refs};

async fn forgiving(setup: Setup) -> Split {
    let variants = [("primary", "1"), ("canary", "1"), ("third", "1")];
    Split::start(
        &variants,
        Rule {
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
async fn the_ids_of_a_variant_that_is_down_are_spread_over_the_others() {
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
            "only what failed has moved"
        );
    }
    // The same again, now from what the others have stored.
    let calls = split.gateway.fake.calls().len();
    let again = split.gateway.predict(&refs(&ids)).await;
    assert_eq!(
        (again.each("variant"), again.each("cached")),
        (after.each("variant"), vec![json!(true); 60])
    );
    assert_eq!(split.gateway.fake.calls().len(), calls);
    // Back again, the ids are their own variant's.
    split.others[0].restart().await;
    let back =
        async || split.gateway.predict(&refs(&ids)).await.each("variant") == before.each("variant");
    split.gateway.eventually("back", back).await;
}

#[tokio::test]
async fn off_a_failure_is_answered() {
    let split = Split::start(&[("primary", "1"), ("canary", "1")], Rule::default()).await;
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
async fn what_fails_over_and_what_does_not() {
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
    // A request at fault would be at fault everywhere, and one that is too much here would be too much there.
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
    // Who asks for a variant gets it or its failure.
    split.others[0].behave(refuse(500));
    assert_eq!(
        split.predict(&["a"], &forced("canary")).await.problem(502),
        "model_failed"
    );
    // An entity that nobody knows is an answer.
    let reply = split.gateway.predict(&["unknown_entity-1"]).await;
    assert!(
        ["unknown_entity", "model_failed"].contains(&reply.problem(reply.status.as_u16()).as_str())
    );
    // When all fail, the failure is answered, after each was asked once.
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
    let told = split.others[0].calls()[0].timeout_micros;
    assert!(
        (1_000_000..2_000_001).contains(&told),
        "half of the time: {told}"
    );
}

#[tokio::test]
async fn a_variant_that_was_never_there_is_passed_over() {
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
    gateway
        .eventually("the other one answers for it", all)
        .await;
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
