//! What is paired, what is left over, and what holds for all pairs of traces.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::{Change, Comparison, compare};
use crate::critical_path::tests::trace;
use crate::trace::{SpanStatus, Trace};
use crate::waterfall::example;

/// `name` of a pair, `- name` of a span that only the first has, `+ name` of the second.
fn lines(a: &Trace, b: &Trace) -> Vec<String> {
    let line = |row: super::Row| {
        let indent = "  ".repeat(row.depth);
        match (row.a, row.b) {
            (Some(at), Some(_)) => format!("{indent}{}", a.spans[at].name),
            (Some(at), None) => format!("{indent}- {}", a.spans[at].name),
            (None, at) => format!("{indent}+ {}", b.spans[at.expect("a side")].name),
        }
    };
    compare(a, b).rows.into_iter().map(line).collect()
}

#[test]
fn a_trace_is_the_same_as_itself() {
    let trace = example::miss();
    let Comparison { rows } = compare(&trace, &trace);
    assert_eq!(rows.len(), 15);
    for (at, row) in rows.iter().enumerate() {
        assert_eq!((row.a, row.b), (Some(at), Some(at)));
        assert_eq!(row.depth, trace.spans[at].depth);
        assert!(row.differences.is_empty(), "{row:?}");
    }
}

#[test]
fn a_hit_lacks_the_computation_and_says_so() {
    let miss = example::miss();
    let mut hit = example::miss();
    hit.spans.truncate(2);
    let hit = example::rebuilt(&hit);
    let lines = lines(&miss, &hit);
    assert_eq!(
        lines[..3],
        ["POST /v1/predictions", "  SELECT predictions", "  - POST"]
    );
    assert_eq!(lines[3], "    - POST /v2/models/{model_name}/infer");
    assert_eq!(lines.last().expect("rows"), "  - INSERT predictions");
}

#[test]
fn an_extra_span_stands_where_it_happened() {
    let a = trace(&[(1, 0, 0, 100), (2, 1, 10, 20), (4, 1, 50, 60)]);
    let b = trace(&[
        (1, 0, 0, 100),
        (2, 1, 10, 20),
        (3, 1, 30, 40),
        (4, 1, 50, 60),
    ]);
    let expected = ["span 1", "  span 2", "  + span 3", "  span 4"];
    assert_eq!(lines(&a, &b), expected);
}

#[test]
fn another_service_with_the_same_span_is_a_pair_that_differs() {
    let a = example::miss();
    let mut b = example::miss();
    for span in &mut b.spans[3..] {
        span.service = span
            .service
            .replace("model-service", "model-service-python");
    }
    b.spans[7].status = SpanStatus::Error("out of memory".to_owned());
    b.spans[7]
        .attributes
        .insert("ml.model_version".to_owned(), json!("2"));
    b.spans[7]
        .attributes
        .insert("ml.variant".to_owned(), json!("blue"));
    let Comparison { rows } = compare(&a, &b);
    assert!(rows.iter().all(|row| row.a.is_some() && row.b.is_some()));
    let keys: Vec<_> = rows[7]
        .differences
        .iter()
        .map(|difference| difference.key.as_str())
        .collect();
    assert_eq!(
        keys,
        ["service.name", "status", "ml.model_version", "ml.variant"]
    );
    let variant = &rows[7].differences[3];
    assert_eq!((&variant.a, &variant.b), (&None, &Some(json!("blue"))));
    assert_eq!(
        rows[7].differences[1].b,
        Some(json!("error: out of memory"))
    );
}

#[test]
fn a_change_has_a_direction() {
    assert_eq!(Change::between(5, 8), Change::Slower(3));
    assert_eq!(Change::between(8, 5), Change::Faster(3));
    assert_eq!(Change::between(8, 8), Change::Same);
}

proptest! {
    /// Ids repeat, parents are missing or in cycles, and names follow the ids, so that many differ.
    #[test]
    fn every_span_is_in_exactly_one_row(
        a in prop::collection::vec((1_u64..8, 0_u64..10, 0_u64..30, 30_u64..60), 1..30),
        b in prop::collection::vec((1_u64..8, 0_u64..10, 0_u64..30, 30_u64..60), 1..30),
    ) {
        let (a, b) = (trace(&a), trace(&b));
        let Comparison { rows } = compare(&a, &b);
        let of_a: Vec<_> = rows.iter().filter_map(|row| row.a).collect();
        let of_b: Vec<_> = rows.iter().filter_map(|row| row.b).collect();
        prop_assert_eq!(of_a.len(), a.spans.len());
        prop_assert_eq!(of_b.len(), b.spans.len());
        prop_assert_eq!(of_a.iter().collect::<BTreeSet<_>>().len(), a.spans.len());
        prop_assert_eq!(of_b.iter().collect::<BTreeSet<_>>().len(), b.spans.len());
        for row in &rows {
            if let (Some(at_a), Some(at_b)) = (row.a, row.b) {
                prop_assert_eq!(&a.spans[at_a].name, &b.spans[at_b].name);
                prop_assert_eq!(a.spans[at_a].depth, b.spans[at_b].depth);
            }
        }
    }
}
