//! The routes of the feature store and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use runtime::{App, BodyRules, Health, Refusal, Refused};
use telemetry::server;

use crate::error::{RequestError, fault_response};
use crate::limits::MAX_BODY_BYTES;
use crate::store::Store;
use crate::{Config, PART, online, write};

const BODIES: BodyRules = BodyRules {
    max_bytes: MAX_BODY_BYTES,
    decode: true,
};

/// The whole service. Probes are outside the layers: they are not traced, and are answered when
/// nothing else is.
pub(crate) fn router(store: Arc<Store>, health: &Health, config: &Config) -> App {
    let traced = server::Options {
        service: PART.name,
        allow_faults: config.allow_faults,
        fault_response,
    };
    let limits = runtime::limit_layer(&config.process, BODIES, refuse);
    let probe = health.clone();
    let router = Router::new()
        .route("/get-online-features", post(online::get_online_features))
        .route("/push", post(write::push))
        .route("/write-to-online-store", post(write::write_to_online_store))
        .fallback(|| async { RequestError::NoSuchPath })
        .method_not_allowed_fallback(|| async { RequestError::NoSuchMethod })
        .with_state(store)
        .layer((server::layer(traced), limits))
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
        );
    App::new(router, refuse, Some(traced))
}

fn refuse(_: &Refused, refusal: Refusal) -> Response {
    RequestError::from(refusal).into_response()
}
