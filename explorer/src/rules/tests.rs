//! Rules on telemetry that is made here, with times that are given: each kind, the states, the file,
//! the signature.

mod file;
mod items;
mod metrics;
mod states;
mod webhook;

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::{Span, Status, span::SpanKind};
use prost::Message;

use super::engine::{Change, Engine};
use super::{RuleReport, RuleSet, State};
use crate::store::logs::ReceivedLog;
use crate::store::metrics::ReceivedMetric;
use crate::store::tests::source;
use crate::store::traces::ReceivedSpan;
use crate::store::{MemoryLimits, TelemetryStore};

/// Any time; seconds are counted from it.
const START: u64 = 1_790_000_000_000_000_000;

/// Rules over a store that the test fills.
struct Bench {
    store: Arc<TelemetryStore>,
    engine: Engine,
    spans: u64,
}

impl Bench {
    fn new(rules: &str) -> Bench {
        let store = Arc::new(TelemetryStore::new(MemoryLimits {
            max_bytes: 8 << 20,
            max_traces: 1_000,
        }));
        let rules = RuleSet::parse(rules).unwrap();
        Bench {
            engine: Engine::new(rules, "http://explorer:8090/", Arc::clone(&store)),
            store,
            spans: 0,
        }
    }

    /// A server span in a trace of its own; returns the trace's id.
    fn span(&mut self, service: &str, change: impl FnOnce(&mut Span)) -> String {
        self.spans += 1;
        let mut trace_id = [7; 16];
        trace_id[8..].copy_from_slice(&self.spans.to_be_bytes());
        let mut span = Span {
            trace_id: trace_id.to_vec(),
            span_id: vec![3; 8],
            name: "POST /v1/predictions".to_owned(),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: 1_000,
            end_time_unix_nano: 1_000 + 10_000_000,
            ..Span::default()
        };
        change(&mut span);
        let received = ReceivedSpan::decode(&span.encode_to_vec()).unwrap();
        let received = received.into_iter().collect();
        assert_eq!(self.store.traces.insert(source(service), received), 0);
        hex::encode(trace_id)
    }

    fn log(&self, event: &str, attributes: Vec<KeyValue>) {
        let record = LogRecord {
            event_name: event.to_owned(),
            attributes,
            trace_id: vec![9; 16],
            ..LogRecord::default()
        };
        let received = ReceivedLog::decode(&record.encode_to_vec()).unwrap();
        self.store
            .logs
            .insert(source("model-service"), vec![received]);
    }

    fn metric(&self, metric: &Metric) {
        let received = ReceivedMetric::decode(&metric.encode_to_vec()).unwrap();
        let received = received.into_iter().collect();
        self.store.metrics.insert(source("model-service"), received);
    }

    /// Evaluates, and returns the changes as states.
    fn at(&self, seconds: u64) -> Vec<State> {
        let changes = self.changes_at(seconds);
        changes.into_iter().map(|change| change.state).collect()
    }

    fn changes_at(&self, seconds: u64) -> Vec<Change> {
        self.engine.evaluate(START + seconds * 1_000_000_000)
    }

    fn rule(&self) -> RuleReport {
        self.engine.report().rules.remove(0)
    }
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::StringValue(value.to_owned()))
}

fn number(key: &str, value: f64) -> KeyValue {
    attribute(key, Any::DoubleValue(value))
}

fn failed(span: &mut Span) {
    span.status = Some(Status {
        code: 2,
        ..Status::default()
    });
}

/// Sets how long a span took.
fn took(milliseconds: u64) -> impl FnOnce(&mut Span) {
    move |span| span.end_time_unix_nano = span.start_time_unix_nano + milliseconds * 1_000_000
}
