//! Admission, time limits, and the stop of a process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use harness::{Answer, DEADLINE, wait_until};

use crate::process::{Probe, launch};

const QUIET: [(&str, &str); 1] = [("OTEL_SDK_DISABLED", "true")];

#[test]
fn a_stop_turns_readiness_off_refuses_newcomers_and_finishes_what_is_in_flight() {
    for signal in [None, Some("TERM"), Some("INT")] {
        let mut process = Probe::start(&QUIET, "--drain-timeout 10m");
        assert_eq!(process.get("/readyz").json()["ready"], true);
        let mut socket = process.open("GET /until-refused", &[]);
        process.wait_event("probe.hanging");
        match signal {
            Some(signal) => process.signal(signal),
            None => process.cut_lifeline(),
        }
        let answer = Answer::read(&mut socket).expect("an answer although the process stops");
        assert_eq!(
            (answer.status, &*answer.text()),
            (200, "503 false"),
            "{signal:?}"
        );
        let exit = process.wait();
        assert_eq!(
            (exit.code, exit.events("server.stopped").len()),
            (Some(0), 1),
            "{signal:?}"
        );
    }
}

#[test]
fn a_request_that_never_ends_is_cut_off_and_the_exit_code_is_1() {
    let process = Probe::start(&QUIET, "--drain-timeout 200ms");
    let mut socket = process.open("GET /hang", &[]);
    process.wait_event("probe.hanging");
    let exit = process.stop();
    let answer = Answer::read(&mut socket).expect("an answer and no reset");
    assert_eq!(
        (answer.status, &*answer.text(), answer.header("connection")),
        (503, "draining", Some("close"))
    );
    assert_eq!(exit.code, Some(1));
    let failed = exit.events("server.failed");
    assert!(
        failed[0]["error"]
            .as_str()
            .is_some_and(|text| text.contains("in flight after 200 ms")),
        "{failed:?}"
    );
}

#[test]
fn a_connection_made_before_the_stop_may_still_send_a_request() {
    in_time(|| {
        let mut process = Probe::start(&QUIET, "--drain-timeout 10m");
        let mut made = process.connect();
        let request = "GET /items/late HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stop_and_send(&mut process, &mut made, request)?;
        let answer = Answer::read(&mut made).expect("an answer");
        assert_eq!((answer.status, &*answer.text()), (200, "late"));
        assert_eq!(process.wait().code, Some(0));
        Some(())
    });
}

#[test]
fn a_request_on_an_idle_connection_crosses_the_stop_and_closes_it() {
    in_time(|| {
        let mut process = Probe::start(&QUIET, "--drain-timeout 10m");
        let mut kept = process.connect();
        let head = |id: &str| format!("GET /items/{id} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        kept.write_all(head("1").as_bytes()).expect("a request");
        let mut first = [0; 12];
        kept.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200");
        stop_and_send(&mut process, &mut kept, &head("late"))?;
        // Both bodies are in here; the end of the connection ends them.
        let mut rest = String::new();
        kept.read_to_string(&mut rest).expect("an answer");
        let last = rest.rsplit_once("HTTP/1.1 200").expect("an answer").1;
        assert!(last.contains("connection: close"), "{last}");
        assert!(last.ends_with("late"), "{last}");
        assert_eq!(process.wait().code, Some(0));
        Some(())
    });
}

/// Waits until the listener is closed: the request to stop has arrived.
fn refuses(process: &Probe) {
    wait_until("the listener closes", || {
        TcpStream::connect(process.address).is_err()
    });
}

/// Tries until this machine is not too busy for an attempt.
fn in_time(attempt: impl Fn() -> Option<()>) {
    let end = Instant::now() + DEADLINE;
    while attempt().is_none() {
        assert!(Instant::now() < end, "this machine is too busy");
    }
}

/// Stops the process and sends a request when its listener is closed. `None` if that took nearly as
/// long as open connections have: then it shows nothing.
fn stop_and_send(process: &mut Probe, socket: &mut TcpStream, request: &str) -> Option<()> {
    let begun = Instant::now();
    process.cut_lifeline();
    refuses(process);
    let sent = socket.write_all(request.as_bytes());
    if begun.elapsed() > Duration::from_millis(400) {
        return None;
    }
    sent.expect("a request");
    Some(())
}

#[test]
fn idle_connections_do_not_delay_the_exit() {
    let process = Probe::start(&QUIET, "--drain-timeout 10m --header-timeout 10m");
    let _never_used = process.connect();
    let mut idle = process.connect();
    write!(idle, "GET /items/1 HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let start = Instant::now();
    assert_eq!(process.stop().code, Some(0));
    assert!(
        start.elapsed() < DEADLINE,
        "the drain waited for an idle connection"
    );
    // The drain waits for the rest of half a head, but its absence is no failure.
    let process = Probe::start(&QUIET, "--drain-timeout 1s --header-timeout 10m");
    let mut half = process.connect();
    half.write_all(b"GET /items/1 HTT").expect("half a head");
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let process = Probe::start(&QUIET, "--drain-timeout 10m");
    let _socket = process.open("GET /hang", &[]);
    process.wait_event("probe.hanging");
    process.signal("TERM");
    // The kernel may merge two pending signals of one kind.
    refuses(&process);
    process.signal("TERM");
    assert_eq!(process.wait().code, Some(130));
}

#[test]
fn more_requests_than_allowed_are_refused_and_health_is_not() {
    let process = Probe::start(&QUIET, "--max-in-flight 1");
    let hanging = process.open("GET /hang", &[]);
    process.wait_event("probe.hanging");
    assert_eq!(process.get("/items/1").status, 429);
    assert_eq!(
        (process.get("/livez").status, process.get("/readyz").status),
        (200, 200)
    );
    drop(hanging);
    wait_until("the permit comes back", || {
        process.get("/items/1").status != 429
    });
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn a_request_has_a_time_limit_and_knows_it() {
    let process = Probe::start(&QUIET, "--request-timeout 100ms");
    assert_eq!(process.get("/hang").status, 504);
    let left: u64 = process
        .get("/deadline")
        .text()
        .parse()
        .expect("milliseconds");
    assert!(left <= 100, "{left}");
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn a_client_that_sends_its_head_slowly_is_cut_off() {
    let process = Probe::start(&QUIET, "--header-timeout 100ms");
    let mut slow = process.connect();
    slow.write_all(b"GET /items/1 HTTP/1.1\r\nhost: localhost\r\n")
        .expect("half a head");
    let mut rest = Vec::new();
    // The time limit of this socket is far longer, so the server closes it.
    slow.read_to_end(&mut rest).expect("a closed connection");
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    assert_eq!(process.get("/items/1").status, 200);
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let exit = launch(&QUIET, &format!("--listen {address}"))
        .wait()
        .unwrap();
    assert_eq!(exit.code, Some(1));
    let failed = exit.events("server.failed");
    let text = failed[0]["error"].as_str().expect("a text");
    assert!(
        text.contains(&address) && text.contains("--listen") && text.contains("in use"),
        "{text}"
    );
}
