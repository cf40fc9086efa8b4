//! Admits programs and our own pages, and refuses the other pages in a browser.
//!
//! The parts have no password, so a page of another site must neither write to them nor read from
//! them. A browser names the origin of a request in `Origin`, and tells `Sec-Fetch-Site` where it
//! leaves `Origin` out. A page that rebinds its own name to our address (DNS rebinding) is
//! same-origin by both, and is refused by the `Host` header instead.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::header::{HOST, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Version};

use crate::refusal::Refusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A name that a listener answers to: `gateway.example.com`, `.example.com` for all names below it,
/// or `*` for every name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(String);

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let name = text.strip_prefix('.').unwrap_or(&text);
        let valid = text == "*"
            || name
                .parse::<Authority>()
                .is_ok_and(|authority| authority.host() == name && !name.is_empty());
        if valid {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is no name of a host; leave its port out"))
        }
    }
}

impl AllowedHost {
    fn admits(&self, host: &str) -> bool {
        match self.0.strip_prefix('.') {
            _ if self.0 == "*" => true,
            Some(_) => host
                .len()
                .checked_sub(self.0.len())
                .filter(|start| *start > 0 && host.is_char_boundary(*start))
                .is_some_and(|start| host[start..].eq_ignore_ascii_case(&self.0)),
            None => host.eq_ignore_ascii_case(&self.0),
        }
    }
}

/// Decides by the head of a request. Each listener has its own.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    loopback: bool,
    allowed: Vec<AllowedHost>,
}

impl Guard {
    pub(crate) fn new(listening_on: SocketAddr, allowed: &[AllowedHost]) -> Self {
        Self {
            loopback: listening_on.ip().to_canonical().is_loopback(),
            allowed: allowed.to_vec(),
        }
    }

    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let host = host(request)?;
        if let Some(host) = &host
            && !self.answers_to(host)
        {
            return Err(Refusal::UnknownHost);
        }
        let headers = request.headers();
        match single(headers, &ORIGIN)? {
            Some(origin) if !is_origin_of(origin, host.as_ref()) => Err(Refusal::ForeignOrigin),
            Some(_) => Ok(()),
            None => match single(headers, &SEC_FETCH_SITE)? {
                None | Some("same-origin" | "none") => Ok(()),
                Some(_) if is_navigation(request) => Ok(()),
                Some(_) => Err(Refusal::ForeignOrigin),
            },
        }
    }

    /// On loopback: the names of loopback. Beyond: also every address, and every name without a
    /// dot, such as that of a container. Rebinding needs a name that its attacker owns, and nobody
    /// owns those.
    fn answers_to(&self, authority: &Authority) -> bool {
        let host = authority.host();
        // The dot of a fully qualified name.
        let name = host.strip_suffix('.').unwrap_or(host);
        let known = match address(host) {
            Some(address) => !self.loopback || address.to_canonical().is_loopback(),
            None => is_localhost(name) || (!self.loopback && !name.contains('.')),
        };
        known || self.allowed.iter().any(|allowed| allowed.admits(name))
    }
}

/// The host of the request; HTTP/1.0 allows a request without one.
///
/// The authority of an absolute target goes before `Host` (RFC 9112 §3.2.2), but `Host` has to be
/// there and valid even then.
fn host<B>(request: &Request<B>) -> Result<Option<Authority>, Refusal> {
    let header = match single(request.headers(), &HOST)? {
        Some(host) => Some(host.parse().map_err(|_| Refusal::InvalidHost)?),
        None if request.version() == Version::HTTP_10 => None,
        None => return Err(Refusal::InvalidHost),
    };
    let host = request.uri().authority().cloned();
    for authority in [&header, &host].into_iter().flatten() {
        if !is_uri_host_and_port(authority) {
            return Err(Refusal::InvalidHost);
        }
    }
    Ok(host.or(header))
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Refusal::InvalidHost),
        (Some(_), Some(_)) => Err(Refusal::InvalidHost),
    }
}

/// `Host = uri-host [ ":" port ]` (RFC 9110 §7.2). [`Authority`] would admit a user name and a port
/// that is not a number, and a parsed number may have a sign.
fn is_uri_host_and_port(authority: &Authority) -> bool {
    let (host, text) = (authority.host(), authority.as_str());
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let valid_port = match text.strip_prefix(host) {
        Some("" | ":") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(is_port),
        None => false,
    };
    !host.is_empty() && valid_port
}

/// Whether the page came from here. A proxy may add TLS, so both schemes do; the pages of an
/// application with a scheme of its own, such as `app://localhost`, are somebody else's.
fn is_origin_of(origin: &str, host: Option<&Authority>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let is_web = ["http", "https"]
        .iter()
        .any(|web| scheme.eq_ignore_ascii_case(web));
    is_web && host.is_some_and(|host| host.as_str().eq_ignore_ascii_case(authority))
}

/// A link that a person followed to here. The page that has the link cannot read the answer.
fn is_navigation<B>(request: &Request<B>) -> bool {
    let is = |name: &str, value: &str| {
        let header = request.headers().get(name);
        header.is_some_and(|header| header.as_bytes() == value.as_bytes())
    };
    matches!(*request.method(), Method::GET | Method::HEAD)
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

fn address(host: &str) -> Option<IpAddr> {
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

fn is_localhost(name: &str) -> bool {
    const BELOW: &str = ".localhost";
    name.eq_ignore_ascii_case("localhost")
        || name
            .len()
            .checked_sub(BELOW.len())
            .and_then(|start| name.get(start..))
            .is_some_and(|end| end.eq_ignore_ascii_case(BELOW))
}

#[cfg(test)]
mod tests;
