//! What a well-behaved exporter sends and gets back.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use crate::support::{Explorer, JSON, PROTOBUF, TRACE, request, span, trace_hex};

const DOCUMENT: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
    "schemaUrl":"https://opentelemetry.io/schemas/1.44.0",
    "scopeSpans":[{"scope":{"name":"my.library","version":"1.0.0","attributes":[{"key":"k","value":{"boolValue":true}}]},
    "spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","name":"server span","kind":2,"flags":257,
    "startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000001","traceState":"a=b",
    "attributes":[{"key":"i","value":{"intValue":"9007199254740993"}},{"key":"nan","value":{"doubleValue":"NaN"}},
      {"key":"list","value":{"arrayValue":{"values":[{"doubleValue":1.5}]}}},{"key":"map","value":{"kvlistValue":{"values":[{"key":"x","value":{"bytesValue":"AQI="}}]}}}],
    "events":[{"timeUnixNano":"1544712660500000000","name":"happened","attributes":[{"key":"e","value":{"stringValue":"v"}}]}],
    "links":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000002","attributes":[]}],
    "droppedEventsCount":3,"status":{"code":2,"message":"broken"}}]}]}]}"#;

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("a vector takes everything");
    encoder.finish().expect("a vector takes everything")
}

#[test]
fn json_comes_back_as_it_was_sent() {
    let explorer = Explorer::start(&[]);
    let answer = explorer.post(
        "/v1/traces",
        &[("content-type", "application/json; charset=utf-8")],
        DOCUMENT.as_bytes(),
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "{}"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(
        explorer.read(&format!("/api/traces/{}", TRACE.to_uppercase())),
        json!({ "resourceSpans": [{
            "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "my.service" } }] },
            "schemaUrl": "https://opentelemetry.io/schemas/1.44.0",
            "scopeSpans": [{
                "scope": { "name": "my.library", "version": "1.0.0", "attributes": [{ "key": "k", "value": { "boolValue": true } }] },
                "spans": [{
                    "traceId": TRACE, "spanId": "eee19b7ec3c1b174", "name": "server span", "kind": 2, "flags": 257, "traceState": "a=b",
                    "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000001",
                    "attributes": [
                        { "key": "i", "value": { "intValue": "9007199254740993" } },
                        { "key": "nan", "value": { "doubleValue": "NaN" } },
                        { "key": "list", "value": { "arrayValue": { "values": [{ "doubleValue": 1.5 }] } } },
                        { "key": "map", "value": { "kvlistValue": { "values": [{ "key": "x", "value": { "bytesValue": "AQI=" } }] } } },
                    ],
                    "events": [{ "timeUnixNano": "1544712660500000000", "name": "happened",
                        "attributes": [{ "key": "e", "value": { "stringValue": "v" } }] }],
                    "links": [{ "traceId": "00000000000000000000000000000001", "spanId": "0000000000000002" }],
                    "droppedEventsCount": 3, "status": { "code": 2, "message": "broken" },
                }],
            }],
        }], "shape": { "complete": true, "tops": { "eee19b7ec3c1b174": "root" } } })
    );
}

#[test]
fn protobuf_plain_and_gzip() {
    let explorer = Explorer::start(&[]);
    let answer = explorer.spans("gateway", vec![span(1, 1, 0)]);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-protobuf")
    );
    let body = gzip(&request("model-service", vec![span(1, 2, 1)]).encode_to_vec());
    assert_eq!(
        explorer
            .post(
                "/v1/traces",
                &[PROTOBUF, ("content-encoding", "gzip")],
                &body
            )
            .status,
        200
    );
    let body = gzip(DOCUMENT.as_bytes());
    assert_eq!(
        explorer
            .post("/v1/traces", &[JSON, ("content-encoding", "gzip")], &body)
            .status,
        200
    );

    let traces = explorer.read("/api/traces");
    assert_eq!(traces["traces"].as_array().unwrap().len(), 2);
    let trace =
        explorer::Trace::from_otlp(&explorer.get(&format!("/api/traces/{}", trace_hex(1))).body)
            .unwrap();
    assert_eq!(
        explorer::tree::outline(&trace),
        "span 1 INTERNAL gateway\n  span 2 INTERNAL model-service\n"
    );
}

