//! `POST /v2/models/{model_name}[/versions/{model_version}]/infer`.

use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequestParts, Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use protocol::RowErrorCode;
use protocol::oip::{
    DecodeError, HEADER_LENGTH, InferOutput, InferRequest, InferResponse, Parameters,
    RequestedOutput, Tensor, TensorData, parse_header_length,
};
use runtime::Deadline;

use super::body;
use super::reads::ModelPath;
use crate::error::RequestError;
use crate::feature_rows::FeatureRows;
use crate::features::FeatureStore;
use crate::predict::{BatchPrediction, Predictor};
use crate::repository::{Label, Loaded, ModelRepository};

/// State of the inference routes.
#[derive(Debug)]
pub(crate) struct InferState {
    pub(crate) repository: Arc<ModelRepository>,
    pub(crate) features: FeatureStore,
    pub(crate) predictor: Predictor,
}

/// The most rows of one request.
const MAX_ROWS: usize = 1000;

const DATA_ID: &str = "data_id";
const FEATURES: &str = "features";
const TEXT: &str = "text";
const LABEL: &str = "label";
const CONFIDENCE: &str = "confidence";
const PROBABILITIES: &str = "probabilities";
/// The only output of a regression.
const VALUE: &str = "value";
/// The only output of a model that only encodes.
const EMBEDDING: &str = "embedding";
/// Bytes that the header `server-timing` takes, unless a stage takes minutes.
const USUAL_TIMING: usize = 80;
/// Only in answers with a failed row: the [`RowErrorCode`] of each row, empty for good rows.
const ERROR: &str = "error";

static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
static HEADER_LENGTH_NAME: HeaderName = HeaderName::from_static(HEADER_LENGTH);

/// The input of a request: ids, whose features the feature store has, the features themselves, or
/// texts.
enum RequestInput {
    DataIds(Tensor),
    Features(FeatureRows),
    Texts(Vec<Bytes>),
}

/// The value of [`HEADER_LENGTH`]. axum's extractor of headers copies them all.
pub(super) struct HeaderLength(Result<Option<usize>, DecodeError>);

impl<S: Sync> FromRequestParts<S> for HeaderLength {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let length = parts.headers.get(&HEADER_LENGTH_NAME);
        let length = length.map(|value| parse_header_length(value.as_bytes()));
        Ok(Self(length.transpose()))
    }
}

