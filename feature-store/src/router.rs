//! Paths, layers and bodies.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use http::StatusCode;
use runtime::Health;
use serde::de::DeserializeOwned;
use telemetry::server;
use tower_http::decompression::RequestDecompressionLayer;

use crate::error::{RequestError, fault_response};
use crate::store::Store;
use crate::{Config, PART, online, write};

/// Bytes of a body, after decompression.
pub(crate) const BODY_LIMIT: usize = 1024 * 1024;

/// The whole service. Probes stand outside the layers: they are not traced and must be answered when nothing else is.
pub(crate) fn router(store: Arc<Store>, health: &Health, config: &Config) -> Router {
    let traced = server::Options {
        service: PART.name,
        allow_faults: config.allow_faults,
        fault_response,
    };
    let probe = health.clone();
    Router::new()
        .route("/get-online-features", post(online::get_online_features))
        .route("/push", post(write::push))
        .route("/write-to-online-store", post(write::write_to_online_store))
        .fallback(|| async { RequestError::NoSuchPath })
        .method_not_allowed_fallback(|| async { RequestError::NoSuchMethod })
        .with_state(store)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        // An encoding that is not known passes through and fails as JSON; the layer's own refusal would have an empty body.
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(runtime::limit_layer(&config.process, |refusal| {
            RequestError::from(refusal).into_response()
        }))
        .layer(server::layer(traced))
        .merge(health.routes())
        .route(
            "/health",
            get(async move || {
                if probe.is_ready() {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            }),
        )
}

/// The raw body. Old Feast clients send no content type and curl sends that of a form, so it is never looked at.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = RequestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RequestError> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(error))
                if error.status() == StatusCode::PAYLOAD_TOO_LARGE =>
            {
                Err(RequestError::TooLarge)
            }
            Err(_) => Err(RequestError::Unreadable),
        }
    }
}

/// Reads a body as JSON, whatever its content type.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, RequestError> {
    protocol::object(body).map_err(|error| {
        let kind = if error.is_data() {
            "value_error"
        } else {
            "json_invalid"
        };
        RequestError::invalid(kind, &[], error.to_string())
    })
}
