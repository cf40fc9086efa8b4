//! Spans for the tests of what is made from facts.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::Event};
use prost::Message;

use super::{Facts, SpanFacts};
use crate::store::tests::source;
use crate::store::traces::ReceivedSpan;
use crate::store::{MemoryLimits, TelemetryStore};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const INTERNAL: i32 = 1;
pub(crate) const SERVER: i32 = 2;
pub(crate) const CLIENT: i32 = 3;

/// A store with its facts.
pub(crate) struct Bench {
    pub store: Arc<TelemetryStore>,
    facts: Arc<SpanFacts>,
}

/// A span on its way: trace, id, parent, name, kind.
#[derive(Clone)]
pub(crate) struct Sent(Span);

impl Bench {
    pub(crate) fn new() -> Bench {
        let store = Arc::new(TelemetryStore::new(MemoryLimits {
            max_bytes: 16 << 20,
            max_traces: 10_000,
        }));
        Bench {
            facts: SpanFacts::new(Arc::clone(&store)),
            store,
        }
    }

    pub(crate) fn send(&self, service: &str, span: Sent) {
        let Sent(span) = span;
        let bytes = span.encode_to_vec();
        let span = ReceivedSpan::decode(&bytes).unwrap().unwrap();
        self.store.traces.insert(source(service), vec![span]);
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&Facts) -> T) -> T {
        self.facts.read(read)
    }
}

impl Sent {
    /// It takes 1 ms, from `id` milliseconds after the begin of its trace.
    pub(crate) fn new(trace: u64, id: u64, parent: u64, name: &str, kind: i32) -> Sent {
        let start = 1_760_000_000_000 * MS + id * MS;
        Sent(Span {
            trace_id: [&[7; 8][..], &trace.to_be_bytes()].concat(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: match parent {
                0 => Vec::new(),
                parent => parent.to_be_bytes().to_vec(),
            },
            name: name.to_owned(),
            kind,
            start_time_unix_nano: start,
            end_time_unix_nano: start + MS,
            ..Span::default()
        })
    }

    pub(crate) fn lasts(mut self, milliseconds: u64) -> Sent {
        self.0.end_time_unix_nano = self.0.start_time_unix_nano + milliseconds * MS;
        self
    }

    pub(crate) fn fails(mut self) -> Sent {
        self.0.status = Some(Status {
            code: 2,
            ..Status::default()
        });
        self
    }

    pub(crate) fn text(mut self, key: &str, value: &str) -> Sent {
        let value = Value::StringValue(value.to_owned());
        self.0.attributes.push(attribute(key, value));
        self
    }

    pub(crate) fn number(mut self, key: &str, value: f64) -> Sent {
        self.0
            .attributes
            .push(attribute(key, Value::DoubleValue(value)));
        self
    }

    pub(crate) fn epoch_event(mut self, epoch: i64, loss: f64) -> Sent {
        self.0.events.push(Event {
            name: "epoch_completed".to_owned(),
            attributes: vec![
                attribute("ml.training.epoch", Value::IntValue(epoch)),
                attribute("ml.training.loss", Value::DoubleValue(loss)),
            ],
            ..Event::default()
        });
        self
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
