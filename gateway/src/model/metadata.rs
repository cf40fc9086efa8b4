//! What a service says of its models, read as kindly as can be: servers differ in what they leave out or send as `null`.

use serde::Deserialize;
use serde_json::Value;

use super::ModelError;

/// What the gateway wants to know of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// All versions that can answer; none if the service has no versions.
    pub(crate) versions: Vec<String>,
    /// Names of the inputs; none if the service does not tell.
    pub(crate) inputs: Vec<String>,
}

impl Metadata {
    pub(super) fn read(body: &[u8]) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct Told {
            versions: Option<Vec<Value>>,
            inputs: Option<Vec<Input>>,
        }
        #[derive(Deserialize)]
        struct Input {
            name: Option<String>,
        }
        let Told { versions, inputs } =
            serde_json::from_slice(body).map_err(ModelError::NotJson)?;
        let version = |version| match version {
            Value::String(text) => Some(text),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        Ok(Self {
            versions: versions
                .into_iter()
                .flatten()
                .filter_map(version)
                .filter(|text| !text.is_empty())
                .collect(),
            inputs: inputs
                .into_iter()
                .flatten()
                .filter_map(|input| input.name)
                .collect(),
        })
    }
}

/// The names in the answer to `GET /v2/models`.
pub(super) fn names(body: &[u8]) -> Result<Vec<String>, ModelError> {
    #[derive(Deserialize)]
    struct List {
        models: Option<Vec<String>>,
    }
    let list: List = serde_json::from_slice(body).map_err(ModelError::NotJson)?;
    Ok(list.models.unwrap_or_default())
}

/// Whether the body of a successful answer to `GET …/ready` says so; some servers say it by the status alone.
pub(super) fn is_ready(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Ready {
        ready: Option<bool>,
    }
    !serde_json::from_slice(body).is_ok_and(|Ready { ready }| ready == Some(false))
}
