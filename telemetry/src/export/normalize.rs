//! Attributes of spans as the specification wants them, written just before the export and off the
//! path of requests.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// An exporter that normalizes the attributes of spans before `inner` exports them.
///
/// The SDK appends an attribute that is set twice, where the specification keeps the later value
/// alone (<https://github.com/open-telemetry/opentelemetry-rust/issues/1300>).
#[derive(Debug)]
pub(crate) struct Normalizing<E> {
    pub(crate) inner: E,
}

impl<E: SpanExporter> SpanExporter for Normalizing<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut batch {
            keep_last(&mut span.attributes);
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

#[cfg(test)]
mod tests;
