//! The CLIENT span for every way in which a call can end.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::collector::{CLIENT, Collector, ERROR, UNSET};
use crate::process::Process;

/// A server that takes one connection, reads the request's head, and sends `answer` before it
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

/// Calls `to` through a probe, which answers with the outcome.
fn call(to: &str, timeout: u32) -> (String, Collector) {
    let collector = Collector::start();
    let process = Process::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())], "");
    let answer = process.get(&format!("/call?timeout={timeout}&to={to}"));
    assert_eq!(process.stop().code, Some(0));
    (answer.body, collector)
}

#[test]
fn a_good_call_has_exactly_the_attributes_of_the_conventions() {
    let to = server(|mut socket| {
        socket
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
            .expect("an answer");
    });
    let port = to
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let (body, collector) = call(&format!("{to}a/path?key=secret"), 10_000);
    assert_eq!(body, "hi");
    let span = collector.span("GET");
    assert_eq!(
        (span.kind, span.status, &span.parent),
        (CLIENT, UNSET, &collector.span("GET /call").id)
    );
    let url = format!("http://127.0.0.1:{port}/a/path?key=REDACTED");
    let expected = [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("network.protocol.version", "1.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &port),
        ("url.full", &url),
    ];
    assert_eq!(
        span.attributes,
        expected
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    );
    let durations = collector.points("http.client.request.duration");
    let expected = [
        "http.request.method",
        "http.response.status_code",
        "network.protocol.version",
        "server.address",
        "server.port",
    ];
    assert_eq!(durations[0].attributes.keys().collect::<Vec<_>>(), expected);
    assert_eq!((durations.len(), durations[0].unit.as_str()), (1, "s"));
}

#[test]
fn an_answer_with_an_error_status_is_an_answer_and_marks_the_span() {
    for status in ["404", "503"] {
        let to = server(move |mut socket| {
            socket
                .write_all(
                    format!("HTTP/1.1 {status} Because\r\ncontent-length: 0\r\n\r\n").as_bytes(),
                )
                .expect("an answer");
        });
        let (body, collector) = call(&to, 10_000);
        assert_eq!(body, status);
        let span = collector.span("GET");
        assert_eq!(
            (
                span.status,
                span.message.as_str(),
                span.attributes["error.type"].as_str()
            ),
            (ERROR, "", status)
        );
        assert_eq!(span.attributes["http.response.status_code"], status);
        assert!(
            collector.logs().iter().all(|log| log.event != "exception"),
            "the server logs its own error"
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
        // The client leaves at the limit, so the last writes fail.
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
        assert_eq!(
            (span.status, span.attributes["error.type"].as_str()),
            (ERROR, error_type),
            "{span:?}"
        );
        let record = collector
            .logs()
            .into_iter()
            .find(|log| log.event == "exception")
            .expect("an exception record");
        assert_eq!(
            (record.span_id, record.attributes["exception.type"].as_str()),
            (span.id, error_type)
        );
        assert_eq!(
            collector.points("http.client.request.duration")[0].attributes["error.type"],
            error_type
        );
    }
}

#[test]
fn a_call_whose_caller_gave_up_ends_as_cancelled() {
    let silent = server(|mut socket| drop(socket.read(&mut [0])));
    let collector = Collector::start();
    let process = Process::start(
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())],
        "--request-timeout 200ms",
    );
    assert_eq!(process.get(&format!("/call?to={silent}")).status, 504);
    process.stop();
    let span = collector.span("GET");
    assert_eq!(
        (span.attributes["error.type"].as_str(), &span.parent),
        ("cancelled", &collector.span("GET /call").id)
    );
    assert_eq!(
        collector.points("http.client.request.duration")[0].attributes["error.type"],
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
    let process = Process::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())], "");
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
