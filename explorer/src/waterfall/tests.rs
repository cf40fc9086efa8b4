//! Whole drawings at the widths of usual terminals.

use proptest::prelude::*;
use serde_json::json;

use super::{Style, example, render, text};
use crate::trace::{SpanLink, SpanStatus, Trace};

fn plain(trace: &Trace, width: usize) -> String {
    render(
        trace,
        &Style {
            width,
            colour: false,
        },
    )
}

/// A request that failed in the feature store, below a span that is missing.
fn failure() -> Trace {
    let mut trace = example::miss();
    trace.spans.retain(|span| {
        !matches!(
            span.name.as_str(),
            "INSERT predictions" | "preprocess_input" | "model_inference" | "postprocess_output"
        ) && !span.name.starts_with("layer")
    });
    for (span, error, message) in [
        (0, "503", ""),
        (2, "503", ""),
        (3, "503", ""),
        (4, "500", ""),
        (5, "500", ""),
        (6, "SQLITE_BUSY", "database is locked"),
        (
            7,
            "feature_store_unavailable",
            "the feature store answers 500 Internal Server Error",
        ),
    ] {
        trace.spans[span].status = SpanStatus::Error(message.to_owned());
        trace.spans[span]
            .attributes
            .insert("error.type".to_owned(), json!(error));
        if trace.spans[span]
            .attributes
            .contains_key("http.response.status_code")
        {
            trace.spans[span]
                .attributes
                .insert("http.response.status_code".to_owned(), json!(error));
        }
    }
    trace.spans[0].parent = Some("00f067aa0ba902b7".to_owned());
    example::rebuilt(&trace)
}

fn hit() -> Trace {
    let mut trace = example::miss();
    trace.spans.truncate(2);
    trace.spans[0].end = trace.spans[0].start + 700_000;
    trace.spans[0].links.push(SpanLink {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
        span_id: "00f067aa0ba902b7".to_owned(),
        attributes: std::collections::BTreeMap::new(),
    });
    example::rebuilt(&trace)
}

