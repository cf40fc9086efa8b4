//! What is a root, an orphan and a complete trace: the list, the trace itself and the terminal say
//! the same.

use explorer::remarks::remarks;
use explorer::{Place, Trace, tree, waterfall};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::support::{Explorer, span, trace_hex};

const REMOTE: u32 = 0x300;
const LOCAL: u32 = 0x100;
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

struct Case {
    name: &'static str,
    /// Id, parent, kind and flags.
    spans: &'static [(u64, u64, i32, u32)],
    complete: bool,
    root_name: &'static str,
    /// Ids of the spans that are not children.
    tops: &'static [(u64, Place)],
}

const CASES: [Case; 15] = [
    Case {
        name: "one root",
        spans: &[(1, 0, SERVER, 0), (2, 1, INTERNAL, 0)],
        complete: true,
        root_name: "span 1",
        tops: &[(1, Place::Root)],
    },
    Case {
        name: "its own parent beside a root",
        spans: &[(1, 0, SERVER, 0), (2, 2, INTERNAL, 0)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::Root), (2, Place::Cycle)],
    },
    Case {
        name: "its own parent alone",
        spans: &[(1, 1, SERVER, REMOTE)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::Cycle)],
    },
    Case {
        name: "a pure cycle",
        spans: &[(1, 3, SERVER, 0), (2, 1, CLIENT, 0), (3, 2, SERVER, 0)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::Cycle)],
    },
    Case {
        name: "a cycle with a span below it",
        spans: &[
            (1, 3, INTERNAL, 0),
            (2, 3, INTERNAL, 0),
            (3, 2, INTERNAL, 0),
        ],
        complete: false,
        root_name: "span 2",
        tops: &[(2, Place::Cycle)],
    },
    Case {
        name: "a remote parent by its flags",
        spans: &[(1, 9, INTERNAL, REMOTE), (2, 1, CLIENT, LOCAL)],
        complete: true,
        root_name: "span 1",
        tops: &[(1, Place::RemoteRoot)],
    },
    Case {
        name: "a remote parent by its kind",
        spans: &[(1, 9, SERVER, 0), (2, 1, CLIENT, 0)],
        complete: true,
        root_name: "span 1",
        tops: &[(1, Place::RemoteRoot)],
    },
    Case {
        name: "a message of a remote parent",
        spans: &[(1, 9, CONSUMER, 0)],
        complete: true,
        root_name: "span 1",
        tops: &[(1, Place::RemoteRoot)],
    },
    Case {
        name: "two calls of one remote parent",
        spans: &[(1, 9, SERVER, REMOTE), (2, 9, SERVER, REMOTE)],
        complete: true,
        root_name: "span 1",
        tops: &[(1, Place::RemoteRoot), (2, Place::RemoteRoot)],
    },
    Case {
        name: "two remote parents",
        spans: &[(1, 8, SERVER, REMOTE), (2, 9, SERVER, REMOTE)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::RemoteRoot), (2, Place::Orphan)],
    },
    Case {
        name: "a parent in the same process that is missing",
        spans: &[(1, 9, SERVER, LOCAL)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::Orphan)],
    },
    Case {
        name: "a missing client span below a root",
        spans: &[(1, 0, SERVER, 0), (2, 9, SERVER, REMOTE)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::Root), (2, Place::Orphan)],
    },
    Case {
        name: "an orphan that started before a span with a remote parent",
        spans: &[(1, 8, CLIENT, 0), (2, 9, SERVER, REMOTE)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::Orphan), (2, Place::Orphan)],
    },
    Case {
        name: "two roots",
        spans: &[(1, 0, SERVER, 0), (2, 0, SERVER, 0)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::Root), (2, Place::Root)],
    },
    Case {
        name: "no root",
        spans: &[(1, 9, INTERNAL, 0)],
        complete: false,
        root_name: "span 1",
        tops: &[(1, Place::Orphan)],
    },
];

