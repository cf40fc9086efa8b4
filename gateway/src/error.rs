//! Every error that a client of the gateway can get, and the only status codes of this crate.
//!
//! A client gets a stable code and a plain sentence. The causes of a 5xx go to the trace, by a
//! response extension that the telemetry layer reads. `/v1` answers problem+json (RFC 9457), `/v2`
//! the form of the Open Inference Protocol. 400 is for a body that cannot be read, 422 for one that
//! asks for the impossible, 429 full, 502 a broken model service, 503 one that cannot be reached,
//! 504 one that is slow.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::ErrorCode;
use protocol::oip::ErrorBody;
use runtime::Refusal;
use telemetry::server::RequestFailure;

use crate::api::{EntryError, FailedEntry, Problem};
use crate::keys::{NoKey, OverLimit};
use crate::model_client::CallError;
use crate::store::StoreError;

/// Why a request is not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("the body is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the body does not have the fields of this request")]
    Shape(#[source] serde_json::Error),
    #[error("{0}")]
    Invalid(String),
    #[error("the body cannot be read")]
    Body(#[from] BytesRejection),
    #[error("there is no model `{model}`")]
    UnknownModel { model: String },
    /// A shadow is a variant, but never answers. A name that cannot be a variant's is not repeated.
    #[error("there is no variant{}{} that answers{}", quoted(" ", variant.as_ref()), quoted(" of model ", model.as_ref()), if *shadow { "; it is a shadow" } else { "" })]
    UnknownVariant {
        model: Option<String>,
        variant: Option<String>,
        shadow: bool,
    },
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("this path does not take this method")]
    Method,
    #[error("nothing that was asked for has a prediction")]
    NoneSucceeded { entries: Vec<FailedEntry> },
    #[error("nothing of the feedback was counted")]
    NoneCounted { entries: Vec<FailedEntry> },
    #[error("the prediction cannot be computed")]
    Model(#[source] Arc<CallError>),
    #[error("the prediction store cannot be searched")]
    Store(#[source] StoreError),
    #[error("{0}")]
    Refused(Refusal),
    #[error("{0}")]
    NoKey(NoKey),
    #[error("{0}")]
    OverLimit(OverLimit),
    /// A fault that the client asked for, with the message of the telemetry layer, which also
    /// records it.
    #[error("{0}")]
    FaultInjected(String),
}

/// An [`ApiError`] in the form of the Open Inference Protocol.
#[derive(Debug)]
pub(crate) struct OipFailure(pub(crate) ApiError);

/// Long enough for a restart to make a difference, and short enough not to be felt.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl ApiError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotJson(_) | Self::Body(_) => ErrorCode::BadRequest,
            Self::Shape(_) | Self::Invalid(_) => ErrorCode::InvalidRequest,
            Self::UnknownModel { .. } => ErrorCode::UnknownModel,
            Self::UnknownVariant { .. } => ErrorCode::UnknownVariant,
            Self::UnknownPath => ErrorCode::UnknownPath,
            Self::Method => ErrorCode::MethodNotAllowed,
            Self::NoneSucceeded { entries } | Self::NoneCounted { entries } => common_code(entries),
            Self::Model(error) => error.code(),
            Self::Store(_) => ErrorCode::StoreUnavailable,
            Self::Refused(refusal) => {
                ErrorCode::parse(refusal.code()).unwrap_or(ErrorCode::Internal)
            }
            Self::NoKey(_) => ErrorCode::Unauthenticated,
            Self::OverLimit(_) => ErrorCode::RateLimited,
            Self::FaultInjected(_) => ErrorCode::FaultInjected,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NoneSucceeded { entries } | Self::NoneCounted { entries } => {
                common_status(entries)
            }
            Self::Refused(refusal) => refusal.status(),
            _ => meaning(self.code()).0,
        }
    }

    /// The sentence for the client. Causes are repeated where they are about its own request.
    fn detail(&self) -> String {
        match self {
            Self::NotJson(error) | Self::Shape(error) => format!("{self}: {error}"),
            Self::Model(error) => match &**error {
                CallError::Answered { message, .. }
                    if self.status().is_client_error() && !message.is_empty() =>
                {
                    message.clone()
                }
                _ => meaning(self.code()).1.to_owned(),
            },
            _ => self.to_string(),
        }
    }

    /// When to retry: the header of the model service, if it sent one.
    fn retry_after(&self) -> Option<HeaderValue> {
        let answered = match self {
            Self::NoneSucceeded { .. } | Self::NoneCounted { .. } => return None,
            Self::OverLimit(over) => Some(over.retry_after().into()),
            Self::Model(error) => match &**error {
                CallError::Answered { retry_after, .. } => retry_after.clone(),
                _ => None,
            },
            _ => None,
        };
        matches!(self.status().as_u16(), 429 | 503).then(|| answered.unwrap_or(RETRY_AFTER))
    }

    /// Adds the headers that both forms share, and the causes for the trace.
    fn finish(self, mut response: Response) -> Response {
        if let Some(retry_after) = self.retry_after() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, retry_after);
        }
        if let Self::NoKey(no_key) = &self {
            let challenge = HeaderValue::from_static(no_key.challenge());
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        // The telemetry layer records a fault that it injects itself.
        if response.status().is_server_error() && !matches!(self, Self::FaultInjected(_)) {
            let code = self.code().as_str();
            response
                .extensions_mut()
                .insert(RequestFailure::new(self, code));
        }
        response
    }
}

