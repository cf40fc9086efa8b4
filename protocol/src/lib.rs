//! What crosses a socket between the parts of Throughline: Open Inference Protocol V2 and Feast bodies.
//!
//! Bytes in, typed values out, and back. Nothing here opens a socket, reads a clock or logs, and no input makes it panic:
//! whatever is wrong with a body is a typed error that the services answer with 400 or 422.

#![warn(missing_docs)]

mod error_code;
pub mod feast;
pub mod oip;
mod row_error_code;

pub use error_code::ErrorCode;
pub use row_error_code::RowErrorCode;

/// Reads a body that must be a JSON object.
///
/// The reader of a struct takes a list, too, field by field: a form that no protocol promises, and that a new field would break.
pub fn object<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, serde_json::Error> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(serde::de::Error::invalid_type(
            serde::de::Unexpected::Seq,
            &"an object",
        ));
    }
    serde_json::from_slice(body)
}
