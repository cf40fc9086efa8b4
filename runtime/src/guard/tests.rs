//! Requests that are admitted, and requests that are not.

use http::{Request, Version};

use super::{AllowedHost, Guard};
use crate::refusal::Refusal;

const LOOPBACK: &str = "127.0.0.1:8090";
const EVERYWHERE: &str = "0.0.0.0:8090";

fn check_with(
    allowed: &[&str],
    listening_on: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> Result<(), Refusal> {
    let mut request = Request::builder().uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let allowed: Vec<AllowedHost> = allowed.iter().map(|name| name.parse().unwrap()).collect();
    let guard = Guard::new(listening_on.parse().unwrap(), &allowed);
    guard.check(&request.body(()).unwrap())
}

fn check(listening_on: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
    check_with(&[], listening_on, "/v1/traces", headers)
}

#[test]
fn programs_and_our_own_page_are_admitted() {
    for host in [
        "127.0.0.1:4318",
        "127.8.8.8:8090",
        "localhost:4318",
        "localhost.:4318",
        "localhost:",
        "[::1]:4318",
        "[::ffff:127.0.0.1]:8090",
        "[0:0:0:0:0:0:0:1]",
        "explorer.localhost",
        "LOCALHOST",
    ] {
        assert_eq!(check(LOOPBACK, &[("host", host)]), Ok(()), "{host}");
    }
    for site in ["same-origin", "none"] {
        let headers = [
            ("host", "localhost:4318"),
            ("origin", "http://localhost:4318"),
            ("sec-fetch-site", site),
        ];
        assert_eq!(check(LOOPBACK, &headers), Ok(()));
        assert_eq!(check(LOOPBACK, &[headers[0], headers[2]]), Ok(()));
    }
}

#[test]
fn pages_of_other_origins_are_refused() {
    let foreign = Err(Refusal::ForeignOrigin);
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost:3000",
        "http://localhost:4318.evil.example",
        "app://localhost:4318",
        "://localhost:4318",
        "",
    ] {
        let headers = [("host", "localhost:4318"), ("origin", origin)];
        assert_eq!(check(LOOPBACK, &headers), foreign, "{origin}");
    }
    // Images and scripts have no origin.
    for site in ["cross-site", "same-site", "new-word"] {
        let headers = [("host", "localhost:4318"), ("sec-fetch-site", site)];
        assert_eq!(check(LOOPBACK, &headers), foreign, "{site}");
        assert_eq!(check(EVERYWHERE, &headers), foreign, "{site}");
    }
}

#[test]
fn a_link_to_here_can_be_followed_and_not_embedded() {
    let follow = |method: &str, destination: &str| {
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header("host", "localhost:8090")
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", destination);
        let guard = Guard::new(LOOPBACK.parse().unwrap(), &[]);
        guard.check(&request.body(()).unwrap())
    };
    assert_eq!(follow("GET", "document"), Ok(()));
    for (method, destination) in [("POST", "document"), ("GET", "iframe")] {
        assert_eq!(follow(method, destination), Err(Refusal::ForeignOrigin));
    }
}

#[test]
fn a_name_rebound_to_our_address_is_refused() {
    let headers = [
        ("host", "evil.example:4318"),
        ("origin", "http://evil.example:4318"),
    ];
    for address in [LOOPBACK, "[::1]:4318", EVERYWHERE, "192.0.2.1:4318"] {
        let refused = Err(Refusal::UnknownHost);
        assert_eq!(check(address, &headers), refused, "{address}");
    }
    // Nobody can rebind an address, nor a name without a dot.
    for host in [
        "explorer:4318",
        "192.0.2.1:4318",
        "[2001:db8::1]",
        "localhost",
    ] {
        assert_eq!(check(EVERYWHERE, &[("host", host)]), Ok(()), "{host}");
    }
}

#[test]
fn more_names_are_allowed_by_option() {
    let allowed = [" Gateway.example.com", ".internal"];
    let check = |host| check_with(&allowed, LOOPBACK, "/", &[("host", host)]);
    for host in [
        "gateway.example.com:80",
        "GATEWAY.EXAMPLE.COM",
        "a.b.internal",
    ] {
        assert_eq!(check(host), Ok(()), "{host}");
    }
    for host in [
        "x.gateway.example.com",
        "internal",
        "xinternal",
        ".internal",
    ] {
        assert_eq!(check(host), Err(Refusal::UnknownHost), "{host}");
    }
    let any = check_with(&["*"], LOOPBACK, "/", &[("host", "evil.example")]);
    assert_eq!(any, Ok(()));
    for bad in ["", ".", "a b", "localhost:80", "user@host", "http://host"] {
        assert!(bad.parse::<AllowedHost>().is_err(), "{bad}");
    }
}

#[test]
fn a_host_that_does_not_parse_is_invalid_on_every_address() {
    for host in [
        "x{y.evil.test:8090",
        "a b/c",
        "",
        ":8090",
        "localhost:eighty",
        "localhost:99999",
        "localhost:+80",
        "localhost:80:80",
        "user@localhost:8090",
        "localhost/",
        "localhost, evil.example",
        "http://localhost:8090",
        "[::1",
        "\u{e9}.example",
    ] {
        for address in [LOOPBACK, EVERYWHERE] {
            let invalid = Err(Refusal::InvalidHost);
            assert_eq!(check(address, &[("host", host)]), invalid, "{host}");
        }
    }
}

#[test]
fn a_header_given_twice_or_no_host_is_invalid() {
    let hosts = [("host", "localhost:8090"), ("host", "evil.example")];
    let same = [("host", "localhost:8090"), ("host", "localhost:8090")];
    let origins = [
        ("host", "localhost:8090"),
        ("origin", "http://localhost:8090"),
        ("origin", "https://evil.example"),
    ];
    for headers in [&hosts[..], &same, &origins, &[]] {
        assert_eq!(check(LOOPBACK, headers), Err(Refusal::InvalidHost));
        assert_eq!(check(EVERYWHERE, headers), Err(Refusal::InvalidHost));
    }
    let old = Request::builder().version(Version::HTTP_10).body(());
    let guard = Guard::new(LOOPBACK.parse().unwrap(), &[]);
    assert_eq!(guard.check(&old.unwrap()), Ok(()));
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
        assert!(check(LOOPBACK, &[("host", host)]).is_err(), "{host}");
    }
}

#[test]
fn the_authority_of_an_absolute_target_counts() {
    let check = |target, host| check_with(&[], LOOPBACK, target, &[("host", host)]);
    let local = "http://localhost:8090/";
    assert_eq!(check(local, "localhost:8090"), Ok(()));
    let evil = check("http://evil.example/", "localhost:8090");
    assert_eq!(evil, Err(Refusal::UnknownHost));
    assert_eq!(check(local, "a b/c"), Err(Refusal::InvalidHost));
}
