//! The bodies that the parts of Throughline exchange: Open Inference Protocol V2, Feast, and error
//! codes.
//!
//! Bytes in, typed values out, and back. This crate opens no socket, reads no clock and does not
//! log, and no input makes it panic: a malformed body is a typed error, which the services answer
//! with 400 or 422.

#![warn(missing_docs)]

mod error_code;
pub mod feast;
mod json;
pub mod oip;
mod row_error_code;

pub use error_code::ErrorCode;
pub use row_error_code::RowErrorCode;

pub use json::object;
