//! Content codings: names, lists, and bodies that are not what they say.

use std::io::Write;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::HeaderMap;

use super::{codings, decode};
use crate::refusal::Refusal;

const LIMIT: usize = 100_000;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn decoded(lines: &[&str], body: Vec<u8>) -> Result<Bytes, Refusal> {
    let mut request = Request::builder();
    for line in lines {
        request = request.header("content-encoding", *line);
    }
    let request = request.body(Body::empty()).unwrap();
    let codings = codings(request.headers())?;
    let request = decode(request, Bytes::from(body), codings, LIMIT).await?;
    assert!(!request.headers().contains_key("content-encoding"));
    Ok(axum::body::to_bytes(request.into_body(), LIMIT)
        .await
        .unwrap())
}

#[tokio::test]
async fn every_spelling_of_a_coding_is_undone() {
    let two_members = [gzip(b"hel"), gzip(b"lo")].concat();
    let cases: [(&[&str], Vec<u8>); 12] = [
        (&[], b"hello".to_vec()),
        (&["identity"], b"hello".to_vec()),
        (&["", "Identity, ,"], b"hello".to_vec()),
        (&["gzip"], gzip(b"hello")),
        (&["GZIP"], gzip(b"hello")),
        (&["x-gzip"], gzip(b"hello")),
        (&["X-GZip, identity"], gzip(b"hello")),
        (&["gzip"], two_members),
        (&["Deflate"], zlib(b"hello")),
        (&["deflate, gzip"], gzip(&zlib(b"hello"))),
        (&["gzip", "\tdeflate"], zlib(&gzip(b"hello"))),
        (&["gzip,gzip"], gzip(&gzip(b"hello"))),
    ];
    for (lines, body) in cases {
        let plain = decoded(lines, body).await;
        assert_eq!(plain.as_deref(), Ok(&b"hello"[..]), "{lines:?}");
    }
}

#[tokio::test]
async fn unknown_codings_are_never_taken_as_plain() {
    for line in [
        "br",
        "zstd",
        "gzip, br",
        "gzip;q=1",
        "compress",
        "*",
        "gzip deflate",
    ] {
        let refused = decoded(&[line], gzip(b"hello")).await;
        assert_eq!(refused, Err(Refusal::UnknownCoding), "{line}");
    }
    let many = decoded(&["gzip, gzip, gzip", "gzip, gzip"], Vec::new()).await;
    assert_eq!(many, Err(Refusal::UnknownCoding));
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", b"g\xffzip"[..].try_into().unwrap());
    assert_eq!(codings(&headers), Err(Refusal::UnknownCoding));
}

#[tokio::test]
async fn damaged_bodies_are_corrupt() {
    let whole = gzip(b"hello");
    let mut wrong_checksum = whole.clone();
    wrong_checksum[whole.len() - 8] ^= 1;
    let cases = [
        ("gzip", b"hello".to_vec()),
        ("gzip", whole[..whole.len() - 1].to_vec()),
        ("gzip", [&whole[..], b"rest"].concat()),
        ("gzip", wrong_checksum),
        ("gzip", zlib(b"hello")),
        ("deflate", gzip(b"hello")),
        ("deflate", raw_deflate(b"hello")),
        ("deflate", [&zlib(b"hello")[..], b"rest"].concat()),
        ("deflate", zlib(b"hello")[..8].to_vec()),
        ("deflate, gzip", zlib(&gzip(b"hello"))),
    ];
    for (coding, body) in cases {
        let refused = decoded(&[coding], body).await;
        assert_eq!(refused, Err(Refusal::BodyCorrupt), "{coding}");
    }
}

#[tokio::test]
async fn the_inflated_size_is_bounded_at_every_step() {
    let full = vec![0; LIMIT];
    let plain = decoded(&["gzip"], gzip(&full)).await;
    assert_eq!(plain.map(|plain| plain.len()), Ok(LIMIT));
    let bomb = vec![0; LIMIT + 1];
    for (coding, body) in [
        ("gzip", gzip(&bomb)),
        ("deflate", zlib(&bomb)),
        ("gzip, gzip", gzip(&gzip(&bomb))),
        ("gzip", [gzip(&full), gzip(b"x")].concat()),
    ] {
        let refused = decoded(&[coding], body).await;
        assert_eq!(refused, Err(Refusal::BodyTooLarge(LIMIT)), "{coding}");
    }
}
