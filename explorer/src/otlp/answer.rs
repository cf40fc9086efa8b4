//! What an exporter gets back: `Export…ServiceResponse`, or `google.rpc.Status` when the request was refused whole.

use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use runtime::Refusal;
use serde_json::{Value, json};

use super::body::Encoding;
use crate::error::Rejection;

const REFUSED: &str =
    "invalid ids, items above the size limit, or no room: see /api/stats of the explorer";

/// `google.rpc.Status` without details.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Writes the answer in the encoding of the request. `field` is the JSON name of the number of refused items.
pub(super) fn write(headers: &HeaderMap, field: &str, taken: Result<usize, Rejection>) -> Response {
    match taken {
        Ok(refused) => success(
            Encoding::of(headers).unwrap_or(Encoding::Json),
            field,
            refused,
        ),
        Err(rejection) => reject(headers, &rejection),
    }
}

/// A refusal by the limit layer. It has no request to mirror, so it speaks protobuf, as exporters do by default.
pub(super) fn refuse(refusal: Refusal) -> Response {
    let rejection = match refusal {
        Refusal::TooManyRequests => Rejection::Busy,
        Refusal::TimedOut => Rejection::TimedOut,
    };
    error(Encoding::Protobuf, &rejection)
}

/// A whole request is refused.
pub(super) fn reject(headers: &HeaderMap, rejection: &Rejection) -> Response {
    error(Encoding::of(headers).unwrap_or(Encoding::Json), rejection)
}

fn success(encoding: Encoding, field: &str, refused: usize) -> Response {
    match encoding {
        Encoding::Protobuf => {
            // The three responses have the same fields; only their JSON names differ.
            let partial_success = (refused > 0).then(|| ExportTracePartialSuccess {
                rejected_spans: i64::try_from(refused).unwrap_or(i64::MAX),
                error_message: REFUSED.to_owned(),
            });
            respond(
                encoding,
                StatusCode::OK,
                ExportTraceServiceResponse { partial_success }.encode_to_vec(),
            )
        }
        Encoding::Json if refused == 0 => respond_json(StatusCode::OK, &json!({})),
        Encoding::Json => {
            let partial = json!({ field: refused.to_string(), "errorMessage": REFUSED });
            respond_json(StatusCode::OK, &json!({ "partialSuccess": partial }))
        }
    }
}

fn error(encoding: Encoding, rejection: &Rejection) -> Response {
    let (status, code) = rejection.codes();
    let message = rejection.message();
    let mut response = match encoding {
        Encoding::Protobuf => respond(encoding, status, Status { code, message }.encode_to_vec()),
        Encoding::Json => respond_json(status, &json!({ "code": code, "message": message })),
    };
    match rejection {
        Rejection::Busy => response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("1")),
        // RFC 7694: says which content codings would have been taken.
        Rejection::ContentEncoding => response
            .headers_mut()
            .insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
        _ => None,
    };
    response
}

fn respond_json(status: StatusCode, body: &Value) -> Response {
    respond(Encoding::Json, status, body.to_string().into_bytes())
}

fn respond(encoding: Encoding, status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(CONTENT_TYPE, encoding.content_type())], body).into_response()
}
