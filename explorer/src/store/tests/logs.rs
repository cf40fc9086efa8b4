//! The store of log records.

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

use super::source;
use crate::store::LogStore;
use crate::store::logs::ReceivedLog;

#[test]
fn logs_are_a_ring_within_their_bytes() {
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
