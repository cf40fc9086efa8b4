//! Request bodies: limited on the wire, decompressed, and limited again.

use std::io::{self, Read};

use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, StatusCode, header};

use crate::error::RequestError;

/// The largest body, before and after decompression.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// The decompressed body. An uncompressed one, the usual case, is not copied.
///
/// This is no layer because binary requests give the length of the uncompressed JSON, so the whole
/// body has to be in memory anyway, and because a wrong encoding must be answered in the protocol's
/// form.
pub(super) fn decoded(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Bytes, RequestError> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => RequestError::Unreadable,
    })?;
    let Some(encoding) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(body);
    };
    match encoding
        .to_str()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
        .as_str()
    {
        "" | "identity" => Ok(body),
        "gzip" | "x-gzip" => inflate(MultiGzDecoder::new(&body[..])),
        // In RFC 9110 deflate is the zlib format; tritonclient sends it, too.
        "deflate" => inflate(ZlibDecoder::new(&body[..])),
        _ => Err(RequestError::Encoding),
    }
}

fn inflate(decoder: impl Read) -> Result<Bytes, RequestError> {
    let mut plain = Vec::new();
    let read: io::Result<usize> = decoder.take(MAX_BYTES as u64 + 1).read_to_end(&mut plain);
    read.map_err(RequestError::Compression)?;
    if plain.len() > MAX_BYTES {
        return Err(too_large());
    }
    Ok(plain.into())
}

fn too_large() -> RequestError {
    RequestError::TooLarge { limit: MAX_BYTES }
}
