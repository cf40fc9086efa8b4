//! A response body that holds the permit of its request until the answer has left.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// hyper drops a body when its last frame is in the buffer of the connection, so a large body goes
/// there in pieces: the permit is given back when the rest is at most a buffer.
const PIECE: usize = 32 * 1024;

/// The same body; `permit` is dropped with it. Small bodies are not wrapped: the kernel takes them
/// at once.
pub fn held(body: Body, permit: OwnedSemaphorePermit) -> Body {
    if body
        .size_hint()
        .exact()
        .is_some_and(|size| size <= PIECE as u64)
    {
        return body;
    }
    Body::new(Held {
        body,
        rest: Bytes::new(),
        _permit: permit,
    })
}

struct Held {
    body: Body,
    rest: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                other => return other,
            }
        }
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
