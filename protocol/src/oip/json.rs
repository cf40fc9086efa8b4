//! Tensor data as JSON: a list, flat or nested like the shape, in row-major order.

use std::str::FromStr;

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::tensor::{MAX_DIMENSIONS, element_count};
use super::{Datatype, DecodeError, EncodeError, Tensor, TensorData};

/// Reads the data of one tensor from `raw`, a valid JSON value that lies inside `body`; texts without
/// escapes share the body's memory.
///
/// The elements are read straight into their type. A tree of `serde_json::Value` would cost 32
/// bytes for each, and numbers would pass through f64, which rounds FP32 twice and cannot hold
/// every INT64.
pub(super) fn decode(
    name: &str,
    shape: &[usize],
    datatype: Datatype,
    raw: &str,
    body: &Bytes,
) -> Result<TensorData, DecodeError> {
    let expected = element_count(name, shape)?;
    let list = List {
        raw,
        shape,
        expected,
    };
    let data = match datatype {
        Datatype::Bool => list.read(bool).map(TensorData::Bool),
        Datatype::Uint8 => list.read(number).map(TensorData::Uint8),
        Datatype::Uint16 => list.read(number).map(TensorData::Uint16),
        Datatype::Uint32 => list.read(number).map(TensorData::Uint32),
        Datatype::Uint64 => list.read(number).map(TensorData::Uint64),
        Datatype::Int8 => list.read(number).map(TensorData::Int8),
        Datatype::Int16 => list.read(number).map(TensorData::Int16),
        Datatype::Int32 => list.read(number).map(TensorData::Int32),
        Datatype::Int64 => list.read(number).map(TensorData::Int64),
        Datatype::Fp32 => list
            .read(|token| number(token).filter(|x: &f32| x.is_finite()))
            .map(TensorData::Fp32),
        Datatype::Fp64 => list
            .read(|token| number(token).filter(|x: &f64| x.is_finite()))
            .map(TensorData::Fp64),
        Datatype::Bytes => list.read(|token| text(token, body)).map(TensorData::Bytes),
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(DecodeError::BinaryOnly {
                tensor: name.to_owned(),
                datatype,
            });
        }
    };
    data.map_err(|fault| {
        let tensor = name.to_owned();
        match fault {
            Fault::Nesting => DecodeError::Nesting { tensor },
            Fault::Count(found) => DecodeError::ElementCount {
                tensor,
                expected,
                found,
            },
            Fault::Element(index) => DecodeError::Element {
                tensor,
                index,
                datatype,
            },
        }
    })
}

/// An error if a tensor has an element that JSON cannot say.
pub(super) fn check(tensor: &Tensor) -> Result<(), EncodeError> {
    let not_finite = |index| EncodeError::NotFinite {
        tensor: tensor.name.to_string(),
        index,
    };
    let error = match &tensor.data {
        TensorData::Fp32(data) => data.iter().position(|x| !x.is_finite()).map(not_finite),
        TensorData::Fp64(data) => data.iter().position(|x| !x.is_finite()).map(not_finite),
        TensorData::Bytes(data) => data
            .iter()
            .position(|x| std::str::from_utf8(x).is_err())
            .map(|index| EncodeError::NotText {
                tensor: tensor.name.to_string(),
                index,
            }),
        data if data.datatype().has_json_form() => None,
        data => Some(EncodeError::BinaryOnly {
            tensor: tensor.name.to_string(),
            datatype: data.datatype(),
        }),
    };
    error.map_or(Ok(()), Err)
}

/// Tensor data for a serializer, as a flat list; [`check`] comes first.
pub(super) struct Flat<'a>(pub(super) &'a TensorData);

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            TensorData::Bool(data) => data.serialize(serializer),
            TensorData::Uint8(data) => data.serialize(serializer),
            TensorData::Uint16(data) => data.serialize(serializer),
            TensorData::Uint32(data) => data.serialize(serializer),
            TensorData::Uint64(data) => data.serialize(serializer),
            TensorData::Int8(data) => data.serialize(serializer),
            TensorData::Int16(data) => data.serialize(serializer),
            TensorData::Int32(data) => data.serialize(serializer),
            TensorData::Int64(data) => data.serialize(serializer),
            TensorData::Fp16(data) => serializer.collect_seq(data.iter().map(|x| x.to_f32())),
            TensorData::Bf16(data) => serializer.collect_seq(data.iter().map(|x| x.to_f32())),
            TensorData::Fp32(data) => data.serialize(serializer),
            TensorData::Fp64(data) => data.serialize(serializer),
            TensorData::Bytes(data) => {
                serializer.collect_seq(data.iter().map(|x| String::from_utf8_lossy(x)))
            }
        }
    }
}

