//! Why a request is refused before a handler gets it.

use std::fmt::{self, Display, Formatter};

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri, header};

/// The content codings that are understood, for `Accept-Encoding` (RFC 9110 §12.5.3).
const CODINGS: HeaderValue = HeaderValue::from_static("gzip, deflate");
/// Long enough for a restart to make a difference, and short enough not to be felt.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// Why a request is refused; the service writes the answer in its own protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `Host` is missing, not valid, or given twice: 400 (RFC 9112 §3.2).
    InvalidHost,
    /// `Host` is a name that this listener does not answer to: 421 (RFC 9110 §15.5.20).
    UnknownHost,
    /// A web page of another origin sent the request: 403.
    ForeignOrigin,
    /// The body is larger than this number of bytes, as sent or decompressed: 413.
    BodyTooLarge(usize),
    /// The body did not arrive in time: 408.
    BodyTimedOut,
    /// The body broke off or is not valid HTTP: 400.
    BodyUnreadable,
    /// The body is not valid in its content coding: 400.
    BodyCorrupt,
    /// The content coding is unknown: 415.
    UnknownCoding,
    /// As many requests as allowed are in flight: 429.
    TooManyRequests,
    /// The time for one request has passed: 504.
    TimedOut,
    /// The process stops and cannot wait for the answer any longer: 503.
    Draining,
}

/// What the writer of a refusal knows about the request.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The target.
    pub uri: Uri,
    /// The content type of the request, by which some protocols choose that of the answer.
    pub content_type: Option<HeaderValue>,
}

/// Writes a refusal in the protocol of a service.
pub type Refuse = fn(&Refused, Refusal) -> Response;

impl Refusal {
    /// All of them, for tests of the services.
    pub const ALL: [Self; 11] = [
        Self::InvalidHost,
        Self::UnknownHost,
        Self::ForeignOrigin,
        Self::BodyTooLarge(0),
        Self::BodyTimedOut,
        Self::BodyUnreadable,
        Self::BodyCorrupt,
        Self::UnknownCoding,
        Self::TooManyRequests,
        Self::TimedOut,
        Self::Draining,
    ];

    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidHost | Self::BodyUnreadable | Self::BodyCorrupt => StatusCode::BAD_REQUEST,
            Self::UnknownHost => StatusCode::MISDIRECTED_REQUEST,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::UnknownCoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The stable word for it, as in `protocol::ErrorCode`.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidHost => "invalid_host",
            Self::UnknownHost => "unknown_host",
            Self::ForeignOrigin => "cross_origin",
            Self::BodyTooLarge(_) => "too_large",
            Self::BodyTimedOut => "body_timeout",
            Self::BodyUnreadable | Self::BodyCorrupt => "bad_request",
            Self::UnknownCoding => "unsupported_encoding",
            Self::TooManyRequests => "overloaded",
            Self::TimedOut => "deadline_passed",
            Self::Draining => "draining",
        }
    }

    /// Adds the headers that HTTP wants, whatever the protocol of the service.
    pub(crate) fn finish(self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        match self {
            Self::UnknownCoding => headers.insert(header::ACCEPT_ENCODING, CODINGS),
            Self::TooManyRequests => headers.insert(header::RETRY_AFTER, SOON),
            Self::Draining => {
                headers.insert(header::RETRY_AFTER, SOON);
                close(headers)
            }
            // What follows on the connection is not known to be a request (RFC 9110 §15.5.9).
            Self::BodyTimedOut | Self::BodyUnreadable | Self::InvalidHost => close(headers),
            _ => None,
        };
        response
    }
}

fn close(headers: &mut http::HeaderMap) -> Option<HeaderValue> {
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"))
}

impl Display for Refusal {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::InvalidHost => "the Host header is missing or not valid",
            Self::UnknownHost => {
                "this server does not answer to the name in Host; see --allowed-hosts"
            }
            Self::ForeignOrigin => "a page of another origin may not send requests here",
            Self::BodyTooLarge(limit) => {
                return write!(formatter, "the body is larger than {limit} bytes");
            }
            Self::BodyTimedOut => "the body did not arrive in time",
            Self::BodyUnreadable => "the body cannot be read",
            Self::BodyCorrupt => "the body cannot be decompressed",
            Self::UnknownCoding => {
                "the content encoding is not supported; gzip, deflate and identity are"
            }
            Self::TooManyRequests => "as many requests as allowed are in flight",
            Self::TimedOut => "the time for one request has passed",
            Self::Draining => "the process stops",
        })
    }
}

impl Refused {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            uri: request.uri().clone(),
            content_type: request.headers().get(header::CONTENT_TYPE).cloned(),
        }
    }
}
