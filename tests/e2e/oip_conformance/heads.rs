//! Heads of requests: the guard of `Host` and `Origin` on every path, and `Expect`.

use std::io::{Read, Write};

use anyhow::{Context, Result, ensure};
use harness::Answer;

use super::Case;
use super::target::{Target, same};

pub(super) const CASES: &[(&str, Case)] = &[
    ("hosts and origins", hosts),
    ("the authority of an absolute target", absolute_targets),
    (
        "a body that is declared too large is refused before it is sent",
        expectations,
    ),
];

/// Lines of a head, and what its request is answered.
const HOSTS: &[(&str, u16, &str)] = &[
    ("Host: localhost\r\n", 200, ""),
    ("HOST: LocalHost:1\r\n", 200, ""),
    ("Host: localhost.:1\r\n", 200, ""),
    ("Host: localhost:\r\n", 200, ""),
    ("Host: 127.8.8.8\r\n", 200, ""),
    ("Host: [::1]:80\r\n", 200, ""),
    ("Host: [::ffff:127.0.0.1]\r\n", 200, ""),
    ("Host: a.localhost\r\n", 200, ""),
    ("", 400, "invalid_host"),
    ("Host:\r\n", 400, "invalid_host"),
    ("Host: a b/c\r\n", 400, "invalid_host"),
    ("Host: x{y.evil.test:8090\r\n", 400, "invalid_host"),
    ("Host: :80\r\n", 400, "invalid_host"),
    ("Host: localhost:eighty\r\n", 400, "invalid_host"),
    ("Host: localhost:99999\r\n", 400, "invalid_host"),
    ("Host: localhost:+80\r\n", 400, "invalid_host"),
    ("Host: localhost:80:80\r\n", 400, "invalid_host"),
    ("Host: user@localhost\r\n", 400, "invalid_host"),
    ("Host: localhost/\r\n", 400, "invalid_host"),
    ("Host: localhost, evil.example\r\n", 400, "invalid_host"),
    ("Host: http://localhost\r\n", 400, "invalid_host"),
    ("Host: [::1\r\n", 400, "invalid_host"),
    ("Host: \u{e9}.example\r\n", 400, "invalid_host"),
    (
        "Host: localhost\r\nHost: localhost\r\n",
        400,
        "invalid_host",
    ),
    (
        "Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost\r\n",
        400,
        "invalid_host",
    ),
    ("Host: evil.example\r\n", 421, "unknown_host"),
    (
        "Host: evil.example\r\nOrigin: http://evil.example\r\n",
        421,
        "unknown_host",
    ),
    ("Host: localhost.evil.example\r\n", 421, "unknown_host"),
    ("Host: 127.0.0.1.evil.example\r\n", 421, "unknown_host"),
    ("Host: xlocalhost\r\n", 421, "unknown_host"),
    ("Host: service\r\n", 421, "unknown_host"),
    ("Host: 192.0.2.1\r\n", 421, "unknown_host"),
    ("Host: [127.0.0.1]\r\n", 421, "unknown_host"),
    ("Host: [::2]\r\n", 421, "unknown_host"),
    ("Host: 2130706433\r\n", 421, "unknown_host"),
    ("Host: 0.0.0.0\r\n", 421, "unknown_host"),
    (
        "Host: localhost:1\r\nOrigin: http://localhost:1\r\n",
        200,
        "",
    ),
    (
        "Host: localhost:1\r\nOrigin: http://localhost:2\r\n",
        403,
        "cross_origin",
    ),
    (
        "Host: localhost\r\nOrigin: http://evil.example\r\n",
        403,
        "cross_origin",
    ),
    ("Host: localhost\r\nOrigin: null\r\n", 403, "cross_origin"),
    (
        "Host: localhost\r\nOrigin: app://localhost\r\n",
        403,
        "cross_origin",
    ),
    ("Host: localhost\r\nOrigin:\r\n", 403, "cross_origin"),
    (
        "Host: localhost\r\nSec-Fetch-Site: same-origin\r\n",
        200,
        "",
    ),
    ("Host: localhost\r\nSec-Fetch-Site: none\r\n", 200, ""),
    (
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n",
        403,
        "cross_origin",
    ),
    (
        "Host: localhost\r\nSec-Fetch-Site: same-site\r\n",
        403,
        "cross_origin",
    ),
    (
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        200,
        "",
    ),
    (
        "Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
        403,
        "cross_origin",
    ),
];

fn sent(target: &Target<'_>, request: &str) -> Result<Answer> {
    let mut socket = target.connect()?;
    socket.write_all(request.as_bytes())?;
    Answer::read(&mut socket).context("no answer")
}

fn check(what: &str, answer: &Answer, status: u16, code: &str) -> Result<()> {
    let found = answer.json()["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    same(what, &(answer.status, &*found), &(status, code))
}

fn hosts(target: &Target<'_>) -> Result<()> {
    let mut wrong = Vec::new();
    for (lines, status, code) in HOSTS {
        for path in ["/v2", "/v2/health/live", "/livez"] {
            let request = format!("GET {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
            let answer = sent(target, &request)?;
            let what = format!("{path} {lines:?}");
            wrong.extend(check(&what, &answer, *status, code).err());
            if *status != 200 && path == "/v2" {
                let named = answer.json()["trace_id"].is_string();
                ensure!(
                    named && answer.span().is_some(),
                    "{what}: no span: {answer:?}"
                );
            }
        }
    }
    let wrong: Vec<_> = wrong.iter().map(|error| format!("{error:#}")).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n    "));
    // HTTP/1.0 has no Host.
    let answer = sent(target, "GET /v2 HTTP/1.0\r\n\r\n")?;
    check("HTTP/1.0", &answer, 200, "")
}

fn absolute_targets(target: &Target<'_>) -> Result<()> {
    for (address, host, status, code) in [
        ("http://localhost:1/v2", "localhost:1", 200, ""),
        ("http://evil.example/v2", "localhost", 421, "unknown_host"),
        ("http://localhost/v2", "a b/c", 400, "invalid_host"),
    ] {
        let request =
            format!("GET {address} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = sent(target, &request)?;
        check(&format!("{address}, {host}"), &answer, status, code)?;
    }
    Ok(())
}

fn expectations(target: &Target<'_>) -> Result<()> {
    let head = |length: usize, more: &str| {
        format!(
            "POST /v2/models/wine_quality/infer HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n{more}\r\n"
        )
    };
    let answer = sent(target, &head((1 << 20) + 1, ""))?;
    check("too large", &answer, 413, "too_large")?;
    // The gateway passes codings on, so it has to read the body first.
    if !target.is_gateway() {
        let answer = sent(target, &head(100, "Content-Encoding: br\r\n"))?;
        check("unknown coding", &answer, 415, "unsupported_encoding")?;
    }
    // The others may go on.
    let mut socket = target.connect()?;
    socket.write_all(head(1, "").as_bytes())?;
    let mut interim = [0; 25];
    socket.read_exact(&mut interim)?;
    same(
        "interim answer",
        &&interim[..],
        &&b"HTTP/1.1 100 Continue\r\n\r\n"[..],
    )?;
    socket.write_all(b"{")?;
    let answer = Answer::read(&mut socket).context("no answer")?;
    check("after the body", &answer, 400, "bad_request")
}
