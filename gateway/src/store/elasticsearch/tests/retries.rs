//! Which calls are retried, and which node they go to.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;

use super::super::ElasticsearchOptions;
use super::stub::{Stub, store};
use crate::PredictionStore;
use crate::store::tests::conformance::{self, prediction};
use crate::store::{Lookup, Search, StoreError};

fn options() -> ElasticsearchOptions {
    ElasticsearchOptions::default()
}

fn lookup() -> Lookup {
    conformance::lookup("m", "1", &["a"])
}

#[tokio::test]
async fn a_busy_cluster_is_retried_and_a_refusal_is_not() {
    let stub = Stub::start().await;
    let store = stub.store(&options());
    for status in [429, 502, 503, 504] {
        stub.answer(status, "<html>busy</html>");
        assert_eq!(store.get_many(lookup()).await.unwrap(), [None], "{status}");
    }
    assert_eq!(stub.seen().len(), 8);
    let cases = [
        (400, "400"),
        (403, "403"),
        (404, "404"),
        (413, "413"),
        (500, "500"),
        (418, "_OTHER"),
    ];
    for (status, error_type) in cases {
        stub.answer(status, "no");
        let error = store.get_many(lookup()).await.unwrap_err();
        assert_eq!(error.error_type(), error_type);
    }
    assert_eq!(stub.seen().len(), 14);
}

