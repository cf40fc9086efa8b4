//! Documents of other stores as OTLP in JSON, from which the explorer's crate builds trees.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use explorer::Trace;
use serde_json::{Map, Value, json};

/// Resource spans by the id of their trace.
pub(super) type ByTrace = BTreeMap<String, Vec<Value>>;

/// One trace from its resource spans.
pub(super) fn trace(resource_spans: impl IntoIterator<Item = Value>) -> anyhow::Result<Trace> {
    let resource_spans: Vec<Value> = resource_spans.into_iter().collect();
    let document = json!({ "resourceSpans": resource_spans }).to_string();
    Trace::from_otlp(document.as_bytes()).context("the spans that were found are no trace")
}

/// Separates the spans of an OTLP/JSON document by their traces.
pub(super) fn by_trace(resource_spans: Value, traces: &mut ByTrace) {
    for resource in array(resource_spans) {
        for scope in array(resource["scopeSpans"].clone()) {
            for span in array(scope["spans"].clone()) {
                let trace_id = span["traceId"].as_str().unwrap_or_default().to_owned();
                traces.entry(trace_id).or_default().push(json!({
                    "resource": resource["resource"],
                    "scopeSpans": [{"scope": scope["scope"], "spans": [span]}],
                }));
            }
        }
    }
}

/// Attributes in plain JSON as OTLP's list of keys and values.
pub(super) fn key_values(attributes: &Value) -> Value {
    let attributes = attributes.as_object();
    let pairs = attributes.into_iter().flat_map(Map::iter);
    pairs
        .map(|(key, value)| json!({"key": key, "value": any_value(value)}))
        .collect()
}

fn any_value(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(truth) => json!({ "boolValue": truth }),
        Value::Number(number) if number.is_i64() => json!({ "intValue": number.to_string() }),
        Value::Number(number) => json!({ "doubleValue": number }),
        Value::Array(values) => {
            let values: Vec<Value> = values.iter().map(any_value).collect();
            json!({"arrayValue": {"values": values}})
        }
        Value::Object(_) => json!({"kvlistValue": {"values": key_values(value)}}),
        Value::Null => json!({}),
    }
}

/// The texts of an array.
pub(super) fn texts(array: &Value) -> BTreeSet<String> {
    let entries = array.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| entry.as_str().map(str::to_owned))
        .collect()
}

pub(super) fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(entries) => entries,
        _ => Vec::new(),
    }
}
