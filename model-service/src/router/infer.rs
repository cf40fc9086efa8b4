//! `POST /v2/models/{model_name}[/versions/{model_version}]/infer`.

use std::sync::Arc;
use std::time::Instant;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use protocol::oip::{
    HEADER_LENGTH, InferOutput, InferRequest, InferResponse, Parameters, RequestedOutput, Tensor,
    TensorData, parse_header_length,
};
use runtime::Deadline;

use super::body;
use super::reads::ModelPath;
use crate::error::RequestError;
use crate::features::FeatureStore;
use crate::input::Input;
use crate::predict::{Prediction, Predictor};
use crate::repository::{Catalog, Loaded};

/// What an inference needs.
#[derive(Debug)]
pub(crate) struct Inference {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) features: FeatureStore,
    pub(crate) predictor: Predictor,
}

/// Most rows of one request.
const MAX_ROWS: usize = 1000;

const DATA_ID: &str = "data_id";
const FEATURES: &str = "features";
const LABEL: &str = "label";
const CONFIDENCE: &str = "confidence";
const PROBABILITIES: &str = "probabilities";
/// Only there when a row failed: the codes of [`RowError`](crate::input::RowError), empty for good rows.
const ERROR: &str = "error";

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static HEADER_LENGTH_NAME: HeaderName = HeaderName::from_static(HEADER_LENGTH);

/// What one request asks to be predicted.
enum Asked {
    Entities(Tensor),
    Features(Input),
}

