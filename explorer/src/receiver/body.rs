//! From the body of a request to the protobuf bytes that the store keeps: content type, gzip, JSON.

use std::io::Read;

use axum::extract::rejection::BytesRejection;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::error::ExportError;
use crate::otlp::json::{self, Item};
use crate::otlp::refused::Refused;
use crate::otlp::wire::Malformed;

/// Bytes of one request body, as sent and again after decompression: the usual limit of OTLP
/// receivers.
pub(crate) const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The two encodings of OTLP/HTTP. The answer has the encoding of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// From `Content-Type`, without its parameters (`; charset=utf-8`).
    pub(crate) fn of(headers: &HeaderMap) -> Option<Encoding> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let media_type = value.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/x-protobuf") {
            Some(Encoding::Protobuf)
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Some(Encoding::Json)
        } else {
            None
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Encoding::Protobuf => "application/x-protobuf",
            Encoding::Json => "application/json",
        }
    }
}

/// The answer to a body that did not arrive; one that is too long is answered with the limit.
pub(crate) fn rejected(rejection: BytesRejection) -> ExportError {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        ExportError::TooLarge {
            limit: MAX_BODY_BYTES,
        }
    } else {
        ExportError::Body(rejection)
    }
}

/// Undoes `Content-Encoding`. Reading stops at [`MAX_BODY_BYTES`], and a longer body is refused.
pub(crate) fn decompress(headers: &HeaderMap, body: Bytes) -> Result<Bytes, ExportError> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else {
        return Ok(body);
    };
    let encoding = encoding.to_str().unwrap_or_default().trim();
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
        return Ok(body);
    }
    if !encoding.eq_ignore_ascii_case("gzip") {
        return Err(ExportError::ContentEncoding);
    }
    let mut plain = Vec::new();
    let mut reader = MultiGzDecoder::new(&body[..]).take(MAX_BODY_BYTES as u64 + 1);
    reader.read_to_end(&mut plain).map_err(ExportError::Gzip)?;
    if plain.len() > MAX_BODY_BYTES {
        Err(ExportError::TooLarge {
            limit: MAX_BODY_BYTES,
        })
    } else {
        Ok(plain.into())
    }
}

/// The body as protobuf, in whichever encoding it arrived.
pub(crate) fn to_protobuf<T: Item>(
    encoding: Encoding,
    body: Bytes,
    refused: &mut Refused,
) -> Result<Bytes, Malformed> {
    match encoding {
        Encoding::Protobuf => Ok(body),
        Encoding::Json => {
            let request = json::to_protobuf::<T>(&body, refused).map_err(Malformed::Json)?;
            Ok(request.into())
        }
    }
}
