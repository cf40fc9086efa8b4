//! The export of all metrics.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use prost::Message;

use super::counts::ExportCounts;
use super::sender::{ExportError, OtlpSender};
use crate::settings::Otlp;

/// Exports metrics to the collector. A set that is too large for one request is split by metric.
#[derive(Debug)]
pub(crate) struct MetricBatchExporter {
    sender: OtlpSender,
    temporality: Temporality,
    counts: Arc<ExportCounts>,
}

impl MetricBatchExporter {
    pub(crate) fn new(otlp: &Otlp, temporality: Temporality, counts: &Arc<ExportCounts>) -> Self {
        Self {
            sender: OtlpSender::new(otlp),
            temporality,
            counts: Arc::clone(counts),
        }
    }

    /// Writes some of the metrics below their resource and scopes, which `frame` has.
    fn encode(
        &self,
        frame: &[ResourceMetrics],
        metrics: &[ScopedMetric],
    ) -> Result<Vec<u8>, ExportError> {
        let mut request = ExportMetricsServiceRequest {
            resource_metrics: frame.to_vec(),
        };
        for scoped in metrics {
            let resource = &mut request.resource_metrics[scoped.resource];
            let scope = &mut resource.scope_metrics[scoped.scope];
            scope.metrics.push(scoped.metric.clone());
        }
        for resource in &mut request.resource_metrics {
            resource
                .scope_metrics
                .retain(|scope| !scope.metrics.is_empty());
        }
        if self.sender.json {
            return serde_json::to_vec(&request).map_err(ExportError::Json);
        }
        Ok(request.encode_to_vec())
    }
}

/// A metric, and where it belongs.
struct ScopedMetric {
    resource: usize,
    scope: usize,
    metric: Metric,
}

/// Takes the metrics out of their scopes.
fn take_metrics(frame: &mut [ResourceMetrics]) -> Vec<ScopedMetric> {
    let mut taken = Vec::new();
    for (resource, resource_metrics) in frame.iter_mut().enumerate() {
        for (scope, scope_metrics) in resource_metrics.scope_metrics.iter_mut().enumerate() {
            let metrics = std::mem::take(&mut scope_metrics.metrics);
            taken.extend(metrics.into_iter().map(|metric| ScopedMetric {
                resource,
                scope,
                metric,
            }));
        }
    }
    taken
}

impl PushMetricExporter for MetricBatchExporter {
    /// Blocks, as the reader of the SDK expects, which calls it on a thread of its own.
    async fn export(&self, metrics: &data::ResourceMetrics) -> OTelSdkResult {
        let mut frame = ExportMetricsServiceRequest::from(metrics).resource_metrics;
        let metrics = take_metrics(&mut frame);
        let encode = |metrics: &[ScopedMetric]| self.encode(&frame, metrics);
        self.sender.export(&metrics, encode, &self.counts.metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        self.sender.shut_down()
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}
