//! A gateway on a real Elasticsearch that fails: every request is answered, nothing is reported as
//! stored that is not, and nothing has to be restarted. docs/elasticsearch.md has the results.

mod load;
mod server;

use std::time::{Duration, Instant};

use runtime::ProcessOptions;

use super::harness::{Gateway, Setup};
use crate::store::elasticsearch::tests::server::Scratch;
use crate::store::elasticsearch::tests::stub::Stub;
use load::Load;
use server::Server;

/// The deadline of a request, which no answer may miss.
const DEADLINE: Duration = Duration::from_secs(5);

async fn gateway(scratch: &Scratch) -> Gateway {
    let process = ProcessOptions {
        request_timeout: DEADLINE,
        ..ProcessOptions::default()
    };
    let elasticsearch = Some((scratch.addresses.clone(), scratch.options.clone()));
    let store_timeout = Duration::from_secs(1);
    Gateway::with(Setup {
        process,
        store_timeout,
        elasticsearch,
        ..Setup::default()
    })
    .await
}

async fn details(gateway: &Gateway) -> String {
    let ready = gateway.get("/readyz").await;
    assert_eq!(
        ready.status, 200,
        "a store that is down does not make the gateway unready"
    );
    ready.json()["detail"].to_string()
}

/// Waits until a new prediction is stored and found again. The answer to a request that could not
/// read the store does not say whether its prediction was stored.
async fn recovered(gateway: &Gateway, id: &str) -> Duration {
    let start = Instant::now();
    let hit = async || gateway.predict(&[id]).await.cache_status() == "throughline; hit";
    gateway.eventually("it is stored and found", hit).await;
    start.elapsed()
}

/// Waits until nothing is wrong any more. Under load on a busy machine a call may still miss its
/// deadline, so this is checked when the load has ended. Each request is for another id: a hit
/// writes nothing, so it would not end an outage of writes.
async fn healthy(gateway: &Gateway) {
    let healthy = async || {
        let id = uuid::Uuid::new_v4().to_string();
        gateway.predict(&[&id]).await;
        details(gateway).await == "{}"
    };
    gateway.eventually("the detail is empty", healthy).await;
}

