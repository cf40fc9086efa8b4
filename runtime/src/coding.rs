//! The content codings of request bodies (RFC 9110 §8.4): gzip and deflate, in any order.

use std::io::Read;

use axum::extract::Request;
use bytes::Bytes;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

use crate::refusal::Refusal;

/// A body that is applied more codings than this is no honest one.
const MOST: usize = 4;
/// Longer bodies are decompressed on the blocking pool.
const SHORT: usize = 2 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// One or more members (RFC 1952 §2.2).
    Gzip,
    /// The zlib format (RFC 9110 §8.4.1.2), which is also what tritonclient sends.
    Deflate,
}

/// The codings of a body in the order in which they were applied.
///
/// Several header lines are one list (RFC 9110 §5.3), names have no case and empty elements do not
/// count (§5.6.1).
pub(crate) fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Refusal> {
    let mut codings = Vec::new();
    for line in headers.get_all(header::CONTENT_ENCODING) {
        let line = line.to_str().map_err(|_| Refusal::UnknownCoding)?;
        for name in line.split(',').map(|name| name.trim_matches([' ', '\t'])) {
            match name.to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                "deflate" => codings.push(Coding::Deflate),
                _ => return Err(Refusal::UnknownCoding),
            }
        }
    }
    if codings.len() > MOST {
        return Err(Refusal::UnknownCoding);
    }
    Ok(codings)
}

/// Undoes `codings` on a request whose body is `body`; no step may be longer than `limit`.
pub(crate) async fn decode(
    mut request: Request,
    body: Bytes,
    codings: Vec<Coding>,
    limit: usize,
) -> Result<Request, Refusal> {
    let plain = if body.len() <= SHORT {
        inflate_all(body, &codings, limit)?
    } else {
        let work = move || inflate_all(body, &codings, limit);
        let done = telemetry::task::spawn_blocking(work).await;
        done.map_err(|_| Refusal::BodyCorrupt)??
    };
    let headers = request.headers_mut();
    headers.remove(header::CONTENT_ENCODING);
    headers.remove(header::TRANSFER_ENCODING);
    headers.insert(header::CONTENT_LENGTH, plain.len().into());
    *request.body_mut() = plain.into();
    Ok(request)
}

/// The coding that was applied last is undone first.
fn inflate_all(body: Bytes, codings: &[Coding], limit: usize) -> Result<Bytes, Refusal> {
    let mut codings = codings.iter().rev();
    codings.try_fold(body, |body, coding| match coding {
        Coding::Gzip => inflate(MultiGzDecoder::new(&body[..]), limit).map(|(plain, _)| plain),
        Coding::Deflate => {
            let (plain, decoder) = inflate(ZlibDecoder::new(&body[..]), limit)?;
            if decoder.into_inner().is_empty() {
                Ok(plain)
            } else {
                Err(Refusal::BodyCorrupt)
            }
        }
    })
}

fn inflate<R: Read>(decoder: R, limit: usize) -> Result<(Bytes, R), Refusal> {
    let mut plain = Vec::new();
    let mut bounded = decoder.take(limit as u64 + 1);
    // Truncated and damaged data are errors of the decoders, and so is a wrong checksum.
    let read = bounded.read_to_end(&mut plain);
    if plain.len() > limit {
        return Err(Refusal::BodyTooLarge(limit));
    }
    read.map_err(|_| Refusal::BodyCorrupt)?;
    Ok((plain.into(), bounded.into_inner()))
}

#[cfg(test)]
mod tests;
