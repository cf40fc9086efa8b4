//! Why the process stops, and why a request is refused.
//!
//! Policy: Feast's client takes every error body for JSON and repeats 429 and 5xx four times, so all bodies are JSON and only
//! what may pass by itself is 5xx. What a client can do something about is explained; the rest goes to the span and the log.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::feast::{ErrorBody, ValidationBody};
use runtime::Refusal;

use crate::backend::BackendError;
use crate::views::ViewsError;

/// The feature store cannot start, or ended badly.
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
    /// A file of rows.
    #[error("the file cannot be materialized")]
    Materialize(#[from] crate::materialize::MaterializeError),
    /// The runtime of `feature-store materialize`.
    #[error("cannot start the runtime")]
    Runtime(#[source] std::io::Error),
}

/// A request that is not answered with features.
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
    #[error("the body is larger than {} bytes", crate::router::BODY_LIMIT)]
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
    #[error("the feature store cannot reach its features")]
    Backend(#[source] BackendError),
}

impl RequestError {
    /// A value that has not the form it should have. `path` leads to it below the body.
    pub(crate) fn invalid(kind: &'static str, path: &[&str], message: impl Into<String>) -> Self {
        Self::Invalid(ValidationBody::new(kind, path, message))
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooManyRequests => Self::Overloaded,
            Refusal::TimedOut => Self::TimedOut,
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
            // FastAPI's own bodies for these two, which are not of the list form.
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
            // The span of the call has the error with its causes already, and one exception record is enough.
            Self::Backend(error) if error.transient => retry_soon(exception(
                StatusCode::SERVICE_UNAVAILABLE,
                "FeastError",
                text,
            )),
            Self::Backend(_) => exception(StatusCode::INTERNAL_SERVER_ERROR, "FeastError", text),
        }
    }
}

/// The answer to a fault on purpose.
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
