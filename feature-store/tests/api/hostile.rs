//! Malformed, oversized and too many requests: the answer is JSON and no 5xx, and the next request
//! is answered.

use std::time::Duration;

use harness::Answer;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::server::{NOW, Server};

const VALID: [(&str, &str); 3] = [
    (
        "/get-online-features",
        r#"{"features":["driver_stats:conv_rate","driver_stats:trips"],"entities":{"driver_id":[1001,"x"]},"full_feature_names":true}"#,
    ),
    (
        "/push",
        r#"{"push_source_name":"driver_push","df":{"driver_id":[7],"conv_rate":[0.5],"trips":[3],"photo":["AP8="],"event_timestamp":["2026-06-01T12:00:00"]},"to":"online"}"#,
    ),
    (
        "/write-to-online-store",
        r#"{"feature_view_name":"routes","df":{"origin":["a"],"target":[1],"minutes":[1.5],"open":[true],"note":["n"],"event_timestamp":["2026-06-01T12:00:00Z"],"created":[null]}}"#,
    ),
];

/// Every refusal is JSON that Feast's client can read.
fn check(reply: &Answer) {
    assert!(reply.status < 500, "{} {}", reply.status, reply.text());
    if reply.status != 200 {
        let body = reply.json();
        let exception = body.as_str().is_some_and(|text| {
            serde_json::from_str::<Value>(text).is_ok_and(|inner| inner["class"].is_string())
        });
        assert!(
            exception || !body["detail"].is_null(),
            "{} {body}",
            reply.status
        );
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn valid_bodies_are_valid() {
    let server = Server::start().await;
    for (path, body) in VALID {
        assert_eq!(
            server.post(path, body.as_bytes()).await.status,
            200,
            "{path}: the flood below starts from these"
        );
    }
}

#[tokio::test]
async fn a_flood_of_malformed_requests_never_breaks_it() {
    let server = Server::start().await;
    let edit = (any::<prop::sample::Index>(), any::<u8>(), 0_u8..4);
    let requests = (0..VALID.len(), proptest::collection::vec(edit, 1..5));
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(RngAlgorithm::ChaCha),
    );
    let mut refused = 0;
    for _ in 0..1_500 {
        let (which, edits) = requests.new_tree(&mut runner).unwrap().current();
        let (path, body) = VALID[which];
        let mut body = body.as_bytes().to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(body.len());
            match kind {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                2 if body.len() > 1 => drop(body.remove(at)),
                _ => body.truncate(at.max(1)),
            }
        }
        let reply = server.post(path, &body).await;
        check(&reply);
        refused += u32::from(reply.status != 200);
    }
    assert!(
        refused > 1_000,
        "only {refused} of the mutated requests were refused"
    );
    assert_eq!(
        server.post(VALID[0].0, VALID[0].1.as_bytes()).await.status,
        200
    );
}