#[test]
fn the_list_the_page_and_the_terminal_agree() {
    let explorer = Explorer::start(&[]);
    for (trace, case) in (1..).zip(&CASES) {
        let spans = case.spans.iter().map(|(id, parent, kind, flags)| Span {
            kind: *kind,
            flags: *flags,
            ..span(trace, *id, *parent)
        });
        explorer.spans("gateway", spans.collect());
        let hex = trace_hex(trace);
        let listed = explorer.read("/api/traces?limit=1");
        let summary = &listed["traces"][0];
        assert_eq!(
            (
                &summary["trace_id"],
                &summary["complete"],
                &summary["root_name"]
            ),
            (&json!(hex), &json!(case.complete), &json!(case.root_name)),
            "{}",
            case.name
        );
        let answer = explorer.get(&format!("/api/traces/{hex}"));
        let expected = case
            .tops
            .iter()
            .map(|(id, place)| (format!("{id:016x}"), json!(place)));
        let shape = answer.json()["shape"].clone();
        assert_eq!(
            (&shape["complete"], &shape["tops"]),
            (
                &json!(case.complete),
                &json!(expected.collect::<serde_json::Map<_, _>>())
            ),
            "{}",
            case.name
        );
        said_the_same_way(&shape, &answer.body, case.name);
        let trace = Trace::from_otlp(&answer.body).unwrap();
        let drawing = waterfall::render(
            &trace,
            &waterfall::Style {
                width: 100,
                colour: false,
            },
        );
        assert_eq!(
            (
                trace.is_complete(),
                tree::problems(&trace).is_empty(),
                !drawing.contains("incomplete")
            ),
            (case.complete, case.complete, case.complete),
            "{}: {drawing}",
            case.name
        );
        let tops = trace.spans.iter().filter(|span| span.depth == 0).count();
        assert_eq!(tops, case.tops.len(), "{}: {drawing}", case.name);
        // A parent that is here is not called missing.
        let missing = case.tops.iter().any(|(_, place)| *place == Place::Orphan);
        assert_eq!(
            drawing.contains("missing"),
            missing,
            "{}: {drawing}",
            case.name
        );
    }
}

/// The terminal and the API have the same sentences about a trace.
fn said_the_same_way(shape: &Value, document: &[u8], name: &str) {
    let trace = Trace::from_otlp(document).unwrap();
    let expected = remarks(&trace);
    let said = shape["remarks"].as_array().cloned().unwrap_or_default();
    assert_eq!(json!(said), json!(expected), "{name}");
    let drawing = plain(&trace);
    for remark in &expected {
        assert!(
            drawing.contains(&format!("⚠ {remark}")),
            "{name}: {drawing}"
        );
    }
    let warnings = drawing.lines().filter(|line| line.starts_with('⚠')).count();
    assert_eq!(warnings, expected.len(), "{name}: {drawing}");
}

fn plain(trace: &Trace) -> String {
    let style = waterfall::Style {
        width: 200,
        colour: false,
    };
    waterfall::render(trace, &style)
}

#[test]
fn odd_traces_are_said_the_same_way_by_all() {
    let explorer = Explorer::start(&[]);
    let base = span(1, 1, 0);
    let start = base.start_time_unix_nano;
    let second = Span {
        name: "another span with the id 2".to_owned(),
        ..span(1, 2, 1)
    };
    let early = Span {
        start_time_unix_nano: start - 5_000_000,
        ..span(1, 3, 1)
    };
    let late = Span {
        end_time_unix_nano: base.end_time_unix_nano + 7_000_000,
        ..span(1, 4, 1)
    };
    let cycle = [span(1, 6, 7), span(1, 7, 6)];
    let mut spans = vec![base, span(1, 2, 1), second, early, late, span(1, 5, 9)];
    spans.extend(cycle);
    explorer.spans("gateway", spans);
    let path = format!("/api/traces/{}", trace_hex(1));
    let answer = explorer.get(&path);
    let shape = answer.json()["shape"].clone();
    said_the_same_way(&shape, &answer.body, "odd");
    assert_eq!(
        shape["remarks"],
        json!([
            "incomplete: 1 span whose parent is not here, 1 cycle of parents",
            "2 spans have the id 0000000000000002",
            "clock: span 3 INTERNAL gateway starts 5.00 ms before its parent",
            "late: span 4 INTERNAL gateway ends 7.00 ms after its root",
        ])
    );
    // A span that comes later changes what all of them say.
    explorer.spans(
        "gateway",
        vec![Span {
            parent_span_id: 1_u64.to_be_bytes().to_vec(),
            ..span(1, 9, 1)
        }],
    );
    let answer = explorer.get(&path);
    let shape = answer.json()["shape"].clone();
    said_the_same_way(&shape, &answer.body, "after the late span");
    assert_eq!(shape["remarks"][0], "incomplete: 1 cycle of parents");
}
