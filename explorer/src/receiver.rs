//! The OTLP/HTTP receiver: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`, protobuf or JSON.
//!
//! All of a request is decoded before any of it is stored, so a malformed request stores nothing.
//! Items that are well formed but unusable (a span without an id, an item above the limits) are
//! refused one by one and reported as `partial_success`. Protocol: opentelemetry-proto,
//! docs/specification.md, section OTLP/HTTP.

mod body;
mod response;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use runtime::{BodyRules, ProcessOptions};
use serde::de::DeserializeOwned;

use crate::error::ExportError;
use crate::otlp::wire::{self, Malformed, ScopeItems};
use crate::store::logs::ReceivedLog;
use crate::store::metrics::ReceivedMetric;
use crate::store::traces::ReceivedSpan;
use crate::store::{Source, TelemetryStore};
use body::Encoding;
pub(crate) use response::refuse_export;

/// Bytes of one encoded item. An empty event of two bytes becomes about 80 when it is decoded, so
/// one item may take 10 MiB for a moment.
const MAX_ITEM_BYTES: usize = 256 * 1024;

/// The receiver's routes.
pub(crate) fn router(store: Arc<TelemetryStore>, options: &ProcessOptions) -> Router {
    let bodies = BodyRules {
        max_bytes: body::MAX_BODY_BYTES,
        decode: true,
    };
    Router::new()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics))
        .route("/v1/logs", post(logs))
        .layer(DefaultBodyLimit::max(body::MAX_BODY_BYTES))
        .layer(runtime::limit_layer(options, bodies, refuse_export))
        .with_state(store)
}

async fn traces(
    State(store): State<Arc<TelemetryStore>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let refused = read::<ExportTraceServiceRequest>(&headers, body)
        .and_then(|request| Ok(store_traces(&store, &request)?));
    response::answer(&headers, "rejectedSpans", refused)
}

async fn metrics(
    State(store): State<Arc<TelemetryStore>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let refused = read::<ExportMetricsServiceRequest>(&headers, body)
        .and_then(|request| Ok(store_metrics(&store, &request)?));
    response::answer(&headers, "rejectedDataPoints", refused)
}

async fn logs(
    State(store): State<Arc<TelemetryStore>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let refused = read::<ExportLogsServiceRequest>(&headers, body)
        .and_then(|request| Ok(store_logs(&store, &request)?));
    response::answer(&headers, "rejectedLogRecords", refused)
}

/// The request as plain protobuf.
fn read<T: Message + Default + DeserializeOwned>(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Bytes, ExportError> {
    let encoding = Encoding::of(headers).ok_or(ExportError::ContentType)?;
    Ok(body::to_protobuf::<T>(
        encoding,
        body.map_err(ExportError::Body)?,
    )?)
}

// Each of these three stores a request and returns how many of its items were refused.

fn store_traces(store: &TelemetryStore, request: &[u8]) -> Result<usize, Malformed> {
    let Decoded { batches, refused } = decode(request, |bytes| Ok(ReceivedSpan::decode(bytes)?))?;
    store.traces.count_refused(refused);
    let mut total = refused;
    for (source, spans) in batches {
        total += store.traces.insert(source, spans);
    }
    Ok(total)
}

fn store_logs(store: &TelemetryStore, request: &[u8]) -> Result<usize, Malformed> {
    let Decoded { batches, refused } =
        decode(request, |bytes| Ok(Some(ReceivedLog::decode(bytes)?)))?;
    store.logs.count_refused(refused);
    let mut total = refused;
    for (source, logs) in batches {
        total += store.logs.insert(source, logs);
    }
    Ok(total)
}

fn store_metrics(store: &TelemetryStore, request: &[u8]) -> Result<usize, Malformed> {
    let Decoded { batches, refused } = decode(request, |bytes| Ok(ReceivedMetric::decode(bytes)?))?;
    store.metrics.count_refused(refused);
    let mut total = refused;
    for (source, metrics) in batches {
        total += store.metrics.insert(source, metrics);
    }
    Ok(total)
}

/// The items of a request by source, and how many were refused.
struct Decoded<T> {
    batches: Vec<(Source, Vec<T>)>,
    refused: usize,
}

/// Decodes every item with `decode_item`, which returns `None` for an item to refuse.
fn decode<T>(
    request: &[u8],
    decode_item: impl Fn(&[u8]) -> Result<Option<T>, Malformed>,
) -> Result<Decoded<T>, Malformed> {
    let mut batches = Vec::new();
    let mut refused = 0;
    for scope in wire::split(request)? {
        let mut items = Vec::with_capacity(scope.items.len());
        for bytes in &scope.items {
            if fits(&scope, bytes) {
                items.extend(decode_item(bytes)?);
            }
        }
        refused += scope.items.len() - items.len();
        if !items.is_empty() {
            batches.push((Source::of(&scope)?, items));
        }
    }
    Ok(Decoded { batches, refused })
}

fn fits(scope: &ScopeItems<'_>, item: &[u8]) -> bool {
    item.len().max(scope.resource.len()).max(scope.scope.len()) <= MAX_ITEM_BYTES
}
