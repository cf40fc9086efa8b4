//! The signature, and what is in a notice. Delivery is in `tests/http/rules.rs`, over a socket.

use super::{Bench, failed};
use crate::rules::webhook::{Key, notice};

/// The second test case of RFC 4231 for HMAC-SHA-256: key `Jefe`.
#[test]
fn the_code_is_that_of_the_rfc() {
    let key = Key::of("Jefe");
    assert_eq!(
        hex::encode(key.code(&[b"what do ya want ", b"for nothing?"])),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

/// The example of the libraries of Standard Webhooks; Python's `hmac` gives the same.
#[test]
fn id_time_and_body_are_signed() {
    let key = Key::of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
    assert_eq!(
        key.signature(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b"{\"test\": 2432232314}"
        ),
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    );
}

#[test]
fn a_notice_names_the_rule_and_the_traces_and_has_an_id_of_its_own() {
    let mut bench = Bench::new(
        "[[rules]]\nname = \"errors\"\nsummary = \"requests fail\"\nkind = \"error_rate\"\nabove = 0\nwindow = \"1m\"",
    );
    let trace = bench.span("gateway", failed);
    let fires = bench.changes_at(0).remove(0);
    let first = notice(&bench.engine, &fires);
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(body["type"], "rule.firing");
    assert_eq!(body["timestamp"], "2026-09-21T14:13:20Z");
    let data = &body["data"];
    assert_eq!(data["rule"], "errors");
    assert_eq!(data["url"], "http://explorer:8090/rules");
    assert_eq!(data["change"]["value"], 1.0);
    assert_eq!(data["change"]["traces"][0]["trace_id"], trace.as_str());
    let ends = bench.changes_at(70).remove(0);
    let second = notice(&bench.engine, &ends);
    assert_eq!(notice(&bench.engine, &fires), first);
    assert_ne!(second.id, first.id);
    // The id is signed together with the rest, separated by full stops.
    assert!(!first.id.contains('.'), "{}", first.id);
}
