//! The parts of an address that spans show. Exchanges over sockets are tested in
//! `runtime/tests/process`.

use super::ServerAddress;

#[test]
fn an_address_is_shown_without_credentials_and_query_values() {
    let cases = [
        (
            "http://store:6566/get",
            Some(("store", 6566, "http://store:6566/get", "store:6566")),
        ),
        (
            "http://store/get?key=secret&x",
            Some((
                "store",
                80,
                "http://store:80/get?key=REDACTED&x",
                "store:80",
            )),
        ),
        (
            "https://user:word@store/",
            Some(("store", 443, "https://store:443/", "store:443")),
        ),
        (
            "http://[::1]:8080/",
            Some(("::1", 8080, "http://[::1]:8080/", "[::1]:8080")),
        ),
        ("/only/a/path", None),
        ("ftp://store/file", None),
        ("ftp://store:21/file", None),
    ];
    for (uri, expected) in cases {
        let uri = uri.parse().expect("a URI");
        let address = ServerAddress::of(&uri);
        let seen = address.as_ref().map(|address| {
            (
                &*address.host,
                address.port,
                address.shown(&uri),
                address.to_string(),
            )
        });
        assert_eq!(
            seen,
            expected.map(|(host, port, url, shown)| (host, port, url.to_owned(), shown.to_owned())),
            "{uri}"
        );
    }
}
