//! The errors of the crate, and its only status codes.
//!
//! One type per audience: [`Error`] ends the process, `ReadError` answers a reader, `ExportError`
//! answers an exporter. None repeats its source in its text; [`runtime::chain`] joins them.

use std::net::SocketAddr;
use std::path::PathBuf;

use axum::Json;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runtime::{BindError, Refusal, Refused, ServeError};
use serde_json::json;
use telemetry::client::ClientError;

use crate::otlp::wire::Malformed;
use crate::rules::RulesError;

/// The explorer has to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The OTLP address is in use, or is not an address of this machine.
    #[error("the OTLP receiver cannot start")]
    Bind(#[from] BindError),
    /// A listener does not know its address.
    #[error("a listener has no address")]
    Address(#[source] std::io::Error),
    /// The file of rules, or the webhook's secret, cannot be used.
    #[error("the rules cannot run")]
    Rules(#[from] RulesError),
    /// Nothing guards the page.
    #[error(transparent)]
    Unprotected(#[from] Unprotected),
    /// The token is too weak.
    #[error(
        "{} has no token of 16 or more letters, digits and signs without a space",
        path.display()
    )]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The client of the gateway cannot be made.
    #[error("cannot call the gateway; see --tls-ca, --tls-client-cert and --tls-client-key")]
    GatewayClient(#[source] ClientError),
    /// A file with a key or a token cannot be read.
    #[error("cannot read {}", path.display())]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has nothing that can be sent in a header.
    #[error("{} has no key that can be sent in a header", path.display())]
    NoSecret {
        /// The file.
        path: PathBuf,
    },
    /// Requests were still in flight when the drain timed out.
    #[error("the explorer did not drain")]
    Serve(#[from] ServeError),
}

/// The page would listen beyond loopback and show everything to everybody.
#[derive(Debug, thiserror::Error)]
#[error(
    "{address} is beyond loopback, and anybody could read the telemetry there; write a long random text to a file and give it with --explorer-token-file, or pass --insecure-listen if the network is closed"
)]
pub struct Unprotected {
    pub(crate) address: SocketAddr,
}

/// The answer to a read that fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("there is no trace {0}; it may have been evicted, or not have arrived yet")]
    UnknownTrace(String),
    #[error("nothing of a model {0:?} was received")]
    UnknownModel(String),
    #[error("no metric {0:?} was received")]
    UnknownMetric(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the query is not valid")]
    Query(#[from] QueryRejection),
    #[error(
        "this explorer asks for its token: send `Authorization: Bearer TOKEN`, or set THROUGHLINE_EXPLORER_TOKEN for the commands"
    )]
    TokenRequired,
    #[error("no such page")]
    NoRoute,
    #[error("the answer cannot be encoded")]
    Encode(#[source] serde_json::Error),
    #[error("{0}")]
    Refused(Refusal),
}

/// The answer to a request that did not get here.
pub(crate) fn refuse_read(_: &Refused, refusal: Refusal) -> Response {
    ReadError::Refused(refusal).into_response()
}

impl ReadError {
    pub(crate) fn status(&self) -> StatusCode {
        self.codes().0
    }

    /// The status with the code of the JSON answer.
    fn codes(&self) -> (StatusCode, &'static str) {
        match self {
            ReadError::UnknownTrace(_) => (StatusCode::NOT_FOUND, "unknown_trace"),
            ReadError::UnknownModel(_) => (StatusCode::NOT_FOUND, "unknown_model"),
            ReadError::UnknownMetric(_) => (StatusCode::NOT_FOUND, "unknown_metric"),
            ReadError::TokenRequired => (StatusCode::UNAUTHORIZED, "token_required"),
            ReadError::NoRoute => (StatusCode::NOT_FOUND, "not_found"),
            ReadError::Invalid(_) | ReadError::Query(_) => {
                (StatusCode::BAD_REQUEST, "invalid_query")
            }
            ReadError::Encode(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            ReadError::Refused(refusal) => (refusal.status(), refusal.code()),
        }
    }
}

impl IntoResponse for ReadError {
    fn into_response(self) -> Response {
        let (status, code) = self.codes();
        let body = Json(json!({ "error": runtime::chain(&self), "code": code }));
        (status, body).into_response()
    }
}

/// The answer to an export request that is refused as a whole. Exporters retry 429, 502, 503 and
/// 504 only (OTLP/HTTP).
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("the content type is neither application/x-protobuf nor application/json")]
    ContentType,
    #[error("the body cannot be read")]
    Body(#[source] BytesRejection),
    #[error("the request is malformed")]
    Malformed(#[from] Malformed),
    #[error("{0}")]
    Refused(Refusal),
}

impl ExportError {
    /// The HTTP status with its `google.rpc.Code`.
    pub(crate) fn codes(&self) -> (StatusCode, i32) {
        const INVALID_ARGUMENT: i32 = 3;
        const DEADLINE_EXCEEDED: i32 = 4;
        const UNAVAILABLE: i32 = 14;
        const PERMISSION_DENIED: i32 = 7;
        const RESOURCE_EXHAUSTED: i32 = 8;
        match self {
            ExportError::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, INVALID_ARGUMENT),
            ExportError::Malformed(Malformed::TooMany) => {
                (StatusCode::PAYLOAD_TOO_LARGE, RESOURCE_EXHAUSTED)
            }
            ExportError::Malformed(_) | ExportError::Body(_) => {
                (StatusCode::BAD_REQUEST, INVALID_ARGUMENT)
            }
            ExportError::Refused(refusal) => {
                let code = match refusal {
                    Refusal::ForeignOrigin | Refusal::UnknownHost => PERMISSION_DENIED,
                    Refusal::BodyTooLarge(_) | Refusal::TooManyRequests => RESOURCE_EXHAUSTED,
                    Refusal::BodyTimedOut | Refusal::TimedOut => DEADLINE_EXCEEDED,
                    Refusal::Draining => UNAVAILABLE,
                    Refusal::InvalidHost
                    | Refusal::BodyUnreadable
                    | Refusal::BodyCorrupt
                    | Refusal::UnknownCoding => INVALID_ARGUMENT,
                };
                (refusal.status(), code)
            }
        }
    }
}
