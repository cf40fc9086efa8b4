//! The labels of a group, and numbers and ids among attributes: all of it foreign, so all of it
//! bounded.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use serde_json::Value;

use crate::attribute;
use crate::store::TraceId;

/// Characters of a label's value; the rest is cut.
const MAX_CHARACTERS: usize = 120;
/// Attributes of a series that are labels when the rule names none.
const MAX_LABELS: usize = 10;
/// Example traces of one item, as of an event that lists some.
const MAX_IDS: usize = 5;

/// Names and values in the order of the rule's `by`.
pub(super) type Labels = Vec<(String, String)>;

/// The values of `names` among `attributes`; a missing one is what `fallback` says.
pub(super) fn of_attributes<'a>(
    names: &[String],
    fallback: impl Fn(&str) -> &'a str,
    attributes: &[KeyValue],
) -> Labels {
    let value = |name: &str| {
        let found = attributes.iter().find(|attribute| attribute.key == name);
        match found.and_then(|attribute| attribute.value.as_ref()) {
            Some(value) => shown(value),
            None => text(fallback(name)),
        }
    };
    let labels = names.iter().map(|name| (name.clone(), value(name)));
    labels.collect()
}

/// The same of attributes that are JSON already; without `names`, all of them.
pub(super) fn of_json(
    names: Option<&[String]>,
    service: &str,
    attributes: &serde_json::Map<String, Value>,
) -> Labels {
    let value = |name: &str| match attributes.get(name) {
        Some(value) => shown_json(value),
        None if name == "service.name" => text(service),
        None => String::new(),
    };
    if let Some(names) = names {
        let labels = names.iter().map(|name| (name.clone(), value(name)));
        return labels.collect();
    }
    let all = attributes.iter().take(MAX_LABELS);
    all.map(|(name, value)| (text(name), shown_json(value)))
        .collect()
}

/// Whether the attributes have all the wanted values.
pub(super) fn fit(wanted: &BTreeMap<String, Value>, attributes: &[KeyValue]) -> bool {
    wanted.iter().all(|(name, wanted)| {
        let found = attributes.iter().find(|attribute| attribute.key == *name);
        found.is_some_and(|found| equal(&attribute::plain(found.value.clone()), wanted))
    })
}

/// The same of attributes that are JSON already.
pub(super) fn fit_json(
    wanted: &BTreeMap<String, Value>,
    attributes: &serde_json::Map<String, Value>,
) -> bool {
    let mut wanted = wanted.iter();
    wanted.all(|(name, wanted)| {
        attributes
            .get(name)
            .is_some_and(|found| equal(found, wanted))
    })
}

/// A finite number among the attributes. A bool is 1 or 0, so that a mean of them is a share.
pub(super) fn number(attributes: &[KeyValue], name: &str) -> Option<f64> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    let number = match found.value.as_ref()?.value.as_ref()? {
        Any::IntValue(number) => *number as f64,
        Any::DoubleValue(number) => *number,
        Any::BoolValue(flag) => f64::from(u8::from(*flag)),
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// Trace ids in an attribute: a text with commas, or a list of texts.
pub(super) fn trace_ids(attributes: &[KeyValue], name: &str) -> Vec<TraceId> {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    let value = found.and_then(|found| found.value.as_ref()?.value.as_ref());
    let texts: Vec<&str> = match value {
        Some(Any::StringValue(text)) => text.split(',').take(MAX_IDS).collect(),
        Some(Any::ArrayValue(list)) => list
            .values
            .iter()
            .take(MAX_IDS)
            .filter_map(|item| match item.value.as_ref()? {
                Any::StringValue(text) => Some(text.as_str()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    };
    texts
        .into_iter()
        .filter_map(|text| id(text.trim()))
        .collect()
}

fn id(text: &str) -> Option<TraceId> {
    let mut id = TraceId::default();
    hex::decode_to_slice(text, &mut id).ok()?;
    (id != TraceId::default()).then_some(id)
}

/// 1 and 1.0 are equal: TOML and OTLP both distinguish them, and nobody who writes a rule does.
fn equal(found: &Value, wanted: &Value) -> bool {
    found == wanted || found.is_number() && found.as_f64() == wanted.as_f64()
}

fn shown(value: &AnyValue) -> String {
    match &value.value {
        Some(Any::StringValue(value)) => text(value),
        _ => shown_json(&attribute::plain(Some(value.clone()))),
    }
}

fn shown_json(value: &Value) -> String {
    match value {
        Value::String(value) => text(value),
        Value::Null => String::new(),
        other => text(&other.to_string()),
    }
}

/// Cut, and without control characters, which a terminal or a chat might obey.
pub(super) fn text(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(MAX_CHARACTERS).map(plain).collect()
}
