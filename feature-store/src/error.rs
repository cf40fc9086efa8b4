//! The errors that stop the process, and those that refuse a request.
//!
//! Policy: Feast's client parses every error body as JSON and repeats 429 and 5xx four times, so
//! all bodies are JSON and only transient errors are 5xx. What the client can correct is explained
//! to it; the rest goes to the span and the log.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::feast::{ErrorBody, ValidationBody};
use runtime::Refusal;

use crate::backend::BackendError;
use crate::limits::MAX_BODY_BYTES;
use crate::views::ViewsError;

/// The feature store cannot start, or stopped with an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The feature views.
    #[error("the feature views are wrong")]
    Views(#[from] ViewsError),
    /// The storage engine.
    #[error("the feature database cannot be used")]
    Backend(#[from] BackendError),
    /// Neither a path nor an address of a store.
    #[error("--database (FEATURE_STORE_DATABASE): {0}")]
    Database(String),
    /// The options of Redis.
    #[error("Redis cannot be used")]
    Redis(#[from] crate::backend::SettingsError),
    /// Serving.
    #[error("the feature store stopped before its time")]
    Serve(#[from] runtime::ServeError),
}

/// A request that gets no features.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("Feature view {0} does not exist")]
    UnknownView(String),
    #[error("Feature service {0} does not exist")]
    UnknownService(String),
    #[error("Entity {0} does not exist")]
    UnknownEntity(String),
    #[error("Feature {feature} does not exist in feature view {view}")]
    UnknownFeature { view: String, feature: String },
    #[error("Unable to find push source '{0}'")]
    UnknownPushSource(String),
    #[error(
        "Duplicate features named {0} found; full_feature_names=true tells features of different views apart"
    )]
    Collision(String),
    #[error("the request does not have the form of the endpoint")]
    Invalid(ValidationBody),
    #[error("the body is larger than {} bytes", MAX_BODY_BYTES)]
    TooLarge,
    #[error("the body cannot be read or decompressed")]
    Unreadable,
    #[error("Not Found")]
    NoSuchPath,
    #[error("Method Not Allowed")]
    NoSuchMethod,
    #[error("the feature store is overloaded")]
    Overloaded,
    #[error("the feature store could not answer in time")]
    TimedOut,
    #[error("{0}")]
    Refused(Refusal),
    #[error("the feature store cannot reach its features")]
    Backend(#[source] BackendError),
}

impl RequestError {
    /// A value of the body is wrong. `path` leads to it.
    pub(crate) fn invalid(kind: &'static str, path: &[&str], message: impl Into<String>) -> Self {
        Self::Invalid(ValidationBody::new(kind, path, message))
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooManyRequests => Self::Overloaded,
            Refusal::TimedOut => Self::TimedOut,
            Refusal::BodyTooLarge(_) => Self::TooLarge,
            Refusal::BodyUnreadable | Refusal::BodyCorrupt => Self::Unreadable,
            other => Self::Refused(other),
        }
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let text = self.to_string();
        match self {
            Self::UnknownView(_) => {
                exception(StatusCode::NOT_FOUND, "FeatureViewNotFoundException", text)
            }
            Self::UnknownService(_) => exception(
                StatusCode::NOT_FOUND,
                "FeatureServiceNotFoundException",
                text,
            ),
            Self::UnknownEntity(_) => {
                exception(StatusCode::NOT_FOUND, "EntityNotFoundException", text)
            }
            Self::UnknownFeature { .. } => {
                exception(StatusCode::NOT_FOUND, "FeastObjectNotFoundException", text)
            }
            Self::UnknownPushSource(_) => exception(
                StatusCode::UNPROCESSABLE_ENTITY,
                "PushSourceNotFoundException",
                text,
            ),
            Self::Collision(_) => exception(
                StatusCode::UNPROCESSABLE_ENTITY,
                "FeatureNameCollisionError",
                text,
            ),
            Self::Invalid(body) => json(StatusCode::UNPROCESSABLE_ENTITY, body.to_json()),
            Self::TooLarge => detail(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text),
            Self::Unreadable => detail(StatusCode::BAD_REQUEST, "unreadable", text),
            // FastAPI has no list in the bodies of these two.
            Self::NoSuchPath => json(
                StatusCode::NOT_FOUND,
                r#"{"detail":"Not Found"}"#.to_owned(),
            ),
            Self::NoSuchMethod => json(
                StatusCode::METHOD_NOT_ALLOWED,
                r#"{"detail":"Method Not Allowed"}"#.to_owned(),
            ),
            Self::Overloaded => {
                retry_soon(exception(StatusCode::TOO_MANY_REQUESTS, "FeastError", text))
            }
            Self::TimedOut => exception(StatusCode::GATEWAY_TIMEOUT, "FeastError", text),
            Self::Refused(refusal) if refusal.status().is_server_error() => {
                exception(refusal.status(), "FeastError", text)
            }
            Self::Refused(refusal) => detail(refusal.status(), refusal.code(), text),
            // The span of the call records the error with its causes, so it is not recorded again.
            Self::Backend(error) if error.transient => retry_soon(exception(
                StatusCode::SERVICE_UNAVAILABLE,
                "FeastError",
                text,
            )),
            Self::Backend(_) => exception(StatusCode::INTERNAL_SERVER_ERROR, "FeastError", text),
        }
    }
}

/// The answer to an injected fault.
pub(crate) fn fault_response(status: StatusCode, message: &str) -> Response {
    exception(status, "FeastError", message.to_owned())
}

/// A body that Feast's client turns into the exception of that name.
fn exception(status: StatusCode, class: &'static str, message: String) -> Response {
    json(status, ErrorBody::feast(class, message).to_json())
}

fn detail(status: StatusCode, kind: &'static str, message: String) -> Response {
    json(status, ValidationBody::new(kind, &[], message).to_json())
}

fn json(status: StatusCode, body: String) -> Response {
    (
        status,
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        body,
    )
        .into_response()
}

fn retry_soon(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests;
