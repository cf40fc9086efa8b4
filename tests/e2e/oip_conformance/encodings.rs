//! Content encodings: compressed requests in both forms, compressed answers, and unknown encodings.

use std::io::{Read, Write};

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::StatusCode;
use serde_json::{Value, json};
use telemetry::SpanRef;

use super::Case;
use super::binary::{raw_request, unpacked};
use super::data::{features, wines};
use super::json::reference;
use super::target::{Target, output, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("gzip and deflate in", compressed_requests),
    (
        "the length of the JSON is that before compression",
        compressed_raw_requests,
    ),
    ("gzip out when the client accepts it", compressed_answers),
    ("wrong encodings", wrong_encodings),
    ("bodies are bounded before and after decompression", bounded),
    (
        "a large body leaves nothing behind on its connection",
        nothing_left_behind,
    ),
];

/// Largest body, as sent and as decompressed.
const LIMIT: usize = 1 << 20;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("memory takes everything")
}

/// What HTTP calls deflate is the zlib format.
fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("memory takes everything")
}

fn raw_deflate(plain: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(plain)
        .and_then(|()| encoder.finish())
        .expect("memory takes everything")
}

fn compressed_requests(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..20];
    let expected = reference(target, wines)?;
    let plain = json!({"inputs": [features(wines)]})
        .to_string()
        .into_bytes();
    let two_members = [gzip(&plain[..50]), gzip(&plain[50..])].concat();
    let cases = [
        ("identity", plain.clone()),
        ("gzip", gzip(&plain)),
        ("GZIP", gzip(&plain)),
        ("x-gzip", gzip(&plain)),
        ("gzip", two_members),
        ("deflate", zlib(&plain)),
        ("Deflate", zlib(&plain)),
        ("gzip, gzip", gzip(&gzip(&plain))),
        ("gzip,\tDEFLATE", zlib(&gzip(&plain))),
        ("deflate, x-gzip", gzip(&zlib(&plain))),
        (",identity, gzip,", gzip(&plain)),
        (
            "gzip, gzip, deflate, gzip",
            gzip(&zlib(&gzip(&gzip(&plain)))),
        ),
    ];
    for (encoding, body) in cases {
        let reply = target
            .infer(body)
            .header("content-encoding", encoding)
            .send()?;
        same(encoding, &reply.json_ok()?["outputs"], &expected)
            .map_err(|error| error.context(encoding))?;
    }
    Ok(())
}

fn compressed_raw_requests(target: &Target<'_>) -> Result<()> {
    // One wine often enough that the JSON is longer than the whole body that is sent.
    let expected = reference(target, &wines()[..1])?;
    let (length, plain) = raw_request(1);
    for (encoding, body) in [("gzip", gzip(&plain)), ("deflate", zlib(&plain))] {
        ensure!(length > body.len() / 2, "the case has lost its subject");
        let call = target.infer(body).header("content-encoding", encoding);
        let reply = call.json_length(length).send()?;
        ensure!(
            reply.status == StatusCode::OK,
            "{encoding}: {}",
            reply.status
        );
        let answer = unpacked(reply.header("inference-header-content-length"), &reply.body)?;
        let labels =
            |answer: &Value| Ok::<_, anyhow::Error>(output(answer, "label")?["data"].clone());
        same(
            encoding,
            &labels(&answer)?,
            &labels(&json!({"outputs": expected}))?,
        )?;
    }
    Ok(())
}

fn compressed_answers(target: &Target<'_>) -> Result<()> {
    let wines = &wines()[..200];
    let expected = reference(target, wines)?;
    let body = json!({"inputs": [features(wines)]}).to_string();
    let reply = target
        .infer(body)
        .header("accept-encoding", "gzip")
        .send()?;
    same(
        "content-encoding",
        &reply.header("content-encoding"),
        &"gzip",
    )?;
    let plain = gunzip(&reply.body)?;
    ensure!(
        reply.body.len() < plain.len() / 2,
        "{} of {} bytes are left",
        reply.body.len(),
        plain.len()
    );
    same(
        "outputs",
        &serde_json::from_slice::<Value>(&plain)?["outputs"],
        &expected,
    )?;
    // The raw part is compressed with the rest, and the length is that of the plain JSON again.
    let (length, body) = raw_request(200);
    let call = target.infer(body).header("accept-encoding", "gzip");
    let reply = call.json_length(length).send()?;
    same(
        "content-encoding",
        &reply.header("content-encoding"),
        &"gzip",
    )?;
    let answer = unpacked(
        reply.header("inference-header-content-length"),
        &gunzip(&reply.body)?,
    )?;
    same(
        "labels",
        &output(&answer, "label")?["data"],
        &output(&json!({"outputs": expected}), "label")?["data"],
    )?;
    // Small answers would only grow.
    let body = json!({"inputs": [features(&wines[..1])]}).to_string();
    target
        .infer(body)
        .header("accept-encoding", "gzip")
        .send()?
        .json_ok()?;
    Ok(())
}

