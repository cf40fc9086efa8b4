//! The client of a model service, by the Open Inference Protocol.

mod inference;
mod metadata;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use protocol::ErrorCode;
use protocol::oip::{
    DecodeError, EncodeError, ErrorBody, InferRequest, ModelTraining, Tensor, TensorFormat,
};
use telemetry::client::{ClientError, HttpClient, SpanAttributes};
use telemetry::{KeyValue, attr};

pub(crate) use inference::Inference;
pub(crate) use metadata::Metadata;

use crate::api::ServiceDrift;
use crate::traffic::Variant;

/// Asks model services; cloning shares the connections.
#[derive(Clone, Debug)]
pub(crate) struct ModelClient {
    http: HttpClient,
}

/// A call of one or more instances that any variant of their model can answer.
pub(crate) trait InferenceCall: Send {
    /// What a variant answers.
    type Reply: Send;

    /// Sends the call to a variant within `time`.
    fn send(
        self,
        client: &ModelClient,
        model: &str,
        variant: &Variant,
        time: Duration,
    ) -> impl Future<Output = Result<Self::Reply, CallError>> + Send;

    /// The error that a reply contains, if its caller gets it as a reply.
    fn error(reply: &Self::Reply) -> Option<CallError>;
}

/// One thing to predict: an entity, or a text.
#[derive(Clone)]
pub(crate) struct Instance {
    pub(crate) id: Arc<str>,
    pub(crate) text: Option<Arc<str>>,
}

/// From so many rows on, an answer costs less to write and to read with its tensors as raw bytes
/// (`cargo run --release -p protocol --example encodings`). A service without the extension for binary tensor
/// data answers in JSON all the same.
const BINARY_FROM: usize = 10;

/// One call for several instances, either all entities or all texts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a>(pub(crate) &'a [Instance]);

