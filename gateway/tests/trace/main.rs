//! The gateway's own part of the trace, as the real process exports it: names, kinds, parents,
//! links and attributes.

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic, and its helpers are tests, too"
)]

mod cancelled;
mod elasticsearch;
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
#[path = "../../src/tests/fake.rs"]
mod fake;
mod feedback;
mod process;
mod variants;

use harness::wait_until_async;
use serde_json::json;

use fake::{Fake, SPAN_ID, TRACE_ID};
use process::{Gateway, links};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::too_many_lines,
    reason = "one gateway exports the traces of all requests"
)]
async fn requests_are_traced_from_store_to_model() {
    let mut fake = Fake::start().await;
    let gateway = Gateway::start(&fake);

    let miss = gateway.predict(&["a"]).await;
    let sent = fake.calls()[0].headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    let hit = gateway.predict(&["a"]).await;
    let part = gateway.predict(&["b", "c", "a"]).await;
    let single = gateway
        .send("GET", "/v1/predictions/wine_quality/a", &[], String::new())
        .await;
    assert_eq!(single.status, 200);
    let parent = [(
        "traceparent",
        "00-11112222333344445555666677778888-1234567890abcdef-01",
    )];
    gateway
        .send("GET", "/v1/models", &parent, String::new())
        .await;
    let texts = json!({"model": "text_sentiment", "texts": ["a secret text"]}).to_string();
    gateway.send("POST", "/v1/predictions", &[], texts).await;

    fake.close_gate();
    let (first, second, ()) =
        tokio::join!(gateway.predict(&["d"]), gateway.predict(&["d"]), async {
            wait_until_async("a call arrives", async || fake.calls().len() == 4).await;
            fake.open_gate();
        });
    assert_eq!(fake.calls().len(), 4);

    fake.stop().await;
    let down = gateway.predict(&["e"]).await;
    assert_eq!(down.status, 503);
    assert_eq!(down.json()["trace_id"], down.trace_id());
    wait_until_async(
        "/readyz reports that the model service is down",
        async || {
            let ready = gateway.send("GET", "/readyz", &[], String::new()).await;
            !ready.json()["detail"]["model_service"].is_null()
        },
    )
    .await;
    let fault = [("baggage", "fault=gateway:error")];
    let broken = gateway
        .send("GET", "/v1/predictions", &fault, String::new())
        .await;
    assert_eq!(broken.status, 500);
    assert_eq!(broken.json()["code"], "fault_injected");
    assert_eq!(broken.json()["trace_id"], broken.trace_id());

    let ended = gateway.stop();
    let miss_tree = "POST /v1/predictions SERVER\n  SELECT predictions CLIENT\n  POST CLIENT\n  INSERT predictions CLIENT\n";
    let hit_tree = "POST /v1/predictions SERVER\n  SELECT predictions CLIENT\n";
    assert_eq!(ended.tree(&miss), miss_tree);
    assert_eq!(ended.tree(&hit), hit_tree);
    assert_eq!(ended.tree(&part), miss_tree);
    assert_eq!(
        ended.tree(&single),
        "GET /v1/predictions/{model}/{data_id} SERVER\n  SELECT predictions CLIENT\n"
    );
    assert_eq!(
        ended.tree(&down),
        "POST /v1/predictions SERVER ERROR\n  SELECT predictions CLIENT\n  POST CLIENT ERROR\n"
    );
    assert_eq!(ended.tree(&broken), "GET /v1/predictions SERVER ERROR\n");

    // The model service got the context of the CLIENT span.
    let client = ended.span(&miss, "POST");
    assert_eq!(
        sent,
        format!("00-{}-{}-01", miss.trace_id(), client.span_id)
    );
    // A hit links to the span that computed it, a waiter to the span of the shared call, a leader
    // to nothing.
    let computed = vec![(TRACE_ID.to_owned(), SPAN_ID.to_owned())];
    assert_eq!(links(&ended.server(&miss)), []);
    for answer in [&hit, &part, &single] {
        assert_eq!(links(&ended.server(answer)), computed);
    }
    let mut pair = [ended.tree(&first), ended.tree(&second)];
    pair.sort();
    assert_eq!(pair, [hit_tree, miss_tree], "one of the two computed");
    let waiter = if ended.tree(&first) == hit_tree {
        &first
    } else {
        &second
    };
    assert_eq!(links(&ended.server(waiter)), computed);

    let attributes = ended.server(&single).attributes;
    assert_eq!(attributes["ml.model_name"], "wine_quality");
    assert_eq!(attributes["ml.model_version"], "1");
    assert_eq!(attributes["ml.data_id"], "a");
    assert_eq!(attributes["ml.batch_size"], 1);
    assert!(!ended.server(&part).attributes.contains_key("ml.data_id"));
    assert_eq!(
        ended.server(&down).attributes["error.type"],
        "model_unavailable"
    );
    let insert = ended.span(&part, "INSERT predictions").attributes;
    assert_eq!(insert["db.operation.batch.size"], 2);
    assert_eq!(insert["db.system.name"], "sqlite");

    let continued = ended.collector.arrived("11112222333344445555666677778888");
    assert_eq!(
        continued.spans[0].parent.as_deref(),
        Some("1234567890abcdef")
    );
    assert!(ended.roots_are_servers());
    assert!(!ended.everything().contains("a secret text"));
    let log = &ended.log;
    assert_eq!(log.matches("the model service is down").count(), 1, "{log}");
}
