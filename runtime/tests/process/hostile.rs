//! Clients that send bodies slowly, read no answer, hold connections, or belong to another page.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::{Answer, Collector, wait_until};

use crate::process::Probe;

const QUIET: [(&str, &str); 1] = [("OTEL_SDK_DISABLED", "true")];

/// Sends raw bytes on a connection of their own.
fn raw(process: &Probe, bytes: &str) -> TcpStream {
    let mut socket = process.connect();
    socket.write_all(bytes.as_bytes()).expect("bytes sent");
    socket
}

fn status(process: &Probe, bytes: &str) -> u16 {
    let answer = Answer::read(&mut raw(process, bytes)).expect("an answer");
    answer.status
}

/// Whether the server has closed a connection, which must not block; what it sent before is read.
fn is_closed(mut socket: &TcpStream) -> bool {
    let mut sent = [0; 1024];
    loop {
        match socket.read(&mut sent) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

/// A request whose body of 100 bytes has not begun.
fn slow_body(process: &Probe) -> TcpStream {
    raw(
        process,
        "POST /body HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 100\r\n\r\n",
    )
}

#[test]
fn a_host_must_be_there_once_and_valid_on_every_path() {
    let process = Probe::start(&QUIET, "");
    let local = format!("Host: {}\r\n", process.address);
    for (host, expected) in [
        (local.as_str(), 200),
        ("HOST: LocalHost\r\n", 200),
        ("", 400),
        ("Host:\r\n", 400),
        ("Host: a b/c\r\n", 400),
        ("Host: x{y.evil.test:8090\r\n", 400),
        ("Host: localhost\r\nHost: localhost\r\n", 400),
        ("Host: evil.example\r\n", 421),
        ("Host: localhost\r\nOrigin: http://evil.example\r\n", 403),
        ("Host: localhost\r\nOrigin: null\r\n", 403),
        ("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403),
    ] {
        for path in ["/items/1", "/livez", "/readyz", "/no/such/path"] {
            let request = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
            let expected = match (path, expected) {
                ("/no/such/path", 200) => 404,
                _ => expected,
            };
            assert_eq!(status(&process, &request), expected, "{host:?} {path}");
        }
    }
    assert_eq!(status(&process, "GET /items/1 HTTP/1.0\r\n\r\n"), 200);
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn names_are_allowed_by_option_and_a_listener_beyond_loopback_is_warned_of() {
    let process = Probe::start(
        &[
            QUIET[0],
            ("THROUGHLINE_ALLOWED_HOSTS", "a.example,.b.example"),
        ],
        "--listen 0.0.0.0:0",
    );
    process.wait_event("server.exposed");
    for (host, expected) in [
        ("a.example", 200),
        ("x.b.example:80", 200),
        ("probe:80", 200),
        ("192.0.2.7", 200),
        ("evil.example", 421),
    ] {
        let request = format!("GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let port = process.address.port();
        let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        socket.write_all(request.as_bytes()).expect("a request");
        let answer = Answer::read(&mut socket).expect("an answer");
        assert_eq!(answer.status, expected, "{host}");
    }
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn what_the_guard_refuses_has_a_span() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "");
    let request = "GET /items/1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let answer = Answer::read(&mut raw(&process, request)).expect("an answer");
    assert_eq!((answer.status, &*answer.text()), (421, "unknown_host"));
    assert_eq!(process.stop().code, Some(0));
    let span = collector.span("GET");
    assert_eq!(span.attributes["http.response.status_code"], 421);
}

#[test]
fn a_body_that_is_declared_too_large_is_refused_before_it_is_sent() {
    let process = Probe::start(&QUIET, "");
    let expecting = |length: usize| {
        format!(
            "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut large = raw(&process, &expecting(100_001));
    let mut all = String::new();
    large.read_to_string(&mut all).expect("an answer");
    assert!(all.starts_with("HTTP/1.1 413 "), "{all}");
    // The others may go on.
    let mut small = raw(&process, &expecting(2));
    let mut interim = [0; 25];
    small.read_exact(&mut interim).expect("an interim answer");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    small.write_all(b"hi").expect("a body");
    let answer = Answer::read(&mut small).expect("an answer");
    assert_eq!((answer.status, &*answer.text()), (200, "hi"));
    // Without a declared length, the limit counts as well.
    let chunk = "x".repeat(100_001);
    let chunked = format!(
        "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    assert_eq!(status(&process, &chunked), 413);
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn slow_bodies_hold_no_permits_and_end_with_408() {
    let process = Probe::start(&QUIET, "--max-in-flight 1 --body-timeout 1s");
    let mut slow: Vec<TcpStream> = (0..20).map(|_| slow_body(&process)).collect();
    for _ in 0..20 {
        assert_eq!(process.get("/items/1").status, 200);
        let whole = "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(status(&process, whole), 200);
    }
    for socket in &mut slow {
        let answer = Answer::read(socket).expect("an answer");
        assert_eq!(
            (answer.status, answer.header("connection")),
            (408, Some("close"))
        );
    }
    // A body that comes in time is answered, though in two parts.
    let mut parts = slow_body(&process);
    parts.write_all(&[b'x'; 60]).expect("a part");
    assert_eq!(process.get("/items/1").status, 200);
    parts.write_all(&[b'x'; 40]).expect("the rest");
    let answer = Answer::read(&mut parts).expect("an answer");
    assert_eq!((answer.status, answer.text().len()), (200, 100));
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn of_too_many_slow_bodies_the_oldest_ends() {
    let process = Probe::start(&QUIET, "--max-slow-bodies 2 --body-timeout 10m");
    let mut oldest = slow_body(&process);
    let mut others = Vec::new();
    // Which of two connections is served first is not known, so the first one gets a head start.
    assert_eq!(process.get("/items/1").status, 200);
    for _ in 0..2 {
        others.push(slow_body(&process));
    }
    let answer = Answer::read(&mut oldest).expect("an answer");
    assert_eq!(answer.status, 408);
    for mut socket in others {
        socket.write_all(&[b'x'; 100]).expect("the body");
        assert_eq!(Answer::read(&mut socket).expect("an answer").status, 200);
    }
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn an_answer_that_nobody_reads_holds_its_permit_and_is_given_up() {
    let collector = Collector::start();
    let process = Probe::exporting(&collector, "--max-in-flight 1 --write-timeout 1s");
    let start = Instant::now();
    let mut unread = raw(
        &process,
        "GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    );
    let mut head = [0; 12];
    unread.read_exact(&mut head).expect("the beginning");
    assert_eq!(&head, b"HTTP/1.1 200");
    assert_eq!(process.get("/items/1").status, 429, "the permit is held");
    wait_until("the permit comes back", || {
        process.get("/items/1").status == 200
    });
    assert!(start.elapsed() >= Duration::from_secs(1), "too early");
    process.wait_event("server.answer_unread");
    let mut rest = Vec::new();
    let read = unread.read_to_end(&mut rest);
    assert!(read.is_err() || rest.len() < 32 << 20, "the answer is cut");
    // Who reads gets all of it.
    assert_eq!(process.get("/large").text().len(), 32 << 20);
    assert_eq!(process.stop().code, Some(0));
    let counted = collector.metric("ml.server.unread_answers");
    let counts: Vec<_> = counted.iter().map(|series| series.value.as_u64()).collect();
    assert_eq!(counts, [Some(1)]);
}

#[test]
fn idle_connections_make_room_and_busy_ones_do_not() {
    let process = Probe::start(&QUIET, "--max-connections 3 --header-timeout 10m");
    let mut idle: Vec<TcpStream> = (0..50).map(|_| process.connect()).collect();
    assert_eq!(process.get("/items/1").status, 200);
    // All but the last ones are closed.
    let mut rest = Vec::new();
    idle[0].read_to_end(&mut rest).expect("a closed connection");
    drop(idle);
    let busy: Vec<TcpStream> = (0..3).map(|_| process.open("GET /hang", &[])).collect();
    process.wait_events("probe.hanging", busy.len());
    let refused = Answer::read(&mut process.connect()).expect("an answer at once");
    assert_eq!(refused.status, 503);
    drop(busy);
    wait_until("there is room", || process.get("/items/1").status == 200);
}

#[test]
fn connections_with_half_a_head_make_room_at_once() {
    let process = Probe::start(&QUIET, "--max-connections 3 --header-timeout 10m");
    let half = "GET /items/1 HTTP/1.1\r\nHost: loc";
    // The second half head comes after an answer.
    let answered = format!("GET /items/1 HTTP/1.1\r\nHost: localhost\r\n\r\n{half}");
    for bytes in [half, &answered] {
        let halves: Vec<TcpStream> = (0..20).map(|_| raw(&process, bytes)).collect();
        // Which ones are closed depends on when each was answered: all but three are.
        for socket in &halves {
            socket.set_nonblocking(true).expect("no waiting");
        }
        wait_until("all but three are closed", || {
            halves.iter().filter(|socket| !is_closed(socket)).count() <= 3
        });
    }
    assert_eq!(process.get("/items/1").status, 200);
}

#[test]
fn a_head_is_bounded() {
    let process = Probe::start(&QUIET, "");
    let request = |length: usize| {
        let filler = "x".repeat(length);
        format!(
            "GET /items/1 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: {filler}\r\nConnection: close\r\n\r\n"
        )
    };
    assert_eq!(status(&process, &request(60_000)), 200);
    assert_eq!(status(&process, &request(80_000)), 431);
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn codings_are_undone_before_the_handler() {
    use flate2::{Compression, write::GzEncoder};
    let gzip = |bytes: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).expect("in memory");
        encoder.finish().expect("in memory")
    };
    let process = Probe::start(&QUIET, "");
    let ask = |coding: &str, body: &[u8]| {
        let head = format!(
            "POST /body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut socket = raw(&process, &head);
        socket.write_all(body).expect("a body");
        Answer::read(&mut socket).expect("an answer")
    };
    let answer = ask("X-GZIP", &[gzip(b"he"), gzip(b"llo")].concat());
    assert_eq!((answer.status, &*answer.text()), (200, "hello"));
    let answer = ask("br", b"hello");
    assert_eq!(answer.status, 415);
    assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate"));
    assert_eq!(ask("gzip", b"hello").status, 400);
    assert_eq!(ask("gzip", &gzip(&vec![0; 100_001])).status, 413);
    assert_eq!(process.stop().code, Some(0));
}