pub(super) async fn infer(
    State(state): State<Arc<InferState>>,
    path: Result<Path<ModelPath>, PathRejection>,
    Extension(deadline): Extension<Deadline>,
    length: HeaderLength,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, RequestError> {
    let path = ModelPath::of(path)?;
    let loaded = state.repository.find(&path.model_name, path.version());
    let loaded = loaded.map_err(RequestError::NotServed)?;
    let mut request = decode(length, body, &loaded)?;
    let deadline = match request.timeout().map_err(RequestError::Decode)? {
        Some(timeout) => deadline.within(timeout),
        None => deadline,
    };
    let (predictor, mut features_ms) = (&state.predictor, None);
    let prediction = match take_input(&mut request, &loaded)? {
        RequestInput::Texts(texts) => predictor.predict_texts(&loaded, texts, deadline).await,
        RequestInput::Features(rows) => predictor.predict(&loaded, rows, None, deadline).await,
        RequestInput::DataIds(tensor) => {
            let begin = Instant::now();
            let ids = tensor.as_texts().map_err(RequestError::Decode)?;
            let rows = state
                .features
                .lookup(&loaded.manifest, &ids, deadline)
                .await
                .map_err(RequestError::Features)?;
            features_ms = Some(milliseconds(begin.elapsed()));
            if rows.is_all_unknown() {
                return Err(RequestError::UnknownEntities);
            }
            let single = if let [id] = ids[..] { Some(id) } else { None };
            predictor.predict(&loaded, rows, single, deadline).await
        }
    };
    let prediction = prediction.map_err(RequestError::Engine)?;
    let timing = server_timing(features_ms, &prediction);
    respond(request, &loaded, prediction, timing)
}

fn decode(
    HeaderLength(length): HeaderLength,
    body: Result<Bytes, BytesRejection>,
    loaded: &Loaded,
) -> Result<InferRequest, RequestError> {
    let length = length.map_err(RequestError::Decode)?;
    let body = body::whole(body)?;
    let request = InferRequest::decode(&body, length).map_err(RequestError::Decode)?;
    let manifest = &loaded.manifest;
    let outputs: &[&str] = match (&manifest.regression, manifest.embedding()) {
        (Some(_), _) => &[VALUE, ERROR],
        (None, Some(_)) => &[EMBEDDING, ERROR],
        (None, None) => &[LABEL, CONFIDENCE, PROBABILITIES, ERROR],
    };
    request
        .check_outputs(outputs)
        .map_err(RequestError::Decode)?;
    Ok(request)
}

/// Takes the one input out of the request, so that its data reach the model without a copy.
fn take_input(request: &mut InferRequest, loaded: &Loaded) -> Result<RequestInput, RequestError> {
    let wrong = |text: String| Err(RequestError::Input(text));
    let tensor = match (request.inputs.pop(), request.inputs.is_empty()) {
        (Some(input), true) => input.tensor,
        _ => {
            return wrong(format!(
                "exactly one input is needed: {}",
                input_names(loaded)
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
    if loaded.tokenizer.is_some() {
        return take_texts(tensor);
    }
    let width = loaded.manifest.features.len();
    match (&*tensor.name, &tensor.shape[..]) {
        (DATA_ID, [_] | [_, 1]) if tensor.as_bytes().is_some() => Ok(RequestInput::DataIds(tensor)),
        (DATA_ID, _) => wrong(format!("input {DATA_ID} must be BYTES of shape [n]")),
        (FEATURES, &[_, actual]) if actual == width => match numbers(tensor.data) {
            Some(values) => Ok(RequestInput::Features(FeatureRows::from_values(
                values, width,
            ))),
            None => wrong(format!("input {FEATURES} must be FP32")),
        },
        (FEATURES, _) => wrong(format!(
            "input {FEATURES} must be FP32 of shape [n, {width}]"
        )),
        _ => wrong(format!("the only inputs are {DATA_ID} and {FEATURES}")),
    }
}

fn take_texts(tensor: Tensor) -> Result<RequestInput, RequestError> {
    if tensor.name != TEXT {
        return Err(RequestError::Input(format!("the only input is {TEXT}")));
    }
    match (&tensor.shape[..], tensor.data) {
        ([_] | [_, 1], TensorData::Bytes(texts)) => Ok(RequestInput::Texts(texts)),
        _ => Err(RequestError::Input(format!(
            "input {TEXT} must be BYTES of shape [n]"
        ))),
    }
}

fn input_names(loaded: &Loaded) -> String {
    match loaded.tokenizer {
        Some(_) => TEXT.to_owned(),
        None => format!("{DATA_ID} or {FEATURES}"),
    }
}

/// The values as FP32. Clients of dynamic languages send whatever number type their arrays have.
fn numbers(data: TensorData) -> Option<Vec<f32>> {
    Some(match data {
        TensorData::Fp32(values) => values,
        TensorData::Fp64(values) => values.into_iter().map(|value| value as f32).collect(),
        TensorData::Int64(values) => values.into_iter().map(|value| value as f32).collect(),
        TensorData::Int32(values) => values.into_iter().map(|value| value as f32).collect(),
        _ => return None,
    })
}

fn error_output(errors: &[Option<RowErrorCode>]) -> Option<Tensor> {
    let words = errors
        .iter()
        .map(|error| error.map_or("", RowErrorCode::as_str));
    let any = errors.iter().any(Option::is_some);
    any.then(|| Tensor::from_texts(ERROR, words))
}

fn respond(
    mut request: InferRequest,
    loaded: &Loaded,
    mut prediction: BatchPrediction,
    timing: Option<HeaderValue>,
) -> Result<Response, RequestError> {
    let errors = error_output(&prediction.errors);
    // A client that chose its outputs without `error` must not take failed rows for predictions.
    if errors.is_some() && !request.wants_output(ERROR) {
        request.outputs.push(RequestedOutput {
            name: ERROR.to_owned(),
            parameters: Parameters::default(),
        });
    }
    let manifest = &loaded.manifest;
    let mut parameters = Parameters::default();
    parameters.insert("run_id", manifest.run_id.as_str());
    if let Some(traceparent) = prediction.traceparent.take() {
        parameters.insert("traceparent", traceparent);
    }
    let mut outputs = match (&manifest.regression, manifest.embedding()) {
        (Some(_), _) => vec![numbers_of(VALUE, None, prediction).into()],
        (None, Some(width)) => vec![numbers_of(EMBEDDING, Some(width), prediction).into()],
        (None, None) => outputs(&loaded.names.labels, prediction),
    };
    outputs.extend(errors.map(InferOutput::from));
    let response = InferResponse {
        model_name: manifest.name.clone(),
        model_version: Some(manifest.version.clone()),
        id: request.id.take(),
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

/// One number per row, or a vector of `width` numbers.
fn numbers_of(name: &'static str, width: Option<usize>, prediction: BatchPrediction) -> Tensor {
    Tensor {
        name: Cow::Borrowed(name),
        shape: std::iter::once(prediction.errors.len())
            .chain(width)
            .collect(),
        data: TensorData::Fp32(prediction.probabilities),
    }
}

fn outputs(labels: &[Label], prediction: BatchPrediction) -> Vec<InferOutput> {
    let (rows, width) = (prediction.classes.len(), labels.len());
    let labels = prediction
        .classes
        .into_iter()
        .map(|class| class.map_or_else(Bytes::new, |class| labels[class].bytes.clone()))
        .collect();
    let tensor = |name: &'static str, shape: Vec<usize>, data| Tensor {
        name: Cow::Borrowed(name),
        shape,
        data,
    };
    let confidences = TensorData::Fp32(prediction.confidences);
    let probabilities = TensorData::Fp32(prediction.probabilities);
    vec![
        tensor(LABEL, vec![rows], TensorData::Bytes(labels)).into(),
        tensor(CONFIDENCE, vec![rows], confidences).into(),
        tensor(PROBABILITIES, vec![rows, width], probabilities).into(),
    ]
}

/// The time of each stage, for the gateway and for browsers: milliseconds with fractions (W3C
/// Server Timing).
fn server_timing(features_ms: Option<f64>, prediction: &BatchPrediction) -> Option<HeaderValue> {
    let mut text = String::with_capacity(USUAL_TIMING);
    let stages = [
        ("features", features_ms),
        (
            "queue",
            prediction.timing.map(|timing| milliseconds(timing.queue)),
        ),
        (
            "compute",
            prediction.timing.map(|timing| milliseconds(timing.compute)),
        ),
    ];
    for (stage, ms) in stages {
        if let Some(ms) = ms {
            let separator = if text.is_empty() { "" } else { ", " };
            // A string takes all that is written to it.
            let _ = write!(text, "{separator}{stage};dur={ms:.3}");
        }
    }
    HeaderValue::try_from(text)
        .ok()
        .filter(|value| !value.is_empty())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
