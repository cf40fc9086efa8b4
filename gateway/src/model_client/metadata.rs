//! The metadata of models, read tolerantly: servers differ in what they leave out or send as
//! `null`.

use protocol::oip::ModelTraining;
use serde::Deserialize;
use serde_json::Value;

use super::CallError;

/// What the gateway needs of a model's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metadata {
    /// All versions that can answer; empty if the service has no versions.
    pub(crate) versions: Vec<String>,
    /// The version that answers when a request names none, if the service says so.
    pub(crate) current: Option<String>,
    /// Names of the inputs; empty if the service does not list them.
    pub(crate) inputs: Vec<String>,
    /// The same of the outputs.
    pub(crate) outputs: Vec<String>,
    /// The training of the version, if the service tells of it.
    pub(crate) training: Option<ModelTraining>,
}

impl Metadata {
    pub(super) fn read(body: &[u8]) -> Result<Self, CallError> {
        #[derive(Deserialize)]
        struct Body {
            versions: Option<Vec<Value>>,
            current_version: Option<Value>,
            inputs: Option<Vec<Tensor>>,
            outputs: Option<Vec<Tensor>>,
            training: Option<Value>,
        }
        #[derive(Deserialize)]
        struct Tensor {
            name: Option<String>,
        }
        let Body {
            versions,
            current_version,
            inputs,
            outputs,
            training,
        } = serde_json::from_slice(body).map_err(CallError::NotJson)?;
        let versions = versions.into_iter().flatten().filter_map(version);
        let names = |tensors: Option<Vec<Tensor>>| {
            let tensors = tensors.into_iter().flatten();
            tensors.filter_map(|tensor| tensor.name).collect()
        };
        Ok(Self {
            versions: versions.collect(),
            current: current_version.and_then(version),
            inputs: names(inputs),
            outputs: names(outputs),
            // Another server may have a field of this name that means something else.
            training: training.and_then(|training| serde_json::from_value(training).ok()),
        })
    }
}

fn version(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The names in the answer to `GET /v2/models`.
pub(super) fn names(body: &[u8]) -> Result<Vec<String>, CallError> {
    #[derive(Deserialize)]
    struct List {
        models: Option<Vec<String>>,
    }
    let list: List = serde_json::from_slice(body).map_err(CallError::NotJson)?;
    Ok(list.models.unwrap_or_default())
}

/// Whether a successful answer to `GET …/ready` means ready; some servers say it by the status
/// alone.
pub(super) fn is_ready(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Ready {
        ready: Option<bool>,
    }
    !serde_json::from_slice(body).is_ok_and(|Ready { ready }| ready == Some(false))
}
