//! Everything that goes wrong here, and the only status codes of the crate.
//!
//! Three audiences, three types: [`Error`] ends the process, [`ApiError`] answers a reader, `Rejection` answers an
//! exporter. None of them repeats its cause; whoever shows one walks the chain.

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runtime::{BindError, Refusal, ServeError};
use serde_json::json;

use crate::otlp::wire::Malformed;

/// The explorer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The OTLP address is taken, or not ours.
    #[error("the OTLP receiver cannot start")]
    Bind(#[from] BindError),
    /// A listener that cannot say where it listens.
    #[error("a listener has no address")]
    Address(#[source] std::io::Error),
    /// Requests had to be cut off at the end.
    #[error("the explorer did not drain")]
    Serve(#[from] ServeError),
}

/// A read cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("no trace {0} is held; it may have been evicted, or not have arrived yet")]
    UnknownTrace(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the query is not valid")]
    Query(#[from] QueryRejection),
    #[error("no such page")]
    NoRoute,
    #[error("only pages of this server may do this")]
    Foreign,
    #[error("too many requests at once")]
    Busy,
    #[error("the answer took too long")]
    TimedOut,
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::TooManyRequests => ApiError::Busy,
            Refusal::TimedOut => ApiError::TimedOut,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            ApiError::UnknownTrace(_) => (StatusCode::NOT_FOUND, "unknown_trace"),
            ApiError::NoRoute => (StatusCode::NOT_FOUND, "not_found"),
            ApiError::Invalid(_) | ApiError::Query(_) => (StatusCode::BAD_REQUEST, "invalid_query"),
            ApiError::Foreign => (StatusCode::FORBIDDEN, "cross_origin"),
            ApiError::Busy => (StatusCode::TOO_MANY_REQUESTS, "busy"),
            ApiError::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        };
        let body = Json(json!({ "error": runtime::chain(&self), "code": code }));
        match self {
            ApiError::Busy => (status, [("retry-after", "1")], body).into_response(),
            _ => (status, body).into_response(),
        }
    }
}

/// An export request is refused whole. Exporters retry 429, 502, 503 and 504 only (OTLP/HTTP).
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("the content type is neither application/x-protobuf nor application/json")]
    ContentType,
    #[error("the content encoding is neither gzip nor identity")]
    ContentEncoding,
    #[error("the body is not valid gzip")]
    Gzip(#[source] std::io::Error),
    #[error("the body is larger than {} bytes", crate::otlp::body::MAX_BODY_BYTES)]
    TooLarge,
    #[error("the body cannot be read")]
    Body(#[source] BytesRejection),
    #[error("the request is malformed")]
    Malformed(#[from] Malformed),
    #[error("a page of another origin may not send telemetry here")]
    Foreign,
    #[error("too many requests at once")]
    Busy,
    #[error("the request took too long")]
    TimedOut,
}

impl Rejection {
    /// The HTTP status with its `google.rpc.Code`.
    pub(crate) fn codes(&self) -> (StatusCode, i32) {
        const INVALID_ARGUMENT: i32 = 3;
        const DEADLINE_EXCEEDED: i32 = 4;
        const PERMISSION_DENIED: i32 = 7;
        const RESOURCE_EXHAUSTED: i32 = 8;
        match self {
            Rejection::ContentType | Rejection::ContentEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT)
            }
            Rejection::TooLarge | Rejection::Malformed(Malformed::TooMany) => {
                (StatusCode::PAYLOAD_TOO_LARGE, RESOURCE_EXHAUSTED)
            }
            Rejection::Body(body) if body.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                (StatusCode::PAYLOAD_TOO_LARGE, RESOURCE_EXHAUSTED)
            }
            Rejection::Gzip(_) | Rejection::Malformed(_) | Rejection::Body(_) => {
                (StatusCode::BAD_REQUEST, INVALID_ARGUMENT)
            }
            Rejection::Foreign => (StatusCode::FORBIDDEN, PERMISSION_DENIED),
            Rejection::Busy => (StatusCode::TOO_MANY_REQUESTS, RESOURCE_EXHAUSTED),
            Rejection::TimedOut => (StatusCode::GATEWAY_TIMEOUT, DEADLINE_EXCEEDED),
        }
    }

    /// The whole chain: whoever wrote the exporter reads this.
    pub(crate) fn message(&self) -> String {
        runtime::chain(self)
    }
}
