//! `/v2`: the Open Inference Protocol of the model service, through the gateway with no byte changed.
//!
//! One table says which calls there are; the router and `openapi.json` are both made from it.

mod route;

use std::collections::HashMap;

use axum::Extension;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Uri, header};
use protocol::oip::HEADER_LENGTH;
use runtime::Deadline;

use crate::error::{ApiError, OipFailure};
use crate::read_through::Parts;
use crate::routes::Variant;
use crate::timing::SERVER_TIMING;

/// One call of the protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) method: CallMethod,
    /// The path as the router knows it; `{model_name}` and `{version}` are its parameters.
    pub(crate) path: &'static str,
    /// For `openapi.json`.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
}

/// The methods that the protocol has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallMethod {
    Get,
    Post,
}

const fn get(path: &'static str, id: &'static str, summary: &'static str) -> Call {
    Call {
        method: CallMethod::Get,
        path,
        id,
        summary,
    }
}

const fn post(path: &'static str, id: &'static str, summary: &'static str) -> Call {
    Call {
        method: CallMethod::Post,
        path,
        id,
        summary,
    }
}

/// Everything that is passed on.
pub(crate) const CALLS: [Call; 17] = [
    get(
        "/v2",
        "server_metadata",
        "Name, version and extensions of the model service",
    ),
    get(
        "/v2/",
        "server_metadata_slash",
        "The same, as the protocol's own OpenAPI file writes it",
    ),
    get(
        "/v2/health/live",
        "server_live",
        "Whether the model service lives",
    ),
    get(
        "/v2/health/ready",
        "server_ready",
        "Whether the model service is ready",
    ),
    get("/v2/models", "models", "Names of the models"),
    get("/v2/models/stats", "all_stats", "Statistics of all models"),
    get(
        "/v2/models/{model_name}",
        "model_metadata",
        "Versions, inputs and outputs of a model",
    ),
    get(
        "/v2/models/{model_name}/ready",
        "model_ready",
        "Whether a model is ready",
    ),
    get(
        "/v2/models/{model_name}/config",
        "model_config",
        "Configuration of a model",
    ),
    get(
        "/v2/models/{model_name}/stats",
        "model_stats",
        "Statistics of a model",
    ),
    get(
        "/v2/models/{model_name}/versions/{version}",
        "version_metadata",
        "Inputs and outputs of a version",
    ),
    get(
        "/v2/models/{model_name}/versions/{version}/ready",
        "version_ready",
        "Whether a version is ready",
    ),
    get(
        "/v2/models/{model_name}/versions/{version}/config",
        "version_config",
        "Configuration of a version",
    ),
    get(
        "/v2/models/{model_name}/versions/{version}/stats",
        "version_stats",
        "Statistics of a version",
    ),
    post(
        "/v2/models/{model_name}/infer",
        "infer",
        "Inference by the version that answers",
    ),
    post(
        "/v2/models/{model_name}/versions/{version}/infer",
        "version_infer",
        "Inference by one version",
    ),
    post(
        "/v2/repository/index",
        "repository_index",
        "The models and their states",
    ),
];

/// What a model service is told of the client's request. Trace headers are the HTTP client's own affair.
const REQUEST_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::USER_AGENT,
    HeaderName::from_static(HEADER_LENGTH),
];
/// What the client is told of the service's answer.
const RESPONSE_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::VARY,
    header::RETRY_AFTER,
    SERVER_TIMING,
    HeaderName::from_static(HEADER_LENGTH),
];

/// Hands requests on to a variant of their model.
#[derive(Clone)]
pub(crate) struct Passthrough {
    pub(crate) parts: Parts,
}

/// Answers every call of the table.
pub(crate) async fn forward(
    State(through): State<Passthrough>,
    Extension(deadline): Extension<Deadline>,
    path: Result<Path<HashMap<String, String>>, PathRejection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, OipFailure> {
    let body = body.map_err(|rejection| OipFailure(rejection.into()))?;
    let names = path
        .map(|Path(names)| names)
        .map_err(|_| OipFailure(ApiError::UnknownPath))?;
    let call = Forwarded {
        method,
        uri,
        headers,
        body,
    };
    let answer = match names.get("model_name") {
        None => through.ask_service(&call, deadline).await,
        Some(model) => {
            through
                .ask_model(model, names.get("version"), &call, deadline)
                .await
        }
    };
    let (head, body) = answer.map_err(OipFailure)?.into_parts();
    let mut response = (head.status, body).into_response();
    // `Bytes` would be told as octets, whatever the service said.
    response.headers_mut().remove(header::CONTENT_TYPE);
    copy(&RESPONSE_HEADERS, &head.headers, response.headers_mut());
    Ok(response)
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Forwarded {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Forwarded {
    /// The same request for a variant.
    fn request(&self, variant: &Variant) -> Result<Request<Bytes>, ApiError> {
        // Some servers answer the second form by a redirect to an address that a client of ours should not see.
        let path = self.uri.path_and_query().map_or("/", |path| {
            if path == "/v2/" { "/v2" } else { path.as_str() }
        });
        let request = Request::builder().method(&self.method).uri(format!(
            "{}{}",
            variant.service,
            &path[1..]
        ));
        let mut request = request
            .body(self.body.clone())
            .map_err(|_| ApiError::UnknownPath)?;
        copy(&REQUEST_HEADERS, &self.headers, request.headers_mut());
        // Without a wish of the client's, none of the HTTP client's own: it would undo what it asked for.
        request
            .headers_mut()
            .entry(header::ACCEPT_ENCODING)
            .or_insert(header::HeaderValue::from_static("identity"));
        Ok(request)
    }
}

fn copy(names: &[HeaderName], from: &HeaderMap, to: &mut HeaderMap) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name.clone(), value.clone());
        }
    }
}
