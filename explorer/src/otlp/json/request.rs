//! From an OTLP/JSON request to the protobuf form of it, item by item: an item that cannot be read
//! is refused, and the rest of the request is kept.

use std::collections::HashMap;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{
    ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use prost::encoding::{message, string};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Error;
use serde_json::value::RawValue;

use super::value::JsonValue;
use super::value::field_name;
use crate::otlp::rejected::RejectedItems;

/// Values in one item.
const MAX_VALUES: usize = 65_536;

/// What a request consists of: spans, log records or metrics.
pub(crate) trait Item: Message + Default + DeserializeOwned {
    /// The fields of the three levels of a request.
    const RESOURCES: &'static str;
    const SCOPES: &'static str;
    const ITEMS: &'static str;

    /// The item, as far as it can be read.
    fn read(value: &mut JsonValue, refused: &mut RejectedItems) -> Option<Self> {
        match Self::deserialize(&*value) {
            Ok(item) => Some(item),
            Err(error) => {
                refused.add(1, error);
                None
            }
        }
    }
}

impl Item for Span {
    const RESOURCES: &'static str = "resourceSpans";
    const SCOPES: &'static str = "scopeSpans";
    const ITEMS: &'static str = "spans";
}

impl Item for LogRecord {
    const RESOURCES: &'static str = "resourceLogs";
    const SCOPES: &'static str = "scopeLogs";
    const ITEMS: &'static str = "logRecords";
}

impl Item for Metric {
    const RESOURCES: &'static str = "resourceMetrics";
    const SCOPES: &'static str = "scopeMetrics";
    const ITEMS: &'static str = "metrics";

    /// A metric without the data points that cannot be read.
    fn read(value: &mut JsonValue, refused: &mut RejectedItems) -> Option<Metric> {
        let mut has_data = false;
        let (mut readable, mut wrong) = (0, 0);
        for (kind, check) in [
            ("gauge", number_point as fn(&JsonValue) -> _),
            ("sum", number_point),
            ("histogram", point::<HistogramDataPoint>),
            (
                "exponentialHistogram",
                point::<ExponentialHistogramDataPoint>,
            ),
            ("summary", point::<SummaryDataPoint>),
        ] {
            let Some(data) = value.field_mut(kind) else {
                continue;
            };
            has_data = true;
            if let Some(JsonValue::List(list)) = data.field_mut("dataPoints") {
                let all = list.len();
                list.retain(|point| {
                    let outcome = check(point);
                    outcome.map_err(|error| refused.add(1, error)).is_ok()
                });
                readable += list.len();
                wrong += all - list.len();
            }
        }
        match Metric::deserialize(&*value) {
            // The crate's type takes data that it cannot read for data that is not set.
            Ok(metric) if has_data && metric.data.is_none() => {
                refused.add(readable.max(1), "invalid value: the data of a metric");
                None
            }
            Ok(metric) => (readable > 0 || wrong == 0).then_some(metric),
            Err(error) => {
                refused.add(readable.max(1), error);
                None
            }
        }
    }
}

/// A data point of a gauge or of a sum. The crate's type takes a value that it cannot read for one
/// that is not set.
fn number_point(value: &JsonValue) -> Result<(), Error> {
    let point = NumberDataPoint::deserialize(value)?;
    if point.value.is_none() && (value.has("asInt") || value.has("asDouble")) {
        return Err(Error::custom("invalid value: a data point is not a number"));
    }
    Ok(())
}

fn point<T: DeserializeOwned>(value: &JsonValue) -> Result<(), Error> {
    T::deserialize(value).map(drop)
}

/// The protobuf form of a request. An error means that the document is not a request at all.
pub(crate) fn to_protobuf<T: Item>(
    body: &[u8],
    refused: &mut RejectedItems,
) -> Result<Vec<u8>, Error> {
    let request = Fields::parse(serde_json::from_slice(body)?)?;
    let mut protobuf = Vec::new();
    for resource in request.list(T::RESOURCES)? {
        let fields = Fields::parse(resource)?;
        let mut encoded = Vec::new();
        let resource = fields.message::<Resource>("resource");
        if let Ok(resource) = &resource {
            message::encode(1, resource, &mut encoded);
        }
        for scope in fields.list(T::SCOPES)? {
            let scope = scope_items::<T>(&Fields::parse(scope)?, resource.as_ref().err(), refused)?;
            field(2, &scope, &mut encoded);
        }
        string::encode(3, &fields.text("schemaUrl")?, &mut encoded);
        field(1, &encoded, &mut protobuf);
    }
    Ok(protobuf)
}

/// `scope_x { scope = 1, items = 2, schema_url = 3 }`. Without its resource or scope an item would
/// seem to come from somewhere else, so it is refused.
fn scope_items<T: Item>(
    fields: &Fields<'_>,
    unknown_resource: Option<&Error>,
    refused: &mut RejectedItems,
) -> Result<Vec<u8>, Error> {
    let mut encoded = Vec::new();
    let items = fields.list(T::ITEMS)?;
    let scope = fields.message::<InstrumentationScope>("scope");
    if let Some(error) = unknown_resource.or(scope.as_ref().err()) {
        refused.add(items.len(), error);
        return Ok(encoded);
    }
    message::encode(1, &scope?, &mut encoded);
    for item in items {
        match JsonValue::parse_message(item.get().as_bytes(), MAX_VALUES) {
            Ok(mut value) => {
                if let Some(item) = T::read(&mut value, refused) {
                    message::encode(2, &item, &mut encoded);
                }
            }
            Err(error) => refused.add(1, error),
        }
    }
    string::encode(3, &fields.text("schemaUrl")?, &mut encoded);
    Ok(encoded)
}

/// A length-delimited field; `bytes::encode` writes the same for bytes and for a message.
fn field(tag: u32, encoded: &Vec<u8>, into: &mut Vec<u8>) {
    prost::encoding::bytes::encode(tag, encoded, into);
}

/// An object whose values are not parsed yet, so that an error in one of them stays there.
struct Fields<'a>(HashMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    fn parse(object: &'a RawValue) -> Result<Fields<'a>, Error> {
        let fields: Option<HashMap<String, &RawValue>> = serde_json::from_str(object.get())?;
        let fields = fields.unwrap_or_default().into_iter();
        Ok(Fields(
            fields
                .map(|(name, value)| (field_name(name), value))
                .collect(),
        ))
    }

    fn list(&self, name: &str) -> Result<Vec<&'a RawValue>, Error> {
        self.parsed(name)
    }

    fn text(&self, name: &str) -> Result<String, Error> {
        self.parsed(name)
    }

    fn parsed<T: Default + Deserialize<'a>>(&self, name: &str) -> Result<T, Error> {
        let Some(value) = self.0.get(name) else {
            return Ok(T::default());
        };
        let value: Option<T> = serde_json::from_str(value.get())?;
        Ok(value.unwrap_or_default())
    }

    fn message<T: Default + DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        let Some(value) = self.0.get(name) else {
            return Ok(T::default());
        };
        if value.get() == "null" {
            return Ok(T::default());
        }
        T::deserialize(&JsonValue::parse_message(
            value.get().as_bytes(),
            MAX_VALUES,
        )?)
    }
}
