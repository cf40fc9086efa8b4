//! Open Inference Protocol V2 over REST, with Triton's binary tensor data extension.
//!
//! Protocol: <https://github.com/kserve/open-inference-protocol>; binary extension:
//! `extension_binary_data.md` in triton-inference-server/server.

mod binary;
mod datatype;
mod decode;
mod encode;
mod error;
mod json;
mod metadata;
mod parameter;
mod salvage;
mod tensor;

use std::time::Duration;

pub use datatype::Datatype;
pub use decode::parse_header_length;
pub use encode::{Encoded, TensorFormat};
pub use error::{DecodeError, EncodeError, ErrorBody};
pub use metadata::{
    Live, ModelList, ModelMetadata, ModelReady, ModelTraining, Ready, RepositoryControlRequest,
    RepositoryIndexEntry, RepositoryIndexRequest, ServerMetadata, TensorMetadata,
};
pub use parameter::{Parameter, Parameters};
pub use tensor::{Tensor, TensorData};

/// Name of the header for the number of bytes of a body that are JSON; in lower case for HTTP/2 and
/// `http::HeaderName`.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// Body of `POST /v2/models/{model}[/versions/{version}]/infer`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferRequest {
    /// Chosen by the client; a response must repeat it.
    pub id: Option<String>,
    /// Parameters of the request as a whole.
    pub parameters: Parameters,
    /// The input tensors, in the order of the body.
    pub inputs: Vec<InferInput>,
    /// The requested outputs; empty means all of them.
    pub outputs: Vec<RequestedOutput>,
}

/// One input tensor with its parameters (`binary_data_size` belongs to the encoding and is not
/// among them).
#[derive(Clone, Debug, PartialEq)]
pub struct InferInput {
    /// Name, shape and data.
    pub tensor: Tensor,
    /// Parameters of this input.
    pub parameters: Parameters,
}

/// An output that the client asks for by name.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct RequestedOutput {
    /// Name of the output tensor.
    pub name: String,
    /// Parameters of this output; `binary_data` (bool) sets its form in the answer.
    #[serde(
        default,
        deserialize_with = "parameter::null_as_empty",
        skip_serializing_if = "Parameters::is_empty"
    )]
    pub parameters: Parameters,
}

/// Body of a successful answer to an [`InferRequest`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InferResponse {
    /// Name of the model; the kserve client requires it.
    pub model_name: String,
    /// The version that answered.
    pub model_version: Option<String>,
    /// The id of the request.
    pub id: Option<String>,
    /// Parameters of the response as a whole.
    pub parameters: Parameters,
    /// The output tensors.
    pub outputs: Vec<InferOutput>,
}

/// One output tensor with its parameters (`binary_data_size` belongs to the encoding and is not
/// among them).
#[derive(Clone, Debug, PartialEq)]
pub struct InferOutput {
    /// Name, shape and data.
    pub tensor: Tensor,
    /// Parameters of this output.
    pub parameters: Parameters,
}

impl InferRequest {
    /// A request with these tensors and nothing else.
    pub fn new(inputs: impl IntoIterator<Item = Tensor>) -> Self {
        Self {
            inputs: inputs.into_iter().map(InferInput::from).collect(),
            ..Self::default()
        }
    }

    /// The input tensor of this name.
    pub fn input(&self, name: &str) -> Option<&Tensor> {
        self.inputs
            .iter()
            .map(|input| &input.tensor)
            .find(|tensor| tensor.name == name)
    }

    /// The reserved parameter `timeout`, which is in microseconds; an error if it is no whole
    /// number. 0 is no timeout, as in Triton
    /// (`TRITONSERVER_InferenceRequestSetTimeoutMicroseconds`), so the server's own counts.
    pub fn timeout(&self) -> Result<Option<Duration>, DecodeError> {
        match self.parameters.get("timeout") {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(0) => Ok(None),
                Some(micros) => Ok(Some(Duration::from_micros(micros))),
                None => Err(DecodeError::Parameter { name: "timeout" }),
            },
        }
    }

    /// Sets the reserved parameter `timeout`, rounded down to whole microseconds, at least one.
    pub fn set_timeout(&mut self, timeout: Duration) {
        let micros = i64::try_from(timeout.as_micros())
            .unwrap_or(i64::MAX)
            .max(1);
        self.parameters.insert("timeout", micros);
    }

    /// Whether the answer should have this output.
    pub fn wants_output(&self, name: &str) -> bool {
        self.outputs.is_empty() || self.outputs.iter().any(|output| output.name == name)
    }

    /// The requested form of this output: `binary_data` of the output, else `binary_data_output` of
    /// the request, else JSON.
    pub fn output_format(&self, name: &str) -> TensorFormat {
        let of_output = self.outputs.iter().find(|output| output.name == name);
        let flag = of_output
            .and_then(|output| output.parameters.get("binary_data"))
            .or_else(|| self.parameters.get("binary_data_output"))
            .and_then(Parameter::as_bool);
        if flag == Some(true) {
            TensorFormat::Binary
        } else {
            TensorFormat::Json
        }
    }

    /// Asks for all outputs in this form, by `binary_data_output`.
    pub fn set_output_format(&mut self, format: TensorFormat) {
        let binary = format == TensorFormat::Binary;
        self.parameters.insert("binary_data_output", binary);
    }

    /// An error if the request asks for an output that the model does not have, or for one in the
    /// form of Triton's classification extension.
    pub fn check_outputs<S: AsRef<str>>(&self, available: &[S]) -> Result<(), DecodeError> {
        for output in &self.outputs {
            if !available.iter().any(|name| name.as_ref() == output.name) {
                return Err(DecodeError::UnknownOutput {
                    output: output.name.clone(),
                });
            }
            if output.parameters.get("classification").is_some() {
                return Err(DecodeError::Classification);
            }
        }
        Ok(())
    }
}

impl InferResponse {
    /// The output tensor of this name.
    pub fn output(&self, name: &str) -> Option<&Tensor> {
        self.outputs
            .iter()
            .map(|output| &output.tensor)
            .find(|tensor| tensor.name == name)
    }
}

impl From<Tensor> for InferInput {
    fn from(tensor: Tensor) -> Self {
        Self {
            tensor,
            parameters: Parameters::default(),
        }
    }
}

impl From<Tensor> for InferOutput {
    fn from(tensor: Tensor) -> Self {
        Self {
            tensor,
            parameters: Parameters::default(),
        }
    }
}

#[cfg(test)]
mod tests;
