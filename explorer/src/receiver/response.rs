//! The answer to an exporter: `Export…ServiceResponse`, or `google.rpc.Status` for a request that
//! is refused as a whole.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use runtime::{Refusal, Refused};
use serde_json::{Value, json};

use super::body::Encoding;
use crate::error::ExportError;
use crate::otlp::rejected::RejectedItems;

/// `google.rpc.Status` without details.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// The answer in the encoding of the request; `field` is the name of the number of refused items in
/// JSON.
pub(super) fn answer(
    headers: &HeaderMap,
    field: &str,
    outcome: Result<RejectedItems, ExportError>,
) -> Response {
    match outcome {
        Ok(refused) => success(
            Encoding::of(headers).unwrap_or(Encoding::Json),
            field,
            &refused,
        ),
        Err(error) => failure(headers, &error),
    }
}

/// The answer to a request that did not get here.
pub(crate) fn refuse_export(refused: &Refused, refusal: Refusal) -> Response {
    let encoding = refused.content_type.as_ref().and_then(Encoding::of_type);
    rpc_status(
        encoding.unwrap_or(Encoding::Json),
        &ExportError::Refused(refusal),
    )
}

/// The answer to a request that is refused as a whole.
pub(super) fn failure(headers: &HeaderMap, error: &ExportError) -> Response {
    rpc_status(Encoding::of(headers).unwrap_or(Encoding::Json), error)
}

fn success(encoding: Encoding, field: &str, refused: &RejectedItems) -> Response {
    let items = refused.items();
    let message = format!("{}; see /api/stats of the explorer", refused.reason());
    match encoding {
        Encoding::Protobuf => {
            // The three responses have the same fields; only their JSON names differ.
            let partial_success = (items > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: i64::try_from(items).unwrap_or(i64::MAX),
                error_message: message,
            });
            respond(
                encoding,
                StatusCode::OK,
                ExportTraceServiceResponse { partial_success }.encode_to_vec(),
            )
        }
        Encoding::Json if items == 0 => respond_json(StatusCode::OK, &json!({})),
        Encoding::Json => {
            let partial = json!({ field: items.to_string(), "errorMessage": message });
            respond_json(StatusCode::OK, &json!({ "partialSuccess": partial }))
        }
    }
}

fn rpc_status(encoding: Encoding, error: &ExportError) -> Response {
    let (status, code) = error.codes();
    let message = runtime::chain(error);
    match encoding {
        Encoding::Protobuf => {
            let body = RpcStatus { code, message }.encode_to_vec();
            respond(encoding, status, body)
        }
        Encoding::Json => respond_json(status, &json!({ "code": code, "message": message })),
    }
}

fn respond_json(status: StatusCode, body: &Value) -> Response {
    respond(Encoding::Json, status, body.to_string().into_bytes())
}

fn respond(encoding: Encoding, status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, encoding.content_type())], body).into_response()
}
