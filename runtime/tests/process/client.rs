//! The CLIENT span of every outcome of a call.

use std::io::{Read, Write};
use std::net::TcpListener;

use harness::{Collector, SpanKind, SpanStatus};
use serde_json::json;

use crate::process::{Probe, keys};

/// A server that takes one connection, reads the request's head, and runs `answer` before it
/// closes.
fn server(answer: impl FnOnce(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a request head");
            head.push(byte[0]);
        }
        answer(socket);
    });
    format!("http://{address}/")
}

fn refused() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}/", listener.local_addr().expect("an address"))
}

/// Calls `to` through a probe. Returns the probe's answer, and a collector with what it exported.
fn call(to: &str, timeout: u32) -> (String, Collector) {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    let answer = process.get(&format!("/call?timeout={timeout}&to={to}"));
    assert_eq!(process.stop().code, Some(0));
    (answer.text(), collector)
}

#[test]
fn a_good_call_has_exactly_the_attributes_of_the_conventions() {
    let to = server(|mut socket| {
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
            .expect("an answer");
    });
    let port = to.trim_end_matches('/').rsplit(':').next();
    let port: u16 = port.and_then(|port| port.parse().ok()).expect("a port");
    let (body, collector) = call(&format!("{to}a/path?key=secret"), 10_000);
    assert_eq!(body, "hi");
    let span = collector.span("GET");
    assert_eq!(
        (span.kind, &span.status),
        (SpanKind::Client, &SpanStatus::Unset)
    );
    assert_eq!(span.parent, Some(collector.span("GET /call").span.span_id));
    let url = format!("http://127.0.0.1:{port}/a/path?key=REDACTED");
    let expected = [
        ("http.request.method", json!("GET")),
        ("http.response.status_code", json!(200)),
        ("network.protocol.version", json!("1.1")),
        ("server.address", json!("127.0.0.1")),
        ("server.port", json!(port)),
        ("url.full", json!(url)),
    ];
    assert_eq!(
        span.attributes,
        expected.map(|(key, value)| (key.to_owned(), value)).into()
    );
    let durations = collector.metric("http.client.request.duration");
    let expected = [
        "http.request.method",
        "http.response.status_code",
        "network.protocol.version",
        "server.address",
        "server.port",
    ];
    assert_eq!(durations.len(), 1, "{durations:?}");
    assert_eq!(keys(&durations[0]), expected);
    assert_eq!(durations[0].unit, "s");
}

#[test]
fn an_answer_with_an_error_status_is_an_answer_and_marks_the_span() {
    for status in [404, 503] {
        let to = server(move |mut socket| {
            socket
                .write_all(
                    format!("HTTP/1.1 {status} Because\r\ncontent-length: 0\r\n\r\n").as_bytes(),
                )
                .expect("an answer");
        });
        let (body, collector) = call(&to, 10_000);
        assert_eq!(body, status.to_string());
        let span = collector.span("GET");
        assert_eq!(span.status, SpanStatus::Error(String::new()));
        assert_eq!(span.attributes["error.type"], status.to_string());
        assert_eq!(span.attributes["http.response.status_code"], status);
        assert!(
            collector
                .logs()
                .iter()
                .all(|log| log.event_name.as_deref() != Some("exception")),
            "the server logs its error itself"
        );
    }
}

#[test]
fn every_broken_exchange_has_its_error_type() {
    let half = server(|mut socket| {
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
            .expect("half an answer");
    });
    let silent = server(|mut socket| drop(socket.read(&mut [0])));
    let closing = server(drop);
    let garbage = server(|mut socket| {
        socket
            .write_all(b"SSH-2.0-OpenSSH\r\n\r\n")
            .expect("an answer");
    });
    let huge = server(|mut socket| {
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n");
        let chunk = vec![b'x'; 1 << 20];
        // The client closes the connection at its limit, so the last writes fail.
        while socket.write_all(&chunk).is_ok() {}
    });
    let cases = [
        (refused(), "connect_error"),
        (half, "transport_error"),
        (silent, "timeout"),
        (closing, "transport_error"),
        (garbage, "transport_error"),
        (huge, "response_too_large"),
    ];
    for (to, error_type) in cases {
        let timeout = if error_type == "timeout" { 100 } else { 20_000 };
        let (body, collector) = call(&to, timeout);
        assert_eq!(body, error_type);
        let span = collector.span("GET");
        assert!(span.is_error(), "{span:?}");
        assert_eq!(span.attributes["error.type"], error_type);
        let record = collector
            .logs()
            .into_iter()
            .find(|log| log.event_name.as_deref() == Some("exception"))
            .expect("an exception record");
        assert_eq!(record.span_id.as_ref(), Some(&span.span_id));
        assert_eq!(record.attributes["exception.type"], error_type);
        assert_eq!(
            collector.metric("http.client.request.duration")[0].attributes["error.type"],
            error_type
        );
    }
}

#[test]
fn a_call_whose_caller_gave_up_ends_as_cancelled() {
    let silent = server(|mut socket| drop(socket.read(&mut [0])));
    let collector = Collector::start();
    let process = Probe::start(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())],
        "--request-timeout 200ms",
    );
    assert_eq!(process.get(&format!("/call?to={silent}")).status, 504);
    process.stop();
    let span = collector.span("GET");
    assert_eq!(span.attributes["error.type"], "cancelled");
    assert_eq!(span.parent, Some(collector.span("GET /call").span.span_id));
    assert_eq!(
        collector.metric("http.client.request.duration")[0].attributes["error.type"],
        "cancelled"
    );
}

#[test]
fn credentials_of_an_address_are_sent_and_never_shown() {
    let (sender, head) = std::sync::mpsc::channel();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a request head");
            head.push(byte[0]);
        }
        sender
            .send(String::from_utf8(head).expect("text"))
            .expect("a test");
        // Without an answer the exchange breaks off, and its error names the address.
    });
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    let to = format!("http://m:SECRET@{address}/a?key=HIDDEN");
    let answer = process.get(&format!("/call?to={to}"));
    assert_eq!(answer.body, "transport_error");
    let exit = process.stop();
    let head = head.recv().expect("a request");
    assert!(
        head.contains("authorization: Basic bTpTRUNSRVQ=\r\n"),
        "{head}"
    );
    assert!(!head.contains("SECRET"), "{head}");
    let telemetry = format!(
        "{:?}{:?}{:?}",
        collector.spans(),
        collector.logs(),
        exit.lines
    );
    for secret in ["SECRET", "HIDDEN", "bTpTRUNSRVQ="] {
        assert!(!telemetry.contains(secret), "{telemetry}");
    }
}
