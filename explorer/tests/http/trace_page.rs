//! The page of one trace and the comparison of two, as the server renders them.

use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::{Value, json};

use crate::support::{Explorer, JSON, span, trace_hex};

/// A page whose status must be 200.
fn page(explorer: &Explorer, path: &str) -> String {
    let answer = explorer.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

/// The page when nothing of the trace can be on its way any more.
fn settled(explorer: &Explorer, path: &str) -> String {
    let mut html = page(explorer, path);
    harness::wait_until("the trace is no longer arriving", || {
        html = page(explorer, path);
        !html.contains("Arriving")
    });
    html
}

fn address(trace: u64, id: u64) -> String {
    format!("/traces/{}/{id:016x}", trace_hex(trace))
}

#[test]
fn every_span_has_a_page_with_its_details() {
    let explorer = Explorer::start(&[]);
    let attributes = json!([
        { "key": "ml.model_name", "value": { "stringValue": "wine_quality" } },
        { "key": "http.request.method", "value": { "stringValue": "POST" } },
        { "key": "url.full", "value": { "stringValue": "http://127.0.0.1:8080/v1/predictions" } },
        { "key": "db.system.name", "value": { "stringValue": "sqlite" } },
        { "key": "colour", "value": { "stringValue": "red" } },
    ]);
    let root = json!({ "traceId": trace_hex(1), "spanId": "0000000000000001", "name": "order", "kind": 2,
        "startTimeUnixNano": "1000000000", "endTimeUnixNano": "1005000000", "attributes": attributes });
    let document = json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
        "scopeSpans": [{ "spans": [root] }] }] });
    explorer.post("/v1/traces", &[JSON], document.to_string().as_bytes());
    let failed = Span {
        name: "pack".to_owned(),
        start_time_unix_nano: 1_001_000_000,
        end_time_unix_nano: 1_004_000_000,
        status: Some(Status {
            code: 2,
            message: "no box".to_owned(),
        }),
        events: vec![Event {
            name: "box_missing".to_owned(),
            time_unix_nano: 1_002_000_000,
            ..Event::default()
        }],
        ..span(1, 2, 1)
    };
    explorer.spans("warehouse", vec![failed]);
    let log = json!({ "timeUnixNano": "1003000000", "severityNumber": 17, "severityText": "ERROR",
        "traceId": trace_hex(1), "spanId": "0000000000000002", "body": { "stringValue": "packing failed" },
        "attributes": [
            { "key": "exception.type", "value": { "stringValue": "NoBox" } },
            { "key": "exception.message", "value": { "stringValue": "no box is left" } },
            { "key": "exception.stacktrace", "value": { "stringValue": "0: pack\n1: order" } },
        ] });
    let logs = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [log] }] }] });
    explorer.post("/v1/logs", &[JSON], logs.to_string().as_bytes());

    // Without a span in the address the deepest error is shown.
    let html = page(&explorer, &format!("/traces/{}", trace_hex(1)));
    for text in [
        "✗ no box",
        "NoBox",
        "0: pack\n1: order",
        "box_missing",
        "packing failed",
        "Time by span name",
        "Critical path: 3 steps",
    ] {
        assert!(html.contains(text), "no {text}: {html}");
    }
    assert!(html.contains(&format!("href=\"{}\"", address(1, 2))));

    let html = page(&explorer, &address(1, 1));
    for text in [
        ">Model<",
        ">HTTP<",
        ">Database<",
        ">Other<",
        "00-0707070707070707",
        "curl -X",
        "5.00 ms",
        "none (root)",
    ] {
        assert!(html.contains(text), "no {text}: {html}");
    }
    // The wish for a span that is not here is answered, not ignored.
    let html = page(&explorer, &address(1, 77));
    assert!(html.contains("The trace has no span"), "{html}");
    assert_eq!(explorer.get(&address(9, 1)).status, 404);
}

#[test]
fn a_trace_that_is_not_whole_is_arriving_and_not_shown_as_whole() {
    let explorer = Explorer::start(&[]);
    explorer.spans("gateway", vec![span(1, 2, 1)]);
    let path = format!("/traces/{}", trace_hex(1));
    let html = page(&explorer, &path);
    assert!(
        html.contains("Arriving") && html.contains("so far"),
        "{html}"
    );
    explorer.spans("gateway", vec![span(1, 1, 0)]);
    let html = settled(&explorer, &path);
    assert!(
        !html.contains("so far") && !html.contains("incomplete"),
        "{html}"
    );
}

#[test]
fn the_page_says_of_an_odd_trace_what_the_api_says() {
    let explorer = Explorer::start(&[]);
    let base = span(1, 1, 0);
    let second = Span {
        name: "another".to_owned(),
        ..span(1, 2, 1)
    };
    let early = Span {
        start_time_unix_nano: base.start_time_unix_nano - 5_000_000,
        ..span(1, 3, 1)
    };
    let late = Span {
        end_time_unix_nano: base.end_time_unix_nano + 7_000_000,
        ..span(1, 4, 1)
    };
    let spans = vec![
        base,
        span(1, 2, 1),
        second,
        early,
        late,
        span(1, 5, 9),
        span(1, 6, 7),
        span(1, 7, 6),
    ];
    explorer.spans("gateway", spans);
    explorer.spans(
        "caller",
        vec![Span {
            flags: 0x300,
            kind: 2,
            ..span(2, 1, 9)
        }],
    );
    let api = explorer.read(&format!("/api/traces/{}", trace_hex(1)));
    let remarks = api["shape"]["remarks"].as_array().unwrap();
    assert_eq!(remarks.len(), 4, "{remarks:?}");
    let html = page(&explorer, &format!("/traces/{}", trace_hex(1)));
    for remark in remarks.iter().filter_map(Value::as_str) {
        assert!(html.contains(&format!("⚠ {remark}")), "{remark}: {html}");
    }
    for mark in ["⚠ orphan", "⚠ its own ancestor"] {
        assert!(html.contains(mark), "{mark}");
    }
    assert!(page(&explorer, &address(1, 3)).contains("the clocks differ"));
    // A root with a remote parent is a root: nothing is wrong with it.
    let html = page(&explorer, &format!("/traces/{}", trace_hex(2)));
    assert!(
        html.contains("↖ remote parent") && !html.contains('⚠'),
        "{html}"
    );
}

