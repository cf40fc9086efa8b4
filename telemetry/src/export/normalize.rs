//! Attributes of spans as the specification wants them, written just before the export and off the
//! path of requests.

use std::time::Duration;

use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// An exporter that normalizes the attributes of spans before `inner` exports them.
///
/// The SDK appends an attribute that is set twice, where the specification keeps the later value
/// alone (<https://github.com/open-telemetry/opentelemetry-rust/issues/1300>). It also ignores
/// `OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT`
/// (<https://github.com/open-telemetry/opentelemetry-rust/issues/3374>).
#[derive(Debug)]
pub(crate) struct Normalizing<E> {
    pub(crate) inner: E,
    /// Characters that a text value may have.
    pub(crate) value_length: Option<usize>,
}

impl<E: SpanExporter> SpanExporter for Normalizing<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut batch {
            keep_last(&mut span.attributes);
            if let Some(length) = self.value_length {
                for attribute in &mut span.attributes {
                    shorten(&mut attribute.value, length);
                }
            }
        }
        self.inner.export(batch).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Keeps the last of equal keys. A span has a dozen attributes, too few for a hash table to pay.
fn keep_last(attributes: &mut Vec<KeyValue>) {
    let mut index = 0;
    while index < attributes.len() {
        if attributes[index + 1..]
            .iter()
            .any(|later| later.key == attributes[index].key)
        {
            attributes.remove(index);
        } else {
            index += 1;
        }
    }
}

fn shorten(value: &mut Value, length: usize) {
    match value {
        Value::String(text) => shorten_text(text, length),
        Value::Array(Array::String(texts)) => {
            for text in texts {
                shorten_text(text, length);
            }
        }
        _ => {}
    }
}

fn shorten_text(text: &mut StringValue, length: usize) {
    if let Some((end, _)) = text.as_str().char_indices().nth(length) {
        *text = text.as_str()[..end].to_owned().into();
    }
}

#[cfg(test)]
mod tests;
