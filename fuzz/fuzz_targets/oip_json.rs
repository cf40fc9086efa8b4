//! OIP bodies that are JSON only, as requests and as responses.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use protocol::oip::{InferRequest, InferResponse};

fuzz_target!(|body: &[u8]| {
    let body = Bytes::copy_from_slice(body);
    if let Ok(request) = InferRequest::decode(&body, None) {
        fuzz::check_request(&request);
    }
    if let Ok(response) = InferResponse::decode(&body, None) {
        fuzz::check_response(&response);
    }
});
