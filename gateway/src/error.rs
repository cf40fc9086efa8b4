//! Every error that a client of the gateway can meet, and the only status codes of this crate.
//!
//! A client gets a stable code and a plain sentence; the chain of causes of a 5xx goes to the trace, by a response
//! extension that the telemetry layer reads. `/v1` speaks problem+json (RFC 9457), `/v2` the form of the Open Inference
//! Protocol. 400 is for a body that cannot be read, 422 for one that asks for the impossible, 429 full, 502 a broken model
//! service, 503 one that is away, 504 one that is slow.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::oip::ErrorBody;
use runtime::Refusal;
use telemetry::server::Failure;

use crate::api::{EntryError, FailedEntry, Problem};
use crate::model::ModelError;
use crate::store::StoreError;

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the body is no prediction request")]
    Shape(#[source] serde_json::Error),
    #[error("{0}")]
    Invalid(String),
    #[error("the body cannot be read")]
    Body(#[source] BytesRejection),
    #[error("the body is larger than 1 MiB")]
    TooLarge,
    #[error("the body has a content encoding other than gzip or deflate")]
    Encoding,
    #[error("there is no model `{model}`")]
    UnknownModel { model: String },
    /// A shadow is a variant, too, but none that answers; a name that is none is not repeated.
    #[error("there is no variant{}{} that answers", quoted(" ", variant.as_ref()), quoted(" of model ", model.as_ref()))]
    UnknownVariant {
        model: Option<String>,
        variant: Option<String>,
        shadow: bool,
    },
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("this path does not take this method")]
    Method,
    #[error("none of the things asked for has a prediction")]
    NoneSucceeded { entries: Vec<FailedEntry> },
    #[error("the prediction cannot be computed")]
    Model(#[source] Arc<ModelError>),
    #[error("the prediction store cannot be searched")]
    Store(#[source] StoreError),
    #[error("as many requests as allowed are in flight")]
    TooManyRequests,
    #[error("the time for one request has passed")]
    TimedOut,
}

/// An [`ApiError`] in the form of the Open Inference Protocol.
#[derive(Debug)]
pub(crate) struct OipFailure(pub(crate) ApiError);

/// A name in a sentence, if there is one.
fn quoted(before: &str, name: Option<&String>) -> String {
    name.map(|name| format!("{before}`{name}`"))
        .unwrap_or_default()
}

/// How an error is told.
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retry_after: Option<HeaderValue>,
}

/// A second is long enough for a restart to be noticed and short enough not to be felt.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl ApiError {
    fn parts(&self) -> Parts {
        let detail = self.to_string();
        let plain = |status, code, title| Parts {
            status,
            code,
            title,
            detail: detail.clone(),
            retry_after: None,
        };
        let busy = |status, code, title| Parts {
            retry_after: Some(RETRY_AFTER),
            ..plain(status, code, title)
        };
        match self {
            Self::NotJson(error) => Parts {
                detail: format!("{detail}: {error}"),
                ..plain(
                    StatusCode::BAD_REQUEST,
                    "bad_request",
                    "The body cannot be read",
                )
            },
            Self::Shape(error) => Parts {
                detail: format!("{detail}: {error}"),
                ..plain(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "invalid_request",
                    "The request cannot be fulfilled",
                )
            },
            Self::Invalid(_) => plain(
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_request",
                "The request cannot be fulfilled",
            ),
            Self::Body(_) => plain(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "The body cannot be read",
            ),
            Self::TooLarge => plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "The body is too large",
            ),
            Self::Encoding => plain(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_encoding",
                "The content encoding is not supported",
            ),
            Self::UnknownModel { .. } => plain(
                StatusCode::NOT_FOUND,
                "unknown_model",
                "There is no such model",
            ),
            Self::UnknownVariant { shadow, .. } => Parts {
                detail: if *shadow {
                    format!("{detail}; it is a shadow")
                } else {
                    detail.clone()
                },
                ..plain(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "unknown_variant",
                    "There is no such variant to ask for",
                )
            },
            Self::UnknownPath => plain(
                StatusCode::NOT_FOUND,
                "unknown_path",
                "There is no such path",
            ),
            Self::Method => plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The path does not take this method",
            ),
            Self::NoneSucceeded { entries } => none_succeeded(entries, detail),
            Self::Model(error) => model_parts(error),
            Self::Store(_) => busy(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "The prediction store is unavailable",
            ),
            Self::TooManyRequests => busy(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests are in flight",
            ),
            Self::TimedOut => plain(
                StatusCode::GATEWAY_TIMEOUT,
                "timeout",
                "The request took too long",
            ),
        }
    }
}

