//! Options and deadlines; how a process behaves is tested in `runtime/tests/process`.

use std::time::Duration;

use clap::Parser;

use crate::{Deadline, ProcessOptions};

#[derive(Parser, Debug)]
struct Cli {
    #[command(flatten)]
    options: ProcessOptions,
}

fn parse(arguments: &[&str]) -> Result<ProcessOptions, clap::Error> {
    Cli::try_parse_from(["part"].iter().chain(arguments)).map(|cli| cli.options)
}

#[test]
fn the_default_of_the_type_is_that_of_the_command_line() {
    let parsed = parse(&[]).expect("no arguments");
    assert_eq!(
        format!("{parsed:?}"),
        format!("{:?}", ProcessOptions::default())
    );
}

#[test]
fn times_have_units_and_a_bound() {
    let parsed =
        parse(&["--request-timeout", "250ms", "--drain-timeout", "2m"]).expect("two times");
    assert_eq!(
        (parsed.request_timeout, parsed.drain_timeout),
        (Duration::from_millis(250), Duration::from_mins(2))
    );
    for bad in [
        "10",
        "s",
        "-1s",
        "25h",
        "1.5s",
        "99999999999999999999s",
        "18446744073709551615m",
        "25000m",
    ] {
        assert!(parse(&["--request-timeout", bad]).is_err(), "{bad}");
    }
}

#[test]
fn some_request_must_fit_in() {
    assert_eq!(
        parse(&["--max-in-flight", "1"]).expect("one").max_in_flight,
        1
    );
    for bad in ["0", "-1", "1000001", "many"] {
        assert!(
            parse(&[&format!("--max-in-flight={bad}")]).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn a_budget_only_shortens_and_no_budget_is_too_long() {
    let deadline = Deadline::after(Duration::from_secs(10));
    assert!(deadline.within(Duration::from_secs(1)).remaining() <= Duration::from_secs(1));
    let same = deadline.within(Duration::MAX).remaining();
    assert!(
        same > Duration::from_secs(5) && same <= Duration::from_secs(10),
        "{same:?}"
    );
    assert!(Deadline::after(Duration::MAX).remaining() > Duration::from_hours(1));
    assert_eq!(Deadline::after(Duration::ZERO).remaining(), Duration::ZERO);
}

#[test]
fn times_of_options_have_a_unit_and_an_end() {
    for (text, seconds) in [
        ("30d", 2_592_000),
        ("12h", 43_200),
        ("45m", 2_700),
        ("10s", 10),
        ("0s", 0),
    ] {
        assert_eq!(
            crate::duration(text),
            Ok(Duration::from_secs(seconds)),
            "{text}"
        );
    }
    assert_eq!(crate::duration("500ms"), Ok(Duration::from_millis(500)));
    for text in [
        "",
        "5",
        "d",
        "5 d",
        "-5d",
        "5w",
        "1.5h",
        "99999999999999999999d",
        "999999999999999999d",
    ] {
        assert!(crate::duration(text).is_err(), "{text}");
    }
}

#[test]
fn every_refusal_has_a_client_or_server_error_and_a_code() {
    for refusal in crate::Refusal::ALL {
        let status = refusal.status();
        assert!(
            status.is_client_error() || status.is_server_error(),
            "{refusal}"
        );
        assert!(!refusal.code().is_empty() && !refusal.to_string().is_empty());
    }
}

#[tokio::test]
async fn a_burst_of_clients_waits_to_be_accepted() {
    let address = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let listener = crate::bind(address, "--listen").expect("a free port");
    let address = listener.local_addr().expect("an address");
    // The kernel may be set up to hold fewer.
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let most = most.map_or(128, |text| text.trim().parse().unwrap_or(128));
    // Nobody accepts them. A connection for which there is no room is tried again after a second.
    let at_once = Duration::from_millis(900);
    let connect = || std::net::TcpStream::connect_timeout(&address, at_once);
    let burst: Result<Vec<_>, _> = (0..300.min(most)).map(|_| connect()).collect();
    assert!(burst.is_ok(), "{burst:?}");
}
