//! Admission, time limits, and the way out of a process.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::process::{Answer, PATIENCE, Process};

const QUIET: [(&str, &str); 1] = [("OTEL_SDK_DISABLED", "true")];

#[test]
fn a_stop_turns_readiness_off_refuses_newcomers_and_finishes_what_is_in_flight() {
    for signal in [None, Some("-TERM"), Some("-INT")] {
        let mut process = Process::start(&QUIET, "--drain-timeout 60s");
        assert_eq!(process.get("/readyz").json()["ready"], true);
        let mut socket = process.open("GET /until-refused", &[]);
        process.wait_for_event("probe.hanging");
        match signal {
            Some(signal) => process.signal(signal),
            None => process.cut_lifeline(),
        }
        let answer = Answer::read(&mut socket).expect("an answer although the process stops");
        assert_eq!(
            (answer.status, answer.body.as_str()),
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
fn a_request_that_never_ends_is_cut_off_and_the_exit_says_so() {
    let mut process = Process::start(&QUIET, "--drain-timeout 200ms");
    let _socket = process.open("GET /hang", &[]);
    process.wait_for_event("probe.hanging");
    let exit = process.stop();
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
fn a_connection_made_in_time_may_still_ask() {
    let mut process = Process::start(&QUIET, "--drain-timeout 60s");
    let mut made = process.connect();
    process.cut_lifeline();
    refuses(&process);
    write!(
        made,
        "GET /items/late HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )
    .expect("a request");
    let answer = Answer::read(&mut made).expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "late"));
    assert_eq!(process.wait().code, Some(0));
}

/// Waits until the listener is closed: the process has received the request to stop.
fn refuses(process: &Process) {
    let end = std::time::Instant::now() + PATIENCE;
    while TcpStream::connect(process.address).is_ok() {
        assert!(std::time::Instant::now() < end, "the listener stays open");
        std::thread::yield_now();
    }
}

#[test]
fn connections_that_ask_nothing_do_not_hold_the_exit() {
    let process = Process::start(&QUIET, "--drain-timeout 60s --header-timeout 60s");
    let _never_used = process.connect();
    let mut idle = process.connect();
    write!(idle, "GET /items/1 HTTP/1.1\r\nhost: x\r\n\r\n").expect("a request");
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
    let start = std::time::Instant::now();
    assert_eq!(process.stop().code, Some(0));
    assert!(
        start.elapsed() < PATIENCE,
        "the drain waited for a connection that asked nothing"
    );
    // Half a head is waited for, since a request may be on its way, but it is no failure in the
    // end.
    let process = Process::start(&QUIET, "--drain-timeout 1s --header-timeout 60s");
    let mut half = process.connect();
    half.write_all(b"GET /items/1 HTT").expect("half a head");
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut process = Process::start(&QUIET, "--drain-timeout 60s");
    let _socket = process.open("GET /hang", &[]);
    process.wait_for_event("probe.hanging");
    process.signal("-TERM");
    // Two equal signals in a row can be one to the kernel.
    refuses(&process);
    process.signal("-TERM");
    assert_eq!(process.wait().code, Some(130));
}

#[test]
fn more_requests_than_allowed_are_refused_and_health_is_not() {
    let mut process = Process::start(&QUIET, "--max-in-flight 1");
    let hanging = process.open("GET /hang", &[]);
    process.wait_for_event("probe.hanging");
    assert_eq!(process.get("/items/1").status, 429);
    assert_eq!(
        (process.get("/livez").status, process.get("/readyz").status),
        (200, 200)
    );
    drop(hanging);
    let end = std::time::Instant::now() + PATIENCE;
    while process.get("/items/1").status == 429 {
        assert!(
            std::time::Instant::now() < end,
            "the permit does not come back"
        );
    }
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn a_request_has_its_time_and_knows_it() {
    let process = Process::start(&QUIET, "--request-timeout 100ms");
    assert_eq!(process.get("/hang").status, 504);
    let left: u64 = process.get("/deadline").body.parse().expect("milliseconds");
    assert!(left <= 100, "{left}");
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn a_client_that_sends_its_head_slowly_is_cut_off() {
    let process = Process::start(&QUIET, "--header-timeout 100ms");
    let mut slow = process.connect();
    slow.write_all(b"GET /items/1 HTTP/1.1\r\nhost: x\r\n")
        .expect("half a head");
    let mut rest = Vec::new();
    // The time limit of the socket is far longer: an end without an error is the server's.
    slow.read_to_end(&mut rest).expect("a closed connection");
    assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    assert_eq!(process.get("/items/1").status, 200);
    assert_eq!(process.stop().code, Some(0));
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let exit = Process::launch(&QUIET, &format!("--listen {address}")).wait();
    assert_eq!(exit.code, Some(1));
    let failed = exit.events("server.failed");
    let text = failed[0]["error"].as_str().expect("a text");
    assert!(
        text.contains(&address) && text.contains("--listen") && text.contains("in use"),
        "{text}"
    );
}
