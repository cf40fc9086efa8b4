//! Bodies of the reads: health, metadata, lists.
//!
//! Each has the fields of the specification and those that the clients of Triton, `KServe` and
//! `MLServer` read.

use serde::{Deserialize, Serialize};

use super::{Datatype, Parameters};

/// `GET /v2/health/live`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Live {
    /// The process answers.
    pub live: bool,
}

/// `GET /v2/health/ready`. The specification has `live`, `KServe`'s client reads `ready`; answers
/// have both.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ready {
    /// All models can answer.
    pub ready: bool,
    /// The process answers.
    pub live: bool,
}

/// `GET /v2/models/{model}[/versions/{version}]/ready`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ModelReady {
    /// Name of the model.
    pub name: String,
    /// It can answer.
    pub ready: bool,
}

/// `GET /v2`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServerMetadata {
    /// Name of the server.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Supported extensions, such as `binary_tensor_data`.
    #[serde(default)]
    pub extensions: Vec<String>,
}

/// `GET /v2/models/{model}[/versions/{version}]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ModelMetadata {
    /// Name of the model.
    pub name: String,
    /// Versions that can answer.
    #[serde(default)]
    pub versions: Vec<String>,
    /// The version that answers when a request names none, if it need not be the highest; an
    /// extension of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<String>,
    /// `<project>_<format>`, such as `candle_safetensors`.
    pub platform: String,
    /// The input tensors.
    #[serde(default)]
    pub inputs: Vec<TensorMetadata>,
    /// The output tensors.
    #[serde(default)]
    pub outputs: Vec<TensorMetadata>,
    /// The training of this version, so that what it does later can be compared; an extension of
    /// ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<ModelTraining>,
}

/// What the training of a version gave.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct ModelTraining {
    /// The training run, 32 hex digits.
    pub run_id: String,
    /// The classes, in the order of the probabilities; none of a regression.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Share of the held-out rows that it classified correctly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Root of its mean squared error on the held-out rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_rmse: Option<f64>,
}

/// An input or output of a model.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TensorMetadata {
    /// Name of the tensor.
    pub name: String,
    /// Type of its elements.
    pub datatype: Datatype,
    /// Size of each dimension; -1 is variable.
    pub shape: Vec<i64>,
}

/// `GET /v2/models`, an extension of `KServe`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ModelList {
    /// Names of the models.
    pub models: Vec<String>,
}

/// Body of `POST /v2/repository/index`, an extension of Triton; an empty body means the default.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct RepositoryIndexRequest {
    /// Only versions that are ready.
    #[serde(default)]
    pub ready: bool,
}

/// One entry of the answer to `POST /v2/repository/index`, which is a list of them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RepositoryIndexEntry {
    /// Name of the model.
    pub name: String,
    /// One version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `READY`, `UNAVAILABLE` or `LOADING`.
    pub state: String,
    /// Why it is in that state; may be empty.
    #[serde(default)]
    pub reason: String,
}

/// Body of `POST /v2/repository/models/{model}/load` and `…/unload`, an extension of Triton; an empty
/// body means the default.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct RepositoryControlRequest {
    /// Of a load, ours: `version`. Of an unload: `unload_dependents`.
    #[serde(default, deserialize_with = "super::parameter::null_as_empty")]
    pub parameters: Parameters,
}
