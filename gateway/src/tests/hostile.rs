//! Whatever a client sends, its answer is a 4xx with an explanation and never a 5xx.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::harness::Gateway;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn malformed_requests_are_explained() {
    let gateway = Gateway::start().await;
    let many: Vec<String> = (0..1_001).map(|n| n.to_string()).collect();
    let cases = [
        ("", 400, "EOF"),
        ("{", 400, "EOF"),
        ("\u{0}", 400, "expected value"),
        ("[]", 422, "invalid"),
        (r#" ["wine_quality",["a"],null]"#, 422, "expected an object"),
        ("null", 422, "invalid type"),
        (r#"{"model":"wine_quality"}"#, 422, "data_ids or texts"),
        (r#"{"data_ids":["a"]}"#, 422, "missing field `model`"),
        (
            r#"{"model":"wine_quality","data_ids":["a"],"texts":["b"]}"#,
            422,
            "cannot both",
        ),
        (
            r#"{"model":"wine_quality","data_ids":[]}"#,
            422,
            "1 to 1000",
        ),
        (
            r#"{"model":"wine_quality","data_ids":[""]}"#,
            422,
            "data_ids[0]",
        ),
        (
            r#"{"model":"wine_quality","data_ids":["a","b\u0000"]}"#,
            422,
            "data_ids[1]",
        ),
        (
            r#"{"model":"wine_quality","data_ids":"a"}"#,
            422,
            "expected a sequence",
        ),
        (
            r#"{"model":"wine_quality","data_ids":[1]}"#,
            422,
            "expected a string",
        ),
        (
            r#"{"model":"wine_quality","ids":["a"]}"#,
            422,
            "unknown field `ids`",
        ),
        (
            r#"{"model":"wine_quality","data_ids":["a"],"data_ids":["b"]}"#,
            422,
            "duplicate field",
        ),
        (r#"{"model":"","data_ids":["a"]}"#, 422, "model must"),
        (
            r#"{"model":"text_sentiment","texts":[""]}"#,
            422,
            "texts[0]",
        ),
    ];
    for (body, status, detail) in cases {
        let reply = gateway.post("/v1/predictions", &[], body).await;
        reply.problem(status);
        assert!(
            reply.json()["detail"].as_str().unwrap().contains(detail),
            "{body}: {}",
            reply.json()["detail"]
        );
    }
    let body = json!({"model": "wine_quality", "data_ids": many}).to_string();
    assert_eq!(
        gateway
            .post("/v1/predictions", &[], body)
            .await
            .problem(422),
        "invalid_request"
    );
    let body = json!({"model": "wine_quality", "data_ids": ["x".repeat(257)]}).to_string();
    assert_eq!(
        gateway
            .post("/v1/predictions", &[], body)
            .await
            .problem(422),
        "invalid_request"
    );
    let body = json!({"model": "wine_quality", "data_ids": many[..1_000]}).to_string();
    assert_eq!(gateway.post("/v1/predictions", &[], body).await.status, 200);
}

#[tokio::test]
async fn bodies_may_be_compressed_and_stay_within_the_limit() {
    let gateway = Gateway::start().await;
    let body = r#"{"model":"wine_quality","data_ids":["a"]}"#;
    assert_eq!(
        gateway
            .post(
                "/v1/predictions",
                &[("content-encoding", "gzip")],
                gzip(body.as_bytes())
            )
            .await
            .status,
        200
    );
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(body.as_bytes()).unwrap();
    assert_eq!(
        gateway
            .post(
                "/v1/predictions",
                &[("content-encoding", "deflate")],
                zlib.finish().unwrap()
            )
            .await
            .status,
        200
    );
    let large = format!("{body}{}", " ".repeat(1 << 20));
    assert_eq!(
        gateway
            .post("/v1/predictions", &[], large.clone())
            .await
            .problem(413),
        "too_large"
    );
    let bomb = gzip(large.repeat(30).as_bytes());
    assert!(bomb.len() < 100_000);
    assert_eq!(
        gateway
            .post("/v1/predictions", &[("content-encoding", "gzip")], bomb)
            .await
            .problem(413),
        "too_large"
    );
    assert_eq!(
        gateway
            .post("/v1/predictions", &[("content-encoding", "gzip")], body)
            .await
            .problem(400),
        "bad_request"
    );
    assert_eq!(
        gateway
            .post("/v1/predictions", &[("content-encoding", "br")], body)
            .await
            .problem(415),
        "unsupported_encoding"
    );
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let gateway = Gateway::start().await;
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/predictions/wine_quality", 404),
        ("DELETE", "/v1/predictions", 405),
        ("POST", "/v1/models", 405),
        ("BREW", "/v1/predictions", 405),
        ("POST", "/openapi.json", 405),
    ] {
        gateway
            .send(gateway.request(method, path, &[], bytes::Bytes::new()))
            .await
            .problem(status);
    }
}

#[tokio::test]
async fn malformed_requests_never_cause_a_5xx() {
    let gateway = Gateway::start().await;
    let mut runner = TestRunner::deterministic();
    let paths = prop::sample::select(vec![
        "/v1/predictions",
        "/v1/predictions/wine_quality/x",
        "/v1/models",
        "/v2/models/echo/infer",
        "/v2/repository/index",
        "/openapi.json",
    ]);
    let valid = br#"{"model":"wine_quality","data_ids":["a","b"]}"#.to_vec();
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    // Half of the bodies are noise; the others are a valid request, cut short or with one byte
    // changed.
    let bodies = prop_oneof![
        bytes,
        (any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
            move |(at, byte, cut)| {
                let (mut body, at) = (valid.clone(), at.index(valid.len()));
                body[at] = byte;
                if cut { body[..at].to_vec() } else { body }
            }
        )
    ];
    let values = prop_oneof![
        Just("gzip"),
        Just("deflate"),
        Just("no-cache, ,=,max-age"),
        Just("max-age=-1"),
        Just("18446744073709551616"),
        Just("0")
    ];
    let headers = prop::sample::select(vec![
        "content-encoding",
        "cache-control",
        "inference-header-content-length",
        "traceparent",
        "baggage",
        "content-type",
    ]);
    let methods = prop::sample::select(vec!["POST", "POST", "GET", "PUT"]);
    let requests = (methods, paths, headers, values, bodies);
    for _ in 0..400 {
        let (method, path, header, value, body) = requests.new_tree(&mut runner).unwrap().current();
        let reply = gateway
            .send(gateway.request(method, path, &[(header, value)], body.clone().into()))
            .await;
        assert!(
            reply.status.as_u16() < 500,
            "{method} {path} {header}: {value} {body:?}: {} {:?}",
            reply.status,
            reply.body
        );
    }
    assert_eq!(gateway.predict(&["a"]).await.status, 200);
}
