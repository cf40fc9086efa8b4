//! The form of a `traceparent` header.

use super::*;

#[test]
fn only_the_form_of_the_standard_is_read() {
    let ids = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
    for good in [
        format!("00-{ids}-01"),
        format!("00-{ids}-03"),
        format!("cc-{ids}-01"),
        format!("cc-{ids}-01-what-comes-later"),
    ] {
        assert!(parse(&good).is_some(), "{good}");
    }
    let bad = [
        "",
        "00",
        "00-abc-def-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ];
    let built = [
        format!("ff-{ids}-01"),
        format!("00-{ids}"),
        format!("00-{ids}-1"),
        format!("00-{ids}-01-more"),
        format!("0-{ids}-01"),
    ];
    for bad in bad.into_iter().map(str::to_owned).chain(built) {
        assert!(parse(&bad).is_none(), "{bad}");
    }
}
