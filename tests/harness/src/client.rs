//! One HTTP/1.1 exchange on a connection of its own. Written by hand, since a real client refuses
//! to send half of what a server has to refuse.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use telemetry::SpanRef;

use crate::wait::DEADLINE;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Sends a request to `url`, which begins with `http://`, and reads the answer.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let mut socket = open(method, url, headers, body)?;
    Answer::read(&mut socket).with_context(|| format!("no answer to {method} {url}"))
}

/// The same from a test that answers requests itself, in other tasks of its runtime.
pub async fn send_async(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Answer> {
    let (method, url, body) = (method.to_owned(), url.to_owned(), body.into());
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    telemetry::task::spawn_blocking(move || {
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        send(&method, &url, &headers, &body)
    })
    .await?
}

/// Sends a request and leaves the answer on the connection.
pub fn open(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<TcpStream> {
    let (authority, path) = split(url)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        let _ = write!(head, "host: {authority}\r\n");
    }
    if !body.is_empty() || method != "GET" {
        let _ = write!(head, "content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let mut socket = connect(url)?;
    socket.write_all(format!("{head}\r\n").as_bytes())?;
    // A server that refuses a large body may close before it has read all of it.
    let _ = socket.write_all(body);
    Ok(socket)
}

/// A connection on which nothing was sent yet.
pub fn connect(url: &str) -> Result<TcpStream> {
    let (authority, _) = split(url)?;
    let socket = TcpStream::connect(authority).with_context(|| url.to_owned())?;
    socket.set_read_timeout(Some(DEADLINE))?;
    Ok(socket)
}

/// Authority and path of a URL.
fn split(url: &str) -> Result<(&str, &str)> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| url.to_owned())?;
    Ok(match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    })
}

impl Answer {
    /// Reads until the connection closes; `None` when it does so without a whole head.
    pub fn read(socket: &mut impl Read) -> Option<Self> {
        let mut bytes = Vec::new();
        // A server that has not read the whole request resets the connection after its answer.
        let _ = socket.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: HeaderMap = lines.filter_map(header).collect();
        let body = bytes[end + 4..].to_vec();
        let chunked = headers
            .get("transfer-encoding")
            .is_some_and(|value| value == "chunked");
        let body = if chunked { unchunk(&body)? } else { body };
        Some(Self {
            status,
            headers,
            body: body.into(),
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is something else.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The SERVER span that `traceresponse` names.
    pub fn span(&self) -> Option<SpanRef> {
        self.header("traceresponse")
            .and_then(SpanRef::from_traceparent)
    }

    /// Its trace.
    #[track_caller]
    pub fn trace_id(&self) -> String {
        self.span()
            .expect("the answer has a traceresponse")
            .trace_id
            .to_string()
    }
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = line.split_once(": ")?;
    Some((name.parse().ok()?, value.parse().ok()?))
}

/// The data of a chunked body; `None` when it was cut off.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?, 16).ok()?;
        if size == 0 {
            return Some(data);
        }
        data.extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 2 + size + 2..)?;
    }
}
