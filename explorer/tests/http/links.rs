//! Links in both directions, and a trace as a file.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use serde_json::json;

use crate::support::{Explorer, span, trace_hex};

/// A link to a span of a trace.
fn link(trace: u64, id: u64) -> Link {
    let target = span(trace, id, 0);
    Link {
        trace_id: target.trace_id,
        span_id: target.span_id,
        ..Link::default()
    }
}

fn of_run(link: Link) -> Link {
    let run = AnyValue {
        value: Some(Any::StringValue("run-1".to_owned())),
    };
    let attribute = KeyValue {
        key: "ml.run_id".to_owned(),
        value: Some(run),
        ..KeyValue::default()
    };
    Link {
        attributes: vec![attribute],
        ..link
    }
}

fn named(name: &str, kind: i32, links: Vec<Link>, span: Span) -> Span {
    Span {
        name: name.to_owned(),
        kind,
        links,
        ..span
    }
}

#[test]
fn a_hit_and_its_computation_a_batch_and_its_members_a_prediction_and_its_training() {
    let explorer = Explorer::start(&[]);
    let training = named("train wine_quality", 1, vec![], span(1, 1, 0));
    let predict = named(
        "predict wine_quality",
        1,
        vec![of_run(link(1, 1))],
        span(2, 1, 0),
    );
    let batch = named("batch", 1, vec![link(2, 1), link(3, 2)], span(3, 1, 0));
    let hit = named(
        "POST /v1/predictions",
        2,
        vec![link(2, 1), link(9, 1)],
        span(4, 1, 0),
    );
    explorer.spans("trainer", vec![training]);
    explorer.spans("model-service", vec![predict, batch, span(3, 2, 1)]);
    explorer.spans("gateway", vec![hit]);

    let links = |trace| explorer.read(&format!("/api/traces/{}/links", trace_hex(trace)));
    let relations = |list: &serde_json::Value| -> Vec<(String, String, bool)> {
        let links = list.as_array().unwrap().iter();
        links
            .map(|link| {
                let text = |name: &str| link[name].as_str().unwrap_or("gone").to_owned();
                (text("relation"), text("name"), link["stored"] == true)
            })
            .collect()
    };
    let said = |relation: &str, name: &str, stored| (relation.to_owned(), name.to_owned(), stored);
    assert_eq!(
        relations(&links(4)["outward"]),
        [
            said("computed by", "predict wine_quality", true),
            said("computed by", "gone", false)
        ]
    );
    let of_predict = links(2);
    assert_eq!(
        relations(&of_predict["outward"]),
        [said("trained by", "train wine_quality", true)]
    );
    assert_eq!(
        relations(&of_predict["inward"]),
        [
            said("answered later in", "POST /v1/predictions", true),
            said("went into", "batch", true)
        ]
    );
    assert_eq!(of_predict["inward"][0]["trace_id"], trace_hex(4));
    assert_eq!(of_predict["inward"][0]["own_span_id"], "0000000000000001");
    assert_eq!(
        relations(&links(1)["inward"]),
        [said("trained the model of", "predict wine_quality", true)]
    );
    // A member in the trace of the batch itself.
    assert_eq!(
        relations(&links(3)["inward"]),
        [said("went into", "batch", true)]
    );
    assert_eq!(
        explorer
            .get(&format!("/api/traces/{}/links", trace_hex(9)))
            .status,
        404
    );
}

#[test]
fn a_trace_is_a_file_in_three_formats() {
    let explorer = Explorer::start(&[]);
    let evil = named(
        "</script><script>alert(1)</script>",
        2,
        vec![],
        span(1, 1, 0),
    );
    explorer.spans("gateway", vec![evil, span(1, 2, 1)]);
    let export =
        |format: &str| explorer.get(&format!("/api/traces/{}/export/{format}", trace_hex(1)));
    for (format, content_type, extension) in [
        ("perfetto", "application/json", "perfetto.json"),
        ("html", "text/html; charset=utf-8", "html"),
        ("otlp", "application/json", "otlp.json"),
    ] {
        let answer = export(format);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(content_type));
        let name = format!(
            "attachment; filename=\"trace-{}.{extension}\"",
            trace_hex(1)
        );
        assert_eq!(answer.header("content-disposition"), Some(name.as_str()));
    }
    let html = export("html");
    assert!(!String::from_utf8_lossy(&html.body).contains("<script"));
    let otlp = export("otlp").json();
    assert_eq!(
        otlp["resourceSpans"],
        explorer.read(&format!("/api/traces/{}", trace_hex(1)))["resourceSpans"]
    );
    let perfetto = export("perfetto").json();
    assert!(
        perfetto["traceEvents"]
            .as_array()
            .is_some_and(|events| events.len() >= 4)
    );
    let unknown = export("pdf");
    assert_eq!(
        (unknown.status, unknown.json()["error"].clone()),
        (400, json!("the format must be perfetto, html or otlp"))
    );
}
