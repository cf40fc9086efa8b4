//! What one request may contain.

/// Bytes of a body, after decompression.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Entities that one request may name, and rows that it may write.
pub(crate) const MAX_ROWS: usize = 1_000;