/// A code in words.
pub(crate) fn title(code: ErrorCode) -> &'static str {
    meaning(code).1
}

/// The status and the title of a code.
fn meaning(code: ErrorCode) -> (StatusCode, &'static str) {
    let (status, title) = match code {
        ErrorCode::BadRequest => (400, "The body cannot be read"),
        ErrorCode::InvalidRequest => (422, "The request cannot be fulfilled"),
        ErrorCode::TooLarge => (413, "The body is too large"),
        ErrorCode::TooManyRows => (422, "The batch is too large"),
        ErrorCode::UnsupportedEncoding => (415, "The content encoding is not supported"),
        ErrorCode::InvalidHost => (400, "The Host header is not valid"),
        ErrorCode::UnknownHost => (421, "The gateway does not answer to this name"),
        ErrorCode::Unauthenticated => (401, "The request has no valid API key"),
        ErrorCode::RateLimited => (429, "The API key is used too much"),
        ErrorCode::CrossOrigin => (403, "A page of another origin sent the request"),
        ErrorCode::BodyTimeout => (408, "The body did not arrive in time"),
        ErrorCode::Draining => (503, "The gateway stops"),
        ErrorCode::UnknownPath => (404, "There is no such path"),
        ErrorCode::MethodNotAllowed => (405, "The path does not take this method"),
        ErrorCode::UnknownModel => (404, "There is no such model"),
        ErrorCode::UnknownVersion => (404, "There is no such version of the model"),
        ErrorCode::UnknownVariant => (422, "There is no such variant to ask for"),
        ErrorCode::UnknownEntity => (404, "No entity has this data_id"),
        ErrorCode::TextNotStored => (
            404,
            "No prediction of this text is stored; send the text itself with POST",
        ),
        ErrorCode::OutsideMaxAge => (422, "The features of this entity are too old"),
        ErrorCode::MissingFeatures => (422, "This entity lacks features that the model needs"),
        ErrorCode::OutOfRange => (
            422,
            "The model cannot compute this entity: a feature is too large",
        ),
        ErrorCode::EmptyText => (422, "The text has no word"),
        ErrorCode::TextTooLong => (422, "The text is longer than the model takes"),
        ErrorCode::InvalidText => (422, "The text is not UTF-8"),
        ErrorCode::UnknownCategory => (
            422,
            "A feature is a category that the model was not trained on",
        ),
        ErrorCode::UnknownWords => (422, "The model knows no word of the text"),
        ErrorCode::PredictionNotStored => (404, "No prediction of this entity is stored"),
        ErrorCode::UnknownTrace => (
            404,
            "The gateway remembers no prediction of this trace; give the data_id",
        ),
        ErrorCode::AmbiguousTrace => (
            422,
            "The trace has several predictions; give the data_id, too",
        ),
        ErrorCode::UnknownLabel => (422, "The label is none of the model's classes"),
        ErrorCode::WrongTruth => (
            422,
            "A label was given for a number, or a value for a class",
        ),
        ErrorCode::PredictionFailed => (422, "The model could not predict this entity"),
        ErrorCode::NoneSucceeded => (422, "Nothing that was asked for has a prediction"),
        ErrorCode::NotCached => (504, "No stored prediction answers this request"),
        ErrorCode::Overloaded => (429, "Too many requests are in flight"),
        ErrorCode::ModelBusy => (429, "Too many requests wait for the model"),
        ErrorCode::DeadlinePassed => (504, "The request took too long"),
        ErrorCode::StoreUnavailable => (503, "The prediction store is unavailable"),
        ErrorCode::FeatureStoreUnavailable => (503, "The feature store is unavailable"),
        ErrorCode::ModelUnavailable | ErrorCode::ModelNotReady | ErrorCode::NotReady => {
            (503, "The model service is unavailable")
        }
        ErrorCode::DriftNotMeasured => (501, "The model service does not measure drift"),
        ErrorCode::ModelControlOff => (403, "The model service loads and unloads no models"),
        ErrorCode::ModelTimeout => (504, "The model service did not answer in time"),
        ErrorCode::ModelRefused => (422, "The model refused the request"),
        ErrorCode::ModelFailed | ErrorCode::ComputeError => (502, "The model service failed"),
        ErrorCode::FaultInjected => (500, "A fault on purpose"),
        ErrorCode::Internal => (500, "The gateway failed"),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, title)
}

