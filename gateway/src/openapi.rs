//! `GET /openapi.json`: the description of everything that the gateway answers.
//!
//! `/v1` is described beside its handlers; `/v2` is described from the table of calls that are passed on.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, Required, ResponseBuilder};
use utoipa::{OpenApi, PartialSchema as _};

use crate::api;
use crate::passthrough::{CALLS, CallMethod, OipCall};
use crate::{models, predictions, search};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Throughline gateway",
        description = "Predictions from a store, or from a model service that computes them. `/v2` is the Open Inference Protocol of the model service."
    ),
    paths(predictions::create, predictions::one, search::search, models::list, document),
    components(schemas(api::Problem, api::OipError)),
    tags(
        (name = "predictions", description = "Predictions, stored or computed"),
        (name = "models", description = "What can be asked"),
        (name = "inference", description = "The Open Inference Protocol V2, passed through with no byte changed")
    )
)]
struct V1;

static BODY: LazyLock<Vec<u8>> =
    LazyLock::new(|| serde_json::to_vec(&describe()).unwrap_or_default());

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "models",
    responses(
        (status = 200, description = "An OpenAPI 3.1 document", body = Object, content_type = "application/json"),
        (status = 405, description = "The path does not take this method", body = api::Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many requests in flight; see Retry-After", body = api::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn document() -> Response {
    (
        [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )],
        BODY.as_slice(),
    )
        .into_response()
}

/// The whole document.
pub(crate) fn describe() -> Document {
    let mut document = V1::openapi();
    for call in &CALLS {
        let item = PathItem::new(method(call.method), operation(call));
        document.paths.paths.insert(call.path.to_owned(), item);
    }
    document
}

fn method(method: CallMethod) -> HttpMethod {
    match method {
        CallMethod::Get => HttpMethod::Get,
        CallMethod::Post => HttpMethod::Post,
    }
}

fn operation(call: &OipCall) -> Operation {
    let infer = call.path.ends_with("/infer");
    let answer = if call.path == "/v2/repository/index" {
        list()
    } else {
        anything()
    };
    let mut success = ResponseBuilder::new()
        .description("The model service's own answer; tensors of an inference may follow the JSON as binary data")
        .content("application/json", answer);
    if infer {
        success = success.content("application/octet-stream", anything());
    }
    let mut operation = OperationBuilder::new()
        .tag("inference")
        .operation_id(Some(call.id))
        .summary(Some(call.summary))
        .response("200", success.build());
    for (status, description) in ERRORS {
        operation = operation.response(status, error(description));
    }
    for name in ["model_name", "version"]
        .into_iter()
        .filter(|name| call.path.contains(&format!("{{{name}}}")))
    {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True);
        operation = operation.parameter(parameter.schema(Some(String::schema())));
    }
    if call.method == CallMethod::Post {
        let mut body = RequestBodyBuilder::new().description(Some(
            "A body of the protocol; `Inference-Header-Content-Length` tells where binary tensors begin",
        ));
        body = body.content(
            "application/json",
            if infer { inputs() } else { anything() },
        );
        if infer {
            body = body.content("application/octet-stream", anything());
        }
        operation = operation.request_body(Some(body.build()));
    }
    operation.build()
}

/// The gateway's own errors, and those of the model service that the protocol names.
const ERRORS: [(&str, &str); 11] = [
    ("400", "Malformed tensors or body"),
    ("404", "Unknown model or version"),
    ("405", "The path does not take this method"),
    ("413", "The body is larger than 1 MiB"),
    (
        "415",
        "The model service does not know the content encoding",
    ),
    ("422", "The model cannot fulfil the request"),
    ("429", "Too many requests in flight; see Retry-After"),
    ("500", "A fault of the gateway or the model"),
    ("502", "The model service broke off"),
    ("503", "The model service is unavailable; see Retry-After"),
    ("504", "Too slow"),
];

fn error(description: &str) -> utoipa::openapi::Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("OipError")));
    ResponseBuilder::new()
        .description(description)
        .content("application/json", body.build())
        .build()
}

/// The body of an inference call as far as every model has it.
fn inputs() -> utoipa::openapi::Content {
    let inputs = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Object));
    let body = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("inputs", inputs)
        .required("inputs");
    ContentBuilder::new().schema(Some(body)).build()
}

/// A list of objects.
fn list() -> utoipa::openapi::Content {
    let items = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Object));
    ContentBuilder::new().schema(Some(items)).build()
}

fn anything() -> utoipa::openapi::Content {
    ContentBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::Object)))
        .build()
}
