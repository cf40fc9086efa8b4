//! The store of log records.

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use super::source;
use crate::store::LogStore;
use crate::store::logs::ReceivedLog;

#[test]
fn logs_stay_within_their_bytes_and_the_oldest_goes_first() {
    let store = LogStore::new(100_000);
    for number in 0..10_000 {
        let body = AnyValue {
            value: Some(Value::StringValue(format!("line {number}"))),
        };
        let record = LogRecord {
            body: Some(body),
            ..LogRecord::default()
        }
        .encode_to_vec();
        store.insert(
            source(&format!("service-{number}")),
            vec![ReceivedLog::decode(&record).unwrap()],
        );
        assert!(store.counts().bytes <= 100_000);
    }
    let counts = store.counts();
    assert_eq!(
        (counts.received, counts.held + counts.evicted),
        (10_000, 10_000)
    );
    assert!(counts.held > 100, "{counts:?}");
    assert_eq!(store.newest_first()[0].source.service, "service-9999");
}

fn event(name: &str, severity: i32) -> ReceivedLog {
    let record = LogRecord {
        event_name: name.to_owned(),
        severity_number: severity,
        ..LogRecord::default()
    };
    ReceivedLog::decode(&record.encode_to_vec()).unwrap()
}

#[test]
fn a_flood_of_equal_records_evicts_only_itself() {
    let store = LogStore::new(100_000);
    for name in ["started", "stopped"] {
        store.insert(source("gateway"), vec![event(name, 9)]);
        store.insert(source("model-service"), vec![event(name, 9)]);
    }
    // The same event at another severity is another one.
    store.insert(source("gateway"), vec![event("call_failed", 9)]);
    for _ in 0..10_000 {
        store.insert(source("gateway"), vec![event("call_failed", 17)]);
        assert!(store.counts().bytes <= 100_000);
    }
    let kept = store.newest_first();
    assert!(kept.len() > 100, "{} records", kept.len());
    let others = kept.iter().filter(|log| log.severity == 9).count();
    assert_eq!(others, 5, "what was logged before the flood stays");
    assert_eq!(
        kept[0].severity, 17,
        "and the flood's newest record is there"
    );
    // Many different events are no flood: of them the oldest goes first.
    for number in 0..10_000 {
        let log = event(&format!("event-{number}"), 9);
        store.insert(source("feature-store"), vec![log]);
    }
    assert!(store.counts().bytes <= 100_000);
    let kept = store.newest_first();
    let last = kept.last().unwrap();
    assert_eq!(
        (last.severity, last.source.service.as_str()),
        (9, "feature-store")
    );
}