/// All faults of one server, since each start takes a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "starts a server of its own with .ci/components"]
async fn a_server_that_is_away_killed_restarted_or_frozen() {
    let mut server = Server::new();
    // Its first start finds free ports; then it stops before the gateway starts.
    server.start().await;
    server.stop().await;
    let scratch = Scratch::at(&server.url);

    let gateway = gateway(&scratch).await;
    let reply = gateway.predict(&["before"]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=bypass")
    );
    assert!(details(&gateway).await.contains("prediction_store_reads"));
    assert_eq!(
        gateway.get("/v1/predictions").await.problem(503),
        "store_unavailable"
    );
    server.start().await;
    report(
        "stopped before start",
        recovered(&gateway, "late").await,
        &load::Seen::default(),
    );
    healthy(&gateway).await;

    let load = Load::start(&gateway.url, "killed");
    load.until_stored(50).await;
    server.kill().await;
    load.until_answered(200).await;
    server.start().await;
    let back = recovered(&gateway, "after-kill").await;
    report(
        "stopped (SIGKILL) under load",
        back,
        &load.stop(&scratch).await,
    );
    healthy(&gateway).await;

    let load = Load::start(&gateway.url, "restarted");
    load.until_stored(50).await;
    server.stop().await;
    server.start().await;
    let back = recovered(&gateway, "after-restart").await;
    load.until_stored(50).await;
    report("restarted under load", back, &load.stop(&scratch).await);
    healthy(&gateway).await;

    let load = Load::start(&gateway.url, "frozen");
    load.until_stored(50).await;
    server.signal("STOP");
    load.until_answered(5_000).await;
    assert!(details(&gateway).await.contains("prediction_store_reads"));
    server.signal("CONT");
    let back = recovered(&gateway, "after-frost").await;
    report(
        "frozen (SIGSTOP) under load",
        back,
        &load.stop(&scratch).await,
    );
    healthy(&gateway).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn a_full_disk_makes_the_index_read_only() {
    let scratch = Scratch::new();
    let gateway = gateway(&scratch).await;
    recovered(&gateway, "stored").await;
    let load = Load::start(&gateway.url, "full");
    load.until_stored(50).await;
    scratch
        .call(
            "PUT",
            "ALIAS-v1/_settings",
            r#"{"index.blocks.read_only_allow_delete":true}"#,
        )
        .await;
    load.until_answered(50).await;
    // What is stored still answers; what is new is computed, and reported as not stored.
    assert_eq!(
        gateway.predict(&["stored"]).await.cache_status(),
        "throughline; hit"
    );
    let start = Instant::now();
    assert_eq!(
        gateway.predict(&["new"]).await.cache_status(),
        "throughline; fwd=miss; detail=store-failed"
    );
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "a full disk is not tried again"
    );
    let detail = details(&gateway).await;
    assert!(
        detail.contains("cluster_block_exception") && !detail.contains("reads"),
        "{detail}"
    );
    scratch
        .call(
            "PUT",
            "ALIAS-v1/_settings",
            r#"{"index.blocks.read_only_allow_delete":null}"#,
        )
        .await;
    let back = recovered(&gateway, "after-full").await;
    report("read-only index", back, &load.stop(&scratch).await);
    healthy(&gateway).await;
    scratch.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn an_index_deleted_under_load_comes_back() {
    let scratch = Scratch::new();
    let gateway = gateway(&scratch).await;
    let load = Load::start(&gateway.url, "deleted");
    load.until_stored(50).await;
    scratch.call("DELETE", "ALIAS-v1", "").await;
    let back = recovered(&gateway, "after-delete").await;
    load.until_stored(50).await;
    let load = load.abandon().await;
    report("index deleted under load", back, &load);
    healthy(&gateway).await;
    scratch.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a server: set THROUGHLINE_TEST_ELASTICSEARCH_URL"]
async fn a_newer_prediction_of_another_gateway_is_kept() {
    let scratch = Scratch::new();
    let gateway = gateway(&scratch).await;
    recovered(&gateway, "a").await;
    let found = scratch
        .call("GET", "ALIAS/_doc/wine_quality%2F1%2Fa", "")
        .await;
    // Another gateway, whose clock is ahead, has computed it too.
    let store_ahead = async |ahead: Duration, label: &str| {
        let newer = jiff::Timestamp::now() + ahead;
        let mut document = found["_source"].clone();
        document["computed_at"] = newer.to_string().into();
        document["label"] = label.into();
        let version = newer.as_microsecond();
        let path =
            format!("ALIAS/_doc/wine_quality%2F1%2Fa?version={version}&version_type=external");
        scratch.call("PUT", &path, &document.to_string()).await;
    };
    // By less than the tolerance: what it has stored stays, and nobody says otherwise.
    store_ahead(Duration::from_secs(40), "newer").await;
    let reply = gateway.predict_with(&["a"], "no-cache").await;
    assert_eq!(
        (reply.status.as_u16(), reply.cache_status()),
        (200, "throughline; fwd=request; detail=superseded")
    );
    assert_eq!(gateway.predict(&["a"]).await.each("label"), ["newer"]);
    // By a day: that clock was wrong.
    store_ahead(Duration::from_hours(24), "wrong").await;
    for expected in ["throughline; fwd=stale; stored", "throughline; hit"] {
        let reply = gateway.predict(&["a"]).await;
        assert_eq!(
            (reply.each("label"), reply.cache_status()),
            (vec!["high".into()], expected)
        );
    }
    assert_eq!(details(&gateway).await, "{}");
    scratch.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_wrong_credentials_predictions_come_from_the_model() {
    let stub = Stub::start().await;
    let refusal =
        r#"{"error":{"type":"security_exception","reason":"unable to authenticate"},"status":401}"#;
    stub.always(Some((401, refusal)));
    let scratch = Scratch::at(&format!("http://elastic:wr0ng@{}", stub.address));
    let gateway = gateway(&scratch).await;
    for id in ["a", "b"] {
        let reply = gateway.predict(&[id]).await;
        assert_eq!(
            (reply.status.as_u16(), reply.cache_status()),
            (200, "throughline; fwd=bypass")
        );
    }
    let detail = details(&gateway).await;
    assert_eq!(detail.matches("security_exception").count(), 2, "{detail}");
    let search = gateway.get("/v1/predictions").await;
    assert_eq!(search.problem(503), "store_unavailable");
    assert!(!format!("{:?} {detail}", search.body).contains("wr0ng"));
    // An administrator corrects the password in the cluster.
    stub.always(None);
    assert_eq!(
        gateway.predict(&["c"]).await.cache_status(),
        "throughline; fwd=miss; stored"
    );
    assert_eq!(details(&gateway).await, "{}");
}

/// Prints one line for the table in docs/elasticsearch.md; `--nocapture` shows it.
fn report(fault: &str, back: Duration, load: &load::Seen) {
    println!(
        "{fault}: {load}; stored again {} ms after the server was back",
        back.as_millis()
    );
}
