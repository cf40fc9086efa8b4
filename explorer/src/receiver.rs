//! The OTLP/HTTP receiver: `POST /v1/traces`, `/v1/metrics`, `/v1/logs`, protobuf or JSON.
//!
//! All of a request is decoded before any of it is stored, so a malformed request stores nothing.
//! Items that cannot be read or used (a wrong value, a span without an id, an item above the
//! limits) are refused one by one and reported as `partial_success`; the rest of the request is
//! stored. Protocol: opentelemetry-proto,
//! docs/specification.md, section OTLP/HTTP.

mod body;
mod response;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::DecodeError;
use runtime::{BodyRules, ProcessOptions};

use crate::blocking;
use crate::error::ExportError;
use crate::otlp::json::Item;
use crate::otlp::rejected::RejectedItems;
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

const TOO_LARGE: &str = "an item, its resource or its scope has more than 262144 bytes";
const UNUSABLE: &str = "a span has no valid ids, or a metric has no data";
const NO_ROOM: &str = "the item or its trace is above the limits of the store";

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
        .layer(runtime::limit_layer(options, bodies, refuse_export))
        .layer(middleware::map_response_with_state(
            Arc::clone(&store),
            count_refused,
        ))
        .with_state(store)
}

async fn traces(
    State(store): State<Arc<TelemetryStore>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    receive(store, "rejectedSpans", headers, |store, headers| {
        let mut request = ExportRequest::read::<Span>(headers, body)?;
        let batches = request.decode(ReceivedSpan::decode, |_| 1)?;
        store.traces.count_refused(request.refused.items());
        for (source, spans) in batches {
            let refused = store.traces.insert(source, spans);
            request.refused.add(refused, NO_ROOM);
        }
        Ok(request.refused)
    })
    .await
}

async fn metrics(
    State(store): State<Arc<TelemetryStore>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    receive(store, "rejectedDataPoints", headers, |store, headers| {
        let mut request = ExportRequest::read::<Metric>(headers, body)?;
        let batches = request.decode(ReceivedMetric::decode, wire::count_data_points)?;
        store.metrics.count_refused(request.refused.items());
        for (source, metrics) in batches {
            let refused = store.metrics.insert(source, metrics);
            request.refused.add(refused, NO_ROOM);
        }
        Ok(request.refused)
    })
    .await
}

async fn logs(
    State(store): State<Arc<TelemetryStore>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    receive(store, "rejectedLogRecords", headers, |store, headers| {
        let mut request = ExportRequest::read::<LogRecord>(headers, body)?;
        let batches = request.decode(|bytes| ReceivedLog::decode(bytes).map(Some), |_| 1)?;
        store.logs.count_refused(request.refused.items());
        for (source, logs) in batches {
            let refused = store.logs.insert(source, logs);
            request.refused.add(refused, NO_ROOM);
        }
        Ok(request.refused)
    })
    .await
}

/// Counts the requests that stored nothing, also those that were refused before a handler.
async fn count_refused(State(store): State<Arc<TelemetryStore>>, response: Response) -> Response {
    let status = response.status();
    if status.is_client_error() {
        store.count_refused_request(status == StatusCode::PAYLOAD_TOO_LARGE);
    }
    response
}

/// Stores a request with `work`, and answers it. `field` is the name of the number of refused items
/// in JSON.
async fn receive(
    store: Arc<TelemetryStore>,
    field: &'static str,
    headers: HeaderMap,
    work: impl FnOnce(&TelemetryStore, &HeaderMap) -> Result<RejectedItems, ExportError>
    + Send
    + 'static,
) -> Response {
    blocking::write(move || {
        let outcome = work(&store, &headers);
        response::answer(&headers, field, outcome)
    })
    .await
}

/// A request as protobuf, and its items that are not stored.
struct ExportRequest {
    protobuf: Bytes,
    refused: RejectedItems,
}

impl ExportRequest {
    fn read<T: Item>(
        headers: &HeaderMap,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<ExportRequest, ExportError> {
        let encoding = Encoding::of(headers).ok_or(ExportError::ContentType)?;
        let plain = body.map_err(ExportError::Body)?;
        let mut refused = RejectedItems::default();
        let protobuf = body::to_protobuf::<T>(encoding, plain, &mut refused)?;
        Ok(ExportRequest { protobuf, refused })
    }

    /// Decodes every item with `decode_item`, which returns `None` for an item to refuse. `weigh`
    /// returns how many items of the protocol an encoded one is.
    fn decode<T>(
        &mut self,
        decode_item: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
        weigh: impl Fn(&[u8]) -> usize,
    ) -> Result<Vec<(Source, Vec<T>)>, Malformed> {
        let mut batches = Vec::new();
        for scope in wire::split(&self.protobuf)? {
            let source = Source::of(&scope);
            let mut items = Vec::with_capacity(scope.items.len());
            for bytes in &scope.items {
                let item = match &source {
                    _ if !fits(&scope, bytes) => Err(TOO_LARGE.to_owned()),
                    Err(error) => Err(error.to_string()),
                    Ok(_) => decode_item(bytes)
                        .map_err(|error| error.to_string())
                        .and_then(|item| item.ok_or_else(|| UNUSABLE.to_owned())),
                };
                match item {
                    Ok(item) => items.push(item),
                    Err(reason) => self.refused.add(weigh(bytes).max(1), reason),
                }
            }
            if let (Ok(source), false) = (source, items.is_empty()) {
                batches.push((source, items));
            }
        }
        Ok(batches)
    }
}

fn fits(scope: &ScopeItems<'_>, item: &[u8]) -> bool {
    item.len().max(scope.resource.len()).max(scope.scope.len()) <= MAX_ITEM_BYTES
}
