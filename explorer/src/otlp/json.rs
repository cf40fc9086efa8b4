//! OTLP/JSON: [`to_protobuf`] reads what exporters send, [`mod@encode`] writes what the read API returns
//! and [`decode`] reads that again.

mod encode;
mod request;
mod value;

use serde::de::DeserializeOwned;
use serde_json::Error;

pub(crate) use encode::encode;
pub(crate) use request::{Item, to_protobuf};
use value::JsonValue;

/// Values in the answer of an explorer. Its own answers are far smaller.
const MAX_VALUES: usize = 2_000_000;

/// Reads a whole document into one message; one wrong value is an error.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    T::deserialize(&JsonValue::parse_message(bytes, MAX_VALUES)?)
}

#[cfg(test)]
mod tests;
