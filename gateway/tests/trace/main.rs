//! The gateway's own part of the trace, as the real process exports it: names, kinds, parents, links and attributes.

#![expect(
    clippy::unwrap_used,
    reason = "a test may panic, and its helpers are tests, too"
)]

mod elasticsearch;
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
#[path = "../../src/tests/fake.rs"]
mod fake;
mod process;
mod variants;

use serde_json::json;

use fake::{Fake, SPAN_ID, TRACE_ID};
use process::{Process, eventually, server, tree};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_tells_what_it_did() {
    let mut fake = Fake::start().await;
    let gateway = Process::start(&fake).await;

    let (_, _, miss) = gateway.predict(&["a"]).await;
    let sent = fake.calls()[0].headers["traceparent"]
        .to_str()
        .unwrap()
        .to_owned();
    let (_, _, hit) = gateway.predict(&["a"]).await;
    let (_, _, part) = gateway.predict(&["b", "c", "a"]).await;
    let (status, _, single) = gateway
        .send("GET", "/v1/predictions/wine_quality/a", &[], String::new())
        .await;
    assert_eq!(status, 200);
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
    let ((_, _, first), (_, _, second), ()) =
        tokio::join!(gateway.predict(&["d"]), gateway.predict(&["d"]), async {
            eventually("a call arrives", async || fake.calls().len() == 4).await;
            fake.open_gate();
        });
    assert_eq!(fake.calls().len(), 4);

    fake.stop().await;
    let (status, body, down) = gateway.predict(&["e"]).await;
    assert_eq!(
        (status, body["trace_id"].as_str().unwrap()),
        (503, &down[..])
    );
    let told = async || {
        !gateway.send("GET", "/readyz", &[], String::new()).await.1["detail"]["model_service"]
            .is_null()
    };
    eventually("/readyz tells that the model service is down", told).await;
    let fault = [("baggage", "fault=gateway:error")];
    let (status, body, broken) = gateway
        .send("GET", "/v1/predictions", &fault, String::new())
        .await;
    assert_eq!(
        (
            status,
            body["code"].as_str().unwrap(),
            body["trace_id"].as_str().unwrap()
        ),
        (500, "fault_injected", &broken[..])
    );

    let (spans, log) = gateway.stop().await;
    let of_a_miss = "POST /v1/predictions SERVER\n  SELECT predictions CLIENT\n  POST CLIENT\n  INSERT predictions CLIENT\n";
    let of_a_hit = "POST /v1/predictions SERVER\n  SELECT predictions CLIENT\n";
    assert_eq!(tree(&spans, &miss), of_a_miss);
    assert_eq!(tree(&spans, &hit), of_a_hit);
    assert_eq!(tree(&spans, &part), of_a_miss);
    assert_eq!(
        tree(&spans, &single),
        "GET /v1/predictions/{model}/{data_id} SERVER\n  SELECT predictions CLIENT\n"
    );
    assert_eq!(
        tree(&spans, &down),
        "POST /v1/predictions SERVER ERROR\n  SELECT predictions CLIENT\n  POST CLIENT ERROR\n"
    );
    assert_eq!(tree(&spans, &broken), "GET /v1/predictions SERVER ERROR\n");

    // The model service got the context of the CLIENT span.
    let client = spans
        .iter()
        .find(|span| span.trace == miss && span.name == "POST")
        .unwrap();
    assert_eq!(sent, format!("00-{miss}-{}-01", client.id));
    // Links: a hit to the span that computed it, a waiter to the one that was at it, a leader to nothing.
    let computed = vec![(TRACE_ID.to_owned(), SPAN_ID.to_owned())];
    assert_eq!(server(&spans, &miss).links, []);
    for trace in [&hit, &part, &single] {
        assert_eq!(server(&spans, trace).links, computed);
    }
    let mut pair = [tree(&spans, &first), tree(&spans, &second)];
    pair.sort();
    assert_eq!(pair, [of_a_hit, of_a_miss], "one of the two computed");
    let waiter = if tree(&spans, &first) == of_a_hit {
        &first
    } else {
        &second
    };
    assert_eq!(server(&spans, waiter).links, computed);

    let attributes = &server(&spans, &single).attributes;
    assert_eq!(attributes["ml.model_name"], "wine_quality");
    assert_eq!(attributes["ml.model_version"], "1");
    assert_eq!(attributes["ml.data_id"], "a");
    assert_eq!(attributes["ml.batch_size"], "1");
    assert!(!server(&spans, &part).attributes.contains_key("ml.data_id"));
    assert_eq!(
        server(&spans, &down).attributes["error.type"],
        "model_unavailable"
    );
    let insert = spans
        .iter()
        .find(|span| span.trace == part && span.name == "INSERT predictions")
        .unwrap();
    assert_eq!(
        (
            &insert.attributes["db.operation.batch.size"],
            &insert.attributes["db.system.name"]
        ),
        (&json!("2"), &json!("sqlite"))
    );

    // No root but SERVER spans: looking after the models is no trace of its own. And what was written stays unsaid.
    let continued = spans
        .iter()
        .find(|span| span.trace == "11112222333344445555666677778888")
        .unwrap();
    assert_eq!(continued.parent, "1234567890abcdef");
    assert!(
        spans
            .iter()
            .all(|span| span.kind == 2 || !span.parent.is_empty()),
        "{spans:?}"
    );
    assert!(!log.contains("a secret text") && !format!("{spans:?}").contains("a secret text"));
    assert_eq!(log.matches("the model service is down").count(), 1, "{log}");
}
