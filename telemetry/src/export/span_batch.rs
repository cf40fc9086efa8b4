//! The export of a batch of spans over OTLP/HTTP: encode, compress, send, retry, count.
//!
//! Protobuf is written by our own encoder, which takes a fraction of the CPU time that
//! `opentelemetry-otlp` spends on a span; `cargo bench -p telemetry --bench span_encoding` prints
//! both. JSON is written by `opentelemetry-proto`.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prost::Message;
use serde_json::Value;

use super::counts::ExportCounts;
use super::protobuf;
use super::retry::{Backoff, is_retryable, retry_after};
use super::transport::{NoAnswer, Transport, TransportError};
use crate::error_chain::chain;
use crate::settings::Otlp;

/// OTLP's recommended limit of a request, before and after compression. A larger batch would be
/// refused everywhere.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Exports spans to the collector and counts what became of them.
#[derive(Debug)]
pub(crate) struct SpanBatchExporter {
    transport: Transport,
    endpoint: Uri,
    headers: HeaderMap,
    json: bool,
    gzip: bool,
    /// For one batch with all its retries.
    timeout: Duration,
    resource: Resource,
    counts: Arc<ExportCounts>,
    is_shut_down: AtomicBool,
}

/// A batch was lost.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("the exporter is shut down")]
    ShutDown,
    #[error("the batch cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the batch cannot be compressed")]
    Gzip(#[source] std::io::Error),
    #[error("the batch has {0} bytes, more than a collector takes")]
    TooLarge(usize),
    #[error(transparent)]
    NoAnswer(NoAnswer),
    #[error("the collector answered {0}")]
    Status(StatusCode),
}

impl SpanBatchExporter {
    pub(crate) fn new(otlp: &Otlp, counts: &Arc<ExportCounts>) -> Result<Self, TransportError> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("throughline/", env!("CARGO_PKG_VERSION"))),
        );
        headers.extend(otlp.headers.clone());
        // These two describe the body, so no setting may replace them.
        let content_type = if otlp.json {
            "application/json"
        } else {
            "application/x-protobuf"
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if otlp.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        } else {
            headers.remove(header::CONTENT_ENCODING);
        }
        Ok(Self {
            transport: Transport::new(otlp)?,
            endpoint: otlp.endpoint.clone(),
            headers,
            json: otlp.json,
            gzip: otlp.gzip,
            timeout: otlp.timeout,
            resource: Resource::builder_empty().build(),
            counts: Arc::clone(counts),
            is_shut_down: AtomicBool::new(false),
        })
    }

    /// Exports `batch` and returns the answer of the collector.
    fn export_batch(&self, batch: Vec<SpanData>) -> Result<Response<Bytes>, ExportError> {
        if self.is_shut_down.load(Ordering::Relaxed) {
            return Err(ExportError::ShutDown);
        }
        let mut body = self.encode(batch)?;
        check_size(&body)?;
        if self.gzip {
            body = compress(&body).map_err(ExportError::Gzip)?;
            check_size(&body)?;
        }
        self.send_with_retries(&body.into())
    }

    fn encode(&self, batch: Vec<SpanData>) -> Result<Vec<u8>, ExportError> {
        if self.json {
            let resource_spans = group_spans_by_resource_and_scope(batch, &(&self.resource).into());
            let request = ExportTraceServiceRequest { resource_spans };
            serde_json::to_vec(&request).map_err(ExportError::Json)
        } else {
            Ok(protobuf::encode(&self.resource, &batch))
        }
    }

    /// Sends until the collector takes the batch, refuses it for good, or the time is over.
    fn send_with_retries(&self, body: &Bytes) -> Result<Response<Bytes>, ExportError> {
        let deadline = Instant::now() + self.timeout;
        let mut backoff = Backoff::default();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (error, asked_delay) = match self.transport.send(self.request(body), left) {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if is_retryable(answer.status()) => (
                    ExportError::Status(answer.status()),
                    retry_after(answer.headers(), SystemTime::now()),
                ),
                Ok(answer) => return Err(ExportError::Status(answer.status())),
                Err(error) => (ExportError::NoAnswer(error), None),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match backoff.next_delay(asked_delay) {
                Some(delay) if delay < left => std::thread::sleep(delay),
                _ => return Err(error),
            }
        }
    }

    fn request(&self, body: &Bytes) -> Request<Bytes> {
        let mut request = Request::new(body.clone());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Counts a batch that the collector took, but for the spans that its answer rejects.
    fn count_taken(&self, spans: u64, answer: &[u8]) {
        let counts = &self.counts.spans;
        let PartialSuccess { rejected, message } = partial_success(answer, self.json);
        let rejected = rejected.min(spans);
        counts.exported(spans - rejected);
        if rejected > 0 {
            let error = format!("the collector rejected {rejected} of {spans} spans: {message}");
            counts.failed(rejected, "rejected", &error);
            return;
        }
        counts.succeeded();
        if !message.is_empty() {
            tracing::debug!(
                name: "telemetry.export_warning",
                signal = "spans",
                error = message,
                "the collector took the spans with a warning: {message}"
            );
        }
    }
}

impl SpanExporter for SpanBatchExporter {
    /// Blocks, as the batch processor of the SDK expects, which calls it on a thread of its own.
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        match self.export_batch(batch) {
            Ok(answer) => {
                self.count_taken(spans, answer.body());
                Ok(())
            }
            Err(error) => {
                let text = chain(&error);
                self.counts.spans.failed(spans, "export_failed", &text);
                Err(match error {
                    ExportError::ShutDown => OTelSdkError::AlreadyShutdown,
                    _ => OTelSdkError::InternalFailure(text),
                })
            }
        }
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        if self.is_shut_down.swap(true, Ordering::Relaxed) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.clone();
    }
}

fn check_size(body: &[u8]) -> Result<(), ExportError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(ExportError::TooLarge(body.len()));
    }
    Ok(())
}

fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

/// What a collector reports of a batch that it took: spans that it rejected, or a warning.
#[derive(Default)]
struct PartialSuccess {
    rejected: u64,
    message: String,
}

/// Reads the answer. One that cannot be read reports nothing: many collectors answer with an empty
/// body.
fn partial_success(answer: &[u8], json: bool) -> PartialSuccess {
    let read = if json {
        partial_success_of_json(answer)
    } else {
        partial_success_of_protobuf(answer)
    };
    read.unwrap_or_default()
}

fn partial_success_of_protobuf(answer: &[u8]) -> Option<PartialSuccess> {
    let partial = ExportTraceServiceResponse::decode(answer)
        .ok()?
        .partial_success?;
    Some(PartialSuccess {
        rejected: partial.rejected_spans.try_into().unwrap_or_default(),
        message: partial.error_message,
    })
}

/// Reads the count as a number or as a text, which is the form that OTLP wants and that the types
/// of `opentelemetry-proto` refuse
/// (<https://github.com/open-telemetry/opentelemetry-rust/issues/2487>).
fn partial_success_of_json(answer: &[u8]) -> Option<PartialSuccess> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let rejected = &partial["rejectedSpans"];
    let as_text = || rejected.as_str()?.parse().ok();
    Some(PartialSuccess {
        rejected: rejected.as_u64().or_else(as_text).unwrap_or_default(),
        message: partial["errorMessage"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    })
}

#[cfg(test)]
mod tests;
