//! Answers have a bounded size, whatever is stored.

use explorer::Trace;
use serde_json::{Value, json};

use crate::support::{Explorer, JSON, span, trace_hex};
use opentelemetry_proto::tonic::trace::v1::Span;

/// A large answer may have a list, a page or one item above its limit, and no more.
const LARGEST: usize = 2 * 1024 * 1024;

fn pages(explorer: &Explorer, trace: &str) -> Vec<Value> {
    let mut pages = vec![explorer.read(&format!("/api/traces/{trace}"))];
    while let Some(next) = pages.last().and_then(|page| page["page"]["next"].as_u64()) {
        pages.push(explorer.read(&format!("/api/traces/{trace}?offset={next}")));
    }
    pages
}

fn spans(page: &Value) -> Vec<&str> {
    page["resourceSpans"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|resource| resource["scopeSpans"].as_array().into_iter().flatten())
        .flat_map(|scope| scope["spans"].as_array().into_iter().flatten())
        .map(|span| span["spanId"].as_str().expect("an id"))
        .collect()
}

#[test]
fn a_trace_of_ten_thousand_spans_comes_in_pages() {
    let explorer = Explorer::start(&[]);
    for batch in 0..10 {
        let spans = (1..=1_000).map(|at| batch * 1_000 + at);
        explorer.spans("gateway", spans.map(|id| span(1, id, id - 1)).collect());
    }
    let pages = pages(&explorer, &trace_hex(1));
    assert!(pages.len() >= 5, "{} pages", pages.len());
    assert_eq!(
        pages[1]["page"],
        json!({ "offset": 2_000, "spans": 2_000, "total": 10_000, "next": 4_000 })
    );
    let mut ids: Vec<&str> = pages.iter().flat_map(spans).collect();
    ids.dedup();
    assert_eq!(ids.len(), 10_000);
    // Every page knows the whole trace.
    for (at, page) in pages.iter().enumerate() {
        assert_eq!(page["shape"]["complete"], true);
        let tops = page["shape"]["tops"].as_object().unwrap();
        assert_eq!(tops.len(), usize::from(at == 0));
    }
    let beyond = explorer.read(&format!("/api/traces/{}?offset=20000", trace_hex(1)));
    assert_eq!(
        beyond["page"],
        json!({ "offset": 20_000, "spans": 0, "total": 10_000 })
    );
    let pages: Vec<_> = pages
        .iter()
        .map(|page| page.to_string().into_bytes())
        .collect();
    let trace = Trace::from_otlp_pages(pages.iter().map(Vec::as_slice)).unwrap();
    assert_eq!((trace.spans.len(), trace.is_complete()), (10_000, true));
}

#[test]
fn a_page_is_bounded_in_bytes_too() {
    let explorer = Explorer::start(&[]);
    for id in 1..=20 {
        let large = Span {
            name: "x".repeat(200 * 1024),
            ..span(1, id, id - 1)
        };
        explorer.spans("gateway", vec![large]);
    }
    let pages = pages(&explorer, &trace_hex(1));
    assert!(pages.len() >= 8, "{} pages", pages.len());
    for page in &pages {
        assert!(page.to_string().len() < LARGEST && !spans(page).is_empty());
    }
    assert_eq!(pages.iter().flat_map(spans).count(), 20);
    // A trace that grows is another document.
    explorer.spans("gateway", vec![span(1, 21, 20)]);
    let first = explorer.read(&format!("/api/traces/{}", trace_hex(1)));
    assert_eq!(first["page"]["total"], 21);
}

#[test]
fn a_list_says_how_much_it_leaves_out() {
    let explorer = Explorer::start(&[]);
    let text = "x".repeat(100 * 1024);
    for _ in 0..20 {
        let document = format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":"{text}"}}}}]}}]}}]}}"#
        );
        explorer.post("/v1/logs", &[JSON], document.as_bytes());
    }
    let answer = explorer.get("/api/logs");
    assert!(answer.body.len() < LARGEST, "{} bytes", answer.body.len());
    let listed = answer.json()["logs"].as_array().unwrap().len();
    assert!(listed > 5, "{listed}");
    assert_eq!(answer.json()["left_out"], 20 - listed);
    assert_eq!(explorer.read("/api/logs?limit=1").get("left_out"), None);
}
