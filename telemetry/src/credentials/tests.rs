//! User information of addresses.

use super::take_basic;

#[test]
fn credentials_leave_the_address_and_become_a_header() {
    let cases = [
        (
            "http://m:SECRET@store:6566/get?a=1",
            "http://store:6566/get?a=1",
            Some("Basic bTpTRUNSRVQ="),
        ),
        (
            "https://m:a%40b%3A@store/",
            "https://store/",
            Some("Basic bTphQGI6"),
        ),
        ("http://m@[::1]:80/", "http://[::1]:80/", Some("Basic bTo=")),
        ("http://store/", "http://store/", None),
        ("/m:SECRET@path", "/m:SECRET@path", None),
    ];
    for (given, left, header) in cases {
        let mut uri = given.parse().expect("a URI");
        let basic = take_basic(&mut uri);
        assert_eq!(uri.to_string(), left, "{given}");
        let value = basic.as_ref().map(|basic| basic.to_str().expect("text"));
        assert_eq!(value, header, "{given}");
        assert!(!format!("{basic:?}").contains("Basic"), "{given}");
    }
}