/// The code that all entries share.
fn common_code(entries: &[FailedEntry]) -> ErrorCode {
    shared(entries.iter().map(|entry| entry.error.code)).unwrap_or(ErrorCode::NoneSucceeded)
}

/// The status that all entries share, even where their codes differ.
fn common_status(entries: &[FailedEntry]) -> StatusCode {
    shared(entries.iter().map(|entry| meaning(entry.error.code).0))
        .unwrap_or(StatusCode::UNPROCESSABLE_ENTITY)
}

fn shared<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|other| other == first).then_some(first)
}

/// A name in a sentence, if there is one.
fn quoted(before: &str, name: Option<&String>) -> String {
    name.map(|name| format!("{before}`{name}`"))
        .unwrap_or_default()
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        let (status, code) = (self.status(), self.code());
        let problem = Problem {
            kind: format!("urn:throughline:problem:{code}"),
            title: meaning(code).1,
            status: status.as_u16(),
            detail: self.detail(),
            code,
            trace_id: telemetry::current().trace_id().map(|id| id.to_string()),
            errors: match &mut self {
                Self::NoneSucceeded { entries } | Self::NoneCounted { entries } => {
                    std::mem::take(entries)
                }
                _ => Vec::new(),
            },
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        self.finish((status, content_type, body).into_response())
    }
}

impl IntoResponse for OipFailure {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let status = match error.status() {
            // The protocol has no 422 for what cannot be asked like this.
            _ if matches!(error, ApiError::UnknownVariant { .. }) => StatusCode::BAD_REQUEST,
            status => status,
        };
        let mut body = ErrorBody::new(error.detail(), error.code());
        body.trace_id = telemetry::current().trace_id().map(|id| id.to_string());
        let content_type = [(header::CONTENT_TYPE, "application/json")];
        error.finish((status, content_type, body.to_json()).into_response())
    }
}

impl From<ErrorCode> for EntryError {
    fn from(code: ErrorCode) -> Self {
        let (status, title) = meaning(code);
        Self {
            status: status.as_u16(),
            code,
            title,
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            // The path of the client's request does not make an address of the model service.
            CallError::Address(_) => Self::UnknownPath,
            error => Self::Model(Arc::new(error)),
        }
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() {
            Self::Shape(error)
        } else {
            Self::NotJson(error)
        }
    }
}