#[test]
fn items_refused_one_by_one_are_in_the_answer() {
    let explorer = Explorer::start(&[]);
    let nameless = || Span {
        span_id: Vec::new(),
        ..span(1, 9, 0)
    };
    let large = Span {
        name: "x".repeat(300 * 1024),
        ..span(1, 2, 1)
    };
    let answer = explorer.spans("gateway", vec![span(1, 1, 0), nameless(), large]);
    let response = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!((answer.status, partial.rejected_spans), (200, 2));
    assert!(!partial.error_message.is_empty());

    let document = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00"}]}]}]}"#;
    let answer = explorer.post("/v1/traces", &[JSON], document.as_bytes());
    assert_eq!(answer.json()["partialSuccess"]["rejectedSpans"], "1");
    let document = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"empty"}]}]}]}"#;
    let answer = explorer.post("/v1/metrics", &[JSON], document.as_bytes());
    assert_eq!(answer.json()["partialSuccess"]["rejectedDataPoints"], "1");
    let stats = explorer.read("/api/stats");
    assert_eq!(
        (&stats["traces"]["received"], &stats["traces"]["refused"]),
        (&json!(4), &json!(3))
    );
    assert_eq!(
        (&stats["traces"]["held"], &stats["metrics"]["refused"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn late_and_repeated_spans_find_their_trace() {
    let explorer = Explorer::start(&[]);
    explorer.spans("model-service", vec![span(1, 2, 1)]);
    assert_eq!(explorer.read("/api/traces")["traces"][0]["complete"], false);
    for _retry in 0..3 {
        explorer.spans("gateway", vec![span(1, 1, 0)]);
    }
    let summary = &explorer.read("/api/traces")["traces"][0];
    assert_eq!(
        (
            &summary["complete"],
            &summary["spans"],
            &summary["root_name"]
        ),
        (&json!(true), &json!(2), &json!("span 1"))
    );
    assert_eq!(
        summary["services"],
        json!({ "gateway": 1, "model-service": 1 })
    );
    assert_eq!(explorer.read("/api/stats")["traces"]["duplicates"], 2);
}

#[test]
fn the_oldest_trace_goes_first() {
    let explorer = Explorer::start(&["--max-traces", "2"]);
    for trace in 1..=3 {
        explorer.spans("gateway", vec![span(trace, 1, 0)]);
    }
    assert_eq!(
        explorer
            .get(&format!("/api/traces/{}", trace_hex(1)))
            .status,
        404
    );
    let traces = explorer.read("/api/traces");
    let ids: Vec<_> = traces["traces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trace| trace["trace_id"].clone())
        .collect();
    assert_eq!(ids, [json!(trace_hex(3)), json!(trace_hex(2))]);
    assert_eq!(explorer.read("/api/stats")["traces"]["evicted_traces"], 1);
}

#[test]
fn a_flood_of_a_hundred_thousand_spans_stays_within_the_bytes() {
    let explorer = Explorer::start(&["--max-bytes", "2000000"]);
    for batch in 0..200 {
        let spans = (0..500)
            .map(|at| span(batch * 50 + at / 10, at % 10 + 1, at % 10))
            .collect();
        assert_eq!(explorer.spans("gateway", spans).status, 200);
    }
    let stats = explorer.read("/api/stats");
    let number = |pointer: &str| stats.pointer(pointer).unwrap().as_u64().unwrap();
    assert_eq!(number("/traces/received"), 100_000);
    assert_eq!(number("/traces/held") + number("/traces/evicted"), 100_000);
    assert!(
        number("/traces/bytes") <= number("/traces/max_bytes") && number("/bytes") <= 2_000_000,
        "{stats}"
    );
    assert_eq!(explorer.read("/api/traces")["traces"][0]["complete"], true);
}

#[test]
fn one_unusual_or_wrong_value_does_not_lose_the_batch() {
    let explorer = Explorer::start(&[]);
    let span = |id: usize, attribute: &str| {
        format!(
            r#"{{"traceId":"{TRACE}","spanId":"{id:016x}","name":"s","attributes":[{{"key":"a","value":{attribute}}}]}}"#
        )
    };
    let values = [
        r#"{"bytesValue":"-_8="}"#,
        r#"{"intValue":1e2}"#,
        r#"{"intValue":5.0}"#,
        r#"{"intValue":"x"}"#,
        r#"{"doubleValue":1e400}"#,
    ];
    let spans: Vec<_> = (1..)
        .zip(values)
        .map(|(id, value)| span(id, value))
        .collect();
    let document = format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
        spans.join(",")
    );
    let answer = explorer.post("/v1/traces", &[JSON], document.as_bytes());
    let partial = &answer.json()["partialSuccess"];
    assert_eq!(
        (answer.status, &partial["rejectedSpans"]),
        (200, &json!("2"))
    );
    assert!(
        partial["errorMessage"]
            .as_str()
            .unwrap()
            .contains("invalid digit"),
        "{partial}"
    );
    let trace = explorer.read(&format!("/api/traces/{TRACE}"));
    let stored = trace
        .pointer("/resourceSpans/0/scopeSpans/0/spans")
        .unwrap();
    let values: Vec<_> = stored
        .as_array()
        .unwrap()
        .iter()
        .map(|span| span["attributes"][0]["value"].clone())
        .collect();
    assert_eq!(
        values,
        [
            json!({ "bytesValue": "+/8=" }),
            json!({ "intValue": "100" }),
            json!({ "intValue": "5" })
        ]
    );
    let stats = explorer.read("/api/stats");
    assert_eq!(
        (&stats["traces"]["received"], &stats["traces"]["refused"]),
        (&json!(5), &json!(2))
    );
}

#[test]
fn a_protobuf_item_that_cannot_be_read_leaves_the_others() {
    let explorer = Explorer::start(&[]);
    let mut body = request("gateway", vec![span(1, 1, 0)]).encode_to_vec();
    // A span whose name is not UTF-8: resource_spans { scope_spans { spans { name } } }.
    body.extend([0x0a, 7, 0x12, 5, 0x12, 3, 0x2a, 1, 0xff]);
    let answer = explorer.post("/v1/traces", &[PROTOBUF], &body);
    let response = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!((answer.status, partial.rejected_spans), (200, 1));
    assert_eq!(explorer.read("/api/stats")["traces"]["held"], 1);
}

#[test]
fn rejected_data_points_are_counted_one_by_one() {
    let explorer = Explorer::start(&[]);
    let points = r#"{"asInt":"1"},{"asInt":"x"},{"asInt":"y"}"#;
    let document = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
    );
    let answer = explorer.post("/v1/metrics", &[JSON], document.as_bytes());
    assert_eq!(answer.json()["partialSuccess"]["rejectedDataPoints"], "2");
    assert_eq!(
        explorer.read("/api/metrics?name=m")["series"][0]["value"],
        1
    );
}

#[test]
fn a_request_above_the_limit_is_answered_with_the_limit_and_counted() {
    let explorer = Explorer::start(&[]);
    let large = vec![0; 5 * 1024 * 1024];
    let answer = explorer.post("/v1/traces", &[JSON], &large);
    assert_eq!(answer.status, 413);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("4194304 bytes"), "{message}");
    let answer = explorer.post(
        "/v1/logs",
        &[JSON, ("content-encoding", "gzip")],
        &gzip(&large),
    );
    assert_eq!(answer.status, 413);
    explorer.post("/v1/metrics", &[JSON], b"no JSON");
    assert_eq!(
        explorer.read("/api/stats")["refused_requests"],
        json!({ "too_large": 2, "malformed": 1 })
    );
}
