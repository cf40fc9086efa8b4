//! From the body of a request to the protobuf bytes that the store keeps: content type, JSON.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;

use crate::otlp::json::{self, Item};
use crate::otlp::rejected::RejectedItems;
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
        Encoding::of_type(headers.get(CONTENT_TYPE)?)
    }

    pub(crate) fn of_type(content_type: &HeaderValue) -> Option<Encoding> {
        let value = content_type.to_str().ok()?;
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

/// The body as protobuf, in whichever encoding it arrived.
pub(crate) fn to_protobuf<T: Item>(
    encoding: Encoding,
    body: Bytes,
    refused: &mut RejectedItems,
) -> Result<Bytes, Malformed> {
    match encoding {
        Encoding::Protobuf => Ok(body),
        Encoding::Json => {
            let request = json::to_protobuf::<T>(&body, refused).map_err(Malformed::Json)?;
            Ok(request.into())
        }
    }
}
