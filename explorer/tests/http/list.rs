//! The page `/`: the filter in its address, the dots, and what is different.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::support::{Explorer, span, trace_hex};

fn labelled(number: u64, label: &str) -> Span {
    let value = AnyValue {
        value: Some(Any::StringValue(label.to_owned())),
    };
    let failed = label == "high";
    Span {
        name: "predict wine".to_owned(),
        attributes: vec![KeyValue {
            key: "ml.output.label".to_owned(),
            value: Some(value),
            ..KeyValue::default()
        }],
        status: Some(Status {
            code: if failed { 2 } else { 0 },
            ..Status::default()
        }),
        ..span(number, 1, 0)
    }
}

fn explorer() -> Explorer {
    let explorer = Explorer::start(&[]);
    let label = |number: u64| if number <= 6 { "high" } else { "low" };
    let spans = (1..=20).map(|number| labelled(number, label(number)));
    explorer.spans("model-service", spans.collect());
    explorer
}

/// The ids of the rows, in their order.
fn rows(html: &str) -> Vec<&str> {
    let parts = html.split("data-key=\"").skip(1);
    parts.filter_map(|part| part.get(..32)).collect()
}

#[test]
fn the_address_is_the_filter_and_the_form_shows_it() {
    let explorer = explorer();
    let page = explorer
        .get("/?where=ml.output.label+is+high&sort=oldest")
        .text();
    let expected: Vec<_> = (1..=6).map(trace_hex).collect();
    assert_eq!(rows(&page), expected);
    assert!(page.contains("<strong>6 traces</strong>"), "{page}");
    assert!(
        page.contains(r#"name="where" value="ml.output.label is high""#),
        "{page}"
    );
    assert!(
        page.contains(r#"<option value="oldest" selected>"#),
        "{page}"
    );
    assert!(page.contains(r#"aria-sort="ascending""#), "{page}");
    // A cross for each failed trace, and a legend that says so.
    assert_eq!(page.matches("href=\"#cross\"").count(), 6);
    let all = explorer.get("/").text();
    assert_eq!(rows(&all).len(), 20);
    assert_eq!(all.matches("<circle").count(), 14);
    let limited = explorer.get("/?limit=3").text();
    assert_eq!(rows(&limited), [20, 19, 18].map(trace_hex));
    assert!(
        limited.contains("the first 3 are in the table"),
        "{limited}"
    );
}

#[test]
fn a_wrong_filter_is_said_on_the_page_and_in_the_api() {
    let explorer = explorer();
    let page = explorer.get("/?where=%3Cscript%3E&status=ok");
    assert_eq!(page.status, 200);
    let page = page.text();
    assert!(
        page.contains("is no condition: write KEY OPERATOR VALUE"),
        "{page}"
    );
    assert!(
        !page.contains("<script>") && page.contains("&lt;script&gt;"),
        "{page}"
    );
    assert!(
        page.contains(r#"<option value="ok" selected>"#),
        "the form keeps what was given"
    );
    let api = explorer.get("/api/traces?where=k");
    assert_eq!(
        (api.status, api.json()["code"].as_str()),
        (400, Some("invalid_query"))
    );
    for path in ["/api/difference", "/api/difference?compare=fast"] {
        assert_eq!(explorer.get(path).status, 400, "{path}");
    }
}

#[test]
fn nothing_found_says_what_to_do() {
    let empty = Explorer::start(&[]);
    assert!(empty.get("/").text().contains("throughline sample"));
    let page = explorer().get("/?q=nowhere").text();
    assert!(page.contains("No trace matches."), "{page}");
}

#[test]
fn a_difference_has_counts_and_bars() {
    let explorer = explorer();
    let page = explorer.get("/?compare=failed").text();
    assert!(page.contains("6 selected, 14 others"), "{page}");
    assert!(page.contains("model-service predict wine"), "{page}");
    assert!(
        page.contains(r#"<rect class="selected" width="100.000%""#),
        "{page}"
    );
    let found = explorer.read("/api/difference?compare=failed");
    assert_eq!(
        (&found["selected"], &found["rest"]),
        (&6.into(), &14.into())
    );
    let label = found["ranked"].as_array().unwrap().iter();
    let label = label
        .clone()
        .find(|ranked| ranked["name"] == "ml.output.label")
        .unwrap();
    assert_eq!(label["categories"][0]["value"], "high");
    assert_eq!(label["categories"][0]["selected"], 6);

    // A rectangle of the dots, with its form.
    let drawn = explorer.get("/?compare=selection&from=2025-10-09T08:53:20.0005Z&to=2025-10-09T08:53:20.0045Z&min=0.1").text();
    assert!(drawn.contains("4 selected, 16 others"), "{drawn}");
    assert!(drawn.contains("at least 5 selected traces"), "{drawn}");
    assert!(drawn.contains("class=\"chosen\" x="), "{drawn}");
    let all = explorer.get("/?compare=selection").text();
    assert!(all.contains("there is nothing to compare with"), "{all}");
}

#[test]
fn foreign_texts_do_not_make_the_page_large() {
    let explorer = Explorer::start(&[]);
    let long = |number: u64| Span {
        name: format!("predict {}", "<b>&".repeat(10_000)),
        ..labelled(number, &"x\"<".repeat(5_000))
    };
    explorer.spans(&"s>".repeat(1_000), (1..=100).map(long).collect());
    for path in [
        "/",
        "/?compare=selection&max=0.1",
        "/?compare=selection&to=2025-10-09T08:53:20.050Z",
    ] {
        let page = explorer.get(path);
        assert_eq!(page.status, 200);
        assert!(
            page.body.len() < 500_000,
            "{path}: {} bytes",
            page.body.len()
        );
        assert!(!page.text().contains("<b>&"), "{path}");
    }
}
