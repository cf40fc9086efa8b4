//! Reading of requests; whole exchanges over sockets are tested in `runtime/tests/process`.

use http::Method;

use super::request::{known_method, redact, split_host};

#[test]
fn a_host_header_names_address_and_port() {
    let cases = [
        ("example.com", Some(("example.com", None))),
        ("example.com:8080", Some(("example.com", Some(8080)))),
        ("127.0.0.1:1", Some(("127.0.0.1", Some(1)))),
        ("[::1]:8080", Some(("::1", Some(8080)))),
        ("[2001:db8::1]", Some(("2001:db8::1", None))),
        ("example.com:", Some(("example.com", None))),
        ("example.com:99999", Some(("example.com", None))),
        ("[::1", None),
        (":8080", None),
        ("", None),
    ];
    for (host, expected) in cases {
        assert_eq!(split_host(host), expected, "{host}");
    }
}

#[test]
fn query_values_are_redacted_and_names_stay() {
    let cases = [
        ("q=a+secret&limit=3", "q=REDACTED&limit=REDACTED"),
        ("flag", "flag"),
        ("a=b=c&&d=", "a=REDACTED&&d=REDACTED"),
        ("", ""),
    ];
    for (query, expected) in cases {
        assert_eq!(redact(query), expected, "{query}");
    }
}

#[test]
fn methods_are_a_bounded_set() {
    assert_eq!(known_method(&Method::PATCH), ("PATCH", None));
    let brew = Method::from_bytes(b"BREW").expect("a token");
    assert_eq!(known_method(&brew), ("_OTHER", Some("BREW")));
    let lower = Method::from_bytes(b"get").expect("a token");
    assert_eq!(
        known_method(&lower),
        ("_OTHER", Some("get")),
        "methods are case-sensitive"
    );
}
