//! A tensor with typed data in row-major order.

use std::borrow::Cow;

use bytes::Bytes;
use half::{bf16, f16};

use super::{Datatype, DecodeError};

/// A named tensor. Decoding and encoding check that the product of `shape` is the number of
/// elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name of the input or output; the names that a service gives itself are constants.
    pub name: Cow<'static, str>,
    /// Size of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements in row-major order.
    pub data: TensorData,
}

/// The elements of a tensor, one variant for each [`Datatype`].
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are those of the protocol")]
pub enum TensorData {
    Bool(Vec<bool>),
    Uint8(Vec<u8>),
    Uint16(Vec<u16>),
    Uint32(Vec<u32>),
    Uint64(Vec<u64>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Fp16(Vec<f16>),
    Bf16(Vec<bf16>),
    Fp32(Vec<f32>),
    Fp64(Vec<f64>),
    Bytes(Vec<Bytes>),
}

impl Tensor {
    /// A tensor; an error if the shape does not fit the data.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        shape: Vec<usize>,
        data: TensorData,
    ) -> Result<Self, DecodeError> {
        let tensor = Self {
            name: name.into(),
            shape,
            data,
        };
        let expected = tensor.expected_len()?;
        if tensor.data.len() == expected {
            Ok(tensor)
        } else {
            Err(DecodeError::ElementCount {
                found: tensor.data.len(),
                expected,
                tensor: tensor.name.into_owned(),
            })
        }
    }

    /// A tensor of BYTES of shape `[n]`.
    pub fn from_texts<T: Into<String>>(
        name: impl Into<Cow<'static, str>>,
        texts: impl IntoIterator<Item = T>,
    ) -> Self {
        let data: Vec<Bytes> = texts
            .into_iter()
            .map(|text| Bytes::from(text.into()))
            .collect();
        Self {
            name: name.into(),
            shape: vec![data.len()],
            data: TensorData::Bytes(data),
        }
    }

    /// A tensor of FP32; an error if the shape does not fit the data.
    pub fn from_fp32(
        name: impl Into<Cow<'static, str>>,
        shape: Vec<usize>,
        data: Vec<f32>,
    ) -> Result<Self, DecodeError> {
        Self::new(name, shape, TensorData::Fp32(data))
    }

    /// Type of the elements.
    pub fn datatype(&self) -> Datatype {
        self.data.datatype()
    }

    /// The elements if they are FP32.
    pub fn as_fp32(&self) -> Option<&[f32]> {
        if let TensorData::Fp32(data) = &self.data {
            Some(data)
        } else {
            None
        }
    }

    /// The elements if they are BYTES.
    pub fn as_bytes(&self) -> Option<&[Bytes]> {
        if let TensorData::Bytes(data) = &self.data {
            Some(data)
        } else {
            None
        }
    }

    /// The elements as texts; an error if the tensor is not BYTES or one of them is not UTF-8.
    pub fn as_texts(&self) -> Result<Vec<&str>, DecodeError> {
        let error = |index| DecodeError::Element {
            tensor: self.name.to_string(),
            index,
            datatype: Datatype::Bytes,
        };
        let data = self.as_bytes().ok_or_else(|| error(0))?;
        let texts = data
            .iter()
            .enumerate()
            .map(|(at, item)| std::str::from_utf8(item).map_err(|_| error(at)));
        texts.collect()
    }

    /// The product of the shape; an error if it overflows.
    pub(super) fn expected_len(&self) -> Result<usize, DecodeError> {
        element_count(&self.name, &self.shape)
    }
}

impl TensorData {
    /// Type of the elements.
    pub fn datatype(&self) -> Datatype {
        match self {
            Self::Bool(_) => Datatype::Bool,
            Self::Uint8(_) => Datatype::Uint8,
            Self::Uint16(_) => Datatype::Uint16,
            Self::Uint32(_) => Datatype::Uint32,
            Self::Uint64(_) => Datatype::Uint64,
            Self::Int8(_) => Datatype::Int8,
            Self::Int16(_) => Datatype::Int16,
            Self::Int32(_) => Datatype::Int32,
            Self::Int64(_) => Datatype::Int64,
            Self::Fp16(_) => Datatype::Fp16,
            Self::Bf16(_) => Datatype::Bf16,
            Self::Fp32(_) => Datatype::Fp32,
            Self::Fp64(_) => Datatype::Fp64,
            Self::Bytes(_) => Datatype::Bytes,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Bool(data) => data.len(),
            Self::Uint8(data) => data.len(),
            Self::Uint16(data) => data.len(),
            Self::Uint32(data) => data.len(),
            Self::Uint64(data) => data.len(),
            Self::Int8(data) => data.len(),
            Self::Int16(data) => data.len(),
            Self::Int32(data) => data.len(),
            Self::Int64(data) => data.len(),
            Self::Fp16(data) => data.len(),
            Self::Bf16(data) => data.len(),
            Self::Fp32(data) => data.len(),
            Self::Fp64(data) => data.len(),
            Self::Bytes(data) => data.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// More dimensions than any model has; the limit bounds the work for a hostile shape.
pub(super) const MAX_DIMENSIONS: usize = 16;

/// The product of a shape; an error if it overflows.
pub(super) fn element_count(tensor: &str, shape: &[usize]) -> Result<usize, DecodeError> {
    let count = shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    match count {
        Some(count) if shape.len() <= MAX_DIMENSIONS => Ok(count),
        _ => Err(DecodeError::Shape {
            tensor: tensor.to_owned(),
        }),
    }
}
