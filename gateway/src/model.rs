//! The client of a model service: Open Inference Protocol in, predictions in our words out.

mod inference;
mod metadata;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use protocol::oip::{DecodeError, EncodeError, ErrorBody, InferRequest, Tensor, TensorFormat};
use telemetry::client::{ClientError, HttpClient, SpanAttributes};
use telemetry::{KeyValue, attr};

pub(crate) use inference::{Inference, Row, RowFailure, budget};
pub(crate) use metadata::Metadata;

use crate::routes::Variant;

/// Asks model services; cloning shares the connections.
#[derive(Clone, Debug)]
pub(crate) struct ModelClient {
    http: HttpClient,
}

/// Why there is no inference.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelError {
    #[error("the model service cannot be reached")]
    Unreachable(#[source] ClientError),
    #[error("the model service did not answer in time")]
    TimedOut(#[source] Option<ClientError>),
    #[error("the exchange with the model service broke off")]
    Broken(#[source] ClientError),
    /// It answered with an error; `message` is what it says to a client.
    #[error("the model service answered {status}: {message}")]
    Answered {
        status: StatusCode,
        code: Option<String>,
        message: String,
        retry_after: Option<HeaderValue>,
    },
    #[error("the model service answered with something else than the protocol says")]
    Malformed(#[source] DecodeError),
    #[error("the model service answered with something that is not JSON of the protocol")]
    NotJson(#[source] serde_json::Error),
    #[error("the answer of the model service {0}")]
    Unusable(&'static str),
    #[error("the inference request cannot be written")]
    Request(#[source] EncodeError),
    #[error("the inference request has no valid address")]
    Address(#[source] http::Error),
    /// Known from the last look at it, without a call of this request's.
    #[error("the model service is down")]
    Down,
    #[error("the computation was given up before it ended")]
    Abandoned,
}

/// The rows of one inference call: entities, or texts.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    DataIds(Vec<String>),
    Texts(Vec<String>),
}

impl ModelClient {
    pub(crate) fn new(http: HttpClient) -> Self {
        Self { http }
    }

    /// One inference call for all rows. `budget` bounds the call and is told to the service as the time it has.
    pub(crate) async fn infer(
        &self,
        variant: &Variant,
        model: &str,
        input: Input,
        budget: Duration,
    ) -> Result<Inference, ModelError> {
        if budget.is_zero() {
            return Err(ModelError::TimedOut(None));
        }
        let (tensor, rows) = match input {
            Input::DataIds(ids) => (
                Tensor::from_texts("data_id", ids.iter().map(String::as_str)),
                ids.len(),
            ),
            Input::Texts(texts) => (
                Tensor::from_texts("text", texts.iter().map(String::as_str)),
                texts.len(),
            ),
        };
        let mut request = InferRequest::new([tensor]);
        request.set_timeout(budget);
        let encoded = request
            .encode(TensorFormat::Json)
            .map_err(ModelError::Request)?;
        let request = Request::post(format!("{}v2/models/{model}/infer", variant.service))
            .header(header::CONTENT_TYPE, encoded.content_type())
            .body(encoded.body)
            .map_err(ModelError::Address)?;
        let response = self.send(variant, request, budget).await?;
        if response.status().is_success() {
            return Inference::read(&response, rows);
        }
        let error = answered(&response);
        Inference::all_failed(&error, rows).ok_or(error)
    }

    /// The names of the models that a service has; an extension that not every service knows.
    pub(crate) async fn list(
        &self,
        variant: &Variant,
        timeout: Duration,
    ) -> Result<Vec<String>, ModelError> {
        metadata::names(&self.quiet_get(variant, "v2/models", timeout).await?)
    }

    /// What a service says of one model.
    pub(crate) async fn metadata(
        &self,
        variant: &Variant,
        model: &str,
        timeout: Duration,
    ) -> Result<Metadata, ModelError> {
        Metadata::read(
            &self
                .quiet_get(variant, &format!("v2/models/{model}"), timeout)
                .await?,
        )
    }

    /// Whether a model can answer now.
    pub(crate) async fn is_ready(&self, variant: &Variant, model: &str, timeout: Duration) -> bool {
        let answer = self
            .quiet_get(variant, &format!("v2/models/{model}/ready"), timeout)
            .await;
        answer.is_ok_and(|body| metadata::is_ready(&body))
    }

    /// Sends a request as it is to a variant, which its span names; errors of the exchange in our words.
    pub(crate) async fn send(
        &self,
        variant: &Variant,
        mut request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Bytes>, ModelError> {
        let named = KeyValue::new(attr::ML_VARIANT, std::sync::Arc::clone(&variant.name));
        request.extensions_mut().insert(SpanAttributes(vec![named]));
        self.http
            .send(request, timeout)
            .await
            .map_err(|error| match error {
                ClientError::Connect { .. } | ClientError::InvalidRequest(_) => {
                    ModelError::Unreachable(error)
                }
                ClientError::Timeout { .. } => ModelError::TimedOut(Some(error)),
                ClientError::Transport { .. } | ClientError::TooLarge { .. } => {
                    ModelError::Broken(error)
                }
            })
    }

    /// A read that belongs to no request: it says so to the service by an unsampled trace, or else every look at the
    /// models would be a trace of its own.
    async fn quiet_get(
        &self,
        variant: &Variant,
        path: &str,
        timeout: Duration,
    ) -> Result<Bytes, ModelError> {
        let (trace, span) = (
            uuid::Uuid::new_v4().simple().to_string(),
            uuid::Uuid::new_v4().simple().to_string(),
        );
        let request = Request::get(format!("{}{path}", variant.service))
            .header("traceparent", format!("00-{trace}-{}-00", &span[..16]))
            .body(Bytes::new())
            .map_err(ModelError::Address)?;
        let response = self.send(variant, request, timeout).await?;
        if !response.status().is_success() {
            return Err(answered(&response));
        }
        Ok(response.into_body())
    }
}

impl ModelError {
    /// What a status means of which nothing else was read; `None` of one that is no error.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        let is_error = status.is_client_error() || status.is_server_error();
        is_error.then_some(Self::Answered {
            status,
            code: None,
            message: String::new(),
            retry_after: None,
        })
    }

    /// Whether the service said that it has no such model.
    pub(crate) fn is_unknown_model(&self) -> bool {
        matches!(
            self,
            Self::Answered {
                status: StatusCode::NOT_FOUND,
                ..
            }
        )
    }

    /// Whether the service answered, and only has no list of its models, or one in a form of its own.
    pub(crate) fn is_no_list(&self) -> bool {
        match self {
            Self::Answered { status, .. } => {
                *status == StatusCode::NOT_IMPLEMENTED || !status.is_server_error()
            }
            Self::NotJson(_) => true,
            _ => false,
        }
    }

    /// Whether the variant failed as a whole, rather than this one request being at fault.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Answered { status, .. } => {
                status.is_server_error() || *status == StatusCode::REQUEST_TIMEOUT
            }
            Self::Request(_) | Self::Address(_) | Self::Abandoned => false,
            _ => true,
        }
    }

    /// The bounded word for `error.type` and for clients.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) | Self::Down => "model_unavailable",
            Self::TimedOut(_) => "model_timeout",
            Self::Broken(_)
            | Self::Malformed(_)
            | Self::NotJson(_)
            | Self::Unusable(_)
            | Self::Request(_)
            | Self::Address(_) => "model_failed",
            Self::Abandoned => "internal",
            Self::Answered { status, code, .. } => match status.as_u16() {
                404 => "unknown_model",
                400 | 413 | 415 | 422 => "model_refused",
                408 | 504 => "model_timeout",
                429 => "overloaded",
                503 if code.as_deref() == Some("feature_store_unavailable") => {
                    "feature_store_unavailable"
                }
                503 => "model_unavailable",
                _ => "model_failed",
            },
        }
    }
}

/// An error answer in our words; a body that is not the protocol's tells nothing.
fn answered(response: &Response<Bytes>) -> ModelError {
    let body: Option<ErrorBody> = serde_json::from_slice(response.body()).ok();
    let (message, code) = body.map(|body| (body.error, body.code)).unwrap_or_default();
    ModelError::Answered {
        status: response.status(),
        code: code.map(std::borrow::Cow::into_owned),
        message,
        retry_after: response.headers().get(header::RETRY_AFTER).cloned(),
    }
}
