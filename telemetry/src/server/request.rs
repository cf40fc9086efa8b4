//! The attributes of a request that the HTTP conventions ask for.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderName, Method, Request, Version, header};
use opentelemetry::KeyValue;

use super::ClientAddress;
use crate::attr;

/// The method as the conventions name it, `_OTHER` for an unknown one, which is the second.
pub(crate) fn known_method(method: &Method) -> (&'static str, Option<&str>) {
    let known = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => return ("_OTHER", Some(method.as_str())),
    };
    (known, None)
}

pub(crate) fn protocol_version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// A query string with its names and without its values, which can hold what a user typed.
pub(crate) fn redact(query: &str) -> String {
    let mut redacted = String::with_capacity(query.len() + 16);
    for pair in query.split('&') {
        if !redacted.is_empty() {
            redacted.push('&');
        }
        match pair.split_once('=') {
            Some((name, _)) => {
                redacted.push_str(name);
                redacted.push_str("=REDACTED");
            }
            None => redacted.push_str(pair),
        }
    }
    redacted
}

/// Adds address, port, client and query of a request, as far as they are known.
pub(super) fn describe(request: &Request<Body>, attributes: &mut Vec<KeyValue>) {
    // An absolute-form target names the server and wins over `Host` (RFC 9112, 3.2.2); its user
    // part is left out.
    let named = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    if let Some((host, port)) = named
        .or_else(|| text(request, header::HOST))
        .and_then(split_host)
    {
        attributes.push(KeyValue::new(attr::SERVER_ADDRESS, host.to_owned()));
        attributes.extend(port.map(|port| KeyValue::new(attr::SERVER_PORT, port)));
    }
    if let Some(ClientAddress(client)) = request.extensions().get() {
        attributes.push(KeyValue::new(attr::CLIENT_ADDRESS, Arc::clone(client)));
    }
    if let Some(agent) = text(request, header::USER_AGENT) {
        attributes.push(KeyValue::new(attr::USER_AGENT_ORIGINAL, agent.to_owned()));
    }
    if let Some(query) = request.uri().query() {
        attributes.push(KeyValue::new(attr::URL_QUERY, redact(query)));
    }
}

fn text(request: &Request<Body>, name: HeaderName) -> Option<&str> {
    request.headers().get(name)?.to_str().ok()
}

/// Splits a `Host` value; the brackets of an IPv6 address are left out, and so is a port that is no
/// number.
pub(super) fn split_host(host: &str) -> Option<(&str, Option<i64>)> {
    let (address, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        (address, rest.strip_prefix(':'))
    } else {
        host.split_once(':')
            .map_or((host, None), |(address, port)| (address, Some(port)))
    };
    let port = port
        .and_then(|port| port.parse::<u16>().ok())
        .map(i64::from);
    (!address.is_empty()).then_some((address, port))
}
