//! A model service that speaks the Open Inference Protocol and that a test controls. It uses
//! nothing of the gateway, so that the trace tests can use it as well.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use protocol::oip::{
    Datatype, ErrorBody, HEADER_LENGTH, InferRequest, InferResponse, ModelMetadata, ModelTraining,
    Tensor, TensorFormat, TensorMetadata,
};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// The span that computed the answers, according to the service.
pub(crate) const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
pub(crate) const SPAN_ID: &str = "b7ad6b7169203331";
pub(crate) const RUN_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A running service; it stops when it is dropped.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// What the test and the service share: how it behaves, and what it was sent.
pub(crate) struct Shared {
    /// Versions that it has; the last one answers.
    pub(crate) versions: Mutex<Vec<String>>,
    pub(crate) behaviour: Mutex<Behaviour>,
    /// The inference calls for predictions so far.
    pub(crate) calls: Mutex<Vec<Call>>,
    /// While false, inference calls wait.
    pub(crate) gate: watch::Sender<bool>,
    /// The label that it predicts.
    pub(crate) label: Mutex<&'static str>,
    /// What it tells of the training of its models.
    pub(crate) training: Mutex<Option<ModelTraining>>,
    /// Answers to reads by path that replace the usual ones.
    pub(crate) reads: Mutex<Vec<(&'static str, u16, &'static str)>>,
    /// How often its list of models was read.
    pub(crate) list_reads: AtomicUsize,
    /// The bodies that were sent to the model `echo`.
    pub(crate) echoed: Mutex<Vec<Bytes>>,
}

#[derive(Clone)]
pub(crate) enum Behaviour {
    Answer,
    Refuse {
        status: u16,
        body: &'static str,
        retry_after: Option<&'static str>,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) model: String,
    pub(crate) input: String,
    pub(crate) values: Vec<String>,
    pub(crate) timeout_micros: u128,
    /// Whether the tensors of the answer are wanted as raw bytes.
    pub(crate) binary: bool,
    pub(crate) headers: HeaderMap,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let shared = Shared {
            versions: Mutex::new(vec!["1".to_owned()]),
            behaviour: Mutex::new(Behaviour::Answer),
            calls: Mutex::default(),
            gate: watch::Sender::new(true),
            label: Mutex::new("high"),
            training: Mutex::default(),
            reads: Mutex::default(),
            list_reads: AtomicUsize::default(),
            echoed: Mutex::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut fake = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(shared),
            running: None,
        };
        fake.serve(listener);
        fake
    }

