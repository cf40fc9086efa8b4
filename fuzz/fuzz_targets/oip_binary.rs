//! OIP bodies with binary tensors. The input is `<header value>\n<JSON>\n<tensors>`.
//!
//! The header value is only parsed. The true length of the JSON follows from the line break, so that an edit of the
//! JSON does not make every later byte unreadable; lengths that lie are tried beside it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protocol::oip::{Datatype, InferRequest, InferResponse, TensorMetadata, parse_header_length};

fuzz_target!(|input: &[u8]| {
    let Some((header, rest)) = split_line(input) else {
        return;
    };
    let Some((head, tensors)) = split_line(rest) else {
        return;
    };
    let body = Bytes::from([head, tensors].concat());
    let claimed = parse_header_length(header).ok();

    for length in [Some(head.len()), claimed].into_iter().flatten() {
        if let Ok(request) = InferRequest::decode(&body, Some(length)) {
            fuzz::check_request(&request);
        }
        if let Ok(response) = InferResponse::decode(&body, Some(length)) {
            fuzz::check_response(&response);
        }
    }
    raw(header, &body);
});

fn split_line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|&byte| byte == b'\n')?;
    Some((&input[..end], &input[end + 1..]))
}

/// A raw request, whose metadata are taken from the first line: a datatype, then a size for each byte.
fn raw(header: &[u8], body: &Bytes) {
    let Some((datatype, shape)) = header.split_first() else {
        return;
    };
    let input = TensorMetadata {
        name: "x".to_owned(),
        datatype: Datatype::ALL[usize::from(*datatype) % Datatype::ALL.len()],
        shape: shape
            .iter()
            .map(|&size| i64::from(size.cast_signed()))
            .collect(),
    };
    if let Ok(request) = InferRequest::from_raw(body, &input) {
        fuzz::check_request(&request);
    }
}
