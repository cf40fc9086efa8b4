//! Tensor data as raw bytes: little-endian, row-major, without padding; BYTES as length (u32) and
//! bytes per element.

use bytes::Bytes;
use half::{bf16, f16};

use super::tensor::element_count;
use super::{Datatype, DecodeError, EncodeError, Tensor, TensorData};

/// Reads one tensor from exactly `raw`; elements of BYTES share its memory.
pub(super) fn decode(
    name: String,
    shape: Vec<usize>,
    datatype: Datatype,
    raw: &Bytes,
) -> Result<Tensor, DecodeError> {
    let count = element_count(&name, &shape)?;
    if let Some(size) = datatype.size() {
        let expected = count.checked_mul(size).ok_or_else(|| DecodeError::Shape {
            tensor: name.clone(),
        })?;
        if raw.len() != expected {
            return Err(DecodeError::ByteCount {
                tensor: name,
                expected,
                found: raw.len(),
            });
        }
    }
    let data = match datatype {
        Datatype::Bool => TensorData::Bool(bools(&name, raw)?),
        Datatype::Uint8 => TensorData::Uint8(raw.to_vec()),
        Datatype::Uint16 => TensorData::Uint16(numbers(raw, u16::from_le_bytes)),
        Datatype::Uint32 => TensorData::Uint32(numbers(raw, u32::from_le_bytes)),
        Datatype::Uint64 => TensorData::Uint64(numbers(raw, u64::from_le_bytes)),
        Datatype::Int8 => TensorData::Int8(numbers(raw, i8::from_le_bytes)),
        Datatype::Int16 => TensorData::Int16(numbers(raw, i16::from_le_bytes)),
        Datatype::Int32 => TensorData::Int32(numbers(raw, i32::from_le_bytes)),
        Datatype::Int64 => TensorData::Int64(numbers(raw, i64::from_le_bytes)),
        Datatype::Fp16 => TensorData::Fp16(numbers(raw, f16::from_le_bytes)),
        Datatype::Bf16 => TensorData::Bf16(numbers(raw, bf16::from_le_bytes)),
        Datatype::Fp32 => TensorData::Fp32(numbers(raw, f32::from_le_bytes)),
        Datatype::Fp64 => TensorData::Fp64(numbers(raw, f64::from_le_bytes)),
        Datatype::Bytes => TensorData::Bytes(elements(&name, count, raw)?),
    };
    Ok(Tensor {
        name: name.into(),
        shape,
        data,
    })
}

/// Appends the bytes of a tensor and returns their number.
pub(super) fn encode(tensor: &Tensor, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
    let start = out.len();
    match &tensor.data {
        TensorData::Bool(data) => out.extend(data.iter().map(|&flag| u8::from(flag))),
        TensorData::Uint8(data) => out.extend_from_slice(data),
        TensorData::Uint16(data) => extend(out, data, u16::to_le_bytes),
        TensorData::Uint32(data) => extend(out, data, u32::to_le_bytes),
        TensorData::Uint64(data) => extend(out, data, u64::to_le_bytes),
        TensorData::Int8(data) => extend(out, data, i8::to_le_bytes),
        TensorData::Int16(data) => extend(out, data, i16::to_le_bytes),
        TensorData::Int32(data) => extend(out, data, i32::to_le_bytes),
        TensorData::Int64(data) => extend(out, data, i64::to_le_bytes),
        TensorData::Fp16(data) => extend(out, data, half::f16::to_le_bytes),
        TensorData::Bf16(data) => extend(out, data, half::bf16::to_le_bytes),
        TensorData::Fp32(data) => extend(out, data, f32::to_le_bytes),
        TensorData::Fp64(data) => extend(out, data, f64::to_le_bytes),
        TensorData::Bytes(data) => {
            for (index, item) in data.iter().enumerate() {
                let length = u32::try_from(item.len()).map_err(|_| EncodeError::TooLong {
                    tensor: tensor.name.to_string(),
                    index,
                })?;
                out.extend_from_slice(&length.to_le_bytes());
                out.extend_from_slice(item);
            }
        }
    }
    Ok(out.len() - start)
}

fn numbers<T, const N: usize>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = raw.as_chunks::<N>();
    chunks.iter().map(|chunk| read(*chunk)).collect()
}

fn extend<T: Copy, const N: usize>(out: &mut Vec<u8>, data: &[T], write: impl Fn(T) -> [u8; N]) {
    out.reserve(data.len() * N);
    for &number in data {
        out.extend_from_slice(&write(number));
    }
}

fn bools(tensor: &str, raw: &[u8]) -> Result<Vec<bool>, DecodeError> {
    let read = |(index, &byte): (usize, &u8)| match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Element {
            tensor: tensor.to_owned(),
            index,
            datatype: Datatype::Bool,
        }),
    };
    raw.iter().enumerate().map(read).collect()
}

fn elements(tensor: &str, count: usize, raw: &Bytes) -> Result<Vec<Bytes>, DecodeError> {
    // The shape may be wrong. Each element has four bytes of length, so the body limits the
    // allocation.
    let mut data = Vec::with_capacity(count.min(raw.len() / 4));
    let mut rest = raw.clone();
    while !rest.is_empty() {
        let truncated = || DecodeError::Truncated {
            tensor: tensor.to_owned(),
        };
        let length = rest
            .split_first_chunk::<4>()
            .map(|(head, _)| u32::from_le_bytes(*head))
            .ok_or_else(truncated)?;
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(4))
            .ok_or_else(truncated)?;
        if end > rest.len() {
            return Err(truncated());
        }
        data.push(rest.split_to(end).slice(4..));
    }
    if data.len() == count {
        Ok(data)
    } else {
        Err(DecodeError::ElementCount {
            tensor: tensor.to_owned(),
            expected: count,
            found: data.len(),
        })
    }
}
