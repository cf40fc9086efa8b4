//! Requests that are admitted, and requests that are not.

use axum::body::Body;
use axum::extract::Request;

use super::BrowserGuard;

fn admits(listening_on: &str, headers: &[(&str, &str)]) -> bool {
    let mut request = Request::builder().uri("/v1/traces");
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
