//! Answers in which single elements are no values: such an element is read as NaN or as an empty
//! text, so that one row of a batch takes no others with it.
//!
//! The server of `KServe` writes `null` for a number that is not finite, Triton the bare words `NaN` and
//! `Infinity` (triton-inference-server/server, pull request 3870), and a number may be larger than
//! its type.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::json::{self, List, number, text};
use super::tensor::element_count;
use super::{Datatype, DecodeError, TensorData};

/// The words that are numbers for JavaScript and no JSON; the longer one first.
const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];

/// The same text with `null` for bare words that are no JSON; `None` if it has none.
pub(super) fn without_words(text: &[u8]) -> Option<Bytes> {
    let (mut out, mut rest, mut found) = (Vec::with_capacity(text.len()), text, false);
    while let Some(first) = rest.first() {
        let word = WORDS.iter().find(|word| rest.starts_with(word));
        let length = match (first, word) {
            (b'"', _) => string_length(rest),
            (_, Some(word)) => {
                found = true;
                out.extend_from_slice(b"null");
                rest = &rest[word.len()..];
                continue;
            }
            _ => 1,
        };
        out.extend_from_slice(&rest[..length]);
        rest = &rest[length..];
    }
    found.then(|| out.into())
}

/// Reads the data of a tensor like [`json::decode`], and what can be read of those that it refuses.
pub(super) fn decode(
    name: &str,
    shape: &[usize],
    datatype: Datatype,
    raw: &str,
    body: &Bytes,
) -> Result<TensorData, DecodeError> {
    json::decode(name, shape, datatype, raw, body).or_else(|error| {
        let data = match datatype {
            Datatype::Fp32 => elements(raw, shape, f32::NAN, number).map(TensorData::Fp32),
            Datatype::Fp64 => elements(raw, shape, f64::NAN, number).map(TensorData::Fp64),
            Datatype::Bytes => {
                elements(raw, shape, Bytes::new(), |token| text(token, body)).map(TensorData::Bytes)
            }
            _ => None,
        };
        data.ok_or(error)
    })
}

/// Reads a list row by row if it is nested, else element by element; what cannot be read is
/// `filler`. `None` if the list has another number of rows or elements than the shape says, since
/// then nobody knows which are missing.
fn elements<'a, T: Clone>(
    raw: &'a str,
    shape: &[usize],
    filler: T,
    element: impl Fn(&'a str) -> Option<T>,
) -> Option<Vec<T>> {
    let pieces: Vec<&'a RawValue> = serde_json::from_str(raw).ok()?;
    let (rows, row_shape) = shape.split_first()?;
    let width = element_count("", row_shape).ok()?;
    // The shape is only a claim, and a short row would be filled up: the body bounds the memory.
    let expected = rows
        .checked_mul(width)
        .filter(|expected| *expected <= raw.len())?;
    let is_nested = pieces.iter().any(|piece| piece.get().starts_with('['));
    let mut data = Vec::with_capacity(expected);
    if is_nested && pieces.len() == *rows {
        for piece in pieces {
            let row = List {
                raw: piece.get(),
                shape: row_shape,
                expected: width,
            };
            match row.read(&element) {
                Ok(row) => data.extend(row),
                Err(_) => data.resize(data.len() + width, filler.clone()),
            }
        }
    } else if !is_nested && pieces.len() == expected {
        data.extend(
            pieces
                .iter()
                .map(|piece| element(piece.get()).unwrap_or_else(|| filler.clone())),
        );
    }
    (data.len() == expected).then_some(data)
}

/// Bytes of the string at the start of `text`, with its quotes.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}
