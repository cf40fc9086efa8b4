//! `GET /openapi.json`: the description of the gateway's API.
//!
//! `/v1` is described beside its handlers, `/v2` by the table of calls that are passed through.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use axum::routing::MethodFilter;
use http::{HeaderValue, header};
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::api;
use crate::passthrough::{CALLS, OipCall};
use crate::{drift, feedback, models, predictions, quality, search};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Throughline gateway",
        description = "Predictions from a store, or from a model service that computes them. `/v2` is the Open Inference Protocol of the model service."
    ),
    paths(
        predictions::create,
        predictions::one,
        search::search,
        feedback::create,
        models::list,
        drift::read,
        quality::read,
        document
    ),
    components(schemas(api::Problem, api::OipError)),
    tags(
        (name = "predictions", description = "Predictions, stored or computed"),
        (name = "models", description = "Models and their variants"),
        (name = "inference", description = "The Open Inference Protocol V2, passed through with no byte changed")
    )
)]
struct V1;

static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| description().to_string().into_bytes());

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "models",
    responses(
        (status = 200, description = "An OpenAPI 3.1 document", body = Object, content_type = "application/json"),
        api::Refused,
    )
)]
pub(crate) async fn document() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], BODY.as_slice()).into_response()
}

fn description() -> Value {
    let mut document = serde_json::to_value(V1::openapi()).unwrap_or_default();
    for call in &CALLS {
        let is_post = call.method == MethodFilter::POST;
        let method = if is_post { "post" } else { "get" };
        document["paths"][call.path] = json!({ method: operation(call) });
    }
    // No operation demands it, since a gateway on loopback has no keys.
    document["components"]["securitySchemes"] = json!({
        "apiKey": { "type": "http", "scheme": "bearer", "description": "With `--api-keys`, every path needs `Authorization: Bearer KEY`" }
    });
    document
}

fn operation(call: &OipCall) -> Value {
    let names = ["model_name", "version"].into_iter();
    let parameters: Vec<_> = names
        .filter(|name| call.path.contains(&format!("{{{name}}}")))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect();
    let mut operation = json!({
        "tags": ["inference"],
        "operationId": call.id,
        "summary": call.summary,
        "parameters": parameters,
        "responses": responses(call),
    });
    if call.method == MethodFilter::POST {
        operation["requestBody"] = json!({
            "description": "A body of the protocol; `Inference-Header-Content-Length` is the length of the JSON before binary tensors",
            "content": content(call, &if is_infer(call) { inputs() } else { object() }),
        });
    }
    operation
}

fn responses(call: &OipCall) -> Value {
    let success = if call.path == "/v2/repository/index" {
        objects()
    } else {
        object()
    };
    let mut responses = Map::new();
    let answer = json!({
        "description": "The model service's own answer; tensors of an inference may follow the JSON as binary data",
        "content": content(call, &success),
    });
    responses.insert("200".to_owned(), answer);
    let error = json!({ "$ref": "#/components/schemas/OipError" });
    for (status, description) in ERRORS {
        let content = json!({ "application/json": { "schema": error } });
        let answer = json!({ "description": description, "content": content });
        responses.insert(status.to_owned(), answer);
    }
    responses.into()
}

/// The gateway's own errors, and those of the model service that the protocol names.
const ERRORS: [(&str, &str); 12] = [
    ("400", "Malformed tensors or body"),
    ("401", "The request has no API key that the gateway knows"),
    ("404", "Unknown model or version"),
    ("405", "The path does not take this method"),
    ("413", "The body is larger than 1 MiB"),
    (
        "415",
        "The model service does not support the content encoding",
    ),
    ("422", "The model cannot fulfil the request"),
    ("429", "Too many requests in flight; see Retry-After"),
    ("500", "A fault of the gateway or the model"),
    ("502", "The model service broke off"),
    ("503", "The model service is unavailable; see Retry-After"),
    ("504", "Too slow"),
];

/// JSON of this schema; bodies of inferences may also be binary.
fn content(call: &OipCall, schema: &Value) -> Value {
    let mut content = json!({ "application/json": { "schema": schema } });
    if is_infer(call) {
        content["application/octet-stream"] = json!({ "schema": object() });
    }
    content
}

fn is_infer(call: &OipCall) -> bool {
    call.path.ends_with("/infer")
}

/// The body of an inference, as far as it is the same for every model.
fn inputs() -> Value {
    json!({ "type": "object", "properties": { "inputs": objects() }, "required": ["inputs"] })
}

fn objects() -> Value {
    json!({ "type": "array", "items": object() })
}

fn object() -> Value {
    json!({ "type": "object" })
}
