//! Every way in which a request can fail, and the only status codes of this crate.
//!
//! Policy: the client gets `{"error": …, "code": …, "trace_id": …}` with a sentence that repeats none of its data beyond
//! names; faults of ours (5xx) also go to the telemetry layer with their causes. 429 and 503 say when to come again.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::oip::{DecodeError, EncodeError, ErrorBody};
use runtime::Refusal;
use telemetry::server::RequestFailure;

use crate::engine::EngineError;
use crate::features::FeatureError;
use crate::repository::NotServed;

#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the request is malformed")]
    Decode(#[source] DecodeError),
    #[error("{0}")]
    Input(String),
    #[error("the body cannot be read")]
    Unreadable,
    #[error("the body cannot be decompressed")]
    Compression(#[source] std::io::Error),
    #[error("the content encoding is not supported; gzip, deflate and identity are")]
    Encoding,
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the batch has {rows} rows, more than the {limit} allowed")]
    TooManyRows { rows: usize, limit: usize },
    #[error("there is nothing at this address")]
    NoRoute,
    #[error("the method is not allowed here")]
    Method,
    #[error(transparent)]
    NotServed(NotServed),
    #[error("the feature store knows none of the data ids")]
    AllUnknown,
    #[error("features cannot be looked up")]
    Features(#[source] FeatureError),
    #[error("the inference was not done")]
    Engine(#[source] EngineError),
    #[error("the answer cannot be written")]
    Encode(#[source] EncodeError),
    #[error("the model repository cannot be read")]
    Repository(#[source] std::io::Error),
    #[error("the service is overloaded")]
    Overloaded,
    #[error("the request took too long")]
    TimedOut,
    #[error("{0}")]
    Unavailable(&'static str),
    /// A fault on purpose, as the telemetry layer tells of it.
    #[error("{message}")]
    Injected { status: StatusCode, message: String },
}

impl RequestError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Decode(_) | Self::Input(_) | Self::Unreadable | Self::Compression(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRows { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded | Self::Engine(EngineError::QueueFull) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::NotServed(NotServed::NotReady { .. }) | Self::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NoRoute | Self::AllUnknown | Self::NotServed(_) => StatusCode::NOT_FOUND,
            Self::TimedOut
            | Self::Features(FeatureError::DeadlinePassed)
            | Self::Engine(EngineError::DeadlinePassed) => StatusCode::GATEWAY_TIMEOUT,
            Self::Features(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Engine(EngineError::Model(_) | EngineError::Panicked)
            | Self::Encode(_)
            | Self::Repository(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Injected { status, .. } => *status,
        }
    }

    /// The stable word in the body and in `error.type`.
    fn code(&self) -> &'static str {
        match self {
            Self::Decode(_) | Self::Input(_) | Self::Unreadable | Self::Compression(_) => {
                "bad_request"
            }
            Self::Encoding => "unsupported_encoding",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyRows { .. } => "too_many_rows",
            Self::NoRoute | Self::AllUnknown => "not_found",
            Self::Method => "method_not_allowed",
            Self::NotServed(NotServed::UnknownModel(_)) => "unknown_model",
            Self::NotServed(NotServed::UnknownVersion { .. }) => "unknown_version",
            Self::NotServed(NotServed::NotReady { .. }) => "model_not_ready",
            Self::Unavailable(_) => "not_ready",
            Self::TimedOut
            | Self::Features(FeatureError::DeadlinePassed)
            | Self::Engine(EngineError::DeadlinePassed) => "deadline_passed",
            Self::Features(_) => "feature_store_unavailable",
            Self::Overloaded | Self::Engine(EngineError::QueueFull) => "overloaded",
            Self::Engine(EngineError::Model(_) | EngineError::Panicked) => "compute_error",
            Self::Encode(_) | Self::Repository(_) => "internal",
            Self::Injected { .. } => "injected_fault",
        }
    }

    /// What the client reads: causes are told where they are about its own request.
    fn body(&self) -> ErrorBody {
        let mut body = match self {
            Self::Decode(_) | Self::Engine(_) => ErrorBody::from_error(self, self.code()),
            _ => ErrorBody::new(self.to_string(), self.code()),
        };
        body.trace_id = telemetry::current().trace_id();
        body
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let (status, code) = (self.status(), self.code());
        let mut response = Response::new(Body::from(self.body().to_json()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // The layer writes the exception of an injected fault itself.
        if status.is_server_error() && !matches!(self, Self::Injected { .. }) {
            response
                .extensions_mut()
                .insert(RequestFailure::new(self, code));
        }
        response
    }
}

/// For the limit layer.
pub(crate) fn refuse(refusal: Refusal) -> Response {
    match refusal {
        Refusal::TooManyRequests => RequestError::Overloaded,
        Refusal::TimedOut => RequestError::TimedOut,
    }
    .into_response()
}

/// For the telemetry layer's faults on purpose.
pub(crate) fn injected(status: StatusCode, message: &str) -> Response {
    let message = message.to_owned();
    RequestError::Injected { status, message }.into_response()
}
