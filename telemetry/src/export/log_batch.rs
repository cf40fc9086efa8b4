//! The export of a batch of log records.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLogRecord};
use prost::Message;

use super::counts::ExportCounts;
use super::limits::limit_logs;
use super::sender::{ExportError, OtlpSender};
use crate::settings::{LogLimits, Otlp};

/// Exports log records to the collector and counts what became of them.
#[derive(Debug)]
pub(crate) struct LogBatchExporter {
    sender: OtlpSender,
    limits: LogLimits,
    resource: ResourceAttributesWithSchema,
    counts: Arc<ExportCounts>,
}

impl LogBatchExporter {
    pub(crate) fn new(otlp: &Otlp, limits: LogLimits, counts: &Arc<ExportCounts>) -> Self {
        Self {
            sender: OtlpSender::new(otlp),
            limits,
            resource: ResourceAttributesWithSchema::default(),
            counts: Arc::clone(counts),
        }
    }

    fn encode(
        &self,
        records: &[(&SdkLogRecord, &InstrumentationScope)],
    ) -> Result<Vec<u8>, ExportError> {
        let batch = LogBatch::new(records);
        let mut resource_logs = group_logs_by_resource_and_scope(&batch, &self.resource);
        limit_logs(&mut resource_logs, self.limits);
        let request = ExportLogsServiceRequest { resource_logs };
        if self.sender.json {
            return serde_json::to_vec(&request).map_err(ExportError::Json);
        }
        Ok(request.encode_to_vec())
    }
}

impl LogExporter for LogBatchExporter {
    /// Blocks, as the batch processor of the SDK expects, which calls it on a thread of its own.
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records: Vec<_> = batch.iter().collect();
        let encode = |records: &[_]| self.encode(records);
        self.sender.export(&records, encode, &self.counts.logs)
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.sender.shut_down()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