fn gunzip(packed: &[u8]) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut plain)?;
    Ok(plain)
}

fn wrong_encodings(target: &Target<'_>) -> Result<()> {
    let plain = json!({"inputs": [features(&wines()[..1])]})
        .to_string()
        .into_bytes();
    let packed = gzip(&plain);
    let mut wrong_checksum = packed.clone();
    wrong_checksum[packed.len() - 8] ^= 1;
    let cases = [
        ("gzip", plain.clone(), 400, "bad_request"),
        ("deflate", plain.clone(), 400, "bad_request"),
        (
            "gzip",
            packed[..packed.len() / 2].to_vec(),
            400,
            "bad_request",
        ),
        ("gzip", Vec::new(), 400, "bad_request"),
        ("deflate", raw_deflate(&plain), 400, "bad_request"),
        ("br", plain.clone(), 415, "unsupported_encoding"),
        ("zstd", packed.clone(), 415, "unsupported_encoding"),
        ("gzip, br", packed.clone(), 415, "unsupported_encoding"),
        ("compress", plain.clone(), 415, "unsupported_encoding"),
        ("gzip;q=1", packed.clone(), 415, "unsupported_encoding"),
        ("gzip deflate", packed.clone(), 415, "unsupported_encoding"),
        (
            "gzip, gzip, gzip, gzip, gzip",
            packed.clone(),
            415,
            "unsupported_encoding",
        ),
        ("gzip", [&packed[..], b"rest"].concat(), 400, "bad_request"),
        ("gzip", [&packed[..], &[0]].concat(), 400, "bad_request"),
        ("gzip", wrong_checksum, 400, "bad_request"),
        ("gzip", zlib(&plain), 400, "bad_request"),
        ("deflate", packed.clone(), 400, "bad_request"),
        (
            "deflate",
            [&zlib(&plain)[..], b"rest"].concat(),
            400,
            "bad_request",
        ),
        ("deflate, gzip", zlib(&packed), 400, "bad_request"),
    ];
    for (index, (encoding, body, status, code)) in cases.into_iter().enumerate() {
        let reply = target
            .infer(body)
            .header("content-encoding", encoding)
            .send()?;
        reply
            .refused(status, code)
            .map_err(|error| error.context(format!("case {index}, {encoding}")))?;
        let accepted = if status == 415 { "gzip, deflate" } else { "" };
        same(
            "accept-encoding",
            &reply.header("accept-encoding"),
            &accepted,
        )?;
    }
    Ok(())
}

fn bounded(target: &Target<'_>) -> Result<()> {
    let plain = json!({"inputs": [features(&wines()[..1])]}).to_string();
    let padded = |size: usize| format!("{}{plain}", " ".repeat(size - plain.len())).into_bytes();
    target.infer(padded(LIMIT)).send()?.json_ok()?;
    target
        .infer(gzip(&padded(LIMIT)))
        .header("content-encoding", "gzip")
        .send()?
        .json_ok()?;
    target
        .infer(padded(LIMIT + 1))
        .send()?
        .refused(413, "too_large")?;
    let bomb = vec![b' '; 64 * LIMIT];
    for (encoding, body) in [
        ("gzip", gzip(&bomb)),
        ("deflate", zlib(&bomb)),
        ("gzip", gzip(&padded(LIMIT + 1))),
        ("gzip", [gzip(&padded(LIMIT)), gzip(b" ")].concat()),
        ("gzip, gzip", gzip(&gzip(&bomb))),
        ("deflate, gzip", gzip(&zlib(&bomb))),
    ] {
        ensure!(body.len() < LIMIT, "the case has lost its subject");
        target
            .infer(body)
            .header("content-encoding", encoding)
            .send()?
            .refused(413, "too_large")?;
    }
    Ok(())
}

/// A server may pause a connection while it reads a large body. Later requests of the connection
/// still have their own traces.
fn nothing_left_behind(target: &Target<'_>) -> Result<()> {
    let good = json!({"inputs": [features(&wines()[..1])]}).to_string();
    let large = format!("{}{good}", " ".repeat(LIMIT - good.len()));
    for _ in 0..5 {
        for body in [large.clone(), good.clone()] {
            let reply = target.infer(body).send()?;
            let traceparent = reply.json_ok()?["parameters"]["traceparent"].clone();
            let trace_id = traceparent
                .as_str()
                .and_then(SpanRef::from_traceparent)
                .map(|span| span.trace_id.to_string());
            same(
                "the trace of the prediction",
                &trace_id,
                &Some(reply.trace_id.clone()),
            )?;
        }
        target.infer("{").send()?.refused(400, "bad_request")?;
    }
    Ok(())
}