    /// Stops the service, so that its port refuses connections.
    pub(crate) async fn stop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.send(()).unwrap();
            task.await.unwrap();
        }
    }

    /// Starts it again at the same address.
    pub(crate) async fn restart(&mut self) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    /// A service that predicts this label.
    pub(crate) async fn predicting(label: &'static str) -> Self {
        let fake = Self::start().await;
        *fake.shared.label.lock().unwrap() = label;
        fake
    }

    /// From now on, reads of this path have this status and body.
    pub(crate) fn answer_read(&self, path: &'static str, status: u16, body: &'static str) {
        self.shared.reads.lock().unwrap().push((path, status, body));
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// From now on, this is the only version.
    pub(crate) fn set_version(&self, version: &str) {
        *self.shared.versions.lock().unwrap() = vec![version.to_owned()];
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    pub(crate) fn close_gate(&self) {
        self.shared.gate.send_replace(false);
    }

    pub(crate) fn open_gate(&self) {
        self.shared.gate.send_replace(true);
    }

    fn serve(&mut self, listener: TcpListener) {
        let (stop, stopped) = oneshot::channel::<()>();
        let router = Router::new()
            .route(
                "/v2/models",
                get(async || {
                    axum::Json(
                        serde_json::json!({"models": ["wine_quality", "text_sentiment", "echo"]}),
                    )
                }),
            )
            .route("/v2/models/stats", get(other))
            .route("/v2/models/{model}", get(metadata))
            .route("/v2/models/{model}/ready", get(ready))
            .route("/v2/models/{model}/infer", post(infer))
            .route("/v2/models/{model}/versions/{version}/infer", post(echo))
            .fallback(other)
            .layer(axum::middleware::from_fn_with_state(
                Arc::clone(&self.shared),
                unusual,
            ))
            .with_state(Arc::clone(&self.shared));
        let task = telemetry::task::spawn(async move {
            let stopped = async { drop(stopped.await) };
            axum::serve(listener, router)
                .with_graceful_shutdown(stopped)
                .await
                .unwrap();
        });
        self.running = Some((stop, task));
    }
}

/// Answers with what a test has set for the path, if anything.
async fn unusual(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    shared.list_reads.fetch_add(
        usize::from(request.uri().path() == "/v2/models"),
        Ordering::Relaxed,
    );
    let chosen = shared
        .reads
        .lock()
        .unwrap()
        .iter()
        .rev()
        .find(|(path, ..)| *path == request.uri().path())
        .copied();
    match chosen {
        Some((_, status, body)) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        None => next.run(request).await,
    }
}

async fn metadata(State(shared): State<Arc<Shared>>, Path(model): Path<String>) -> Response {
    let (input, datatype) = match model.as_str() {
        "wine_quality" => ("data_id", Datatype::Bytes),
        "text_sentiment" | "vectors" => ("text", Datatype::Bytes),
        "echo" => ("x", Datatype::Fp32),
        _ => return unknown_model(),
    };
    let inputs = vec![TensorMetadata {
        name: input.to_owned(),
        datatype,
        shape: vec![-1],
    }];
    let versions = shared.versions.lock().unwrap().clone();
    let embedding = (model == "vectors").then(|| TensorMetadata {
        name: "embedding".to_owned(),
        datatype: Datatype::Fp32,
        shape: vec![-1, 3],
    });
    axum::Json(ModelMetadata {
        current_version: None,
        name: model,
        versions,
        platform: "fake".to_owned(),
        inputs,
        outputs: embedding.into_iter().collect(),
        training: shared.training.lock().unwrap().clone(),
    })
    .into_response()
}

async fn ready(Path(model): Path<String>) -> Response {
    axum::Json(serde_json::json!({"name": model, "ready": true})).into_response()
}

async fn infer(
    State(shared): State<Arc<Shared>>,
    Path(model): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if model == "echo" {
        shared.echoed.lock().unwrap().push(body.clone());
        shared
            .gate
            .subscribe()
            .wait_for(|open| *open)
            .await
            .unwrap();
        if let Behaviour::Refuse { status, body, .. } = shared.behaviour.lock().unwrap().clone() {
            return (StatusCode::from_u16(status).unwrap(), body).into_response();
        }
        return echo(method, uri, headers, body).await;
    }
    let request = InferRequest::decode(&body, None).unwrap();
    let tensor = &request.inputs[0].tensor;
    let values: Vec<String> = tensor
        .as_texts()
        .unwrap()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let call = Call {
        model: model.clone(),
        input: tensor.name.to_string(),
        values: values.clone(),
        timeout_micros: request
            .timeout()
            .unwrap()
            .map_or(0, |timeout| timeout.as_micros()),
        binary: request.output_format("label") == TensorFormat::Binary,
        headers,
    };
    shared.calls.lock().unwrap().push(call);
    shared
        .gate
        .subscribe()
        .wait_for(|open| *open)
        .await
        .unwrap();
    let behaviour = shared.behaviour.lock().unwrap().clone();
    if let Behaviour::Refuse {
        status,
        body,
        retry_after,
    } = behaviour
    {
        let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
        if let Some(seconds) = retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        return response;
    }
    let version = shared.versions.lock().unwrap().last().cloned();
    let label = *shared.label.lock().unwrap();
    answer(&model, version, label, &values, &request)
}

/// An id that begins with an error code fails with this code.
fn answer(
    model: &str,
    version: Option<String>,
    label: &str,
    values: &[String],
    request: &InferRequest,
) -> Response {
    let code = |value: &String| {
        ["unknown_entity", "outside_max_age", "missing_features"]
            .into_iter()
            .find(|code| value.starts_with(code))
    };
    let codes: Vec<&str> = values
        .iter()
        .map(|value| code(value).unwrap_or(""))
        .collect();
    if codes.iter().all(|code| *code == "unknown_entity") {
        return (
            StatusCode::NOT_FOUND,
            ErrorBody::new("no such rows", protocol::ErrorCode::UnknownEntity).to_json(),
        )
            .into_response();
    }
    let rows = values.len();
    let confidence: Vec<f32> = codes
        .iter()
        .map(|code| if code.is_empty() { 0.75 } else { 0.0 })
        .collect();
    let mut outputs = vec![
        Tensor::from_texts(
            "label",
            codes
                .iter()
                .map(|code| if code.is_empty() { label } else { "" }),
        ),
        Tensor::from_fp32("confidence", vec![rows], confidence.clone()).unwrap(),
        Tensor::from_fp32(
            "probabilities",
            vec![rows, 2],
            confidence.iter().flat_map(|p| [1.0 - p, *p]).collect(),
        )
        .unwrap(),
    ];
    if codes.iter().any(|code| !code.is_empty()) {
        outputs.push(Tensor::from_texts("error", codes));
    }
    let mut response = InferResponse {
        model_name: model.to_owned(),
        model_version: version,
        outputs: outputs.into_iter().map(Into::into).collect(),
        ..InferResponse::default()
    };
    response.parameters.insert("run_id", RUN_ID);
    response
        .parameters
        .insert("traceparent", format!("00-{TRACE_ID}-{SPAN_ID}-01"));
    let encoded = response.encode_for(request).unwrap();
    let timing = "features;dur=1.5, queue;dur=0.25, compute;dur=0.125";
    let length = encoded.header_length;
    let length = length.map(|length| [(HEADER_LENGTH, length.to_string())]);
    (
        [
            (header::CONTENT_TYPE, encoded.content_type()),
            (HeaderName::from_static("server-timing"), timing),
        ],
        length.map(axum::response::AppendHeaders),
        encoded.body,
    )
        .into_response()
}

/// Returns the bytes, and the headers that describe them.
async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = (StatusCode::OK, body).into_response();
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        HeaderName::from_static(HEADER_LENGTH),
    ] {
        response.headers_mut().remove(&name);
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    // Method and path go into a header that the gateway passes on.
    let seen = format!("{method};desc=\"{uri}\"");
    response
        .headers_mut()
        .insert("server-timing", HeaderValue::from_str(&seen).unwrap());
    response
}

async fn other(method: Method, uri: Uri) -> Response {
    if uri.path().contains("unknown") {
        return unknown_model();
    }
    axum::Json(serde_json::json!({"method": method.as_str(), "uri": uri.to_string()}))
        .into_response()
}

fn unknown_model() -> Response {
    (
        StatusCode::NOT_FOUND,
        [(header::CONTENT_TYPE, "application/json")],
        r#"{"error":"unknown model","code":"model_not_found"}"#,
    )
        .into_response()
}
