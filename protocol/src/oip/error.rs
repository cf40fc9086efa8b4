//! Errors of reading and writing bodies, and the body of error answers.
//!
//! Policy: `Display` repeats no data of the request except names of tensors, so the text can be
//! answered and logged.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Datatype;
use crate::ErrorCode;

/// Why a body cannot be read; a server answers with 400.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not JSON, or JSON of another shape.
    #[error("the body is not an Open Inference Protocol message")]
    Json(#[source] serde_json::Error),
    /// `Inference-Header-Content-Length` is not a number.
    #[error("Inference-Header-Content-Length is not a number")]
    HeaderValue,
    /// `Inference-Header-Content-Length` is larger than the body.
    #[error("Inference-Header-Content-Length is {header}, but the body has {body} bytes")]
    HeaderLength {
        /// Value of the header.
        header: usize,
        /// Bytes in the body, after decompression.
        body: usize,
    },
    /// A raw request (header value 0), which only a model with exactly one input can take.
    #[error("a raw binary request needs a model with exactly one input")]
    RawRequest,
    /// More dimensions than any tensor has, or an overflowing product of them.
    #[error("the shape of tensor `{tensor}` is too large")]
    Shape {
        /// Name of the tensor.
        tensor: String,
    },
    /// The number of elements is not the product of the shape.
    #[error("tensor `{tensor}` should have {expected} elements and has {found}")]
    ElementCount {
        /// Name of the tensor.
        tensor: String,
        /// Product of the shape.
        expected: usize,
        /// Elements in the data.
        found: usize,
    },
    /// The number of bytes does not fit shape and datatype.
    #[error("tensor `{tensor}` should have {expected} bytes and has {found}")]
    ByteCount {
        /// Name of the tensor.
        tensor: String,
        /// Product of the shape times the size of an element.
        expected: usize,
        /// Bytes in the data.
        found: usize,
    },
    /// Nested lists of another shape.
    #[error("the nested data of tensor `{tensor}` does not have its shape")]
    Nesting {
        /// Name of the tensor.
        tensor: String,
    },
    /// An element that is not of the datatype.
    #[error("element {index} of tensor `{tensor}` is not a {datatype}")]
    Element {
        /// Name of the tensor.
        tensor: String,
        /// Position in row-major order.
        index: usize,
        /// The declared type.
        datatype: Datatype,
    },
    /// Neither `data` nor `binary_data_size`.
    #[error("tensor `{tensor}` has no data")]
    NoData {
        /// Name of the tensor.
        tensor: String,
    },
    /// Both `data` and `binary_data_size`.
    #[error("tensor `{tensor}` has both JSON and binary data")]
    TwoForms {
        /// Name of the tensor.
        tensor: String,
    },
    /// `binary_data_size` is not a size.
    #[error("binary_data_size of tensor `{tensor}` is not a size")]
    BinarySize {
        /// Name of the tensor.
        tensor: String,
    },
    /// The body ends before the binary data of a tensor does.
    #[error("the binary data of tensor `{tensor}` runs past the end of the body")]
    Truncated {
        /// Name of the tensor.
        tensor: String,
    },
    /// The body has bytes after the last tensor.
    #[error("{bytes} bytes are left over after the last tensor")]
    LeftOver {
        /// How many.
        bytes: usize,
    },
    /// FP16 or BF16 as JSON.
    #[error("tensor `{tensor}` is {datatype}, which has a binary form only")]
    BinaryOnly {
        /// Name of the tensor.
        tensor: String,
        /// FP16 or BF16.
        datatype: Datatype,
    },
    /// Two tensors of one name.
    #[error("tensor `{tensor}` is given twice")]
    Duplicate {
        /// Name of the tensor.
        tensor: String,
    },
    /// A reserved parameter with an unusable value.
    #[error("parameter `{name}` has an unusable value")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
    },
    /// The parameter of Triton's classification extension, which would change the type and shape of
    /// an output.
    #[error(
        "the classification extension is not supported; ask for the output `probabilities` without the parameter `classification`"
    )]
    Classification,
    /// An output that the model does not have.
    #[error("the model has no output `{output}`")]
    UnknownOutput {
        /// The requested name.
        output: String,
    },
}

/// Why a body cannot be written in the requested form.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// FP16 or BF16 as JSON.
    #[error("tensor `{tensor}` is {datatype}, which has a binary form only")]
    BinaryOnly {
        /// Name of the tensor.
        tensor: String,
        /// FP16 or BF16.
        datatype: Datatype,
    },
    /// NaN or an infinity as JSON.
    #[error("element {index} of tensor `{tensor}` is not finite and has no JSON form")]
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// Position in row-major order.
        index: usize,
    },
    /// BYTES that are not UTF-8 as JSON.
    #[error("element {index} of tensor `{tensor}` is not UTF-8 and has no JSON form")]
    NotText {
        /// Name of the tensor.
        tensor: String,
        /// Position in row-major order.
        index: usize,
    },
    /// The number of elements is not the product of the shape.
    #[error("tensor `{tensor}` does not have as many elements as its shape says")]
    Shape {
        /// Name of the tensor.
        tensor: String,
    },
    /// One element of BYTES is longer than the format allows (4 GiB).
    #[error("element {index} of tensor `{tensor}` is too long")]
    TooLong {
        /// Name of the tensor.
        tensor: String,
        /// Position in row-major order.
        index: usize,
    },
    /// The serializer failed, which cannot happen when it writes into a `Vec<u8>`.
    #[error("the message cannot be written as JSON")]
    Json(#[source] serde_json::Error),
}

/// Body of every answer that is not 200. Clients of the protocol read only `error`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ErrorBody {
    /// A sentence for people.
    pub error: String,
    /// The word of an [`ErrorCode`]; other servers of the protocol may send any word or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// The trace of the request, 32 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl ErrorBody {
    /// A body with a text and a code.
    pub fn new(error: impl Into<String>, code: ErrorCode) -> Self {
        Self {
            error: error.into(),
            code: Some(Cow::Borrowed(code.as_str())),
            trace_id: None,
        }
    }

    /// The code, if it is one of ours.
    pub fn known_code(&self) -> Option<ErrorCode> {
        ErrorCode::parse(self.code.as_deref()?)
    }

    /// The JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}
