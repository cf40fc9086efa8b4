//! The path through known traces, and what holds for every trace.

use proptest::prelude::*;
use serde_json::json;

use super::{Segment, critical_path, critical_root};
use crate::trace::Trace;
use crate::waterfall::example;

/// Id, parent (0: none), start, end.
pub(crate) type Times = (u64, u64, u64, u64);

pub(crate) fn trace(spans: &[Times]) -> Trace {
    let spans: Vec<_> = spans
        .iter()
        .map(|(id, parent, start, end)| {
            json!({
                "traceId": example::TRACE, "spanId": format!("{id:016x}"),
                "parentSpanId": if *parent == 0 { String::new() } else { format!("{parent:016x}") },
                "name": format!("span {id}"), "kind": 1,
                "startTimeUnixNano": start.to_string(), "endTimeUnixNano": end.to_string(),
            })
        })
        .collect();
    let document = json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
    Trace::from_otlp(document.to_string().as_bytes()).expect("a trace")
}

/// `name start–end` of each segment.
fn path(trace: &Trace) -> Vec<String> {
    let named = |segment: Segment| {
        let name = &trace.spans[segment.span].name;
        format!("{name} {}–{}", segment.start, segment.end)
    };
    critical_path(trace).into_iter().map(named).collect()
}

#[test]
fn the_child_that_ended_last_is_on_the_path_and_the_one_beside_it_is_not() {
    // 3 was still running when 4 started, so 4 did not wait for it. 2 had ended.
    let trace = trace(&[
        (1, 0, 0, 100),
        (2, 1, 5, 20),
        (3, 1, 10, 60),
        (4, 1, 30, 90),
    ]);
    assert_eq!(
        path(&trace),
        [
            "span 1 0–5",
            "span 2 5–20",
            "span 1 20–30",
            "span 4 30–90",
            "span 1 90–100",
        ]
    );
}

#[test]
fn a_child_outside_its_parent_counts_for_the_part_within() {
    let trace = trace(&[
        (1, 0, 100, 200),
        (2, 1, 50, 120),
        (3, 1, 150, 900),
        (4, 3, 180, 900),
        (5, 1, 300, 400),
    ]);
    assert_eq!(
        path(&trace),
        [
            "span 2 100–120",
            "span 1 120–150",
            "span 3 150–180",
            "span 4 180–200"
        ]
    );
}

#[test]
fn of_several_roots_the_longest_is_explained_and_of_orphans_too() {
    let roots = trace(&[(1, 0, 0, 10), (2, 0, 20, 90), (3, 9, 0, 500)]);
    assert_eq!(path(&roots), ["span 2 20–90"]);
    let orphans = trace(&[(1, 8, 0, 10), (2, 9, 20, 90)]);
    assert_eq!(path(&orphans), ["span 2 20–90"]);
}

#[test]
fn a_miss_waits_for_the_model_and_not_for_itself() {
    let trace = example::miss();
    let path = critical_path(&trace);
    let on_path = |name: &str| {
        let of_name = path.iter().filter(|at| trace.spans[at.span].name == name);
        of_name.map(Segment::duration).sum::<u64>()
    };
    assert_eq!(on_path("layer linear_1"), 3_500_000);
    assert_eq!(on_path("SELECT wine_features"), 2_200_000);
    let sum: u64 = path.iter().map(Segment::duration).sum();
    assert_eq!(sum, 12_400_000);
}

#[test]
fn a_chain_of_ten_thousand_spans_needs_no_deep_stack() {
    let spans: Vec<Times> = (1..=10_000)
        .map(|at| (at, at - 1, at, 30_000 - at))
        .collect();
    let trace = trace(&spans);
    let sum: u64 = critical_path(&trace).iter().map(Segment::duration).sum();
    assert_eq!(sum, 29_998);
}

proptest! {
    /// Parents that are missing, that form cycles, that are the span itself; ids that occur twice;
    /// children before, after and around their parents; spans that end before they start.
    #[test]
    fn segments_are_disjoint_and_add_up_to_the_root(
        spans in prop::collection::vec((1_u64..12, 0_u64..14, 0_u64..60, 0_u64..60), 1..40)
    ) {
        let trace = trace(&spans);
        let root = &trace.spans[critical_root(&trace).expect("a top span")];
        let path = critical_path(&trace);
        let mut at = root.start;
        for segment in &path {
            prop_assert!(segment.start < segment.end, "{segment:?} is empty");
            prop_assert_eq!(segment.start, at, "a gap or an overlap");
            at = segment.end;
            let span = &trace.spans[segment.span];
            prop_assert!(span.start <= segment.start && segment.end <= span.end, "{:?} is outside {:?}", segment, span);
        }
        let sum: u64 = path.iter().map(Segment::duration).sum();
        prop_assert_eq!(sum, root.duration());
    }
}
