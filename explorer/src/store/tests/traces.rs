//! The store of traces.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use prost::Message;

use super::source;
use crate::filter::{self, Filter};
use crate::store::traces::{ListedTrace, ReceivedSpan};
use crate::store::{TraceId, TraceStore};

fn trace_id(number: u64) -> TraceId {
    let mut id = [1; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    id
}

fn span(trace: u64, span: u64, parent: u64) -> Span {
    Span {
        trace_id: trace_id(trace).to_vec(),
        span_id: span.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: format!("span {span}"),
        start_time_unix_nano: trace * 1_000 + span,
        end_time_unix_nano: trace * 1_000 + span + 500,
        ..Span::default()
    }
}

fn put(store: &TraceStore, service: &str, spans: &[Span]) -> usize {
    let records = spans
        .iter()
        .filter_map(|span| ReceivedSpan::decode(&span.encode_to_vec()).unwrap());
    store.insert(source(service), records.collect())
}

fn all(store: &TraceStore) -> Vec<ListedTrace> {
    let newest_first = filter::matching(store, &Filter::default(), usize::MAX);
    store.listed(newest_first.iter().map(|trace| trace.id))
}

fn stored_spans(store: &TraceStore, trace: u64) -> usize {
    let resources = store.get(trace_id(trace)).unwrap().into_iter();
    let scopes = resources.flat_map(|resource| resource.scope_spans);
    scopes.map(|scope| scope.spans.len()).sum()
}

#[test]
fn the_oldest_trace_is_evicted_first_and_counted() {
    let store = TraceStore::new(1 << 20, 3);
    for trace in 1..=5 {
        put(&store, "gateway", &[span(trace, 1, 0), span(trace, 2, 1)]);
    }
    let ids: Vec<_> = all(&store)
        .into_iter()
        .map(|trace| trace.trace_id)
        .collect();
    assert_eq!(ids, [trace_id(5), trace_id(4), trace_id(3)]);
    let counts = store.counts();
    assert_eq!(
        (
            counts.held_traces,
            counts.evicted_traces,
            counts.counts.evicted,
            counts.counts.held
        ),
        (3, 2, 4, 6)
    );
    assert!(store.get(trace_id(1)).is_none());
}

#[test]
fn a_flood_of_spans_stays_within_the_bytes() {
    let store = TraceStore::new(1 << 20, 1_000_000);
    for trace in 0..10_000 {
        // One service per trace, so that the flood has new sources too.
        let spans: Vec<_> = (1..=10).map(|id| span(trace, id, id - 1)).collect();
        assert_eq!(put(&store, &format!("service-{trace}"), &spans), 0);
        assert!(store.counts().counts.bytes <= 1 << 20);
    }
    let counts = store.counts();
    assert_eq!(counts.counts.received, 100_000);
    assert_eq!(counts.counts.held + counts.counts.evicted, 100_000);
    assert!(
        counts.counts.bytes > (1 << 20) / 2,
        "evicts more than it must: {counts:?}"
    );
    // The newest are whole.
    assert_eq!(stored_spans(&store, 9_999), 10);
}

#[test]
fn a_trace_that_never_ends_is_cut_off_and_others_stay() {
    let store = TraceStore::new(1 << 20, 100);
    put(&store, "other", &[span(1, 1, 0)]);
    let endless: Vec<_> = (1..=20_000).map(|id| span(2, id, 1)).collect();
    let refused = put(&store, "trainer", &endless);
    assert!(refused > 10_000, "{refused}");
    let counts = store.counts().counts;
    assert_eq!(counts.refused, refused as u64);
    assert_eq!(counts.evicted, 0);
    assert!(counts.bytes < (1 << 20) / 3, "{counts:?}");

    let roomy = TraceStore::new(1 << 30, 100);
    assert_eq!(
        put(&roomy, "trainer", &endless),
        10_000,
        "the number of spans is bounded, too"
    );
}

#[test]
fn a_span_too_large_for_any_trace_is_refused_without_evicting() {
    let store = TraceStore::new(1 << 16, 100);
    put(&store, "gateway", &[span(1, 1, 0)]);
    let large = Span {
        name: "x".repeat(1 << 15),
        ..span(2, 1, 0)
    };
    assert_eq!(put(&store, "gateway", &[large]), 1);
    assert_eq!(all(&store).len(), 1);
}

#[test]
fn a_retry_is_stored_once_and_a_second_span_of_one_id_is_kept() {
    let store = TraceStore::new(1 << 20, 100);
    put(&store, "gateway", &[span(1, 1, 0), span(1, 2, 1)]);
    let before = store.counts().counts;
    assert_eq!(put(&store, "gateway", &[span(1, 2, 1)]), 0);
    let after = store.counts().counts;
    assert_eq!(
        (after.bytes, after.held, after.duplicates),
        (before.bytes, 2, 1)
    );
    let other = Span {
        name: "another with the same id".to_owned(),
        ..span(1, 2, 1)
    };
    put(&store, "gateway", &[other]);
    assert_eq!(stored_spans(&store, 1), 3);
}

#[test]
fn late_spans_complete_their_trace() {
    let store = TraceStore::new(1 << 20, 100);
    put(&store, "model-service", &[span(1, 3, 2)]);
    let listed = &all(&store)[0];
    assert!(!listed.complete);
    put(&store, "gateway", &[span(1, 1, 0)]);
    assert!(!all(&store)[0].complete, "a root and an orphan");
    put(&store, "gateway", &[span(1, 2, 1)]);
    let listed = &all(&store)[0];
    assert!(listed.complete);
    assert_eq!(
        (
            listed.spans,
            listed.services["gateway"],
            listed.services["model-service"]
        ),
        (3, 2, 1)
    );
    assert_eq!((listed.start, listed.end), (1_001, 1_503));
}

#[test]
fn spans_that_break_the_protocol_are_refused() {
    let with_ids = |trace: usize, id: usize, parent: usize| Span {
        trace_id: vec![1; trace],
        span_id: vec![1; id],
        parent_span_id: vec![1; parent],
        ..Span::default()
    };
    for wrong in [
        with_ids(0, 8, 0),
        with_ids(15, 8, 0),
        with_ids(16, 0, 0),
        with_ids(16, 9, 0),
        with_ids(16, 8, 7),
    ] {
        assert!(
            ReceivedSpan::decode(&wrong.encode_to_vec())
                .unwrap()
                .is_none()
        );
    }
    let zero = Span {
        trace_id: vec![0; 16],
        ..with_ids(16, 8, 0)
    };
    assert!(
        ReceivedSpan::decode(&zero.encode_to_vec())
            .unwrap()
            .is_none()
    );
    assert!(
        ReceivedSpan::decode(&with_ids(16, 8, 8).encode_to_vec())
            .unwrap()
            .is_some()
    );
}

/// A root that links to the root of another trace.
fn linking(trace: u64, target: u64) -> Span {
    let link = Link {
        trace_id: trace_id(target).to_vec(),
        span_id: 1_u64.to_be_bytes().to_vec(),
        ..Link::default()
    };
    Span {
        links: vec![link],
        ..span(trace, 1, 0)
    }
}

#[test]
fn a_trace_that_others_link_to_stays_until_they_are_gone() {
    let store = TraceStore::new(1 << 20, 8);
    put(&store, "trainer", &[span(1, 1, 0)]);
    put(&store, "gateway", &[linking(2, 1)]);
    for trace in 3..=9 {
        put(&store, "gateway", &[span(trace, 1, 0)]);
    }
    // Eight traces are held. The oldest was 1, but 2 links to it, so 2 itself had to go, and then
    // nothing linked to 1.
    assert!(store.get(trace_id(1)).is_some());
    assert!(store.get(trace_id(2)).is_none());
    assert!(store.referrers(trace_id(1)).is_empty());
    put(&store, "gateway", &[linking(10, 3)]);
    assert!(store.get(trace_id(1)).is_none(), "it is the next to go");
    let referrers = store.referrers(trace_id(3));
    assert_eq!(referrers.len(), 1);
    assert_eq!(referrers[0].trace_id, trace_id(10));
    assert_eq!(referrers[0].target_span, 1_u64.to_be_bytes());
    // 3 outstays its turn as long as 10 is here.
    for trace in 11..=16 {
        put(&store, "gateway", &[span(trace, 1, 0)]);
    }
    assert!(store.get(trace_id(4)).is_none());
    assert!(store.get(trace_id(3)).is_some());
    for trace in 17..=27 {
        put(&store, "gateway", &[span(trace, 1, 0)]);
    }
    assert!(store.get(trace_id(3)).is_none());
    assert_eq!(store.counts().held_traces, 8);
}

#[test]
fn a_flood_of_links_keeps_neither_new_traces_out_nor_more_bytes() {
    let store = TraceStore::new(1 << 20, 100);
    for trace in 1..=1_000_u64 {
        // Each links to all traces around it, so that all of them are worth keeping.
        let links =
            (trace.saturating_sub(60)..trace + 60).map(|target| linking(trace, target).links);
        let span = Span {
            links: links.flatten().collect(),
            ..span(trace, 1, 0)
        };
        assert_eq!(put(&store, "gateway", &[span]), 0);
        let counts = store.counts();
        assert!(counts.counts.bytes <= 1 << 20 && counts.held_traces <= 100);
        assert!(store.get(trace_id(trace)).is_some(), "the newest is here");
    }
    let recent = (990..=1_000).filter(|trace| store.get(trace_id(*trace)).is_some());
    assert_eq!(recent.count(), 11, "kept traces push no recent one out");
}

#[test]
fn a_target_has_a_bounded_number_of_referrers() {
    let store = TraceStore::new(1 << 26, 10_000);
    put(&store, "trainer", &[span(1, 1, 0)]);
    for trace in 2..=1_500 {
        put(&store, "gateway", &[linking(trace, 1)]);
    }
    let referrers = store.referrers(trace_id(1));
    assert_eq!(referrers.len(), 1_000);
    assert_eq!(referrers[0].trace_id, trace_id(1_500), "the newest first");
}
