//! The facts of spans, and their bounds.

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::*;
use crate::store::tests::source;
use crate::store::traces::ReceivedSpan;
use crate::store::{MemoryLimits, TelemetryStore};

fn store(max_bytes: usize) -> Arc<TelemetryStore> {
    Arc::new(TelemetryStore::new(MemoryLimits {
        max_bytes,
        max_traces: 10_000,
    }))
}

fn send(store: &TelemetryStore, number: u64, name: &str) {
    let span = Span {
        trace_id: [&[1; 8][..], &number.to_be_bytes()].concat(),
        span_id: number.to_be_bytes().to_vec(),
        name: name.to_owned(),
        kind: 2,
        ..Span::default()
    };
    let span = ReceivedSpan::decode(&span.encode_to_vec())
        .unwrap()
        .unwrap();
    assert_eq!(store.traces.insert(source("gateway"), vec![span]), 0);
}

#[test]
fn each_span_is_read_once() {
    let store = store(1 << 20);
    let facts = SpanFacts::new(Arc::clone(&store));
    for number in 1..=3 {
        send(&store, number, "GET /");
        let seen = facts.read(|facts| facts.spans.len() as u64);
        assert_eq!(seen, number);
    }
    facts.read(|facts| {
        let first = facts.spans[0];
        assert_eq!(facts.names.text(first.name), "GET /");
        assert_eq!(facts.names.text(first.service), "gateway");
        assert!(first.arrived > 0);
    });
}

#[test]
fn a_flood_of_names_is_bounded_and_ends() {
    let store = store(4 << 20);
    let facts = SpanFacts::new(Arc::clone(&store));
    let longest = "ü".repeat(500);
    for number in 1..=20_000 {
        send(&store, number, &format!("{longest}{number}"));
        send(&store, 100_000 + number, &format!("flood {number}"));
        if number % 500 == 0 {
            facts.read(|_| ());
        }
    }
    let max_facts = (4 << 20) / 8 * 5 / SHARE / size_of::<Fact>();
    facts.read(|facts| {
        assert!(facts.spans.len() <= max_facts, "{}", facts.spans.len());
        assert!(facts.spans.len() > max_facts / 2);
        let last = facts.spans.back().unwrap();
        assert!(facts.names.text(last.name).len() <= 160);
    });
    // What comes after the flood has left has its own names again.
    for number in 1..=30_000 {
        send(&store, 1_000_000 + number, "steady");
    }
    send(&store, 9_000_000, "after");
    facts.read(|facts| {
        let last = facts.spans.back().unwrap();
        assert_eq!(facts.names.text(last.name), "after");
        assert_eq!(facts.names.text(last.service), "gateway");
    });
}
