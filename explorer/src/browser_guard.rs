//! Admits programs and the explorer's own page, and refuses the other pages in a browser.
//!
//! The explorer has no password, so a page of another site must neither send telemetry nor read it.
//! A browser names the origin of a request in `Origin`. A page that rebinds its own name to our
//! address (DNS rebinding) is same-origin by that header, and is refused by the `Host` header
//! instead.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, uri::Authority};

/// Decides by the headers of a request. Each listener has its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BrowserGuard {
    /// On a loopback listener `Host` must be a loopback name too. On other addresses the valid
    /// names are not known.
    loopback: bool,
}

impl BrowserGuard {
    pub(crate) fn of(listening_on: SocketAddr) -> BrowserGuard {
        BrowserGuard {
            loopback: listening_on.ip().is_loopback(),
        }
    }

    pub(crate) fn admits(self, request: &Request) -> bool {
        let host = host(request);
        let known_host = !self.loopback || host.as_ref().is_none_or(is_loopback);
        known_host && same_origin(request.headers(), host.as_ref())
    }
}

/// The host of the request; HTTP/1.0 allows a request without one.
fn host(request: &Request) -> Option<Authority> {
    let header = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok());
    header
        .and_then(|host| host.parse().ok())
        .or_else(|| request.uri().authority().cloned())
}

fn same_origin(headers: &HeaderMap, host: Option<&Authority>) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.split_once("://"))
        .map(|(_, authority)| authority);
    authority.is_some_and(|authority| {
        host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(authority))
    })
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    address.map_or_else(
        |_| {
            host.eq_ignore_ascii_case("localhost")
                || host.to_ascii_lowercase().ends_with(".localhost")
        },
        |address| address.is_loopback(),
    )
}

#[cfg(test)]
mod tests;
