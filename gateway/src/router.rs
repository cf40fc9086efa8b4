//! All routes, and the layers around them.
//!
//! `/v1` and `/v2` are two routers with layers of their own, because refusals and faults take the
//! form of each. From the outside: telemetry, API keys, limits, size, handler. Bodies of `/v2` are passed on as
//! they are coded.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, on, post};
use http::{StatusCode, Uri};
use runtime::{App, BodyRules, Health, LimitLayer, Refusal, Refused};
use telemetry::server::{self, ServerLayer};

use crate::drift::DriftReader;
use crate::error::{ApiError, OipFailure};
use crate::feedback::Feedback;
use crate::keys::{ApiKeys, Gate, authenticate};
use crate::models::Models;
use crate::passthrough::{self, CALLS, Passthrough};
use crate::predict::Predictor;
use crate::quality::QualityReader;
use crate::search::Searcher;
use crate::{Config, PART, drift, feedback, models, openapi, predictions, quality, search};

/// The largest body, also after decompression.
const MAX_BODY_BYTES: usize = 1 << 20;

const fn bodies(decode: bool) -> BodyRules {
    BodyRules {
        max_bytes: MAX_BODY_BYTES,
        decode,
    }
}

/// What the handlers use.
pub(crate) struct Handlers {
    pub(crate) predictor: Arc<Predictor>,
    pub(crate) searcher: Searcher,
    pub(crate) models: Models,
    pub(crate) drift: DriftReader,
    pub(crate) feedback: Arc<Feedback>,
    pub(crate) quality: QualityReader,
    pub(crate) passthrough: Passthrough,
}

/// Everything that the gateway answers.
pub(crate) fn build(
    config: &Config,
    handlers: Handlers,
    health: &Health,
    keys: Option<ApiKeys>,
) -> App {
    let predictions = Router::new()
        .route("/v1/predictions", post(predictions::create))
        .route("/v1/predictions/{model}/{data_id}", get(predictions::one))
        .with_state(handlers.predictor);
    let searches = Router::new()
        .route("/v1/predictions", get(search::search))
        .with_state(handlers.searcher);
    let models = Router::new()
        .route("/v1/models", get(models::list))
        .with_state(handlers.models);
    let drifts = Router::new()
        .route("/v1/models/{model}/drift", get(drift::read))
        .with_state(handlers.drift);
    let feedbacks = Router::new()
        .route("/v1/feedback", post(feedback::create))
        .with_state(handlers.feedback);
    let qualities = Router::new()
        .route("/v1/models/{model}/quality", get(quality::read))
        .with_state(handlers.quality);
    let v1 = Router::new()
        .merge(predictions)
        .merge(searches)
        .merge(models)
        .merge(drifts)
        .merge(feedbacks)
        .merge(qualities)
        .route("/openapi.json", get(openapi::document))
        .fallback(unknown_path)
        .method_not_allowed_fallback(async || ApiError::Method);
    let limits = runtime::limit_layer(&config.process, bodies(true), refuse);
    let traced = server::layer(options(config, inject_fault));
    let v1 = layered(v1, traced, keys.clone(), limits);
    let v2 = v2()
        .with_state(handlers.passthrough)
        .method_not_allowed_fallback(async || OipFailure(ApiError::Method));
    let limits = runtime::limit_layer(&config.process, bodies(false), refuse);
    let traced = server::layer(options(config, inject_oip_fault));
    let asks_for_keys = keys.is_some();
    let v2 = layered(v2, traced, keys, limits);
    let router = v1.merge(v2).merge(health.routes());
    App::new(router, refuse, Some(options(config, inject_fault))).asking_for_keys(asks_for_keys)
}

fn layered(
    router: Router,
    traced: ServerLayer,
    keys: Option<ApiKeys>,
    limits: LimitLayer,
) -> Router {
    match keys {
        Some(keys) => {
            let refuse = in_form_of;
            let gate = from_fn_with_state(Gate { keys, refuse }, authenticate);
            router.layer((traced, gate, limits))
        }
        None => router.layer((traced, limits)),
    }
}

fn v2() -> Router<Passthrough> {
    CALLS.iter().fold(Router::new(), |router, call| {
        router.route(call.path, on(call.method, passthrough::forward))
    })
}

fn options(config: &Config, fault_response: fn(StatusCode, &str) -> Response) -> server::Options {
    server::Options {
        service: PART.name,
        allow_faults: config.allow_faults,
        fault_response,
    }
}

fn inject_fault(_: StatusCode, message: &str) -> Response {
    ApiError::FaultInjected(message.to_owned()).into_response()
}

fn inject_oip_fault(_: StatusCode, message: &str) -> Response {
    OipFailure(ApiError::FaultInjected(message.to_owned())).into_response()
}

fn refuse(refused: &Refused, refusal: Refusal) -> Response {
    in_form_of(&refused.uri, ApiError::Refused(refusal))
}

/// The fallback of both routers.
async fn unknown_path(uri: Uri) -> Response {
    in_form_of(&uri, ApiError::UnknownPath)
}

/// The path decides the form of the answer.
fn in_form_of(uri: &Uri, error: ApiError) -> Response {
    if uri.path() == "/v2" || uri.path().starts_with("/v2/") {
        return OipFailure(error).into_response();
    }
    error.into_response()
}