/// The status of a request whose entries all failed: the one that they share, or 422 when they differ.
fn none_succeeded(entries: &[FailedEntry], detail: String) -> Parts {
    let first = entries
        .first()
        .map_or(EntryError::NOT_CACHED, |entry| entry.error);
    let alike = entries
        .iter()
        .all(|entry| entry.error.status == first.status);
    let status = if alike {
        StatusCode::from_u16(first.status).ok()
    } else {
        None
    };
    let same = entries.iter().all(|entry| entry.error.code == first.code);
    let (code, title) = if same {
        (first.code, first.title)
    } else {
        ("none_succeeded", "Nothing asked for has a prediction")
    };
    Parts {
        status: status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY),
        code,
        title,
        detail,
        retry_after: None,
    }
}

/// The error of a model service as a client may see it: its own words only when the request is at fault.
fn model_parts(error: &ModelError) -> Parts {
    let entry = EntryError::from(error);
    let (message, told) = match error {
        ModelError::Answered {
            message,
            retry_after,
            ..
        } => (Some(message), retry_after.clone()),
        _ => (None, None),
    };
    let detail = match message {
        Some(message) if entry.status < 500 && !message.is_empty() => message.clone(),
        _ => entry.title.to_owned(),
    };
    let retry_after = matches!(entry.status, 429 | 503).then(|| told.unwrap_or(RETRY_AFTER));
    let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::BAD_GATEWAY);
    Parts {
        status,
        code: entry.code,
        title: entry.title,
        detail,
        retry_after,
    }
}

impl From<&ModelError> for EntryError {
    fn from(error: &ModelError) -> Self {
        let code = error.code();
        let (status, title) = match code {
            "unknown_model" => (404, "The model service has no such model"),
            "model_refused" => (422, "The model refused the request"),
            "overloaded" => (429, "The model service is overloaded"),
            "model_unavailable" => (503, "The model service is unavailable"),
            "feature_store_unavailable" => (503, "The feature store is unavailable"),
            "model_timeout" => (504, "The model service did not answer in time"),
            "internal" => (500, "The gateway failed"),
            _ => (502, "The model service failed"),
        };
        Self {
            status,
            code,
            title,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        let Parts {
            status,
            code,
            title,
            detail,
            retry_after,
        } = self.parts();
        let errors = if let Self::NoneSucceeded { entries } = &mut self {
            std::mem::take(entries)
        } else {
            Vec::new()
        };
        let kind = format!("urn:throughline:problem:{code}");
        let problem = Problem {
            kind,
            title,
            status: status.as_u16(),
            detail,
            code,
            trace_id: trace_id(),
            errors,
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        finish(
            self,
            status,
            code,
            retry_after,
            "application/problem+json",
            body,
        )
    }
}

impl IntoResponse for OipFailure {
    fn into_response(self) -> Response {
        let Parts {
            mut status,
            code,
            detail,
            retry_after,
            ..
        } = self.0.parts();
        if matches!(self.0, ApiError::UnknownVariant { .. }) {
            // The protocol knows no 422; what cannot be asked like this is a bad request there.
            status = StatusCode::BAD_REQUEST;
        }
        let mut body = ErrorBody::new(detail, code);
        body.trace_id = trace_id();
        finish(
            self.0,
            status,
            code,
            retry_after,
            "application/json",
            body.to_json(),
        )
    }
}

fn finish(
    error: ApiError,
    status: StatusCode,
    code: &'static str,
    retry_after: Option<HeaderValue>,
    content_type: &'static str,
    body: Vec<u8>,
) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, content_type)], body).into_response();
    if let Some(retry_after) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, retry_after);
    }
    if status.is_server_error() {
        response.extensions_mut().insert(Failure::new(error, code));
    }
    response
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Self::TooLarge,
            _ => Self::Body(rejection),
        }
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() {
            Self::Shape(error)
        } else {
            Self::NotJson(error)
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooManyRequests => Self::TooManyRequests,
            Refusal::TimedOut => Self::TimedOut,
        }
    }
}

/// A fault on purpose in the form of `/v1`.
pub(crate) fn problem_fault(status: StatusCode, text: &str) -> Response {
    let (code, title) = ("fault_injected", "A fault on purpose");
    let kind = format!("urn:throughline:problem:{code}");
    let problem = Problem {
        kind,
        title,
        status: status.as_u16(),
        detail: text.to_owned(),
        code,
        trace_id: trace_id(),
        errors: Vec::new(),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    (
        status,
        [(header::CONTENT_TYPE, "application/problem+json")],
        body,
    )
        .into_response()
}

/// A fault on purpose in the form of `/v2`.
pub(crate) fn oip_fault(status: StatusCode, text: &str) -> Response {
    let mut body = ErrorBody::new(text, "fault_injected");
    body.trace_id = trace_id();
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        body.to_json(),
    )
        .into_response()
}

fn trace_id() -> Option<String> {
    telemetry::current().trace_id()
}
