//! All routes, and the layers around them.
//!
//! `/v1` and `/v2` are two routers with layers of their own, because refusals and faults must speak each one's form. From
//! the outside: telemetry, limits, size, decompression (`/v1` only: `/v2` passes bytes on), handler.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::Uri;
use runtime::{Health, Refusal};
use telemetry::server;
use tower::ServiceBuilder;
use tower_http::decompression::RequestDecompressionLayer;

use crate::error::{self, ApiError, OipFailure};
use crate::passthrough::{self, CALLS, CallMethod, Passthrough};
use crate::read_through::ReadThrough;
use crate::{Config, PART, models, openapi, predictions, search};

/// The largest body, also after decompression.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 20;

/// Everything that the gateway answers.
pub(crate) fn build(config: &Config, predictions: Arc<ReadThrough>, health: &Health) -> Router {
    let through = Passthrough {
        parts: predictions.parts().clone(),
    };
    let decompression = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .map_request(|request: http::Request<_>| request.map(Body::new));
    let v1 = collect(v1_routes())
        .with_state(predictions)
        .layer(decompression)
        .fallback(unknown_path)
        .method_not_allowed_fallback(async || ApiError::Method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(runtime::limit_layer(&config.process, refuse))
        .layer(server::layer(options(config, error::problem_fault)));
    let v2 = collect(v2_routes())
        .with_state(through)
        .method_not_allowed_fallback(async || OipFailure(ApiError::Method))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(runtime::limit_layer(&config.process, refuse_oip))
        .layer(server::layer(options(config, error::oip_fault)));
    v1.merge(v2).merge(health.routes())
}

/// The routes of `/v1`, and the description of all.
pub(crate) fn v1_routes() -> Vec<(&'static str, MethodRouter<Arc<ReadThrough>>)> {
    vec![
        (
            "/v1/predictions",
            post(predictions::create).get(search::search),
        ),
        ("/v1/predictions/{model}/{data_id}", get(predictions::one)),
        ("/v1/models", get(models::list)),
        ("/openapi.json", get(openapi::document)),
    ]
}

/// The routes of `/v2`.
pub(crate) fn v2_routes() -> Vec<(&'static str, MethodRouter<Passthrough>)> {
    let route = |method| match method {
        CallMethod::Get => get(passthrough::forward),
        CallMethod::Post => post(passthrough::forward),
    };
    CALLS
        .iter()
        .map(|call| (call.path, route(call.method)))
        .collect()
}

fn collect<S: Clone + Send + Sync + 'static>(
    routes: Vec<(&'static str, MethodRouter<S>)>,
) -> Router<S> {
    routes
        .into_iter()
        .fold(Router::new(), |router, (path, methods)| {
            router.route(path, methods)
        })
}

fn options(
    config: &Config,
    fault_response: fn(http::StatusCode, &str) -> Response,
) -> server::Options {
    server::Options {
        service: PART.name,
        allow_faults: config.allow_faults,
        fault_response,
    }
}

fn refuse(refusal: Refusal) -> Response {
    ApiError::from(refusal).into_response()
}

fn refuse_oip(refusal: Refusal) -> Response {
    OipFailure(refusal.into()).into_response()
}

/// One router holds the fallback of both, so it looks at the path for the form of the answer.
async fn unknown_path(uri: Uri) -> Response {
    if uri.path() == "/v2" || uri.path().starts_with("/v2/") {
        return OipFailure(ApiError::UnknownPath).into_response();
    }
    ApiError::UnknownPath.into_response()
}