#[tokio::test]
async fn odd_values_never_break_it() {
    let server = Server::start().await;
    let odd = [
        "null",
        "true",
        "-1",
        "1e308",
        "\"\"",
        "\"\\u0000\"",
        "[]",
        "{}",
        "[null]",
        "[[1]]",
        "[\"\\ud83c\\udf77\"]",
        "18446744073709551616",
    ];
    for value in odd {
        for body in [
            value.to_owned(),
            format!(r#"{{"features":{value},"entities":{{"driver_id":[1]}}}}"#),
            format!(r#"{{"features":["driver_stats:trips"],"entities":{value}}}"#),
            format!(r#"{{"features":["driver_stats:trips"],"entities":{{"driver_id":{value}}}}}"#),
            format!(
                r#"{{"features":["driver_stats:trips"],"entities":{{"driver_id":[{value}]}}}}"#
            ),
            format!(r#"{{"feature_service":{value},"entities":{{"driver_id":[1]}}}}"#),
            format!(r#"{{"push_source_name":"driver_push","df":{value}}}"#),
            format!(r#"{{"feature_view_name":{value},"df":{{}}}}"#),
            format!(
                r#"{{"feature_view_name":"routes","df":{{"origin":[{value}],"target":[{value}],"minutes":[{value}],"open":[{value}],"note":[{value}],"event_timestamp":["{NOW}"]}}}}"#
            ),
            format!(r#"{{"feature_view_name":"routes","df":{{"event_timestamp":[{value}]}}}}"#),
        ] {
            for (path, _) in VALID {
                check(&server.post(path, body.as_bytes()).await);
            }
        }
    }
    let deep = "[".repeat(100_000);
    check(&server.post("/get-online-features", deep.as_bytes()).await);
    for (path, _) in VALID {
        check(&server.post(path, b"").await);
        check(&server.post(path, &[0xff; 64]).await);
    }
}

#[tokio::test]
async fn bodies_have_a_limit_before_and_after_decompression() {
    use std::io::Write;
    let server = Server::start().await;
    let padded = |length: usize| {
        let body = VALID[0].1.as_bytes().to_vec();
        let padding = length - body.len();
        [body, vec![b' '; padding]].concat()
    };
    assert_eq!(
        server
            .post("/get-online-features", &padded(1024 * 1024))
            .await
            .status,
        200
    );
    let large = server
        .post("/get-online-features", &padded(1024 * 1024 + 1))
        .await;
    assert_eq!(
        (large.status, &large.json()["detail"][0]["type"]),
        (413, &json!("too_large"))
    );
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&padded(64 * 1024 * 1024)).unwrap();
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 100_000);
    let reply = server
        .post_with("/get-online-features", "content-encoding: gzip\r\n", &bomb)
        .await;
    assert_eq!(reply.status, 413, "{}", reply.text());
    check(&reply);
}

#[tokio::test]
async fn too_many_rows_are_refused() {
    let server = Server::start().await;
    let rows = |count: usize| {
        let df = json!({"driver_id": (0..count).collect::<Vec<_>>(), "conv_rate": vec![0.5; count], "trips": vec![1; count],
            "event_timestamp": vec![NOW; count]});
        json!({"feature_view_name": "driver_stats", "df": df}).to_string()
    };
    assert_eq!(
        server
            .post("/write-to-online-store", rows(1_000).as_bytes())
            .await
            .status,
        200
    );
    let reply = server
        .post("/write-to-online-store", rows(1_001).as_bytes())
        .await;
    assert_eq!(
        (reply.status, &reply.json()["detail"][0]["type"]),
        (422, &json!("too_long"))
    );
}

#[tokio::test]
async fn overload_and_lateness_are_errors_of_feast() {
    let class = |reply: &Answer| {
        serde_json::from_str::<Value>(reply.json().as_str().unwrap()).unwrap()["class"].clone()
    };
    let full = Server::start_with(&["--max-in-flight", "1"]).await;
    let refused = async {
        loop {
            let posts = (0..20).map(|_| full.post(VALID[0].0, VALID[0].1.as_bytes()));
            let replies = futures_util::future::join_all(posts).await;
            if let Some(reply) = replies.into_iter().find(|reply| reply.status != 200) {
                return reply;
            }
        }
    };
    let reply = tokio::time::timeout(Duration::from_mins(2), refused)
        .await
        .expect("two requests meet");
    assert_eq!(
        (reply.status, reply.header("retry-after"), class(&reply)),
        (429, Some("1"), json!("FeastError"))
    );
    let late = Server::start_with(&["--request-timeout", "0ms"]).await;
    let reply = late.post(VALID[0].0, VALID[0].1.as_bytes()).await;
    assert_eq!((reply.status, class(&reply)), (504, json!("FeastError")));
}

#[tokio::test]
async fn a_body_that_does_not_come_holds_no_place_and_ends_with_408() {
    let options = ["--max-in-flight", "1", "--body-timeout", "1s"];
    let server = Server::start_with(&options).await;
    let head =
        "POST /push HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 10\r\n\r\n";
    let slow = server.send(head, b"{");
    let honest = async {
        for _ in 0..20 {
            let reply = server.post(VALID[0].0, VALID[0].1.as_bytes()).await;
            assert_eq!(reply.status, 200);
        }
    };
    let (slow, ()) = tokio::join!(slow, honest);
    assert_eq!(
        (slow.status, &slow.json()["detail"][0]["type"]),
        (408, &json!("body_timeout"))
    );
}

#[tokio::test]
async fn a_failed_read_is_a_json_error_and_later_requests_are_answered() {
    let server = Server::start_with(&["--cache-capacity", "0"]).await;
    let df = json!({"driver_id": [7], "conv_rate": [0.5], "trips": [3], "photo": [null], "event_timestamp": [NOW]});
    server.write("driver_stats", df.clone()).await;
    server.write("driver_profile", df).await;
    rusqlite::Connection::open(server.database())
        .unwrap()
        .execute_batch("DROP TABLE driver_stats")
        .unwrap();
    let lookup = |view: &str| {
        json!({"features": [format!("{view}:trips")], "entities": {"driver_id": [7]}}).to_string()
    };
    let reply = server
        .post("/get-online-features", lookup("driver_stats").as_bytes())
        .await;
    let message = "the feature store cannot reach its features";
    let expected =
        format!(r#"{{"module": "feast.errors", "class": "FeastError", "message": "{message}"}}"#);
    assert_eq!((reply.status, reply.json()), (500, json!(expected)));
    assert_eq!(
        server
            .post("/get-online-features", lookup("driver_profile").as_bytes())
            .await
            .status,
        200
    );
}
