//! From a request body as it came to the protobuf bytes that the store keeps: content type, gzip, JSON.

use std::io::Read;

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use prost::Message;
use serde::de::DeserializeOwned;

use super::json;
use super::wire::Malformed;
use crate::error::Rejection;

/// Bytes of one request body, as sent and again after decompression: the usual limit of OTLP receivers. An SDK batch of
/// 512 spans is about 0.3 MiB.
pub(crate) const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The two encodings of OTLP/HTTP; the answer uses the one of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    /// From `Content-Type`, whose parameters (`; charset=utf-8`) say nothing here.
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

/// Undoes `Content-Encoding`; a body that would grow past [`MAX_BODY_BYTES`] is refused as soon as it does.
pub(crate) fn decompress(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Rejection> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else {
        return Ok(body);
    };
    let encoding = encoding.to_str().unwrap_or_default().trim();
    if encoding.is_empty() || encoding.eq_ignore_ascii_case("identity") {
        return Ok(body);
    }
    if !encoding.eq_ignore_ascii_case("gzip") {
        return Err(Rejection::ContentEncoding);
    }
    let mut plain = Vec::new();
    let mut reader = MultiGzDecoder::new(&body[..]).take(MAX_BODY_BYTES as u64 + 1);
    reader.read_to_end(&mut plain).map_err(Rejection::Gzip)?;
    if plain.len() > MAX_BODY_BYTES {
        Err(Rejection::TooLarge)
    } else {
        Ok(plain.into())
    }
}

/// The protobuf form of a body, whichever encoding it came in.
pub(crate) fn to_protobuf<T>(encoding: Encoding, body: Bytes) -> Result<Bytes, Malformed>
where
    T: Message + Default + DeserializeOwned,
{
    match encoding {
        Encoding::Protobuf => Ok(body),
        Encoding::Json => {
            let request: T = json::from_slice(&body).map_err(Malformed::Json)?;
            Ok(request.encode_to_vec().into())
        }
    }
}
