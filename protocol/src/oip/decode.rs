//! From bytes to requests and responses.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::Object;

use super::{
    Datatype, DecodeError, InferInput, InferOutput, InferRequest, InferResponse, Parameters,
    RequestedOutput, Tensor, TensorData, TensorFormat, TensorMetadata, binary, json, parameter,
    salvage,
};

impl InferRequest {
    /// Reads a request body, after decompression.
    ///
    /// `header_length` is the value of [`HEADER_LENGTH`](super::HEADER_LENGTH), if the request has
    /// it: so many bytes are JSON, the rest are tensors in order of appearance. The value 0 marks a
    /// raw request; see [`InferRequest::from_raw`].
    pub fn decode(body: &Bytes, header_length: Option<usize>) -> Result<Self, DecodeError> {
        if header_length == Some(0) {
            return Err(DecodeError::RawRequest);
        }
        let (head, tail) = split(body, header_length)?;
        let wire: WireRequest<'_> = crate::object(&head).map_err(DecodeError::Json)?;
        let tensors = tensors(wire.inputs, &head, tail, json::decode)?;
        Ok(Self {
            id: wire.id,
            parameters: wire.parameters,
            inputs: tensors
                .into_iter()
                .map(|(tensor, parameters)| InferInput { tensor, parameters })
                .collect(),
            outputs: wire
                .outputs
                .unwrap_or_default()
                .into_iter()
                .map(|Object(output)| output)
                .collect(),
        })
    }

    /// A raw request: the whole body is the one input of the model, whose metadata gives name, type
    /// and shape.
    ///
    /// The number of bytes determines one variable dimension. BYTES are one element without a
    /// length, as in Triton.
    pub fn from_raw(body: &Bytes, input: &TensorMetadata) -> Result<Self, DecodeError> {
        let shape = raw_shape(body.len(), input)?;
        let tensor = match input.datatype {
            Datatype::Bytes => Tensor::new(
                input.name.clone(),
                shape,
                TensorData::Bytes(vec![body.clone()]),
            )?,
            datatype => binary::decode(input.name.clone(), shape, datatype, body)?,
        };
        let mut request = Self::new([tensor]);
        request.set_output_format(TensorFormat::Binary);
        Ok(request)
    }
}

impl InferResponse {
    /// Reads a response body; `header_length` as in [`InferRequest::decode`].
    ///
    /// Other than in a request, an element of JSON that is no value of its type, such as `null` or
    /// `NaN`, is NaN or an empty text: one row of a batch takes no others with it.
    pub fn decode(body: &Bytes, header_length: Option<usize>) -> Result<Self, DecodeError> {
        let (head, tail) = split(body, header_length)?;
        match Self::read(&head, tail.clone()) {
            Err(DecodeError::Json(error)) => {
                let head = salvage::without_words(&head).ok_or(DecodeError::Json(error))?;
                Self::read(&head, tail)
            }
            read => read,
        }
    }

    fn read(head: &Bytes, tail: Bytes) -> Result<Self, DecodeError> {
        let wire: WireResponse<'_> = crate::object(head).map_err(DecodeError::Json)?;
        let tensors = tensors(wire.outputs, head, tail, salvage::decode)?;
        Ok(Self {
            model_name: wire.model_name,
            model_version: wire.model_version,
            id: wire.id,
            parameters: wire.parameters,
            outputs: tensors
                .into_iter()
                .map(|(tensor, parameters)| InferOutput { tensor, parameters })
                .collect(),
        })
    }
}

/// Reads the value of [`HEADER_LENGTH`](super::HEADER_LENGTH): decimal digits only.
pub fn parse_header_length(value: &[u8]) -> Result<usize, DecodeError> {
    let text = std::str::from_utf8(value)
        .map_err(|_| DecodeError::HeaderValue)?
        .trim();
    if text.starts_with('+') {
        return Err(DecodeError::HeaderValue);
    }
    text.parse().map_err(|_| DecodeError::HeaderValue)
}

