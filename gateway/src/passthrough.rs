//! `/v2`: the Open Inference Protocol of the model service, passed through the gateway with no byte
//! changed.
//!
//! One table lists the calls; the router and `openapi.json` are both made from it.

mod target;

use std::collections::HashMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use protocol::oip::HEADER_LENGTH;
use runtime::Deadline;

use crate::discovery::Discovery;
use crate::dispatch::{Breakers, Dispatcher};
use crate::error::{ApiError, OipFailure};
use crate::model_client::{CallError, InferenceCall, ModelClient};
use crate::timing::SERVER_TIMING;
use crate::traffic::Variant;
use crate::traffic::watch::SharedTraffic;

/// One call of the protocol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OipCall {
    pub(crate) method: MethodFilter,
    /// The path in the router's form; `{model_name}` and `{version}` are its parameters.
    pub(crate) path: &'static str,
    /// For `openapi.json`.
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
}

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;

const fn call(
    method: MethodFilter,
    path: &'static str,
    id: &'static str,
    summary: &'static str,
) -> OipCall {
    OipCall {
        method,
        path,
        id,
        summary,
    }
}

/// Every call that is passed through.
#[rustfmt::skip] // A table reads best with one call in a line.
pub(crate) const CALLS: [OipCall; 17] = [
    call(GET, "/v2", "server_metadata", "Name, version and extensions of the model service"),
    call(GET, "/v2/", "server_metadata_slash", "The same, as the protocol's own OpenAPI file writes it"),
    call(GET, "/v2/health/live", "server_live", "Whether the model service lives"),
    call(GET, "/v2/health/ready", "server_ready", "Whether the model service is ready"),
    call(GET, "/v2/models", "models", "Names of the models"),
    call(GET, "/v2/models/stats", "all_stats", "Statistics of all models"),
    call(GET, "/v2/models/{model_name}", "model_metadata", "Versions, inputs and outputs of a model"),
    call(GET, "/v2/models/{model_name}/ready", "model_ready", "Whether a model is ready"),
    call(GET, "/v2/models/{model_name}/config", "model_config", "Configuration of a model"),
    call(GET, "/v2/models/{model_name}/stats", "model_stats", "Statistics of a model"),
    call(GET, "/v2/models/{model_name}/versions/{version}", "version_metadata", "Inputs and outputs of a version"),
    call(GET, "/v2/models/{model_name}/versions/{version}/ready", "version_ready", "Whether a version is ready"),
    call(GET, "/v2/models/{model_name}/versions/{version}/config", "version_config", "Configuration of a version"),
    call(GET, "/v2/models/{model_name}/versions/{version}/stats", "version_stats", "Statistics of a version"),
    call(POST, "/v2/models/{model_name}/infer", "infer", "Inference by the version that answers"),
    call(POST, "/v2/models/{model_name}/versions/{version}/infer", "version_infer", "Inference by one version"),
    call(POST, "/v2/repository/index", "repository_index", "The models and their states"),
];

/// The headers of a request that reach the model service. The HTTP client adds the trace headers.
const REQUEST_HEADERS: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::USER_AGENT,
    HeaderName::from_static(HEADER_LENGTH),
];
/// The headers of an answer that reach the client.
const RESPONSE_HEADERS: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    // With 415: the codings that are understood.
    header::ACCEPT_ENCODING,
    header::VARY,
    header::RETRY_AFTER,
    SERVER_TIMING,
    HeaderName::from_static(HEADER_LENGTH),
];

/// Passes requests to a variant of their model.
#[derive(Clone)]
pub(crate) struct Passthrough {
    pub(crate) traffic: SharedTraffic,
    pub(crate) discovery: Discovery,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) client: ModelClient,
    pub(crate) breakers: Breakers,
}

/// A request as it came.
#[derive(Clone)]
pub(crate) struct Forwarded {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

/// Handles every call of the table.
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
    let Path(names) = path.map_err(|_| OipFailure(ApiError::UnknownPath))?;
    let call = Forwarded {
        method,
        uri,
        headers,
        body,
    };
    // Clients that want no version in particular may leave the place of its name empty.
    let version = names.get("version").filter(|version| !version.is_empty());
    let answer = match names.get("model_name") {
        None => through.ask_service(call, deadline).await,
        Some(model) => through.ask_model(model, version, call, deadline).await,
    };
    let (head, body) = answer.map_err(OipFailure)?.into_parts();
    let mut response = (head.status, body).into_response();
    // axum has set a content type for `Bytes`; the service's own is copied.
    response.headers_mut().remove(header::CONTENT_TYPE);
    copy(&RESPONSE_HEADERS, &head.headers, response.headers_mut());
    Ok(response)
}

impl InferenceCall for Forwarded {
    type Reply = http::Response<Bytes>;

    async fn send(
        self,
        client: &ModelClient,
        _: &str,
        variant: &Variant,
        time: Duration,
    ) -> Result<Self::Reply, CallError> {
        client.send(variant, self.request(variant)?, time).await
    }

    fn error(reply: &Self::Reply) -> Option<CallError> {
        CallError::of_status(reply.status())
    }
}

impl Forwarded {
    /// The same request for a variant.
    fn request(self, variant: &Variant) -> Result<Request<Bytes>, CallError> {
        // Some servers redirect `/v2/` to an address that our clients must not see.
        let path = self
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let path = if path == "/v2/" { "/v2" } else { path };
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("{}{}", variant.service, &path[1..]))
            .body(self.body)
            .map_err(CallError::Address)?;
        copy(&REQUEST_HEADERS, &self.headers, request.headers_mut());
        // The HTTP client would add its own header and decompress an answer that the client did not
        // want compressed.
        request
            .headers_mut()
            .entry(header::ACCEPT_ENCODING)
            .or_insert(HeaderValue::from_static("identity"));
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