pub(super) async fn infer(
    State(inference): State<Arc<Inference>>,
    path: Result<Path<ModelPath>, PathRejection>,
    Extension(deadline): Extension<Deadline>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RequestError> {
    let path = ModelPath::of(path)?;
    let loaded = inference.catalog.find(&path.model_name, path.version());
    let loaded = loaded.map_err(RequestError::NotServed)?;
    let mut request = decode(&headers, body)?;
    let deadline = match request.timeout().map_err(RequestError::Decode)? {
        Some(timeout) => deadline.within(timeout),
        None => deadline,
    };
    let mut features_ms = None;
    let (input, data_id) = match asked(&mut request, &loaded)? {
        Asked::Features(input) => (input, None),
        Asked::Entities(tensor) => {
            let begin = Instant::now();
            let ids = tensor.as_texts().map_err(RequestError::Decode)?;
            let input = inference
                .features
                .lookup(&loaded.manifest, &ids, deadline)
                .await;
            features_ms = Some(begin.elapsed().as_secs_f64() * 1e3);
            let input = input.map_err(RequestError::Features)?;
            if input.is_all_unknown() {
                return Err(RequestError::AllUnknown);
            }
            let single = if let [id] = ids[..] {
                Some(id.to_owned())
            } else {
                None
            };
            (input, single)
        }
    };
    let failures = error_output(&input);
    let predicted = inference
        .predictor
        .predict(&loaded, input, data_id.as_deref(), deadline)
        .await;
    let prediction = predicted.map_err(RequestError::Engine)?;
    let timing = server_timing(features_ms, &prediction);
    respond(request, &loaded, prediction, failures, timing)
}

fn decode(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<InferRequest, RequestError> {
    let length = headers
        .get(&HEADER_LENGTH_NAME)
        .map(|value| parse_header_length(value.as_bytes()));
    let length = length.transpose().map_err(RequestError::Decode)?;
    let body = body::decoded(headers, body)?;
    let request = InferRequest::decode(&body, length).map_err(RequestError::Decode)?;
    let outputs = [LABEL, CONFIDENCE, PROBABILITIES, ERROR];
    request
        .check_outputs(&outputs)
        .map_err(RequestError::Decode)?;
    Ok(request)
}

/// Takes the one input out of the request: its data move on to the model without a copy.
fn asked(request: &mut InferRequest, loaded: &Loaded) -> Result<Asked, RequestError> {
    let wrong = |text: String| Err(RequestError::Input(text));
    let tensor = match (request.inputs.pop(), request.inputs.is_empty()) {
        (Some(input), true) => input.tensor,
        _ => {
            return wrong(format!(
                "exactly one input is needed: {DATA_ID} or {FEATURES}"
            ));
        }
    };
    let rows = tensor.shape.first().copied().unwrap_or(0);
    if rows == 0 {
        return wrong("the batch has no rows".to_owned());
    }
    if rows > MAX_ROWS {
        return Err(RequestError::TooManyRows {
            rows,
            limit: MAX_ROWS,
        });
    }
    let width = loaded.manifest.features.len();
    match (tensor.name.as_str(), &tensor.shape[..]) {
        (DATA_ID, [_] | [_, 1]) if tensor.as_bytes().is_some() => Ok(Asked::Entities(tensor)),
        (DATA_ID, _) => wrong(format!("input {DATA_ID} must be BYTES of shape [n]")),
        (FEATURES, &[_, actual]) if actual == width => match numbers(tensor.data) {
            Some(values) => Ok(Asked::Features(Input::from_values(values, width))),
            None => wrong(format!("input {FEATURES} must be FP32")),
        },
        (FEATURES, _) => wrong(format!(
            "input {FEATURES} must be FP32 of shape [n, {width}]"
        )),
        _ => wrong(format!("the only inputs are {DATA_ID} and {FEATURES}")),
    }
}

/// FP32 as it is; other numbers converted, since clients of dynamic languages send what their arrays happen to hold.
fn numbers(data: TensorData) -> Option<Vec<f32>> {
    Some(match data {
        TensorData::Fp32(values) => values,
        TensorData::Fp64(values) => values.into_iter().map(|value| value as f32).collect(),
        TensorData::Int64(values) => values.into_iter().map(|value| value as f32).collect(),
        TensorData::Int32(values) => values.into_iter().map(|value| value as f32).collect(),
        _ => return None,
    })
}

fn error_output(input: &Input) -> Option<Tensor> {
    let code =
        |failure: &Option<crate::input::RowError>| failure.map_or("", |failure| failure.code());
    input
        .has_failures()
        .then(|| Tensor::from_texts(ERROR, input.failures.iter().map(code)))
}

fn respond(
    mut request: InferRequest,
    loaded: &Loaded,
    prediction: Prediction,
    failures: Option<Tensor>,
    timing: Option<HeaderValue>,
) -> Result<Response, RequestError> {
    // A client that chose its outputs without knowing of failures must not take them for predictions.
    if failures.is_some() && !request.wants_output(ERROR) {
        request.outputs.push(RequestedOutput {
            name: ERROR.to_owned(),
            parameters: Parameters::default(),
        });
    }
    let manifest = &loaded.manifest;
    let mut parameters = Parameters::default();
    parameters.insert("run_id", manifest.run_id.as_str());
    if let Some(traceparent) = &prediction.traceparent {
        parameters.insert("traceparent", traceparent.as_str());
    }
    let mut outputs = outputs(&manifest.classes, prediction);
    outputs.extend(failures.map(InferOutput::from));
    let response = InferResponse {
        model_name: manifest.name.clone(),
        model_version: Some(manifest.version.clone()),
        id: request.id.clone(),
        parameters,
        outputs,
    };
    let encoded = response
        .encode_for(&request)
        .map_err(RequestError::Encode)?;
    let content_type = HeaderValue::from_static(encoded.content_type());
    let length = encoded.header_length;
    let mut response = Response::new(Body::from(encoded.body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.extend(length.map(|length| (HEADER_LENGTH_NAME.clone(), HeaderValue::from(length))));
    headers.extend(timing.map(|timing| (SERVER_TIMING.clone(), timing)));
    Ok(response)
}

fn outputs(classes: &[String], prediction: Prediction) -> Vec<InferOutput> {
    let rows = prediction.classes.len();
    let labels: Vec<Bytes> = classes
        .iter()
        .map(|class| Bytes::copy_from_slice(class.as_bytes()))
        .collect();
    let label = |class: Option<usize>| class.map_or_else(Bytes::new, |class| labels[class].clone());
    let labels = prediction.classes.into_iter().map(label).collect();
    let tensor = |name: &str, shape: Vec<usize>, data| Tensor {
        name: name.to_owned(),
        shape,
        data,
    };
    let confidences = TensorData::Fp32(prediction.confidences);
    let probabilities = TensorData::Fp32(prediction.probabilities);
    vec![
        tensor(LABEL, vec![rows], TensorData::Bytes(labels)).into(),
        tensor(CONFIDENCE, vec![rows], confidences).into(),
        tensor(PROBABILITIES, vec![rows, classes.len()], probabilities).into(),
    ]
}

/// Where the time went, for browsers' tools and for the gateway: milliseconds with fractions (W3C Server Timing).
fn server_timing(features_ms: Option<f64>, prediction: &Prediction) -> Option<HeaderValue> {
    let mut parts = Vec::new();
    parts.extend(features_ms.map(|ms| format!("features;dur={ms:.3}")));
    if let Some(timing) = prediction.timing {
        let (queue, compute) = (
            timing.queue.as_secs_f64() * 1e3,
            timing.compute.as_secs_f64() * 1e3,
        );
        parts.push(format!("queue;dur={queue:.3}, compute;dur={compute:.3}"));
    }
    HeaderValue::try_from(parts.join(", "))
        .ok()
        .filter(|value| !value.is_empty())
}
