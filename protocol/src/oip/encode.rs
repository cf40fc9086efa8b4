//! From requests and responses to bytes.

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::{
    Datatype, EncodeError, InferRequest, InferResponse, Parameters, RequestedOutput, Tensor,
    binary, json,
};

/// The form of the data of a tensor.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TensorFormat {
    /// `data` in the JSON.
    #[default]
    Json,
    /// Raw bytes after the JSON, with `binary_data_size` in the tensor's parameters.
    Binary,
}

/// A body that is ready to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encoded {
    /// JSON, followed by the binary tensors.
    pub body: Bytes,
    /// Value for [`HEADER_LENGTH`](super::HEADER_LENGTH); `None` for JSON alone, which must not
    /// have the header.
    pub header_length: Option<usize>,
}

/// Bytes of JSON that hold all but the tensors, with two parameters as the model service has them.
const USUAL_HEAD: usize = 256;
/// Bytes of JSON of a tensor without its elements.
const USUAL_TENSOR: usize = 96;
/// An FP32 in full precision takes ten to twelve.
const USUAL_ELEMENT: usize = 12;

impl Encoded {
    /// The content type that clients expect of this body.
    pub fn content_type(&self) -> &'static str {
        if self.header_length.is_some() {
            "application/octet-stream"
        } else {
            "application/json"
        }
    }
}

impl InferRequest {
    /// Writes the request with all inputs in one form.
    pub fn encode(&self, format: TensorFormat) -> Result<Encoded, EncodeError> {
        let mut tail = Vec::new();
        let inputs = self
            .inputs
            .iter()
            .map(|input| wire(&input.tensor, &input.parameters, format, &mut tail));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let head = WireRequest {
            id: self.id.as_deref(),
            parameters: &self.parameters,
            inputs: &inputs,
            outputs: &self.outputs,
        };
        join(&head, &inputs, &tail)
    }
}

impl InferResponse {
    /// Writes the response with all outputs in one form.
    pub fn encode(&self, format: TensorFormat) -> Result<Encoded, EncodeError> {
        self.write(|_| Some(format))
    }

    /// Writes the requested outputs, each in its requested form.
    pub fn encode_for(&self, request: &InferRequest) -> Result<Encoded, EncodeError> {
        self.write(|name| {
            request
                .wants_output(name)
                .then(|| request.output_format(name))
        })
    }

    fn write(&self, choose: impl Fn(&str) -> Option<TensorFormat>) -> Result<Encoded, EncodeError> {
        let mut tail = Vec::new();
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            if let Some(format) = choose(&output.tensor.name) {
                outputs.push(wire(&output.tensor, &output.parameters, format, &mut tail)?);
            }
        }
        let head = WireResponse {
            model_name: &self.model_name,
            model_version: self.model_version.as_deref(),
            id: self.id.as_deref(),
            parameters: &self.parameters,
            outputs: &outputs,
        };
        join(&head, &outputs, &tail)
    }
}

#[derive(Serialize)]
struct WireRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: &'a Parameters,
    inputs: &'a [WireTensor<'a>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    outputs: &'a [RequestedOutput],
}

#[derive(Serialize)]
struct WireResponse<'a> {
    model_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Parameters::is_empty")]
    parameters: &'a Parameters,
    outputs: &'a [WireTensor<'a>],
}

#[derive(Serialize)]
struct WireTensor<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: Datatype,
    #[serde(skip_serializing_if = "WireParameters::is_empty")]
    parameters: WireParameters<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<json::Flat<'a>>,
}

/// Parameters with the size of the binary data among them.
struct WireParameters<'a> {
    own: &'a Parameters,
    binary_data_size: Option<usize>,
}

impl WireTensor<'_> {
    fn is_binary(&self) -> bool {
        self.data.is_none()
    }

    /// About how long it is as JSON, so that the body seldom grows while it is written.
    fn json_size(&self) -> usize {
        let elements = self.data.as_ref().map_or(0, |data| data.0.len());
        USUAL_TENSOR + USUAL_ELEMENT * elements
    }
}

impl WireParameters<'_> {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.binary_data_size.is_none()
    }
}

impl Serialize for WireParameters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self
            .own
            .iter()
            .filter(|(name, _)| *name != "binary_data_size")
        {
            map.serialize_entry(name, value)?;
        }
        if let Some(size) = self.binary_data_size {
            map.serialize_entry("binary_data_size", &size)?;
        }
        map.end()
    }
}

fn wire<'a>(
    tensor: &'a Tensor,
    own: &'a Parameters,
    format: TensorFormat,
    tail: &mut Vec<u8>,
) -> Result<WireTensor<'a>, EncodeError> {
    if tensor.expected_len().ok() != Some(tensor.data.len()) {
        return Err(EncodeError::Shape {
            tensor: tensor.name.to_string(),
        });
    }
    let (binary_data_size, data) = match format {
        TensorFormat::Binary => (Some(binary::encode(tensor, tail)?), None),
        TensorFormat::Json => {
            json::check(tensor)?;
            (None, Some(json::Flat(&tensor.data)))
        }
    };
    let parameters = WireParameters {
        own,
        binary_data_size,
    };
    Ok(WireTensor {
        name: &tensor.name,
        shape: &tensor.shape,
        datatype: tensor.datatype(),
        parameters,
        data,
    })
}

/// Writes `head`, which holds the tensors, and then their binary data.
fn join(
    head: &impl Serialize,
    tensors: &[WireTensor<'_>],
    tail: &[u8],
) -> Result<Encoded, EncodeError> {
    let json_size: usize = tensors.iter().map(WireTensor::json_size).sum();
    let mut body = Vec::with_capacity(USUAL_HEAD + json_size + tail.len());
    serde_json::to_writer(&mut body, head).map_err(EncodeError::Json)?;
    let is_binary = tensors.iter().any(WireTensor::is_binary);
    let header_length = is_binary.then_some(body.len());
    body.extend_from_slice(tail);
    Ok(Encoded {
        body: Bytes::from(body),
        header_length,
    })
}
