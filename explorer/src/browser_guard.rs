//! Admits programs and the explorer's own page, and refuses the other pages in a browser.
//!
//! The explorer has no password, so a page of another site must neither send telemetry nor read it.
//! A browser names the origin of a request in `Origin`. A page that rebinds its own name to our
//! address (DNS rebinding) is same-origin by that header, and is refused by the `Host` header
//! instead.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::extract::Request;
use axum::http::header::{HOST, HeaderName, ORIGIN};
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
            loopback: listening_on.ip().to_canonical().is_loopback(),
        }
    }

    pub(crate) fn admits(self, request: &Request) -> bool {
        // An error is refused and never taken for an absent header: browsers navigate to names
        // that `Authority` does not parse.
        let (Ok(host), Ok(origin)) = (host(request), single(request.headers(), &ORIGIN)) else {
            return false;
        };
        let known_host = !self.loopback || host.as_ref().is_none_or(is_loopback);
        known_host && origin.is_none_or(|origin| is_origin_of(origin, host.as_ref()))
    }
}

/// A header that occurs twice, or whose value is not valid.
struct Invalid;

/// The host of the request; HTTP/1.0 allows a request without one.
///
/// The authority of an absolute request target goes before `Host` (RFC 9112 §3.2.2), but `Host` has
/// to be valid even then.
fn host(request: &Request) -> Result<Option<Authority>, Invalid> {
    let header = single(request.headers(), &HOST)?
        .map(|host| host.parse().map_err(|_| Invalid))
        .transpose()?;
    let host = request.uri().authority().cloned().or(header);
    match host {
        Some(host) if !is_uri_host_and_port(&host) => Err(Invalid),
        host => Ok(host),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Invalid> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Invalid),
        (Some(_), Some(_)) => Err(Invalid),
    }
}

/// `Host = uri-host [ ":" port ]` (RFC 9110 §7.2). [`Authority`] would admit a user name and a port
/// that is not a number.
fn is_uri_host_and_port(authority: &Authority) -> bool {
    let (host, text) = (authority.host(), authority.as_str());
    let port = text.strip_prefix(host).map(|port| port.strip_prefix(':'));
    let valid_port = match port {
        Some(Some(port)) => port.is_empty() || authority.port_u16().is_some(),
        Some(None) => text == host,
        None => false,
    };
    !host.is_empty() && valid_port
}

fn is_origin_of(origin: &str, host: Option<&Authority>) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| {
        host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(authority))
    })
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = match bracketed {
        Some(host) => host.parse::<Ipv6Addr>().map(IpAddr::V6),
        None => host.parse::<IpAddr>(),
    };
    address.map_or_else(
        |_| {
            host.eq_ignore_ascii_case("localhost")
                || host.to_ascii_lowercase().ends_with(".localhost")
        },
        |address| address.to_canonical().is_loopback(),
    )
}

#[cfg(test)]
mod tests;
