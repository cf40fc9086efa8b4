//! `POST /v1/predictions` and `GET /v1/predictions/{model}/{data_id}`: the wire on both sides of [`ReadThrough`].

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use runtime::Deadline;
use serde::Serialize;
use telemetry::attr;

use crate::api::{Entry, Prediction, PredictionRequest, PredictionResponse, Problem};
use crate::cache::{CACHE_STATUS, Directives};
use crate::choice::Wish;
use crate::error::ApiError;
use crate::read_through::{Answer, Asked, ReadThrough};
use crate::timing::SERVER_TIMING;

/// Predictions of one model
///
/// Stored predictions answer at once; the rest is computed by one inference call and stored before the answer is sent. The
/// answer has one entry for each thing asked, in the order asked. Something without a prediction is an entry with an
/// `error`; the status is 200 as long as anything has a prediction.
///
/// `Cache-Control` of the request is honoured: `no-cache` computes anew and stores, `no-store` keeps nothing of this
/// request (what an earlier one stored still answers), `max-age=N` takes only stored predictions that are no older than N
/// seconds, `only-if-cached` computes nothing.
#[utoipa::path(
    post,
    path = "/v1/predictions",
    tag = "predictions",
    request_body(content = PredictionRequest, description = "JSON, also compressed (`Content-Encoding: gzip` or `deflate`)"),
    params(
        ("Cache-Control" = Option<String>, Header, description = "`no-cache`, `no-store`, `max-age=N`, `only-if-cached`"),
        ("baggage" = Option<String>, Header, description = "`ml.variant=NAME` asks for one variant, `user.id=ID` for one variant for everything that this user asks (W3C Baggage)"),
    ),
    responses(
        (status = 200, description = "At least one prediction", body = PredictionResponse, headers(
            ("Cache-Status" = String, description = "How the answer was come by (RFC 9211)"),
            ("Server-Timing" = String, description = "Milliseconds of store, model, features, queue, compute"),
            ("traceresponse" = String, description = "The span of this request (W3C Trace Context, level 2)"),
        )),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown model, or nobody knows any of the entities", body = Problem, content_type = "application/problem+json"),
        (status = 405, description = "The path does not take this method", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is larger than 1 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Unknown content encoding", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a request that this model can fulfil", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests in flight; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "A fault of the gateway", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The model service failed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Model service or feature store unavailable; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow, or not stored and only-if-cached", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(predictions): State<Arc<ReadThrough>>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        // The decompression layer takes the header away from what it understands.
        return Err(ApiError::Encoding);
    }
    let asked = read(&body?)?;
    describe(&asked);
    let answer = predictions
        .answer(
            asked,
            Wish::read(&headers),
            Directives::read(&headers),
            deadline,
        )
        .await?;
    Ok(respond(answer, |predictions| {
        json(&PredictionResponse { predictions })
    }))
}

/// The prediction of one entity
///
/// The same as a `POST` with one id. For a model of texts, the `data_id` of a text finds what is stored of it.
#[utoipa::path(
    get,
    path = "/v1/predictions/{model}/{data_id}",
    tag = "predictions",
    params(
        ("model" = String, Path, description = "Name of the model"),
        ("data_id" = String, Path, description = "The entity"),
        ("Cache-Control" = Option<String>, Header, description = "`no-cache`, `no-store`, `max-age=N`, `only-if-cached`"),
        ("baggage" = Option<String>, Header, description = "`ml.variant=NAME` asks for one variant, `user.id=ID` for one variant for everything that this user asks (W3C Baggage)"),
    ),
    responses(
        (status = 200, description = "The prediction", body = Prediction, headers(
            ("Cache-Status" = String, description = "How the answer was come by (RFC 9211)"),
            ("Server-Timing" = String, description = "Milliseconds of store, model, features, queue, compute"),
            ("traceresponse" = String, description = "The span of this request (W3C Trace Context, level 2)"),
        )),
        (status = 404, description = "Unknown model or entity", body = Problem, content_type = "application/problem+json"),
        (status = 405, description = "The path does not take this method", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The model has no prediction for this entity, or takes no ids", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests in flight; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 500, description = "A fault of the gateway", body = Problem, content_type = "application/problem+json"),
        (status = 502, description = "The model service failed", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Model service or feature store unavailable; see Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 504, description = "Too slow, or not stored and only-if-cached", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn one(
    State(predictions): State<Arc<ReadThrough>>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path((model, data_id)) =
        path.map_err(|_| ApiError::Invalid("the path is not UTF-8".to_owned()))?;
    let asked = Asked::one(model, data_id)?;
    describe(&asked);
    let answer = predictions
        .answer(
            asked,
            Wish::read(&headers),
            Directives::read(&headers),
            deadline,
        )
        .await?;
    Ok(respond(answer, |entries| json(&entries.first())))
}

fn read(body: &[u8]) -> Result<Asked, ApiError> {
    let PredictionRequest {
        model,
        data_ids,
        texts,
    } = protocol::object(body)?;
    match (data_ids, texts) {
        (Some(ids), None) => Asked::data_ids(model, ids),
        (None, Some(texts)) => Asked::texts(model, texts),
        (Some(_), Some(_)) => Err(ApiError::Invalid(
            "data_ids and texts cannot both be given".to_owned(),
        )),
        (None, None) => Err(ApiError::Invalid(
            "data_ids or texts must be given".to_owned(),
        )),
    }
}

/// What the SERVER span tells of the request.
fn describe(asked: &Asked) {
    let span = telemetry::current();
    span.set(attr::ML_MODEL_NAME, asked.model.clone());
    span.set(
        attr::ML_BATCH_SIZE,
        i64::try_from(asked.len()).unwrap_or(i64::MAX),
    );
    if let [data_id] = asked.ids.as_slice() {
        span.set(attr::ML_DATA_ID, data_id.clone());
    }
}

fn respond(answer: Answer, write: impl FnOnce(Vec<Entry>) -> Response) -> Response {
    let Answer {
        result,
        cache_status,
        timing,
    } = answer;
    let mut response = result.map_or_else(IntoResponse::into_response, write);
    let told = [
        (CACHE_STATUS, cache_status),
        (SERVER_TIMING, timing.header()),
    ];
    for (name, value) in told {
        // Both are made of ASCII words and numbers; a value that is not would be left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A JSON answer; the bodies of this crate have no keys or numbers that could fail to be written.
pub(crate) fn json<T: Serialize>(body: &T) -> Response {
    let body = serde_json::to_vec(body).unwrap_or_default();
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        body,
    )
        .into_response()
}
