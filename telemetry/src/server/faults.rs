//! The answers of the layer itself: to a fault on purpose, and to a handler that panicked.

use std::any::Any;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::{Options, RequestFailure};
use crate::fault::Injected;

/// Marks a response whose head is never sent.
#[derive(Clone, Copy)]
pub(super) struct Unanswered;

/// A handler panicked.
#[derive(Debug, thiserror::Error)]
#[error("panic while answering: {message}")]
struct Panicked {
    message: String,
}

/// The answer to an injected error.
pub(super) fn error(options: Options) -> Response {
    let injected = injected("error", options);
    let text = injected.to_string();
    let response = (options.fault_response)(StatusCode::INTERNAL_SERVER_ERROR, &text);
    failed(response, RequestFailure::new(injected, "fault_injected"))
}

/// A response that closes the connection instead of answering.
pub(super) fn dropped(options: Options) -> Response {
    // A body that fails at its first poll makes hyper close the connection before it has written
    // the head.
    let broken = futures_util::stream::once(async {
        Err::<bytes::Bytes, _>(std::io::Error::other("dropped on purpose"))
    });
    let mut response = Response::new(Body::from_stream(broken));
    response.extensions_mut().insert(Unanswered);
    let injected = injected("drop", options);
    failed(response, RequestFailure::new(injected, "fault_injected"))
}

/// The answer after a panic. The client gets no reason; the message of the panic is in the trace
/// and in the log.
pub(super) fn panicked(panic: &(dyn Any + Send), options: Options) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let panicked = Panicked {
        message: text.unwrap_or("no message").to_owned(),
    };
    let response = (options.fault_response)(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
    failed(response, RequestFailure::new(panicked, "panic"))
}

fn injected(kind: &'static str, options: Options) -> Injected {
    Injected {
        kind,
        service: options.service,
    }
}

fn failed(mut response: Response, failure: RequestFailure) -> Response {
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.extensions_mut().insert(failure);
    response
}
