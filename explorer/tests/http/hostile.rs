//! Malformed bodies, and requests of foreign web pages.

use std::io::Write;
use std::sync::LazyLock;

use flate2::{Compression, write::GzEncoder};
use harness::send;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;

use crate::support::{Explorer, JSON, PROTOBUF, request, span};

const SIGNALS: [&str; 3] = ["/v1/traces", "/v1/metrics", "/v1/logs"];

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[test]
fn garbage_is_answered_with_a_status_in_its_own_encoding() {
    let explorer = Explorer::start(&[]);
    for signal in SIGNALS {
        let answer = explorer.post(signal, &[PROTOBUF], b"\x0a\xff\xff\xff\xff\x0fgarbage");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, Some("application/x-protobuf"))
        );
        let status = Status::decode(&answer.body[..]).unwrap();
        assert_eq!(
            (
                status.code,
                status.message.starts_with("the request is malformed: ")
            ),
            (3, true),
            "{}",
            status.message
        );

        let answer = explorer.post(signal, &[JSON], b"{\"resourceSpans\": nonsense}");
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (400, Some("application/json"))
        );
        assert_eq!(answer.json()["code"], 3);
    }
    let stats = explorer.read("/api/stats");
    assert_eq!(stats["traces"]["held"], 0);
}

#[test]
fn a_request_is_taken_whole_or_not_at_all() {
    let explorer = Explorer::start(&[]);
    let mut body = request("gateway", vec![span(1, 1, 0)]).encode_to_vec();
    // A second resource_spans whose span says that it is longer than it is.
    body.extend([0x0a, 4, 0x12, 2, 0x12, 9]);
    assert_eq!(explorer.post("/v1/traces", &[PROTOBUF], &body).status, 400);
    assert_eq!(explorer.read("/api/stats")["traces"]["held"], 0);
}

#[test]
fn other_types_encodings_and_methods() {
    let explorer = Explorer::start(&[]);
    assert_eq!(
        explorer
            .post("/v1/traces", &[("content-type", "text/plain")], b"x")
            .status,
        415
    );
    assert_eq!(explorer.post("/v1/traces", &[], b"").status, 415);
    let answer = explorer.post("/v1/traces", &[PROTOBUF, ("content-encoding", "br")], b"x");
    assert_eq!(
        (answer.status, answer.header("accept-encoding")),
        (415, Some("gzip, deflate"))
    );
    assert_eq!(
        explorer
            .post(
                "/v1/traces",
                &[PROTOBUF, ("content-encoding", "gzip")],
                b"not gzip"
            )
            .status,
        400
    );
    let traces = format!("{}/v1/traces", explorer.endpoint());
    assert_eq!(send("GET", &traces, &[], b"").unwrap().status, 405);
    assert_eq!(explorer.post("/v1/nothing", &[JSON], b"{}").status, 404);
}

#[test]
fn bodies_and_what_they_unpack_to_are_bounded() {
    let explorer = Explorer::start(&[]);
    let large = vec![0; 5 * 1024 * 1024];
    assert_eq!(explorer.post("/v1/traces", &[PROTOBUF], &large).status, 413);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..20 {
        encoder.write_all(&large).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 200_000);
    let answer = explorer.post("/v1/traces", &[JSON, ("content-encoding", "gzip")], &bomb);
    assert_eq!((answer.status, &answer.json()["code"]), (413, &json!(8)));
    // Two bytes each, two hundred and fifty when decoded.
    let empty_spans = [0x12, 0].repeat(300_000);
    let mut scope = vec![0x12];
    prost::encoding::encode_varint(empty_spans.len() as u64, &mut scope);
    scope.extend(empty_spans);
    let mut body = vec![0x0a];
    prost::encoding::encode_varint(scope.len() as u64, &mut body);
    body.extend(scope);
    assert_eq!(explorer.post("/v1/traces", &[PROTOBUF], &body).status, 413);
}

#[test]
fn pages_of_other_origins_neither_write_nor_read() {
    let explorer = Explorer::start(&[]);
    let document = br#"{"resourceSpans":[]}"#;
    let foreign = ("origin", "https://evil.example");
    let answer = explorer.post("/v1/traces", &[JSON, foreign], document);
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (403, None)
    );
    let own = explorer.endpoint();
    assert_eq!(
        explorer
            .post("/v1/traces", &[JSON, ("origin", &own)], document)
            .status,
        200
    );
    // A preflight is not granted either.
    let preflight = [foreign, ("access-control-request-method", "POST")];
    let traces = format!("{}/v1/traces", explorer.endpoint());
    let answer = send("OPTIONS", &traces, &preflight, b"").unwrap();
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (403, None)
    );
    let reads = format!("{}/api/traces", explorer.url());
    let answer = send("GET", &reads, &[foreign], b"").unwrap();
    assert_eq!(answer.status, 403);
    let rebound = send("GET", &reads, &[("host", "evil.example")], b"").unwrap();
    assert_eq!(rebound.status, 421);
}

/// One explorer for all cases, so that damage by one case fails the next.
static SHARED: LazyLock<Explorer> = LazyLock::new(|| Explorer::start(&["--max-bytes", "1000000"]));

fn answers_calmly(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(), TestCaseError> {
    let status = SHARED.post(path, headers, body).status;
    prop_assert!(matches!(status, 200 | 400 | 413), "{status} to {body:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn arbitrary_bytes(body in proptest::collection::vec(any::<u8>(), 0..300), signal in 0..3_usize, json in any::<bool>()) {
        answers_calmly(SIGNALS[signal], &[if json { JSON } else { PROTOBUF }], &body)?;
        answers_calmly(SIGNALS[signal], &[PROTOBUF, ("content-encoding", "gzip")], &body)?;
    }

    #[test]
    fn truncated_and_flipped_protobuf(cut in 0.0..1.0, flip in 0.0..1.0, bit in 0..8_u32, signal in 0..3_usize) {
        let mut body = request("gateway", (1..20).map(|id| span(1, id, id - 1)).collect()).encode_to_vec();
        let at = (flip * body.len() as f64) as usize;
        answers_calmly(SIGNALS[signal], &[PROTOBUF], &body[..(cut * body.len() as f64) as usize])?;
        body[at] ^= 1 << bit;
        answers_calmly(SIGNALS[signal], &[PROTOBUF], &body)?;
        // What was stored can be read.
        for path in ["/api/traces?limit=1000", "/api/logs", "/api/metrics", "/api/services"] {
            prop_assert_eq!(SHARED.get(path).status, 200);
        }
    }

    #[test]
    fn json_like_texts(text in r#"\{"resource(Spans|Logs|Metrics)":\[(\{"scope(Spans|Logs|Metrics)":\[\{"(spans|logRecords|metrics)":[\[\]{}",:a-z0-9.-]{0,30}\}?\]?\}?)?\]?\}?"#) {
        for signal in SIGNALS {
            answers_calmly(signal, &[JSON], text.as_bytes())?;
        }
    }
}
