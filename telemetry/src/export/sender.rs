//! The sending of encoded telemetry over OTLP/HTTP: compress, send, retry, split, count.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use prost::Message;
use serde_json::Value;

use super::counts::SignalCounts;
use super::retry::{Backoff, is_retryable, retry_after};
use super::transport::{NoAnswer, Transport};
use crate::credentials;
use crate::error_chain::chain;
use crate::settings::Otlp;

/// A request with several items is split above this length: receivers take 4 MiB and more.
const MAX_PART_BYTES: usize = 3 << 20;
/// OTLP's recommended limit of a request. A single item that is larger would be refused everywhere.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Sends one signal to its collector.
#[derive(Debug)]
pub(super) struct OtlpSender {
    /// Or why nothing can be sent.
    target: Result<Target, String>,
    pub(super) json: bool,
    gzip: bool,
    /// For one batch with all its retries.
    timeout: Option<Duration>,
    is_shut_down: AtomicBool,
}

#[derive(Debug)]
struct Target {
    transport: Transport,
    endpoint: Uri,
    headers: HeaderMap,
}

/// A request was lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("nothing can be sent: {0}")]
    NoTarget(String),
    #[error("the batch cannot be written as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the batch cannot be compressed")]
    Gzip(#[source] std::io::Error),
    #[error("the request has {0} bytes, more than a collector takes")]
    TooLarge(usize),
    #[error(transparent)]
    NoAnswer(NoAnswer),
    #[error("the collector answered {0}")]
    Status(StatusCode),
}

impl ExportError {
    /// Whether the halves may fare better.
    fn is_about_size(&self) -> bool {
        matches!(
            self,
            Self::TooLarge(_) | Self::Status(StatusCode::PAYLOAD_TOO_LARGE)
        )
    }
}

impl OtlpSender {
    pub(super) fn new(otlp: &Otlp) -> Self {
        Self {
            target: Target::new(otlp),
            json: otlp.json,
            gzip: otlp.gzip,
            timeout: otlp.timeout,
            is_shut_down: AtomicBool::new(false),
        }
    }

    /// Exports `items` in as many requests as their size asks for, and counts what became of them.
    pub(super) fn export<T>(
        &self,
        items: &[T],
        encode: impl Fn(&[T]) -> Result<Vec<u8>, ExportError>,
        counts: &SignalCounts,
    ) -> OTelSdkResult {
        if self.is_shut_down.load(Ordering::Relaxed) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let mut parts = vec![items];
        let (mut has_lost, mut result) = (false, Ok(()));
        while let Some(part) = parts.pop() {
            let sent = encode(part).and_then(|body| self.send(body, part.len(), deadline));
            match sent {
                Ok(answer) => has_lost |= self.count_taken(part.len() as u64, &answer, counts),
                Err(error) if error.is_about_size() && part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error) => {
                    has_lost = true;
                    let text = chain(&error);
                    counts.failed(part.len() as u64, "export_failed", &text);
                    result = Err(OTelSdkError::InternalFailure(text));
                }
            }
        }
        if !has_lost {
            counts.succeeded();
        }
        result
    }

    pub(super) fn shut_down(&self) -> OTelSdkResult {
        if self.is_shut_down.swap(true, Ordering::Relaxed) {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        Ok(())
    }

    fn send(
        &self,
        mut body: Vec<u8>,
        items: usize,
        deadline: Option<Instant>,
    ) -> Result<Response<Bytes>, ExportError> {
        let target = self.target.as_ref();
        let target = target.map_err(|reason| ExportError::NoTarget(reason.clone()))?;
        let most = if items > 1 {
            MAX_PART_BYTES
        } else {
            MAX_BODY_BYTES
        };
        if body.len() > most {
            return Err(ExportError::TooLarge(body.len()));
        }
        if self.gzip {
            body = compress(&body).map_err(ExportError::Gzip)?;
        }
        target.send_with_retries(&body.into(), deadline)
    }

    /// Counts a request that the collector took; true when its answer rejects a part.
    fn count_taken(&self, items: u64, answer: &Response<Bytes>, counts: &SignalCounts) -> bool {
        let PartialSuccess { rejected, message } = partial_success(answer.body(), self.json);
        let rejected = rejected.min(items);
        counts.exported(items - rejected);
        if rejected > 0 {
            let signal = counts.signal();
            let error = format!("the collector rejected {rejected} of {items} {signal}: {message}");
            counts.failed(rejected, "rejected", &error);
        } else if !message.is_empty() {
            let signal = counts.signal();
            tracing::debug!(
                name: "telemetry.export_warning",
                signal,
                error = message,
                "the collector took the {signal} with a warning: {message}"
            );
        }
        rejected > 0
    }
}

impl Target {
    fn new(otlp: &Otlp) -> Result<Self, String> {
        let Some(endpoint) = &otlp.endpoint else {
            return Err("the endpoint is no http or https address".to_owned());
        };
        let transport = Transport::new(otlp).map_err(|error| chain(&error))?;
        let mut headers = HeaderMap::new();
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("throughline/", env!("CARGO_PKG_VERSION"))),
        );
        let mut endpoint = endpoint.clone();
        if let Some(basic) = credentials::take_basic(&mut endpoint) {
            headers.insert(header::AUTHORIZATION, basic);
        }
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
            transport,
            endpoint,
            headers,
        })
    }

    /// Sends until the collector takes the request, refuses it for good, or the time is over.
    fn send_with_retries(
        &self,
        body: &Bytes,
        deadline: Option<Instant>,
    ) -> Result<Response<Bytes>, ExportError> {
        let left = || deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let mut backoff = Backoff::default();
        loop {
            let (error, asked_delay) = match self.transport.send(self.request(body), left()) {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) if is_retryable(answer.status()) => (
                    ExportError::Status(answer.status()),
                    retry_after(answer.headers(), SystemTime::now()),
                ),
                Ok(answer) => return Err(ExportError::Status(answer.status())),
                Err(error) => (ExportError::NoAnswer(error), None),
            };
            match backoff.next_delay(asked_delay) {
                Some(delay) if left().is_none_or(|left| delay < left) => {
                    std::thread::sleep(delay);
                }
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
}

fn compress(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body)?;
    encoder.finish()
}

/// What a collector reports of a request that it took: items that it rejected, or a warning.
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

/// The answers for the three signals have the same fields under the same numbers.
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
    let rejected = ["rejectedSpans", "rejectedLogRecords", "rejectedDataPoints"]
        .iter()
        .find_map(|name| partial.get(name))
        .unwrap_or(&Value::Null);
    let as_text = || rejected.as_str()?.parse().ok();
    Some(PartialSuccess {
        rejected: rejected.as_u64().or_else(as_text).unwrap_or_default(),
        message: partial["errorMessage"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    })
}