#[test]
fn miss_in_80_columns() {
    let expected = "\
trace 0af7651916cd43dd8448eb211c80319c  12.4 ms · 15 spans · 3 services
service        span                          0       12.4 ms
gateway        POST /v1/predictions          ━━━━━━━━━━━━━━━ 12.4 ms 200
gateway        ├ SELECT predictions          ━                320 µs sqlite
gateway        ├ POST                        ╺━━━━━━━━━━━━━  10.5 ms 200
model-service  │ └ POST /v2/models/{model_n…  ━━━━━━━━━━━━╸  10.1 ms 200
model-service  │   ├ POST                     ╺━━━━          3.65 ms 200
feature-store  │   │ └ POST /get-online-fea…  ╺━━━━          3.00 ms 200
feature-store  │   │   └ SELECT wine_featur…   ━━━╸          2.20 ms sqlite
model-service  │   └ predict wine_quality          ━━━━━━━╸  5.90 ms
               │     │ wine_quality v1
model-service  │     ├ preprocess_input            ╸         60.0 µs
model-service  │     ├ model_inference             ━━━━━━━   5.40 ms
model-service  │     │ ├ layer linear_1            ━━━━━     3.50 ms
model-service  │     │ ├ layer linear_2                ╺━    1.00 ms
model-service  │     │ └ layer linear_3                  ━    550 µs
model-service  │     └ postprocess_output                ╺╸   150 µs
gateway        └ INSERT predictions                       ╺━  700 µs sqlite
";
    assert_eq!(plain(&example::miss(), 80), expected);
}

#[test]
fn miss_in_100_columns() {
    let expected = "\
trace 0af7651916cd43dd8448eb211c80319c  12.4 ms · 15 spans · 3 services
service        span                                     0            12.4 ms
gateway        POST /v1/predictions                     ━━━━━━━━━━━━━━━━━━━━ 12.4 ms 200
gateway        ├─ SELECT predictions                    ━                     320 µs sqlite
gateway        ├─ POST                                   ━━━━━━━━━━━━━━━━━╸  10.5 ms 200
model-service  │  └─ POST /v2/models/{model_name}/infer  ╺━━━━━━━━━━━━━━━━   10.1 ms 200
model-service  │     ├─ POST                              ━━━━━━             3.65 ms 200
feature-store  │     │  └─ POST /get-online-features      ╺━━━━╸             3.00 ms 200
feature-store  │     │     └─ SELECT wine_features         ━━━━              2.20 ms sqlite
model-service  │     └─ predict wine_quality                    ━━━━━━━━━━   5.90 ms wine_quality v1
model-service  │        ├─ preprocess_input                     ╸            60.0 µs
model-service  │        ├─ model_inference                      ━━━━━━━━━╸   5.40 ms
model-service  │        │  ├─ layer linear_1                    ╺━━━━━╸      3.50 ms
model-service  │        │  ├─ layer linear_2                          ━━     1.00 ms
model-service  │        │  └─ layer linear_3                            ━     550 µs
model-service  │        └─ postprocess_output                            ╸    150 µs
gateway        └─ INSERT predictions                                      ╺━  700 µs sqlite
";
    assert_eq!(plain(&example::miss(), 100), expected);
}

#[test]
fn miss_in_140_columns() {
    let expected = "\
trace 0af7651916cd43dd8448eb211c80319c  12.4 ms · 15 spans · 3 services
service        span                                     0                                                    12.4 ms
gateway        POST /v1/predictions                     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 12.4 ms 200
gateway        ├─ SELECT predictions                     ━━                                                           320 µs sqlite
gateway        ├─ POST                                     ╺━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━      10.5 ms 200
model-service  │  └─ POST /v2/models/{model_name}/infer     ╺━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━       10.1 ms 200
model-service  │     ├─ POST                                  ━━━━━━━━━━━━━━━━━━                                     3.65 ms 200
feature-store  │     │  └─ POST /get-online-features           ╺━━━━━━━━━━━━━━╸                                      3.00 ms 200
feature-store  │     │     └─ SELECT wine_features               ╺━━━━━━━━━━╸                                        2.20 ms sqlite
model-service  │     └─ predict wine_quality                                    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━        5.90 ms wine_quality v1
model-service  │        ├─ preprocess_input                                     ━                                    60.0 µs
model-service  │        ├─ model_inference                                       ━━━━━━━━━━━━━━━━━━━━━━━━━━╸         5.40 ms
model-service  │        │  ├─ layer linear_1                                     ╺━━━━━━━━━━━━━━━━━                  3.50 ms
model-service  │        │  ├─ layer linear_2                                                       ━━━━━             1.00 ms
model-service  │        │  └─ layer linear_3                                                            ━━━           550 µs
model-service  │        └─ postprocess_output                                                              ╺╸         150 µs
gateway        └─ INSERT predictions                                                                           ╺━━━╸  700 µs sqlite
";
    assert_eq!(plain(&example::miss(), 140), expected);
}

#[test]
fn failure_in_80_columns() {
    let expected = "\
trace 0af7651916cd43dd8448eb211c80319c  12.4 ms · 8 spans · 3 services
service        span                          0       12.4 ms
gateway        POST /v1/predictions          ━━━━━━━━━━━━━━━ 12.4 ms ✗ 503
               │ ↖ caller 00f067aa
gateway        ├ SELECT predictions          ━                320 µs sqlite
gateway        └ POST                        ╺━━━━━━━━━━━━━  10.5 ms ✗ 503
model-service    └ POST /v2/models/{model_n…  ━━━━━━━━━━━━╸  10.1 ms ✗ 503
model-service      ├ POST                     ╺━━━━          3.65 ms ✗ 500
feature-store      │ └ POST /get-online-fea…  ╺━━━━          3.00 ms ✗ 500
feature-store      │   └ SELECT wine_featur…   ━━━╸          2.20 ms ✗
                   │       ✗ SQLITE_BUSY  sqlite  database is locked
model-service      └ predict wine_quality          ━━━━━━━╸  5.90 ms ✗
                       ✗ feature_store_unavailable  wine_quality v1
                       the feature store answers 500 Internal Server Error
";
    assert_eq!(plain(&failure(), 80), expected);
}

#[test]
fn failure_in_120_columns() {
    let expected = "\
trace 0af7651916cd43dd8448eb211c80319c  12.4 ms · 8 spans · 3 services
service        span                                     0          12.4 ms
gateway        POST /v1/predictions                     ━━━━━━━━━━━━━━━━━━ 12.4 ms ✗ 503 ↖ caller 00f067aa
gateway        ├─ SELECT predictions                    ━                   320 µs sqlite
gateway        └─ POST                                   ━━━━━━━━━━━━━━━╸  10.5 ms ✗ 503
model-service     └─ POST /v2/models/{model_name}/infer  ━━━━━━━━━━━━━━━╸  10.1 ms ✗ 503
model-service        ├─ POST                             ╺━━━━━╸           3.65 ms ✗ 500
feature-store        │  └─ POST /get-online-features      ━━━━━            3.00 ms ✗ 500
feature-store        │     └─ SELECT wine_features        ╺━━━╸            2.20 ms ✗ SQLITE_BUSY sqlite
                     │           database is locked
model-service        └─ predict wine_quality                   ━━━━━━━━━   5.90 ms ✗ feature_store_unavailable
                           wine_quality v1  the feature store answers 500 Internal Server Error
";
    assert_eq!(plain(&failure(), 120), expected);
}

#[test]
fn hit_in_80_columns() {
    let expected = "\
trace 0af7651916cd43dd8448eb211c80319c  700 µs · 2 spans · 1 service
service  span                 0           700 µs
gateway  POST /v1/predictions ━━━━━━━━━━━━━━━━━━  700 µs 200 ↗ 4bf92f35/00f067aa
gateway  └ SELECT predictions        ╺━━━━━━━━    320 µs sqlite
";
    assert_eq!(plain(&hit(), 80), expected);
}

/// Every prediction of a model's version has the same.
#[test]
fn a_link_to_the_training_of_a_model_is_left_to_the_page() {
    let mut trace = hit();
    let run = [("ml.run_id".to_owned(), json!("0123"))];
    trace.spans[0].links[0].attributes = run.into();
    let drawn = plain(&trace, 100);
    assert!(!drawn.contains('↗'), "{drawn}");
}

#[test]
fn hit_in_100_columns() {
    let expected = "\
trace 0af7651916cd43dd8448eb211c80319c  700 µs · 2 spans · 1 service
service  span                  0                              700 µs
gateway  POST /v1/predictions  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  700 µs 200 ↗ 4bf92f35/00f067aa
gateway  └─ SELECT predictions                ╺━━━━━━━━━━━━━━━━━      320 µs sqlite
";
    assert_eq!(plain(&hit(), 100), expected);
}

#[test]
fn colours_change_nothing_but_colours() {
    for trace in [example::miss(), failure(), hit()] {
        let coloured = render(
            &trace,
            &Style {
                width: 100,
                colour: true,
            },
        );
        let mut bare = String::new();
        let mut rest = coloured.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            bare.push_str(before);
            rest = after.split_once('m').unwrap().1;
        }
        assert_eq!(bare + rest, plain(&trace, 100));
        // One hue per service, the same in every row.
        assert!(coloured.contains("\x1b[38;5;33mgateway\x1b[0m"));
        assert!(!coloured.contains("\x1b[38;5;33mmodel-service"));
    }
}

#[test]
fn a_deep_chain_stays_readable() {
    let spans: Vec<_> = (1..=2_000_u64)
        .map(|id| json!({ "traceId": example::TRACE, "spanId": format!("{id:016x}"), "parentSpanId": format!("{:016x}", id - 1),
            "name": format!("level {id}"), "startTimeUnixNano": id.to_string(), "endTimeUnixNano": "4000" }))
        .collect();
    let document = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
    let drawing = plain(
        &Trace::from_otlp(document.to_string().as_bytes()).unwrap(),
        80,
    );
    let last = drawing.lines().last().unwrap();
    assert!(last.contains('…') && last.contains("level 2000"), "{last}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_line_is_too_wide_or_moves_the_cursor(
        name in "(?s).{0,80}", service in "(?s).{0,40}", message in "(?s).{0,120}", error in "(?s).{0,60}", width in 60_usize..200,
    ) {
        let mut trace = failure();
        trace.spans[6].name.clone_from(&name);
        trace.spans[6].service = service;
        trace.spans[6].status = SpanStatus::Error(message);
        trace.spans[6].attributes.insert("error.type".to_owned(), json!(error));
        trace.spans[1].name = name;
        for line in plain(&trace, width).lines() {
            prop_assert!(text::width(line) <= width, "{} columns: {line:?}", text::width(line));
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