/// Why a call has no reply.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("the model service cannot be reached")]
    Unreachable(#[source] ClientError),
    #[error("the model service did not answer in time")]
    TimedOut(#[source] Option<ClientError>),
    #[error("the exchange with the model service broke off")]
    Broken(#[source] ClientError),
    /// The service answered with an error; `message` is its message for the client.
    #[error("the model service answered {status}: {message}")]
    Answered {
        status: StatusCode,
        code: Option<ErrorCode>,
        message: String,
        retry_after: Option<HeaderValue>,
    },
    #[error("the model service sent an answer that does not follow the protocol")]
    Malformed(#[source] DecodeError),
    #[error("the model service sent an answer that is not the protocol's JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the answer of the model service {0}")]
    Unusable(&'static str),
    #[error("the inference request cannot be written")]
    Request(#[source] EncodeError),
    #[error("the inference request has no valid address")]
    Address(#[source] http::Error),
    /// It did not answer when it was last asked for its models.
    #[error("the model service is down")]
    Down,
    /// Its last calls all timed out or did not reach it.
    #[error("the model service is not waited for, since its last calls had no answer")]
    NotWaitedFor,
    #[error("as many requests as allowed wait for the model")]
    Busy,
    #[error("the computation was given up before it ended")]
    Abandoned,
}

impl InferenceCall for Rows<'_> {
    type Reply = Inference;

    async fn send(
        self,
        client: &ModelClient,
        model: &str,
        variant: &Variant,
        time: Duration,
    ) -> Result<Inference, CallError> {
        if time.is_zero() {
            return Err(CallError::TimedOut(None));
        }
        let Self(instances) = self;
        let mut request = InferRequest::new([tensor(instances)]);
        // The service learns its time limit.
        request.set_timeout(time);
        if instances.len() >= BINARY_FROM {
            request.set_output_format(TensorFormat::Binary);
        }
        let encoded = request
            .encode(TensorFormat::Json)
            .map_err(CallError::Request)?;
        let request = Request::post(format!("{}v2/models/{model}/infer", variant.service))
            .header(header::CONTENT_TYPE, encoded.content_type())
            .body(encoded.body)
            .map_err(CallError::Address)?;
        let response = client.send(variant, request, time).await?;
        if response.status().is_success() {
            return Inference::read(&response, instances.len());
        }
        let error = error_of(&response);
        Inference::all_failed(&error, instances.len()).ok_or(error)
    }

    fn error(_: &Inference) -> Option<CallError> {
        None
    }
}

fn tensor(instances: &[Instance]) -> Tensor {
    if instances.iter().any(|instance| instance.text.is_some()) {
        let texts = instances
            .iter()
            .filter_map(|instance| instance.text.as_deref());
        return Tensor::from_texts("text", texts);
    }
    Tensor::from_texts("data_id", instances.iter().map(|instance| &*instance.id))
}

impl Instance {
    pub(crate) fn from_data_id(id: String) -> Self {
        let id = id.into();
        Self { id, text: None }
    }
}

/// Texts of users must not reach the logs.
impl std::fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Instance")
    }
}

impl ModelClient {
    pub(crate) fn new(http: HttpClient) -> Self {
        Self { http }
    }

    /// The names of a service's models. This is an extension that not every service has.
    pub(crate) async fn list(
        &self,
        variant: &Variant,
        timeout: Duration,
    ) -> Result<Vec<String>, CallError> {
        metadata::names(&self.get_untraced(variant, "v2/models", timeout).await?)
    }

    /// The metadata of one model.
    pub(crate) async fn metadata(
        &self,
        variant: &Variant,
        model: &str,
        timeout: Duration,
    ) -> Result<Metadata, CallError> {
        Metadata::read(
            &self
                .get_untraced(variant, &format!("v2/models/{model}"), timeout)
                .await?,
        )
    }

    /// Whether a model can answer now.
    pub(crate) async fn is_ready(&self, variant: &Variant, model: &str, timeout: Duration) -> bool {
        let answer = self
            .get_untraced(variant, &format!("v2/models/{model}/ready"), timeout)
            .await;
        answer.is_ok_and(|body| metadata::is_ready(&body))
    }

    /// What a service knows of the drift of a model. This is an extension that not every service
    /// has.
    pub(crate) async fn drift(
        &self,
        variant: &Variant,
        model: &str,
        time: Duration,
    ) -> Result<ServiceDrift, CallError> {
        let request = Request::get(format!("{}v2/models/{model}/drift", variant.service))
            .body(Bytes::new())
            .map_err(CallError::Address)?;
        let response = self.send(variant, request, time).await?;
        if !response.status().is_success() {
            return Err(error_of(&response));
        }
        serde_json::from_slice(response.body()).map_err(CallError::NotJson)
    }

    /// What a service tells of the training of a version. This is an extension that not every
    /// service has.
    pub(crate) async fn training(
        &self,
        variant: &Variant,
        model: &str,
        version: &str,
        time: Duration,
    ) -> Result<Option<ModelTraining>, CallError> {
        let path = format!("v2/models/{model}/versions/{version}");
        let body = self.get_untraced(variant, &path, time).await?;
        Ok(Metadata::read(&body)?.training)
    }

    /// Sends a request as it is to a variant. Its CLIENT span names the variant.
    pub(crate) async fn send(
        &self,
        variant: &Variant,
        mut request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, CallError> {
        let named = KeyValue::new(attr::ML_VARIANT, Arc::clone(&variant.name));
        request.extensions_mut().insert(SpanAttributes(vec![named]));
        self.http
            .send(request, timeout)
            .await
            .map_err(|error| match error {
                ClientError::Connect { .. }
                | ClientError::InvalidRequest(_)
                | ClientError::Certificates(_) => CallError::Unreachable(error),
                ClientError::Timeout { .. } => CallError::TimedOut(Some(error)),
                ClientError::Transport { .. } | ClientError::TooLarge { .. } => {
                    CallError::Broken(error)
                }
            })
    }

    /// A read that belongs to no request: it goes out as part of an unsampled trace, since each
    /// read would be a trace of its own otherwise.
    async fn get_untraced(
        &self,
        variant: &Variant,
        path: &str,
        timeout: Duration,
    ) -> Result<Bytes, CallError> {
        let trace_id = uuid::Uuid::new_v4().simple();
        let (span_id, _) = uuid::Uuid::new_v4().as_u64_pair();
        let request = Request::get(format!("{}{path}", variant.service))
            .header("traceparent", format!("00-{trace_id}-{span_id:016x}-00"))
            .body(Bytes::new())
            .map_err(CallError::Address)?;
        let response = self.send(variant, request, timeout).await?;
        if !response.status().is_success() {
            return Err(error_of(&response));
        }
        Ok(response.into_body())
    }
}

impl CallError {
    /// The error for a status; `None` if the status is no error.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        let is_error = status.is_client_error() || status.is_server_error();
        is_error.then_some(Self::Answered {
            status,
            code: None,
            message: String::new(),
            retry_after: None,
        })
    }

    /// Whether the service answered that it has no such model.
    pub(crate) fn is_unknown_model(&self) -> bool {
        matches!(
            self,
            Self::Answered {
                status: StatusCode::NOT_FOUND,
                ..
            }
        )
    }

    /// Whether the service works, and only has no list of its models or a list of another form.
    pub(crate) fn is_no_list(&self) -> bool {
        match self {
            Self::Answered { status, .. } => {
                *status == StatusCode::NOT_IMPLEMENTED || !status.is_server_error()
            }
            Self::NotJson(_) => true,
            _ => false,
        }
    }

    /// Whether the variant is out of order, rather than this one request being at fault.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Answered { status, .. } => {
                status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::Request(_) | Self::Address(_) | Self::Busy | Self::Abandoned => false,
            _ => true,
        }
    }

    /// The code for clients and for `error.type`.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Unreachable(_) | Self::Down | Self::NotWaitedFor => ErrorCode::ModelUnavailable,
            Self::Busy => ErrorCode::ModelBusy,
            Self::TimedOut(_) => ErrorCode::ModelTimeout,
            Self::Broken(_)
            | Self::Malformed(_)
            | Self::NotJson(_)
            | Self::Unusable(_)
            | Self::Request(_)
            | Self::Address(_) => ErrorCode::ModelFailed,
            Self::Abandoned => ErrorCode::Internal,
            Self::Answered { status, code, .. } => match (status.as_u16(), code) {
                (404, _) => ErrorCode::UnknownModel,
                (400 | 413 | 415 | 422, _) => ErrorCode::ModelRefused,
                (408 | 504, _) => ErrorCode::ModelTimeout,
                (429, _) => ErrorCode::Overloaded,
                (503, Some(code @ ErrorCode::FeatureStoreUnavailable)) => *code,
                (503, _) => ErrorCode::ModelUnavailable,
                _ => ErrorCode::ModelFailed,
            },
        }
    }
}

/// The error of an answer. A body of another form has no message.
fn error_of(response: &Response<Bytes>) -> CallError {
    let body: Option<ErrorBody> = serde_json::from_slice(response.body()).ok();
    let (message, code) = body.map(|body| (body.error, body.code)).unwrap_or_default();
    CallError::Answered {
        status: response.status(),
        code: code.as_deref().and_then(ErrorCode::parse),
        message,
        retry_after: response.headers().get(header::RETRY_AFTER).cloned(),
    }
}
