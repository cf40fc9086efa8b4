//! The address that a request is sent to.

use std::fmt::{self, Write};
use std::sync::Arc;

use http::Uri;

use crate::server::redact;

/// Host and port of a request.
pub(super) struct ServerAddress {
    pub(super) host: Arc<str>,
    pub(super) port: u16,
}

impl ServerAddress {
    /// Nothing unless `uri` is absolute, with `http` or `https`.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let usual_port = match uri.scheme_str()? {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        // `Uri` leaves the brackets on an IPv6 address; the conventions want the bare address.
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
        Some(Self {
            host: host.into(),
            port: uri.port_u16().unwrap_or(usual_port),
        })
    }

    /// The whole address `uri`, which has this host and port, without credentials and query values,
    /// for the span.
    pub(super) fn shown(&self, uri: &Uri) -> String {
        let query = uri.query().map(redact);
        let [scheme, path] = [uri.scheme_str().unwrap_or_default(), uri.path()];
        let length =
            scheme.len() + self.host.len() + path.len() + query.as_ref().map_or(0, String::len);
        // The rest is `://`, the port, and what a query or IPv6 adds.
        let mut shown = String::with_capacity(length + 12);
        // Writing to a string cannot fail.
        let _ = write!(shown, "{scheme}://{self}{path}");
        if let Some(query) = query {
            shown.push('?');
            shown.push_str(&query);
        }
        shown
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
