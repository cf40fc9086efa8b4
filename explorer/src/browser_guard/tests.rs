//! Requests that are admitted, and requests that are not.

use axum::body::Body;
use axum::extract::Request;

use super::BrowserGuard;

fn admits(listening_on: &str, headers: &[(&str, &str)]) -> bool {
    admits_target("/v1/traces", listening_on, headers)
}

fn admits_target(target: &str, listening_on: &str, headers: &[(&str, &str)]) -> bool {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    BrowserGuard::of(listening_on.parse().unwrap()).admits(&request.body(Body::empty()).unwrap())
}

#[test]
fn programs_and_our_own_page_are_admitted() {
    for host in [
        "127.0.0.1:4318",
        "localhost:4318",
        "[::1]:4318",
        "explorer.localhost",
        "LOCALHOST",
    ] {
        assert!(admits("127.0.0.1:4318", &[("host", host)]), "{host}");
    }
    assert!(admits("127.0.0.1:4318", &[]));
    assert!(admits(
        "127.0.0.1:4318",
        &[
            ("host", "localhost:4318"),
            ("origin", "http://localhost:4318")
        ]
    ));
}

#[test]
fn pages_of_other_origins_are_refused() {
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost:3000",
        "http://localhost:4318.evil.example",
        "",
    ] {
        assert!(
            !admits(
                "127.0.0.1:4318",
                &[("host", "localhost:4318"), ("origin", origin)]
            ),
            "{origin}"
        );
    }
}

#[test]
fn a_name_rebound_to_loopback_is_refused() {
    let headers = [
        ("host", "evil.example:4318"),
        ("origin", "http://evil.example:4318"),
    ];
    assert!(!admits("127.0.0.1:4318", &headers));
    assert!(!admits("[::1]:4318", &headers));
    // In a container any name may be valid.
    assert!(admits("0.0.0.0:4318", &[("host", "explorer:4318")]));
}

#[test]
fn a_host_that_does_not_parse_is_refused_on_every_address() {
    for host in [
        "x{y.evil.test:8090",
        "a b/c",
        "",
        ":8090",
        "localhost:eighty",
        "localhost:99999",
        "localhost:80:80",
        "user@localhost:8090",
        "localhost/",
        "localhost, evil.example",
        "http://localhost:8090",
        "[::1",
        "\u{e9}.example",
    ] {
        assert!(!admits("127.0.0.1:8090", &[("host", host)]), "{host}");
        assert!(!admits("0.0.0.0:8090", &[("host", host)]), "{host}");
    }
}

#[test]
fn a_header_given_twice_is_refused() {
    let hosts = [("host", "localhost:8090"), ("host", "evil.example")];
    let same = [("host", "localhost:8090"), ("host", "localhost:8090")];
    let origins = [
        ("host", "localhost:8090"),
        ("origin", "http://localhost:8090"),
        ("origin", "https://evil.example"),
    ];
    for headers in [&hosts[..], &same, &origins] {
        assert!(!admits("127.0.0.1:8090", headers), "{headers:?}");
        assert!(!admits("0.0.0.0:8090", headers), "{headers:?}");
    }
}

#[test]
fn names_that_only_look_like_loopback_are_refused() {
    for host in [
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "xlocalhost",
        "[127.0.0.1]",
        "[::2]",
        "2130706433",
        "0.0.0.0",
    ] {
        assert!(!admits("127.0.0.1:8090", &[("host", host)]), "{host}");
    }
    for host in [
        "127.8.8.8:8090",
        "localhost:",
        "[::ffff:127.0.0.1]:8090",
        "[0:0:0:0:0:0:0:1]",
    ] {
        assert!(admits("127.0.0.1:8090", &[("host", host)]), "{host}");
    }
}

#[test]
fn the_authority_of_an_absolute_target_counts() {
    let admits = |target, host| admits_target(target, "127.0.0.1:8090", &[("host", host)]);
    assert!(admits("http://localhost:8090/", "localhost:8090"));
    assert!(!admits("http://evil.example/", "localhost:8090"));
    assert!(!admits("http://localhost:8090/", "a b/c"));
}
