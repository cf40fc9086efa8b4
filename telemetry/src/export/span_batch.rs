//! The export of a batch of spans.
//!
//! Protobuf is written by our own encoder, which takes a fraction of the CPU time that
//! `opentelemetry-otlp` spends on a span; `cargo bench -p telemetry --bench span_encoding` prints
//! both. JSON is written by `opentelemetry-proto`.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::counts::ExportCounts;
use super::protobuf;
use super::sender::{ExportError, OtlpSender};
use crate::settings::Otlp;

/// Exports spans to the collector and counts what became of them.
#[derive(Debug)]
pub(crate) struct SpanBatchExporter {
    sender: OtlpSender,
    resource: Resource,
    counts: Arc<ExportCounts>,
}

impl SpanBatchExporter {
    pub(crate) fn new(otlp: &Otlp, counts: &Arc<ExportCounts>) -> Self {
        Self {
            sender: OtlpSender::new(otlp),
            resource: Resource::builder_empty().build(),
            counts: Arc::clone(counts),
        }
    }

    fn encode(&self, spans: &[SpanData]) -> Result<Vec<u8>, ExportError> {
        if !self.sender.json {
            return Ok(protobuf::encode(&self.resource, spans));
        }
        let spans = spans.to_vec();
        let resource_spans = group_spans_by_resource_and_scope(spans, &(&self.resource).into());
        let request = ExportTraceServiceRequest { resource_spans };
        serde_json::to_vec(&request).map_err(ExportError::Json)
    }
}

impl SpanExporter for SpanBatchExporter {
    /// Blocks, as the batch processor of the SDK expects, which calls it on a thread of its own.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let encode = |spans: &[SpanData]| self.encode(spans);
        self.sender.export(&batch, encode, &self.counts.spans)
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.sender.shut_down()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

#[cfg(test)]
mod tests;
