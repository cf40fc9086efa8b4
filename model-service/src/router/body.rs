//! Request bodies, which the limit layer has received and decompressed.

use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use runtime::BodyRules;

use crate::error::RequestError;

/// The largest body, before and after decompression.
pub(super) const MAX_BYTES: usize = 1 << 20;

pub(super) const RULES: BodyRules = BodyRules {
    max_bytes: MAX_BYTES,
    decode: true,
};

pub(super) fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, RequestError> {
    body.map_err(|_| RequestError::Unreadable)
}
