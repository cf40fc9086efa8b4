//! The address that a request is sent to.

use std::fmt;
use std::sync::Arc;

use http::Uri;

use crate::server::redact;

/// Host and port of a request, and its whole address without credentials and query values, for the
/// span.
pub(super) struct ServerAddress {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    pub(super) url: String,
}

impl ServerAddress {
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme_str()?;
        let port = uri.port_u16().or(match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        })?;
        // `Uri` leaves the brackets on an IPv6 address; the conventions want the bare address.
        let shown = uri.host()?;
        let host = shown.trim_start_matches('[').trim_end_matches(']').into();
        let mut url = format!("{scheme}://{shown}:{port}{}", uri.path());
        if let Some(query) = uri.query() {
            url.push('?');
            url.push_str(&redact(query));
        }
        Some(Self { host, port, url })
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(formatter, "[{}]:{}", self.host, self.port);
        }
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests;