/// The text of a list and the shape that it should have, of at most [`MAX_DIMENSIONS`].
pub(super) struct List<'a, 's> {
    pub(super) raw: &'a str,
    pub(super) shape: &'s [usize],
    pub(super) expected: usize,
}

pub(super) enum Fault {
    Nesting,
    Count(usize),
    Element(usize),
}

impl<'a> List<'a, '_> {
    /// Walks over the text once, without recursion: the shape bounds the depth, so no nesting can
    /// exhaust the stack.
    pub(super) fn read<T>(&self, element: impl Fn(&'a str) -> Option<T>) -> Result<Vec<T>, Fault> {
        // The shape is only a claim: every element takes two bytes of text, so the body bounds the
        // allocation.
        let mut data = Vec::with_capacity(self.expected.min(self.raw.len() / 2));
        let mut open = OpenLists::default();
        // Whether the list is nested is decided by what comes first inside the outermost bracket.
        let mut nested = None;
        let mut rest = self.raw;
        while let Some(first) = rest.bytes().next() {
            match first {
                b'[' => {
                    let flat = open.depth == 1 && !*nested.get_or_insert(true);
                    if flat || open.depth >= self.shape.len().max(1) {
                        return Err(Fault::Nesting);
                    }
                    open.count_child();
                    open.begin();
                }
                b']' => {
                    let children = open.end().ok_or(Fault::Nesting)?;
                    if nested == Some(true) && children != self.shape[open.depth] {
                        return Err(Fault::Nesting);
                    }
                }
                b' ' | b'\t' | b'\n' | b'\r' | b',' => {}
                _ => {
                    let depth = if *nested.get_or_insert(false) {
                        self.shape.len()
                    } else {
                        1
                    };
                    if open.depth != depth {
                        return Err(Fault::Nesting);
                    }
                    let token = token(rest);
                    data.push(element(token).ok_or(Fault::Element(data.len()))?);
                    open.count_child();
                    rest = &rest[token.len()..];
                    continue;
                }
            }
            rest = &rest[1..];
        }
        if data.len() == self.expected {
            Ok(data)
        } else {
            Err(Fault::Count(data.len()))
        }
    }
}

/// The lists that are open, the outermost first, each as the number of its children so far.
#[derive(Default)]
struct OpenLists {
    children: [usize; MAX_DIMENSIONS],
    depth: usize,
}

impl OpenLists {
    /// The caller makes sure that there are never more than [`MAX_DIMENSIONS`].
    fn begin(&mut self) {
        self.children[self.depth] = 0;
        self.depth += 1;
    }

    /// The number of children of the innermost list, which ends; `None` if none is open.
    fn end(&mut self) -> Option<usize> {
        self.depth = self.depth.checked_sub(1)?;
        Some(self.children[self.depth])
    }

    fn count_child(&mut self) {
        if let Some(children) = self.children[..self.depth].last_mut() {
            *children += 1;
        }
    }
}

/// The scalar at the start of `rest`. An object comes out as a piece of itself, which is an element
/// of no type.
fn token(rest: &str) -> &str {
    let bytes = rest.as_bytes();
    if bytes[0] != b'"' {
        let end = bytes
            .iter()
            .position(|byte| matches!(byte, b',' | b']' | b' ' | b'\t' | b'\n' | b'\r'));
        // Never empty, or the walk would not move: the caller has seen that the first byte is none
        // of these.
        return &rest[..end.unwrap_or(rest.len()).max(1)];
    }
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    &rest[..(at + 1).min(rest.len())]
}

fn bool(token: &str) -> Option<bool> {
    token.parse().ok()
}

/// JSON's numbers are a part of what Rust reads; what Rust reads beyond them (`inf`, `+1`) cannot
/// stand in valid JSON.
pub(super) fn number<T: FromStr>(token: &str) -> Option<T> {
    token.parse().ok()
}

pub(super) fn text(token: &str, body: &Bytes) -> Option<Bytes> {
    let inner = token.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(token).ok().map(Bytes::from)
    } else {
        Some(body.slice_ref(inner.as_bytes()))
    }
}
