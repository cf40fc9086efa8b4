//! How one request ended, in words that can be counted.

use std::error::Error;
use std::io;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use telemetry::client::ClientError;

/// The answer, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    Status(u16),
    /// Nobody listens.
    ConnectionRefused,
    /// The connection was closed in the middle of the exchange.
    ConnectionReset,
    /// No connection for another reason, such as a name that does not resolve.
    NotConnected,
    Timeout,
    /// Another failure of the exchange.
    BrokenOff,
    /// Its time never came: the load ended before there was room for it.
    NotSent,
}

/// An answer as the load needs it.
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Outcome {
    /// A key of the counts: `200`, `connection refused`.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Status(status) => return status.to_string(),
            Self::ConnectionRefused => "connection refused",
            Self::ConnectionReset => "connection reset",
            Self::NotConnected => "not connected",
            Self::Timeout => "timeout",
            Self::BrokenOff => "broken off",
            Self::NotSent => "not sent",
        }
        .to_owned()
    }

    pub(crate) fn is_success(&self) -> bool {
        matches!(self, Self::Status(200..=299))
    }
}

impl From<Result<Response<Bytes>, ClientError>> for Answer {
    fn from(result: Result<Response<Bytes>, ClientError>) -> Self {
        match result {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Self {
                    outcome: status(head.status),
                    headers: head.headers,
                    body,
                }
            }
            Err(error) => Self {
                outcome: outcome(&error),
                headers: HeaderMap::new(),
                body: Bytes::new(),
            },
        }
    }
}

fn status(status: StatusCode) -> Outcome {
    Outcome::Status(status.as_u16())
}

fn outcome(error: &ClientError) -> Outcome {
    let kind = io_kind(error);
    match error {
        ClientError::Timeout { .. } => Outcome::Timeout,
        ClientError::Connect { .. } => match kind {
            Some(io::ErrorKind::ConnectionRefused) => Outcome::ConnectionRefused,
            Some(io::ErrorKind::ConnectionReset) => Outcome::ConnectionReset,
            _ => Outcome::NotConnected,
        },
        ClientError::Transport { .. } if is_closed(error, kind) => Outcome::ConnectionReset,
        _ => Outcome::BrokenOff,
    }
}

/// The kind of the innermost I/O error among the causes.
fn io_kind(error: &ClientError) -> Option<io::ErrorKind> {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .last()
        .map(io::Error::kind)
}

/// Reset, or closed before the answer was whole, which hyper reports without an I/O error.
fn is_closed(error: &ClientError, kind: Option<io::ErrorKind>) -> bool {
    let by_system = matches!(
        kind,
        Some(
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
        )
    );
    by_system
        || causes(error)
            .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
            .any(|cause| cause.is_incomplete_message() || cause.is_closed())
}

fn causes(error: &ClientError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}