// Unknown fields are ignored everywhere, because the kserve client sends some of its own.
#[derive(Deserialize)]
struct WireRequest<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default, deserialize_with = "parameter::null_as_empty")]
    parameters: Parameters,
    #[serde(borrow)]
    inputs: Vec<Object<WireTensor<'a>>>,
    #[serde(default)]
    outputs: Option<Vec<Object<RequestedOutput>>>,
}

#[derive(Deserialize)]
struct WireResponse<'a> {
    model_name: String,
    #[serde(default)]
    model_version: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, deserialize_with = "parameter::null_as_empty")]
    parameters: Parameters,
    #[serde(borrow)]
    outputs: Vec<Object<WireTensor<'a>>>,
}

#[derive(Deserialize)]
struct WireTensor<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: Datatype,
    #[serde(default, deserialize_with = "parameter::null_as_empty")]
    parameters: Parameters,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

fn split(body: &Bytes, header_length: Option<usize>) -> Result<(Bytes, Bytes), DecodeError> {
    let header = header_length.unwrap_or(body.len());
    if header > body.len() {
        return Err(DecodeError::HeaderLength {
            header,
            body: body.len(),
        });
    }
    Ok((body.slice(..header), body.slice(header..)))
}

/// How the data of a tensor in JSON are read.
type ReadJson = fn(&str, &[usize], Datatype, &str, &Bytes) -> Result<TensorData, DecodeError>;

fn tensors(
    wire: Vec<Object<WireTensor<'_>>>,
    head: &Bytes,
    mut tail: Bytes,
    read_json: ReadJson,
) -> Result<Vec<(Tensor, Parameters)>, DecodeError> {
    let mut tensors: Vec<(Tensor, Parameters)> = Vec::with_capacity(wire.len());
    for Object(wire) in wire {
        if tensors.iter().any(|(tensor, _)| tensor.name == wire.name) {
            return Err(DecodeError::Duplicate { tensor: wire.name });
        }
        tensors.push(tensor(wire, head, &mut tail, read_json)?);
    }
    if tail.is_empty() {
        Ok(tensors)
    } else {
        Err(DecodeError::LeftOver { bytes: tail.len() })
    }
}

fn tensor(
    wire: WireTensor<'_>,
    head: &Bytes,
    tail: &mut Bytes,
    read_json: ReadJson,
) -> Result<(Tensor, Parameters), DecodeError> {
    let WireTensor {
        name,
        shape,
        datatype,
        mut parameters,
        data,
    } = wire;
    let tensor = match (data, parameters.remove("binary_data_size")) {
        (Some(_), Some(_)) => return Err(DecodeError::TwoForms { tensor: name }),
        (None, None) => return Err(DecodeError::NoData { tensor: name }),
        (Some(raw), None) => Tensor {
            data: read_json(&name, &shape, datatype, raw.get(), head)?,
            name: name.into(),
            shape,
        },
        (None, Some(size)) => {
            let Some(size) = size.as_u64().and_then(|size| usize::try_from(size).ok()) else {
                return Err(DecodeError::BinarySize { tensor: name });
            };
            if size > tail.len() {
                return Err(DecodeError::Truncated { tensor: name });
            }
            binary::decode(name, shape, datatype, &tail.split_to(size))?
        }
    };
    Ok((tensor, parameters))
}

fn raw_shape(bytes: usize, input: &TensorMetadata) -> Result<Vec<usize>, DecodeError> {
    let fixed: Vec<usize> = input
        .shape
        .iter()
        .map(|&size| usize::try_from(size).unwrap_or(1))
        .collect();
    let variable: Vec<usize> = (0..fixed.len()).filter(|&at| input.shape[at] < 0).collect();
    let Some(size) = input.datatype.size() else {
        return Ok(fixed);
    };
    let row = super::tensor::element_count(&input.name, &fixed)?.checked_mul(size);
    match (variable.as_slice(), row) {
        ([at], Some(row)) if row > 0 => {
            let mut shape = fixed;
            shape[*at] = bytes / row;
            Ok(shape)
        }
        ([], _) => Ok(fixed),
        _ => Err(DecodeError::Shape {
            tensor: input.name.clone(),
        }),
    }
}
