//! A running explorer, and exports for it.

use std::ops::Deref;

use harness::{Answer, Collector, send};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value as Any};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use serde_json::Value;

pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const TRACE: &str = "5b8efff798038103d269b633813fc60c";

/// Stops with the test.
pub(crate) struct Explorer(Collector);

impl Deref for Explorer {
    type Target = Collector;

    fn deref(&self) -> &Collector {
        &self.0
    }
}

impl Explorer {
    pub(crate) fn start(options: &[&str]) -> Explorer {
        Explorer(Collector::start_with(options))
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let url = format!("{}{path}", self.endpoint());
        send("POST", &url, headers, body).expect("an answer")
    }

    pub(crate) fn spans(&self, service: &str, spans: Vec<Span>) -> Answer {
        self.post(
            "/v1/traces",
            &[PROTOBUF],
            &prost::Message::encode_to_vec(&request(service, spans)),
        )
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.0.get(path).expect("an answer")
    }

    /// The JSON of an answer that must be 200.
    pub(crate) fn read(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}

pub(crate) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let value = AnyValue {
        value: Some(Any::StringValue(service.to_owned())),
    };
    let name = KeyValue {
        key: "service.name".to_owned(),
        value: Some(value),
        ..KeyValue::default()
    };
    let resource = Resource {
        attributes: vec![name],
        ..Resource::default()
    };
    let scope_spans = vec![ScopeSpans {
        spans,
        ..ScopeSpans::default()
    }];
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans,
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
}

pub(crate) fn span(trace: u64, id: u64, parent: u64) -> Span {
    let mut trace_id = vec![7; 8];
    trace_id.extend(trace.to_be_bytes());
    Span {
        trace_id,
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 {
            Vec::new()
        } else {
            parent.to_be_bytes().to_vec()
        },
        name: format!("span {id}"),
        kind: 1,
        start_time_unix_nano: 1_760_000_000_000_000_000 + trace * 1_000_000 + id,
        end_time_unix_nano: 1_760_000_000_000_000_000 + trace * 1_000_000 + id + 500_000,
        ..Span::default()
    }
}

/// The hex id of `span(trace, ..)`.
pub(crate) fn trace_hex(trace: u64) -> String {
    format!("0707070707070707{trace:016x}")
}
