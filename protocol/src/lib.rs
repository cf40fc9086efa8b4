//! The bodies that the parts of Throughline exchange: Open Inference Protocol V2, Feast, and error
//! codes.
//!
//! Bytes in, typed values out, and back. This crate opens no socket, reads no clock and does not
//! log, and no input makes it panic: a malformed body is a typed error, which the services answer
//! with 400 or 422.

#![warn(missing_docs)]

mod error_code;
pub mod feast;
pub mod oip;
mod row_error_code;

pub use error_code::ErrorCode;
pub use row_error_code::RowErrorCode;

/// Reads a body that must be a JSON object.
///
/// serde reads a struct from a list of its fields, too. No protocol has that form, and a new field
/// would break it.
pub fn object<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, serde_json::Error> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::invalid_type(
            serde::de::Unexpected::Seq,
            &"an object",
        ));
    }
    serde_json::from_slice(body)
}
