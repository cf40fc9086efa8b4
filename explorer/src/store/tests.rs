//! Bounds, eviction and counts of the three stores.

mod logs;
mod metrics;
mod traces;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::Source;
use crate::otlp::wire::ScopeItems;

fn text(key: &str, value: &str) -> KeyValue {
    let value = AnyValue {
        value: Some(Value::StringValue(value.to_owned())),
    };
    KeyValue {
        key: key.to_owned(),
        value: Some(value),
        ..KeyValue::default()
    }
}

pub(crate) fn source(service: &str) -> Source {
    let resource = Resource {
        attributes: vec![text("service.name", service)],
        ..Resource::default()
    }
    .encode_to_vec();
    Source::of(&ScopeItems {
        resource: &resource,
        ..ScopeItems::default()
    })
    .unwrap()
}
