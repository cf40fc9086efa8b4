//! `POST /v2/repository/models/{model_name}/load` and `…/unload`, by Triton's model repository
//! extension (`docs/protocol/extension_model_repository.md` in triton-inference-server/server).
//!
//! The choice is a file in the model repository, so it holds for every service that reads the
//! folder, and after a restart.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use http::StatusCode;
use protocol::oip::{Parameter, Parameters, RepositoryControlRequest};
use runtime::Health;

use super::body;
use super::reads::{ModelPath, PathResult};
use crate::error::RequestError;
use crate::repository::{ControlError, ModelRepository, NotServed, Target};

/// State of the two routes.
#[derive(Clone)]
pub(super) struct Control {
    pub(super) repository: Arc<ModelRepository>,
    pub(super) health: Health,
    /// Whether the service was started with `--allow-model-control`.
    pub(super) allowed: bool,
}

/// Our own parameter of a load: the version to serve; without it the newest is served.
const VERSION: &str = "version";
/// No model here depends on another, so its value does not matter.
const UNLOAD_DEPENDENTS: &str = "unload_dependents";

pub(super) async fn load(
    State(control): State<Control>,
    path: PathResult,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, RequestError> {
    let name = control.model(path)?;
    let parameters = parameters(body, VERSION)?;
    let target = match parameters.get(VERSION) {
        None => Target::Newest,
        Some(version) => Target::Version(number(&name, version)?),
    };
    control
        .change(move |repository| repository.choose(&name, target).map(drop))
        .await
}

pub(super) async fn unload(
    State(control): State<Control>,
    path: PathResult,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, RequestError> {
    let name = control.model(path)?;
    parameters(body, UNLOAD_DEPENDENTS)?;
    control
        .change(move |repository| repository.unload(&name))
        .await
}

impl Control {
    fn model(&self, path: PathResult) -> Result<String, RequestError> {
        if self.allowed {
            ModelPath::of(path).map(|path| path.model_name)
        } else {
            Err(RequestError::ModelControlOff)
        }
    }

    async fn change(
        self,
        change: impl FnOnce(&ModelRepository) -> Result<(), ControlError> + Send + 'static,
    ) -> Result<StatusCode, RequestError> {
        let repository = Arc::clone(&self.repository);
        let changed = telemetry::task::spawn_blocking(move || change(&repository));
        let changed = changed
            .await
            .map_err(|error| RequestError::Repository(std::io::Error::other(error)))?;
        changed.map_err(|error| match error {
            ControlError::NotServed(error) => RequestError::NotServed(error),
            ControlError::Oldest(..) => RequestError::Input(error.to_string()),
            ControlError::Read(error) => RequestError::Repository(error),
            ControlError::Write(error) => RequestError::ReadOnly(error),
        })?;
        super::report(&self.repository, &self.health);
        Ok(StatusCode::OK)
    }
}

/// The parameters of the body, of which only `known` is allowed.
fn parameters(
    body: Result<Bytes, BytesRejection>,
    known: &str,
) -> Result<Parameters, RequestError> {
    let body = body::whole(body)?;
    if body.is_empty() {
        return Ok(Parameters::default());
    }
    let request: RepositoryControlRequest = protocol::object(&body).map_err(|_| {
        RequestError::Input(format!(
            "the body is not {{\"parameters\": {{\"{known}\": …}}}}"
        ))
    })?;
    if request.parameters.iter().all(|(name, _)| name == known) {
        Ok(request.parameters)
    } else {
        Err(RequestError::Input(format!(
            "the only parameter of this call is `{known}`"
        )))
    }
}

/// A version as text or as a number.
fn number(name: &str, version: &Parameter) -> Result<u64, RequestError> {
    let unknown = |version: &str| {
        RequestError::NotServed(NotServed::UnknownVersion {
            model: name.to_owned(),
            version: version.to_owned(),
        })
    };
    match (version.as_u64(), version.as_str()) {
        (Some(number), _) => Ok(number),
        (None, Some(text)) => crate::repository::version_number(text).ok_or_else(|| unknown(text)),
        _ => Err(RequestError::Input(
            "the parameter `version` is no version".to_owned(),
        )),
    }
}