#[test]
fn links_lead_both_ways_and_say_when_their_end_is_gone() {
    let explorer = Explorer::start(&["--max-traces", "4"]);
    let link = |trace, id| {
        let target = span(trace, id, 0);
        Link {
            trace_id: target.trace_id,
            span_id: target.span_id,
            ..Link::default()
        }
    };
    explorer.spans(
        "model-service",
        vec![Span {
            name: "predict".to_owned(),
            ..span(1, 1, 0)
        }],
    );
    let hit = Span {
        name: "hit".to_owned(),
        kind: 2,
        links: vec![link(1, 1), link(77, 1)],
        ..span(2, 1, 0)
    };
    explorer.spans("gateway", vec![hit]);
    let html = page(&explorer, &address(2, 1));
    assert!(
        html.contains("computed by") && html.contains(&address(1, 1)),
        "{html}"
    );
    assert!(
        html.contains("is gone: evicted, or never received here"),
        "{html}"
    );
    let html = page(&explorer, &address(1, 1));
    assert!(
        html.contains("answered later in") && html.contains(&address(2, 1)),
        "{html}"
    );
    // The computation outstays its turn, as long as the hit is here.
    for trace in 3..=5 {
        explorer.spans("gateway", vec![span(trace, 1, 0)]);
    }
    page(&explorer, &address(1, 1));
}

#[test]
fn a_hostile_trace_makes_a_page_of_bounded_size() {
    let explorer = Explorer::start(&[]);
    let payload = "<script>alert(1)</script>\"' onload=alert(1) ".repeat(1_000);
    let attribute = |at: usize| json!({ "key": format!("{}{at}", &payload[..300]), "value": { "stringValue": payload[..5_000] } });
    for start in (1..2_000_u64).step_by(100) {
        let spans: Vec<Value> = (start..start + 100)
            .map(|id| {
                json!({ "traceId": trace_hex(1), "spanId": format!("{id:016x}"), "parentSpanId": if id == 1 { String::new() } else { format!("{:016x}", id - 1) },
                    "name": payload[..1_000], "startTimeUnixNano": id.to_string(), "endTimeUnixNano": (10_000 - id).to_string(),
                    "attributes": if id == 2 { json!((0..40).map(attribute).collect::<Vec<_>>()) } else { json!([]) } })
            })
            .collect();
        let document = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
        assert_eq!(
            explorer
                .post("/v1/traces", &[JSON], document.to_string().as_bytes())
                .status,
            200
        );
    }
    for path in [
        format!("/traces/{}", trace_hex(1)),
        address(1, 2),
        address(1, 1_500),
        format!("/compare?a={0}&b={0}", trace_hex(1)),
    ] {
        let html = page(&explorer, &path);
        assert!(html.len() < 1_500_000, "{path}: {} bytes", html.len());
        assert!(!html.contains("<script>alert"), "{path}");
        assert!(!html.contains("\"' onload"), "{path}");
        assert!(!html.contains(" style="), "{path}");
    }
    assert!(page(&explorer, &address(1, 2)).contains("… cut; the OTLP/JSON has all of it"));
    assert!(page(&explorer, &address(1, 1_500)).contains("Spans 1,201 to 1,600 of 2,000"));
}

#[test]
fn two_traces_are_compared_by_their_trees() {
    let explorer = Explorer::start(&[]);
    explorer.spans("gateway", vec![span(1, 1, 0), span(1, 2, 1)]);
    let slower = Span {
        end_time_unix_nano: span(2, 1, 0).end_time_unix_nano + 2_000_000,
        ..span(2, 1, 0)
    };
    explorer.spans("gateway", vec![slower, span(2, 3, 1)]);
    let (a, b) = (trace_hex(1), trace_hex(2));
    let html = page(&explorer, &format!("/compare?a={a}&b={b}"));
    for text in [
        "▲ 2.00 ms slower",
        "1 span in both, 1 only in A, 1 only in B",
        "only in A",
        "only in B",
        "so far",
    ] {
        assert!(html.contains(text), "no {text}: {html}");
    }
    let html = page(&explorer, &format!("/compare?a={a}&b={a}"));
    assert!(
        html.contains("takes the same time") && html.contains("2 spans in both, 0 only in A"),
        "{html}"
    );
    assert!(page(&explorer, "/compare").contains("Give two trace ids"));
    assert_eq!(
        explorer
            .get(&format!("/compare?a={a}&b={}", trace_hex(9)))
            .status,
        404
    );
    assert_eq!(
        explorer
            .get(&format!("/compare?a={a}&b=%3Cscript%3E"))
            .status,
        400
    );
}