#[tokio::test]
async fn retries_are_limited_in_number_and_time() {
    let stub = Stub::start().await;
    let refuse =
        |times| (0..times).for_each(|_| stub.answer(503, r#"{"error":{"type":"x","reason":"y"}}"#));
    refuse(3);
    let few = stub.store(&ElasticsearchOptions {
        elasticsearch_retries: 2,
        ..options()
    });
    let error = few.get_many(lookup()).await.unwrap_err();
    assert_eq!((error.error_type(), stub.seen().len()), ("503", 3));
    refuse(100);
    let short = stub.store(&ElasticsearchOptions {
        elasticsearch_retries: 10,
        elasticsearch_timeout: Some(Duration::from_millis(200)),
        ..options()
    });
    let start = Instant::now();
    assert_eq!(
        short.get_many(lookup()).await.unwrap_err().error_type(),
        "503"
    );
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(stub.seen().len() > 3);
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out() {
    // Nobody accepts from this listener: it connects and never answers.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = ElasticsearchOptions {
        elasticsearch_timeout: Some(Duration::from_millis(100)),
        ..options()
    };
    let store = store(&[frozen.local_addr().unwrap()], &options);
    let start = Instant::now();
    for _ in 0..3 {
        assert!(matches!(
            store.get_many(lookup()).await,
            Err(StoreError::TimedOut)
        ));
    }
    // It is paused now, for reads and for writes.
    let begin = Instant::now();
    let error = store.get_many(lookup()).await.unwrap_err();
    assert_eq!(error.error_type(), "no_node_alive");
    assert_eq!(
        store
            .put_many(vec![prediction("m", "1", "a", 0)])
            .await
            .unwrap_err()
            .error_type(),
        "no_node_alive"
    );
    assert!(
        begin.elapsed() < Duration::from_millis(90),
        "{:?}",
        begin.elapsed()
    );
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_node_that_is_down_is_skipped_and_used_again_when_it_is_back() {
    let (up, gone) = (Stub::start().await, Stub::start().await.address);
    let both = store(&[gone, up.address], &options());
    for _ in 0..20 {
        assert_eq!(both.get_many(lookup()).await.unwrap(), [None]);
    }
    assert_eq!(up.seen().len(), 20);
    let back = Stub::at(gone).await;
    let end = Instant::now() + Duration::from_secs(10);
    while back.seen().is_empty() {
        both.get_many(lookup()).await.unwrap();
        assert!(Instant::now() < end, "the node is never called again");
        tokio::task::yield_now().await;
    }
    let before = (up.seen().len(), back.seen().len());
    for _ in 0..20 {
        both.get_many(lookup()).await.unwrap();
    }
    assert_eq!(
        (up.seen().len() - before.0, back.seen().len() - before.1),
        (10, 10),
        "both take turns"
    );
}

#[tokio::test]
async fn writes_alone_find_a_cluster_that_starts_later() {
    let gone = Stub::start().await.address;
    let store = store(
        &[gone],
        &ElasticsearchOptions {
            elasticsearch_retries: 0,
            ..options()
        },
    );
    store.prepare().await;
    let write = async || {
        store
            .put_many(vec![prediction("m", "1", "a", 0)])
            .await
            .is_ok_and(|items| items[0].is_ok())
    };
    for _ in 0..5 {
        assert!(!write().await);
    }
    let back = Stub::at(gone).await;
    let end = Instant::now() + Duration::from_secs(10);
    while !write().await {
        assert!(Instant::now() < end, "no write succeeds");
        tokio::task::yield_now().await;
    }
    assert_eq!(back.seen_at("/_alias/").len(), 1, "{:?}", back.seen());
}

#[tokio::test]
async fn each_item_of_a_bulk_has_its_result_and_only_transient_failures_are_retried() {
    let stub = Stub::start().await;
    let store = stub.store(&options());
    store.prepare().await;
    let error = |kind: &str| format!(r#""error":{{"type":"{kind}","reason":"so it is"}}"#);
    let first = [
        r#"{"index":{"status":201}}"#.to_owned(),
        format!(
            r#"{{"index":{{"status":409,{}}}}}"#,
            error("version_conflict_engine_exception")
        ),
        format!(
            r#"{{"index":{{"status":400,{}}}}}"#,
            error("document_parsing_exception")
        ),
        format!(
            r#"{{"index":{{"status":429,{}}}}}"#,
            error("es_rejected_execution_exception")
        ),
        format!(
            r#"{{"index":{{"status":429,{}}}}}"#,
            error("cluster_block_exception")
        ),
        r#"{"index":{"status":404}}"#.to_owned(),
    ];
    stub.answer(
        200,
        &format!(r#"{{"errors":true,"items":[{}]}}"#, first.join(",")),
    );
    let all = ["a", "b", "c", "d", "e", "f"]
        .map(|id| prediction("m", "1", id, 0))
        .to_vec();
    let results = store.put_many(all).await.unwrap();
    let error_types: Vec<_> = results
        .iter()
        .map(|result| result.as_ref().err().map(StoreError::error_type))
        .collect();
    assert_eq!(
        error_types,
        [
            None,
            None,
            Some("document_parsing_exception"),
            None,
            Some("cluster_block_exception"),
            Some("404")
        ]
    );
    let bulks = stub.seen_at("_bulk");
    assert_eq!(bulks.len(), 2);
    assert_eq!(
        (bulks[0].body.lines().count(), bulks[1].body.lines().count()),
        (12, 2)
    );
    assert!(
        bulks[1].body.contains(r#""_id":"m/1/d""#),
        "{}",
        bulks[1].body
    );
    assert!(bulks[0].path.contains("require_alias=true"));
}

#[tokio::test]
async fn answers_that_cannot_be_parsed_are_errors() {
    let stub = Stub::start().await;
    let store = stub.store(&options());
    store.prepare().await;
    for body in [
        "",
        "no",
        "[]",
        r#"{"docs":[]}"#,
        r#"{"docs":[{"_source":{"variant":1}}]}"#,
    ] {
        stub.answer(200, body);
        assert_eq!(
            store.get_many(lookup()).await.unwrap_err().error_type(),
            "unreadable",
            "{body}"
        );
    }
    let source = r#"{"model":"m","model_version":"1","data_id":"a","variant":"v","label":"l","confidence":1.0,"probabilities":[],"computed_at":"yesterday"}"#;
    stub.answer(200, &format!(r#"{{"docs":[{{"_source":{source}}}]}}"#));
    assert_eq!(
        store.get_many(lookup()).await.unwrap_err().error_type(),
        "unreadable"
    );
    for body in ["", "{}", r#"{"errors":false,"items":[]}"#] {
        stub.answer(200, body);
        let items = store
            .put_many(vec![prediction("m", "1", "a", 0)])
            .await
            .unwrap();
        assert_eq!(
            items[0].as_ref().unwrap_err().error_type(),
            "unreadable",
            "{body}"
        );
    }
    stub.answer(200, r#"{"hits":{}}"#);
    let search = Search {
        limit: 1,
        ..Search::default()
    };
    assert_eq!(
        store.search(search).await.unwrap_err().error_type(),
        "unreadable"
    );
    // A shard that is not available yet does not mean that there is no prediction.
    stub.answer(
        200,
        r#"{"docs":[{"error":{"type":"no_shard_available_action_exception","reason":null}}]}"#,
    );
    assert_eq!(
        store.get_many(lookup()).await.unwrap_err().error_type(),
        "no_shard_available_action_exception"
    );
}

#[tokio::test]
async fn a_search_that_not_every_shard_answered_is_an_error() {
    let stub = Stub::start().await;
    let store = stub.store(&options());
    for body in [
        r#"{"timed_out":false,"_shards":{"total":3,"successful":1,"failed":2},"hits":{"hits":[]}}"#,
        r#"{"timed_out":true,"_shards":{"total":3,"successful":3,"failed":0},"hits":{"hits":[]}}"#,
    ] {
        stub.answer(200, body);
        let search = Search {
            limit: 10,
            ..Search::default()
        };
        assert!(store.search(search).await.is_err(), "{body}");
        stub.answer(200, body);
        assert!(
            store.latest_version("m", "primary").await.is_err(),
            "{body}"
        );
    }
}
