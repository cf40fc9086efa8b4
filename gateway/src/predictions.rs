//! `POST /v1/predictions` and `GET /v1/predictions/{model}/{data_id}`: the handlers before and
//! after [`Predictor`].

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

use crate::api::{
    ComputeFailed, Entry, Prediction, PredictionHeaders, PredictionRequest, PredictionResponse,
    Problem, Refused,
};
use crate::cache::{CACHE_STATUS, Directives};
use crate::choice::Wish;
use crate::error::ApiError;
use crate::predict::{Answer, Batch, Predictor};
use crate::timing::SERVER_TIMING;

/// Predictions of one model
///
/// Stored predictions answer at once; the rest is computed by one inference call and stored before
/// the answer is sent. The answer has one entry for each thing asked, in the order asked. Something
/// without a prediction is an entry with an `error`; the status is 200 as long as anything has a
/// prediction.
///
/// `Cache-Control` of the request is honoured: `no-cache` computes anew and stores, `no-store`
/// keeps nothing of this request (what an earlier one stored still answers), `max-age=N` takes only
/// stored predictions that are no older than N seconds, `only-if-cached` computes nothing.
#[utoipa::path(
    post,
    path = "/v1/predictions",
    tag = "predictions",
    request_body(content = PredictionRequest, description = "JSON, also compressed (`Content-Encoding: gzip` or `deflate`)"),
    params(PredictionHeaders),
    responses(
        (status = 200, description = "At least one prediction", body = PredictionResponse, headers(
            ("Cache-Status" = String, description = "How the request used the cache (RFC 9211)"),
            ("Server-Timing" = String, description = "Milliseconds of store, model, features, queue, compute"),
            ("traceresponse" = String, description = "The span of this request (W3C Trace Context, level 2)"),
        )),
        (status = 400, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "Unknown model, or nobody knows any of the entities", body = Problem, content_type = "application/problem+json"),
        Refused,
        (status = 413, description = "The body is larger than 1 MiB", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "Unknown content encoding", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a request that this model can fulfil", body = Problem, content_type = "application/problem+json"),
        ComputeFailed,
    )
)]
pub(crate) async fn create(
    State(predictor): State<Arc<Predictor>>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let batch = read(&body?)?;
    let answer = answer(&predictor, batch, &headers, deadline).await?;
    Ok(respond(answer, |predictions| {
        json(&PredictionResponse { predictions })
    }))
}

/// The prediction of one entity
///
/// The same as a `POST` with one id. For a model of texts, the `data_id` of a text finds what is
/// stored of it.
#[utoipa::path(
    get,
    path = "/v1/predictions/{model}/{data_id}",
    tag = "predictions",
    params(
        ("model" = String, Path, description = "Name of the model"),
        ("data_id" = String, Path, description = "The entity"),
        PredictionHeaders,
    ),
    responses(
        (status = 200, description = "The prediction", body = Prediction, headers(
            ("Cache-Status" = String, description = "How the request used the cache (RFC 9211)"),
            ("Server-Timing" = String, description = "Milliseconds of store, model, features, queue, compute"),
            ("traceresponse" = String, description = "The span of this request (W3C Trace Context, level 2)"),
        )),
        (status = 404, description = "Unknown model or entity", body = Problem, content_type = "application/problem+json"),
        Refused,
        (status = 422, description = "The model has no prediction for this entity, or takes no ids", body = Problem, content_type = "application/problem+json"),
        ComputeFailed,
    )
)]
pub(crate) async fn one(
    State(predictor): State<Arc<Predictor>>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path((model, data_id)) =
        path.map_err(|_| ApiError::Invalid("the path is not UTF-8".to_owned()))?;
    let batch = Batch::of_path(model, data_id)?;
    let answer = answer(&predictor, batch, &headers, deadline).await?;
    Ok(respond(answer, |entries| json(&entries.first())))
}

async fn answer(
    predictor: &Predictor,
    batch: Batch,
    headers: &HeaderMap,
    deadline: Deadline,
) -> Result<Answer, ApiError> {
    describe(&batch);
    let (wish, directives) = (Wish::read(headers), Directives::read(headers));
    predictor.answer(batch, wish, directives, deadline).await
}

fn read(body: &[u8]) -> Result<Batch, ApiError> {
    let request: PredictionRequest = protocol::object(body)?;
    match (request.data_ids, request.texts) {
        (Some(ids), None) => Batch::of_data_ids(request.model, ids),
        (None, Some(texts)) => Batch::of_texts(request.model, texts),
        (Some(_), Some(_)) => Err(ApiError::Invalid(
            "data_ids and texts cannot both be given".to_owned(),
        )),
        (None, None) => Err(ApiError::Invalid(
            "data_ids or texts must be given".to_owned(),
        )),
    }
}

/// Sets on the SERVER span what the request asks for.
fn describe(batch: &Batch) {
    let span = telemetry::current();
    span.set(attr::ML_MODEL_NAME, batch.model.clone());
    span.set(
        attr::ML_BATCH_SIZE,
        i64::try_from(batch.len()).unwrap_or(i64::MAX),
    );
    if let [instance] = batch.instances.as_slice() {
        span.set(attr::ML_DATA_ID, instance.id.clone());
    }
}

fn respond(answer: Answer, write: impl FnOnce(Vec<Entry>) -> Response) -> Response {
    let mut response = answer
        .result
        .map_or_else(IntoResponse::into_response, write);
    let headers = [
        (CACHE_STATUS, answer.cache_status.header()),
        (SERVER_TIMING, answer.timing.header()),
    ];
    for (name, value) in headers {
        // Both are ASCII words and numbers; any other value would be left out.
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A JSON answer. The bodies of this crate have no keys or numbers that JSON cannot have.
pub(crate) fn json<T: Serialize>(body: &T) -> Response {
    // One prediction has about 400 bytes.
    let mut text = Vec::with_capacity(512);
    let body = serde_json::to_writer(&mut text, body).map_or_else(|_| Vec::new(), |()| text);
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}
