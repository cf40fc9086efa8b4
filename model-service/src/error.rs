//! The errors of requests, and the only status codes of this crate.
//!
//! Policy: the client gets `{"error": …, "code": …, "trace_id": …}` with a sentence that repeats
//! none of its data except names. The telemetry layer also gets 5xx errors with their causes. 429
//! and 503 come with `Retry-After`.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::ErrorCode;
use protocol::oip::{DecodeError, EncodeError, ErrorBody};
use runtime::{Refusal, Refused};
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
    #[error("the batch has {rows} rows, more than the {limit} allowed")]
    TooManyRows { rows: usize, limit: usize },
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("this path does not take this method")]
    Method,
    #[error(transparent)]
    NotServed(NotServed),
    #[error("the feature store knows none of the data ids")]
    UnknownEntities,
    #[error("features cannot be looked up")]
    Features(#[source] FeatureError),
    #[error("the inference failed")]
    Engine(#[source] EngineError),
    #[error("the answer cannot be encoded")]
    Encode(#[source] EncodeError),
    #[error("the model repository cannot be read")]
    Repository(#[source] std::io::Error),
    #[error("the model repository cannot be written, so nothing is changed")]
    ReadOnly(#[source] std::io::Error),
    #[error(
        "this service does not load or unload models; start it with --allow-model-control, or use `throughline rollback`"
    )]
    ModelControlOff,
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    Unavailable(&'static str),
    /// A fault that the client asked for. The telemetry layer injects it and writes the message.
    #[error("{message}")]
    Injected { status: StatusCode, message: String },
}

impl RequestError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Decode(_) | Self::Input(_) | Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::ModelControlOff => StatusCode::FORBIDDEN,
            Self::TooManyRows { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Refused(refusal) => refusal.status(),
            Self::Engine(EngineError::QueueFull) => StatusCode::TOO_MANY_REQUESTS,
            Self::NotServed(NotServed::NotReady { .. }) | Self::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UnknownPath | Self::UnknownEntities | Self::NotServed(_) => StatusCode::NOT_FOUND,
            Self::Features(FeatureError::DeadlinePassed)
            | Self::Engine(EngineError::DeadlinePassed) => StatusCode::GATEWAY_TIMEOUT,
            Self::Features(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Engine(EngineError::Compute(_) | EngineError::Panicked)
            | Self::Encode(_)
            | Self::Repository(_)
            | Self::ReadOnly(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Injected { status, .. } => *status,
        }
    }

    /// For the body and for `error.type`.
    fn code(&self) -> ErrorCode {
        match self {
            Self::Decode(_) | Self::Input(_) | Self::Unreadable => ErrorCode::BadRequest,
            Self::Refused(refusal) => {
                ErrorCode::parse(refusal.code()).unwrap_or(ErrorCode::Internal)
            }
            Self::TooManyRows { .. } => ErrorCode::TooManyRows,
            Self::UnknownPath => ErrorCode::UnknownPath,
            Self::UnknownEntities => ErrorCode::UnknownEntity,
            Self::Method => ErrorCode::MethodNotAllowed,
            Self::NotServed(NotServed::UnknownModel(_) | NotServed::Unloaded(_)) => {
                ErrorCode::UnknownModel
            }
            Self::NotServed(NotServed::UnknownVersion { .. }) => ErrorCode::UnknownVersion,
            Self::NotServed(NotServed::NotReady { .. }) => ErrorCode::ModelNotReady,
            Self::Unavailable(_) => ErrorCode::NotReady,
            Self::Features(FeatureError::DeadlinePassed)
            | Self::Engine(EngineError::DeadlinePassed) => ErrorCode::DeadlinePassed,
            Self::Features(_) => ErrorCode::FeatureStoreUnavailable,
            Self::Engine(EngineError::QueueFull) => ErrorCode::Overloaded,
            Self::Engine(EngineError::Compute(_) | EngineError::Panicked) => {
                ErrorCode::ComputeError
            }
            Self::Encode(_) | Self::Repository(_) | Self::ReadOnly(_) => ErrorCode::Internal,
            Self::ModelControlOff => ErrorCode::ModelControlOff,
            Self::Injected { .. } => ErrorCode::FaultInjected,
        }
    }

    /// The body for the client, with the causes only if they concern its own request.
    fn body(&self) -> ErrorBody {
        let text = match self {
            Self::Decode(_) | Self::Engine(_) => runtime::chain(self),
            _ => self.to_string(),
        };
        let mut body = ErrorBody::new(text, self.code());
        body.trace_id = telemetry::current().trace_id().map(|id| id.to_string());
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
        // The telemetry layer records injected faults itself.
        if status.is_server_error() && !matches!(self, Self::Injected { .. }) {
            let failure = RequestFailure::new(self, code.as_str());
            response.extensions_mut().insert(failure);
        }
        response
    }
}

/// The answer of the guard and of the limit layer.
pub(crate) fn refuse(_: &Refused, refusal: Refusal) -> Response {
    RequestError::Refused(refusal).into_response()
}

/// The answer of the telemetry layer to a request for a fault.
pub(crate) fn injected(status: StatusCode, message: &str) -> Response {
    let message = message.to_owned();
    RequestError::Injected { status, message }.into_response()
}
